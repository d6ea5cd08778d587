"""The whole pipeline killed at random moments of all stages, 40 times: `pytest -m soak -s -k killed_anywhere`.

In every second checkout the kills are aimed at the creation of the tracking store. All ways of ending take turns.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import checkout
import pytest

from numnist.tracking import runs as tracked

pytestmark = pytest.mark.soak
SWEEP: dict[str, list[object]] = {"hidden_size": [4, 6], "learning_rate": [0.5], "iterations": [30, 60], "seed": [0]}
CHECKOUTS, KILLS = 10, 4
WAYS = [(number, whole) for number in (signal.SIGKILL, signal.SIGTERM) for whole in (True, False)]


@dataclass(frozen=True)
class Undisturbed:
    """A checkout that nothing has run in, and what the pipeline makes in it."""

    source: Path
    lock: bytes
    seconds: float
    creation: float  # seconds of these that the tracking store is made in


def repro(directory: Path) -> "subprocess.Popen[bytes]":
    """Start the pipeline in a session of its own."""
    command = [sys.executable, "-m", "dvc", "repro"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = checkout.environment(directory)
    return subprocess.Popen(command, cwd=directory, env=environment, start_new_session=True, **quiet)  # type: ignore[call-overload]


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> float:
    """Wait until a file is there, and return the time."""
    while not path.exists() and process.poll() is None:
        time.sleep(0.005)
    return time.monotonic()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    source = checkout.make(tmp_path_factory.mktemp("soak") / "source", SWEEP)
    done = shutil.copytree(source, source.with_name("undisturbed"))
    began, process = time.monotonic(), repro(done)
    creation = -wait_for(done / "mlflow.db.partial", process) + wait_for(done / "mlflow.db", process)
    assert process.wait() == 0
    return Undisturbed(source, (done / "dvc.lock").read_bytes(), time.monotonic() - began, creation)


def start_and_kill(directory: Path, number: int, like: Undisturbed, moments: random.Random) -> bool:
    """Start the pipeline and kill it at some moment; return whether it was still at work."""
    how, whole = WAYS[moments.randrange(len(WAYS))]
    process, seconds = repro(directory), moments.uniform(0, like.seconds)
    aimed = number % 2 and not (directory / "mlflow.db").exists()
    if aimed:
        wait_for(directory / "mlflow.db.partial", process)
        seconds = moments.uniform(0, like.creation)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        (os.killpg if whole else os.kill)(process.pid, how)
        place = "of the store's creation" if aimed else "of all"
        target, code = "all" if whole else "dvc", process.wait()
        print(f"\n{number}: {how.name} to {target} after {seconds:.2f} s {place}, exit {code}", flush=True)
        return True
    return False


@pytest.mark.parametrize("number", range(CHECKOUTS))
def test_the_pipeline_killed_anywhere_ends_with_the_same_bytes_and_one_sweep(
    number: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    moments, kills = random.Random(number), 0
    while kills < KILLS:  # if it comes through before that, the rest falls on another copy
        directory = shutil.copytree(undisturbed.source, tmp_path / f"after {kills}")
        while kills < KILLS and start_and_kill(directory, number, undisturbed, moments):
            kills += 1
        done = checkout.run(directory, "pipeline.run")  # which mends what a kill leaves of DVC's own files, too
        assert done.returncode == 0, done.stderr
        assert (directory / "dvc.lock").read_bytes() == undisturbed.lock
        tracker = tracked.connect(directory)
        found = tracker.store.client.search_runs([tracker.store.experiment], max_results=1000)
        assert not [run.info.run_name for run in found if run.info.status == "RUNNING"]
        assert len([run for run in found if tracked.SWEEP in run.data.tags]) == 1
        shutil.rmtree(directory)
