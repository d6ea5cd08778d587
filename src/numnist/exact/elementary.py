"""exp and log that give the same bits on every machine: separate products and sums of NumPy, which IEEE 754 defines.

NumPy's own, and libm's, differ in their last bits between CPUs and versions.
"""

import numpy as np

Array = np.ndarray

EXP_BITS = 40  # exp gives multiples of 2**-40
_LOG2_E, _LOG_2 = 1.4426950408889634, 0.6931471805599453
# 2**f = 1 + f (c1 + f (c2 + ...)) within 2e-9 of itself for abs(f) <= 1/2: the best such polynomial, c6 first
_POWER_OF_2 = (
    0.00015353361924119562,
    0.001339887441039054,
    0.009618437357583588,
    0.05550332471137692,
    0.24022647913630063,
    0.6931472028550585,
    1.0,
)
_LEAST = -64.0  # 2**-64 is rounded to 0
_TO_WHOLE = 1.5 * 2.0**52  # adding it rounds to a whole number, which its lowest bits then hold
_TO_GRID = 1.5 * 2.0 ** (52 - EXP_BITS)
_THREE_QUARTERS = int(np.float64(0.75).view(np.int64))
_CHUNK = 1 << 15  # numbers at a time, which a CPU's second cache holds


def exp(x: Array) -> Array:
    """Return e**x for x <= 0, float64, rounded to multiples of 2**-EXP_BITS: then a sum of results is exact."""
    result = np.empty(x.shape)
    source, target = x.reshape(-1), result.reshape(-1)
    for first in range(0, len(source), _CHUNK):
        _exp(source[first : first + _CHUNK], target[first : first + _CHUNK])
    return result


def _exp(x: Array, out: Array) -> None:
    y = x * _LOG2_E  # e**x = 2**y = 2**k 2**f, with k whole
    np.maximum(y, _LEAST, out=y)
    k = y + (_TO_WHOLE + 1023)
    y -= np.subtract(k, _TO_WHOLE + 1023, out=out)
    np.multiply(y, _POWER_OF_2[0], out=out)
    for coefficient in _POWER_OF_2[1:-1]:
        out += coefficient
        out *= y
    out += _POWER_OF_2[-1]
    bits = k.view(np.int64)
    bits <<= 52  # k + 1023 is the exponent of the float64 2**k
    out *= k
    out += _TO_GRID
    out -= _TO_GRID


def log(x: Array) -> Array:
    """Return the natural logarithm of x >= 1, float64, within 1e-10.

    x = 2**k z, with z from 3/4 to 3/2, and log z = 2 artanh s = 2 (s + s**3/3 + ...) for s = (z - 1) / (z + 1).
    """
    bits = x.view(np.int64)
    k = (bits - _THREE_QUARTERS) >> 52
    z = (bits - (k << 52)).view(np.float64)
    s = (z - 1) / (z + 1)
    square = s * s
    series = square * (1 / 11)
    for n in (9, 7, 5, 3):
        series += 1 / n
        series *= square
    series += 1
    series *= s
    return k * _LOG_2 + 2 * series


def half_cosine(part: float) -> float:
    """Return (1 + cos(pi part)) / 2 for part from 0 to 1, within 1e-15: it falls from 1 to 0.

    cos(pi part) = -sin x for x = pi (part - 1/2), by sin's Taylor series.
    """
    x = 3.141592653589793 * (part - 0.5)
    sine = term = x
    for n in range(3, 27, 2):
        term = -term * x * x / (n * (n - 1))
        sine += term
    return min(1.0, max(0.0, (1 - sine) / 2))
