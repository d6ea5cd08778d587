"""Exact sums, judged by Python's whole numbers: any weights, of any size, and the worst ones at the bounds."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from numnist import exact
from numnist.exact import budget
from numnist.exact.arrays import Real, Rounded, Sum, Weights

sizes = st.integers(1, 7)
scales = st.integers(-60, 60).map(lambda power: 2.0**power)


@st.composite
def weights(draw: st.DrawFn, rows: int, columns: int) -> np.ndarray:
    """Weights (1, rows, columns): mixed magnitudes, or all of them as large as they may be."""
    scale = draw(scales)
    numbers = st.floats(-1, 1, allow_subnormal=False) | st.sampled_from([1.0, -1.0, 1 - 2.0**-53, 2.0**-30])
    return scale * draw(arrays(np.float64, (1, rows, columns), elements=numbers))


@st.composite
def products(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """W1 (1, h, k) and pixels (k, m)."""
    h, k, m = draw(sizes), draw(sizes), draw(sizes)
    pixels = draw(arrays(np.float64, (k, m), elements=st.sampled_from([0.0, 1.0, 254.0, 255.0])))
    return draw(weights(h, k)), pixels


def whole_sum(A: np.ndarray, B: np.ndarray) -> list[list[Fraction]]:
    """A @ B in Python's whole numbers and fractions."""
    return [
        [sum((Fraction(a) * Fraction(b) for a, b in zip(row, column)), Fraction(0)) for column in B.T.tolist()]
        for row in A.tolist()
    ]


def assert_exact(product: np.ndarray, A: np.ndarray, B: np.ndarray) -> None:
    assert [[Fraction(number) for number in row] for row in product.tolist()] == whole_sum(A, B)


@given(products())
def test_weights_times_pixels_are_the_sums_of_the_rounded_weights(product: tuple[np.ndarray, np.ndarray]) -> None:
    W, pixels = product
    X = exact.pixels(pixels)
    left, bound = Weights(W)._rounded_for(X)
    found = (Weights(W) @ X).array[0]
    assert_exact(found, left[0], pixels)
    assert (np.abs(found) <= bound[0]).all()
    largest = np.abs(W).max(axis=-1, keepdims=True)
    assert (np.abs(left - W / 255) <= 2.0**-budget.WEIGHT_BITS * largest / 255 + 2.0**-230).all()


@given(st.data(), sizes, sizes, sizes)
def test_weights_times_activations_are_sums_in_pieces_of_the_rounded_weights(
    data: st.DataObject, classes: int, h: int, m: int
) -> None:
    W2 = data.draw(weights(classes, h))
    A = activations(data, h, m)
    left, _ = Weights(W2)._rounded_for(A)
    pieces = left.reshape(-1, classes, h)
    found = left[0] @ A.array[0]
    assert_exact(found, left[0], A.array[0])
    total = (Weights(W2) @ A).array[0]
    expected = sum((np.array(whole_sum(piece, A.array[0]), object) for piece in pieces), np.array(0))
    assert np.abs(total - expected.astype(float)).max() <= 2.0**-50 * np.abs(pieces[0] @ A.array[0]).max() + 2.0**-200


def activations(data: st.DataObject, h: int, m: int) -> Rounded:
    """Activations (1, h, m) at any fraction of bounds of any size."""
    shares = data.draw(arrays(np.float64, (1, h, m), elements=st.sampled_from([0.0, 1.0, 0.3, 1e-6, -0.5])))
    bound = data.draw(arrays(np.float64, (1, h, 1), elements=scales))
    rounded = np.maximum(Real(shares * bound, bound), np.zeros(m))
    assert isinstance(rounded, Rounded)
    return rounded


def errors(data: st.DataObject, rows: int, m: int, images: int) -> Rounded:
    """Errors (1, rows, m) of a mean over so many images."""
    shares = data.draw(arrays(np.float64, (1, rows, m), elements=st.floats(-1, 1) | st.sampled_from([1.0, -1.0])))
    return Real(shares, 1.0) / images


@given(st.data(), sizes, sizes, sizes)
def test_rounded_numbers_are_multiples_of_their_unit_within_their_bits(
    data: st.DataObject, h: int, m: int, images: int
) -> None:
    for rounded in (activations(data, h, m), errors(data, h, m, images)):
        units = rounded.array / rounded.unit
        np.testing.assert_array_equal(units, np.rint(units))
        assert np.abs(units).max() <= 2.0**rounded.bits


