"""Small pictures as data URIs whose bytes follow from the pixels alone.

Pillow stores them without compression: different zlibs compress to different bytes, and a page that is to be the same
everywhere cannot depend on which is installed. (Pillow 9.4 to 13, with zlib and with zlib-ng, gave the same bytes.)
"""

import base64
import io

import numpy as np
from PIL import Image

Array = np.ndarray
SIDE = 28


def digit_uri(pixels: Array) -> str:
    """Draw one image's pixels, uint8 (784,), as MNIST does: light on dark."""
    return _data_uri(Image.fromarray(pixels.reshape(SIDE, SIDE)))


def weight_uri(weights: Array, limit: float) -> str:
    """Draw one hidden unit's weights (784,): -limit blue, 0 white, +limit orange, and no further beyond."""
    middle = len(_DIVERGING) // 2
    places = np.rint(np.clip(weights / limit, -1, 1) * middle) + middle
    picture = Image.fromarray(places.astype(np.uint8).reshape(SIDE, SIDE))
    picture.putpalette(_DIVERGING.tobytes())
    return _data_uri(picture)


def _data_uri(picture: Image.Image) -> str:
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=0)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def _between(low: tuple[int, int, int], high: tuple[int, int, int], steps: int) -> Array:
    return np.rint(np.linspace(low, high, steps)).astype(np.uint8)


_BLUE, _WHITE, _ORANGE = (5, 72, 140), (247, 247, 247), (166, 66, 0)  # apart for every kind of colour vision
_DIVERGING = np.vstack(
    [_between(_BLUE, _WHITE, 32)[:-1], _between(_WHITE, _ORANGE, 32)]
)  # 63 colours, white in the middle
