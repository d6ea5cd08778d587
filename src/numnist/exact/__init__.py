"""Sums that are the same on every machine, in any order: of whole numbers that float64 holds exactly.

May import: common. Start reading in `arrays.py`; `budget.py` says how many bits each factor has.
"""

from typing import Any

import numpy as np

from numnist.exact.arrays import Real, Rounded, Sum, Weights, round_to
from numnist.exact.budget import FLOAT_BITS, LARGEST_LOSS_BITS, PIXEL_BITS
from numnist.exact.selfcheck import check_blas

__all__ = ["Rounded", "Weights", "pixels", "sum_losses", "value"]


def pixels(X: Any) -> Rounded:
    """Return X of whole numbers from 0 to 255: an array (784, m), or what multiplies like one.

    All exact numbers begin with it, so here is the place to see that this machine's products are exact.
    """
    check_blas()
    return Rounded(X, 1.0, PIXEL_BITS, scale=255.0)


def value(total: Sum) -> np.ndarray:
    """Return a sum over images, or the mean if it was divided by their number, in float64."""
    return total.value


def sum_losses(losses: Real, images: int) -> np.ndarray:
    """Add up losses (n, m), part of those of so many images, to (n,). One above 4,096 nats counts as 4,096."""
    largest = 2.0**LARGEST_LOSS_BITS
    unit = largest * 2.0 ** ((images - 1).bit_length() - FLOAT_BITS)
    return round_to(np.minimum(losses.array, largest), unit).sum(axis=-1)
