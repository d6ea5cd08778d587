"""Each form that a data set comes in gives the same bytes; damaged in one place, it is refused with its path."""

import csv
import gzip
import hashlib
import io
import os
import pickle
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from numnist.common.errors import DataError, FetchError
from numnist.config.reader import load_params
from numnist.config.schema import DIGITS, Source
from numnist.data import fetching, forms, idx, png_folders
from pipeline import ROOT

RNG = np.random.Generator(np.random.PCG64(5))
LABELS = np.concatenate([np.arange(10), RNG.integers(0, 10, 30)]).astype(np.uint8)
PIXELS = RNG.integers(0, 256, (40, 28, 28), np.uint8)
ARRAYS = {"x_train": PIXELS[:30], "y_train": LABELS[:30], "x_test": PIXELS[30:], "y_test": LABELS[30:]}
Arrays = dict[str, np.ndarray]


def contents(arrays: Arrays) -> dict[str, bytes]:
    return {name: idx.pack(array.reshape(len(array), -1) if array.ndim == 3 else array)
            for name, array in zip(idx.NAMES, arrays.values(), strict=True)}  # fmt: skip


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def as_idx(name: Callable[[str], str], pack: Callable[[bytes], bytes] = bytes) -> Callable[[Path, Arrays], None]:
    def make(place: Path, arrays: Arrays) -> None:
        for file, content in contents(arrays).items():
            write(place / name(file), pack(content))

    return make


def as_npz(place: Path, arrays: Arrays) -> None:
    np.savez(place / "mnist.npz", **arrays)


def as_compressed_npz(place: Path, arrays: Arrays) -> None:
    (place / "keras").mkdir()
    as_int64 = {name: array.astype(np.int64) if name[0] == "y" else array for name, array in arrays.items()}
    np.savez_compressed(place / "keras" / "mnist.npz", **as_int64)


def as_fortran_npz(place: Path, arrays: Arrays) -> None:
    np.savez(place / "mnist.npz", **{name: np.asfortranarray(array) for name, array in arrays.items()})


def as_csv(header: list[str], names: str) -> Callable[[Path, Arrays], None]:
    def make(place: Path, arrays: Arrays) -> None:
        for split in ("train", "test"):
            with (place / f"{names}{split}.csv").open("w", newline="") as file:
                rows = np.column_stack([arrays[f"y_{split}"], arrays[f"x_{split}"].reshape(-1, 784)])
                csv.writer(file).writerows([*([header] if header else []), *rows.tolist()])

    return make


def as_png(
    train: str, test: str, name: Callable[[int, int], str], folder: Callable[[int], str] = str
) -> Callable[[Path, Arrays], None]:
    def make(place: Path, arrays: Arrays) -> None:
        for split, called in (("train", train), ("test", test)):
            for number, (picture, label) in enumerate(zip(arrays[f"x_{split}"], arrays[f"y_{split}"])):
                path = place / called / folder(int(label)) / name(number, int(label))
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)

    return make


FORMS = {
    "IDX": as_idx(str),
    "with a dot": as_idx(lambda name: name.replace("-idx", ".idx")),
    "test for t10k, in capitals": as_idx(lambda name: name.replace("t10k", "test").upper()),
    "torchvision": as_idx(lambda name: f"MNIST/raw/{name}"),
    "in folders of their own names": as_idx(lambda name: f"{name}/{name}"),
    "7-Zip in torchvision's": as_idx(lambda name: f"MNIST/raw/{name}/{name.replace('-idx', '.idx')}"),
    "gzip 9": as_idx(lambda name: f"{name}.gz", gzip.compress),
    "gzip 1": as_idx(lambda name: f"{name}.gz", lambda content: gzip.compress(content, 1)),
    "gzip 0, unnamed": as_idx(str, lambda content: gzip.compress(content, 0)),
    "a .gz that a browser unpacked": as_idx(lambda name: f"{name}.gz"),
    "Keras": as_npz,
    "Keras, compressed": as_compressed_npz,
    "an archive column by column": as_fortran_npz,
    "CSV": as_csv([], "mnist_"),
    "CSV with a header": as_csv(["label", *(f"{y}x{x}" for y in range(1, 29) for x in range(1, 29))], "mnist_"),
    "CSV of another name": as_csv(["label", *(f"pixel{i}" for i in range(784))], "fashion-mnist_"),
    "PNG": as_png("training", "testing", lambda number, label: f"{number}.png"),
    "PNG from 1, padded": as_png("mnist_png/train", "mnist_png/test", lambda number, label: f"{number + 1:05}.png"),
    "PNG with labels in their names": as_png("train", "test", lambda number, label: f"{number:05}_{label}.PNG"),
    "PNG with labels before": as_png("train", "test", lambda number, label: f"digit{label}-{number}.png"),
}
PINS = {name: hashlib.sha256(content).hexdigest() for name, content in contents(ARRAYS).items()}
SOURCE = Source((), PINS)
MNIST = load_params(ROOT / "params.yaml").datasets["mnist"]


