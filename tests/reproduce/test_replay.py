"""A trial trained again from its record: exact, close, or other, and what is named as a cause."""

from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import digits
import numpy as np
import pytest

from numnist.common import files
from numnist.common.errors import ConfigError, DataError
from numnist.config.schema import TrainingConfig
from numnist.reproduce import verify
from numnist.reproduce.replay import Replay, config_of
from numnist.reproduce.replay import replay as again
from numnist.tracking.recorded import TrackedRun
from numnist.tracking.runs import CODE, WEIGHTS
from numnist.training import checkpoints, results, scheduling

CONFIG = TrainingConfig(hidden_size=5, learning_rate=1e-05, iterations=2, seed=0, initialization="he")
DATA = digits.dataset(300, 50)
PARAMS = {name: str(value) for name, value in asdict(CONFIG).items()}  # as MLflow keeps them
TAGS = {"git.commit": "abc", "git.dirty": "false", "machine.numpy": "2.0"}


@pytest.fixture
def recorded(tmp_path: Path) -> TrackedRun:
    """A record, and its artifacts in the directory `run`."""
    trainer = scheduling.Trainer(DATA, scheduling.open_store(tmp_path / "first", DATA))
    [result] = chain.from_iterable(trainer.train([CONFIG]))
    results.write_run(tmp_path / "run", result, {"name": "x", "digest": "y"})
    return TrackedRun("id", CONFIG.name, PARAMS, TAGS | {CODE: checkpoints.code_digest()}, DATA.digest)


def replayed(recorded: TrackedRun, directory: Path, **here: str) -> Replay:
    return again(
        recorded, directory / "run", DATA, {**TAGS, CODE: checkpoints.code_digest(), **here}, directory / "again"
    )


def test_the_same_trial_is_the_same_to_the_byte_and_nothing_explains_otherwise(
    recorded: TrackedRun, tmp_path: Path
) -> None:
    found = replayed(recorded, tmp_path)
    assert {name: one.verdict for name, one in found.differences.items()} == {
        "weights.npz": verify.SAME,
        "curves.csv": verify.SAME,
    }
    assert found.causes == []


def test_a_changed_bit_is_within_tolerance_and_another_network_is_not(recorded: TrackedRun, tmp_path: Path) -> None:
    path = tmp_path / "run" / "weights.npz"
    arrays = {name: array[0] for name, array in results.read_weights(path)._asdict().items()}
    arrays["W1"][0, 0] = np.nextafter(arrays["W1"][0, 0], 9)
    files.save_arrays(path, arrays)
    assert replayed(recorded, tmp_path).worst.verdict == verify.CLOSE
    other = replace(recorded, params={**PARAMS, "seed": "1"})
    assert replayed(other, tmp_path).worst.verdict == verify.DIFFERENT


@pytest.mark.parametrize(
    ("then", "now", "cause"),
    [
        ({}, {"git.commit": "def"}, "other commit: abc then, def now"),
        ({}, {CODE: "def"}, "other training code: "),
        ({}, {"git.dirty": "true"}, "uncommitted changes now"),
        ({"git.dirty": "true"}, {}, "uncommitted changes then"),
        ({"requirements.sha256": "1"}, {"requirements.sha256": "2"}, "other packages: 1 then, 2 now"),
    ],
)
def test_what_was_not_alike_is_named(
    recorded: TrackedRun, tmp_path: Path, then: dict[str, str], now: dict[str, str], cause: str
) -> None:
    [named] = replayed(replace(recorded, tags={**recorded.tags, **then}), tmp_path, **now).causes
    assert named.startswith(cause)


@pytest.mark.parametrize("weights", [b"", b"another file", None])
def test_files_that_the_store_lost_or_changed_are_named(
    recorded: TrackedRun, tmp_path: Path, weights: bytes | None
) -> None:
    file = tmp_path / "run" / "weights.npz"
    logged = replace(recorded, tags={**recorded.tags, WEIGHTS: files.sha256(file)})
    assert replayed(logged, tmp_path).causes == []
    if weights is None:
        file.unlink()
    else:
        file.write_bytes(weights)
    [named] = replayed(logged, tmp_path).causes
    assert named.startswith("the store: its weights.npz is ") and ("gone" in named) == (weights is None)


def test_other_data_are_named(recorded: TrackedRun, tmp_path: Path) -> None:
    [named] = replayed(replace(recorded, data_digest="old"), tmp_path).causes
    assert named == f"other data: digest old then, {DATA.digest} (made-up) now"


def test_parameters_are_read_as_they_were_logged(recorded: TrackedRun) -> None:
    assert config_of(recorded) == CONFIG


def test_parameters_that_are_missing_or_not_allowed_are_errors(recorded: TrackedRun) -> None:
    with pytest.raises(DataError, match="has no parameter hidden_size; replay another"):
        config_of(replace(recorded, params={}))
    with pytest.raises(ConfigError, match="the run id: hidden_size is '0'; allowed"):
        config_of(replace(recorded, params={**PARAMS, "hidden_size": "0"}))
