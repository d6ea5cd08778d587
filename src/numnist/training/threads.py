"""Threads that share out work: each takes one piece after another, and none waits for another's turn."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Threads:
    """So many threads, until the `with` block ends."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown()

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
