"""A picture file becomes 28 x 28 pixels as MNIST's were made: a digit of 20 x 20, its centre of mass in the middle.

Dark on light or light on dark, transparent, photographed in uneven light: what counts as ink is what differs from a
smooth surface fitted to the picture's border. Distances are in pixels of the picture, reduced to at most 512 a side.
"""

import struct
import warnings
import zlib
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from numnist.common.errors import DataError

MAX_PIXELS = 25_000_000  # decoding holds up to about 12 bytes a pixel
WORKING_SIDE = 512
BOX, FIELD, CENTRE = 20, 28, 14  # MNIST's: the digit's box, the image, and the row and column of the centre of mass

FAINTEST_INK = 25  # of 255: what differs less from the background is none
NOISE_TO_INK = 6  # nor is what differs by less than so many standard deviations of the border
SMALLEST_DIGIT = 4, 0.03  # longer side: at least so many pixels, and this share of the picture's
SPECK = 0.1  # a piece of ink this small, as a share of the largest, is dirt
COMPARABLE = 0.4  # a digit is at least so high as a share of the other, while a 5's bar is flat
APART = 0.12, 0.25  # clear columns and clear rows between digits, as shares of the larger one's height
THINNEST_STROKE = 0.1  # of the digit's longer side: 99% of MNIST's digits have thicker strokes
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)  # what Pillow's readers raise on broken files


def read(path: Path) -> np.ndarray:
    """Return the digit in a PNG or JPEG file as uint8 pixels (784,), 0 for background and 255 for full ink.

    Whatever is no picture of one digit is a DataError with the path and the way out.
    """
    ink = _ink(_decoded(path), path)
    return _placed(_scaled(_thick_enough(_cropped(ink)))).reshape(FIELD * FIELD)


