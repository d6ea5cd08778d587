"""A picture file becomes brightness: PNG, JPEG, WebP, BMP, TIFF or GIF, of any mode, in bounded memory."""

import os
import shlex
import warnings
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from numnist.common.errors import DataError

MAX_PIXELS = 50_000_000  # what phones make; decoded they are 200 MB, and their parts are reduced one after another
LARGEST_SIDE, SMALLEST_SIDE = 512, 224  # what is worked on; 224 is eight times an image of MNIST
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_NAMES = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_STRIP = 1_000_000  # pixels that are converted in one go
_CONVERT_HEIC = (
    "is HEIC or AVIF, which is not read; convert it: `sips -s format jpeg IN --out out.jpg` on a Mac, "
    "`heif-convert IN out.jpg` on Linux (package libheif-examples), or set the phone to save the most compatible format"
)


def read_brightness(path: Path) -> np.ndarray:
    """Return a picture's brightness, float64 (rows, columns) from 0 to 255, transparency filled in.

    The longer side is brought to 512 or less and, by repeating pixels, to more than 112. Of several frames or pages the
    first is read. Whatever is no such picture is a DataError with the path and the way out.
    """
    if not os.path.isfile(path):  # Path.is_file raises if a name is too long
        raise DataError(f"{path} is not a file; give the path of a picture: {_NAMES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning; its harder limit raises
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    _refuse_size(path, f"{image.width:,} x {image.height:,}")
                orientation = image.getexif()  # read before the pixels, which may replace the file's description
                return _brightness(_turned(_reduced(image), orientation))
    except Image.DecompressionBombError:
        _refuse_size(path, "hundreds of millions of")
    except UnidentifiedImageError:
        raise DataError(f"{path} {_what_it_is(path)}") from None
    except DataError:
        raise
    except Exception as error:  # damaged bytes surface as a dozen types, from Pillow, struct, zlib and others
        raise DataError(f"{path} is damaged or cannot be read ({error}); save it again as PNG or JPEG") from None


def _refuse_size(path: Path, size: str) -> NoReturn:
    raise DataError(f"{path} has {size} pixels, and at most {MAX_PIXELS:,} are read; scale it down to 1,000 a side")


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        heic = file.read(12)[4:8] == b"ftyp"
    if not heic:
        return f"is not a picture in {_NAMES}; save it as one of these"
    return _CONVERT_HEIC.replace("IN", shlex.quote(str(path)))


def _turned(image: Image.Image, exif: Image.Exif) -> Image.Image:
    image.getexif().update(exif)
    return ImageOps.exif_transpose(image)


def _reduced(image: Image.Image) -> Image.Image:
    """Bring a picture of any mode to L or, if it can be transparent, RGBa (premultiplied), and to a working size."""
    image.draft("L", (2 * LARGEST_SIDE, 2 * LARGEST_SIDE))  # a JPEG is decoded at a half, a quarter or an eighth
    image.load()
    factor = max(1, -(-max(image.size) // LARGEST_SIDE))
    white = _white(image)
    rows = factor * max(1, _STRIP // image.width // factor)
    strips = [
        np.asarray(_simple(image.crop((0, top, image.width, min(image.height, top + rows))), white).reduce(factor))
        for top in range(0, image.height, rows)
    ]
    return Image.fromarray(np.concatenate(strips), "RGBa" if strips[0].ndim == 3 else "L")


def _white(image: Image.Image) -> int:
    """Return the number that stands for white: the end of the least range in use that holds all of a picture."""
    brightest = np.max(image.getextrema()) if image.mode.startswith(("I", "F")) else 255
    return next((end for end in (1, 255, 4095) if brightest <= end), 65535)


def _simple(image: Image.Image, white: int) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        pixels = np.nan_to_num(np.asarray(image, np.float64)).clip(0, white)
        image = Image.fromarray((pixels * (255 / white)).round().astype(np.uint8))
    return image.convert("RGBA").convert("RGBa") if image.has_transparency_data else image.convert("L")


def _brightness(image: Image.Image) -> np.ndarray:
    repeat = max(1, SMALLEST_SIDE // max(image.size))
    pixels = np.asarray(image, np.float64).repeat(repeat, axis=0).repeat(repeat, axis=1)
    if image.mode == "L":
        return pixels
    light, opacity = pixels[..., :3] @ [0.299, 0.587, 0.114], pixels[..., 3] / 255  # weights of ITU-R 601, as Pillow's
    return light + (1 - opacity) * _behind(light, opacity)


def _behind(light: np.ndarray, opacity: np.ndarray) -> float:
    """Choose the brightness to put behind a transparent picture, from its light as premultiplied with its opacity.

    If the opaque part has both ink and paper, it is the paper; if it is all of one brightness, that is ink, and
    what lies behind it is white or black, whichever is further off.
    """
    solid = light[opacity > 0.5] / opacity[opacity > 0.5]
    if solid.size == 0:
        return 255.0
    darkest, middle, lightest = np.percentile(solid, [1, 50, 99])
    if lightest - darkest > 96:
        return float(middle)
    return 255.0 if middle < 128 else 0.0
