"""The whole pipeline killed at random moments of all stages, 40 times: `pytest -m soak -s -k killed_anywhere`.

Every second kill is aimed at the creation of the tracking store. All ways of ending take turns.
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
ROUNDS = 40
CREATION_SECONDS = 4.0
WAYS = [(number, whole) for number in (signal.SIGKILL, signal.SIGTERM) for whole in (True, False)]


@dataclass(frozen=True)
class Undisturbed:
    """A checkout that nothing has run in, and what the pipeline makes in it."""

    source: Path
    lock: bytes
    seconds: float


def repro(directory: Path) -> "subprocess.Popen[bytes]":
    """Start the pipeline in a session of its own."""
    command = [sys.executable, "-m", "dvc", "repro"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = checkout.environment(directory)
    return subprocess.Popen(command, cwd=directory, env=environment, start_new_session=True, **quiet)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    source = checkout.make(tmp_path_factory.mktemp("soak") / "source", SWEEP)
    done = shutil.copytree(source, source.with_name("undisturbed"))
    began = time.monotonic()
    assert repro(done).wait() == 0
    return Undisturbed(source, (done / "dvc.lock").read_bytes(), time.monotonic() - began)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_pipeline_killed_anywhere_ends_with_the_same_bytes_and_one_sweep(
    number: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    moments = random.Random(number)
    how, whole = WAYS[number // 2 % len(WAYS)]
    directory = shutil.copytree(undisturbed.source, tmp_path / "copy")
    process = repro(directory)
    if number % 2:
        while not list(directory.glob("mlflow.db*")) and process.poll() is None:
            time.sleep(0.005)
        seconds = moments.uniform(0, CREATION_SECONDS)
    else:
        seconds = moments.uniform(0, undisturbed.seconds)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        (os.killpg if whole else os.kill)(process.pid, how)
    code = process.wait()
    print(f"\nround {number}: {how.name} to {'all' if whole else 'dvc'} after {seconds:.2f} s, exit {code}", flush=True)
    assert repro(directory).wait() == 0
    assert (directory / "dvc.lock").read_bytes() == undisturbed.lock
    tracker = tracked.connect(directory)
    found = tracker.store.client.search_runs([tracker.store.experiment], max_results=1000)
    assert not [run.info.run_name for run in found if run.info.status == "RUNNING"]
    assert len([run for run in found if tracked.SWEEP in run.data.tags]) == 1
    shutil.rmtree(directory)