def _decoded(path: Path) -> np.ndarray:
    """Return the picture's brightness, float64 (rows, columns) from 0 to 255, transparency filled in."""
    if not path.is_file():
        raise DataError(f"{path} is not a file; give the path of a PNG or JPEG picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning; its harder limit raises
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > MAX_PIXELS:
                    _refuse_size(path, f"{image.width:,} x {image.height:,}")
                return _brightness(ImageOps.exif_transpose(_reduced(image)))
    except Image.DecompressionBombError:
        _refuse_size(path, "hundreds of millions of")
    except UnidentifiedImageError:
        raise DataError(f"{path} is not a PNG or JPEG picture; save it as one of these") from None
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged or cannot be read ({error}); save it again as PNG or JPEG") from None


def _refuse_size(path: Path, size: str) -> NoReturn:
    raise DataError(f"{path} has {size} pixels, and at most {MAX_PIXELS:,} are read; scale it down to 1,000 a side")


def _reduced(image: Image.Image) -> Image.Image:
    """Bring a picture of any mode to L or, where it can be transparent, RGBa (premultiplied), and to a working size."""
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    image = image.convert("RGBA").convert("RGBa") if image.has_transparency_data else image.convert("L")
    return image.reduce(max(1, -(-max(image.size) // WORKING_SIDE)))


def _brightness(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image, np.float64)
    if image.mode == "L":
        return pixels
    light, opacity = pixels[..., :3] @ [0.299, 0.587, 0.114], pixels[..., 3] / 255  # weights of ITU-R 601, as Pillow's
    return light + (1 - opacity) * _behind(light, opacity)


def _behind(light: np.ndarray, opacity: np.ndarray) -> float:
    """Choose the brightness to put behind a transparent picture, from its light as premultiplied with its opacity.

    Where the opaque part has both ink and paper, it is the paper; where it is all of one brightness, that is ink, and
    what lies behind it is white or black, whichever is further off.
    """
    solid = light[opacity > 0.5] / opacity[opacity > 0.5]
    if solid.size == 0:
        return 255.0
    darkest, middle, lightest = np.percentile(solid, [1, 50, 99])
    if lightest - darkest > 96:
        return float(middle)
    return 255.0 if middle < 128 else 0.0


def _ink(brightness: np.ndarray, path: Path) -> np.ndarray:
    """Return how much ink each pixel has, 0 to 1, for a picture of one digit: dirt and noise have none."""
    background, noise = _background(brightness)
    difference = brightness - background
    if (difference**3).sum() < 0:  # the longer tail is the ink: here it is darker than the background
        difference = -difference
    strongest = difference.max()
    if strongest < max(FAINTEST_INK, NOISE_TO_INK * noise):
        _refuse_blank(path)
    ink = np.clip(difference / np.median(difference[difference > strongest / 2]), 0, 1)
    labels, pieces = _pieces(ink)
    size = max(_longer_side(box) for box in pieces.values())
    if size < max(SMALLEST_DIGIT[0], SMALLEST_DIGIT[1] * max(ink.shape)):
        _refuse_blank(path)
    pieces = {label: box for label, box in pieces.items() if _longer_side(box) > SPECK * size}
    _check_single(list(pieces.values()), path)
    return np.where(np.isin(labels, list(pieces)), ink, 0)


Box = tuple[slice, slice]


def _pieces(ink: np.ndarray) -> tuple[np.ndarray, dict[int, Box]]:
    """Label the connected pieces of ink that are strong somewhere; return the labels and each piece's box."""
    labels, count = ndimage.label(ink > 0.25, np.ones((3, 3)))
    strongest = ndimage.maximum(ink, labels, range(1, count + 1))
    boxes = enumerate(ndimage.find_objects(labels), 1)
    return labels, {label: box for (label, box), strength in zip(boxes, strongest) if strength > 0.5}


def _refuse_blank(path: Path) -> NoReturn:
    raise DataError(
        f"{path} looks blank: nothing as large as a digit stands out from the background; "
        "write one digit with a thick, dark stroke, and crop the picture to it"
    )


def _background(brightness: np.ndarray) -> tuple[np.ndarray, float]:
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


def _longer_side(box: Box) -> int:
    return max(_height(box), int(box[1].stop - box[1].start))


def _height(box: Box) -> int:
    return int(box[0].stop - box[0].start)


def _check_single(boxes: list[Box], path: Path) -> None:
    """Refuse pieces of ink that are digits of their own: of comparable height, with clear columns or rows between."""
    tallest = max(boxes, key=_height)
    height = _height(tallest)
    if any(_height(box) >= COMPARABLE * height and _apart(box, tallest, height) for box in boxes):
        raise DataError(f"{path} seems to show several digits; crop it so that each picture holds one")


def _apart(a: Box, b: Box, height: int) -> bool:
    clear_rows, clear_columns = (max(b[axis].start - a[axis].stop, a[axis].start - b[axis].stop) for axis in (0, 1))
    return bool(clear_columns > APART[0] * height or clear_rows > APART[1] * height)


def _cropped(ink: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _thick_enough(ink: np.ndarray) -> np.ndarray:
    """Thicken strokes to at least a tenth of the digit's longer side: thinner ones would fade when scaled down.

    Across a long stroke of width w, the mean distance to its edge is w / 4.
    """
    stroke = np.pad(ink > 0.5, 1)
    missing = THINNEST_STROKE * max(ink.shape) - 4 * ndimage.distance_transform_edt(stroke)[stroke].mean()
    if missing < 1:
        return ink
    around = int(np.ceil(missing / 2)) + 1
    ink = np.pad(ink, around)
    reached = np.clip(missing / 2 + 0.5 - ndimage.distance_transform_edt(ink <= 0.5), 0, 1)
    return _cropped(np.maximum(ink, reached))


def _scaled(ink: np.ndarray) -> np.ndarray:
    """Scale to 20 pixels on the longer side, keeping the proportions, and to full ink where it is strongest."""
    height, width = (max(1, round(side * BOX / max(ink.shape))) for side in ink.shape)
    picture = Image.fromarray(ink.astype(np.float32))
    small = np.array(picture.resize((width, height), Image.Resampling.HAMMING), np.float64)
    small /= small.max()
    return small


def _placed(ink: np.ndarray) -> np.ndarray:
    """Put a digit into a field of 28 x 28, uint8, its centre of mass within half a pixel of the middle."""
    centre = ndimage.center_of_mass(ink)
    top, left = (int(np.clip(round(CENTRE - c), 0, FIELD - side)) for c, side in zip(centre, ink.shape))
    field = np.zeros((FIELD, FIELD), np.uint8)
    field[top : top + ink.shape[0], left : left + ink.shape[1]] = np.round(255 * ink)
    return field
