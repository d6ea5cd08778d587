"""How many bits each factor of a sum may have: float64 has 53, and holds every whole number up to 2**53 exactly.

| product            | of          | bits  | with            | bits | added up in                           |
|--------------------|-------------|-------|-----------------|------|---------------------------------------|
| Weights @ Rounded  | weights     | 24    | pixels          | 8    | float64                               |
|                    |             | or more | activations   | 28   | float64, the weights in pieces        |
|                    |             |       | errors          | 24   | float64                               |
| Rounded @ Rounded  | errors      | 24    | pixels          | 8    | float64, up to 2**21 images           |
|                    |             |       | activations     | 28   | int64, the errors in pieces of 12 bits|
"""

import numpy as np

from numnist.common.errors import NumericsError

Array = np.ndarray

FLOAT_BITS, INTEGER_BITS = 53, 63
WEIGHT_BITS = 24  # float32's, at least
ERROR_BITS = 24
ACTIVATION_BITS = 28  # more, since their bound is some 30 times what is met
PIECE_BITS = 12  # of an error, in sums with activations
_LEAST_ROOM = 4
_LARGEST = 200


def room(bits: int, count: int) -> int:
    """Return how many bits are left for the other factor, in a sum of `count` products with numbers of `bits` bits."""
    left = FLOAT_BITS - bits - (count - 1).bit_length()
    if left < _LEAST_ROOM:
        raise NumericsError(f"exact sums of {count:,} products of {bits} bits do not fit")
    return left


def check_sum(bits: int, count: int, of: int = FLOAT_BITS) -> None:
    """Refuse a sum of so many numbers of so many bits that could leave what float64 or int64 holds."""
    if bits + (count - 1).bit_length() > of:
        raise NumericsError(f"a sum of {count:,} numbers of {bits} bits is not exact in {of} bits; at most {1 << (of - bits):,}")


def power_above(bound: Array | float) -> Array:
    """Return the least power of two that is not below a bound, 2**-200 at least, NaN if it is above 2**200.

    So a network whose weights leave all bounds gets NaN for its loss.
    """
    mantissa, exponent = np.frexp(bound)
    exponent = exponent - (mantissa == 0.5)
    power = np.ldexp(1.0, np.maximum(exponent, -_LARGEST))
    return np.where(exponent > _LARGEST, np.nan, power)
