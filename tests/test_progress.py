"""The bar on a terminal."""

import contextlib
import fcntl
import os
import re
import struct
import sys
import termios

import pytest

from numnist.common import progress

WORDS = "stack 12 of 14, 47.2 iterations/s, 16 workers"


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_bar_fits_the_terminal_and_cuts_the_time_left_last(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with progress.bar("training", 100) as report:
            report(31, WORDS)
            report(69, WORDS)
        monkeypatch.undo()
    shown = ""
    with contextlib.suppress(OSError):  # the end, on Linux
        while chunk := os.read(leader, 10_000):
            shown += chunk.decode()
    os.close(leader)
    lines = [line for line in re.split(r"[\r\n]+", shown) if line.strip()]
    assert all(len(line) <= columns for line in lines), lines
    assert re.match(r"training: 100%, \S+ left \|", lines[-1])
    assert (WORDS in lines[-1]) == (columns > 100)
