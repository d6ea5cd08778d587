"""Descent in batches: one pass over shuffled images, a step for each batch. The threads share out the networks.

All networks meet the same batches, whatever their seed: the order follows from the number of the pass alone. So a
network has the same bits alone and in a stack, and products with X can be shared.
"""

from collections.abc import Sequence

import numpy as np

from numnist import network
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Split
from numnist.network import CLASSES, Array, Parameters
from numnist.training import optimizer
from numnist.training.threads import Threads

ROWS = 256  # hidden units that one thread trains together


def iterate(
    configs: Sequence[TrainingConfig],
    p: Parameters,
    v: Parameters | None,
    iteration: int,
    split: Split,
    share: float,
    pool: Threads,
) -> tuple[Parameters, Parameters | None, Array, Array]:
    """Take the pass that follows `iteration` others; return parameters, velocity, mean loss and accuracy, each (n,)."""
    size = max(1, ROWS // p.W1.shape[1])
    groups = [list(range(len(configs)))[first : first + size] for first in range(0, len(configs), size)]
    order = epoch_order(len(split.labels), iteration)
    done: list[tuple[Parameters, Parameters | None, Array, Array]] = []

    def work(group: list[int]) -> tuple[Parameters, Parameters | None, Array, Array]:
        velocity = optimizer.members(v, group) if v else None
        members = optimizer.members(p, group)
        return _pass([configs[i] for i in group], members, velocity, iteration, split, order, share)

    pool.share_out(groups, work, done.append)
    after, velocities, losses, hits = zip(*done)
    m = len(split.labels)
    return _joined(after), _joined(velocities) if v else None, np.concatenate(losses) / m, np.concatenate(hits) / m


def epoch_order(m: int, iteration: int) -> Array:
    """Return the order in which a pass takes m images."""
    stream = np.random.PCG64(np.random.SeedSequence(0, spawn_key=(iteration,)))
    order: Array = np.argsort(stream.random_raw(m), kind="stable")
    return order


def _pass(
    configs: Sequence[TrainingConfig],
    p: Parameters,
    v: Parameters | None,
    iteration: int,
    split: Split,
    order: Array,
    share: float,
) -> tuple[Parameters, Parameters | None, Array, Array]:
    """Descend over all batches; return parameters, velocity, summed loss and hits, each (n,)."""
    batches = [order[first : first + configs[0].batch_size] for first in range(0, len(order), configs[0].batch_size)]
    loss, hits = np.zeros(len(configs)), np.zeros(len(configs))
    dtype = p.W1.dtype
    with np.errstate(all="ignore"):  # a network that diverges is noticed by its loss
        for images, rates in zip(batches, optimizer.rates(configs, iteration, len(batches), dtype)):
            X, labels = (split.pixels[images].astype(dtype) / dtype.type(255)).T, split.labels[images].astype(np.intp)
            activations = network.forward(p, X)
            batch_losses, batch_hits = network.measure(activations, labels)
            loss += batch_losses.sum(axis=-1, dtype=np.float64)
            hits += np.count_nonzero(batch_hits, axis=-1)
            Y = np.eye(CLASSES, dtype=dtype)[:, labels]
            gradient = network.backward(p, activations, X, Y, len(images))
            p, v = optimizer.step(p, optimizer.of_recipe(gradient, configs, share), v, rates)
    return p, v, loss, hits


def _joined(groups: Sequence[Parameters]) -> Parameters:
    """Put groups of networks into one stack again."""
    return Parameters(*(np.concatenate(each) for each in zip(*map(optimizer.arrays, groups))))
