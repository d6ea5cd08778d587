"""A team with real parts: PostgreSQL, MLflow's server before it, a DVC remote, and two clones as two people."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import checkout
import pytest
from stores import free_port

from numnist.tracking import registry, runs

pytestmark = pytest.mark.slow
SWEEP: dict[str, list[object]] = {"hidden_size": [3, 4], "learning_rate": [0.5], "iterations": [5], "seed": [0]}
START_SECONDS = 300


@dataclass(frozen=True)
class Team:
    """The server's address, and the clones of two people."""

    server: str
    ann: Path
    bob: Path

    def run(self, clone: Path, *command: str) -> str:
        """Run a command in a clone, to be successful; return what it prints."""
        done = checkout.run(clone, *command, MLFLOW_TRACKING_URI=self.server)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def git(directory: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *settings, *arguments], cwd=directory, check=True, capture_output=True)


def postgres() -> Path:
    found = shutil.which("initdb") or next(iter(sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))), "")
    if not found:
        pytest.skip("PostgreSQL is not installed")
    return Path(found).resolve().parent


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Start PostgreSQL on a free port, and give its address.

    Not below pytest's own directories: another pytest that starts shuts them to the user that the server runs as.
    """
    pytest.importorskip("psycopg")
    programs, directory, port = postgres(), Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
    as_user: list[str] = []
    if os.getuid() == 0:  # which PostgreSQL refuses to run as
        as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chown(directory, 65534, 65534)
    data = directory / "data"
    start = [*as_user, str(programs / "initdb"), "-U", "mlflow", "-A", "trust", "-D", str(data)]
    subprocess.run(start, check=True, capture_output=True)
    options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(directory)]
    process = subprocess.Popen([*as_user, str(programs / "postgres"), *options], stderr=subprocess.DEVNULL)
    try:
        yield f"postgresql+psycopg://mlflow:secret@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # SIGTERM waits for every client to leave
        process.wait()
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start `mlflow server --serve-artifacts` before it."""
    directory, port = tmp_path_factory.mktemp("server"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--serve-artifacts", "--host=127.0.0.1", f"--port={port}",
               f"--artifacts-destination={directory}", "--workers=1"]  # fmt: skip
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, env=environment, cwd=directory, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def team(server: str, tmp_path_factory: pytest.TempPathFactory) -> Team:
    directory = tmp_path_factory.mktemp("team")
    origin = checkout.make(directory / "origin", SWEEP)
    git(directory, "clone", "-q", "--bare", str(origin), "shared.git")
    for name in ("ann", "bob"):
        git(directory, "clone", "-q", "shared.git", name)
        (directory / name / ".dvc" / "config.local").write_text(
            f"[core]\n    remote = shared\n['remote \"shared\"']\n    url = {directory / 'remote'}\n"
        )
        for key, value in (("name", name), ("email", f"{name}@example.org")):
            git(directory / name, "config", f"user.{key}", value)
    return Team(server, directory / "ann", directory / "bob")


def test_two_people_share_a_server_and_have_one_champion(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.server)
    both = [
        checkout.start(clone, "-m", "dvc", "repro", MLFLOW_TRACKING_URI=team.server) for clone in (team.ann, team.bob)
    ]
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0, out + err
    tracker = runs.connect(team.ann)

    def sweeps() -> list[str]:
        found = tracker.store.client.search_runs([tracker.store.experiment], f"tags.`{runs.SWEEP}` LIKE '%'")
        assert {run.info.status for run in found} == {"FINISHED"}
        return [run.info.run_id for run in found]

    assert len(sweeps()) == 2  # each sees the other's
    assert (team.ann / "dvc.lock").read_bytes() == (team.bob / "dvc.lock").read_bytes()

    team.run(team.ann, "dvc", "push")
    git(team.ann, "add", "dvc.lock")
    git(team.ann, "commit", "-qm", "results")
    git(team.ann, "push", "-q")
    for path in ("runs", "reports", ".dvc/cache"):
        shutil.rmtree(team.bob / path)
    (team.bob / "dvc.lock").unlink()
    git(team.bob, "pull", "-q")
    team.run(team.bob, "dvc", "pull")
    assert "Running stage" not in team.run(team.bob, "dvc", "repro")

    champion = registry.champion(tracker.store)
    assert "exact: the same bytes" in team.run(team.bob, "pipeline.replay", str(champion.run_id))
    assert f"version {champion.version} of numnist" in team.run(team.bob, "pipeline.predict", "docs/three.png")

    tried = team.run(team.bob, "dvc", "exp", "run", "-S", "sweep.hidden_size=[6]")
    assert "the champion that others see is version" in tried
    assert registry.champion(tracker.store).version == champion.version
    metrics = json.loads((team.bob / "reports" / "metrics.json").read_text(encoding="utf-8"))
    team.run(team.bob, "dvc", "push")
    git(team.bob, "commit", "-qam", "six hidden units")
    git(team.bob, "push", "-q")
    assert "the champion)" in team.run(team.bob, "pipeline.predict", "docs/three.png")
    crowned = registry.champion(tracker.store)
    assert crowned.tags["trial"] == metrics["winner"]["name"]
    team.run(team.ann, "pipeline.predict", "docs/three.png")  # who has not pulled yet does not turn it back
    assert registry.champion(tracker.store).version == crowned.version
