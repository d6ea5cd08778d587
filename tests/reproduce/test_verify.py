"""Same bytes, close numbers, or something other: told apart for every kind of file that the pipeline makes."""

import math
from pathlib import Path

import numpy as np
import pytest

from numnist.common import dvc_lock, files
from numnist.common.errors import DataError
from numnist.reproduce import verify
from numnist.reproduce.verify import CLOSE, DIFFERENT, SAME, Difference

LOCK = """schema: '2.0'
stages:
  train:
    cmd: python -m pipeline.train
    deps:
    - {path: params.yaml, md5: '00000000000000000000000000000000'}
    outs:
    - {path: runs, md5: '11111111111111111111111111111111.dir', hash: md5}
    - {path: sweep.csv, md5: '22222222222222222222222222222222', hash: md5}
"""


def two(directory: Path, name: str, one: str, other: str) -> Difference:
    """Compare two text files of one name."""
    for side, content in (("a", one), ("b", other)):
        files.write_text(directory / side / name, content)
    return verify.compare_paths(directory / "a" / name, directory / "b" / name)


def test_files_of_the_same_bytes_are_the_same(tmp_path: Path) -> None:
    assert two(tmp_path, "x.csv", "a\n1\n", "a\n1\n").verdict == SAME


@pytest.mark.parametrize(
    ("name", "one", "other", "relative", "where"),
    [
        ("x.csv", "name,loss\nh,2.0\nh,1.0\n", "name,loss\nh,2.0\nh,1.004\n", 0.002, "loss"),
        ("x.csv", "name,loss\nh,2.0\nh,\n", "name,loss\nh,2.002\nh,\n", 0.001, "loss"),
        ("x.json", '{"a": {"b": [1, 4.0]}}', '{"a": {"b": [1, 4.01]}}', 0.0025, "a.b[1]"),
        ("x.json", '{"key": "a", "n": 1}', '{"key": "b", "n": 1}', 0, "n"),
    ],
)
def test_numbers_within_the_tolerance_are_close_and_measured(
    tmp_path: Path, name: str, one: str, other: str, relative: float, where: str
) -> None:
    found = two(tmp_path, name, one, other)
    assert (found.verdict, found.where) == (CLOSE, where)
    assert found.relative == pytest.approx(relative, rel=0.01)


@pytest.mark.parametrize(
    ("name", "one", "other", "where"),
    [
        ("x.csv", "loss\n2.0\n", "loss\n2.1\n", "loss"),  # by a twentieth
        ("x.csv", "loss\n2.0\n", "loss\n2.0\n2.0\n", "loss"),
        ("x.csv", "loss\n2.0\n", "loss\nnan\n", "loss"),
        ("x.csv", "loss\n2.0\n", "cost\n2.0\n", "only one has cost, loss"),
        ("x.csv", "name\nh\n", "name\ng\n", "name"),
        ("x.json", '{"status": "finished"}', '{"status": "diverged"}', "status"),
        ("x.json", '{"a": true}', '{"a": false}', "a"),
        ("x.json", '{"a": 1}', '{"a": ', "cannot be read"),
        ("x.html", "<p>1.0</p>", "<p>1.0000001</p>", "its bytes"),
        ("x.npz", "no zip", "neither", "cannot be read"),
    ],
)
def test_anything_else_differs_and_its_place_is_told(
    tmp_path: Path, name: str, one: str, other: str, where: str
) -> None:
    found = two(tmp_path, name, one, other)
    assert found.verdict == DIFFERENT and where in found.where


def test_arrays_are_measured_against_their_largest_number(tmp_path: Path) -> None:
    one = np.array([0.0, 1e-9, -4.0], "float32")
    for side, array in (("a", one), ("b", one + np.array([1e-3, 0, 0], "float32"))):
        files.save_arrays(tmp_path / f"{side}.npz", {"W1": array, "labels": np.array([3], "uint8")})
    found = verify.compare_paths(tmp_path / "a.npz", tmp_path / "b.npz")
    assert (found.verdict, found.where) == (CLOSE, "W1") and found.relative == pytest.approx(1e-3 / 4, rel=1e-5)


