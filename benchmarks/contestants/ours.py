"""numnist's own trainer in stacks as large as the pipeline's. It measures loss and accuracy too, unlike the peers."""

import itertools
from collections.abc import Iterator

import numpy as np

from benchmarks.problem import CLASSES, Problem, Stepper, Weights
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Split
from numnist.network import Parameters
from numnist.training import blank_pixels, loop, scheduling
from numnist.training.arithmetic import ARITHMETICS
from numnist.training.loop import Stack, State, TrainingTask
from numnist.training.threads import Threads

FOREVER = 1_000_000


def prepare(problem: Problem, variant: str) -> Stepper:
    """Lay the images out and start the stacks; with one validation image, since the peers measure none."""
    whole, one = Split(problem.pixels, problem.labels), Split(problem.pixels[:1], problem.labels[:1])
    arithmetic = ARITHMETICS[variant]
    images, pool = loop.lay_out(whole, one, arithmetic), Threads(problem.threads)
    tasks = [_task(problem, i, arithmetic.dtype) for i in range(len(problem.learning_rates))]
    size = max(1, scheduling.STACK_ROWS // tasks[0].config.hidden_size)
    stacks = [loop.train_stack(tasks[first : first + size], images, pool) for first in range(0, len(tasks), size)]
    for stack in stacks:
        next(stack)

    def step(k: int) -> Weights:
        networks = [network for stack in stacks for network in _weights(stack, k)]
        W1, b1, W2, b2 = (np.concatenate(arrays) for arrays in zip(*networks))
        return W1, b1, W2, b2

    return step


def pixels_left(problem: Problem) -> float:
    """Return the share of the images' pixels that stay after the blank ones are left out."""
    shards = blank_pixels.layout(Split(problem.pixels, problem.labels), ARITHMETICS["fast"], CLASSES)
    return sum(shard.X.X.size for shard in shards) / problem.pixels.size


def _task(problem: Problem, i: int, dtype: str) -> TrainingTask:
    alone = problem.alone(i)
    rate = float(alone.learning_rates[0])
    config = TrainingConfig(alone.start[0].shape[1], rate, FOREVER, seed=i, initialization="he")
    start = Parameters(*(array.astype(dtype) for array in alone.start))
    return TrainingTask(config, State(start, np.zeros((1, len(loop.CURVES)))))


def _weights(stack: Iterator[Stack], k: int) -> list[Weights]:
    """Take k more steps and return each network's weights."""
    now = next(itertools.islice(stack, k - 1, None))
    members = [now.state(i).parameters for i in range(len(now.configs))]
    return [tuple(p) for p in members]
