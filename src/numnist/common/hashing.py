"""Hashes of content in memory, whatever file it comes from; `files.sha256` is that of a file."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def of_bytes(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def of_texts(texts: Iterable[str]) -> str:
    """Return the SHA-256 of texts put together, in hex."""
    return of_bytes("".join(texts).encode())


def of_values(*values: Any) -> str:
    """Return a key of 32 digits for values that JSON can hold."""
    return of_texts([json.dumps(values, sort_keys=True)])[:32]


def of_arrays(arrays: Mapping[str, "np.ndarray"]) -> str:
    """Return the SHA-256 of arrays, their names, types and shapes: it does not depend on the .npz around them."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
