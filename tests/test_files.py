"""Files are written whole or not at all, and the same content gives the same bytes."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from numnist.common import files
from numnist.common.errors import DataError, StorageError


def test_sha256_is_the_published_one_of_abc(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_text(tmp_path / "file", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"file cannot be written: it needs 3 bytes \(No space left"):
        files.write_text(tmp_path / "file", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_what_a_killed_write_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".partial-abc", "kept"):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / name).write_bytes(b"")
    files.remove_partial(tmp_path)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["kept"]


def test_arrays_are_written_as_the_zip_specification_has_it_whatever_python_and_day(tmp_path: Path) -> None:
    arrays = {"x": np.arange(6, dtype=np.float32), "y": np.ones((2, 2), np.uint8)}
    files.save_arrays(tmp_path / "a.npz", arrays)
    entries, directory = b"", b""
    for name, array in arrays.items():
        file = io.BytesIO()
        np.save(file, array)
        content, title = file.getvalue(), f"{name}.npy".encode()
        version, flags, method, time, date = 20, 0, 0, 0, 0x21  # 2.0, none, stored, midnight, 1 January 1980
        fields = version, flags, method, time, date, zlib.crc32(content), len(content), len(content), len(title), 0
        rights = 0o600 << 16  # Unix, which is system 3
        directory += struct.pack("<4s2B5H3I5H2I", b"PK\1\2", 20, 3, *fields, 0, 0, 0, rights, len(entries)) + title
        entries += struct.pack("<4s5H3I2H", b"PK\3\4", *fields) + title + content
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, len(directory), len(entries), 0)
    assert (tmp_path / "a.npz").read_bytes() == entries + directory + end


def test_arrays_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    files.save_arrays(tmp_path / "a.npz", {"z": np.zeros(1), "a": np.zeros(2)})
    assert list(files.load_arrays(tmp_path / "a.npz", {"z": ("float64", (1,)), "a": ("float64", (2,))})) == ["z", "a"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[" * 100_000])
def test_json_that_cannot_be_read_is_a_data_error_with_its_path(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json"):
        files.read_json(tmp_path / "a.json")


def test_json_does_not_take_a_number_that_is_not_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []
