"""Images in shards without blank pixels: what full-batch descent multiplies with.

A pixel that is 0 in all images of a product adds nothing to it, and sums over images may be taken in any order. So
images whose ink ends at the same edges are put together in a shard, and each shard keeps only the pixels that have ink
in it: 44% of MNIST's.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numnist import network
from numnist.common import machine
from numnist.network import PIXELS, SIDE, Array, Numbers
from numnist.training.arithmetic import Arithmetic

if TYPE_CHECKING:
    from numnist.data.dataset import Split

SHARDS = 32  # about so many at most, or one for each core: more leave out more pixels, but cost NumPy more calls
SHARD_IMAGES = 250  # about so many in each at least
TRIMS = 2  # rounds; more gain little


@dataclass(frozen=True)
class InkedPixels:
    """Images (784, m), one a column, of which only the rows are stored that are not blank. Multiplies like the whole.

    Fastest if the other factor lies in memory pixel by pixel (`pixel_major`), as `A @ X.mT` does.
    """

    which: Array  # (p,) of the 784, ascending
    X: Array  # (p, m)

    __array_ufunc__ = None  # has NumPy leave the products to this class

    def __rmatmul__(self, A: Array) -> Array:
        """(n, r, 784) @ (784, m)."""
        n, r, _ = A.shape
        rows = np.moveaxis(A, -1, 0).reshape(PIXELS, n * r)[self.which]
        return (rows.T @ self.X).reshape(n, r, -1)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the whole."""
        return PIXELS, self.X.shape[1]

    @property
    def mT(self) -> "_Transposed":
        """The transpose."""
        return _Transposed(self)


@dataclass(frozen=True)
class _Transposed:
    image: InkedPixels

    __array_ufunc__ = None

    def __rmatmul__(self, A: Array) -> Array:
        """(n, r, m) @ (m, 784)."""
        n, r, m = A.shape
        product = np.zeros((PIXELS, n * r), A.dtype)
        product[self.image.which] = self.image.X @ A.reshape(n * r, m).T
        return np.moveaxis(product.reshape(PIXELS, n, r), 0, -1)


@dataclass(frozen=True)
class Shard:
    """Images and labels that one thread takes forward and backward in one go."""

    X: Numbers  # (784, m)
    Y: Array  # (classes, m) one-hot
    labels: Array  # (m,)


def layout(split: "Split", arithmetic: Arithmetic, classes: int) -> list[Shard]:
    """Cut images into shards, those with the most work first."""
    ink = split.pixels > 0
    edges = _edges(ink)
    halvings = int(np.log2(np.clip(len(ink) // SHARD_IMAGES, 1, max(SHARDS, machine.cores()))))
    groups = _assign_images(_halved(np.arange(len(ink)), ink, edges, halvings), ink)
    most = 2 * len(ink) // 2**halvings
    groups = [half for group in groups for half in _halved(group, ink, edges, int(len(group) > most))]
    cost = [len(group) * ink[group].any(axis=0).sum() for group in groups]
    return [_shard(split, groups[number], arithmetic, classes) for number in np.argsort(cost)[::-1]]


def pixel_major(array: Array) -> Array:
    """Lay an array out in memory by its last axis, of which rows are then copied ten times as fast. Its shape stays."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, 0)), 0, -1)


def _edges(ink: Array) -> Array:
    """Return where the ink (m, 784) of each image begins and ends by row, column and both diagonals, as (8, m)."""
    row, column = (axis.ravel() for axis in np.indices((SIDE, SIDE)))
    ends = []
    for line in (row, column, row + column, row - column + SIDE - 1):
        inked = np.stack([ink[:, line == number].any(axis=1) for number in range(line.max() + 1)], axis=1)
        ends += [inked.argmax(axis=1), inked.shape[1] - 1 - np.flip(inked, axis=1).argmax(axis=1)]
    return np.array(ends)


def _halved(images: Array, ink: Array, edges: Array, times: int) -> list[Array]:
    """Halve a group of images again and again, each time along the edge that leaves the halves the fewest pixels."""
    if times == 0:
        return [images]
    half = len(images) // 2
    sorted_by = [images[np.argsort(edge[images], kind="stable")] for edge in edges]
    inked = [ink[order[:half]].any(axis=0).sum() + ink[order[half:]].any(axis=0).sum() for order in sorted_by]
    best = sorted_by[int(np.argmin(inked))]
    return [group for part in (best[:half], best[half:]) for group in _halved(part, ink, edges, times - 1)]


def _assign_images(groups: list[Array], ink: Array) -> list[Array]:
    """Let each image go to the group with the fewest pixels of all that have its ink; leave out empty groups."""
    every_pixel = np.ones(PIXELS, bool)
    masks = np.array([*(ink[group].any(axis=0) for group in groups), every_pixel])
    for _ in range(TRIMS):
        masks[:-1] = _prune_pixels(masks, ink)
    home = _pixel_cost(masks, ink).argmin(axis=1)
    return [np.flatnonzero(home == number) for number in np.unique(home)]


def _prune_pixels(masks: Array, ink: Array) -> Array:
    """Take from the pixels of all groups but the last, (groups, 784), those that few of a group's images need.

    A group costs its images times its pixels. Its rarest pixels go, as many as lower the cost the most: of what stays,
    and of the images that leave for the next best of the groups as they are.
    """
    cost_of = _pixel_cost(masks, ink)
    home = cost_of.argmin(axis=1)
    pruned = np.zeros_like(masks[:-1])
    for group in range(len(pruned)):
        images = np.flatnonzero(home == group)
        rarest_first = np.argsort(ink[images].sum(axis=0), kind="stable")
        needed = ink[np.ix_(images, rarest_first)]
        outlasts = np.where(needed.any(axis=1), needed.argmax(axis=1), PIXELS)  # so many pixels may go before the image
        elsewhere = np.delete(cost_of[images], group, axis=1).min(axis=1)
        leaving, cost = (
            np.cumsum(np.bincount(outlasts + 1, weights, PIXELS + 2))[:-1] for weights in (None, elsewhere)
        )  # each (785,), when 0, 1, ... pixels go
        pixels = np.arange(PIXELS, -1, -1)
        pruned[group, rarest_first[((len(images) - leaving) * pixels + cost).argmin() :]] = True
    return pruned


def _pixel_cost(masks: Array, ink: Array) -> Array:
    """Return how many pixels each group has for each image, (m, groups); more than there are if its ink is not in."""
    outside = ink.astype(np.float32) @ (~masks.T).astype(np.float32)  # counts, exact in float32
    return np.where(outside == 0, masks.sum(axis=1), PIXELS + 1)


def _shard(split: "Split", images: Array, arithmetic: Arithmetic, classes: int) -> Shard:
    which = np.flatnonzero(split.pixels[images].any(axis=0))
    X = arithmetic.columns(split.pixels[np.ix_(images, which)])
    labels = split.labels[images]
    Y = network.one_hot(labels, classes, arithmetic.dtype)
    return Shard(arithmetic.pixels(InkedPixels(which, X)), Y, labels)
