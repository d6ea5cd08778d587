"""Downloading one file: each wait has a bound, and so has the file as a whole, whatever a server does."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import requests
import urllib3
from tqdm import tqdm

from numnist.common.errors import FetchError
from numnist.data import idx

_CHUNK = 1 << 16  # bytes


@dataclass(frozen=True)
class Limits:
    """How long to wait, in seconds."""

    connect: float = 5.0
    read: float = 20.0  # between two pieces of an answer
    total: float = 300.0  # for one file from one mirror


LIMITS = Limits()


def download(url: str, path: Path, limits: Limits) -> None:
    """Write what a server has at a URL to a file; FetchError with the cause if it does not serve it in time."""
    try:
        with path.open("wb") as out:
            _within(limits.total, lambda: _copy(url, out, limits))
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        innermost = str(error).rpartition("Caused by ")[2]  # requests repeats the URL before that
        raise FetchError(f"{type(error).__name__}: {innermost}") from None


def _copy(url: str, out: IO[bytes], limits: Limits) -> None:
    deadline = time.monotonic() + limits.total
    with (
        _Session() as session,
        session.get(
            url, stream=True, timeout=(limits.connect, limits.read), headers={"Accept-Encoding": "identity"}
        ) as answer,
    ):
        if answer.status_code != 200:
            raise FetchError(f"status {answer.status_code} {answer.reason}")
        with tqdm(total=answer.raw.length_remaining, unit="B", unit_scale=True, leave=False, disable=None) as progress:
            # read1 returns what has come, so that a server that sends a byte a second meets the deadline
            while chunk := answer.raw.read1(_CHUNK, decode_content=False):
                out.write(chunk)
                progress.update(len(chunk))
                if out.tell() > idx.MAX_BYTES:
                    raise FetchError(f"the answer is longer than {idx.MAX_BYTES:,} bytes")
                if time.monotonic() > deadline:
                    raise FetchError(f"not finished after {limits.total:g} s")


class _Session(requests.Session):
    """A session that leaves a server for an https address only, so never https for http."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a redirect leads, or refuse to go there."""
        target = super().get_redirect_target(resp)
        if target is not None and urlsplit(target).scheme not in ("", "https"):
            raise FetchError(f"redirect to {target}, which is not https")
        return target


def _within(seconds: float, work: Callable[[], None]) -> None:
    """Do some work, or stop waiting for it: looking up a name and reading slow headers have no time-out."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
            future.set_result(None)
        except BaseException as error:  # handed to the caller, whatever it is
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    if not wait([future], seconds).done:
        raise FetchError(f"not finished after {seconds:g} s")
    future.result()
