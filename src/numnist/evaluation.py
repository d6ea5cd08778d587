"""The choice of a winner on validation data, and its one look at the test set.

How a winner is chosen: a *configuration* is a cell without its seed. Configurations all of whose seeds finished are
ranked by mean validation accuracy over seeds; ties go to the smaller network, then to fewer iterations, then to the
smaller rate. A configuration's *champion* is its seed with the best validation accuracy (ties: the lowest seed).

The runner-up is the best configuration of another hidden size or rate. The same network some iterations earlier is
not a rival of the winner: it is the winner, half trained, and a paired test between the two would say nothing about
the choice that the sweep is there to make.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from numnist import files, network, statistics
from numnist.dataset import Dataset, Part
from numnist.errors import DataError, NumericsError
from numnist.network import Array, Parameters
from numnist.results import FINISHED, Result, read_weights

CELL = ["hidden_size", "learning_rate", "iterations", "seed"]
PICTURES = 20  # mistakes shown, and at most as many right answers
UNITS = 64  # hidden units shown
_IMAGES = 1_000  # images a forward pass, which bounds its memory


@dataclass(frozen=True)
class Standing:
    """How one configuration did on the validation data, a seed each."""

    hidden_size: int
    learning_rate: float
    iterations: int
    initialization: str
    accuracies: Mapping[int, float]  # of the seeds that finished
    expected_seeds: int

    @property
    def finished(self) -> bool:
        """Whether every seed finished: only then is it ranked."""
        return len(self.accuracies) == self.expected_seeds

    @property
    def mean(self) -> float:
        """The mean over seeds; rounded, so that equal means tie whatever the order of their sum."""
        return round(math.fsum(self.accuracies.values()) / len(self.accuracies), 12)

    @property
    def champion_seed(self) -> int:
        """The seed with the best accuracy; the lowest where several are best."""
        return min(self.accuracies, key=lambda seed: (-self.accuracies[seed], seed))

    def rivals(self, other: "Standing") -> bool:
        """Whether the two differ in more than how long they were trained."""
        return (self.hidden_size, self.learning_rate) != (other.hidden_size, other.learning_rate)


@dataclass(frozen=True)
class Answers:
    """What a network says to m images: digits and the probabilities it gives them, both (m,), and which are right."""

    predicted: Array
    confidence: Array
    right: Array

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return int(self.right.sum()) / len(self.right)


@dataclass(frozen=True)
class Evaluation:
    """All that is known of a sweep in the end: figures (JSON), tables (CSV) and arrays for pictures (.npz)."""

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    pictures: dict[str, Array]

    @property
    def champion(self) -> str:
        """The name of the winner's cell, whose weights lie in runs/<name>/."""
        return str(self.metrics["winner"]["name"])


