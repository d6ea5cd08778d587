"""What the counts of a test do and do not say: paired tests and calibration.

Right and wrong predictions are boolean arrays (m,), one entry an image. Everything here is exact or a closed formula:
the same input gives the same figures on every machine. SciPy has Wilson's interval and McNemar's test, too, but the
last digits differ between its versions; the tests hold ours to them.
"""

import math
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class McNemar:
    """How two classifiers did on the same n images, and how often chance alone splits their differences so unevenly."""

    n: int
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float
    significant: bool  # whether these images tell the two apart at the 5% level


def mcnemar(first: Array, second: Array) -> McNemar:
    """Compare two classifiers' right predictions on the same images by McNemar's exact test, two-sided.

    Of the images on which just one is right, each favours either with probability 1/2 if the two are equally good:
    the p-value is a sum of binomial coefficients over a power of two. It is computed in whole numbers for any count,
    so no approximation for large counts is needed.
    """
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    both_right, both_wrong = int((first & second).sum()), int((~first & ~second).sum())
    n, fewer = only_first + only_second, min(only_first, only_second)
    coefficient = tail = 1  # n over 0
    for k in range(1, fewer + 1):
        coefficient = coefficient * (n - k + 1) // k  # n over k
        tail += coefficient
    p_value = min(1.0, 2 * tail / 2**n)
    return McNemar(len(first), both_right, only_first, only_second, both_wrong, p_value, p_value < SIGNIFICANCE)


@dataclass(frozen=True)
class Reliability:
    """How often predictions of a given confidence were right: one entry per bin (low, high], means 0 if it is empty."""

    low: Array
    high: Array
    count: Array
    right: Array
    confidence: Array

    @property
    def accuracy(self) -> Array:
        """The share of right predictions in each bin."""
        return share(self.right, self.count)

    @property
    def expected_calibration_error(self) -> float:
        """The mean gap between confidence and accuracy, each bin weighted by its images."""
        gaps = np.abs(self.confidence - self.accuracy) * self.count
        return math.fsum(gaps) / int(self.count.sum())


def reliability(confidence: Array, right: Array, bins: int = 10) -> Reliability:
    """Group predictions into bins of equal width by the probability given to the answer, (m,) in [0, 1]."""
    edges = np.linspace(0, 1, bins + 1)
    places = np.searchsorted(edges[1:-1], confidence)
    count = np.bincount(places, minlength=bins)
    hits = np.bincount(places[right], minlength=bins)
    sums = np.bincount(places, weights=confidence.astype(np.float64), minlength=bins)
    return Reliability(edges[:-1], edges[1:], count, hits, share(sums, count))


def share(part: Array, whole: Array) -> Array:
    """Divide counts; 0 if the whole is 0."""
    shares = np.zeros(len(whole))
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
