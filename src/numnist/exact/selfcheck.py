"""Whether this machine's matrix products are exact where they should be: before the first one is relied on."""

import functools
from collections.abc import Callable

import numpy as np

from numnist.common.errors import NumericsError
from numnist.exact.budget import ACTIVATION_BITS, PIECE_BITS, PIXEL_BITS, room

Array = np.ndarray
_SUMS = (  # rows, inner, columns, bits of the left and of the right factor: as in training, with small and large ones
    (96, 784, 300, room(PIXEL_BITS, 784), PIXEL_BITS),
    (20, 32, 300, room(ACTIVATION_BITS, 32), ACTIVATION_BITS),
    (20, 300, 32, PIECE_BITS, ACTIVATION_BITS),
    (1, 784, 1, room(PIXEL_BITS, 784), PIXEL_BITS),
)


@functools.cache
def check_blas(multiply: Callable[[Array, Array], Array] = np.matmul) -> None:
    """Multiply whole numbers of which the products are known, up to 2**53; NumericsError if one of them is wrong."""
    for rows, inner, columns, left_bits, right_bits in _SUMS:
        left, across = _whole(rows, left_bits // 2), _whole(inner, left_bits // 2)
        down, right = _whole(inner, right_bits // 2)[::-1], _whole(columns, right_bits // 2)
        A, B = np.outer(left, across).astype(np.float64), np.outer(down, right).astype(np.float64)
        expected = np.outer(left, right) * (across * down).sum()
        for one, other in ((A, B), (np.asfortranarray(A), B), (A, np.asfortranarray(B))):
            wrong = np.count_nonzero(multiply(one, other) != expected)
            if wrong:
                raise NumericsError(
                    "arithmetic: exact needs a BLAS whose float64 products of whole numbers are exact, and of this "
                    f"machine's, {rows} x {inner} times {inner} x {columns}, {wrong:,} are wrong: does it emulate "
                    "float64? Install another NumPy (pip's has OpenBLAS), or give arithmetic: fast"
                )


def _whole(count: int, bits: int) -> Array:
    """Return odd whole numbers of so many bits, int64, with either sign."""
    numbers = (1 << bits) - 1 - 2 * (np.arange(count) * 7 % max(1, (1 << bits) // 8))
    return np.where(np.arange(count) % 3 == 1, -numbers, numbers)
