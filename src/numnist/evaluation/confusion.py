"""The confusion matrix, and what it says of each class."""

import numpy as np

from numnist.evaluation.statistics import share
from numnist.network import Array


def confusion_matrix(labels: Array, predicted: Array, classes: int) -> Array:
    """Count the images of each label (rows) by predicted class (columns): int64 (classes, classes)."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def per_class(confusion: Array) -> dict[str, Array]:
    """Return each class's precision, recall, F1 and support; 0 if its denominator is 0."""
    right, predicted, support = confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)
    return {
        "precision": share(right, predicted),
        "recall": share(right, support),
        "f1": share(2 * right, predicted + support),
        "support": support,
    }
