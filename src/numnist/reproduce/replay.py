"""A tracked trial trained again, from what MLflow keeps of it, and compared with what it left there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from numnist.common.errors import DataError
from numnist.config import reader
from numnist.config.schema import TRAINING_KEYS, TrainingConfig
from numnist.data.dataset import Dataset
from numnist.reproduce import verify
from numnist.reproduce.verify import SAME, Difference
from numnist.tracking.recorded import TrackedRun, lost_weights
from numnist.tracking.runs import CODE
from numnist.training import results
from numnist.training.scheduling import Trainer, open_store

_FILES = ("weights.npz", "curves.csv")  # no weights of a trial that diverged


@dataclass(frozen=True)
class Replay:
    """How far each file is from the recorded one, and what could explain it."""

    differences: Mapping[str, Difference]
    causes: list[str]

    @property
    def worst(self) -> Difference:
        """What differs most."""
        return max(self.differences.values(), key=lambda one: (one.verdict != SAME, one.relative))


def replay(recorded: TrackedRun, artifacts: Path, data: Dataset, here: Mapping[str, str], scratch: Path) -> Replay:
    """Train a recorded trial from nothing, in an empty directory, and compare it with its run's artifacts.

    `here` are the tags that this process would give a run.
    """
    config = config_of(recorded)
    trainer = Trainer(data, open_store(scratch / "trials", data))
    [result] = chain.from_iterable(trainer.train([config]))
    results.write_run(scratch / "run", result, data.identity)
    names = [name for name in _FILES if (artifacts / name).exists() or (scratch / "run" / name).exists()]
    compared = {name: verify.compare_paths(artifacts / name, scratch / "run" / name) for name in names}
    return Replay(compared, list(_causes(recorded, artifacts, data, here)))


def config_of(recorded: TrackedRun) -> TrainingConfig:
    """Read the configuration from a run's parameters."""
    if missing := [name for name in TRAINING_KEYS if name not in recorded.params]:
        raise DataError(f"the run {recorded.run_id} has no parameter {missing[0]}; replay another")
    values = {name: recorded.params[name] for name in TRAINING_KEYS}
    return reader.check(TrainingConfig, values, f"the run {recorded.run_id}", texts=True)


def _causes(recorded: TrackedRun, artifacts: Path, data: Dataset, here: Mapping[str, str]) -> Iterator[str]:
    """Say how the recorded training and this one differ, or that the store does not have what was recorded."""
    if lost := lost_weights(recorded, artifacts):
        yield f"the store: {lost}"
    if recorded.data_digest != data.digest:
        yield f"other data: digest {recorded.data_digest or 'unknown'} then, {data.digest} ({data.name}) now"
    names = {CODE: "other training code", "git.commit": "other commit", "requirements.sha256": "other packages"}
    if recorded.params.get("arithmetic") != "exact":
        names |= {name: f"another {name}" for name in here if name.startswith("machine.")}
    for name, words in names.items():
        then, now = recorded.tags.get(name, "unknown"), here.get(name, "unknown")
        if then != now:
            yield f"{words}: {then} then, {now} now"
    if recorded.tags.get("git.dirty") == "true":
        yield "uncommitted changes then: provenance.diff among the artifacts of the run, or of its sweep, has them"
    if here.get("git.dirty") == "true":
        yield "uncommitted changes now: `git diff HEAD` shows them"
