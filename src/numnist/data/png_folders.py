"""Folders of PNGs, one a class, as exports of MNIST have them: train/0/21.png is image 21, a 0.

The folders are named after the classes or their numbers. A picture's number is the first or the last in its name.
"""

import re
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from numnist.common.errors import DataError
from numnist.data import idx

_MAX_BYTES = 1 << 16  # of a file with 28 x 28 pixels


def has_class_folder(folder: Path, classes: tuple[str, ...]) -> bool:
    """Whether a folder holds one that is named after a class."""
    return any((folder / name).is_dir() for labels in _readings(classes) for name in labels)


def read(folder: Path, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Read a split as pixels uint8 (m, 784) and labels uint8 (m,), in the order of the pictures' numbers."""
    pictures, _ = _pictures(folder, classes)
    pixels = np.empty((len(pictures), idx.PIXELS), np.uint8)
    for row, (_, path) in zip(pixels, pictures):
        row[:] = _pixels(path)
    return pixels, np.array([label for label, _ in pictures], np.uint8)


def remark(folder: Path, classes: tuple[str, ...]) -> str:
    """Say so if the pictures' numbers do not tell their order."""
    if _pictures(folder, classes)[1]:
        return ""
    return (
        "; the names do not number the pictures through all classes, so the original order cannot be had back: "
        "these are the same pictures at best, in another order, which is another data set"
    )


def _readings(classes: tuple[str, ...]) -> list[dict[str, int]]:
    """Return what the folders may be called, each with its label: the classes' names, or their numbers."""
    return [{name: label for label, name in enumerate(names)} for names in (classes, map(str, range(len(classes))))]


def _folders(split: Path, classes: tuple[str, ...]) -> list[tuple[int, Path]]:
    """List labels and folders; the folders are called all by name or all by number, and it is plain which."""
    found = {child.name for child in split.iterdir() if not child.name.startswith(".")}
    names, numbers = readings = _readings(classes)
    for name in sorted(found):
        if name not in names | numbers or not (split / name).is_dir():
            some = ", ".join(names)[:60]
            raise DataError(f"{split / name}: expected folders named after classes alone, such as {some}")
    fits = [[(labels[name], split / name) for name in found] for labels in readings if found <= labels.keys()]
    if not fits or (fits[0] != fits[-1] and names.keys() != numbers.keys()):
        raise DataError(
            f"{split}: {', '.join(sorted(found))} may be the classes' names or their numbers from 0; expected all "
            "names or all numbers: rename the folders, and make an empty one for each class without pictures"
        )
    return fits[0]


def _pictures(folder: Path, classes: tuple[str, ...]) -> tuple[list[tuple[int, Path]], bool]:
    """List labels and files, and say whether their numbers, from 0 or 1 without a gap, are the original order."""
    folders = _folders(folder, classes)
    listed = [(label, path) for label, own in folders for path in own.iterdir() if not path.name.startswith(".")]
    if not 1 <= len(listed) <= idx.MAX_IMAGES:
        raise DataError(f"{folder}: {len(listed):,} pictures, expected 1 to {idx.MAX_IMAGES:,}")
    for position in (0, -1):
        numbers = [int((re.findall(r"\d+", path.stem) or ["-1"])[position]) for _, path in listed]
        in_order = sorted(zip(numbers, listed), key=lambda pair: (pair[0], pair[1]))
        numbered = [number for number, _ in in_order]
        if known := numbered in (list(range(len(listed))), list(range(1, len(listed) + 1))):
            break
    return [picture for _, picture in in_order], known


def _pixels(path: Path) -> np.ndarray:
    """Read a PNG of 28 x 28 gray pixels, uint8 (784,)."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES:,} bytes")
        with Image.open(path, formats=["PNG"]) as image:
            if (image.mode, image.size) != ("L", (28, 28)):
                raise ValueError(f"{image.mode} of {image.size}")
            return np.asarray(image).reshape(idx.PIXELS)
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise DataError(f"{path}: expected a PNG of 28 x 28 gray pixels, 8 bits each, got: {error}") from None
