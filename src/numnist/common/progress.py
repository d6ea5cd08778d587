"""How far a long piece of work is: a bar with the time left on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_SECONDS_BETWEEN_LINES = 15


class Report(Protocol):
    """Takes how many units of work are newly done, and a few words on where it stands."""

    def __call__(self, done: float, words: str = "") -> None:
        """Add to what is done."""


@contextmanager
def bar(title: str, total: float) -> Iterator[Report]:
    """Show progress on standard error while the block runs, `total` units of work in all."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        layout = "{desc}: {percentage:3.0f}%, {remaining} left |{bar:20}|{postfix}"  # cut from the right
        with tqdm(total=total, desc=title, bar_format=layout, file=sys.stderr, dynamic_ncols=True) as shown:

            def report(done: float, words: str = "") -> None:
                shown.set_postfix_str(words, refresh=False)
                shown.update(done)

            yield report
        return
    start = latest = time.monotonic()
    sum_done = 0.0

    def report_line(done: float, words: str = "") -> None:
        nonlocal latest, sum_done
        sum_done += done
        now = time.monotonic()
        if now - latest >= _SECONDS_BETWEEN_LINES and sum_done < total:
            latest = now
            left = (now - start) * (total - sum_done) / sum_done
            print(f"{title}: {sum_done / total:.0%}, {words}, {left:.0f} s left", file=sys.stderr, flush=True)

    yield report_line
