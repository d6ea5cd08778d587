"""Which part of a picture is the ink of one digit: not the paper, its lines, the table, bars, shadows, other rows.

Ink is what differs from a smooth surface fitted to the picture's border. If what is found so cannot be a digit, a sheet
on a table or between bars is looked for, and what is written on it. Pictures are at least 113 pixels a side.
"""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

Array = np.ndarray
Box = tuple[slice, slice]

FAINTEST_INK = 25  # of 255: what differs less from the background is none
NOISE_TO_INK = 6  # nor is what differs by less than so many standard deviations of the border
SMALLEST_DIGIT = 0.06  # longer side, as a share of the picture's
SPECK = 0.1  # a piece of ink this small, as a share of the largest, is dirt
COMPARABLE = 0.4  # a digit is at least so high as a share of the other
BAR = 1.5  # what is so many times wider than high is the bar of a 5, and no digit of its own
APART = 0.12, 0.25  # clear columns and clear rows between digits, as shares of the larger one's height
STEEPEST_LINE = 0.06  # rows a column: printed lines are at most so oblique
LINE = 0.85  # of the picture's width: what has ink over so much of it is a printed line
THICKEST_LINE = 0.04  # of the picture's longer side
LARGEST_DISC = 0.5, 0.36  # of the longer side: what fits into the ink of a digit; of one that the border cuts off
WIDEST, NARROWEST_AREA = 1.7, 0.45  # width by height: no digit of MNIST is wider; a narrow 1 may fill its box
LARGEST_FILL = 0.7  # share of ink in a digit's box; 1 in 2,000 of MNIST's digits has more
LONGEST_STROKES = 3.3  # of the longer side, all strokes together; 1 in 2,000 of MNIST's has more
MOST_CROSSED = 2.1  # strokes that a row crosses, in the mean; 1 in 2,000 of MNIST's has more
MOST_HOLES, MOST_PIECES = 3, 3  # 1 in 800 of MNIST's has more
SMALLEST_SHEET, MOSTLY_PAPER = 0.15, 0.5  # of the picture's area; of the sheet's own


class NoDigitError(Exception):
    """The picture does not show one digit; the text goes on after the picture's name."""


BLANK = NoDigitError(
    "looks blank: nothing as large as a digit stands out from the background; "
    "write one digit with a thick, dark stroke, and crop the picture to it"
)
SEVERAL = NoDigitError("seems to show several digits; crop it so that each picture holds one")
OTHER = NoDigitError(
    "shows something else than one digit: an area, a line across the picture or a pattern; "
    "write one digit on plain paper, and crop the picture to it"
)


def of_digit(brightness: Array) -> Array:
    """Return how much of a digit's ink each pixel has, 0 to 1, cropped to it; NoDigitError if there is none."""
    refusals = []
    for view in (brightness, *_sheets(brightness)):
        try:
            return crop(_on_even_ground(view))
        except NoDigitError as refusal:
            refusals.append(refusal)
    raise OTHER if OTHER in refusals else refusals[0]


def crop(ink: Array) -> Array:
    """Cut off the rows and columns without ink that surround it."""
    [box] = ndimage.find_objects((ink > 0).astype(int))
    return ink[box]


def _sheets(brightness: Array) -> Iterator[Array]:
    """Cut out the largest light and the largest dark region, and continue the paper over what lies around it."""
    middle = brightness.mean()
    for _ in range(10):
        middle = (brightness[brightness <= middle].mean() + brightness[brightness >= middle].mean()) / 2
    for region in (brightness > middle, brightness < middle):
        labels, count = ndimage.label(region)
        if not count:
            continue
        paper = labels == 1 + np.bincount(labels[region])[1:].argmax()
        sheet = ndimage.binary_fill_holes(paper)
        if SMALLEST_SHEET < sheet.mean() < 0.99 and paper.sum() > MOSTLY_PAPER * sheet.sum():
            inner = ndimage.binary_erosion(sheet, iterations=4, border_value=1)
            nearest = ndimage.distance_transform_edt(~(inner & paper), return_distances=False, return_indices=True)
            [box] = ndimage.find_objects(sheet.astype(int))
            yield np.where(inner, brightness, brightness[tuple(nearest)])[box]


