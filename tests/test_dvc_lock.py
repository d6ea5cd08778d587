"""What dvc.lock records, and outs that are not that. Objects that rot in DVC's cache: test_pipeline.py."""

import hashlib
from pathlib import Path

import pytest

from numnist.common import dvc_lock
from numnist.common.errors import DataError

ABC = "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321: MD5 of "abc"
LOCK = f"""schema: '2.0'
stages:
  fetch:
    cmd: make
    outs:
    - path: data/raw
      md5: {ABC}
  train:
    cmd: make
    outs:
    - path: sweep.csv
      md5: {ABC}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "data").mkdir()
    for out in ("data/raw", "sweep.csv"):
        (tmp_path / out).write_text("abc")
    return tmp_path


@pytest.mark.parametrize("length", [0, 40, 70, 95, 105])
def test_a_lock_that_was_cut_off_while_dvc_wrote_it_is_told_with_the_way_out(root: Path, length: int) -> None:
    (root / "dvc.lock").write_text(LOCK[:length])
    with pytest.raises(DataError, match=r"dvc\.lock is not a lock of DVC .*`git checkout HEAD dvc\.lock`.* remove it"):
        dvc_lock.check(root)


def test_a_directory_is_hashed_as_dvc_does(tmp_path: Path) -> None:
    for name in ("b", "a/c", "__pycache__/x.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("abc")
    listing = f'[{{"md5": "{ABC}", "relpath": "a/c"}}, {{"md5": "{ABC}", "relpath": "b"}}]'
    assert dvc_lock.md5(tmp_path) == hashlib.md5(listing.encode()).hexdigest() + ".dir"
    assert dvc_lock.md5(tmp_path / "nothing") == ""


def test_outs_that_are_as_recorded_pass_and_so_does_a_checkout_without_a_lock(root: Path) -> None:
    dvc_lock.check(root)
    (root / "dvc.lock").unlink()
    (root / "sweep.csv").write_text("edited")
    dvc_lock.check(root)


def test_an_out_that_is_not_as_recorded_is_refused_where_it_is_needed(root: Path) -> None:
    (root / "sweep.csv").write_text("edited")
    dvc_lock.check(root, ["data/raw/file", "src"])
    with pytest.raises(DataError, match=rf"sweep\.csv: dvc\.lock says that train made it with the MD5 {ABC}, but"):
        dvc_lock.check(root, ["src", "sweep.csv"])


@pytest.mark.parametrize("needed", [None, ["data"], ["data/raw"], ["data/raw/a/file"]])
def test_an_out_that_is_gone_is_refused(root: Path, needed: list[str] | None) -> None:
    (root / "data" / "raw").unlink()
    with pytest.raises(DataError, match=r"data/raw: .* but it does not exist"):
        dvc_lock.check(root, needed)
