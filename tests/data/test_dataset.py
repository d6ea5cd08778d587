"""The split is exact, in proportion and repeatable; what is loaded is what was written, and never the test set."""

import hashlib
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numnist.common import files
from numnist.common.errors import DataError
from numnist.config.schema import DataConfig
from numnist.data import dataset, idx

DATA = DataConfig("tiny", 4, 7)
LABELS = np.arange(40, dtype=np.uint8) % 10
PIXELS = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (40, 784), np.uint8)


@pytest.fixture
def processed(tmp_path: Path) -> Path:
    for prefix, part in (("train", slice(32)), ("t10k", slice(32, 40))):
        files.write_bytes(tmp_path / "raw" / f"{prefix}-images-idx3-ubyte", idx.pack(PIXELS[part]))
        files.write_bytes(tmp_path / "raw" / f"{prefix}-labels-idx1-ubyte", idx.pack(LABELS[part]))
    dataset.preprocess(tmp_path / "raw", tmp_path / "processed", DATA)
    return tmp_path / "processed"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=10, max_size=300), st.integers(2, 10), st.integers(0, 2**32 - 1))
def test_a_split_parts_all_images_in_proportion(digits: list[int], one_in: int, seed: int) -> None:
    labels = np.array(digits, np.uint8)
    train, validation = dataset.choose_validation(labels, one_in, seed)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    assert len(validation) == len(labels) // one_in
    for digit in range(10):
        share = Fraction(digits.count(digit) * len(validation), len(labels))
        assert abs(int((labels[validation] == digit).sum()) - share) < 1


def test_the_largest_remainder_gets_the_image_that_is_over() -> None:
    labels = np.repeat(np.array([0, 1, 2], np.uint8), [13, 8, 9])  # of 10 in 30: 4.33, 2.67 and 3
    _, validation = dataset.choose_validation(labels, 3, 0)
    assert np.bincount(labels[validation]).tolist() == [4, 3, 3]


def test_one_in_12_of_mnists_classes_is_5000() -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
    train, validation = dataset.choose_validation(labels, 12, 0)
    assert (len(train), len(validation)) == (55_000, 5_000)


def test_the_choice_is_the_lowest_keys_of_pcg64_as_published() -> None:
    labels = np.array([0, 1] * 20, np.uint8)
    state = np.random.PCG64(3).state["state"]
    value, keys = state["state"], []
    for _ in labels:  # O'Neill's PCG XSL RR 128/64
        value = (value * 0x2360ED051FC65DA44385DF649FCCF645 + state["inc"]) % 2**128
        mixed, turn = (value >> 64) ^ (value % 2**64), value >> 122
        keys.append((mixed >> turn | mixed << (64 - turn)) % 2**64)
    lowest = [sorted(range(digit, 40, 2), key=keys.__getitem__)[:5] for digit in (0, 1)]
    assert dataset.choose_validation(labels, 4, 3)[1].tolist() == sorted(lowest[0] + lowest[1])


def test_what_is_loaded_is_what_the_files_hold(processed: Path) -> None:
    data, test = dataset.load(processed), dataset.load_test(processed)
    train, validation = dataset.choose_validation(LABELS[:32], 4, 7)
    assert data.name == "tiny"
    assert np.array_equal(data.train.pixels, PIXELS[train])
    assert np.array_equal(data.train.labels, LABELS[train])
    assert np.array_equal(data.validation.pixels, PIXELS[validation])
    assert np.array_equal(data.validation.labels, LABELS[validation])
    assert np.array_equal(test.pixels, PIXELS[32:])
    assert np.array_equal(test.labels, LABELS[32:])


def test_the_indices_are_saved_and_the_counts_told(processed: Path) -> None:
    told = json.loads((processed / "dataset.json").read_text())
    train, validation = dataset.choose_validation(LABELS[:32], 4, 7)
    assert np.array_equal(np.load(processed / "train.npz")["indices"], train)
    assert np.array_equal(np.load(processed / "validation.npz")["indices"], validation)
    assert [told[part]["images"] for part in ("train", "validation", "test")] == [24, 8, 8]
    assert told["classes"] == list("0123456789")
    assert told["test"]["class_counts"] == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    hashes = "".join(told[part]["sha256"] for part in ("train", "validation", "test"))
    assert told["digest"] == hashlib.sha256(hashes.encode()).hexdigest()


def test_the_names_of_the_classes_come_with_the_data_set(processed: Path) -> None:
    assert dataset.load(processed).classes == tuple("0123456789")
    names = (*"abcdefghij", "of no image")
    dataset.preprocess(processed.parent / "raw", processed, DATA, names)
    assert dataset.load(processed).classes == names
    with pytest.raises(DataError, match=r"label 9: expected 0 to 8, got 9"):
        dataset.preprocess(processed.parent / "raw", processed, DATA, names[:9])


def test_preprocessing_again_gives_the_same_bytes(processed: Path) -> None:
    before = {path.name: path.read_bytes() for path in processed.iterdir()}
    dataset.preprocess(processed.parent / "raw", processed, DATA)
    assert {path.name: path.read_bytes() for path in processed.iterdir()} == before


def test_load_never_opens_the_test_set(processed: Path) -> None:
    processed.with_name("test.npz").unlink()
    dataset.load(processed)
    with pytest.raises(DataError, match=r"test\.npz does not exist"):
        dataset.load_test(processed)


def test_arrays_that_are_not_those_described_are_refused(processed: Path) -> None:
    arrays = dict(np.load(processed / "train.npz"))
    arrays["pixels"][0, 0] ^= 1
    np.savez(processed / "train.npz", **arrays)
    with pytest.raises(DataError, match=r"train\.npz: SHA-256"):
        dataset.load(processed)


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"name": 1}', '{"name": "x", "digest": "y", "classes": [0], "train": 3}']
)
def test_a_damaged_description_is_refused(processed: Path, content: str) -> None:
    (processed / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json is damaged"):
        dataset.load(processed)


def test_what_is_wrong_with_a_file_decides_what_is_to_be_done(processed: Path) -> None:
    raw = processed.parent / "raw"
    labels = raw / "train-labels-idx1-ubyte"
    right = labels.read_bytes()
    labels.write_bytes(right[:-1])
    with pytest.raises(DataError, match=rf"body: expected .* not what fetch made: move {raw} away"):
        dataset.preprocess(raw, processed, DATA)
    files.write_bytes(labels, idx.pack(LABELS[:31]))
    made = {name: files.sha256(raw / name) for name in idx.NAMES}
    files.write_json(raw / "fetched.json", {"pinned": {}, "sha256": made})
    with pytest.raises(DataError, match=r"count: expected 32, .* got 31\. That is what was fetched.* what to pin\."):
        dataset.preprocess(raw, processed, DATA)
    labels.unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte cannot be read: .*Run `python -m pipeline\.fetch`"):
        dataset.preprocess(raw, processed, DATA)


def test_too_few_images_to_set_any_apart_are_refused(processed: Path) -> None:
    with pytest.raises(DataError, match=r"lower data\.validation_one_in"):
        dataset.preprocess(processed.parent / "raw", processed, DataConfig("tiny", 1000, 0))
