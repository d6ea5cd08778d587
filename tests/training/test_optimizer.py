"""Momentum, weight decay, falling rates, batches and the notebook's slips, against other implementations."""

import warnings
from dataclasses import replace

import digits
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from test_loop import DOUBLE, bits, final_states

from numnist.config.schema import TrainingConfig
from numnist.network import Parameters
from numnist.training import loop, minibatches, optimizer
from numnist.training.arithmetic import EXACT, Arithmetic
from numnist.training.loop import Images, TrainingTask
from numnist.training.threads import Threads

PLAIN = TrainingConfig(hidden_size=10, learning_rate=0.2, iterations=4, seed=0, initialization="he")
RICH = replace(PLAIN, batch_size=128, momentum=0.9, weight_decay=0.01, schedule="cosine")


def images(arithmetic: Arithmetic = EXACT) -> Images:
    return loop.lay_out(digits.split(600, 1), digits.split(100, 2), arithmetic)


def assert_close(p: Parameters, W1: np.ndarray, b1: np.ndarray, W2: np.ndarray, b2: np.ndarray) -> None:
    for ours, other in zip(tuple(p), (W1, b1, W2, b2)):
        np.testing.assert_allclose(ours[0], other, rtol=1e-8, atol=1e-11)


def test_full_batch_descent_with_momentum_and_weight_decay_is_scikit_learns() -> None:
    config = replace(PLAIN, momentum=0.9, weight_decay=0.001, iterations=5)
    split, start = digits.split(600, 1), loop.first_weights(config, "float64")
    model = MLPClassifier(
        (10,),
        solver="sgd",
        batch_size=600,
        learning_rate_init=0.2,
        momentum=0.9,
        nesterovs_momentum=True,
        alpha=0.001 * 600,  # scikit-learn divides by the images of a batch
        shuffle=False,
        max_iter=1,
        warm_start=True,
        n_iter_no_change=100,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        X = split.pixels / 255
        model.set_params(learning_rate_init=1e-300).fit(X, split.labels)  # for its shapes
        model.coefs_[:] = [start.W1[0].T.copy(), start.W2[0].T.copy()]
        model.intercepts_[:] = [start.b1[0, :, 0].copy(), start.b2[0, :, 0].copy()]
        del model._optimizer
        model.set_params(learning_rate_init=0.2, max_iter=5, warm_start=True)
        model._optimizer = _optimizer(model)
        model.fit(X, split.labels)
    state = final_states([TrainingTask(config)], images(DOUBLE))[config]
    (V1, V2), (c1, c2) = model.coefs_, model.intercepts_
    assert_close(state.parameters, V1.T, c1[:, None], V2.T, c2[:, None])


def _optimizer(model: MLPClassifier) -> object:
    from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

    return SGDOptimizer([*model.coefs_, *model.intercepts_], 0.2, "constant", 0.9, True, 0.5)


def test_batches_with_momentum_decay_and_cosine_are_the_equations_worked_on_whole_arrays() -> None:
    split, start = digits.split(600, 1), loop.first_weights(RICH, "float64")
    theta = [array[0].copy() for array in tuple(start)]
    velocity = [np.zeros_like(array) for array in theta]
    losses, t, T = [], 0, 4 * 5  # 600 images in batches of 128 are 5 steps a pass
    for k in range(4):
        summed = 0.0
        order = minibatches.epoch_order(600, k)
        for first in range(0, 600, 128):
            chosen = order[first : first + 128]
            X, Y, m = split.pixels[chosen].T / 255, np.eye(10)[split.labels[chosen]].T, len(chosen)
            W1, b1, W2, b2 = theta
            Z1 = W1 @ X + b1
            E = np.exp(W2 @ np.maximum(Z1, 0) + b2)
            A2 = E / E.sum(axis=0)
            summed -= np.log((A2 * Y).sum(axis=0)).sum()
            dZ2 = (A2 - Y) / m
            dZ1 = (W2.T @ dZ2) * (Z1 > 0)
            gradient = [dZ1 @ X.T + 0.01 * W1, dZ1.sum(axis=1, keepdims=True),
                        dZ2 @ np.maximum(Z1, 0).T + 0.01 * W2, dZ2.sum(axis=1, keepdims=True)]  # fmt: skip
            alpha = 0.2 * 0.5 * (1 + np.cos(np.pi * t / T))
            velocity = [0.9 * v + g for v, g in zip(velocity, gradient)]
            theta = [w - alpha * (g + 0.9 * v) for w, g, v in zip(theta, gradient, velocity)]
            t += 1
        losses.append(summed / 600)
    state = final_states([TrainingTask(RICH)], images(DOUBLE))[RICH]
    assert_close(state.parameters, *theta)
    np.testing.assert_allclose(state.curves[1:, 0], losses, rtol=1e-9)


def test_the_notebooks_recipe_is_the_notebooks_code() -> None:
    config = replace(PLAIN, recipe="notebook", initialization="uniform", learning_rate=0.1)
    split, start = digits.split(600, 1), loop.first_weights(config, "float64")
    rows = 700  # it divides by the rows of the whole table, the 100 that are set apart too
    X, Y = split.pixels.T / 255, np.eye(10)[split.labels].T
    W1, b1, W2, b2 = (array[0] for array in tuple(start))
    for _ in range(4):
        Z1 = W1.dot(X) + b1
        A1 = np.maximum(Z1, 0)
        Z2 = W2.dot(A1) + b2
        A2 = np.exp(Z2) / sum(np.exp(Z2))
        dZ2 = A2 - Y
        dW2 = 1 / rows * dZ2.dot(A1.T)
        db2 = 1 / rows * np.sum(dZ2)
        dZ1 = W2.T.dot(dZ2) * (Z1 > 0)
        dW1 = 1 / rows * dZ1.dot(X.T)
        db1 = 1 / rows * np.sum(dZ1)
        W1, b1, W2, b2 = W1 - 0.1 * dW1, b1 - 0.1 * db1, W2 - 0.1 * dW2, b2 - 0.1 * db2
    state = final_states([TrainingTask(config)], images(DOUBLE))[config]
    assert_close(state.parameters, W1, b1, W2, b2)
    assert np.ptp(state.parameters.b1 - start.b1) < 1e-12 and np.abs(state.parameters.b2 - start.b2).max() < 1e-12


def test_the_rate_falls_as_half_a_cosine_to_nothing() -> None:
    config = replace(PLAIN, learning_rate=0.8, iterations=2, schedule="cosine")
    taken = [
        size.alpha.item() for k in range(2) for size in optimizer.step_sizes([config], k, steps=2, dtype=np.dtype("f8"))
    ]
    np.testing.assert_allclose(taken, [0.8, 0.4 + 0.4 * np.sqrt(0.5), 0.4, 0.4 - 0.4 * np.sqrt(0.5)], rtol=1e-11)


def test_every_pass_meets_each_image_once_in_an_order_of_its_own() -> None:
    first, second = (minibatches.epoch_order(1000, k) for k in (0, 1))
    assert sorted(first) == sorted(second) == list(range(1000))
    assert (first != second).mean() > 0.9


@pytest.mark.parametrize("config", [RICH, replace(RICH, schedule="constant"), replace(RICH, batch_size=0)])
def test_richer_descent_has_the_same_bits_alone_in_a_stack_and_at_any_number_of_threads(config: TrainingConfig) -> None:
    laid_out = images()
    others = [replace(config, seed=1, momentum=0.0), replace(config, seed=2, weight_decay=0.0, learning_rate=0.1)]
    alone = bits(final_states([TrainingTask(config)], laid_out, threads=1)[config])
    for stack in ([config, *others], [*others, config]):
        assert bits(final_states([TrainingTask(member) for member in stack], laid_out, threads=3)[config]) == alone
    plain = replace(config, seed=1, momentum=0.0)
    assert bits(final_states([TrainingTask(one) for one in (config, plain)], laid_out)[plain]) == bits(
        final_states([TrainingTask(plain)], laid_out)[plain]
    )


@pytest.mark.parametrize("config", [RICH, replace(RICH, batch_size=0)])
@pytest.mark.parametrize("iteration", [0, 1, 3])
def test_richer_descent_that_goes_on_from_a_state_ends_with_the_same_bits(
    config: TrainingConfig, iteration: int
) -> None:
    laid_out = images()
    expected = final_states([TrainingTask(config)], laid_out)[config]
    with Threads(2) as pool:
        way = [s.state(0) for s in loop.train_stack([TrainingTask(config)], laid_out, pool)]
    assert len(way) == 5
    assert bits(final_states([TrainingTask(config, way[iteration])], laid_out)[config]) == bits(expected)


def test_a_falling_rate_makes_no_waypoints() -> None:
    assert replace(RICH, iterations=2).checkpoint_config != RICH.checkpoint_config
    assert replace(PLAIN, iterations=2).checkpoint_config == PLAIN.checkpoint_config


def test_in_batches_a_shorter_training_is_a_waypoint_of_a_longer_one() -> None:
    laid_out, longer = images(), replace(RICH, schedule="constant")
    shorter = replace(longer, iterations=2)
    both = final_states([TrainingTask(longer)], laid_out)
    with Threads(2) as pool:
        way = [s.state(0) for s in loop.train_stack([TrainingTask(longer)], laid_out, pool)]
    assert bits(way[2]) == bits(final_states([TrainingTask(shorter)], laid_out)[shorter])
    assert both[longer].velocity is not None
