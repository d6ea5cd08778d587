"""The identities that make training fast and its bits firm: blocks, blank pixels, order, threads, stacks, resuming."""

from collections.abc import Sequence
from dataclasses import replace

import digits
import numpy as np
import pytest

from numnist import network
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Split
from numnist.network import Parameters
from numnist.training import blank_pixels, loop
from numnist.training.arithmetic import EXACT, FAST, Arithmetic
from numnist.training.blank_pixels import Shard
from numnist.training.loop import Images, State, TrainingTask
from numnist.training.threads import Threads

CONFIG = TrainingConfig(hidden_size=10, learning_rate=0.3, iterations=6, seed=0, initialization="he")
DOUBLE = replace(FAST, dtype="float64")  # NumPy's float64, which rounds sums as it adds


def images(arithmetic: Arithmetic = EXACT, train: int = 1300) -> Images:
    return loop.lay_out(digits.split(train, 1), digits.split(300, 2), arithmetic)


def final_states(tasks: Sequence[TrainingTask], laid_out: Images, threads: int = 2) -> dict[TrainingConfig, State]:
    """Train, and return for each network its state when it left the stack."""
    states: dict[TrainingConfig, State] = {}
    with Threads(threads) as pool:
        for stack in loop.train_stack(tasks, laid_out, pool):
            states |= {config: stack.state(i) for i, config in enumerate(stack.configs)}
    return states


def bits(state: State) -> bytes:
    p = state.parameters
    return b"".join(array.tobytes() for array in (*p, state.curves))


def plain_descent(p: Parameters, split: Split, learning_rate: float, iterations: int) -> tuple[Parameters, list[float]]:
    """The note on whole arrays, one network, in float64: no blocks, no shards, nothing left out."""
    X, Y, m = split.pixels.T / 255, np.eye(10)[split.labels].T, len(split.labels)
    W1, b1, W2, b2 = p.W1[0], p.b1[0], p.W2[0], p.b2[0]
    losses = []
    for k in range(iterations + 1):
        Z1 = W1 @ X + b1
        A1 = np.where(Z1 > 0, Z1, 0)
        E = np.exp(W2 @ A1 + b2)
        A2 = E / E.sum(axis=0)
        losses.append(-np.log((A2 * Y).sum(axis=0)).mean())
        if k == iterations:
            return Parameters(W1[None], b1[None], W2[None], b2[None]), losses
        dZ2 = A2 - Y
        dZ1 = (W2.T @ dZ2) * (Z1 > 0)
        W1 = W1 - learning_rate * dZ1 @ X.T / m
        b1 = b1 - learning_rate * dZ1.sum(axis=1, keepdims=True) / m
        W2 = W2 - learning_rate * dZ2 @ A1.T / m
        b2 = b2 - learning_rate * dZ2.sum(axis=1, keepdims=True) / m
    raise AssertionError


def test_blocks_without_their_blank_pixels_give_what_whole_arrays_give() -> None:
    start = loop.first_weights(CONFIG, "float64")
    expected, losses = plain_descent(start, digits.split(1300, 1), CONFIG.learning_rate, CONFIG.iterations)
    state = final_states([TrainingTask(CONFIG)], images(DOUBLE))[CONFIG]
    for name in ("W1", "b1", "W2", "b2"):
        np.testing.assert_allclose(getattr(state.parameters, name), getattr(expected, name), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.curves[:, 0], losses, rtol=1e-12)


def test_validation_is_measured_on_validation_images_alone() -> None:
    laid_out, split = images(DOUBLE), digits.split(300, 2)
    state = final_states([TrainingTask(CONFIG)], laid_out)[CONFIG]
    activations = network.forward(state.parameters, split.pixels.T / 255)
    labels = split.labels.astype(np.intp)
    assert state.curves[-1, 2] == pytest.approx(network.measure(activations, labels)[0].mean(), rel=1e-12)
    assert state.curves[-1, 3] == (activations.Z2[0].argmax(axis=0) == labels).mean()


def whole(shard: Shard, arithmetic: Arithmetic = DOUBLE) -> np.ndarray:
    """A shard's images as they were, (784, m)."""
    return np.eye(784, dtype=arithmetic.dtype)[np.newaxis] @ shard.X


def test_shards_hold_each_image_once_and_leave_out_blank_pixels_only() -> None:
    split = digits.split(1300, 1)
    shards = blank_pixels.layout(split, DOUBLE, 10)
    [images] = np.concatenate([whole(shard) for shard in shards], axis=2)
    labels = np.concatenate([shard.labels for shard in shards])
    given = zip((split.pixels / 255).tolist(), split.labels.tolist())
    assert sorted(zip(images.T.tolist(), labels.tolist())) == sorted(given)
    np.testing.assert_array_equal(np.concatenate([shard.Y for shard in shards], axis=1).argmax(axis=0), labels)
    assert len(shards) > 1 and all(len(shard.X.which) < 784 for shard in shards)


