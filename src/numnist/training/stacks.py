"""Training one stack as a pure function: tasks and data in; the state of every trial on the way out.

It keeps no store, logs no run and reads no configuration, so any process anywhere can do it. `identity` shows whether
that process runs the same code as the one that asks.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from numnist import network
from numnist.common.errors import ExecutorError
from numnist.config.schema import TrainingConfig
from numnist.data import dataset
from numnist.data.dataset import Dataset
from numnist.training import loop
from numnist.training.arithmetic import ARITHMETICS
from numnist.training.checkpoints import code_digest
from numnist.training.loop import Images, Stack, State, TrainingTask
from numnist.training.threads import Threads

Trained = tuple[TrainingConfig, State]  # a trial that is done, and the state that it ended in


@dataclass(frozen=True)
class Plan:
    """A stack that is to be trained, and the trials that lie on the way."""

    tasks: Sequence[TrainingTask]
    trials: Sequence[TrainingConfig]

    @property
    def images(self) -> tuple[str, str]:
        """Which images its networks are trained on, and in which arithmetic; as `lay_out` takes them."""
        return self.tasks[0].config.train_on, self.tasks[0].config.arithmetic

    @property
    def work(self) -> float:
        """How much there is to do."""
        return sum(map(work, self.tasks))


def group_by_checkpoint_key(configs: Iterable[TrainingConfig]) -> dict[TrainingConfig, list[TrainingConfig]]:
    """Put together the trials that are waypoints of one training."""
    groups: dict[TrainingConfig, list[TrainingConfig]] = {}
    for config in configs:
        groups.setdefault(config.checkpoint_config, []).append(config)
    return groups


def work(task: TrainingTask) -> int:
    """How much there is to do, in hidden units times iterations."""
    return network.units(task.config) * (task.config.iterations - task.iteration + 1)


def lay_out(data: Dataset, train_on: str, arithmetic: str) -> Images:
    """Lay out the images that training sees."""
    return loop.lay_out(data.trained_on(train_on), data.validation, ARITHMETICS[arithmetic], len(data.classes))


def descend(plan: Plan, images: Images, pool: Threads) -> Iterator[tuple[Stack, list[Trained]]]:
    """Train a stack, and yield it after every iteration with the trials that are done by it."""
    wanted = group_by_checkpoint_key(plan.trials)
    for stack in loop.train_stack(plan.tasks, images, pool):
        done: list[Trained] = []
        for i, config in enumerate(stack.configs):
            trials = [
                trial
                for trial in wanted[config.checkpoint_config]
                if trial.iterations == stack.iteration or (stack.diverged(i) and trial.iterations > stack.iteration)
            ]
            if trials:
                state = stack.state(i)
                done += [(trial, state) for trial in trials]
        yield stack, done


def train(plan: Plan, data: Dataset | Path, identity: Mapping[str, str], threads: int) -> list[Trained]:
    """Train a stack to its end in this process, on a data set or the directory that holds it.

    `identity` is the code and data of the process that asks; if this one's is other code, an ExecutorError says so.
    """
    if mismatch := differences(identity, identity_here()):
        raise ExecutorError(f"the worker {socket.gethostname()}, process {os.getpid()}, is refused: {mismatch}")
    images = _images(data, identity["data"], *plan.images)
    with Threads(threads) as pool:
        return [one for _, done in descend(plan, images, pool) for one in done]


def identity_here() -> dict[str, str]:
    """Return all that the bits of a training depend on in this process: the code."""
    return {"code": code_digest()}


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Say in what a worker's identity differs from this process's; nothing if it does not."""
    return "; ".join(
        f"{name} is {there[name]} there and {here[name]} here" for name in there if there[name] != here[name]
    )


_kept: dict[tuple[str, str, str], Images] = {}  # what this process trained on last


def _images(data: Dataset | Path, digest: str, train_on: str, arithmetic: str) -> Images:
    """Return a data set laid out; this process keeps the last one."""
    images = _kept.get((digest, train_on, arithmetic))
    if images is None:
        found = dataset.load(data) if isinstance(data, Path) else data
        if found.digest != digest:
            where = f"{data}: " if isinstance(data, Path) else ""
            raise ExecutorError(
                f"{where}expected the data set of digest {digest}, got digest {found.digest}; start the sweep again"
            )
        images = lay_out(found, train_on, arithmetic)
        _kept.clear()
        _kept[digest, train_on, arithmetic] = images
    return images
