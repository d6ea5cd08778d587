"""Training trials: what is in the store is taken from it, the rest is trained in stacks, shorter ones as waypoints."""

import functools
import logging
import math
import operator
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from numnist import network
from numnist.common import machine, progress
from numnist.common.errors import ExecutorError
from numnist.common.progress import Report
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Dataset
from numnist.training import stacks
from numnist.training.checkpoints import CheckpointStore
from numnist.training.clock import Watch
from numnist.training.loop import Stack, State, TrainingTask
from numnist.training.results import Result
from numnist.training.stacks import Plan, Trained, group_by_checkpoint_key, work
from numnist.training.threads import Threads

STACK_ROWS = 384  # hidden units trained together at most: beyond, they cost memory and time
BATCH_STACK_ROWS = 16_384  # the same in batches: each thread needs a network of its own
STACKS_PER_WORKER = 2  # at least, so that workers end at about the same time; more would make stacks small and slow
CHECKPOINT_SECONDS = 20

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerPool:
    """Workers elsewhere, and what each of them needs."""

    executor: Executor
    workers: int  # stacks that are trained at once
    threads: int  # cores that each of them uses
    data: Any  # the data set, its directory, or what the executor turns into the data set


def open_store(directory: Path, data: Dataset) -> CheckpointStore:
    """Open the store of trials for a data set."""
    return CheckpointStore(directory, data.digest, len(data.classes))


@dataclass(frozen=True)
class Trainer:
    """Trains trials on a data set: in this process on so many threads (None: all cores), or by a pool of workers."""

    data: Dataset
    store: CheckpointStore
    threads: int | None = None
    worker_pool: WorkerPool | None = None
    watch: Watch | None = None

    def train(self, configs: Sequence[TrainingConfig]) -> Iterator[list[Result]]:
        """Train what the store does not hold, and yield the results of the given trials a stack at a time.

        In this process, every state that a trial asks for is stored as soon as it is reached, and all that is under way
        every CHECKPOINT_SECONDS; a training that was cut off goes on from there, with the same bits. Workers of
        a pool return whole stacks, which are stored as they come.
        """
        yield (stored := self._stored(configs))
        if missing := _besides(configs, stored):
            with self.store.locked():
                yield (stored := self._stored(missing))  # by another process, for which this one waited
                yield from self._train(_besides(missing, stored))

    def _train(self, configs: Sequence[TrainingConfig]) -> Iterator[list[Result]]:
        plans = plan(configs, self.store, self.worker_pool.workers if self.worker_pool else 1)
        if not plans:
            return
        with progress.bar("training", sum(one.work for one in plans)) as report:
            if self.worker_pool:
                yield from self._train_elsewhere(plans, self.worker_pool, report)
                return
            laid_out = functools.cache(lambda *which: stacks.lay_out(self.data, *which))
            with Threads(self.threads or machine.cores()) as pool:
                for number, one in enumerate(plans, 1):
                    words = f"stack {number} of {len(plans)}"
                    yield list(self._train_here(one, stacks.descend(one, laid_out(*one.images), pool), report, words))

    def _train_elsewhere(self, plans: Sequence[Plan], workers: WorkerPool, report: Report) -> Iterator[list[Result]]:
        """Hand all stacks to the workers, and store and yield each as it comes back.

        The error of a stack is logged at once, and raised when all others are done. If workers are lost: ExecutorError.
        """
        identity = stacks.identity_here() | {"data": self.data.digest}
        futures: dict[Future[list[Trained]], Plan] = {}
        failed: list[Exception] = []
        try:
            for one in plans:
                if self.watch:
                    self.watch.started(one.trials)
                futures[workers.executor.submit(stacks.train, one, workers.data, identity, workers.threads)] = one
            for number, future in enumerate(as_completed(futures), 1):
                one = futures.pop(future)
                try:
                    trained = future.result()
                except ExecutorError:
                    raise
                except BrokenProcessPool:
                    raise ExecutorError(
                        "a worker process ended by itself: killed, or out of memory (then give executor.workers "
                        "fewer). What is finished is kept; the same command trains the rest"
                    ) from None
                except Exception as error:
                    log.exception("a stack failed: %s", ", ".join(trial.name for trial in one.trials))
                    failed.append(error)
                    continue
                report(one.work, f"stack {number} of {len(plans)}, {workers.workers} workers")
                yield [self._save(*done) for done in trained]
                self.store.remove_checkpoints(task.config for task in one.tasks)
        finally:
            for future in futures:
                future.cancel()
        if failed:
            raise ExceptionGroup(f"{len(failed)} of {len(plans)} stacks failed", failed)

    def _train_here(
        self, one: Plan, training: Iterator[tuple[Stack, list[Trained]]], report: Report, words: str
    ) -> Iterator[Result]:
        """Follow the training of a stack, store what it passes through, and yield the trials that are done."""
        saved = started = time.monotonic()
        first = one.tasks[0].iteration
        if self.watch:
            self.watch.started(one.trials)
        for stack, done in training:
            if self.watch:
                self.watch.reached(stack)
            yield from (self._save(*each) for each in done)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                for i in stack.unfinished():
                    self.store.save_checkpoint(stack.configs[i], stack.state(i))
                saved = time.monotonic()
            pace = (stack.iteration - first + 1) / max(time.monotonic() - started, 1e-9)
            report(sum(map(network.units, stack.configs)), f"{words}, {pace:.1f} iterations/s")
        self.store.remove_checkpoints(task.config for task in one.tasks)

    def _stored(self, configs: Sequence[TrainingConfig]) -> list[Result]:
        """Return the results of those trials that are in the store."""
        found = ((config, self.store.finished(config)) for config in dict.fromkeys(configs))
        return [Result(config, self.store.key(config), state) for config, state in found if state]

    def _save(self, trial: TrainingConfig, state: State) -> Result:
        """Store a trial that is done."""
        self.store.save(trial, state)
        return Result(trial, self.store.key(trial), state)


