"""What holds for every test: this checkout's library, fast kernels, and an end to every wait."""

import signal
from collections.abc import Iterator

import pytest

import pipeline  # noqa: F401  (puts src on the path, and chooses the kernels)

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a script, and in all children
_SECONDS, _SECONDS_IF_SLOW = 300, 3_600


@pytest.fixture(autouse=True)
def in_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """End a test that waits for something that does not come."""

    def late(*_: object) -> None:
        raise TimeoutError(f"{request.node.nodeid} took more than {seconds} s")

    seconds = _SECONDS_IF_SLOW if request.node.get_closest_marker("slow") else _SECONDS
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