def _on_even_ground(brightness: Array) -> Array:
    """Return the ink of the one digit on paper that reaches the picture's border: dirt, noise and lines have none."""
    contrast = _contrast(brightness)
    ink = _without_lines(contrast)
    labels, boxes = _pieces(ink)
    boxes = _inside(boxes, ink.shape, lined=not np.array_equal(ink, contrast))
    size = max((_longer_side(box) for box in boxes.values()), default=0)
    if size < SMALLEST_DIGIT * max(ink.shape):
        raise BLANK
    boxes = {label: box for label, box in boxes.items() if _longer_side(box) > SPECK * size}
    ink = np.where(np.isin(labels, list(boxes)), ink, 0)
    if len(boxes) > MOST_PIECES:
        raise OTHER
    _check_single(list(boxes.values()))
    _check_strokes(ink)
    return ink


def _contrast(brightness: Array) -> Array:
    """Return by how much each pixel differs from the background, 0 to 1 (full ink)."""
    background, noise = _background(brightness)
    difference = brightness - background
    if (difference**3).sum() < 0:  # the longer tail is the ink: here it is darker than the background
        difference = -difference
    strongest = difference.max()
    if strongest < max(FAINTEST_INK, NOISE_TO_INK * noise):
        raise BLANK
    contrast: Array = np.clip(difference / np.median(difference[difference > strongest / 2]), 0, 1)
    return contrast


