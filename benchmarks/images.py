"""The images that all contestants train on: MNIST's where it can be had, else synthetic ones of the same kind."""

import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.problem import CLASSES, PIXELS
from numnist.common.errors import NumnistError
from numnist.common.files import read_json
from numnist.config.schema import Params
from numnist.data import dataset, fetching, idx

SIDE = 28
ALWAYS_BLANK = 67  # so many of MNIST's pixels are 0 in every image
INK = 0.19  # the share of all pixels that are not 0


def write_images(path: Path, root: Path, params: Params) -> str:
    """Write 60,000 images to an .npz, as the pipeline splits them: training, then validation; say what they are."""
    try:
        (pixels, labels), origin = _mnist(root, params)
    except (NumnistError, OSError) as error:
        pixels, labels = synthetic(60_000)
        origin = ("**synthetic images** of MNIST's size, share of blank pixels and blank borders, since MNIST could "
                  f"not be reached ({str(error).splitlines()[0]})")  # fmt: skip
    np.savez(path, pixels=pixels, labels=labels)
    return origin


def synthetic(m: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw pixels (m, 784) uint8 with MNIST's share of ink, less of it the further from the centre, and labels (m,)."""
    rng = np.random.Generator(np.random.PCG64(0))
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    distance = (x**2 + y**2).ravel()
    share = np.exp(-distance / 60)
    share[np.argsort(distance, kind="stable")[-ALWAYS_BLANK:]] = 0
    share *= INK * PIXELS / share.sum()
    ink = rng.random((m, PIXELS), dtype=np.float32) < share
    pixels = np.where(ink, rng.integers(1, 256, (m, PIXELS), dtype=np.uint8), np.uint8(0))
    return pixels, rng.integers(0, CLASSES, m, dtype=np.uint8)


def _mnist(root: Path, params: Params) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    processed, mirror = root / "data" / "processed", os.environ.get("MNIST_MIRROR")
    if (processed / "dataset.json").exists() and read_json(processed / "dataset.json")["name"] == "mnist":
        parts = dataset.load(processed)
        both = (np.concatenate(pair) for pair in zip(_arrays(parts.train), _arrays(parts.validation)))
        return (next(both), next(both)), "MNIST, from data/processed"
    with tempfile.TemporaryDirectory() as directory:
        fetching.fetch(params.datasets["mnist"], "mnist", Path(directory), [mirror] if mirror else [])
        pixels = idx.read_images(Path(directory) / idx.NAMES[0])
        labels = idx.read_labels(Path(directory) / idx.NAMES[1])
    training, validation = dataset.choose_validation(labels, params.data.validation_one_in, params.data.split_seed)
    order = np.concatenate([training, validation])
    return (pixels[order], labels[order]), "MNIST, fetched for this run"


def _arrays(split: dataset.Split) -> tuple[np.ndarray, np.ndarray]:
    return split.pixels, split.labels
