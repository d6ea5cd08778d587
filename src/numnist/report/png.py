"""Small pictures as data URIs whose bytes follow from the pixels alone.

PNG asks for a zlib stream but not for compression. Different zlibs compress to different bytes, and a page that is
to be the same everywhere cannot depend on which is installed: the pixels are stored as they are.
"""

import base64
import struct
import zlib

import numpy as np

Array = np.ndarray
_LARGEST = 65_535  # bytes in one stored block, which is all that is written


def data_uri(pixels: Array, palette: Array | None = None) -> str:
    """Encode uint8 pixels (height, width): shades of grey, or places in a palette uint8 (colours, 3)."""
    height, width = pixels.shape
    rows = np.hstack([np.zeros((height, 1), np.uint8), pixels]).tobytes()  # each row starts with its filter: none
    if len(rows) > _LARGEST:
        raise ValueError(f"a picture of {height} x {width} is too large, at most {_LARGEST} bytes")
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if palette is None else 3, 0, 0, 0)
    stored = struct.pack("<BHH", 1, len(rows), len(rows) ^ 0xFFFF) + rows
    stream = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows))
    chunks = [
        (b"IHDR", header),
        *([(b"PLTE", palette.tobytes())] if palette is not None else []),
        (b"IDAT", stream),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def digit_uri(pixels: Array) -> str:
    """Draw one image's pixels, uint8 (784,), as MNIST does: light on dark."""
    return data_uri(pixels.reshape(28, 28))


def weight_uri(weights: Array, reach: float) -> str:
    """Draw one hidden unit's weights (784,): -reach blue, 0 white, +reach orange, and no further beyond."""
    middle = len(_DIVERGING) // 2
    places = np.rint(np.clip(weights / reach, -1, 1) * middle) + middle
    return data_uri(places.astype(np.uint8).reshape(28, 28), _DIVERGING)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _between(low: tuple[int, int, int], high: tuple[int, int, int], steps: int) -> Array:
    return np.rint(np.linspace(low, high, steps)).astype(np.uint8)


_BLUE, _WHITE, _ORANGE = (5, 72, 140), (247, 247, 247), (166, 66, 0)  # apart for every kind of colour vision
_DIVERGING = np.vstack(
    [_between(_BLUE, _WHITE, 32)[:-1], _between(_WHITE, _ORANGE, 32)]
)  # 63 colours, white in the middle