def _background(brightness: Array) -> tuple[Array, float]:
    """Fit a paraboloid to the picture's border, leaving out what is drawn there; return it and the noise about it."""
    rows, columns = np.indices(brightness.shape) / max(brightness.shape)
    terms = np.stack([np.ones_like(rows), rows, columns, rows**2, columns**2], axis=-1)
    border = np.ones(brightness.shape, bool)
    width = max(1, min(brightness.shape) // 20)
    border[width:-width, width:-width] = False
    surface = np.array([np.median(brightness[border]), 0, 0, 0, 0])
    for _ in range(4):
        distance = np.abs(brightness[border] - terms[border] @ surface)
        noise = 1.4826 * float(np.median(distance))  # the standard deviation, if the noise is normal
        near = distance <= 2.5 * noise + 1
        surface = np.linalg.lstsq(terms[border][near], brightness[border][near], rcond=None)[0]
    return terms @ surface, noise


def _without_lines(ink: Array) -> Array:
    """Take out printed lines, those that run across the picture, and leave what is written over them."""
    return _without_rows(_without_rows(ink).T).T


def _without_rows(ink: Array) -> Array:
    """Take out nearly horizontal lines: the columns are shifted so that the lines are level, and back at last."""
    height, width = ink.shape
    rows, columns = np.indices(ink.shape)
    slopes = np.linspace(-STEEPEST_LINE, STEEPEST_LINE, 49)
    shifts = [np.round(slope * (np.arange(width) - width / 2)).astype(int) for slope in slopes]
    marked = ink > 0.15
    y, x = np.nonzero(marked)
    shift = max(shifts, key=lambda shift: (np.bincount((y - shift[x]) % height) / width).__pow__(8).sum())
    level = ink[(rows + shift) % height, columns]
    for band in _bands(level > 0.15):
        _take_out(level, band)
    return level[(rows - shift) % height, columns]


def _bands(marked: Array) -> Iterator[slice]:
    """Find the thin bands of rows that have ink from one side of the picture to the other."""
    width = marked.shape[1]
    share = marked.mean(axis=1)
    for (band,) in ndimage.find_objects(ndimage.label(share > LINE / 2)[0]):
        ends = marked[band, : width // 20].any() and marked[band, -(width // 20) :].any()
        if share[band].max() > LINE and ends and band.stop - band.start <= max(3, THICKEST_LINE * max(marked.shape)):
            yield band


def _take_out(ink: Array, band: slice) -> None:
    """Blank a band of rows in place, except where a stroke crosses it or where its ink is darker than the line's."""
    first, stop = max(0, band.start - 1), min(len(ink), band.stop + 1)
    line = ink[first:stop].copy()
    darkness = np.median(ink[band].max(axis=0))
    above, below = ink[max(0, first - 2) : first].max(axis=0, initial=0), ink[stop : stop + 2].max(axis=0, initial=0)
    reach = stop - first  # of a stroke at 45 degrees
    crossing = np.minimum(ndimage.maximum_filter1d(above, reach), ndimage.maximum_filter1d(below, reach)) > 0.5
    darker = line > (1 + darkness) / 2 if darkness < 0.8 else np.zeros_like(line, bool)
    ink[first:stop] = np.where(crossing | darker, line, 0)


def _pieces(ink: Array) -> tuple[Array, dict[int, Box]]:
    """Label the connected pieces of ink that are strong somewhere; return the labels and each piece's box."""
    labels, count = ndimage.label(ink > 0.25, np.ones((3, 3)))
    strongest = ndimage.maximum(ink, labels, range(1, count + 1))
    boxes = enumerate(ndimage.find_objects(labels), 1)
    return labels, {label: box for (label, box), strength in zip(boxes, strongest) if strength > 0.5}


def _inside(boxes: dict[int, Box], shape: tuple[int, ...], *, lined: bool) -> dict[int, Box]:
    """Leave out the pieces that the border cuts off, if there is a digit without them, or if they may be lines."""
    free = {
        label: box
        for label, box in boxes.items()
        if all(side.start > 0 and side.stop < end for side, end in zip(box, shape))
    }
    largest = max((_longer_side(box) for box in boxes.values()), default=0)
    whole = any(_longer_side(box) >= COMPARABLE * min(largest, min(shape)) for box in free.values())
    return free if whole or lined else boxes


def _longer_side(box: Box) -> int:
    return max(_height(box), _width(box))


def _height(box: Box) -> int:
    return int(box[0].stop - box[0].start)


def _width(box: Box) -> int:
    return int(box[1].stop - box[1].start)


def _check_single(boxes: list[Box]) -> None:
    """Refuse pieces of ink that are digits of their own: of comparable height, with clear columns or rows between."""
    tallest = max(boxes, key=_height)
    height = _height(tallest)
    if any(
        _height(box) >= COMPARABLE * height and _width(box) < BAR * _height(box) and _apart(box, tallest, height)
        for box in boxes
    ):
        raise SEVERAL


def _apart(a: Box, b: Box, height: int) -> bool:
    clear_rows, clear_columns = (max(b[axis].start - a[axis].stop, a[axis].start - b[axis].stop) for axis in (0, 1))
    return bool(clear_columns > APART[0] * height or clear_rows > APART[1] * height)


def _check_strokes(ink: Array) -> None:
    """Refuse what is no few strokes: an area, a pattern, a tangle, a frame, a line across the picture."""
    written = crop(ink > 0.5)
    (height, width), longer = written.shape, max(written.shape)
    padded = np.pad(written, 1)
    depth = ndimage.distance_transform_edt(padded)
    length = written.sum() / max(1, 4 * (depth[padded].mean() - 0.5))
    crossed = np.diff(padded, axis=1).sum() / 2 / height
    across = (height == len(ink) and width < len(ink.T) / 2) or (width == len(ink.T) and height < len(ink) / 2)
    if (
        width > WIDEST * height
        or 2 * depth.max() - 1 > LARGEST_DISC[_reaches_border(ink > 0.5)] * longer
        or (width > NARROWEST_AREA * height and (written.mean() > LARGEST_FILL or _corners(written) > 3))
        or length > LONGEST_STROKES * longer
        or crossed > MOST_CROSSED
        or ndimage.label(~padded)[1] - 1 > MOST_HOLES
        or across
        or _corners(ink > 0.5) > 2
    ):
        raise OTHER


def _reaches_border(written: Array) -> bool:
    return bool(written[[0, -1]].any() or written[:, [0, -1]].any())


def _corners(written: Array) -> int:
    """Count the corners of a picture that have ink."""
    size = max(1, max(written.shape) // 16)
    ends = slice(0, size), slice(-size, None)
    return sum(bool(written[rows, columns].any()) for rows in ends for columns in ends)