def fetched(directory: Path, place: Path, source: Source = SOURCE) -> dict[str, bytes]:
    fetching.fetch(source, "made-up", directory, [str(place)])
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_bytes(tmp_path: Path, place: Path, form: str) -> None:
    FORMS[form](place, ARRAYS)
    got = fetched(tmp_path / "raw", place)
    record = got.pop("fetched.json")
    assert got == contents(ARRAYS)
    (tmp_path / "plain").mkdir()
    FORMS["IDX"](tmp_path / "plain", ARRAYS)
    assert record == fetched(tmp_path / "again", tmp_path / "plain")["fetched.json"]


OF_REAL = [  # one of each kind: the others differ in what the sizes of files do not matter for
    "torchvision",
    "with a dot",
    "test for t10k, in capitals",
    "in folders of their own names",
    "gzip 1",
    "Keras",
    "CSV",
    "CSV with a header",
    "PNG",
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST's own four files, as fetch leaves them."""
    raw = tmp_path_factory.mktemp("real")
    fetching.fetch(MNIST, "mnist", raw, [os.environ["MNIST_MIRROR"]])
    return raw


@pytest.mark.slow
@pytest.mark.skipif("MNIST_MIRROR" not in os.environ, reason="needs real MNIST: set MNIST_MIRROR=<directory>")
@pytest.mark.parametrize("form", OF_REAL)
def test_real_mnist_comes_out_as_pinned_of_every_form(tmp_path: Path, place: Path, real: Path, form: str) -> None:
    images, labels, test_images, test_labels = (real / name for name in idx.NAMES)
    arrays = {
        "x_train": idx.read_images(images).reshape(-1, 28, 28),
        "y_train": idx.read_labels(labels),
        "x_test": idx.read_images(test_images).reshape(-1, 28, 28),
        "y_test": idx.read_labels(test_labels),
    }
    FORMS[form](place, arrays)
    raw = tmp_path / "raw"
    fetching.fetch(Source((), MNIST.sha256), "mnist", raw, [str(place)])
    assert {p.name: p.read_bytes() for p in raw.iterdir()} == {p.name: p.read_bytes() for p in real.iterdir()}
    shutil.rmtree(tmp_path)


def test_a_file_can_be_the_place(tmp_path: Path, place: Path) -> None:
    as_npz(place, ARRAYS)
    assert len(fetched(tmp_path / "raw", place / "mnist.npz")) == 5


def test_a_place_may_be_a_path_from_here_with_a_slash_behind(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_npz(place, ARRAYS)
    monkeypatch.chdir(tmp_path)
    fetching.fetch(SOURCE, "made-up", tmp_path / "raw", ["nowhere/", "place/"])
    assert len(list((tmp_path / "raw").iterdir())) == 5


def test_folders_may_be_named_after_the_classes(tmp_path: Path, place: Path) -> None:
    names = tuple("abcdefghij")
    as_png("train", "test", lambda number, label: f"{number}.png", lambda label: names[label])(place, ARRAYS)
    assert len(fetched(tmp_path / "raw", place, Source((), PINS, classes=names))) == 5


@pytest.mark.parametrize(
    ("classes", "folders", "empty", "labels"),
    [
        ("123", "123", "", [0, 1, 2]),
        ("123", "012", "", [0, 1, 2]),
        ("10", "01", "", [1, 0]),
        ("123", "0123", "", None),
        ("123", "12", "", None),
        ("123", "12", "3", [0, 1]),  # the remedy, tried
        ("123", "12", "0", [1, 2]),
        ("a10", "a2", "", None),
    ],
)
def test_folders_are_all_names_or_all_numbers_or_refused(
    place: Path, classes: str, folders: str, empty: str, labels: list[int] | None
) -> None:
    for number, folder in enumerate(folders):
        (place / folder).mkdir()
        Image.fromarray(PIXELS[number]).save(place / folder / f"{number}.png")
    for folder in empty:
        (place / folder).mkdir()
    if labels is not None:
        assert png_folders.read(place, tuple(classes))[1].tolist() == labels
        return
    with pytest.raises(DataError, match=rf"{place}: .* expected all names or all numbers"):
        png_folders.read(place, tuple(classes))


def test_what_is_wrong_in_one_form_comes_from_another(tmp_path: Path, place: Path) -> None:
    as_npz(place, ARRAYS | {"x_train": 255 - PIXELS[:30]})
    as_csv([], "mnist_")(place, ARRAYS)
    (place / "mnist_test.csv").unlink()
    assert len(fetched(tmp_path / "raw", place)) == 5


def test_pictures_whose_order_is_lost_are_another_data_set_and_can_be_pinned_as_one(
    tmp_path: Path, place: Path
) -> None:
    for split in ("train", "test"):
        for picture, label in zip(ARRAYS[f"x_{split}"], ARRAYS[f"y_{split}"]):
            folder = place / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{len(list(folder.iterdir()))}.png")  # numbered class by class
    with pytest.raises(FetchError, match=r"place.train .*order cannot be had back.*another data set") as caught:
        fetched(tmp_path / "raw", place)
    pins = yaml.safe_load(str(caught.value).split("sha256:\n")[1])
    assert len(fetched(tmp_path / "raw", place, Source((), pins))) == 5
    first = np.flatnonzero(LABELS[:30] == 0)[0]
    assert idx.read_images(tmp_path / "raw" / idx.NAMES[0])[0].tobytes() == PIXELS[first].tobytes()


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(place: Path) -> None:
        (place / name).write_bytes(change((place / name).read_bytes()))

    return damage


def rewrite_npz(**changed: np.ndarray) -> Callable[[Path], None]:
    return lambda place: np.savez(place / "mnist.npz", **(ARRAYS | changed))


def picture(image: Image.Image) -> Callable[[Path], None]:
    return lambda place: image.save(place / "training" / "0" / "0.png")


def member(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(place: Path) -> None:
        with zipfile.ZipFile(place / "mnist.npz", "w") as archive:
            archive.writestr(f"{name}.npy", content)

    return damage


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


class Trap:
    """Would leave a file behind if it were unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("executed"),)


IMAGES = idx.NAMES[0]
DAMAGED = {  # form, what is done to it, and what the error says of the path
    "a pixel": ("IDX", edit(IMAGES, lambda c: c[:-1] + bytes([c[-1] ^ 1])), f"{IMAGES} .*expected content of SHA-256"),
    "cut short": ("IDX", edit(IMAGES, lambda c: c[:-1]), f"{IMAGES}: body: expected 23,520 bytes"),
    "a label": ("IDX", edit(idx.NAMES[1], lambda c: c[:-1] + b"\x0a"), f"{idx.NAMES[1]}: label 29: expected 0 to 9"),
    "a bit of a gzip": ("gzip 9", edit(f"{IMAGES}.gz", lambda c: c[:-6] + b"\0" + c[-5:]), r"ubyte\.gz: gzip: "),
    "no archive": ("Keras", edit("mnist.npz", lambda c: c[:-30]), r"mnist\.npz: File is not a zip file"),
    "a byte of an archive": ("Keras", edit("mnist.npz", lambda c: c[:999] + b"!" + c[1000:]), r"npz: .*Bad CRC-32"),
    "a pickle": ("Keras", rewrite_npz(x_train=np.array([Trap()], object)), r"npz: x_train is object"),
    "a pickle as a whole": ("Keras", edit("mnist.npz", lambda c: pickle.dumps(Trap())), r"npz: File is not a zip"),
    "an array is missing": ("Keras", member("x_train", npy(PIXELS)), r"npz: .*no item named 'y_train\.npy'"),
    "a huge shape": (
        "Keras",
        member("x_train", npy(PIXELS).replace(b"(40, 28, 28)", b"(9**9, 9, 9)")),
        r"npz: .*x_train|npz: Cannot parse|npz: malformed",
    ),
    "a header that claims more": (
        "Keras",
        member("x_train", npy(PIXELS).replace(b"(40, 28, 28)", b"(99, 28, 28)")),
        r"npz: x_train has 31,360 bytes, expected 77,616",
    ),
    "floats": ("Keras", rewrite_npz(x_train=PIXELS[:30] / 255), r"npz: x_train is float64"),
    "another size": ("Keras", rewrite_npz(x_train=PIXELS[:30, :27]), r"npz: images are uint8 of \(30, 27, 28\)"),
    "a label too few": ("Keras", rewrite_npz(y_train=LABELS[:29]), r"npz: labels have the shape \(29,\)"),
    "a label below 0": ("Keras", rewrite_npz(y_test=-LABELS[30:].astype(int) - 1), r"npz: label 0: expected 0 to 9"),
    "a value of a CSV": (
        "CSV",
        edit("mnist_train.csv", lambda c: c.replace(b",", b",999", 1)),
        r"mnist_train\.csv, line 1, pixel0: got '999.*0 to 255",
    ),
    "a label of a CSV": ("CSV", edit("mnist_test.csv", lambda c: b"1" + c), r"mnist_test\.csv, line 1, label: got '1"),
    "a CSV cut short": ("CSV", edit("mnist_test.csv", lambda c: c[:-90]), r"mnist_test\.csv, line 10"),
    "a picture of another size": (
        "PNG",
        picture(Image.new("L", (28, 29))),
        r"0\.png: expected a PNG.* got: L of \(28, 29\)",
    ),
    "a picture in colours": ("PNG", picture(Image.new("RGB", (28, 28))), r"0\.png: .*got: RGB of"),
    "a picture that is none": ("PNG", edit("training/0/0.png", lambda c: c[:60]), r"0\.png: expected a PNG of 28 x 28"),
    "a picture of megabytes": (
        "PNG",
        edit("training/0/0.png", lambda c: c + bytes(1 << 17)),
        r"0\.png: .*larger than 65,536",
    ),
    "a picture is missing": (
        "PNG",
        lambda place: (place / "training" / "1" / "1.png").unlink(),
        "place/training .*the original order cannot be had back",
    ),
    "a folder of no class": (
        "PNG",
        lambda place: (place / "training" / "ten").mkdir(),
        "training/ten: expected folders",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_form_damaged_in_one_place_is_refused_with_path_and_reason(
    tmp_path: Path, place: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, do, message = DAMAGED[damage]
    monkeypatch.chdir(tmp_path)
    FORMS[form](place, ARRAYS)
    do(place)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    with pytest.raises(FetchError, match=message) as caught:
        fetched(tmp_path / "raw", place)
    assert str(place) in str(caught.value)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert not Path("executed").exists()


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(place / "mnist.npz", **(ARRAYS | {"x_train": np.zeros((40_000, 28, 28), np.uint8)}))
    monkeypatch.setattr(idx, "MAX_BYTES", 1_000_000)
    [found] = forms.look(place, DIGITS)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="at most 1,000,000 bytes"):
            found.read()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_place_with_too_many_files_is_not_looked_through(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FORMS["torchvision"](place, ARRAYS)
    monkeypatch.setattr(forms, "_ENTRIES", 5)
    with pytest.raises(DataError, match=r"more than 5 files; name the folder"):
        forms.look(place, DIGITS)


def test_what_lies_three_levels_below_is_not_found(place: Path) -> None:
    as_idx(lambda name: f"a/b/c/{name}")(place, ARRAYS)
    assert forms.look(place, DIGITS) == []
