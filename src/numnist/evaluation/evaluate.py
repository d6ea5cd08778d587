"""The one look at the test set: for the winner's best trial (`selection`) and for the note's network, the reference.

All that the report shows of the test images is put aside here, so that nothing after it opens the test set.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from numnist import network
from numnist.common import files
from numnist.common.errors import NumericsError
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Dataset, Split
from numnist.evaluation import selection, statistics
from numnist.evaluation.selection import ConfigurationScore, Grid
from numnist.network import CLASSES, Array, Parameters
from numnist.training.results import FINISHED, Result, read_weights

MISTAKES = 20  # pictures of mistakes put aside
UNITS = 64  # hidden units whose weights are put aside


@dataclass(frozen=True)
class Predictions:
    """What a network says to m images: digits, the probabilities that it gives them, and which are right, all (m,)."""

    predicted: Array
    confidence: Array
    right: Array

    @property
    def count(self) -> int:
        """How many are right."""
        return int(self.right.sum())


@dataclass(frozen=True)
class Evaluation:
    """All that is known of a sweep in the end: figures (JSON), tables (CSV) and arrays for pictures (.npz)."""

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    pictures: dict[str, Array]

    @property
    def winner_name(self) -> str:
        """The name of the winner's trial, whose weights lie in runs/<name>/."""
        return str(self.metrics["winner"]["name"])


def evaluate(
    table: pd.DataFrame, grid: Grid, runs: Path, data: Dataset, reference: Result, test: Callable[[], Split]
) -> Evaluation:
    """Choose the winner of a sweep on validation data, then test it and the reference.

    `table` is sweep.csv, `grid` what was to be in it. `test` opens the test set: it is called once, after all else has
    been read.
    """
    scores = selection.rank(table, grid)
    winner, second = scores[0], selection.runner_up(scores)
    if reference.status != FINISHED:
        raise NumericsError(
            f"the note's network {reference.config.name} {reference.status}; mend its values in conf/config.yaml"
        )
    best = read_best_trial(runs, winner)
    validated = predict(best, data.validation)
    rival = predict(read_best_trial(runs, second), data.validation) if second else None

    split = test()
    predictions, noted = predict(best, split), predict(reference.state.parameters, split)
    confusion = statistics.confusion_matrix(split.labels, predictions.predicted, CLASSES)
    reliability = statistics.reliability(predictions.confidence, predictions.right)
    unfinished = selection.unfinished(table, grid)
    metrics = {
        "dataset": {"name": data.name, "digest": data.digest},
        "trials": _counts(table, unfinished),
        "winner": _trial(winner.best_trial),
        "validation": _spread(winner) | {"n": len(data.validation.labels)},
        "test": _shares(predictions)
        | {
            "expected_calibration_error": reliability.expected_calibration_error,
            "mean_confidence": statistics.mean(predictions.confidence),
        },
        "runner_up": _trial(second.best_trial) | {"validation": _spread(second)} if second else None,
        "reference": _trial(reference.config)
        | {"validation": {"accuracy": reference.metrics["validation_accuracy"]}, "test": _shares(noted)},
        "mcnemar": {
            "runner_up": _paired("validation", validated, rival) if rival else None,
            "reference": _paired("test", predictions, noted),
        },
    }
    tables = {
        "leaderboard": selection.leaderboard(scores),
        "missing": unfinished,
        "per_class": pd.DataFrame({"digit": range(CLASSES), **statistics.per_class(confusion)}),
        "confusion": pd.DataFrame(confusion).rename_axis("label").reset_index(),
        "calibration": _calibration(reliability),
    }
    return Evaluation(metrics, tables, _pictures(predictions, split) | {"W1": _foremost_units(best)})


