"""Arrays whose sums are exact: whatever is added up was rounded before, to multiples of a power of two.

    Weights @ Rounded      -> Real     Z = W A
    Real + Weights         -> Real     Z + b
    np.maximum(Real, 0)    -> Rounded  A = ReLU(Z)
    np.exp(Real)           -> Rounded  so a column's sum is exact
    Rounded / Real         -> Real     softmax
    Real / m               -> Rounded  dZ of the mean over m images
    Real * (A > 0)         -> Rounded  dZ of a hidden layer
    Rounded @ Rounded.mT   -> Sum      dW: a sum over images, whose parts add up in any order

Nothing else adds up, so nothing is added up inexactly by mistake. How coarsely a number is rounded follows from the
weights and from bounds of bounds, never from the images at hand: a network has the same bits alone and in any stack.
"""

from typing import Any, Self

import numpy as np

from numnist.exact import budget, elementary
from numnist.exact.budget import ACTIVATION_BITS, ERROR_BITS, FLOAT_BITS, INTEGER_BITS, PIECE_BITS, WEIGHT_BITS

Array = np.ndarray
Unit = Array | float  # powers of two: one for each row, (n, r, 1), or one for all


def round_to(x: Array, unit: Unit, out: Array | None = None) -> Array:
    """Round to multiples of a unit."""
    rounded: Array = np.add(x, _away(unit), out=out)
    rounded -= _away(unit)
    return rounded


def _away(unit: Unit) -> Unit:
    """Return what rounds to a unit if it is added and subtracted: so far from 0, float64 has no bits for less."""
    return 1.5 * 2.0**52 * unit


