"""The layout of a set of images for full-batch descent: shards of blocks, with the blank pixels left out.

Sums over images may be taken in any order, and a pixel that is 0 in all images of a product adds nothing to it. So
images whose ink ends at the same edges are put together in a block, and each block keeps only the pixels that have ink
in it: 41% of MNIST's. The products with X go block by block; all other steps take the images of a shard together, since
every step has a thread wait for Python's lock.

The layout follows from the images alone, never from the number of threads or the networks, and sums are taken shard by
shard: so a network's bits do not depend on the machine or on what is trained beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numnist.data.dataset import Split
from numnist.network import CLASSES, PIXELS, SIDE

BLOCKS = 64  # about so many at most, a power of two
BLOCK_IMAGES = 250  # about so many in each at least
SHARD_BLOCKS = 3  # on average
TRIMS = 2  # rounds; more gain little


@dataclass(frozen=True)
class Block:
    """Some images, one a column, without the pixels that are blank in all of them."""

    pixels: np.ndarray  # (p,) which of the 784 have ink, ascending
    X: np.ndarray  # (p, m) these pixels, in [0, 1]
    labels: np.ndarray  # (m,) intp


class Blocks:
    """Images (784, m), one a column, in blocks. `A @ X` and `A @ X.T` give what they give where X is an array.

    Fastest where A lies in memory column by column, as A @ X.T does.
    """

    __array_ufunc__ = None  # has NumPy leave the products to this class

    def __init__(self, blocks: Sequence[Block]) -> None:
        ends = np.cumsum([0, *(block.X.shape[1] for block in blocks)])
        self.columns = [(block, slice(first, end)) for block, first, end in zip(blocks, ends, ends[1:])]
        self.shape = (PIXELS, int(ends[-1]))

    def __rmatmul__(self, A: np.ndarray) -> np.ndarray:
        """(r, 784) @ (784, m)."""
        product = np.empty((len(A), self.shape[1]), A.dtype)
        for block, columns in self.columns:
            np.matmul(A.T[block.pixels].T, block.X, out=product[:, columns])
        return product

    @property
    def T(self) -> "_Transposed":
        """The transpose."""
        return _Transposed(self)


@dataclass(frozen=True)
class _Transposed:
    X: Blocks

    __array_ufunc__ = None

    def __rmatmul__(self, A: np.ndarray) -> np.ndarray:
        """(r, m) @ (m, 784)."""
        product = np.zeros((PIXELS, len(A)), A.dtype)
        for block, columns in self.X.columns:
            product[block.pixels] += (A[:, columns] @ block.X.T).T
        return product.T


@dataclass(frozen=True)
class Shard:
    """Images and labels that one thread takes forward and backward in one go."""

    X: Blocks  # (784, m)
    Y: np.ndarray  # (10, m) one-hot
    labels: np.ndarray  # (m,) intp


def layout(split: Split, dtype: str = "float32") -> list[Shard]:
    """Cut images into shards of blocks, with as much work in each shard."""
    ink = split.pixels > 0
    edges = _edges(ink)
    halvings = int(np.log2(np.clip(len(ink) // BLOCK_IMAGES, 1, BLOCKS)))
    groups = _settled(_halved(np.arange(len(ink)), ink, edges, halvings), ink)
    most = 2 * len(ink) // 2**halvings
    groups = [half for group in groups for half in _halved(group, ink, edges, int(len(group) > most))]
    shards: list[list[Block]] = [[] for _ in range(-(-len(groups) // SHARD_BLOCKS))]
    for block in sorted((_block(split, group, dtype) for group in groups), key=lambda block: -block.X.size):
        min(shards, key=lambda shard: sum(block.X.size for block in shard)).append(block)
    return [_shard(shard) for shard in shards]


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
    room_for_all = np.ones(PIXELS, bool)
    masks = np.array([*(ink[group].any(axis=0) for group in groups), room_for_all])
    for _ in range(TRIMS):
        masks[:-1] = _trimmed(masks, ink)
    home = _room(masks, ink).argmin(axis=1)
    return [np.flatnonzero(home == number) for number in np.unique(home)]


def _trimmed(masks: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Take from the pixels of all groups but the last, (groups, 784), those that few of a group's images need.

    A group costs its images times its pixels. Its rarest pixels go, as many as lower the cost the most: of what stays,
    and of the images that leave for the next best of the groups as they are.
    """
    room = _room(masks, ink)
    home = room.argmin(axis=1)
    trimmed = np.zeros_like(masks[:-1])
    for group in range(len(trimmed)):
        images = np.flatnonzero(home == group)
        rarest_first = np.argsort(ink[images].sum(axis=0), kind="stable")
        needed = ink[np.ix_(images, rarest_first)]
        outlasts = np.where(needed.any(axis=1), needed.argmax(axis=1), PIXELS)  # so many pixels may go before the image
        elsewhere = np.delete(room[images], group, axis=1).min(axis=1)
        leaving, cost = (
            np.cumsum(np.bincount(outlasts + 1, weights, PIXELS + 2))[:-1] for weights in (None, elsewhere)
        )  # each (785,), when 0, 1, ... pixels go
        pixels = np.arange(PIXELS, -1, -1)
        trimmed[group, rarest_first[((len(images) - leaving) * pixels + cost).argmin() :]] = True
    return trimmed


def _room(masks: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Return how many pixels each group has for each image, (m, groups); more than there are if its ink is not in."""
    outside = ink.astype(np.float32) @ (~masks.T).astype(np.float32)  # counts, exact in float32
    return np.where(outside == 0, masks.sum(axis=1), PIXELS + 1)


def _block(split: Split, images: np.ndarray, dtype: str) -> Block:
    pixels = np.flatnonzero(split.pixels[images].any(axis=0))
    X = np.ascontiguousarray(split.pixels[np.ix_(images, pixels)].T, dtype=dtype)
    X /= 255
    return Block(pixels, X, split.labels[images].astype(np.intp))


def _shard(blocks: list[Block]) -> Shard:
    labels = np.concatenate([block.labels for block in blocks])
    Y = np.zeros((CLASSES, len(labels)), blocks[0].X.dtype)
    Y[labels, np.arange(len(labels))] = 1
    return Shard(Blocks(blocks), Y, labels)
