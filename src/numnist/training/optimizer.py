"""The step of gradient descent: the note's, and Nesterov momentum, weight decay and a falling rate if asked for.

Nesterov's momentum in the form of Sutskever et al. (2013) that PyTorch has: v := mu v + d, W := W - alpha (d + mu v).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numnist import network
from numnist.exact.elementary import half_cosine
from numnist.network import Array, Parameters

if TYPE_CHECKING:
    from numnist.config.schema import TrainingConfig

UNITS = 64  # whose weights are worked on at a time, so that a CPU's cache holds them


@dataclass(frozen=True)
class StepSize:
    """What one step takes, for each network of a stack: each (n, 1, 1)."""

    alpha: Array
    momentum: Array
    weight_decay: Array


def step_sizes(configs: Sequence["TrainingConfig"], iteration: int, steps: int, dtype: np.dtype) -> Iterator[StepSize]:
    """Yield those of the steps of the iteration that follows `iteration` others, each of as many steps."""

    def column(values: Iterator[float]) -> Array:
        return np.array(list(values), dtype)[:, np.newaxis, np.newaxis]

    momentum = column(config.momentum for config in configs)
    weight_decay = column(config.weight_decay for config in configs)
    for step in range(iteration * steps, (iteration + 1) * steps):
        alpha = column(config.learning_rate * _rate_left(config, step, config.iterations * steps) for config in configs)
        yield StepSize(alpha, momentum, weight_decay)


def step(p: Parameters, d: Parameters, v: Parameters | None, size: StepSize) -> tuple[Parameters, Parameters | None]:
    """Take a step and return the parameters and velocity after it. Unless it is a plain one, overwrites p, d and v."""
    if v is None and not size.weight_decay.any():
        return network.update(p, d, size.alpha), None
    velocities = v or (None,) * len(p)
    for weights, derivatives, velocity, decays in zip(p, d, velocities, network.IS_WEIGHT):
        for first in range(0, weights.shape[1], UNITS):
            some = np.s_[:, first : first + UNITS]
            w, g = weights[some], derivatives[some]
            if decays:
                g += size.weight_decay * w
            if velocity is not None:
                u = velocity[some]
                u *= size.momentum
                u += g
                g += size.momentum * u
            g *= size.alpha
            w -= g
    return p, v


def apply_notebook_bugs(d: Parameters, configs: Sequence["TrainingConfig"], share: float) -> Parameters:
    """Return the derivatives, those of recipe `notebook` with its bugs. Overwrites d.

    It sums the derivatives of a layer's biases over the units too, and divides by all rows, of which the training rows
    are a share.
    """
    for i, config in enumerate(configs):
        if config.recipe == "notebook":
            for array, is_weight in zip(d, network.IS_WEIGHT):
                if config.train_on == "training":
                    array[i] *= share
                if not is_weight:
                    array[i] = _rounded_once(array[i])
    return d


def _rounded_once(array: Array) -> float:
    """Add up all numbers, with one rounding at the end: the same in any order. NaN if they are beyond all bounds."""
    try:
        return math.fsum(array.ravel().tolist())
    except (OverflowError, ValueError):  # of a network that diverges
        return math.nan


def _rate_left(config: "TrainingConfig", step: int, steps: int) -> float:
    """Return what part of the learning rate is left at a step; cosine: Loshchilov and Hutter (2017)."""
    return 1.0 if config.schedule == "constant" else half_cosine(step / steps)
