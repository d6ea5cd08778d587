"""The IDX format that MNIST comes in: a strict reader, and a writer for data sets that come in another.

A file is a big-endian magic number, a big-endian size for each dimension, and the bytes: images are
(m, 28, 28) under the magic 0x00000803, labels (m,) under 0x00000801. Either may be gzipped. What a file
holds unpacked follows from its array alone: that is what a data set's pins are of.
"""

import math
import struct
import zlib
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from numnist.common.errors import DataError

PIXELS = 28 * 28
MAX_IMAGES = 500_000  # more than any data set of this shape holds; it bounds memory, whatever a header claims
MAX_BYTES = 16 + MAX_IMAGES * PIXELS  # of a file
NAMES = (  # a data set's four files, as MNIST calls them
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_IMAGES, _LABELS = 0x00000803, 0x00000801
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 16  # bytes


def read_images(path: Path) -> np.ndarray:
    """Read an image file as uint8 (m, 784); DataError on anything but m pictures of 28 x 28."""
    return _read(path, _IMAGES, (28, 28)).reshape(-1, PIXELS)


def read_labels(path: Path, classes: int = 10) -> np.ndarray:
    """Read a label file as uint8 (m,); DataError on anything but m labels below the number of classes."""
    labels = _read(path, _LABELS, ())
    if labels.max() >= classes:
        _refuse(path, f"label {np.argmax(labels >= classes)}", f"0 to {classes - 1}", labels.max())
    return labels


def pack(array: np.ndarray) -> bytes:
    """Return uint8 (m, 784) as what an image file holds, uint8 (m,) as what a label file holds."""
    if array.ndim == 2:
        return struct.pack(">4I", _IMAGES, len(array), 28, 28) + array.tobytes()
    return struct.pack(">2I", _LABELS, len(array)) + array.tobytes()


def pack_dataset(pixels: np.ndarray, labels: np.ndarray, test: np.ndarray) -> dict[str, bytes]:
    """Return labelled images as what the four files hold; `test`, bool (m,), marks those of the test set."""
    return dict(
        zip(NAMES, (pack(array[chosen]) for chosen in (~test, test) for array in (pixels, labels)), strict=True)
    )


def _read(path: Path, magic: int, item: tuple[int, ...]) -> np.ndarray:
    """Read m items of one shape, in bytes, as a flat array; the header is judged before the body is unpacked."""
    header = 8 + 4 * len(item)
    start = _contents(path, header)
    if len(start) < header:
        _refuse(path, "length", f"a header of {header} bytes", f"{len(start)} bytes")
    got_magic, count, *got_item = struct.unpack(f">{2 + len(item)}I", start)
    if got_magic != magic:
        _refuse(path, "magic number", f"0x{magic:08x}", f"0x{got_magic:08x}")
    if not 1 <= count <= MAX_IMAGES:
        _refuse(path, "count", f"1 to {MAX_IMAGES:,}", f"{count:,}")
    if tuple(got_item) != item:
        _refuse(path, "picture size", item, tuple(got_item))
    size = count * math.prod(item)
    body = _contents(path, header + size + 1)[header:]
    if len(body) != size:
        got = f"{len(body):,} bytes" if len(body) < size else "more"
        _refuse(path, "body", f"{size:,} bytes for the {count:,} items that the header counts", got)
    return np.frombuffer(body, np.uint8)


def _contents(path: Path, limit: int) -> bytes:
    """Return the first `limit` bytes of a file, unpacked if it is gzipped: a bomb is unpacked no further."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            return _gunzip(file, limit) if packed else file.read(limit)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (EOFError, zlib.error) as error:
        _refuse(path, "gzip", "one whole gzip member and nothing after it", error)


def _gunzip(file: IO[bytes], limit: int) -> bytes:
    """Unpack up to `limit` bytes of one member with nothing after it (the gzip module would skip zeros there)."""
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    content = bytearray()
    packed = b""
    while not unpacker.eof and len(content) < limit:
        packed = packed or file.read(_CHUNK)
        if not packed:
            raise EOFError(f"the file ends after {len(content):,} unpacked bytes, inside the member")
        content += unpacker.decompress(packed, limit - len(content))
        packed = unpacker.unconsumed_tail
    if unpacker.eof and (unpacker.unused_data or file.read(1)):
        raise EOFError("bytes after the member")
    return bytes(content)


def _refuse(path: Path, field: str, expected: object, got: object) -> NoReturn:
    raise DataError(f"{path}: {field}: expected {expected}, got {got}")
