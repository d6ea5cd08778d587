"""No order of a sum shows: pixels, hidden units and images put in another order, and images cut, change no bit."""

from collections.abc import Sequence

import numpy as np
import pytest

from numnist import exact, network
from numnist.exact.arrays import Real, Weights
from numnist.network import Parameters

Array = np.ndarray
Sums = tuple[Array, ...]  # losses, hits, and the derivatives by W1, b1, W2, b2

INK = {  # what pixels may be, from the least to the most that they add up to
    "as printed": lambda rng, shape: np.where(rng.random(shape) < 0.2, rng.integers(0, 256, shape), 0),
    "all ink": lambda rng, shape: np.full(shape, 255),
    "all but one": lambda rng, shape: np.where(rng.random(shape) < 0.001, 254, 255),
}
WEIGHTS = {  # what makes sums as large as they can be, cancels them out, or mixes sizes
    "random": lambda rng, shape: rng.uniform(-0.5, 0.5, shape),
    "all at the bound": lambda rng, shape: np.full(shape, 1 - 2.0**-53),
    "cancelling": lambda rng, shape: np.where(rng.random(shape) < 0.5, 1.0, -1.0) * (1 - 2.0**-30 * rng.random(shape)),
    "of all sizes": lambda rng, shape: rng.standard_normal(shape) * 2.0 ** rng.integers(-60, 3, shape),
    "one large": lambda rng, shape: np.where(rng.random(shape) < 2 / shape[-1], 1e6, 1e-6 * rng.random(shape)),
}


def sums_of(p: Parameters, pixels: Array, labels: Array, shards: Sequence[Array]) -> Sums:
    """Add up what a step needs over shards of images: forward, loss and backward, as training does."""
    weights, m = Parameters(*map(Weights, p)), len(labels)
    totals = None
    losses = hits = 0.0
    for images in shards:
        X, Y = exact.pixels(pixels[:, images].astype(np.float64)), network.one_hot(labels[images])
        a = network.forward(weights, X)
        loss, hit = network.measure(a, labels[images])
        losses, hits = losses + exact.sum_losses(loss, m), hits + np.count_nonzero(hit, axis=-1)
        gradient = network.backward(weights, a, X, Y, m)
        if totals is None:
            totals = gradient
        else:
            for total, part in zip(totals, gradient):
                total += part
    assert totals is not None
    return (losses, hits, *map(exact.value, totals))


def problem(h: int, m: int, weights: str, ink: str) -> tuple[Parameters, Array, Array, np.random.Generator]:
    """Return a network, pictures (784, m) and labels."""
    rng = np.random.Generator(np.random.PCG64(h + m))
    draw = WEIGHTS[weights]
    p = Parameters(draw(rng, (1, h, 784)), draw(rng, (1, h, 1)), draw(rng, (1, 10, h)) / h, draw(rng, (1, 10, 1)))
    return p, INK[ink](rng, (784, m)).astype(np.uint8), rng.integers(0, 10, m).astype(np.uint8), rng


def assert_no_order_shows(h: int, m: int, weights: str, ink: str) -> None:
    p, pixels, labels, rng = problem(h, m, weights, ink)
    units, places, images = rng.permutation(h), rng.permutation(784), rng.permutation(m)
    expected = sums_of(p, pixels, labels, [np.arange(m)])
    assert all(np.isfinite(array).all() for array in expected)
    shuffled = Parameters(p.W1[:, units][:, :, places], p.b1[:, units], p.W2[:, :, units], p.b2)
    cuts = np.sort(1 + rng.permutation(m - 1)[:3])
    found = sums_of(shuffled, pixels[places], labels, np.split(images, cuts))
    losses, hits, dW1, db1, dW2, db2 = expected
    again = (losses, hits, dW1[:, units][:, :, places], db1[:, units], dW2[:, :, units], db2)
    for name, one, other in zip(("losses", "hits", *(f"d{name}" for name in Parameters._fields)), again, found):
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("ink", INK)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("h", "m"), [(1, 40), (33, 500)])
def test_no_order_of_pixels_units_and_images_shows(h: int, m: int, weights: str, ink: str) -> None:
    assert_no_order_shows(h, m, weights, ink)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("h", "m", "weights", "ink"), [(3, 60_000, "cancelling", "all but one"), (10_000, 20, "one large", "all ink")]
)
def test_no_order_shows_at_the_largest_sizes(h: int, m: int, weights: str, ink: str) -> None:
    assert_no_order_shows(h, m, weights, ink)


@pytest.mark.parametrize("h", [1, 512, 10_000])
def test_no_sum_is_larger_than_its_bound(h: int) -> None:
    """One weight decides how finely all of its row are rounded; the others may still make up the most of the sum."""
    W = np.full((1, 1, h), 2.0**-12 * (1 - 2.0**-20))
    W[0, 0, 0] = 1
    A = np.maximum(Real(np.ones((1, h, 1)), 1.0), np.zeros(1))
    Z = Weights(W) @ A
    assert Z.array.max() <= Z._bound.max()
