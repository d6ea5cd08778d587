"""From a sweep's tables to the report's figures: what is drawn, on which scale, and with what beside it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from numnist.common.chance import wilson_interval
from numnist.report import svg
from numnist.report.svg import Axes, Bar, Cell, Interval, Line
from numnist.training.results import FINISHED

Array = np.ndarray
Grouped = dict[int, list[tuple[int, list[pd.DataFrame]]]]
_POINTS = 200  # points drawn of a curve, at most
_LOWEST = 1e-4  # the lowest error or loss on a logarithmic scale
_LONGEST_NAME = 20  # of a class, in letters
_WORDS = {"hidden_size": "hidden units", "learning_rate": "learning rate"}
_PALEST = 5  # the palest colour of a heat map stands for so many times the best error


def axes(sweep: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the values of each axis that a figure has, ascending."""
    return {axis: sorted(sweep[axis].unique().tolist()) for axis in ("hidden_size", "learning_rate", "iterations")}


def heat_scale(leaderboard: pd.DataFrame) -> tuple[float, float]:
    """Return the accuracies, as shares, that the palest and the darkest colour of the heat maps stand for."""
    best = max(1 - float(leaderboard["mean_validation_accuracy"].max()), _LOWEST)
    return 1 - min(_PALEST * best, 1.0), 1 - best