def evaluate(table: pd.DataFrame, runs: Path, data: Dataset, reference: Result, test: Callable[[], Part]) -> Evaluation:
    """Choose the winner of a sweep on validation data, and test it and the note's network, the reference.

    `table` is sweep.csv. `test` opens the test set: it is called once, after the choice is made.
    """
    standings = rank(table)
    winner = standings[0]
    runner_up = next((item for item in standings[1:] if item.finished and item.rivals(winner)), None)
    if reference.status != FINISHED:
        raise NumericsError(
            f"the note's network {reference.config.name} {reference.status}; mend its values in conf/config.yaml"
        )
    champion = read_weights(runs / _champion_name(table, winner) / "weights.npz")
    validated = answer(champion, data.validation)
    rival = None
    if runner_up:
        rival = answer(read_weights(runs / _champion_name(table, runner_up) / "weights.npz"), data.validation)

    part = test()
    answers, noted = answer(champion, part), answer(reference.state.parameters, part)
    confusion = statistics.confusion_matrix(part.labels, answers.predicted, network.CLASSES)
    reliability = statistics.reliability(answers.confidence, answers.right)
    metrics = {
        "dataset": {"name": data.name, "digest": data.digest},
        "cells": _count_cells(table),
        "winner": _describe(table, winner),
        "validation": _spread(winner) | {"champion_accuracy": validated.accuracy, "n": len(validated.right)},
        "test": _shares(answers)
        | {
            "expected_calibration_error": reliability.expected_calibration_error,
            "mean_confidence": float(answers.confidence.mean(dtype=np.float64)),
        },
        "runner_up": _describe(table, runner_up) | {"validation": _spread(runner_up)} if runner_up else None,
        "reference": {
            "name": reference.config.name,
            **asdict(reference.config),
            "validation": {"accuracy": reference.metrics["validation_accuracy"]},
            "test": _shares(noted),
        },
        "mcnemar": {
            "runner_up": _paired("validation", validated, rival) if rival else None,
            "reference": _paired("test", answers, noted),
        },
    }
    tables = {
        "leaderboard": leaderboard(standings),
        "missing": unfinished(table),
        "per_class": pd.DataFrame({"digit": range(network.CLASSES), **statistics.per_class(confusion)}),
        "confusion": pd.DataFrame(confusion).rename_axis("label").reset_index(),
        "calibration": _calibration(reliability),
    }
    return Evaluation(metrics, tables, _pictures(answers, part) | {"W1": _foremost_units(champion)})


def rank(table: pd.DataFrame) -> list[Standing]:
    """Return every configuration of sweep.csv, the winner first, those not ranked last; DataError where none finished."""
    seeds = table["seed"].nunique()
    standings = [
        Standing(
            int(hidden_size),
            float(learning_rate),
            int(iterations),
            str(initialization),
            {
                int(seed): float(accuracy)
                for seed, accuracy in zip(cells["seed"], cells["validation_accuracy"], strict=True)
            },
            seeds,
        )
        for (hidden_size, learning_rate, iterations, initialization), cells in _finished(table).groupby(
            [*CELL[:3], "initialization"]
        )
    ]
    if not any(item.finished for item in standings):
        raise DataError(
            f"sweep.csv: no configuration finished with all of its {seeds} seeds, so none can win; "
            "try smaller learning rates (params.yaml), or run `dvc repro` again if the training was interrupted"
        )
    return sorted(
        standings,
        key=lambda item: (not item.finished, -item.mean, item.hidden_size, item.iterations, item.learning_rate),
    )


def unfinished(table: pd.DataFrame) -> pd.DataFrame:
    """List the cells of the grid that gave no network: those that diverged or failed, and those without a row."""
    states = {tuple(row[:4]): str(row[4]) for row in table[[*CELL, "status"]].itertuples(index=False)}
    grid = product(*(sorted(table[axis].unique()) for axis in CELL))
    rows = [(*cell, states.get(cell, "missing")) for cell in grid if states.get(cell) != FINISHED]
    return pd.DataFrame(rows, columns=[*CELL, "status"])


def answer(parameters: Parameters, part: Part) -> Answers:
    """Ask one network about every image of a part."""
    predicted, confidence = [], []
    for start in range(0, len(part.labels), _IMAGES):
        X = part.pixels[start : start + _IMAGES].T.astype(np.float32) / 255
        activations = network.forward(parameters, X)
        predicted.append(activations.Z2[0].argmax(axis=0))
        confidence.append(activations.A2[0].max(axis=0))
    digits = np.concatenate(predicted)
    return Answers(digits, np.concatenate(confidence), digits == part.labels)


def leaderboard(standings: list[Standing]) -> pd.DataFrame:
    """Tabulate the standings, a configuration a row; those not ranked have no rank and no mean."""
    rows = [
        {
            "rank": place if item.finished else None,
            "hidden_size": item.hidden_size,
            "learning_rate": item.learning_rate,
            "iterations": item.iterations,
            "initialization": item.initialization,
            "seeds": len(item.accuracies),
            "mean_validation_accuracy": item.mean if item.finished else None,
            "lowest": min(item.accuracies.values()),
            "highest": max(item.accuracies.values()),
        }
        for place, item in enumerate(standings, start=1)
    ]
    return pd.DataFrame(rows).astype({"rank": "Int64", "mean_validation_accuracy": "float64"})


