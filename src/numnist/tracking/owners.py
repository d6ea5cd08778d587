"""Which process a run belongs to, and whether that is still at work.

A process of this machine is looked up. One of another machine, or of another PID namespace (a container), cannot be:
it lives as long as it renews the run's heartbeat.
"""

import functools
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

OWNER = "numnist.owner"  # tag: machine, process id and process start
HEARTBEAT = "numnist.heartbeat"  # tag: seconds since 1970
BEAT_SECONDS = 60.0
_LOST_SECONDS = 600.0  # without a heartbeat; clocks of two machines may differ by minutes


@functools.cache
def machine() -> str:
    """Name this machine, since its last start, and its namespace of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return f"{platform.node()}/{uuid.getnode():x}"


def tags() -> dict[str, str]:
    """Return the tags with which this process claims a run."""
    return {OWNER: _this_process(os.getpid()), **heartbeat()}


def heartbeat() -> dict[str, str]:
    """Return the tag that says when the owner was last alive."""
    return {HEARTBEAT: f"{time.time():.0f}"}


def is_mine(tags: Mapping[str, str]) -> bool:
    """Whether a run belongs to this process."""
    return tags.get(OWNER) == _this_process(os.getpid())


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether a run's owner is at work."""
    try:
        where, pid, started = tags[OWNER].rsplit(" ", 2)
        if where != machine():
            return time.time() - float(tags[HEARTBEAT]) < _LOST_SECONDS
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < 2  # the clock may have been set meanwhile
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, ValueError):
        return False


def start_heartbeat(beat: Callable[[], None]) -> Callable[[], None]:
    """Call a function once a minute, in a thread of its own, until what is returned is called."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(BEAT_SECONDS):
            beat()

    threading.Thread(target=run, daemon=True).start()
    return over.set


@functools.cache
def _this_process(pid: int) -> str:  # by its id, since a process may be forked
    return f"{machine()} {pid} {psutil.Process(pid).create_time()}"
