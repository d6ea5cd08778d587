"""The layout of a set of images for full-batch descent: lanes of blocks, with the blank pixels left out.

Sums over images may be taken in any order, and a pixel that is 0 in all images of a product adds nothing to it. So
images with ink in the same rare places are put together, cut into lanes, and each lane keeps only the pixels that have
ink in it: about half of MNIST's. A block is the part of a lane whose activations stay in a CPU's cache.

The layout follows from the images alone, never from the number of threads or the networks, and sums are taken lane by
lane: so a network's bits do not depend on the machine or on what is trained beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numnist.dataset import Part
from numnist.network import CLASSES

LANES = 32  # at most so many threads have work
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
    lanes = max(1, min(LANES, len(part.labels) // LANE_IMAGES))
    return [_lane(part, images, dtype) for images in np.array_split(_similar_together(part.pixels), lanes)]


def _similar_together(pixels: np.ndarray) -> np.ndarray:
    """Order images (m, 784) by the rarest pixel that each has ink in: neighbours then leave the same pixels blank."""
    ink = pixels > 0
    rarest_first = np.argsort(ink.sum(axis=0), kind="stable")
    return np.argsort(ink[:, rarest_first].argmax(axis=1), kind="stable")


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
