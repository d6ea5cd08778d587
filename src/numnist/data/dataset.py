"""The data set as arrays: made from the IDX files once, then loaded by every stage.

The test set lies apart, beside the directory of the other two, and `load` never opens it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numnist.common import hashing
from numnist.common.errors import DataError
from numnist.common.files import load_arrays, read_json, remove_partial, save_arrays, sha256, write_json
from numnist.config.schema import DIGITS, DataConfig
from numnist.data import idx
from numnist.data.forms import read_record

TAKE_SAMPLE = (
    "without network, set data.name to mnist-5k in params.yaml, and `dvc repro preprocess` takes the packaged sample"
)
_SPLITS = ("train", "validation", "test")
_TEST_ARRAYS: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "pixels": ("uint8", (None, 784)),
    "labels": ("uint8", (None,)),
}
_ARRAYS = _TEST_ARRAYS | {"indices": ("int64", (None,))}


@dataclass(frozen=True)
class Split:
    """Images and their labels: pixels uint8 (m, 784), labels uint8 (m,), each the number of a class."""

    pixels: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """What training may see. `digest` stands for the whole data set, the test set included.

    `classes` are the names of the classes: `classes[label]` is what a label means.
    """

    name: str
    digest: str
    train: Split
    validation: Split
    classes: tuple[str, ...] = DIGITS

    @property
    def identity(self) -> dict[str, str]:
        """What it is known by in metrics, runs and results."""
        return {"name": self.name, "digest": self.digest}

    def thinned(self, images: int) -> "Dataset":
        """Return a data set of so many images of each split, taken at even distances, with a digest of its own."""
        name, digest = f"{self.name}, {images} images", hashing.of_texts([self.digest, str(images)])
        train, validation = (
            Split(*(array[:: max(1, len(array) // images)][:images] for array in (one.pixels, one.labels)))
            for one in (self.train, self.validation)
        )
        return Dataset(name, digest, train, validation, self.classes)

    def trained_on(self, which: str) -> Split:
        """Return the images that are trained on: `training`, or `all`, the validation part behind it."""
        if which == "training":
            return self.train
        parts = self.train, self.validation
        return Split(np.concatenate([one.pixels for one in parts]), np.concatenate([one.labels for one in parts]))


def choose_validation(labels: np.ndarray, one_in: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose m // one_in of m images for validation, each class in proportion; return (train, validation).

    Both are int64 indices, ascending. The choice follows PCG64's raw integers, which NumPy promises to keep, and
    not a Generator's methods, which it does not.
    """
    quotas = _quotas(np.bincount(labels), len(labels) // one_in)
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    chosen = np.zeros(len(labels), bool)
    for label, quota in enumerate(quotas):
        chosen[order[labels[order] == label][:quota]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def preprocess(
    raw_directory: Path, processed_directory: Path, data: DataConfig, classes: tuple[str, ...] = DIGITS
) -> None:
    """Turn the four IDX files into train.npz, validation.npz and dataset.json, and test.npz beside their directory."""
    remove_partial(processed_directory)
    train, test = (_read_split(raw_directory, prefix, len(classes)) for prefix in ("train", "t10k"))
    if len(train.labels) < data.validation_one_in:
        raise DataError(
            f"{raw_directory}: {len(train.labels)} training images, too few to set one in "
            f"{data.validation_one_in} apart; lower data.validation_one_in in params.yaml"
        )
    indices = choose_validation(train.labels, data.validation_one_in, data.split_seed)
    parts = {
        name: {"pixels": train.pixels[chosen], "labels": train.labels[chosen], "indices": chosen}
        for name, chosen in zip(("train", "validation"), indices)
    } | {"test": {"pixels": test.pixels, "labels": test.labels}}
    for name, arrays in parts.items():
        save_arrays(_file(processed_directory, name), arrays)
    described = {name: _describe(arrays, len(classes)) for name, arrays in parts.items()}
    digest = hashing.of_texts(part["sha256"] for part in described.values())
    about = {"name": data.name, "digest": digest, "classes": classes}
    write_json(processed_directory / "dataset.json", about | described)


def load(directory: Path) -> Dataset:
    """Load and verify the training and validation parts."""
    name, digest, classes, hashes = _read_description(directory / "dataset.json")
    train = _load_split(_file(directory, "train"), _ARRAYS, hashes["train"])
    validation = _load_split(_file(directory, "validation"), _ARRAYS, hashes["validation"])
    return Dataset(name, digest, train, validation, classes)


def classes_of(directory: Path, digest: str) -> tuple[str, ...]:
    """Return the names of the classes of the data set with this digest; none if it is not the one that lies here."""
    path = directory / "dataset.json"
    _, found, classes, _ = _read_description(path) if path.is_file() else ("", "", (), {})
    return classes if found == digest else ()


def load_test(directory: Path) -> Split:
    """Load and verify the test part: for the final evaluation alone."""
    hashes = _read_description(directory / "dataset.json")[-1]
    return _load_split(_file(directory, "test"), _TEST_ARRAYS, hashes["test"])


def _file(directory: Path, split: str) -> Path:
    return (directory.parent if split == "test" else directory) / f"{split}.npz"


def _quotas(counts: np.ndarray, total: int) -> np.ndarray:
    """Share `total` among the classes in proportion to their counts, by largest remainders; ties to the lower label."""
    shares = counts.astype(np.int64) * total
    quotas: np.ndarray = shares // counts.sum()
    remainders = shares % counts.sum()
    quotas[np.argsort(-remainders, kind="stable")[: total - quotas.sum()]] += 1
    return quotas


def _read_split(directory: Path, prefix: str, classes: int) -> Split:
    images, labels = (directory / name for name in idx.NAMES if name.startswith(prefix))
    try:
        split = Split(idx.read_images(images), idx.read_labels(labels, classes))
        if len(split.pixels) != len(split.labels):
            raise DataError(
                f"{labels}: count: expected {len(split.pixels):,}, as many labels as there are images in "
                f"{images.name}, got {len(split.labels):,}"
            )
    except DataError as error:
        raise DataError(f"{error}. {_remedy(directory)}") from None
    return split


def _remedy(directory: Path) -> str:
    if not all((directory / name).is_file() for name in idx.NAMES):
        return "Run `python -m pipeline.fetch`"
    made = read_record(directory)["sha256"]
    if any(sha256(directory / name) != made.get(name) for name in idx.NAMES):
        return f"That is not what fetch made: move {directory} away and run `python -m pipeline.fetch`"
    return (
        "That is what was fetched, so the data set itself is wrong: name its classes in params.yaml; or mend it where "
        "it comes from and empty its sha256, {}: `python -m pipeline.fetch` prints what to pin. Then run `dvc repro`"
    )


def _describe(arrays: Mapping[str, np.ndarray], classes: int) -> dict[str, Any]:
    counts = np.bincount(arrays["labels"], minlength=classes)
    return {"images": len(arrays["labels"]), "sha256": hashing.of_arrays(arrays), "class_counts": counts.tolist()}


def _read_description(path: Path) -> tuple[str, str, tuple[str, ...], dict[str, str]]:
    """Return name, digest, the names of the classes, and each split's SHA-256."""
    if not path.exists():
        raise DataError(f"{path.parent} holds no data set; `dvc repro preprocess` makes it; {TAKE_SAMPLE}")
    content = read_json(path)
    try:
        name, digest, classes = content["name"], content["digest"], tuple(content["classes"])
        hashes = {part: content[part]["sha256"] for part in _SPLITS}
        named = all(isinstance(text, str) for text in (name, *classes))
        if not named or digest != hashing.of_texts(hashes.values()):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{path} is damaged: expected a name, classes, three splits with their sha256, and the digest over "
            "these; delete it and run `dvc repro preprocess`"
        ) from None
    return name, digest, classes, hashes


def _load_split(path: Path, expected: Mapping[str, tuple[str, tuple[int | None, ...]]], sha256: str) -> Split:
    arrays = load_arrays(path, expected)
    got = hashing.of_arrays(arrays)
    if got != sha256:
        raise DataError(
            f"{path}: SHA-256 of its arrays: expected {sha256} (dataset.json), got {got}; "
            "delete it and run `dvc repro preprocess`"
        )
    return Split(arrays["pixels"], arrays["labels"])
