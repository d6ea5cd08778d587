"""The note's equations: against central differences, a case worked by hand, and scikit-learn."""

from typing import NamedTuple

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from numnist import network
from numnist.network import CLASSES, PIXELS, Parameters


class Settings(NamedTuple):
    hidden_size: int
    initialization: str = "he"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(CLASSES)[labels].T


def mean_loss(p: Parameters, X: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return network.measure(network.forward(p, X), labels)[0].mean(axis=-1)


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
def test_every_gradient_agrees_with_central_differences(name: str) -> None:
    X, labels, step = rng(1).random((PIXELS, 7)), np.array([3, 1, 4, 1, 5, 9, 2]), 1e-6
    p = network.initialize(Settings(5, "uniform"), rng=rng(2))
    Z1 = p.W1 @ X + p.b1
    assert np.abs(Z1).min() > 1e-3, "a kink of ReLU is too near for differences to be meaningful"
    gradient = getattr(network.backward(p, network.forward(p, X), X, one_hot(labels), m=7), name)
    array = getattr(p, name)
    for index in [tuple(rng(i).integers(array.shape)) for i in range(40)]:
        before = array[index]
        array[index] = before + step
        higher = mean_loss(p, X, labels)[0]
        array[index] = before - step
        lower = mean_loss(p, X, labels)[0]
        array[index] = before
        assert gradient[index] == pytest.approx((higher - lower) / (2 * step), abs=1e-8)


def test_one_step_on_two_images_is_as_worked_by_hand() -> None:
    """Two hidden units, of which each image lights one; all scores start equal, so every probability is 1/10.

    Image 0 has 1 in pixel 0 and label 0, image 1 has 1 in pixel 1 and label 1. With W1 = identity on these pixels and
    W2 = 0: A1 = identity, A2 = 1/10, dZ2 = 1/10 - Y, dW2 = dZ2 / 2, db2 = (-0.8, -0.8, 0.2, ...) / 2, and dZ1 = 0.
    """
    X = np.zeros((PIXELS, 2))
    X[0, 0] = X[1, 1] = 1
    W1 = np.zeros((1, 2, PIXELS))
    W1[0, 0, 0] = W1[0, 1, 1] = 1
    p = Parameters(W1, np.zeros((1, 2, 1)), np.zeros((1, 10, 2)), np.zeros((1, 10, 1)))
    a = network.forward(p, X)
    np.testing.assert_array_equal(a.A1[0], np.eye(2))
    np.testing.assert_allclose(a.A2, 0.1)
    np.testing.assert_allclose(network.measure(a, np.array([0, 1]))[0], np.log(10))
    after = network.update(p, network.backward(p, a, X, one_hot(np.array([0, 1])), m=2), np.full((1, 1, 1), 2.0))
    np.testing.assert_array_equal(after.W1, W1)
    np.testing.assert_array_equal(after.b1, 0)
    expected = np.full((10, 2), -0.1)
    expected[0, 0] = expected[1, 1] = 0.9
    np.testing.assert_allclose(after.W2[0], expected)
    np.testing.assert_allclose(after.b2[0, :, 0], [0.8, 0.8] + [-0.2] * 8)


def test_training_agrees_with_scikit_learn_over_twenty_steps() -> None:
    X, labels = rng(3).random((PIXELS, 60)), rng(4).integers(0, 10, 60)
    labels[:10] = np.arange(10)
    p = network.initialize(Settings(8), rng=rng(5))
    peer = MLPClassifier((8,), solver="sgd", alpha=0, batch_size=60, learning_rate_init=0.2, momentum=0, shuffle=False)
    peer.partial_fit(X.T, labels, classes=np.arange(10))  # makes its arrays; the start is set below
    peer.coefs_ = [p.W1[0].T.copy(), p.W2[0].T.copy()]
    peer.intercepts_ = [p.b1[0, :, 0].copy(), p.b2[0, :, 0].copy()]
    peer._optimizer.params = peer.coefs_ + peer.intercepts_
    peer._optimizer.velocities = [np.zeros_like(array) for array in peer._optimizer.params]
    for _ in range(20):
        p = network.update(
            p, network.backward(p, network.forward(p, X), X, one_hot(labels), m=60), np.full((1, 1, 1), 0.2)
        )
        peer.partial_fit(X.T, labels)
    np.testing.assert_allclose(p.W1[0].T, peer.coefs_[0], atol=1e-10)
    np.testing.assert_allclose(p.W2[0].T, peer.coefs_[1], atol=1e-10)
    np.testing.assert_allclose(p.b1[0, :, 0], peer.intercepts_[0], atol=1e-10)
    np.testing.assert_allclose(p.b2[0, :, 0], peer.intercepts_[1], atol=1e-10)


def test_a_stack_equals_its_members_trained_alone() -> None:
    X, labels = rng(6).random((PIXELS, 30)), rng(7).integers(0, 10, 30)
    members = [network.initialize(Settings(4), rng=rng(seed)) for seed in (1, 2, 3)]
    stack = Parameters(*(np.concatenate([getattr(p, name) for p in members]) for name in ("W1", "b1", "W2", "b2")))
    together = network.backward(stack, network.forward(stack, X), X, one_hot(labels), m=30)
    for i, p in enumerate(members):
        alone = network.backward(p, network.forward(p, X), X, one_hot(labels), m=30)
        for name in ("W1", "b1", "W2", "b2"):
            np.testing.assert_allclose(getattr(together, name)[i], getattr(alone, name)[0], rtol=1e-12, atol=1e-15)


def with_scores(Z2: np.ndarray) -> network.Activations:
    """Go forward through a network whose scores for image i are column i of Z2: its biases, one image at a time."""
    columns = [
        network.forward(
            Parameters(np.zeros((1, 1, PIXELS)), np.zeros((1, 1, 1)), np.zeros((1, 10, 1)), column[None, :, None]),
            np.zeros((PIXELS, 1)),
        )
        for column in Z2.T
    ]
    return network.Activations(
        *(np.concatenate([getattr(a, name) for a in columns], axis=-1) for name in network.Activations._fields)
    )


def test_probabilities_and_losses_survive_scores_beyond_the_range_of_exp() -> None:
    scores = np.full((10, 2), -3000.0)
    scores[:2, 0] = 1000.0
    scores[0, 1] = 0.0
    a = with_scores(scores)
    np.testing.assert_allclose(a.A2[0, :2, 0], [0.5, 0.5])
    np.testing.assert_allclose(a.A2.sum(axis=1), 1)
    np.testing.assert_allclose(network.measure(a, np.array([1, 5]))[0], [[np.log(2), 3000]])


def test_he_weights_have_the_variance_two_over_fan_in() -> None:
    p = network.initialize(Settings(500), rng=rng(8))
    assert p.W1.var() == pytest.approx(2 / PIXELS, rel=0.02)
    assert p.W2.var() == pytest.approx(2 / 500, rel=0.05)
    assert not p.b1.any() and not p.b2.any()


def test_the_notes_weights_are_uniform_within_a_half() -> None:
    p = network.initialize(Settings(200, "uniform"), rng=rng(9))
    for array in (p.W1, p.b1, p.W2, p.b2):
        assert np.abs(array).max() <= 0.5
    assert p.W1.var() == pytest.approx(1 / 12, rel=0.02)


def test_a_hit_is_the_label_with_the_highest_score() -> None:
    scores = np.zeros((10, 3))
    scores[4, 0] = scores[5, 1] = scores[6, 2] = 1
    np.testing.assert_array_equal(network.measure(with_scores(scores), np.array([4, 5, 0]))[1], [[True, True, False]])


def test_probabilities_of_pixels_are_the_softmax_of_the_logits() -> None:
    W1, W2 = np.zeros((1, 1, PIXELS), np.float32), np.zeros((1, CLASSES, 1), np.float32)
    W1[0, 0, 406] = W2[0, 7, 0] = 1
    zero = np.zeros((1, 1, 1), np.float32), np.zeros((1, CLASSES, 1), np.float32)
    pixels = np.zeros((2, PIXELS), np.uint8)
    pixels[1, 406] = 255  # the logit of 7 is 1, and the others are 0
    found = network.probabilities(Parameters(W1, zero[0], W2, zero[1]), pixels)
    np.testing.assert_allclose(found[0], 0.1, rtol=1e-6)
    np.testing.assert_allclose(found[1, 7], np.e / (np.e + 9), rtol=1e-6)


def test_images_are_taken_in_batches_without_a_seam() -> None:
    shapes = (1, 3, PIXELS), (1, 3, 1), (1, CLASSES, 3), (1, CLASSES, 1)
    p = Parameters(*(rng(3).normal(0, 0.1, shape).astype("f") for shape in shapes))
    pixels = rng(4).integers(0, 256, (7, PIXELS), dtype=np.uint8)
    one_by_one = [network.probabilities(p, image[None])[0] for image in pixels]
    np.testing.assert_allclose(network.probabilities(p, pixels, batch=3), one_by_one, rtol=1e-5)
    assert network.probabilities(p, pixels[:0]).shape == (0, CLASSES)
