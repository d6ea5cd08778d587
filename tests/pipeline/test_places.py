"""Where people's own data lie: found if it may be data, from every directory, and never deleted."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from numnist.common import processes
from numnist.common.errors import ConfigError
from numnist.config import reader
from pipeline import ROOT, fetch, run


def put(directory: Path, *names: str) -> None:
    """Make files, and folders of the names that end with a slash."""
    for name in names:
        folder = directory / name if name.endswith("/") else (directory / name).parent
        folder.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            (directory / name).write_text("x")


def test_make_clean_deletes_what_fetch_made_and_nothing_that_people_put_there(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = ["data/raw/a b/fetched.json", "data/raw/a b/t10k-labels-idx1-ubyte", "data/processed/x", "data/test.npz"]
    mine = {"data/raw/mnist.npz", "data/raw/mine/train.csv", "data/raw/a b/notes.txt", "data/own/train.csv"}
    for ours in (mine, set[str]()):
        put(tmp_path, *made, *ours)
        subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
        assert left == {"Makefile", *ours}
        shutil.rmtree(tmp_path / "data", ignore_errors=not ours)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], False),
        (["empty/", ".DS_Store", "folder/.DS_Store", "mnist/fetched.json", "mnist/train-images-idx3-ubyte"], False),
        (["mnist.zip"], True),
        (["folder/deep/train.csv"], True),
    ],
)
def test_only_files_that_may_be_data_are_taken_for_data_put_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], found: bool
) -> None:
    monkeypatch.delenv("MNIST_MIRROR", raising=False)
    put(tmp_path, *names)
    assert fetch.places(tmp_path) == [str(tmp_path)] * found
    assert fetch.places(tmp_path / "nowhere") == []


@pytest.mark.parametrize("mirror", ["own", "https://mirror.example/mnist", ""])
def test_make_run_takes_a_relative_mirror_from_where_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str
) -> None:
    def stop(*arguments: object, **how: object) -> int:
        raise InterruptedError(os.environ["MNIST_MIRROR"])

    put(tmp_path, ".dvc/", "docs/")
    monkeypatch.chdir(tmp_path / "docs")
    monkeypatch.setenv("MNIST_MIRROR", mirror)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(processes, "run", stop)  # as DVC would be called
    with pytest.raises(InterruptedError) as called:
        run.main()
    assert str(called.value) == (str(tmp_path / "docs" / "own") if mirror == "own" else mirror)


def test_a_data_set_with_a_dot_in_its_name_is_refused_since_dvc_takes_it_for_a_level(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("  kmnist:", "  letters.v2:"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'letters\.v2'.*no dot, which DVC takes for a level"):
        reader.load_params(tmp_path / "params.yaml")
