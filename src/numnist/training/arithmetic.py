"""The two arithmetics: exact, the same bits on every machine, and fast, float32 as this machine does it fastest."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from numnist import exact
from numnist.network import Array, Numbers


@dataclass(frozen=True)
class Arithmetic:
    """What the network's equations are given, and what becomes of their results."""

    dtype: str  # of the parameters
    pixel_unit: float  # what pixels from 0 to 255 are divided by
    weights: Callable[[Array], Numbers]  # what stands for an array of parameters
    pixels: Callable[[Numbers], Numbers]  # what stands for X: an array of pixels, or what multiplies like one
    value: Callable[[Numbers], Array]  # of a sum over images
    sum_losses: Callable[[Numbers, int], Array]  # (n, m), of so many images in all, to float64 (n,)

    def columns(self, pixels: Array) -> Array:
        """Lay out images (m, p), uint8, as columns (p, m) of what `pixels` takes."""
        X = np.ascontiguousarray(pixels.T, self.dtype)
        X /= self.pixel_unit
        return X


def _unchanged(numbers: Numbers) -> Numbers:
    return numbers


def _sum(losses: Array, images: int) -> Array:
    return losses.sum(axis=-1, dtype=np.float64)


EXACT = Arithmetic("float64", 1.0, exact.Weights, exact.pixels, exact.value, exact.sum_losses)
FAST = Arithmetic("float32", 255.0, _unchanged, _unchanged, _unchanged, _sum)
ARITHMETICS = {"exact": EXACT, "fast": FAST}
