"""What holds for every test: this checkout's library, fast kernels, nothing from outside, an end to every wait."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline  # noqa: F401  (puts src on the path, and chooses the kernels)

for _name in list(os.environ):  # what make, a git hook or a DVC stage tells those that it starts, or a person set
    if _name.startswith(("MAKE", "MFLAGS", "GIT_", "DVC_", "MLFLOW_", "HYDRA_", "NUMNIST_EXEC", "NUMNIST_SCHED")):
        del os.environ[_name]
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a script, and in all children
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # under nohup; what a test starts does not ignore it
    signal.signal(signal.SIGHUP, lambda *_: None)
_SECONDS, _SECONDS_IF_SLOW = 300, 3_600


@pytest.fixture(autouse=True)
def in_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """End a test that waits for something that does not come."""

    def late(*_: object) -> None:
        raise TimeoutError(f"{request.node.nodeid} took more than {seconds} s")

    slow = any(map(request.node.get_closest_marker, ("slow", "soak")))
    seconds = _SECONDS_IF_SLOW if slow else _SECONDS
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with an empty tracking store, for tests to copy: to create one takes seconds. Two processes did."""
    import stores

    root = tmp_path_factory.mktemp("template")
    stores.in_processes(stores.create, root, count=2)
    return root
