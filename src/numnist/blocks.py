"""The layout of a set of images for full-batch descent: lanes of blocks, with the blank pixels left out.

Sums over images may be taken in any order, and a pixel that is 0 in all images of a product adds nothing to it. So
images whose ink ends at the same edges are put together in a block, small enough for its activations to stay in a CPU's
cache, and each block keeps only the pixels that have ink in it: 42% of MNIST's.

The layout follows from the images alone, never from the number of threads or the networks, and sums are taken lane by
lane: so a network's bits do not depend on the machine or on what is trained beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numnist.dataset import Part
from numnist.network import CLASSES, PIXELS, SIDE

BLOCKS = 64  # at most, a power of two
BLOCK_IMAGES = 250  # but none is smaller than this, where there are enough images
LANE_BLOCKS = 2  # blocks whose sums are added up in one thread


@dataclass(frozen=True)
class Block:
    """Images and labels that go forward and backward in one go."""

    pixels: np.ndarray  # (p,) which of the 784 have ink, ascending
    X: np.ndarray  # (p, m) these pixels, in [0, 1]
    Y: np.ndarray  # (10, m) one-hot
    labels: np.ndarray  # (m,) intp


Lane = Sequence[Block]


def layout(part: Part, dtype: str = "float32") -> list[Lane]:
    """Cut images into lanes of blocks."""
    ink = part.pixels > 0
    halvings = int(np.log2(np.clip(len(ink) // BLOCK_IMAGES, 1, BLOCKS)))
    groups = _halved(np.arange(len(ink)), ink, _edges(ink), halvings)
    blocks = [_block(part, images, dtype) for images in _settled(groups, ink)]
    lanes = [blocks[first : first + LANE_BLOCKS] for first in range(0, len(blocks), LANE_BLOCKS)]
    return sorted(lanes, key=lambda lane: -sum(block.X.size for block in lane))  # the longest work first


def _edges(ink: np.ndarray) -> np.ndarray:
    """Return where the ink (m, 784) of each image begins and ends by row, column and both diagonals, as (8, m)."""
    row, column = (axis.ravel() for axis in np.indices((SIDE, SIDE)))
    ends = []
    for line in (row, column, row + column, row - column + SIDE - 1):
        inked = np.stack([ink[:, line == number].any(axis=1) for number in range(line.max() + 1)], axis=1)
        ends += [inked.argmax(axis=1), inked.shape[1] - 1 - np.flip(inked, axis=1).argmax(axis=1)]
    return np.array(ends)


def _halved(images: np.ndarray, ink: np.ndarray, edges: np.ndarray, times: int) -> list[np.ndarray]:
    """Halve a group of images again and again, each time along the edge that leaves the halves the fewest pixels."""
    if times == 0:
        return [images]
    half = len(images) // 2
    sorted_by = [images[np.argsort(edge[images], kind="stable")] for edge in edges]
    inked = [ink[order[:half]].any(axis=0).sum() + ink[order[half:]].any(axis=0).sum() for order in sorted_by]
    best = sorted_by[int(np.argmin(inked))]
    return [group for part in (best[:half], best[half:]) for group in _halved(part, ink, edges, times - 1)]


def _settled(groups: list[np.ndarray], ink: np.ndarray) -> list[np.ndarray]:
    """Let each image go to the group with the fewest pixels of all that have its ink; leave out empty groups."""
    inked = np.array([ink[group].any(axis=0) for group in groups])
    outside = ink.astype(np.float32) @ (~inked.T).astype(np.float32)  # (m, groups) counts, exact in float32
    home = np.where(outside == 0, inked.sum(axis=1), PIXELS + 1).argmin(axis=1)
    return [np.flatnonzero(home == number) for number in np.unique(home)]


def _block(part: Part, images: np.ndarray, dtype: str) -> Block:
    pixels = np.flatnonzero(part.pixels[images].any(axis=0))
    X = np.ascontiguousarray(part.pixels[np.ix_(images, pixels)].T, dtype=dtype)
    X /= 255
    labels = part.labels[images].astype(np.intp)
    Y = np.zeros((CLASSES, len(images)), dtype)
    Y[labels, np.arange(len(images))] = 1
    return Block(pixels, X, Y, labels)
