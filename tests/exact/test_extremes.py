"""Products as large as the budget lets them become, with random lowest bits: each is right to the last unit."""

from fractions import Fraction

import numpy as np
import pytest

from numnist import exact
from numnist.exact import budget
from numnist.exact.arrays import Real, Weights

Array = np.ndarray


def near(bound: float, bits: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Return numbers just below a bound, of so many bits, the lowest of them random."""
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape))).reshape(shape)
    return bound * (1 - (raw >> np.uint64(64 - bits + 4)) * 2.0**-bits)


def whole(array: Array, unit: Array | float) -> Array:
    """Return how many units each number has, int64; all are whole."""
    units = array / unit
    assert np.array_equal(units, np.rint(units))
    return units.astype(np.int64)


def assert_product(left: Array, left_unit: float, right: Array, right_unit: float) -> None:
    """Compare a float64 product with that of the same whole numbers in int64."""
    expected = whole(left, left_unit) @ whole(right, right_unit)
    assert np.abs(expected).max() < 2**53
    np.testing.assert_array_equal(whole(left @ right, left_unit * right_unit), expected)


@pytest.mark.parametrize("scale", [1.0, 2.0**-40, 3.7e8])
def test_weights_times_pixels_at_the_bound(scale: float) -> None:
    W, pixels = Weights(scale * near(1.0, 50, (1, 40, 784))), np.full((784, 70), 255.0)
    rounded, bound = W._rounded_for(exact.pixels(pixels))
    unit = float(budget.power_above(np.abs(rounded).max()[np.newaxis])[0]) * 2.0 ** -budget.room(8, 784)
    assert_product(rounded[0], unit, pixels, 1.0)
    assert ((rounded @ pixels)[0] <= bound[0]).all()


@pytest.mark.parametrize("h", [1, 10, 32, 33, 512, 1000, 10_000])
def test_weights_times_activations_at_the_bound(h: int) -> None:
    A = np.maximum(Real(near(1.0, 50, (1, h, 9)), 1.0), np.zeros(9))
    rounded, _ = Weights(near(1.0, 50, (1, 10, h)))._rounded_for(A)
    room = budget.room(budget.ACTIVATION_BITS, h)
    for number, piece in enumerate(np.split(rounded[0], -(-budget.WEIGHT_BITS // room)), 1):
        assert_product(piece, 2.0 ** (-room * number), A.array[0], float(A.unit))


def test_weights_times_errors_at_the_bound() -> None:
    dZ = Real(near(1.0, 50, (1, 10, 9)), 1.0) / 60_000
    rounded, _ = Weights(near(1.0, 50, (1, 64, 10)))._rounded_for(dZ)
    assert_product(rounded[0], 2.0 ** -budget.room(budget.ERROR_BITS, 10), dZ.array[0], float(dZ.unit))


def test_errors_times_pixels_at_the_bound_over_as_many_images_as_there_may_be() -> None:
    m = 1 << (budget.FLOAT_BITS - budget.ERROR_BITS - budget.PIXEL_BITS)
    dZ, X = Real(near(1.0, 50, (1, 1, m)), 1.0) / m, np.full((1, m), 255.0)
    total = (dZ @ exact.pixels(X).mT)._array
    assert total.item() / dZ.unit == int(whole(dZ.array, dZ.unit).sum()) * 255


@pytest.mark.parametrize("m", [1, 8192, 8193, 60_000])
def test_errors_times_activations_at_the_bound(m: int) -> None:
    dZ, A = Real(near(1.0, 50, (1, 1, m)), 1.0) / m, np.maximum(Real(near(1.0, 50, (1, 1, m), 1), 1.0), np.zeros(m))
    total = dZ @ A.mT
    units = np.broadcast_to(total._unit, total._array.shape)
    found = sum(
        Fraction(piece) * Fraction(unit) for piece, unit in zip(total._array.ravel().tolist(), units.ravel().tolist())
    )
    errors, activations = whole(dZ.array, dZ.unit).ravel().tolist(), whole(A.array, A.unit).ravel().tolist()
    expected = sum(e * a for e, a in zip(errors, activations))
    assert found == expected * Fraction(float(dZ.unit)) * Fraction(A.unit.item())