def test_products_with_a_shard_are_those_with_the_whole_matrix() -> None:
    shard = blank_pixels.layout(digits.split(700, 3), DOUBLE, 10)[0]
    [X] = whole(shard)
    assert shard.X.shape == X.shape
    rng = np.random.Generator(np.random.PCG64(0))
    W1, dZ1 = rng.standard_normal((2, 5, 784)), rng.standard_normal((2, 5, X.shape[1]))
    np.testing.assert_allclose(W1 @ shard.X, W1 @ X, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dZ1 @ shard.X.mT, dZ1 @ X.T, rtol=1e-12, atol=1e-12)


def test_images_do_not_carry_the_pixels_of_a_few_others_along() -> None:
    pixels = np.zeros((1000, 784), np.uint8)
    pixels[:, ::4] = 255
    for image in range(20):
        pixels[50 * image, 1 + 4 * (9 * image + np.arange(9))] = 255
    shards = blank_pixels.layout(Split(pixels, np.zeros(1000, np.uint8)), DOUBLE, 10)
    assert sum(shard.X.X.shape[1] for shard in shards if len(shard.X.which) == 196) == 980


@pytest.mark.parametrize(("images", "pixel"), [(600, 0), (1, 255)])
def test_images_without_ink_and_single_images_are_laid_out_too(images: int, pixel: int) -> None:
    split = Split(np.full((images, 784), pixel, np.uint8), np.zeros(images, np.uint8))
    shards = blank_pixels.layout(split, DOUBLE, 10)
    assert sum(len(shard.labels) for shard in shards) == images
    np.testing.assert_array_equal(whole(shards[0])[0, :, 0], np.full(784, pixel / 255))


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    laid_out = images()
    tasks = [TrainingTask(replace(CONFIG, seed=seed)) for seed in range(3)]
    expected = final_states(tasks, laid_out, threads=2)
    for config, state in final_states(tasks, laid_out, threads=threads).items():
        assert bits(state) == bits(expected[config])


@pytest.mark.parametrize("hidden_size", [1, 7, 10, 12, 30, 64, 100])
def test_a_network_gets_the_same_bits_alone_and_in_any_stack(hidden_size: int) -> None:
    laid_out = images(train=600)
    config = replace(CONFIG, hidden_size=hidden_size, iterations=3)
    others = [replace(config, seed=seed, learning_rate=rate) for seed, rate in ((1, 0.1), (2, 1.0), (3, 0.5), (4, 0.2))]
    alone = bits(final_states([TrainingTask(config)], laid_out)[config])
    for stack in ([config, *others], [*others, config], [*others[:2], config, *others[2:3]]):
        assert bits(final_states([TrainingTask(member) for member in stack], laid_out)[config]) == alone


@pytest.mark.parametrize("iteration", [0, 1, 4])
def test_training_that_goes_on_from_a_state_ends_with_the_same_bits(iteration: int) -> None:
    laid_out = images()
    expected = final_states([TrainingTask(CONFIG)], laid_out)[CONFIG]
    with Threads(2) as pool:
        on_the_way = [stack.state(0) for stack in loop.train_stack([TrainingTask(CONFIG)], laid_out, pool)]
    resumed = final_states([TrainingTask(CONFIG, on_the_way[iteration])], laid_out)[CONFIG]
    assert bits(resumed) == bits(expected)


def test_a_shorter_training_is_a_waypoint_of_a_longer_one() -> None:
    laid_out = images()
    shorter, longer = replace(CONFIG, iterations=3), replace(CONFIG, iterations=6)
    with Threads(2) as pool:
        states = [s.state(0) for s in loop.train_stack([TrainingTask(longer)], laid_out, pool)]
    assert bits(states[3]) == bits(final_states([TrainingTask(shorter)], laid_out)[shorter])


def test_a_network_that_diverges_leaves_and_the_others_keep_their_bits() -> None:
    laid_out = images()
    wild = replace(CONFIG, learning_rate=1e8, seed=1)
    states = final_states([TrainingTask(wild), TrainingTask(CONFIG)], laid_out)
    assert states[wild].diverged and states[wild].iteration < wild.iterations
    assert bits(states[CONFIG]) == bits(final_states([TrainingTask(CONFIG)], laid_out)[CONFIG])


def test_seeds_and_schemes_draw_weights_of_their_own() -> None:
    first = loop.first_weights(CONFIG)
    assert np.array_equal(first.W1, loop.first_weights(CONFIG).W1)
    for other in (replace(CONFIG, seed=1), replace(CONFIG, initialization="uniform")):
        assert not np.array_equal(first.W1, loop.first_weights(other).W1)
