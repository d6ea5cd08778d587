"""A sweep that is killed at random moments, and started again after each: nothing lost, nothing twice, no bit other."""

import json
from collections import Counter
from pathlib import Path

import checkout
import pytest

from numnist.config.schema import TRAINING_KEYS
from numnist.tracking import entities
from numnist.tracking import runs as tracked

pytestmark = pytest.mark.slow
SWEEP: dict[str, list[object]] = {
    "hidden_size": [4, 6],
    "learning_rate": [0.5],
    "iterations": [30, 60],
    "seed": [0],
}
pytestmark = pytest.mark.slow
TRIALS = 4
KILLS = 20


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A checkout in which a sweep was killed again and again, and how many rounds there were."""
    directory = checkout.make(tmp_path_factory.mktemp("killed"), SWEEP)
    tests = Path(__file__).parent.parent
    for arguments in (["pipeline.fetch"], ["pipeline.preprocess"], ["killing", "0", str(KILLS)]):
        done = checkout.run(directory, *arguments, PYTHONPATH=f"{directory}:{directory / 'src'}:{tests}")
        assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] == KILLS
    return directory, told["rounds"]


def files_below(directory: Path) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*.*")
            if path.is_file()}  # fmt: skip


def test_it_ends_with_the_bytes_of_a_sweep_that_was_left_alone(killed: tuple[Path, int]) -> None:
    directory, rounds = killed
    alone = files_below(directory / "rounds" / "0")
    assert sum(name.endswith("weights.npz") for name in alone) == TRIALS
    for number in range(1, rounds):
        found = files_below(directory / "rounds" / str(number))
        assert found.keys() == alone.keys()
        assert [name for name in alone if found[name] != alone[name]] == []


def test_every_trial_is_tracked_once_in_each_sweep_and_no_run_is_left_open(killed: tuple[Path, int]) -> None:
    directory, rounds = killed
    tracker = tracked.connect(directory)
    runs = tracker.store.client.search_runs([tracker.store.experiment], max_results=5000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    sweeps = [run for run in runs if tracked.SWEEP in run.data.tags]
    assert rounds == len(sweeps)
    for sweep in sweeps:
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == sweep.info.run_id]
        assert Counter(run.info.run_name for run in children) == Counter({run.info.run_name: 1 for run in children})
        assert len(children) == TRIALS
        for run in children:
            assert set(run.data.params) == set(TRAINING_KEYS)
            curve = tracker.store.client.get_metric_history(run.info.run_id, "train_loss")
            assert sorted(point.step for point in curve) == entities.steps(int(run.data.params["iterations"]) + 1)
            stored = {artifact.path for artifact in tracker.store.client.list_artifacts(run.info.run_id)}
            assert stored == {"weights.npz", "curves.csv", "result.json", "config.yaml"}