def heat_maps(
    leaderboard: pd.DataFrame, winner: Mapping[str, Any], values: Mapping[str, Sequence[Any]]
) -> list[Markup]:
    """Draw mean validation accuracy by hidden size and rate, a map per iteration count, all on one scale.

    The scale is logarithmic in the error, so that from 8% to 4% is as far as from 4% to 2%.
    """
    ranked = leaderboard[leaderboard["mean_validation_accuracy"].notna()].to_dict("records")
    means = {_grid_point(row): row["mean_validation_accuracy"] for row in ranked}
    palest, darkest = (math.log(1 - share) for share in heat_scale(leaderboard))

    def cell(place: tuple[int, float, int]) -> Cell:
        if place not in means:
            return Cell("not finished", None)
        depth = (palest - math.log(max(1 - means[place], _LOWEST))) / (palest - darkest) if palest > darkest else 1
        return Cell(f"{means[place]:.2%}", min(max(depth, 0), 1), place == _grid_point(winner))

    sizes, rates = values["hidden_size"], values["learning_rate"]
    return [
        svg.heat_map(
            [[cell((size, rate, iterations)) for rate in rates] for size in sizes],
            [f"{size:,}" for size in sizes],
            [f"{rate:g}" for rate in rates],
            title=f"{iterations:,} iterations",
            row_title="hidden units",
            column_title="learning rate",
            size=(max(56, 264 // len(rates)), 46),
        )
        for iterations in values["iterations"]
    ]


def longest(sweep: pd.DataFrame, curves: Mapping[str, pd.DataFrame]) -> Grouped:
    """Group by hidden size and rate the curves of the most iterations: (the rate's colour, a table per seed)."""
    rates, finished = axes(sweep)["learning_rate"], sweep[sweep["status"] == FINISHED]
    most = finished.groupby(["hidden_size", "learning_rate"])["iterations"].transform("max")
    tables: dict[int, dict[int, list[pd.DataFrame]]] = {}
    for trial in finished[finished["iterations"] == most].to_dict("records"):
        by_colour = tables.setdefault(trial["hidden_size"], {})
        by_colour.setdefault(rates.index(trial["learning_rate"]), []).append(curves[trial["name"]])
    return {size: sorted(by_colour.items(), key=lambda item: item[0]) for size, by_colour in sorted(tables.items())}


def error_curves(grouped: Grouped) -> list[Markup]:
    """Draw the validation error over iterations, a figure per hidden size, a line per rate."""
    lines = {size: _lines(groups, lambda table: 1 - table["validation_accuracy"]) for size, groups in grouped.items()}
    return _small_multiples(lines, "validation error", svg.percent, highest=1.0)


def loss_curves(grouped: Grouped) -> list[Markup]:
    """Draw the training (dashed) and the validation loss likewise."""
    lines = {
        size: _lines(groups, lambda table: table["train_loss"], dashed=True)
        + _lines(groups, lambda table: table["validation_loss"])
        for size, groups in grouped.items()
    }
    return _small_multiples(lines, "loss (nats per image)", "{:g}".format)


def test_intervals(metrics: Mapping[str, Any]) -> Markup:
    """Draw the test accuracies of the winner and of the note's network with their intervals."""
    tests = {"winner": metrics["test"], "the note's network": metrics["reference"]["test"]}
    rows = [
        Interval(name, test["accuracy"], (test["interval"]["low"], test["interval"]["high"]))
        for name, test in tests.items()
    ]
    return svg.intervals(rows, "test accuracy with its 95% interval")


def effects(importance: pd.DataFrame, sweep: pd.DataFrame) -> list[Markup]:
    """Draw the validation error of all trials by the values of each hyperparameter, what matters most first."""
    finished = sweep[sweep["status"] == FINISHED]
    errors = 1 - finished["validation_accuracy"]
    y_range = 0.9 * max(float(errors.min()), _LOWEST), 1.0
    ordered = importance[importance["hyperparameter"] != "seed"].sort_values("share", ascending=False, kind="stable")
    figures = []
    for axis, share in zip(ordered["hyperparameter"], ordered["share"]):
        groups = [(f"{value:g}", group.tolist()) for value, group in errors.groupby(finished[axis])]
        words = _WORDS.get(axis, axis)
        plot = Axes(f"{words}: {share:.0%}", words, "validation error", y_range, svg.percent)
        figures.append(svg.dots(groups, plot))
    return figures


def confusion(counts: Array, names: Sequence[str]) -> Markup:
    """Draw a confusion matrix: mistakes shaded by the root of their count, right predictions outlined and left pale."""
    most = max(int((counts - np.diag(counts.diagonal())).max()), 1)

    def cell(label: int, predicted: int) -> Cell:
        count = int(counts[label, predicted])
        hint = f"{names[label]} read as {names[predicted]}: {count:,}"
        right = label == predicted
        return Cell(str(count) if count or right else "·", 0 if right else math.sqrt(count / most), right, hint)

    shown, side = [_shortened(name) for name in names], max(7, min(34, 720 // len(names)))
    return svg.heat_map(
        [[cell(label, predicted) for predicted in range(len(counts))] for label in range(len(counts))],
        shown,
        shown,
        title="",
        row_title="the class",
        column_title="read as",
        size=(side, min(side, 30)),
    )


def calibration(table: pd.DataFrame) -> Markup:
    """Draw accuracy by confidence, a bar per bin."""
    return svg.reliability(
        Bar(
            (row["confidence_above"], row["confidence_up_to"]),
            row["mean_confidence"],
            row["accuracy"],
            wilson_interval(row["right"], row["images"]),
            row["images"],
        )
        for row in table.to_dict("records")
    )


def _grid_point(row: Mapping[Any, Any]) -> tuple[int, float, int]:
    return row["hidden_size"], row["learning_rate"], row["iterations"]


def _small_multiples(
    lines: Mapping[int, Sequence[Line]], title: str, label: Callable[[float], str], highest: float | None = None
) -> list[Markup]:
    """Draw a figure per hidden size, all on one scale."""
    lowest = min(float(line.y.min()) for group in lines.values() for line in group)
    highest = highest or 1.1 * max(float(line.y.max()) for group in lines.values() for line in group)
    y_range = 0.9 * max(lowest, _LOWEST), highest
    return [
        svg.curves(group, Axes(f"{size:,} hidden units", "iterations", title, y_range, label))
        for size, group in lines.items()
    ]


def _lines(
    groups: Iterable[tuple[int, list[pd.DataFrame]]],
    values: Callable[[pd.DataFrame], pd.Series],
    *,
    dashed: bool = False,
) -> list[Line]:
    """Take the seeds' curves of each group and their mean, at as many iterations as the eye can tell apart."""
    seeds, means = [], []
    for colour, tables in groups:
        curves = np.stack([values(table).to_numpy(np.float64) for table in tables])
        last = curves.shape[1] - 1
        stride = -(-last * max(1, len(tables) // 4) // _POINTS)  # of many seeds fewer points each
        kept = np.unique(np.append(np.arange(0, last, stride), last))
        x, curves = tables[0]["iteration"].to_numpy()[kept], curves[:, kept]
        means.append(Line(x, curves.mean(axis=0), colour, dashed=dashed))
        if len(tables) > 1:
            seeds += [Line(x, curve, colour, "seed", dashed) for curve in curves]
    return seeds + means


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
