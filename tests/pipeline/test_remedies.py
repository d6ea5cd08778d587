"""Every remedy that a message names, tried in the state that prints it: afterwards the same command does its work."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import checkout
import pytest

RAW, PROCESSED = "data/raw/mnist-5k", "data/processed"
TRAIN = "python -m pipeline.train iterations=2"
EVALUATE, REPORT = "python -m pipeline.evaluate", "python -m pipeline.report"
PREDICT = "python -m pipeline.predict docs/three.png"
RUN = "python -m pipeline.run"  # as `make run` does
TRIAL = (  # prints the run of one trial, the newest if there are several
    """python -c "import sqlite3; print(*sqlite3.connect('mlflow.db').execute('SELECT run_uuid FROM runs WHERE """
    """name = ? ORDER BY start_time DESC', ['h0004-lr0.5-it00002-s0']).fetchone())\""""
)
FORGET = "rm -rf mlflow.db* mlartifacts"
LOSE_RESULTS = "rm -rf runs sweep.csv reports"
WINNER = 'runs/$(python -c \'import json; print(json.load(open("reports/metrics.json"))["winner"]["name"])\')'
OTHER = "$(ls -d runs/*/ | grep -v $(basename $winner) | head -1)"


def cut(name: str) -> str:
    """Cut a file to its first 60 bytes; one of DVC's may be linked to its cache, and stays whole there."""
    return f"head -c 60 {name} > cut && rm -f {name} && mv cut {name}"


@dataclass(frozen=True)
class State:
    """What breaks a checkout, the command that then fails, what it advises, and that advice as a person types it."""

    broken: str
    command: str
    advice: str
    typed: str