def write(evaluation: Evaluation, directory: Path) -> None:
    """Write metrics.json, tables/*.csv and pictures.npz."""
    files.write_json(directory / "metrics.json", evaluation.metrics)
    for name, table in evaluation.tables.items():
        files.write_text(directory / "tables" / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    files.save_arrays(directory / "pictures.npz", evaluation.pictures)


def _finished(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["status"] == FINISHED]


def _champion_name(table: pd.DataFrame, standing: Standing) -> str:
    wanted = (standing.hidden_size, standing.learning_rate, standing.iterations, standing.champion_seed)
    rows = _finished(table)
    return str(
        next(row.name for row in rows.itertuples(index=False) if tuple(getattr(row, axis) for axis in CELL) == wanted)
    )


def _describe(table: pd.DataFrame, standing: Standing) -> dict[str, Any]:
    return {
        "name": _champion_name(table, standing),
        "hidden_size": standing.hidden_size,
        "learning_rate": standing.learning_rate,
        "iterations": standing.iterations,
        "seed": standing.champion_seed,
        "initialization": standing.initialization,
    }


def _spread(standing: Standing) -> dict[str, Any]:
    values = standing.accuracies.values()
    return {"accuracy": standing.mean, "lowest": min(values), "highest": max(values), "seeds": len(values)}


def _shares(answers: Answers) -> dict[str, Any]:
    right, n = int(answers.right.sum()), len(answers.right)
    low, high = statistics.wilson_interval(right, n)
    return {
        "accuracy": right / n,
        "error": (n - right) / n,
        "n": n,
        "right": right,
        "interval": {"low": low, "high": high},
    }


def _paired(data: str, first: Answers, second: Answers) -> dict[str, Any]:
    result = statistics.mcnemar(first.right, second.right)
    return {"data": data, "n": len(first.right), **asdict(result), "separable": result.separable}


def _count_cells(table: pd.DataFrame) -> dict[str, int]:
    states = unfinished(table)["status"].value_counts()
    return {"finished": len(_finished(table))} | {
        state: int(states.get(state, 0)) for state in ("diverged", "failed", "missing")
    }


def _calibration(reliability: statistics.Reliability) -> pd.DataFrame:
    columns = pd.DataFrame(
        {
            "confidence_above": reliability.low.round(6),
            "confidence_up_to": reliability.high.round(6),
            "images": reliability.count,
            "mean_confidence": reliability.confidence,
            "accuracy": reliability.accuracy,
        }
    )
    return columns[columns["images"] > 0]


def _pictures(answers: Answers, part: Part) -> dict[str, Array]:
    """Pick the most confident mistakes, the worst first, and two right answers a digit, a third and two thirds along."""
    wrong = np.flatnonzero(~answers.right)
    mistakes = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:PICTURES]
    by_digit = (np.flatnonzero(answers.right & (part.labels == digit)) for digit in range(network.CLASSES))
    sample = np.concatenate(
        [found[[len(found) // 3, 2 * len(found) // 3]] if len(found) else found for found in by_digit]
    )
    return {
        f"{kind}_{name}": values[chosen]
        for kind, chosen in (("mistakes", mistakes), ("correct", sample))
        for name, values in (
            ("pixels", part.pixels),
            ("labels", part.labels),
            ("predicted", answers.predicted.astype(np.uint8)),
            ("confidence", answers.confidence),
            ("indices", np.arange(len(part.labels))),
        )
    }


def _foremost_units(champion: Parameters) -> Array:
    """Return the first-layer weights (units, 784) of the hidden units with the largest outgoing weights, those first."""
    influence = np.square(champion.W2[0], dtype=np.float64).sum(axis=0)
    return champion.W1[0][np.argsort(-influence, kind="stable")[:UNITS]]
