"""The same bytes by other ways: a fresh clone; experiments in copies and from the queue. Slow: .ci/run."""

import subprocess
from pathlib import Path

import checkout
import pytest

from numnist.common import dvc_lock

pytestmark = pytest.mark.slow
SWEEP: dict[str, list[object]] = {"hidden_size": [4, 6], "learning_rate": [0.5], "iterations": [2, 4], "seed": [0, 1]}


def git(directory: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the pipeline has run, and whose lock is committed."""
    directory = checkout.make(tmp_path_factory.mktemp("locked"), SWEEP)
    done = checkout.run(directory, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    git(directory, "add", "dvc.lock")
    git(directory, "commit", "-q", "-m", "Lock")
    return directory


def test_a_fresh_clone_makes_the_bytes_of_the_committed_lock(locked: Path) -> None:
    done = checkout.run(locked, "pipeline.verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Everything has the same bytes.\n") and "uncommitted" not in done.stdout
    outs = dvc_lock.read(locked / "dvc.lock")
    lines = [line.split() for line in done.stdout.splitlines() if line.endswith("  same bytes")]
    assert [tuple(line[:2]) for line in lines] == [*outs, ("all", "dvc.lock")]


@pytest.mark.parametrize("way", [["--temp"], ["--queue"]], ids=["temp", "queue"])
def test_an_experiment_beside_the_workspace_makes_the_bytes_that_it_makes_in_it(locked: Path, way: list[str]) -> None:
    change = ["-S", "sweep.seed=[2,3]", "--force"]
    done = checkout.run(locked, "dvc", "exp", "run", *way, "--name", "beside", *change)
    assert done.returncode == 0, done.stdout + done.stderr
    if way == ["--queue"]:
        done = checkout.run(locked, "dvc", "exp", "run", "--run-all")
        assert done.returncode == 0, done.stdout + done.stderr
    done = checkout.run(locked, "dvc", "exp", "run", *change)
    assert done.returncode == 0, done.stdout + done.stderr
    [reference] = [ref for ref in git(locked, "for-each-ref", "--format=%(refname)").split() if ref.endswith("/beside")]
    beside, inside = git(locked, "show", f"{reference}:dvc.lock"), (locked / "dvc.lock").read_text(encoding="utf-8")
    git(locked, "update-ref", "-d", reference)
    git(locked, "checkout", "-q", "--", "params.yaml", "dvc.lock")
    assert beside == inside


def test_a_clone_that_makes_other_bytes_is_told_out_by_out(locked: Path) -> None:
    params = locked / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("initialization: he", "initialization: uniform"))
    git(locked, "commit", "-qam", "Other first weights, and a lock that does not know of them")
    params.write_text(params.read_text(encoding="utf-8") + "# not committed\n")
    done = checkout.run(locked, "pipeline.verify")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("There are uncommitted changes: they are left out")
    found = {tuple(line.split()[:2]): " ".join(line.split()[2:4]) for line in done.stdout.splitlines() if line}
    assert found["preprocess", "data/processed"] == "same bytes"
    assert found["train", "runs"].startswith("differs") and found["all", "dvc.lock"].startswith("differs")
