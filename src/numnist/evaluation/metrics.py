"""The figures of metrics.json: records that are written as nested mappings, under these names."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from numnist.common.chance import wilson_interval
from numnist.config.schema import TrainingConfig
from numnist.evaluation import statistics
from numnist.evaluation.predictions import Predictions
from numnist.evaluation.selection import Spread
from numnist.evaluation.statistics import McNemar

Trial = Mapping[str, Any]  # a name and a whole configuration


@dataclass(frozen=True)
class TrialCounts:
    """How many trials of the grid came out how; those that learned nothing are among the finished ones."""

    finished: int
    diverged: int
    failed: int
    missing: int
    learned_nothing: int


@dataclass(frozen=True)
class Shares:
    """How one network did on n images, with a 95% interval (low, high), and how well its confidence says so."""

    accuracy: float
    error: float
    n: int
    wrong: int
    interval: Mapping[str, float]
    expected_calibration_error: float
    mean_confidence: float


@dataclass(frozen=True)
class Rival:
    """A network beside the winner. The runner-up is compared on the validation images, and never tested."""

    trial: Trial
    validation: Spread
    test: Shares | None
    mcnemar: McNemar  # the winner (first) against this one


@dataclass(frozen=True)
class Metrics:
    """All figures of an evaluation."""

    dataset: Mapping[str, str]  # name and digest
    blank_pixels: int  # those without ink in any training image
    trials: TrialCounts
    winner: Trial
    edges: Mapping[str, str]  # of which axes the winner has the `lowest` or the `highest` value
    spikes: list[int]  # the winner's seeds whose validation curve ends on a spike
    validation: Spread
    test: Shares
    runner_up: Rival | None
    reference: Rival  # the note's network


def trial(config: TrainingConfig) -> Trial:
    """Write a trial."""
    return {"name": config.name, **asdict(config)}


def shares(predictions: Predictions) -> Shares:
    """Count what is right and wrong, and compare it with the confidence."""
    n, right = len(predictions.right), predictions.count
    calibration = statistics.reliability(predictions.confidence, predictions.right).expected_calibration_error
    interval = dict(zip(("low", "high"), wilson_interval(right, n)))
    return Shares(
        right / n, (n - right) / n, n, n - right, interval, calibration, math.fsum(predictions.confidence) / n
    )
