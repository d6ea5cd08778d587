"""What the report and DVC's plots show of images: tables by class, curves, and pictures, kept as arrays."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from numnist import network
from numnist.data.dataset import Dataset, Split
from numnist.evaluation import confusion, statistics
from numnist.evaluation.predictions import Predictions
from numnist.network import Array, Parameters

MISTAKES = 20  # pictures of mistakes
PICTURES = 40  # other pictures, shared among the classes: one of each at least, and three at most
UNITS = 64  # hidden units whose weights are shown
_CURVE_POINTS = 1_000  # of a curve, at most


def by_class(classes: Sequence[str], split: Split, predictions: Predictions) -> dict[str, pd.DataFrame]:
    """Tabulate precision, recall, F1 and images per class, and the confusion matrix (rows: the class)."""
    counts = confusion.confusion_matrix(split.labels, predictions.predicted, len(classes))
    by_predicted = pd.DataFrame(counts, columns=list(classes), index=pd.Index(classes, name="class"))
    per_class = pd.DataFrame({"class": classes, **confusion.per_class(counts)})
    return {"per_class": per_class, "confusion": by_predicted.reset_index()}


def calibration(predictions: Predictions) -> pd.DataFrame:
    """Tabulate accuracy per bin of confidence; empty bins are left out."""
    bins = statistics.reliability(predictions.confidence, predictions.right)
    columns = bins.low.round(6), bins.high.round(6), bins.count, bins.right, bins.confidence, bins.accuracy
    names = "confidence_above", "confidence_up_to", "images", "right", "mean_confidence", "accuracy"
    table = pd.DataFrame(dict(zip(names, columns)))
    return table[table["images"] > 0]


def plots(
    classes: Sequence[str], split: Split, predictions: Predictions, curves: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Tabulate what DVC draws by its own templates: the winner's curves, and the class and the answer of each image."""
    names = np.array(classes)
    stride = -(-len(curves) // _CURVE_POINTS)
    pairs = {"actual": names[split.labels], "predicted": names[predictions.predicted]}
    return {"curves": curves[::stride], "confusion": pd.DataFrame(pairs)}


def pictures(data: Dataset, test: Split, predictions: Predictions, best: Parameters) -> dict[str, Array]:
    """Choose pictures to keep: samples of the training images, confident mistakes, right answers, and hidden units.

    Mistakes stand worst first; the others by class, evenly through their split.
    """
    wrong = np.flatnonzero(~predictions.right)
    chosen = {
        "mistakes": wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:MISTAKES],
        "correct": _of_each(test.labels, predictions.right, len(data.classes)),
    }
    columns = {
        "pixels": test.pixels,
        "labels": test.labels,
        "predicted": predictions.predicted,
        "confidence": predictions.confidence,
        "indices": np.arange(len(test.labels)),
    }
    samples = _of_each(data.train.labels, np.ones(len(data.train.labels), bool), len(data.classes))
    return {
        **{f"{kind}_{name}": values[rows] for kind, rows in chosen.items() for name, values in columns.items()},
        "samples_pixels": data.train.pixels[samples],
        "samples_labels": data.train.labels[samples],
        "units": network.foremost_weights(best, UNITS),
    }


def _of_each(labels: Array, among: Array, classes: int) -> Array:
    """Choose images of each class, evenly spread: the first of every class, then the second, and so on."""
    each = min(3, max(1, PICTURES // classes))
    by_class = [np.flatnonzero(among & (labels == label)) for label in range(classes)]
    chosen = [found[len(found) * k // (each + 1)] for k in range(1, each + 1) for found in by_class if len(found)]
    return np.array(chosen, np.int64)
