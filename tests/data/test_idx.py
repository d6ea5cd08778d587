"""The IDX reader and writer on files that are right; test_faults_files.py is about the others."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from numnist.data import idx

PICTURES = bytes(range(256)) * 6 + bytes(32)  # two of 28 x 28
IMAGE_FILE = struct.pack(">4I", 2051, 2, 28, 28) + PICTURES  # magic numbers as MNIST's page has them
LABEL_FILE = struct.pack(">2I", 2049, 3) + bytes([0, 9, 5])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_right_file_is_read_plain_and_gzipped(tmp_path: Path, pack: object) -> None:
    (tmp_path / "images").write_bytes(pack(IMAGE_FILE))  # type: ignore[operator]
    (tmp_path / "labels").write_bytes(pack(LABEL_FILE))  # type: ignore[operator]
    images, labels = idx.read_images(tmp_path / "images"), idx.read_labels(tmp_path / "labels")
    assert images.dtype == labels.dtype == np.uint8
    assert images.shape == (2, 784)
    assert images.tobytes() == PICTURES
    assert labels.tolist() == [0, 9, 5]


def test_what_is_packed_has_the_published_format() -> None:
    assert idx.pack(np.frombuffer(PICTURES, np.uint8).reshape(2, 784)) == IMAGE_FILE
    assert idx.pack(np.array([0, 9, 5], np.uint8)) == LABEL_FILE
