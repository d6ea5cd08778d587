"""A picture file becomes 28 x 28 pixels as MNIST's were made: a digit of 20 x 20, its centre of mass in the middle.

`picture_files` reads the file and `ink` finds the digit; here it gets MNIST's thickness, size and place.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from numnist.common.errors import DataError
from numnist.inference import ink, picture_files

BOX, FIELD, CENTRE = 20, 28, 14  # MNIST's: the digit's box, the image, and the row and column of the centre of mass
THINNEST_STROKE = 0.1  # of the digit's longer side: 99% of MNIST's digits have thicker strokes


def read(path: Path) -> np.ndarray:
    """Return the digit in a picture as uint8 pixels (784,), 0 for background and 255 for full ink.

    Whatever is no picture of one digit is a DataError with the path and the way out.
    """
    brightness = picture_files.read_brightness(path)
    try:
        digit = ink.of_digit(brightness)
    except ink.NoDigitError as reason:
        raise DataError(f"{path} {reason}") from None
    return _placed(_scaled(_thick_enough(digit))).reshape(FIELD * FIELD)


def _thick_enough(digit: np.ndarray) -> np.ndarray:
    """Thicken strokes to at least a tenth of the digit's longer side: thinner ones would fade when scaled down.

    Across a long stroke of width w, the mean distance to its edge is w / 4. Distances are between the middles of
    pixels, and an edge lies half a pixel nearer.
    """
    stroke = np.pad(digit > 0.5, 1)
    width = 4 * (ndimage.distance_transform_edt(stroke)[stroke].mean() - 0.5)
    missing = THINNEST_STROKE * max(digit.shape) - width
    if missing < 1:
        return digit
    around = int(np.ceil(missing / 2)) + 1
    digit = np.pad(digit, around)
    reached = np.clip(missing / 2 + 0.5 - ndimage.distance_transform_edt(digit <= 0.5), 0, 1)
    return ink.crop(np.maximum(digit, reached))


def _scaled(digit: np.ndarray) -> np.ndarray:
    """Scale to 20 pixels on the longer side, keeping the proportions, and to full ink where it is strongest."""
    height, width = (max(1, round(side * BOX / max(digit.shape))) for side in digit.shape)
    picture = Image.fromarray(digit.astype(np.float32))
    small = np.array(picture.resize((width, height), Image.Resampling.HAMMING), np.float64)
    small /= small.max()
    return small


def _placed(digit: np.ndarray) -> np.ndarray:
    """Put a digit into a field of 28 x 28, uint8, its centre of mass within half a pixel of the middle."""
    centre = ndimage.center_of_mass(digit)
    top, left = (int(np.clip(round(CENTRE - c), 0, FIELD - side)) for c, side in zip(centre, digit.shape))
    field = np.zeros((FIELD, FIELD), np.uint8)
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = np.round(255 * digit)
    return field
