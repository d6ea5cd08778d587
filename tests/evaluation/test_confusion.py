"""The confusion matrix and the figures per class, held to scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from numnist.evaluation import confusion


def test_confusion_and_per_class_figures_are_those_of_scikit_learn():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 10, 500).astype(np.uint8)
    predicted = np.where(rng.random(500) < 0.7, labels, rng.integers(0, 9, 500))  # 9 is never predicted by chance
    counts = confusion.confusion_matrix(labels, predicted, 10)
    assert (counts == confusion_matrix(labels, predicted, labels=range(10))).all()
    got = confusion.per_class(counts)
    expected = precision_recall_fscore_support(labels, predicted, labels=range(10), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert got[name] == pytest.approx(values), name


def test_a_class_that_is_absent_and_never_predicted_gets_zeros_as_in_scikit_learn():
    labels, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])
    got = confusion.per_class(confusion.confusion_matrix(labels, predicted, 3))
    expected = precision_recall_fscore_support(labels, predicted, labels=range(3), zero_division=0)
    assert got["f1"] == pytest.approx(expected[2])
    assert got["support"].tolist() == [2, 1, 0]
