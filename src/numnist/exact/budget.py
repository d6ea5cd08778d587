"""How many bits a factor may have, so that every partial sum of its products is exact: float64 holds 53.

| sum of products of | bits                    | with        | bits | over                   | added up in         |
|--------------------|-------------------------|-------------|------|------------------------|---------------------|
| W1                 | 24, or what room is left | pixels     | 8    | 784 pixels             | float64             |
| W2                 | 24, in pieces           | activations | 28   | h hidden units         | float64             |
| W2 transposed      | 24, or in pieces        | errors      | 25   | 10 classes             | float64             |
| errors, dZ         | 25                      | pixels      | 8    | 2**20 images           | float64             |
| errors, dZ         | 25, in pieces of 13     | activations | 28   | 2**12, or 2**22 images | float64, then int64 |

Weights have so many bits below the largest of their row; activations below their bound, which is the sum of the
absolute weights times the bound of what they are multiplied with, some 30 times what is met; errors below theirs.
float32 has 24 bits below each number.
"""

import numpy as np

from numnist.common.errors import NumericsError

FLOAT_BITS, INTEGER_BITS = 53, 63
PIXEL_BITS = 8
WEIGHT_BITS = 24
ACTIVATION_BITS = 28
ERROR_BITS = 25
PIECE_BITS = 13  # of an error, in sums with activations
LARGEST_LOSS_BITS = 12  # of one image's loss, in nats: guessing has 2.3
_LEAST_ROOM = 4  # fewer bits would take too many pieces
_LARGEST = 200


def room(bits: int, count: int) -> int:
    """Return how many bits the other factor may have, in a sum of `count` products with numbers of `bits` bits."""
    left = FLOAT_BITS - bits - (count - 1).bit_length()
    if left < _LEAST_ROOM:
        check(bits + _LEAST_ROOM, count)
    return left


def fits(bits: int, count: int, of: int = FLOAT_BITS) -> bool:
    """Whether a sum of `count` numbers of `bits` bits has at most so many."""
    return bits + (count - 1).bit_length() <= of


def check(bits: int, count: int, of: int = FLOAT_BITS) -> None:
    """Refuse a sum that would not be exact."""
    if not fits(bits, count, of):
        raise NumericsError(
            f"arithmetic: exact adds up at most {1 << (of - bits):,} numbers of {bits} bits (images, hidden units or "
            f"classes), and here are {count:,}; give fewer, or arithmetic: fast"
        )


def power_above(bound: np.ndarray | float) -> np.ndarray:
    """Return the least power of two that is not below a bound: at least 2**-200, and NaN above 2**200.

    So a network whose weights grow without bound gets NaN for its loss, which says that it diverges.
    """
    mantissa, exponent = np.frexp(bound)
    power = np.ldexp(1.0, np.maximum(exponent - (mantissa == 0.5), -_LARGEST))
    return np.where(np.less_equal(bound, 2.0**_LARGEST), power, np.nan)