def write(evaluation: Evaluation, directory: Path) -> None:
    """Write metrics.json, its summary for `dvc metrics show`, tables/*.csv and pictures.npz."""
    files.remove_partial(directory)
    files.write_json(directory / "metrics.json", evaluation.metrics)
    files.write_json(directory / "summary.json", summary(evaluation.metrics))
    for name, table in evaluation.tables.items():
        files.write_text(directory / "tables" / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    files.save_arrays(directory / "pictures.npz", evaluation.pictures)


def summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few figures that tell one experiment from another, in one row."""
    return {
        "dataset": metrics["dataset"]["name"],
        "winner": metrics["winner"]["name"],
        "validation_accuracy": metrics["validation"]["accuracy"],
        "test_accuracy": metrics["test"]["accuracy"],
        "test_wrong": metrics["test"]["wrong"],
        "note_accuracy": metrics["reference"]["test"]["accuracy"],
        "diverged": metrics["trials"]["diverged"],
    }


def read_best_trial(runs: Path, score: ConfigurationScore) -> Parameters:
    """Read the weights of a configuration's best trial, a stack of one."""
    return read_weights(runs / score.best_trial.name / "weights.npz")


def predict(parameters: Parameters, split: Split) -> Predictions:
    """Ask one network about every image of a part."""
    probabilities = network.probabilities(parameters, split.pixels)
    predicted = probabilities.argmax(axis=1).astype(np.uint8)
    return Predictions(predicted, probabilities.max(axis=1), predicted == split.labels)


def _trial(config: TrainingConfig) -> dict[str, Any]:
    return {"name": config.name, **asdict(config)}


def _spread(score: ConfigurationScore) -> dict[str, Any]:
    return {
        "accuracy": score.mean,
        "lowest": score.lowest,
        "highest": score.highest,
        "seeds": len(score.accuracies),
    }


def _shares(predictions: Predictions) -> dict[str, Any]:
    n = len(predictions.right)
    low, high = statistics.wilson_interval(predictions.count, n)
    return {
        "accuracy": predictions.count / n,
        "error": (n - predictions.count) / n,
        "n": n,
        "wrong": n - predictions.count,
        "interval": {"low": low, "high": high},
    }


def _paired(data: str, first: Predictions, second: Predictions) -> dict[str, Any]:
    result = statistics.mcnemar(first.right, second.right)
    return {"data": data, "n": len(first.right), **asdict(result), "significant": result.significant}


def _counts(table: pd.DataFrame, unfinished: pd.DataFrame) -> dict[str, int]:
    states = unfinished["status"].tolist()
    finished = int((table["status"] == FINISHED).sum())
    return {"finished": finished} | {state: states.count(state) for state in ("diverged", "failed", "missing")}


def _calibration(reliability: statistics.Reliability) -> pd.DataFrame:
    columns = pd.DataFrame(
        {
            "confidence_above": reliability.low.round(6),
            "confidence_up_to": reliability.high.round(6),
            "images": reliability.count,
            "right": reliability.right,
            "mean_confidence": reliability.confidence,
            "accuracy": reliability.accuracy,
        }
    )
    return columns[columns["images"] > 0]


def _pictures(predictions: Predictions, split: Split) -> dict[str, Array]:
    """Pick the most confident mistakes, the worst first, and two right ones per digit, evenly through the test set."""
    wrong = np.flatnonzero(~predictions.right)
    mistakes = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:MISTAKES]
    by_digit = (np.flatnonzero(predictions.right & (split.labels == digit)) for digit in range(CLASSES))
    right = np.concatenate(
        [found[[len(found) // 3, 2 * len(found) // 3]] for found in by_digit if len(found)] or [wrong[:0]]
    )
    columns = {
        "pixels": split.pixels,
        "labels": split.labels,
        "predicted": predictions.predicted,
        "confidence": predictions.confidence,
        "indices": np.arange(len(split.labels)),
    }
    chosen = {"mistakes": mistakes, "correct": right}
    return {f"{kind}_{name}": values[rows] for kind, rows in chosen.items() for name, values in columns.items()}


def _foremost_units(best: Parameters) -> Array:
    """Return the incoming weights, (units, 784), of the hidden units with the largest outgoing weights."""
    foremost: Array = np.argsort(-network.influence(best), kind="stable")[:UNITS]
    return np.take(best[0][0], foremost, axis=0).astype(np.float32)
