"""The forms that a data set comes in on people's disks: found by looking, each read as what MNIST's four files hold.

IDX files, plain or gzipped, named with a dash or a dot, also in a folder of their own name; Keras's .npz; pairs of
CSV files; folders of PNGs (`png_folders`). Whatever is wrong with a file is a DataError with its path.
"""

import contextlib
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from numnist.common.errors import DataError
from numnist.common.files import read_json
from numnist.data import idx, kaggle, png_folders

RECORD = "fetched.json"  # marks a folder that fetch has made
_LEVELS = 2  # of folders below a place that are looked through
_ENTRIES = 1_000_000  # in all of them
_PREFIX = {"train": "train", "training": "train", "t10k": "t10k", "test": "t10k", "testing": "t10k"}
_IDX = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?", re.IGNORECASE)
_CSV = re.compile(r"(?:.*[-_])?(train|test)\.csv", re.IGNORECASE)
_ORDER = ("IDX file", "Keras's .npz", "CSV", "folder of PNGs")  # the quickest to read first


@dataclass(frozen=True)
class Found:
    """What may hold some of the four files: `read` returns their contents, `remark` what to know if they are others."""

    form: str
    path: Path
    names: tuple[str, ...]
    read: Callable[[], Mapping[str, bytes]]
    remark: Callable[[], str] = str


def look(place: Path, classes: tuple[str, ...]) -> list[Found]:
    """Find all forms in a directory and up to two levels below it, or the one that a file has."""
    found = (one for path in _entries(place, classes) for one in _recognized(path, classes))
    return sorted(found, key=lambda one: _ORDER.index(one.form))


def read_record(directory: Path) -> dict[str, dict[str, str]]:
    """Return what fetch wrote about a folder: `pinned`, the pins, and `sha256`, the files that it made by them."""
    path = directory / RECORD
    with contextlib.suppress(DataError):
        told = read_json(path) if path.exists() else {"pinned": {}, "sha256": {}}
        if isinstance(told, dict) and all(isinstance(told.get(key), dict) for key in ("pinned", "sha256")):
            return told
    raise DataError(f"{path} is damaged; move {directory} away and run `python -m pipeline.fetch`")


def read_idx(path: Path, name: str, classes: int) -> bytes:
    """Read an IDX file, plain or gzipped, as what the one of that name holds unpacked."""
    return idx.pack(idx.read_images(path) if "images" in name else idx.read_labels(path, classes))


def _entries(place: Path, classes: tuple[str, ...]) -> Iterator[Path]:
    """Yield a file, or all that is in a directory and in the folders below it, but for those of PNGs and of fetch."""
    if not place.is_dir():
        yield place
        return
    folders, left = [place], _ENTRIES
    for depth in range(_LEVELS + 2):  # the last one are folders around an IDX file
        entries = list(islice((path for folder in folders for path in sorted(folder.iterdir(), key=str)), left))
        if (left := left - len(entries)) <= 0:
            raise DataError(f"{place} holds more than {_ENTRIES:,} files; name the folder that the data set is in")
        yield from entries
        folders = [path for path in entries if path.is_dir() and (depth < _LEVELS or _IDX.fullmatch(path.name))]
        folders = [path for path in folders if not (path / RECORD).exists() and not _is_split(path, classes)]


def _recognized(path: Path, classes: tuple[str, ...]) -> Iterator[Found]:
    if match := _IDX.fullmatch(path.name):
        if path.is_file():
            [name] = (name for name in _names(match[1]) if match[2].lower() in name)
            yield Found(_ORDER[0], path, (name,), lambda: {name: read_idx(path, name, len(classes))})
    elif path.suffix.lower() == ".npz":
        yield Found(_ORDER[1], path, idx.NAMES, partial(_read_npz, path, len(classes)))
    elif match := _CSV.fullmatch(path.name):
        yield Found(_ORDER[2], path, _names(match[1]), partial(_read_csv, path, _names(match[1]), len(classes)))
    elif _is_split(path, classes):
        names = _names(path.name)
        read, remark = partial(_read_folder, path, names, classes), partial(png_folders.remark, path, classes)
        yield Found(_ORDER[3], path, names, read, remark)


def _is_split(path: Path, classes: tuple[str, ...]) -> bool:
    return path.name.lower() in _PREFIX and png_folders.has_class_folder(path, classes)


def _names(prefix: str) -> tuple[str, ...]:
    """Return the names of the images' and the labels' file of a split, whatever it is called."""
    return tuple(name for name in idx.NAMES if name.startswith(_PREFIX[prefix.lower()]))


def _read_csv(path: Path, names: tuple[str, ...], classes: int) -> dict[str, bytes]:
    return _packed(path, names, *kaggle.read_labelled(path, classes), classes)


def _read_folder(path: Path, names: tuple[str, ...], classes: tuple[str, ...]) -> dict[str, bytes]:
    return _packed(path, names, *png_folders.read(path, classes), len(classes))


def _read_npz(path: Path, classes: int) -> dict[str, bytes]:
    """Read x_train, y_train, x_test and y_test: whole numbers alone, so that no pickle is opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = [_member(archive, name) for name in ("x_train", "y_train", "x_test", "y_test")]
    except Exception as error:  # damaged bytes surface as a dozen types, from zipfile, zlib, NumPy and others
        raise DataError(
            f"{path}: {str(error) or type(error).__name__}; expected what Keras's mnist.npz holds"
        ) from None
    x_train, y_train, x_test, y_test = arrays
    return _packed(path, _names("train"), x_train, y_train, classes) | _packed(
        path, _names("test"), x_test, y_test, classes
    )


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read one array of an archive, of the size that its header says and no larger than a data set may be."""
    with archive.open(f"{name}.npy") as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{name} is in another format than numpy.savez writes numbers in")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "ui" or not 0 < size <= idx.MAX_BYTES:
            raise ValueError(f"{name} is {dtype} of {shape}, expected whole numbers, at most {idx.MAX_BYTES:,} bytes")
        content = member.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{name} has {len(content):,} bytes, expected {size:,}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _packed(
    path: Path, names: tuple[str, ...], pixels: np.ndarray, labels: np.ndarray, classes: int
) -> dict[str, bytes]:
    """Check a split's arrays, and return them as what its two files hold."""
    if pixels.dtype != np.uint8 or pixels.shape[1:] not in ((28, 28), (idx.PIXELS,)):
        raise DataError(f"{path}: images are {pixels.dtype} of {pixels.shape}, expected uint8 of (m, 28, 28)")
    if labels.shape != pixels.shape[:1] or not 1 <= len(labels) <= idx.MAX_IMAGES:
        raise DataError(f"{path}: labels have the shape {labels.shape}, expected ({len(pixels)},), one an image")
    if len(bad := np.flatnonzero((labels < 0) | (labels >= classes))):
        raise DataError(f"{path}: label {bad[0]}: expected 0 to {classes - 1}, got {labels[bad[0]]}")
    return dict(zip(names, (idx.pack(pixels.reshape(-1, idx.PIXELS)), idx.pack(labels.astype(np.uint8))), strict=True))