STATES = {
    "no table": State("rm sweep.csv", EVALUATE, "run `dvc repro`", "dvc repro"),
    "a cut table": State(cut("sweep.csv"), EVALUATE, "delete it and run `dvc repro`", "rm -f sweep.csv; dvc repro"),
    "no reports": State("rm -r reports", REPORT, "run `dvc repro`", "dvc repro"),
    "cut metrics": State(
        cut("reports/metrics.json"),
        REPORT,
        "delete it and run `dvc repro`",
        "rm -f reports/metrics.json; dvc repro",
    ),
    "no data set": State(f"rm -r {PROCESSED}", TRAIN, "`dvc repro preprocess` makes it", "dvc repro preprocess"),
    "a cut record of the data set": State(
        cut(f"{PROCESSED}/dataset.json"),
        TRAIN,
        "delete it and run `dvc repro`",
        f"rm -f {PROCESSED}/dataset.json; dvc repro",
    ),
    "another record of the data set": State(
        f"rm -f {PROCESSED}/dataset.json; echo '{{}}' > {PROCESSED}/dataset.json",
        TRAIN,
        "delete it and run `dvc repro preprocess`",
        f"rm -f {PROCESSED}/dataset.json; dvc repro preprocess",
    ),
    "cut arrays": State(
        cut(f"{PROCESSED}/train.npz"),
        TRAIN,
        "delete it and run `dvc repro`",
        f"rm -f {PROCESSED}/train.npz; dvc repro",
    ),
    "no network": State(
        f"sed -i 's/name: mnist-5k/name: mnist/' params.yaml; rm -r {PROCESSED}",
        TRAIN,
        "set data.name to mnist-5k in params.yaml, and `dvc repro preprocess` takes",
        "sed -i 's/name: mnist$/name: mnist-5k/' params.yaml; dvc repro preprocess",
    ),
    "no raw file": State(
        f"rm {RAW}/train-labels*",
        "python -m pipeline.preprocess",
        "Run `python -m pipeline.fetch`",
        "python -m pipeline.fetch",
    ),
    "a cut raw file": State(
        cut(f"{RAW}/train-labels-idx1-ubyte"),
        "python -m pipeline.preprocess",
        "mnist-5k away and run `python -m pipeline.fetch`",
        f"mv {RAW} away; python -m pipeline.fetch",
    ),
    "a cut record of what was fetched": State(
        cut(f"{RAW}/fetched.json"),
        "python -m pipeline.fetch",
        "mnist-5k away and run `python -m pipeline.fetch`",
        f"mv {RAW} away; python -m pipeline.fetch",
    ),
    "another network in the place of the winner": State(
        f"winner={WINNER}; rm $winner/weights.npz; cp {OTHER}/weights.npz $winner; {FORGET}",
        PREDICT,
        "`dvc checkout --force runs` brings it back",
        "dvc checkout --force runs",
    ),
    "the same, and DVC's cache is gone": State(
        f"winner={WINNER}; rm $winner/weights.npz; cp {OTHER}/weights.npz $winner; {FORGET}; rm -rf .dvc/cache",
        PREDICT,
        "else `dvc repro`",
        "dvc repro",
    ),
    "no results": State(f"{LOSE_RESULTS}; {FORGET}", PREDICT, "`make run` makes both", RUN),
    "a champion without weights": State(
        f"{LOSE_RESULTS}; find mlartifacts/models -name weights.npz -delete",
        PREDICT,
        "With the results in place (`make run`",
        RUN,
    ),
    "a champion with other weights": State(
        f"{LOSE_RESULTS}; for one in $(find mlartifacts/models -name weights.npz); do echo >> $one; done",
        PREDICT,
        "With the results in place (`make run`",
        RUN,
    ),
    "a champion without files": State(
        f"{LOSE_RESULTS}; rm -r mlartifacts/models", PREDICT, "With the results in place (`make run`", RUN
    ),
    "a run with other weights": State(
        "for one in $(find mlartifacts -name weights.npz -path '*artifacts/weights.npz'); do echo >> $one; done",
        f"{PREDICT} --run $({TRIAL})",
        "Train the trial again with the same parameters",
        "python -m pipeline.train hidden_size=4 learning_rate=0.5 iterations=2 seed=0",
    ),
    "a run without files": State(
        f"rm -r mlartifacts/$({TRIAL})",
        f"{PREDICT} --run $({TRIAL})",
        "Train the trial again with the same parameters",
        "python -m pipeline.train hidden_size=4 learning_rate=0.5 iterations=2 seed=0",
    ),
    "a deleted experiment": State(
        "MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow experiments delete -x 1",
        PREDICT,
        "mlflow experiments restore -x 1` brings it back",
        "MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow experiments restore -x 1",
    ),
    "a lock that was never committed": State(
        "git rm -q --cached dvc.lock; git commit -qm 'Without a lock'",
        "python -m pipeline.verify",
        "run `dvc repro`, then `git add dvc.lock` and `git commit`",
        "dvc repro; git add dvc.lock; git commit -qm 'With a lock'",
    ),
    "a cut lock": State(
        cut("dvc.lock"), PREDICT, "`git checkout HEAD dvc.lock` brings the committed", "git checkout HEAD dvc.lock"
    ),
    "a lock with a conflict": State(
        "git checkout -qb other; sed -i 's/size: /size: 1/' dvc.lock; git commit -qam Other; git checkout -q -; "
        "sed -i 's/size: /size: 2/' dvc.lock; git commit -qam Ours; git merge other && exit 1 || true",
        PREDICT,
        "`git checkout HEAD dvc.lock` brings the committed",
        "git checkout HEAD dvc.lock; dvc repro",
    ),
    "damaged published results": State(
        cut("docs/published.json"),
        REPORT,
        "bring it back by `git checkout HEAD docs/published.json`",
        "git checkout HEAD docs/published.json",
    ),
    "a trial that is gone": State(
        f"rm -r {WINNER}/../h0004-lr0.5-it00002-s0; {FORGET}", PREDICT, "  dvc repro", "rm -rf runs; dvc repro"
    ),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the pipeline has run, and its lock is committed."""
    directory = checkout.make(tmp_path_factory.mktemp("finished"), {**checkout.SWEEP, "learning_rate": [0.5]})
    done = typed(directory, "dvc repro && git add dvc.lock && git commit -qm 'The lock'")
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it for a test to change."""
    with checkout.copy_of(finished, tmp_path / "copy") as directory:
        yield directory


def typed(directory: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a line as somebody types it in a checkout, without a network."""
    nowhere = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run(
        ["bash", "-c", line],
        cwd=directory,
        env=checkout.environment(directory, **nowhere),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_what_a_message_advises_helps_in_the_state_that_prints_it(copy: Path, state: State) -> None:
    broken = typed(copy, f"set -e; {state.broken}")
    assert broken.returncode == 0, broken.stderr
    refused = typed(copy, state.command)
    assert refused.returncode != 0 and "error: " in refused.stderr and "Traceback" not in refused.stderr
    assert state.advice in refused.stderr
    mended = typed(copy, f"set -e; {state.typed}")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    done = typed(copy, state.command)
    assert done.returncode == 0, done.stdout + done.stderr
