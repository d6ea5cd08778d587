"""Reading and writing files so that a reader never sees half of one."""

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numnist.common.errors import DataError, StorageError

if TYPE_CHECKING:
    import numpy as np

MAKE, REMAKE = "run `dvc repro` to make it", "delete it and run `dvc repro`"  # what helps with a file of a stage
PARTIAL = ".partial-"  # what an interrupted write leaves behind; see `remove_partial`


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; StorageError if it cannot be written; then an earlier file stays."""
    try:
        _replace(path, content)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: it needs {len(content):,} bytes ({error.strerror or error}). Make room or give "
            "access; then run the same command again, which keeps what is finished"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    """Write to a temporary file beside the path, to disk, and rename it over the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=PARTIAL, dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_text(path: Path, content: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON that is the same for the same content: keys in the given order, floats as Python prints them."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str = "") -> Any:
    """Read a JSON file; a missing or broken one is a DataError that names it, and what helps if no stage makes it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; {remedy or MAKE}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not readable JSON ({error}); {remedy or REMAKE}") from None


def remove_partial(directory: Path) -> None:
    """Delete what interrupted writes left in a directory and below; only its owner may call this."""
    for leftover in directory.rglob(PARTIAL + "*"):
        leftover.unlink(missing_ok=True)


def save_arrays(path: Path, arrays: Mapping[str, "np.ndarray"]) -> None:
    """Write named arrays as an uncompressed .npz whose bytes follow from the arrays alone.

    Not by np.savez: it asks zipfile for ZIP64 headers, which Python 3.11.3 and 3.11.4 write differently.
    """
    import numpy as np

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            members.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())  # dated 1980
    write_bytes(path, archive.getvalue())


def load_arrays(
    path: Path, expected: Mapping[str, tuple[str, tuple[int | None, ...] | None]]
) -> dict[str, "np.ndarray"]:
    """Read an .npz that must hold exactly the expected arrays, and execute nothing.

    `expected` maps each name to its dtype (float: float32 or float64) and shape, with None if any length or shape will
    do. Whatever is wrong (no such file, no zip, a damaged member, a pickle, other names, dtypes or shapes, a number
    that is not finite) is a DataError with the path.
    """
    import numpy as np

    arrays = _read_archive(path, list(expected))
    for name, (dtype, shape) in expected.items():
        array = arrays[name]
        if not isinstance(array, np.ndarray):  # what NumPy makes of a member without an array's header
            raise DataError(f"{path}: {name} is no array; {REMAKE}")
        fits = shape is None or (
            array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape))
        )
        if array.dtype not in ([np.float32, np.float64] if dtype == "float" else [np.dtype(dtype)]) or not fits:
            of_shape = "" if shape is None else f" of shape {shape}"
            raise DataError(f"{path}: {name}: expected {dtype}{of_shape}, got {array.dtype} of {array.shape}; {REMAKE}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{path}: {name} holds a number that is not finite; {REMAKE}")
    return arrays


def _read_archive(path: Path, names: list[str]) -> dict[str, Any]:
    """Read the members of an .npz; what is larger unpacked than on disk is refused, which bounds memory."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            if sorted(archive.files) != sorted(names):
                raise DataError(f"{path}: arrays: expected {names}, got {archive.files}; {REMAKE}")
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.zip.infolist()):
                raise DataError(f"{path}: expected arrays that are not compressed; {REMAKE}")
            return {name: archive[name] for name in names}
    except (DataError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; {MAKE}") from None
    except Exception as error:  # damaged bytes surface as a dozen types, from zip, zlib, tokenize and others
        raise DataError(f"{path} is damaged or not an .npz of plain arrays ({error}); {REMAKE}") from None
