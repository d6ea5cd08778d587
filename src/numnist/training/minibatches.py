"""Descent in batches: one pass over shuffled images, a step for each batch. The threads share out the networks.

All networks meet the same batches, whatever their seed: the order follows from the number of the pass alone. So a
network has the same bits alone and in a stack, and products with X can be shared.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from numnist import network
from numnist.network import Array, Parameters
from numnist.training import optimizer
from numnist.training.threads import Threads

if TYPE_CHECKING:
    from numnist.training.loop import Images, Stack

UNITS = 256  # hidden units that one thread trains together

Pass = tuple[Parameters, Parameters | None, Array, Array]  # parameters, velocity, sums of losses and of hits, (n,)


def descend(stack: "Stack", images: "Images", pool: Threads) -> Pass:
    """Take the pass that follows the stack's iterations."""
    size = max(1, UNITS // network.units(stack.configs[0]))
    groups = [list(range(len(stack.configs)))[first : first + size] for first in range(0, len(stack.configs), size)]
    order = epoch_order(len(images.split.labels), stack.iteration)
    done: list[Pass] = []
    pool.share_out(groups, lambda group: _pass(stack.selected(group), images, order), done.append)
    parameters, velocities, losses, hits = zip(*done)
    velocity = joined(velocities) if stack.velocity else None
    return joined(parameters), velocity, np.concatenate(losses), np.concatenate(hits)


def epoch_order(m: int, iteration: int) -> Array:
    """Return the order in which a pass takes m images."""
    stream = np.random.PCG64(np.random.SeedSequence(0, spawn_key=(iteration,)))
    order: Array = np.argsort(stream.random_raw(m), kind="stable")
    return order


def joined(stacks: Sequence[Parameters]) -> Parameters:
    """Put networks into one stack."""
    return Parameters(*map(np.concatenate, zip(*stacks)))


def _pass(stack: "Stack", images: "Images", order: Array) -> Pass:
    """Descend over all batches."""
    p, v, arithmetic, classes = stack.parameters, stack.velocity, images.arithmetic, images.classes
    batch_size = stack.configs[0].batch_size
    batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    loss, hits = np.zeros(len(stack.configs)), np.zeros(len(stack.configs))
    sizes = optimizer.step_sizes(stack.configs, stack.iteration, len(batches), p[0].dtype)
    with np.errstate(all="ignore"):  # a network that diverges is noticed by its loss
        for batch, size in zip(batches, sizes):
            X, labels = arithmetic.pixels(arithmetic.columns(images.split.pixels[batch])), images.split.labels[batch]
            weights = Parameters(*map(arithmetic.weights, p))
            activations = network.forward(weights, X)
            batch_losses, batch_hits = network.measure(activations, labels)
            loss += arithmetic.sum_losses(batch_losses, len(order))
            hits += np.count_nonzero(batch_hits, axis=-1)
            Y = network.one_hot(labels, classes, arithmetic.dtype)
            gradient = network.backward(weights, activations, X, Y, len(batch))
            d = Parameters(*map(arithmetic.value, gradient))
            p, v = optimizer.step(p, optimizer.apply_notebook_bugs(d, stack.configs, images.share), v, size)
    return p, v, loss, hits
