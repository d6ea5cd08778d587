"""Arrays whose sums are exact: whatever is added up was rounded before to multiples of a power of two.

    Weights @ Rounded        -> Real      Z = W A
    Real + Weights           -> Real      Z + b
    np.maximum(Real, 0)      -> Rounded   A = ReLU(Z)
    np.exp(Real)             -> Rounded   its sums over a column are exact
    Real / m                 -> Rounded   dZ, of a mean over m images
    Real * (A > 0)           -> Rounded   dZ of a hidden layer
    Rounded @ Rounded.mT     -> Sum       dW, over images: its parts may be added in any order

What is not in this list is refused with a TypeError: so nothing is added up inexactly by mistake.
"""

from typing import Any

import numpy as np

from numnist.exact import elementary
from numnist.exact.budget import (
    ACTIVATION_BITS, ERROR_BITS, FLOAT_BITS, INTEGER_BITS, PIECE_BITS, WEIGHT_BITS, check_sum, power_above, room,
)

Array = np.ndarray
Unit = Array | float
CHUNK = 1 << (FLOAT_BITS - ACTIVATION_BITS - PIECE_BITS)


def round_to(x: Array, unit: Unit, out: Array | None = None) -> Array:
    """Round to multiples of a unit: adding 1.5 * 2**52 units leaves float64 no bits for less than a unit."""
    offset = 1.5 * 2.0**52 * unit
    rounded: Array = np.add(x, offset, out=out)
    rounded -= offset
    return rounded