def _besides(configs: Sequence[TrainingConfig], results: Sequence[Result]) -> list[TrainingConfig]:
    """Return the trials that have no result, each once."""
    done = {result.config for result in results}
    return [config for config in dict.fromkeys(configs) if config not in done]


def plan(configs: Iterable[TrainingConfig], store: CheckpointStore, workers: int = 1) -> list[Plan]:
    """Cut trials into stacks; several workers get the largest first. How trials are cut changes no bit of them."""
    trials = group_by_checkpoint_key(configs)
    tasks = [_task(waypoints, store) for waypoints in trials.values()]
    fair = sum(map(work, tasks)) / (workers * STACKS_PER_WORKER) if workers > 1 else math.inf
    cut = [part for alike in group_by_stack_key(tasks) for part in split_evenly(alike, _parts(alike, fair))]
    plans = [Plan(part, [trial for task in part for trial in trials[task.config.checkpoint_config]]) for part in cut]
    return sorted(plans, key=lambda one: -one.work) if workers > 1 else plans


def group_by_stack_key(tasks: Iterable[TrainingTask]) -> list[list[TrainingTask]]:
    """Put together the tasks that can be trained as one stack: of one stack key, starting after as many iterations."""
    groups: dict[tuple[Any, ...], list[TrainingTask]] = {}
    for task in tasks:
        groups.setdefault((*task.config.stack_key, task.iteration), []).append(task)
    return [groups[key] for key in sorted(groups)]


def split_evenly(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    """Cut into so many parts, or as many as there are items; their sizes differ by one at most."""
    parts = min(parts, len(items))
    return [items[first::parts] for first in range(parts)]


def _task(waypoints: Sequence[TrainingConfig], store: CheckpointStore) -> TrainingTask:
    """Return the training that passes through all of these trials, from the furthest state on the way to the first."""
    iterations = operator.attrgetter("iterations")
    return TrainingTask(max(waypoints, key=iterations), store.nearest(min(waypoints, key=iterations)))


def _parts(tasks: Sequence[TrainingTask], fair: float) -> int:
    """Return how many stacks these tasks need, to stay within the bound on hidden units and a fair share of work."""
    config = tasks[0].config
    most = max(1, (BATCH_STACK_ROWS if config.batch_size else STACK_ROWS) // network.units(config))
    return max(math.ceil(len(tasks) / most), math.ceil(sum(map(work, tasks)) / fair))
