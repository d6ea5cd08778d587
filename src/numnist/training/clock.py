"""When each trial began and reached each of its iterations, and when it is time to show curves that grow."""

import time
from collections.abc import Sequence
from typing import Protocol

from numnist.config.schema import TrainingConfig
from numnist.training.loop import Stack

SHOW_SECONDS = 20.0  # from one showing to the next, at least
_SHARE = 100  # a showing costs at most one in so many of the seconds until the next


class Watch(Protocol):
    """Follows a training in this process."""

    def started(self, trials: Sequence[TrainingConfig]) -> None:
        """Take note that a stack with these trials starts."""

    def reached(self, stack: Stack) -> None:
        """Take note of what a stack is after one more iteration."""


class Clock:
    """The times of trials in seconds since 1970. Those of one stack share them."""

    def __init__(self) -> None:
        self._of: dict[TrainingConfig, tuple[float, list[float]]] = {}
        self._shown = time.monotonic()
        self._pause = SHOW_SECONDS

    def start(self, trials: Sequence[TrainingConfig]) -> None:
        """Start the clock of a stack."""
        shared = time.time(), list[float]()
        self._of |= dict.fromkeys(trials, shared)

    def reached(self, stack: Stack) -> None:
        """Note the time of an iteration. The iterations before a training was resumed get the time of its start."""
        began, times = self._of[stack.configs[0]]
        times += [began] * (stack.iteration - len(times))
        times.append(time.time())

    def began(self, config: TrainingConfig) -> float | None:
        """Return when a trial's training began, if it was in this process."""
        return self._of[config][0] if config in self._of else None

    def times(self, config: TrainingConfig, length: int) -> list[float]:
        """Return when each point of a trial's curves was reached; evenly spread if it was trained elsewhere."""
        if config not in self._of:
            return []
        began, times = self._of[config]
        each = (time.time() - began) / max(length - 1, 1)
        return times[:length] if len(times) >= length else [began + k * each for k in range(length)]

    def trials(self, config: TrainingConfig) -> list[TrainingConfig]:
        """Return the trials that lie on the way of a training."""
        return [trial for trial in self._of if trial.checkpoint_config == config.checkpoint_config]

    def is_due(self) -> bool:
        """Whether it is time to show curves; then call `pause` when they are shown."""
        self._now = time.monotonic()
        return self._now - self._shown > self._pause

    def pause(self) -> None:
        """Start the pause after a showing, the longer the more time that took."""
        self._shown = time.monotonic()
        self._pause = max(SHOW_SECONDS, _SHARE * (self._shown - self._now))
