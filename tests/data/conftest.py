"""A mirror for the tests of fetching."""

from collections.abc import Iterator

import mirrors
import pytest


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[mirrors.Mirror]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with mirrors.serve() as served:
        yield served
