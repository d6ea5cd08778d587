"""Fault 18: what is no picture of a digit, or no image, gets a clear error in bounded memory."""

import io
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from numnist.common.errors import DataError
from numnist.data import kaggle
from numnist.inference import digit_images
from pipeline import ROOT

MEASURED = """
import re, sys
from pathlib import Path
from numnist.inference import digit_images
from numnist.common.errors import DataError

def peak():  # of this program; getrusage() would count the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = peak()
try:
    digit_images.read(Path(sys.argv[1]))
except DataError as error:
    print(error)
print(peak() - before)
"""


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, body=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def digit(mode, form):
    picture = Image.new("L", (60, 90), 255)
    ImageDraw.Draw(picture).line((20, 20, 45, 20, 25, 75), fill=0, width=6)
    buffer = io.BytesIO()
    picture.convert(mode).save(buffer, form)
    return buffer.getvalue()


def read(content, directory):
    path = directory / "digit.png"
    path.write_bytes(content)
    return digit_images.read(path)


@pytest.mark.parametrize("content", [b"", b"<html>", b"%PDF-1.7", b"\0" * 5000, b"GIF99a" + b"\0" * 100])
def test_a_file_that_is_no_picture_is_refused(content, tmp_path):
    with pytest.raises(DataError, match=r"digit\.png is not a picture in PNG, .* or GIF; save it as one"):
        read(content, tmp_path)


@pytest.mark.parametrize(("side", "size"), [(7_072, "7,072 x 7,072"), (12_000, "12,000 x 12,000")])
def test_a_picture_too_large_to_decode_is_refused(side, size, tmp_path):
    with pytest.raises(DataError, match=f"{size} pixels, and at most 50,000,000 are read; scale it down"):
        read(png(side, side), tmp_path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
def test_a_picture_of_20000_by_20000_is_refused_by_its_header_in_little_memory(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(png(20_000, 20_000, bytes(20_001) * 2_000))
    assert path.stat().st_size < 50_000
    run = [sys.executable, "-c", MEASURED, str(path)]
    environment = {"PYTHONPATH": str(ROOT / "src"), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(run, capture_output=True, text=True, env=environment, timeout=60, check=True)
    message, kilobytes = done.stdout.splitlines()
    assert "at most 50,000,000 are read" in message
    assert int(kilobytes) < 20_000  # the picture itself would have 400 MB


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize(
    ("mode", "name", "megabytes"),
    [
        ("RGB", "photo.jpg", 100),
        pytest.param("L", "scan.png", 150, marks=pytest.mark.slow),
        pytest.param("RGBA", "drawing.png", 350, marks=pytest.mark.slow),
    ],
)
def test_50_megapixels_are_read_in_bounded_memory(mode, name, megabytes, tmp_path):
    picture = Image.new(mode, (8_000, 6_250), "white")
    ImageDraw.Draw(picture).line((2_000, 1_000, 5_000, 1_000, 3_000, 5_000), fill="black", width=500)
    picture.save(tmp_path / name, compress_level=1)
    run = [sys.executable, "-c", MEASURED, str(tmp_path / name)]
    environment = {"PYTHONPATH": str(ROOT / "src"), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(run, capture_output=True, text=True, env=environment, timeout=120, check=True)
    [kilobytes] = done.stdout.splitlines()  # and no refusal
    assert int(kilobytes) < 1_000 * megabytes


@pytest.mark.parametrize("form", ["WEBP", "BMP", "TIFF", "GIF"])
def test_other_formats_give_what_png_gives(form, tmp_path):
    with Image.open(io.BytesIO(digit("L", "PNG"))) as picture:
        picture.save(tmp_path / "other", form, **({"lossless": True} if form == "WEBP" else {}))
    np.testing.assert_array_equal(digit_images.read(tmp_path / "other"), read(digit("L", "PNG"), tmp_path))


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_heic_is_told_how_to_be_converted(brand, tmp_path):
    with pytest.raises(DataError, match=r"digit\.png is HEIC or AVIF.*convert it: `sips .*heif-convert .*digit\.png"):
        read(struct.pack(">I", 24) + b"ftyp" + brand + bytes(500), tmp_path)


def test_text_that_unpacks_to_gigabytes_is_refused(tmp_path):
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000)))
    content = digit("L", "PNG")
    with pytest.raises(DataError, match="is damaged"):
        read(content[:33] + bomb + content[33:], tmp_path)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_picture_is_refused(form, share, tmp_path):
    content = digit("RGB", form)
    with pytest.raises(DataError, match=r"digit\.png is (damaged|not a picture)"):
        read(content[: int(share * len(content))], tmp_path)


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("L", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("RGB", "JPEG"),
        ("RGB", "WEBP"),
        ("L", "TIFF"),
        ("P", "GIF"),
        ("RGB", "BMP"),
    ],
)
def test_a_picture_with_any_bytes_changed_is_read_or_refused(mode, form, tmp_path):
    rng, content = random.Random(0), digit(mode, form)
    for _ in range(100):
        changed = bytearray(content)
        for _ in range(rng.choice([1, 3, 10])):
            changed[rng.randrange(min(len(changed), 200))] = rng.randrange(256)
        try:
            assert read(changed, tmp_path).shape == (784,)
        except DataError as error:
            assert "digit.png" in str(error)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 3), (5000, 2)])
def test_a_picture_of_a_few_pixels_is_refused_or_read(size, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    try:
        assert read(buffer.getvalue(), tmp_path).shape == (784,)
    except DataError as error:
        assert "digit.png" in str(error)


@pytest.mark.parametrize("value", ["nan", "NaN", "", "inf"])
def test_a_pixel_that_is_not_a_number_is_refused(value, tmp_path):
    path = tmp_path / "test.csv"
    path.write_text(",".join(f"pixel{i}" for i in range(784)) + "\n" + ",".join(["0"] * 783 + [value]) + "\n")
    with pytest.raises(DataError, match="line 2, pixel783: got "):
        kaggle.read_test(path)


def test_images_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "test.csv"
    path.write_text(",".join(f"pixel{i}" for i in range(1024)) + "\n" + ",".join(["0"] * 1024) + "\n")
    with pytest.raises(DataError, match="column 785 is 'pixel784', expected 'nothing'"):
        kaggle.read_test(path)