class Weights:
    """Float64 numbers of any size: (n, r, k) as the left factor of a product, or (n, r, 1) to be added to one."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self._rounded: dict[Any, tuple[Array, Array]] = {}
        self._transposed: Weights | None = None

    @property
    def mT(self) -> "Weights":
        """The transpose of each matrix."""
        self._transposed = self._transposed or Weights(self.array.mT)
        return self._transposed

    def __matmul__(self, other: "Rounded") -> "Real":
        left, bound = self._rounded_for(other)
        n, r, _ = self.array.shape
        products = left @ other.array
        return Real(_added(products.reshape(n, -1, r, products.shape[-1])), bound, other.images)

    def _rounded_for(self, other: "Rounded") -> tuple[Array, Array]:
        """Return pieces of the weights, (n, pieces * r, k), whose products are exact, and a bound of their sum."""
        unit = _transposed(other.unit)
        key = other.bits, other.scale, np.asarray(unit).tobytes()
        if key not in self._rounded:
            scaled = self.array * (unit / other.scale)  # now the other's unit may be taken for 1
            largest = np.maximum(scaled.max(axis=-1, keepdims=True), -scaled.min(axis=-1, keepdims=True))
            room = budget.room(other.bits, scaled.shape[-1])
            pieces = _cut(scaled, largest, room, -(-WEIGHT_BITS // room))
            total = sum(np.abs(piece).sum(axis=-1, keepdims=True) for piece in pieces)  # each piece's sum is exact
            joined = np.concatenate(pieces, axis=1) if len(pieces) > 1 else pieces[0]
            joined /= unit
            self._rounded[key] = joined, 1.01 * total * 2.0**other.bits
        return self._rounded[key]


class Real:
    """Float64 numbers (n, r, m), none larger than a bound, (n, r, 1).

    `+ Weights`, `/ m`, `* mask` and np.maximum work in its place and use it up: a product is written but once. What is
    added, (n, r, 1), waits for the first of the others.
    """

    def __init__(self, array: Array, bound: Unit = np.nan, images: int = 1, added: Array | None = None) -> None:
        self._array: Array | None = array
        self._bound, self._images, self._added = bound, images, added

    @property
    def array(self) -> Array:
        """The numbers."""
        if self._array is None:
            raise TypeError("these exact numbers are used up: +, /, * and np.maximum work in their place")
        if self._added is not None:
            self._array += self._added
            self._added = None
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """As an array's."""
        return self.array.dtype

    def __add__(self, other: "Weights | Real") -> "Real":
        if isinstance(other, Real):
            return Real(self.array + other.array)
        bound = self._bound + np.abs(other.array)
        array, self._array = self.array, None
        return Real(array, bound, self._images, other.array)

    def __sub__(self, other: "Real | Array") -> "Real":
        """Subtract. Zeros and ones are subtracted from probabilities: the bound stays."""
        return Real(self.array - (other.array if isinstance(other, Real) else other), self._bound)

    def __truediv__(self, images: int) -> "Rounded":
        """Divide by the number of images that later sums go over; what follows is rounded for these sums."""
        return self._rounded(ERROR_BITS, images)

    def __mul__(self, mask: Array) -> "Rounded":
        rounded = self._rounded(ERROR_BITS, self._images)
        rounded.array *= mask
        return rounded

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return self.array == (other.array if isinstance(other, Real) else other)

    __hash__ = None  # type: ignore[assignment]

    def max(self, axis: int, keepdims: bool) -> "Real":
        """As an array's."""
        return Real(self.array.max(axis=axis, keepdims=keepdims))

    def reshape(self, *shape: int) -> "Real":
        """As an array's."""
        return Real(self.array.reshape(shape))

    def take(self, indices: Array, axis: int) -> "Real":
        """As an array's."""
        return Real(self.array.take(indices, axis=axis))

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Do what NumPy is asked to do: np.maximum, np.exp, np.log."""
        if method != "__call__" or options:
            return NotImplemented
        if function is np.maximum:
            rounded = self._rounded(ACTIVATION_BITS, 1)
            np.maximum(rounded.array, inputs[1], out=rounded.array)
            return rounded
        if function is np.exp:
            return Rounded(elementary.exp(self.array), 2.0**-elementary.EXP_BITS, elementary.EXP_BITS)
        return Real(elementary.log(self.array)) if function is np.log else NotImplemented

    def _rounded(self, bits: int, images: int) -> "Rounded":
        """Round to so many bits below the bound, in place; what waits to be added costs no pass of its own."""
        unit = budget.power_above(self._bound) * 2.0**-bits
        away, added = _away(unit), self._added
        self._added = None
        array, self._array = self.array, None
        array += away if added is None else away + added
        array -= away
        return Rounded(array, unit, bits, images=images)


class Rounded:
    """Numbers (n, r, m) that are multiples of a unit, at most 2**bits units: what is added up.

    They stand for array / scale. `images`: how many images the sums go over, of which these may be a part.
    """

    __array_ufunc__ = None  # has NumPy leave operations to this class

    def __init__(self, array: Any, unit: Unit, bits: int, *, scale: float = 1.0, images: int = 1) -> None:
        self.array, self.unit, self.bits, self.scale, self.images = array, unit, bits, scale, images

    @property
    def mT(self) -> "Rounded":
        """The transpose of each matrix."""
        unit = _transposed(self.unit)
        return Rounded(self.array.mT, unit, self.bits, scale=self.scale, images=self.images)

    def __gt__(self, other: float) -> Array:
        return self.array > other

    def __truediv__(self, whole: Real) -> Real:
        """Divide parts by their whole: no quotient is larger than 1."""
        return Real(self.array / whole.array, 1.0)

    def sum(self, axis: int, keepdims: bool) -> "Real | Sum":
        """Add up each column, axis -2, or over images, axis -1."""
        budget.check(self.bits, self.images if axis == -1 else self.array.shape[axis])
        total = self.array.sum(axis=axis, keepdims=keepdims)
        return Sum(total[:, np.newaxis], 1.0, self.images) if axis == -1 else Real(total)

    def __matmul__(self, other: "Rounded") -> "Sum":
        divisor = self.images * other.scale
        if budget.fits(self.bits + other.bits, self.images):
            return Sum((self.array @ other.array)[:, np.newaxis], 1.0, divisor)
        budget.check(PIECE_BITS + other.bits, self.images, INTEGER_BITS)
        return Sum(*self._in_pieces(other), divisor)

    def _in_pieces(self, other: "Rounded") -> tuple[Array, Array]:
        """Return the products of pieces of these numbers with the other's as whole numbers, and their units."""
        (n, r, m), count, most = self.array.shape, -(-self.bits // PIECE_BITS), 2.0**self.bits * self.unit
        units = [most * 2.0 ** -(PIECE_BITS * (number + 1)) for number in range(count)]
        whole = np.stack([np.broadcast_to(unit, (n, r, 1)) for unit in units], axis=1)
        whole = whole * np.reshape(other.unit, (-1, 1, 1, np.size(other.unit) // n or 1))
        total: Any = 0
        chunk = 1 << (FLOAT_BITS - PIECE_BITS - other.bits)
        for images in (np.s_[..., first : first + chunk] for first in range(0, m, chunk)):
            rest = self.array[images]
            pieces = np.empty((n, count, r, rest.shape[-1]))
            for number in range(count - 1):
                round_to(rest, units[number], out=pieces[:, number])
                rest = np.subtract(rest, pieces[:, number], out=pieces[:, number + 1])
            products = (pieces.reshape(n, count * r, -1) @ other.array.mT[images].mT).reshape(n, count, r, -1)
            products /= whole
            total = total + products.astype(np.int64)
        return total, whole


class Sum:
    """A sum over images or a part of one: whole numbers of a unit, in pieces (n, pieces, r, k), over a divisor."""

    def __init__(self, array: Array, unit: Unit, divisor: float) -> None:
        self._array, self._unit, self._divisor = array, unit, divisor

    def __iadd__(self, other: "Sum") -> Self:
        self._array += other._array
        return self

    @property
    def value(self) -> Array:
        """The sum in float64, (n, r, k)."""
        return _added(self._array * self._unit) / self._divisor


def _transposed(unit: Unit) -> Unit:
    return unit.mT if isinstance(unit, np.ndarray) else unit


def _cut(x: Array, bound: Unit, bits: int, count: int) -> list[Array]:
    """Cut numbers into pieces of so many bits, the highest first: their sum is x, but for what is below the last."""
    pieces = []
    unit = budget.power_above(bound)
    for _ in range(count):
        unit = unit * 2.0**-bits
        pieces.append(round_to(x, unit))
        x = x - pieces[-1]
    return pieces


def _added(pieces: Array) -> Array:
    """Add up pieces (n, pieces, r, m), the lowest first."""
    total: Array = pieces[:, -1]
    for number in range(pieces.shape[1] - 2, -1, -1):
        total = total + pieces[:, number]
    return total
