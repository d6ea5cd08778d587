"""What does not fit into exact sums is refused, with the number."""

import numpy as np
import pytest

from numnist.common.errors import NumericsError
from numnist.exact import budget
from numnist.exact.arrays import Real, Rounded, Weights
from numnist.exact.selfcheck import check_blas


def test_too_many_images_are_refused_with_their_number() -> None:
    dZ = Real(np.zeros((1, 10, 4)), 1.0) / 4_194_305
    with pytest.raises(NumericsError, match=r"adds up at most 4,194,304 numbers of 41 bits .* here are 4,194,305"):
        dZ @ Rounded(np.zeros((1, 4, 5)), 1.0, budget.ACTIVATION_BITS)


def test_two_million_images_fit() -> None:
    dZ = Real(np.zeros((1, 10, 4)), 1.0) / 2_000_000
    assert (dZ @ Rounded(np.zeros((4, 5)), 1.0, budget.PIXEL_BITS)).value.shape == (1, 10, 5)
    assert (dZ @ Rounded(np.zeros((1, 4, 5)), 1.0, budget.ACTIVATION_BITS)).value.shape == (1, 10, 5)


def test_too_many_hidden_units_are_refused_with_their_number() -> None:
    h = (1 << 21) + 1
    with pytest.raises(NumericsError, match=r"at most 2,097,152 numbers of 32 bits .* here are 2,097,153"):
        Weights(np.zeros((1, 1, h))) @ Rounded(np.zeros((1, h, 1)), 1.0, budget.ACTIVATION_BITS)


@pytest.mark.parametrize("hidden_units", [1, 2, 10, 32, 1000, 10_000])
def test_weights_keep_float32s_bits_whatever_the_hidden_units(hidden_units: int) -> None:
    room = budget.room(budget.ACTIVATION_BITS, hidden_units)
    assert room * -(-budget.WEIGHT_BITS // room) >= 24


@pytest.mark.parametrize(
    ("bound", "power"), [(1.0, 1.0), (1.0000001, 2.0), (0.75, 1.0), (3e-5, 2.0**-15), (0.0, 1.0), (1e-200, 2.0**-200)]
)
def test_the_power_above_a_bound(bound: float, power: float) -> None:
    assert budget.power_above(bound) == power


@pytest.mark.parametrize("bound", [1e61, np.inf, np.nan])
def test_bounds_beyond_all_bounds_have_no_power(bound: float) -> None:
    assert np.isnan(budget.power_above(bound))


def test_a_blas_that_is_exact_passes() -> None:
    check_blas()


def single(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    return (A.astype(np.float32) @ B.astype(np.float32)).astype(np.float64)


def emulated(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """As on hardware without float64: slices of 22 bits, and what is lower is left out."""
    high = (np.float64(2.0**30) * A + A) - np.float64(2.0**30) * A
    return high @ B


def off_by_one_in_a_corner(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    product = A @ B
    product[-1, -1] += 1
    return product


@pytest.mark.parametrize("multiply", [single, emulated, off_by_one_in_a_corner])
def test_a_blas_that_is_not_exact_is_refused(multiply) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NumericsError, match="needs a BLAS whose float64 products of whole numbers are exact"):
        check_blas(multiply)
