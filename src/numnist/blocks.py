"""The layout of a set of images for full-batch descent: lanes of blocks, with the blank pixels left out.

Sums over images may be taken in any order, and a pixel that is 0 in all images of a product adds nothing to it. So
images whose ink ends at the same edges are put together in a lane, and each lane keeps only the pixels that have ink in
it: less than half of MNIST's. A block is the part of a lane whose activations stay in a CPU's cache.

The layout follows from the images alone, never from the number of threads or the networks, and sums are taken lane by
lane: so a network's bits do not depend on the machine or on what is trained beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numnist.dataset import Part
from numnist.network import CLASSES, SIDE

LANES = 64  # at most, a power of two; so many threads have work
LANE_IMAGES = 250  # but no lane is shorter than this, where there are enough images
BLOCK_IMAGES = 500


@dataclass(frozen=True)
class Block:
    """Images and labels that go forward and backward in one go."""

    X: np.ndarray  # (p, m) pixels in [0, 1], those of the lane only
    Y: np.ndarray  # (10, m) one-hot
    labels: np.ndarray  # (m,) intp


@dataclass(frozen=True)
class Lane:
    """Blocks that share their pixels, and whose sums are added up one after another."""

    pixels: np.ndarray  # (p,) which of the 784 have ink, ascending
    blocks: Sequence[Block]


def layout(part: Part, dtype: str = "float32") -> list[Lane]:
    """Cut images into lanes of blocks."""
    halvings = int(np.log2(np.clip(len(part.labels) // LANE_IMAGES, 1, LANES)))
    groups = _halved(np.arange(len(part.labels)), part.pixels > 0, _edges(part.pixels > 0), halvings)
    return [_lane(part, images, dtype) for images in groups]


def _edges(ink: np.ndarray) -> np.ndarray:
    """Return the first and last row and column that have ink in each image (m, 784), as (4, m)."""
    pictures = ink.reshape(-1, SIDE, SIDE)
    rows, columns = pictures.any(axis=2), pictures.any(axis=1)
    ends = [(lines.argmax(axis=1), SIDE - 1 - np.flip(lines, axis=1).argmax(axis=1)) for lines in (rows, columns)]
    return np.array(ends).reshape(4, -1)


def _halved(images: np.ndarray, ink: np.ndarray, edges: np.ndarray, times: int) -> list[np.ndarray]:
    """Halve a group of images again and again, each time along the edge that leaves the halves the fewest pixels."""
    if times == 0:
        return [images]
    half = len(images) // 2
    sorted_by = [images[np.argsort(edge[images], kind="stable")] for edge in edges]
    inked = [ink[order[:half]].any(axis=0).sum() + ink[order[half:]].any(axis=0).sum() for order in sorted_by]
    best = sorted_by[int(np.argmin(inked))]
    return [group for part in (best[:half], best[half:]) for group in _halved(part, ink, edges, times - 1)]


def _lane(part: Part, images: np.ndarray, dtype: str) -> Lane:
    pixels = np.flatnonzero(part.pixels[images].any(axis=0))
    blocks = -(-len(images) // BLOCK_IMAGES)
    return Lane(pixels, [_block(part, block, pixels, dtype) for block in np.array_split(images, blocks)])


def _block(part: Part, images: np.ndarray, pixels: np.ndarray, dtype: str) -> Block:
    X = np.ascontiguousarray(part.pixels[np.ix_(images, pixels)].T, dtype=dtype)
    X /= 255
    labels = part.labels[images].astype(np.intp)
    Y = np.zeros((CLASSES, len(images)), dtype)
    Y[labels, np.arange(len(images))] = 1
    return Block(X, Y, labels)
