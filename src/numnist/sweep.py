"""Training cells: what is in the store is taken from it, the rest is trained in stacks, shorter cells as waypoints."""

import functools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numnist import numerics, progress, training
from numnist.cells import Store
from numnist.config import TrainingConfig
from numnist.dataset import Dataset
from numnist.progress import Report
from numnist.results import Result
from numnist.training import Course, Images

STACK_ROWS = 1536  # hidden units trained together at most: beyond, they cost memory and gain no time
BATCH_STACK_ROWS = 16_384  # the same in batches, where each thread needs a network of its own
CHECKPOINT_SECONDS = 20


@dataclass(frozen=True)
class Plan:
    """A stack that is to be trained, and the cells that lie on the way."""

    courses: Sequence[Course]
    cells: Sequence[TrainingConfig]

    @property
    def work(self) -> float:
        """How much there is to do, in hidden units times iterations."""
        return sum(
            course.config.hidden_size * (course.config.iterations - course.iteration + 1) for course in self.courses
        )


def open_store(directory: Path, data: Dataset) -> Store:
    """Open the store of cells for a data set, as this process computes."""
    return Store(directory, data.digest, numerics.fingerprint())


def train(
    configs: Sequence[TrainingConfig], data: Dataset, store: Store, *, threads: int | None = None
) -> Iterator[list[Result]]:
    """Train what the store does not hold, and yield the results of the given cells a stack at a time.

    Every state that a cell asks for is stored as soon as it is reached, and all that is under way every
    CHECKPOINT_SECONDS; a training that was cut off goes on from there, with the same bits.
    """
    stored = _stored(configs, store)
    yield stored
    if missing := _besides(configs, stored):
        with store.locked():
            yield from _train_missing(missing, data, store, threads)


def _train_missing(
    configs: Sequence[TrainingConfig], data: Dataset, store: Store, threads: int | None
) -> Iterator[list[Result]]:
    """Train cells in stacks, but for those that another process has trained while this one waited."""
    stored = _stored(configs, store)
    yield stored
    plans = plan(_besides(configs, stored), store)
    if not plans:
        return
    laid_out = functools.cache(lambda train_on: training.lay_out(data.trained_on(train_on), data.validation))
    work = sum(one.work for one in plans)
    with ThreadPoolExecutor(threads or _cores()) as pool, progress.bar("training", work) as report:
        for number, one in enumerate(plans, 1):
            images = laid_out(one.courses[0].config.train_on)
            yield list(_train(one, images, pool, store, report, f"stack {number} of {len(plans)}"))


def _stored(configs: Sequence[TrainingConfig], store: Store) -> list[Result]:
    """Return the results of those cells that are in the store."""
    found = ((config, store.finished(config)) for config in dict.fromkeys(configs))
    return [Result(config, store.key(config), state) for config, state in found if state]


def _besides(configs: Sequence[TrainingConfig], results: Sequence[Result]) -> list[TrainingConfig]:
    """Return the cells that have no result, each once."""
    done = {result.config for result in results}
    return [config for config in dict.fromkeys(configs) if config not in done]


def plan(configs: Iterable[TrainingConfig], store: Store) -> list[Plan]:
    """Cut cells into stacks: of one hidden size and starting point, and of at most STACK_ROWS hidden units."""
    trajectories: dict[TrainingConfig, list[TrainingConfig]] = {}
    for config in configs:
        trajectories.setdefault(config.trajectory, []).append(config)
    stacks: dict[tuple[Any, ...], list[tuple[Course, list[TrainingConfig]]]] = {}
    for cells in trajectories.values():
        longest = max(cells, key=lambda config: config.iterations)
        course = Course(longest, store.nearest(min(cells, key=lambda config: config.iterations)))
        stacks.setdefault((*longest.company, course.iteration), []).append((course, cells))
    plans = []
    for (hidden, batch_size, *_), members in sorted(stacks.items()):
        size = max(1, (BATCH_STACK_ROWS if batch_size else STACK_ROWS) // hidden)
        for first in range(0, len(members), size):
            chosen = members[first : first + size]
            plans.append(Plan([course for course, _ in chosen], [cell for _, cells in chosen for cell in cells]))
    return plans


def _train(
    one: Plan, images: Images, pool: ThreadPoolExecutor, store: Store, report: Report, words: str
) -> Iterator[Result]:
    """Train one stack, store what it passes through, and yield the cells that are done."""
    wanted: dict[TrainingConfig, list[TrainingConfig]] = {}
    for cell in one.cells:
        wanted.setdefault(cell.trajectory, []).append(cell)
    saved = time.monotonic()
    stack_of = training.train_stack(
        one.courses, images, pool, rows_per_network=numerics.ROWS_PER_NETWORK[numerics.pinned()]
    )
    started, first = time.monotonic(), one.courses[0].iteration
    for stack in stack_of:
        iteration = stack.iteration
        due = time.monotonic() - saved > CHECKPOINT_SECONDS
        for i, config in enumerate(stack.configs):
            cells = wanted[config.trajectory]
            state = (
                stack.state(i) if due or stack.diverged(i) or any(c.iterations == iteration for c in cells) else None
            )
            if state is None:
                continue
            for cell in cells:
                if cell.iterations == iteration or (state.diverged and cell.iterations > iteration):
                    store.save(cell, state)
                    yield Result(cell, store.key(cell), state)
            if due and not state.diverged and config.iterations > iteration:
                store.save_checkpoint(config, state)
        if due:
            saved = time.monotonic()
        pace = (iteration - first + 1) / max(time.monotonic() - started, 1e-9)
        report(sum(config.hidden_size for config in stack.configs), f"{words}, {pace:.1f} iterations/s")
    store.remove_checkpoints(course.config for course in one.courses)


def _cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
