"""The figures of metrics.json: records that are written as nested mappings, under these names.

A trial is written as its name and its whole configuration.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from numnist.common.chance import wilson_interval
from numnist.config.schema import TrainingConfig
from numnist.evaluation import statistics
from numnist.evaluation.predictions import Predictions
from numnist.evaluation.selection import Candidate
from numnist.evaluation.statistics import Reliability

Trial = Mapping[str, Any]


@dataclass(frozen=True)
class Identity:
    """A data set."""

    name: str
    digest: str


@dataclass(frozen=True)
class TrialCounts:
    """How many trials of the grid came out how; those that learned nothing are among the finished ones."""

    finished: int
    diverged: int
    failed: int
    missing: int
    learned_nothing: int


@dataclass(frozen=True)
class Validation:
    """A configuration's accuracies on the n validation images: the mean over seeds, the lowest and the highest."""

    accuracy: float
    lowest: float
    highest: float
    seeds: int
    n: int


@dataclass(frozen=True)
class Interval:
    """A 95% interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Shares:
    """How one network did on n images."""

    accuracy: float
    error: float
    n: int
    wrong: int
    interval: Interval


@dataclass(frozen=True)
class Calibrated(Shares):
    """How one network did, and how well its confidence says so."""

    expected_calibration_error: float
    mean_confidence: float


@dataclass(frozen=True)
class RunnerUp:
    """The second best configuration; it is not tested."""

    trial: Trial
    validation: Validation


@dataclass(frozen=True)
class Reference:
    """The note's network, with one seed."""

    trial: Trial
    validation_accuracy: float
    test: Shares


@dataclass(frozen=True)
class Paired:
    """The winner (first) against another network (second), on n images of a split."""

    data: str
    n: int
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float
    significant: bool


@dataclass(frozen=True)
class Rivals:
    """The winner against the others."""

    runner_up: Paired | None
    reference: Paired


@dataclass(frozen=True)
class Metrics:
    """All figures of an evaluation."""

    dataset: Identity
    blank_pixels: int  # those without ink in any training image
    trials: TrialCounts
    winner: Trial
    edges: Mapping[str, str]  # of which axes the winner has the `lowest` or the `highest` value
    spikes: list[int]  # the winner's seeds whose validation curve ends on a spike
    validation: Validation
    test: Calibrated
    runner_up: RunnerUp | None
    reference: Reference
    mcnemar: Rivals


def trial(config: TrainingConfig) -> Trial:
    """Write a trial."""
    return {"name": config.name, **asdict(config)}


def validation(candidate: Candidate, n: int) -> Validation:
    """Gather how a configuration did on n validation images."""
    return Validation(candidate.accuracy, candidate.lowest, candidate.highest, candidate.seeds, n)


def shares(predictions: Predictions) -> Shares:
    """Count what is right and wrong."""
    n, right = len(predictions.right), predictions.count
    return Shares(right / n, (n - right) / n, n, n - right, Interval(*wilson_interval(right, n)))


def calibrated(predictions: Predictions, reliability: Reliability) -> Calibrated:
    """Count what is right and wrong, and compare it with the confidence."""
    confidence = math.fsum(predictions.confidence) / len(predictions.confidence)
    return Calibrated(
        **vars(shares(predictions)),
        expected_calibration_error=reliability.expected_calibration_error,
        mean_confidence=confidence,
    )


def paired(data: str, first: Predictions, second: Predictions) -> Paired:
    """Test two networks on the same images."""
    result = statistics.mcnemar(first.right, second.right)
    return Paired(data, len(first.right), **asdict(result), significant=result.significant)