class Weights:
    """Any float64 numbers: (n, r, k) as the left factor of a product, (n, r, 1) to be added to one."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self._kept: dict[Any, Any] = {}

    @property
    def mT(self) -> "Weights":
        """The transpose of each matrix."""
        if "mT" not in self._kept:
            self._kept["mT"] = Weights(self.array.mT)
        return self._kept["mT"]

    def __matmul__(self, other: "Rounded") -> "Real":
        left, bound = self._rounded_for(other)
        n, r, _ = self.array.shape
        products = (left @ other.array).reshape(n, -1, r, other.array.shape[-1])
        return Real(_added(products), bound, other.images)

    def _rounded_for(self, other: "Rounded") -> tuple[Array, Array]:
        """Return pieces of the weights, (n, pieces * r, k), whose products are exact, and the bound of the whole."""
        unit = _mT(other.unit)
        key = other.bits, other.scale, np.asarray(unit).tobytes()
        if key not in self._kept:
            scaled = self.array * (unit / other.scale)  # as if the other's unit were 1
            largest = np.maximum(scaled.max(axis=-1, keepdims=True), -scaled.min(axis=-1, keepdims=True))
            space = room(other.bits, scaled.shape[-1])
            pieces = _cut(scaled, power_above(largest), space, -(-WEIGHT_BITS // space))
            bound = np.abs(pieces[0]).sum(axis=-1, keepdims=True) * 2.0**other.bits * (1 + 2.0**-10) # exact
            self._kept[key] = np.concatenate(pieces, axis=1) / unit if len(pieces) > 1 else pieces[0]/unit, bound
        return self._kept[key]


class Real:
    """Float64 numbers (n, r, m) of which none is larger than a bound, (n, r, 1). +, * and np.maximum use it up."""

    def __init__(self, array: Array, bound: Unit = np.nan, images: int = 1) -> None:
        self._array, self._bound, self._images = array, bound, images

    @property
    def array(self): 
        return self._array
    @property
    def shape(self): return self.array.shape
    @property
    def dtype(self): return self.array.dtype

    def _used_up(self) -> Array:
        array, self._array = self.array, None
        return array

    def __add__(self, other: "Weights | Real") -> "Real":
        bound = self._bound + np.abs(other.array) if isinstance(other, Weights) else np.nan
        array = self._used_up()
        array += other.array
        return Real(array, bound)

    def __sub__(self, other: "Real | Array") -> "Real":
        if isinstance(other, Real):
            return Real(self.array - other.array)
        return Real(self.array - other, self._bound)

    def __truediv__(self, m: int) -> "Rounded":
        return _round(self._used_up(), self._bound, ERROR_BITS, m)

    def __mul__(self, mask: Array) -> "Rounded":
        rounded = _round(self._used_up(), self._bound, ERROR_BITS, self._images)
        rounded.array *= mask
        return rounded

    def __eq__(self, other: "Real") -> Array:
        return self.array == other.array

    def max(self, axis: int, keepdims: bool) -> "Real":
        return Real(self.array.max(axis=axis, keepdims=keepdims))

    def __getitem__(self, key: Any) -> "Real":
        return Real(self.array[key])
    def reshape(self, *shape): return Real(self.array.reshape(shape))
    def take(self, indices, axis): return Real(self.array.take(indices, axis=axis))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kw: Any) -> Any:
        if ufunc is np.exp:
            return Rounded(elementary.exp(self.array), 2.0**-elementary.EXP_BITS, elementary.EXP_BITS)
        if ufunc is np.log:
            return Real(elementary.log(self.array))
        if ufunc is np.maximum:
            rounded = _round(self._used_up(), self._bound, ACTIVATION_BITS)
            np.maximum(rounded.array, inputs[1], out=rounded.array)
            return rounded
        return NotImplemented


class Rounded:
    """Multiples of a unit, a power of two for each row, at most 2**bits units. Its true values are 1/scale of them."""

    __array_ufunc__ = None

    def __init__(self, array: Any, unit: Unit, bits: int, *, scale: float = 1.0, images: int = 1) -> None:
        self.array, self.unit, self.bits, self.scale, self.images = array, unit, bits, scale, images

    @property
    def mT(self) -> "Rounded":
        return Rounded(self.array.mT, _mT(self.unit), self.bits, scale=self.scale, images=self.images)
    @property
    def shape(self): return self.array.shape

    def __gt__(self, other: float) -> Array:
        return self.array > other

    def __truediv__(self, whole: Real) -> Real:
        """Divide parts by their whole: the quotients are at most 1."""
        return Real(self.array / whole.array, 1.0)

    def sum(self, axis: int, keepdims: bool) -> Any:
        total = self.array.sum(axis=axis, keepdims=keepdims)
        if axis == -1:
            check_sum(self.bits, self.images)
            return Sum(total[:, np.newaxis], 1.0, self.images)
        check_sum(self.bits, self.array.shape[axis])
        return Real(total)

    def __matmul__(self, other: "Rounded") -> "Sum":
        if self.bits + other.bits + (self.images - 1).bit_length() <= FLOAT_BITS:
            return Sum((self.array @ other.array)[:, np.newaxis], 1.0, self.images * other.scale)
        n, r, m = self.array.shape
        check_sum(PIECE_BITS + other.bits, self.images, INTEGER_BITS)
        unit, count = self.unit * 2.0**self.bits, -(-self.bits // PIECE_BITS)
        units = np.array([2.0**-(PIECE_BITS * (i+1)) for i in range(count)]).reshape(1, -1, 1, 1) * np.reshape(np.broadcast_to(unit, (n, r, 1)), (n, 1, r, 1)) * np.reshape(other.unit, (n,1,1,-1))
        total = 0
        for first in range(0, m, CHUNK):
            columns = np.s_[..., first : first + CHUNK]
            left = self.array[columns]
            pieces = np.empty((n, count, r, left.shape[-1]))
            _cut(left, unit, PIECE_BITS, count, pieces)
            product = (pieces.reshape(n, count * r, -1) @ other.array.mT[columns].mT).reshape(n, count, r, -1)
            total = total + (product / units).astype(np.int64)
        return Sum(total, units, self.images * other.scale)


class Sum:
    """Part of a sum over images, exact: multiples of a unit, in pieces (n, pieces, r, k). Parts add up in any order."""

    def __init__(self, array: Array, unit: Unit, divisor: float) -> None:
        self.array, self.unit, self.divisor = array, unit, divisor

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.array + other.array, self.unit, self.divisor)

    @property
    def value(self) -> Array:
        """The sum, rounded once or, if in pieces, a few times."""
        if self.array.shape[1] == 1 and self.array.dtype == np.float64:
            return self.array[:, 0] / self.divisor
        return _added(self.array * self.unit) / self.divisor


def _mT(unit: Unit) -> Unit:
    return unit.mT if isinstance(unit, np.ndarray) and unit.ndim else unit


def _round(x: Array, bound: Unit, bits: int, images: int = 1) -> Rounded:
    """Round in place to so many bits below a bound."""
    unit = power_above(bound) * 2.0**-bits
    return Rounded(round_to(x, unit, x), unit, bits, images=images)


def _cut(x: Array, bound: Unit, bits: int, count: int, out: Array | None = None):
    """Cut numbers into pieces of so many bits each, the highest first; their sum is x but for what is lower."""
    pieces = []
    for number in range(count):
        unit = bound * 2.0 ** -(bits * (number+1))
        target = None if out is None else out[:, number]
        pieces.append(round_to(x, unit, target))
        if number + 1 < count:
            x = x - pieces[-1]
    return pieces


def _added(pieces: Array) -> Array:
    """Add pieces, (n, pieces, r, m), the lowest first."""
    total: Array = pieces[:, -1]
    for number in range(pieces.shape[1] - 2, -1, -1):
        total = total + pieces[:, number]
    return total
