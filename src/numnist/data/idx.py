"""The IDX format that MNIST comes in: a strict reader, and a writer for data sets that come in another.

A file is a big-endian magic number, a big-endian size for each dimension, and the bytes: images are
(m, 28, 28) under the magic 0x00000803, labels (m,) under 0x00000801. Either may be gzipped.
"""

import math
import struct
import zlib
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from numnist.common.errors import DataError
from numnist.common.files import write_bytes

PIXELS, CLASSES = 28 * 28, 10
MAX_IMAGES = 500_000  # more than any data set of this shape holds; it bounds memory, whatever a header claims
MAX_BYTES = 16 + MAX_IMAGES * PIXELS  # of a file
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


def write_images(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 (m, 784) as an image file, not gzipped."""
    write_bytes(path, struct.pack(">4I", _IMAGES, len(pixels), 28, 28) + pixels.tobytes())


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write uint8 (m,) as a label file, not gzipped."""
    write_bytes(path, struct.pack(">2I", _LABELS, len(labels)) + labels.tobytes())


def write_dataset(directory: Path, pixels: np.ndarray, labels: np.ndarray, test: np.ndarray) -> None:
    """Write labelled images as MNIST's four files, not gzipped; `test`, bool (m,), marks those of the test set."""
    for prefix, chosen in (("train", ~test), ("t10k", test)):
        write_images(directory / f"{prefix}-images-idx3-ubyte", pixels[chosen])
        write_labels(directory / f"{prefix}-labels-idx1-ubyte", labels[chosen])


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
    """Return the first `limit` bytes of a file, unpacked where it is gzipped: a bomb is unpacked no further."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            return _gunzip(file, limit) if packed else file.read(limit)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; run `python -m pipeline.fetch`") from None
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
    raise DataError(f"{path}: {field}: expected {expected}, got {got}; delete it and run `python -m pipeline.fetch`")
