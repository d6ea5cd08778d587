"""numnist's own trainer in stacks as large as the pipeline's. It measures loss and accuracy too, unlike the peers."""

import itertools
from collections.abc import Iterator

import numpy as np

from benchmarks.problem import Problem, Stepper, Weights
from numnist import numerics
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Split
from numnist.network import Parameters
from numnist.training import loop, scheduling
from numnist.training.loop import Stack, State, TrainingTask
from numnist.training.threads import Threads

FOREVER = 1_000_000


def prepare(problem: Problem, variant: str) -> Stepper:
    """Lay the images out and start the stacks; with one validation image, since the peers measure none."""
    images = loop.lay_out(Split(problem.pixels, problem.labels), Split(problem.pixels[:1], problem.labels[:1]))
    pool = Threads(problem.threads)
    tasks = [_course(problem, i) for i in range(len(problem.learning_rates))]
    size = max(1, scheduling.STACK_ROWS // tasks[0].config.hidden_size)
    rows = numerics.ROWS_PER_NETWORK[numerics.pinned()]
    stacks = [
        loop.train_stack(tasks[first : first + size], images, pool, rows_per_network=rows)
        for first in range(0, len(tasks), size)
    ]
    for stack in stacks:
        next(stack)

    def step(k: int) -> Weights:
        networks = [network for stack in stacks for network in _weights(stack, k)]
        W1, b1, W2, b2 = (np.concatenate(arrays) for arrays in zip(*networks))
        return W1, b1, W2, b2

    return step


def _course(problem: Problem, i: int) -> TrainingTask:
    alone = problem.alone(i)
    rate = float(alone.learning_rates[0])
    config = TrainingConfig(alone.start[0].shape[1], rate, FOREVER, seed=i, initialization="he")
    return TrainingTask(config, State(Parameters(*alone.start), np.zeros((1, len(loop.CURVES)))))


def _weights(stack: Iterator[Stack], k: int) -> list[Weights]:
    """Take k more steps and return each network's weights."""
    now = next(itertools.islice(stack, k - 1, None))
    members = [now.state(i).parameters for i in range(len(now.configs))]
    return [(p.W1, p.b1, p.W2, p.b2) for p in members]
