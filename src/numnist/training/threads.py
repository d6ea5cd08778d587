"""Threads that share out work: each takes the next piece as soon as it is free."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def _keep_memory() -> None:
    """Have glibc keep the memory of arrays of up to 31 MB that are freed, since to get it anew costs 5 to 10%.

    It takes the largest block that was ever returned to the system as the size from which on blocks are returned.
    """
    np.empty(31 << 20, np.uint8)


class Threads:
    """So many threads, until the `with` block ends. BLAS uses one in each, if threadpoolctl is there to say so."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(count)
        self._limits: Any = None

    def __enter__(self) -> Self:
        _keep_memory()
        with contextlib.suppress(ImportError):
            from threadpoolctl import threadpool_limits

            self._limits = threadpool_limits(1, user_api="blas")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown()
        if self._limits:
            self._limits.restore_original_limits()

    def share_out(
        self, pieces: Sequence[Piece], work: Callable[[Piece], Result], receive: Callable[[Result], None]
    ) -> None:
        """Work on all pieces, and raise what a piece raises.

        `receive` gets the results one at a time and in the pieces' order, each as soon as those before it are there.
        """
        left = iter(range(len(pieces)))  # one iterator for all threads
        early: dict[int, Result] = {}
        received = 0
        lock = Lock()

        def take() -> None:
            nonlocal received
            for number in left:
                result = work(pieces[number])
                with lock:
                    early[number] = result
                    while received in early:
                        receive(early.pop(received))
                        received += 1

        for taker in [self._pool.submit(take) for _ in range(min(self._count, len(pieces)))]:
            taker.result()
