"""Exact sums against float64 and float32: rounding to grids costs no accuracy that float32 has."""

from dataclasses import replace

import digits
import numpy as np
import pytest

from numnist.config.schema import TrainingConfig
from numnist.network import Parameters
from numnist.training import loop
from numnist.training.arithmetic import EXACT, FAST, Arithmetic
from numnist.training.loop import TrainingTask
from numnist.training.threads import Threads

DOUBLE = replace(FAST, dtype="float64")


def trained(arithmetic: Arithmetic, configs: list[TrainingConfig]) -> list[Parameters]:
    images = loop.lay_out(digits.split(600, 1), digits.split(50, 2), arithmetic)
    with Threads(2) as pool:
        *_, last = loop.train_stack([TrainingTask(config) for config in configs], images, pool)
    return [last.state(i).parameters for i in range(len(configs))]


def distance(p: Parameters, q: Parameters) -> float:
    """The distance of the farthest array, in parts of its length."""
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(p, q))


@pytest.mark.parametrize("hidden_size", [10, *(pytest.param(h, marks=pytest.mark.slow) for h in (32, 64))])
def test_exact_training_is_as_near_to_float64_as_float32_is(hidden_size: int) -> None:
    """In the median of networks: a single one's distance hangs on the luck of a unit that is near 0."""
    configs = [TrainingConfig(hidden_size, rate, 20, seed, "he") for rate in (0.2, 0.5, 0.7, 1.0) for seed in range(6)]
    plain = trained(DOUBLE, configs)
    exact, fast = (
        np.median([distance(p, q) for p, q in zip(trained(arithmetic, configs), plain)]) for arithmetic in (EXACT, FAST)
    )
    assert exact < fast