def test_a_directory_is_as_its_worst_file_and_a_missing_file_is_the_worst(tmp_path: Path) -> None:
    for side, value in (("a", 1.0), ("b", 1.001)):
        (tmp_path / side / "same").mkdir(parents=True)
        files.write_json(tmp_path / side / "same" / "x.json", {"n": 1})
        files.write_json(tmp_path / side / "y.json", {"n": value})
    a, b = tmp_path / "a", tmp_path / "b"
    assert verify.compare_paths(a, b).where == "1 of 2 files, most in y.json: n"
    files.write_json(b / "z.json", {})
    found = verify.compare_paths(a, b)
    assert found.verdict == DIFFERENT and "2 of 3 files, most in z.json" in found.where


def test_locks_are_compared_by_hashes_and_files_only_where_these_differ(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text(LOCK)
    lock = dvc_lock.read(tmp_path / "dvc.lock")
    assert lock == {("train", "runs"): 32 * "1" + ".dir", ("train", "sweep.csv"): 32 * "2"}
    other = {**lock, ("train", "sweep.csv"): "33", ("report", "index.html"): "44"}
    for side, loss in (("a", 1.0), ("b", 1.0001)):
        files.write_text(tmp_path / side / "sweep.csv", f"loss\n{loss}\n")
    found = verify.compare(lock, other, tmp_path / "a", tmp_path / "b")
    assert [one.difference.verdict for one in found] == [SAME, CLOSE, DIFFERENT]
    stale = verify.compare(lock, other, tmp_path / "b", tmp_path / "b")[1].difference
    assert stale.verdict == DIFFERENT and "not the one that its dvc.lock names" in stale.where


def test_a_table_has_a_line_for_every_out(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text(LOCK)
    lock = dvc_lock.read(tmp_path / "dvc.lock")
    head, *lines = verify.table(verify.compare(lock, lock, tmp_path, tmp_path)).splitlines()
    assert head.startswith("stage") and [line.split() for line in lines] == [
        ["train", "runs", "same", "bytes"],
        ["train", "sweep.csv", "same", "bytes"],
    ]


@pytest.mark.parametrize("content", [None, "", "stages: 3", "stages: {a: {outs: [{path: x}]}}", "{"])
def test_a_missing_or_damaged_lock_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(DataError, match=r"dvc\.lock"):
        dvc_lock.read(tmp_path / "dvc.lock")
    dvc_lock.check(tmp_path, [])  # who needs nothing of it is not kept from work: the doctor


def test_a_lock_with_a_merge_conflict_is_told_without_python_in_it(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text(f"{LOCK}<<<<<<< ours\n=======\n>>>>>>> theirs\n")
    with pytest.raises(DataError, match=r"`git checkout HEAD dvc\.lock`") as caught:
        dvc_lock.read(tmp_path / "dvc.lock")
    assert " at 0x" not in str(caught.value)


def test_what_is_not_there_differs_without_end(tmp_path: Path) -> None:
    found = verify.compare_paths(tmp_path / "a", tmp_path / "b")
    assert found.verdict == DIFFERENT and math.isinf(found.relative)


@pytest.mark.parametrize("name", ["x.npz", "x.csv", "x.json"])
def test_a_damaged_file_is_a_difference_and_never_an_error(tmp_path: Path, name: str) -> None:
    whole, damaged = tmp_path / name, tmp_path / "damaged" / name
    if name == "x.npz":
        files.save_arrays(whole, {"a": np.arange(6.0), "b": np.ones((2, 2))})
    else:
        files.write_text(whole, "a,b\n1,2\n" if name == "x.csv" else '{"a": [1, 2], "b": "text"}')
    content, random = whole.read_bytes(), np.random.default_rng(0)
    for end in range(len(content)):
        files.write_bytes(damaged, content[:end])
        assert verify.compare_paths(whole, damaged).verdict in (DIFFERENT, CLOSE)
        changed = bytearray(content)
        changed[end] ^= int(random.integers(1, 256))
        files.write_bytes(damaged, bytes(changed))
        assert verify.compare_paths(whole, damaged).verdict in (DIFFERENT, CLOSE)
