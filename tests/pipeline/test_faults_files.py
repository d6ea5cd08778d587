"""Files that are damaged or made to harm: one error that names the file, bounded memory, nothing executed."""

import contextlib
import gzip
import io
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numnist.common import files
from numnist.common.errors import DataError
from numnist.config.schema import DataConfig
from numnist.data import dataset, idx

IMAGES = struct.pack(">4I", 0x803, 2, 28, 28) + bytes(2 * 784)
PACKED = gzip.compress(IMAGES, mtime=0)
LABELS = struct.pack(">2I", 0x801, 3) + bytes([0, 9, 5])
EXPECTED: dict[str, tuple[str, tuple[int | None, ...]]] = {"W1": ("float32", (3, None)), "b1": ("float32", (3, 1))}
GOOD = {"W1": np.ones((3, 4), np.float32), "b1": np.zeros((3, 1), np.float32)}

fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "length: expected a header of 16 bytes, got 0 bytes"),
        (b"<!DOCTYPE html><title>", "magic number: expected 0x00000803, got 0x3c21444f"),
        (LABELS + bytes(16), "magic number: expected 0x00000803, got 0x00000801"),
        (IMAGES[:-1], "body: expected 1,568 bytes .* got 1,567 bytes"),
        (IMAGES + b"\0", "body: expected 1,568 bytes .* got more"),
        (struct.pack(">4I", 0x803, 2, 28, 27) + bytes(2 * 28 * 27), r"picture size: .*\(28, 28\), got \(28, 27\)"),
        (struct.pack(">4I", 0x803, 0, 28, 28), "count: expected 1 to 500,000, got 0"),
        (struct.pack(">4I", 0x803, 2**32 - 1, 28, 28), "count: expected 1 to 500,000, got 4,294,967,295"),
        (PACKED[:-1], "gzip: expected one whole gzip member"),
        (PACKED + b"\0", "gzip: .* got bytes after the member"),
        (PACKED * 2, "gzip: .* got bytes after the member"),
        (PACKED[:-5] + b"\1" + PACKED[-4:], "gzip: .* incorrect data check"),
        (b"\x1f\x8b", "gzip: .* the file ends"),
    ],
)
def test_a_wrong_image_file_is_refused_by_field(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "train-images").write_bytes(content)
    with pytest.raises(DataError, match=f"train-images: {message}"):
        idx.read_images(tmp_path / "train-images")


def test_a_label_above_9_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(struct.pack(">2I", 0x801, 3) + bytes([0, 10, 5]))
    with pytest.raises(DataError, match="labels: label 1: expected 0 to 9, got 10"):
        idx.read_labels(tmp_path / "labels")


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir])
def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "labels")
    with pytest.raises(DataError, match="labels cannot be read"):
        idx.read_labels(tmp_path / "labels")


def test_as_many_labels_as_images_are_demanded(tmp_path: Path) -> None:
    for prefix in ("train", "t10k"):
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(IMAGES)
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(LABELS)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: count: expected 2, .* got 3"):
        dataset.preprocess(tmp_path, tmp_path / "processed", DataConfig("tiny", 2, 0))
    assert not (tmp_path / "processed").exists()


def test_a_bomb_is_unpacked_no_further_than_its_header_allows(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(gzip.compress(IMAGES + bytes(50_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="got more"):
            idx.read_images(tmp_path / "bomb")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@fuzz
@given(st.data())
def test_no_idx_file_raises_anything_but_a_data_error(tmp_path: Path, data: st.DataObject) -> None:
    content = data.draw(st.one_of(st.binary(max_size=64), _damaged(LABELS), _damaged(gzip.compress(LABELS, mtime=0))))
    (tmp_path / "labels").write_bytes(content)
    for read in (idx.read_labels, idx.read_images):
        with contextlib.suppress(DataError):
            assert (read(tmp_path / "labels") <= (9 if read is idx.read_labels else 255)).all()


def _damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Replace a stretch of some bytes by others."""
    place = st.integers(0, len(content))
    return st.builds(
        lambda start, end, middle: content[:start] + middle + content[end:], place, place, st.binary(max_size=8)
    )


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _zip(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


class _Trap:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


FLIPPED = bytearray(_npz(**GOOD))
FLIPPED[FLIPPED.index(b"\x80\x3f")] ^= 1
WRONG = {
    "empty": b"",
    "text": b"not an archive",
    "truncated": _npz(**GOOD)[:-30],
    "cut in half": _npz(**GOOD)[:200],
    "bit flipped": bytes(FLIPPED),
    "a single array": _npy(GOOD["W1"]),
    "a name missing": _npz(W1=GOOD["W1"]),
    "a name too many": _npz(**GOOD, W2=GOOD["W1"]),
    "another shape": _npz(W1=GOOD["W1"], b1=np.zeros(3, np.float32)),
    "another type": _npz(W1=GOOD["W1"].astype(np.float64), b1=GOOD["b1"]),
    "NaN": _npz(W1=np.full((3, 4), np.nan, np.float32), b1=GOOD["b1"]),
    "infinite": _npz(W1=np.full((3, 4), -np.inf, np.float32), b1=GOOD["b1"]),
    "a member that is no array": _zip(W1=b"no array", b1=_npy(GOOD["b1"])),
    "compressed": _zip(zipfile.ZIP_DEFLATED, W1=_npy(GOOD["W1"]), b1=_npy(GOOD["b1"])),
    "a header of nonsense": _zip(W1=b"\x93NUMPY\x01\x00\x08\x00((((((((", b1=_npy(GOOD["b1"])),
    "a huge shape": _zip(W1=_npy(GOOD["W1"]).replace(b"(3, 4)", b"(9**9)"), b1=_npy(GOOD["b1"])),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_npz_is_refused_with_its_path(tmp_path: Path, fault: str) -> None:
    (tmp_path / "weights.npz").write_bytes(WRONG[fault])
    with pytest.raises(DataError, match=r"weights\.npz"):
        files.load_arrays(tmp_path / "weights.npz", EXPECTED)


def test_a_right_npz_is_read(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").write_bytes(_npz(**GOOD))
    loaded = files.load_arrays(tmp_path / "weights.npz", EXPECTED)
    assert all(np.array_equal(loaded[name], GOOD[name]) for name in GOOD)


@pytest.mark.parametrize("wrap", ["member", "whole file"])
def test_a_pickle_is_not_executed(tmp_path: Path, wrap: str) -> None:
    trap = tmp_path / "executed"
    inside = _npz(W1=np.array([_Trap(trap)], object), b1=GOOD["b1"])
    (tmp_path / "weights.npz").write_bytes(inside if wrap == "member" else pickle.dumps(_Trap(trap)))
    with pytest.raises(DataError, match=r"weights\.npz"):
        files.load_arrays(tmp_path / "weights.npz", EXPECTED)
    assert not trap.exists()


@fuzz
@given(_damaged(_npz(**GOOD)))
def test_no_npz_raises_anything_but_a_data_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.npz").write_bytes(content)
    with contextlib.suppress(DataError):
        assert files.load_arrays(tmp_path / "weights.npz", EXPECTED)["b1"].shape == (3, 1)
