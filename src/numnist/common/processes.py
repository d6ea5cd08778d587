"""Commands that ours start: they end with the one that started them."""

from collections.abc import Sequence
from typing import Any

import psutil

_SECONDS = 30.0  # that a process may take to end once it is told to: a training closes its runs


def run(command: Sequence[str], **how: Any) -> int:
    """Run a command to its end and return its exit code; if we are told to end, first end it and all that it started.

    After Ctrl-C, which a terminal sends to them too, they are waited for.
    """
    process = psutil.Popen(command, **how)
    try:
        return int(process.wait())
    except BaseException as ending:
        family = [*process.children(recursive=True)[::-1], process]
        if not isinstance(ending, KeyboardInterrupt):
            for one in family:
                one.terminate()
        for one in psutil.wait_procs(family, timeout=_SECONDS)[1]:
            one.kill()
        raise
