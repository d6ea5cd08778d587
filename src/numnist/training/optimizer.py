"""The step of gradient descent: the note's, and Nesterov momentum, weight decay and a falling rate where asked for.

Nesterov's momentum in the form of Sutskever et al. (2013) that PyTorch has: v := mu v + d, W := W - alpha (d + mu v).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from numnist import network
from numnist.config.schema import TrainingConfig
from numnist.network import Array, Parameters

UNITS = 64  # whose weights are worked on at a time, so that a CPU's cache holds them


@dataclass(frozen=True)
class Rates:
    """What one step takes, for each network of a stack: each (n, 1, 1)."""

    alpha: Array
    momentum: Array
    weight_decay: Array


def rates(configs: Sequence[TrainingConfig], iteration: int, steps: int, dtype: np.dtype) -> Iterator[Rates]:
    """Yield the rates of the steps of the iteration that follows `iteration` others, each of as many steps."""

    def column(values: Iterator[float]) -> Array:
        return np.array(list(values), dtype)[:, np.newaxis, np.newaxis]

    momentum = column(config.momentum for config in configs)
    weight_decay = column(config.weight_decay for config in configs)
    for step in range(iteration * steps, (iteration + 1) * steps):
        alpha = column(config.learning_rate * _share(config, step, config.iterations * steps) for config in configs)
        yield Rates(alpha, momentum, weight_decay)


def step(p: Parameters, d: Parameters, v: Parameters | None, rates: Rates) -> tuple[Parameters, Parameters | None]:
    """Take a step and return the parameters and velocity after it. Where it is no plain one, overwrites p, d and v."""
    if v is None and not rates.weight_decay.any():
        return network.update(p, d, rates.alpha), None
    velocities = arrays(v) if v else (None,) * 4
    for weights, derivatives, velocity, decays in zip(arrays(p), arrays(d), velocities, (True, False, True, False)):
        for first in range(0, weights.shape[1], UNITS):
            some = np.s_[:, first : first + UNITS]
            w, g = weights[some], derivatives[some]
            if decays:
                g += rates.weight_decay * w
            if velocity is not None:
                u = velocity[some]
                u *= rates.momentum
                u += g
                g += rates.momentum * u
            g *= rates.alpha
            w -= g
    return p, v


def of_recipe(d: Parameters, configs: Sequence[TrainingConfig], share: float) -> Parameters:
    """Return the derivatives, those of recipe `notebook` with its slips. Overwrites d.

    It sums the derivatives of a layer's biases over the units too, and divides by all rows, of which the training rows
    are a share.
    """
    for i, config in enumerate(configs):
        if config.recipe == "notebook":
            if config.train_on == "training":
                for array in arrays(d):
                    array[i] *= share
            d.b1[i, : config.hidden_size] = d.b1[i].sum()
            d.b2[i] = d.b2[i].sum()
    return d


def arrays(p: Parameters) -> tuple[Array, Array, Array, Array]:
    """Return the four arrays in their order."""
    return p.W1, p.b1, p.W2, p.b2


def zeros(p: Parameters) -> Parameters:
    """Return zeros of the same shapes, types and memory order."""
    return Parameters(*map(np.zeros_like, arrays(p)))


def members(p: Parameters, networks: Sequence[int]) -> Parameters:
    """Copy some networks out of a stack, in the same memory order."""
    chosen = zeros(Parameters(*(array[: len(networks)] for array in arrays(p))))
    for own, array in zip(arrays(chosen), arrays(p)):
        own[...] = array[networks]
    return chosen


def _share(config: TrainingConfig, step: int, steps: int) -> float:
    """Return what part of the learning rate is left at a step; cosine: Loshchilov and Hutter (2017)."""
    if config.schedule == "constant":
        return 1.0
    return round((1 + math.cos(math.pi * step / steps)) / 2, 12)  # another machine's cos may differ in the last bit