@settings(deadline=None)
@given(st.data(), sizes, sizes, st.integers(1, 20), st.sampled_from([60_000, 2_000_000]))
def test_sums_over_images_are_exact_however_the_images_are_cut(
    data: st.DataObject, classes: int, h: int, m: int, images: int
) -> None:
    dZ, A = errors(data, classes, m, images), activations(data, h, m)
    cut = data.draw(st.integers(0, m))
    parts = [
        part(dZ, np.s_[..., columns]) @ part(A, np.s_[..., columns]).mT for columns in (slice(cut), slice(cut, None))
    ]
    whole, total = dZ @ A.mT, parts[1]
    total += parts[0]
    np.testing.assert_array_equal(whole.value, total.value)
    expected = np.array(whole_sum(dZ.array[0], A.array[0].T), object) / images
    np.testing.assert_allclose(whole.value[0], expected.astype(float), rtol=2.0**-50, atol=1e-300)


def part(rounded: Rounded, columns: tuple) -> Rounded:
    return Rounded(rounded.array[columns], rounded.unit, rounded.bits, scale=rounded.scale, images=rounded.images)


@pytest.mark.parametrize("images", [1, 60_000, 1_000_000])
def test_no_sum_of_a_data_set_leaves_what_float64_holds(images: int) -> None:
    """All numbers at their bounds, as many as there may be: the sum is right to the last unit."""
    m = min(images, 10_000)
    dZ = Rounded(np.full((1, 1, m), 1 - 2.0**-25), 2.0**-25, 25, images=images)
    pixels = Rounded(np.full((1, m), 255.0), 1.0, 8, scale=255.0)
    total = dZ @ pixels.mT
    for _ in range(images // m - 1):
        total += dZ @ pixels.mT
    count = images // m * m
    assert Fraction(float(total._array[0, 0, 0, 0])) == count * 255 * (1 - Fraction(1, 2**25))


def test_a_grid_one_bit_finer_would_not_be_exact() -> None:
    """The budget is not larger than it must be: with two bits more, a sum at the bounds is wrong."""
    k, bits = 1024, budget.room(budget.PIXEL_BITS, 1024) + 2
    left, right = np.full((1, k), 2.0**bits - 1), np.full((k, 1), 255.0)
    left[0, 0] -= 1
    assert Fraction(float((left @ right)[0, 0])) != whole_sum(left, right)[0][0]


def test_what_is_not_known_to_be_exact_is_refused() -> None:
    Z, A = Real(np.ones((1, 2, 3)), 1.0), Rounded(np.ones((1, 2, 3)), 1.0, 8)
    for attempt in (
        lambda: np.add(Z, 1.0),
        lambda: np.sum(Z),
        lambda: Z.mean(),  # type: ignore[attr-defined]
        lambda: np.add.reduce(Z),
        lambda: A + A,  # type: ignore[operator]
        lambda: np.ones((1, 2)) @ Z,
        lambda: np.exp(A),
    ):
        with pytest.raises((TypeError, AttributeError)):
            attempt()


def test_numbers_that_are_used_up_are_not_used_again() -> None:
    Z = Real(np.ones((1, 2, 3)), 1.0)
    np.maximum(Z, 0)
    with pytest.raises(TypeError, match="these exact numbers are used up"):
        Z + Weights(np.ones((1, 2, 1)))


@pytest.mark.parametrize("weight", [np.inf, np.nan, 1e300, -1e80])
def test_weights_beyond_all_bounds_give_nan_and_nothing_to_the_network_beside_them(weight: float) -> None:
    W = np.ones((2, 3, 4))
    alone = np.maximum(Weights(W[:1]) @ exact.pixels(np.full((4, 5), 7.0)), 0)
    W[1, 0, 0] = weight
    with np.errstate(all="ignore"):
        together = np.maximum(Weights(W) @ exact.pixels(np.full((4, 5), 7.0)), 0)
    np.testing.assert_array_equal(alone.array[0], together.array[0])
    assert np.isnan(together.array[1, 0]).all()


def test_a_loss_counts_up_to_its_bound_and_nan_stays_nan() -> None:
    losses = Real(np.array([[1.5, 1e300, 2.0**-20], [np.nan, 0, 0]]))
    total = exact.sum_losses(losses, 3)
    assert total[0] == 1.5 + 4096 + 2.0**-20 and np.isnan(total[1])


def test_parts_of_a_sum_in_whole_numbers_add_up_like_the_whole() -> None:
    total = Sum(np.full((1, 2, 1, 1), 2**62 - 1), np.array([1.0, 2.0**-12]).reshape(1, 2, 1, 1), 1.0)
    total += Sum(np.full((1, 2, 1, 1), 1), 1.0, 1.0)
    assert total.value[0, 0, 0] == 2.0**62 + 2.0**50
