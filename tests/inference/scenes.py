"""Pictures of digits as people take them, drawn for tests: digits of strokes, and the paper, light and pens about them.

A digit is ink from 0 to 1 on a canvas, float (rows, columns); a scene turns it into a picture.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Ink = np.ndarray
Scene = Callable[[Ink, np.random.Generator], Image.Image]


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[tuple[float, float]]:
    """Points on an ellipse; 0 degrees is to the right, 90 below."""
    angles = np.radians(np.linspace(start, end, 25))
    return [(x + rx * float(np.cos(a)), y + ry * float(np.sin(a))) for a in angles]


DIGITS: dict[int, list[list[tuple[float, float]]]] = {  # strokes in a box of 1 x 1, drawn as MNIST's writers mostly do
    0: [_arc(0.5, 0.5, 0.36, 0.5, 0, 360)],
    1: [[(0.54, 0.0), (0.46, 1.0)]],
    2: [[*_arc(0.48, 0.26, 0.32, 0.26, 190, 390), (0.1, 0.98), (0.92, 0.96)]],
    3: [[*_arc(0.45, 0.25, 0.32, 0.25, 200, 450), *_arc(0.45, 0.74, 0.37, 0.26, -90, 160)]],
    4: [[(0.25, 0.02), (0.14, 0.55), (0.82, 0.52)], [(0.76, 0.05), (0.68, 1.0)]],
    5: [[(0.85, 0.03), (0.3, 0.05), (0.24, 0.45), *_arc(0.42, 0.7, 0.36, 0.28, -110, 150)]],
    6: [[(0.66, 0.0), (0.38, 0.25), *_arc(0.5, 0.72, 0.32, 0.27, 190, 545)]],
    7: [[(0.12, 0.08), (0.85, 0.05), (0.42, 1.0)]],
    8: [[*_arc(0.5, 0.25, 0.27, 0.25, 90, 450), *_arc(0.5, 0.75, 0.33, 0.25, -90, 270)]],
    9: [[*_arc(0.47, 0.28, 0.31, 0.28, 0, 360), (0.76, 0.4), (0.68, 1.0)]],
}
FIVE_IN_TWO = [[(0.38, 0.16), (0.24, 0.45), *_arc(0.42, 0.7, 0.36, 0.28, -110, 150)], [(0.48, 0.03), (0.9, 0.0)]]


def draw(
    strokes: list[list[tuple[float, float]]],
    *,
    canvas: tuple[int, int] = (240, 200),
    height: float = 0.5,
    middle: tuple[float, float] = (0.5, 0.5),
    pen: float = 0.1,
    slant: float = 0.0,
) -> Ink:
    """Draw strokes on a canvas (rows, columns); height and middle as shares of it, the pen as a share of the height."""
    scale = 4  # drawn larger, then reduced, for smooth edges
    rows, columns = canvas
    tall = height * rows
    picture = Image.new("L", (scale * columns, scale * rows), 0)
    pencil, radius = ImageDraw.Draw(picture), scale * max(1.0, pen * tall) / 2
    for stroke in strokes:
        points = [
            (
                scale * (middle[1] * columns + tall * 0.8 * (x - 0.5 + slant * (0.5 - y))),
                scale * (middle[0] * rows + tall * (y - 0.5)),
            )
            for x, y in stroke
        ]
        pencil.line(points, fill=255, width=round(2 * radius))
        for x, y in points:
            pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(picture.reduce(scale), float) / 255


def on(paper: np.ndarray | float, ink: Ink, colour: float = 40) -> np.ndarray:
    """Write on paper of some brightness."""
    return paper * (1 - ink) + colour * ink


def picture(brightness: np.ndarray) -> Image.Image:
    return Image.fromarray(brightness.clip(0, 255).round().astype(np.uint8))


def _lines(shape: tuple[int, int], spacing: float, width: float, offset: float, tilt: float) -> Ink:
    """Horizontal lines, 1 in their middle, with soft edges."""
    rows, columns = np.indices(shape)
    distance = np.abs((rows + tilt * columns - offset + spacing / 2) % spacing - spacing / 2)
    return np.clip(width / 2 + 0.5 - distance, 0, 1)


def grain(shape: tuple[int, int], rng: np.random.Generator, strength: float = 2) -> np.ndarray:
    return rng.normal(0, strength, shape)


def plain(ink: Ink, rng: np.random.Generator) -> Image.Image:
    return picture(on(rng.uniform(190, 255), ink, rng.uniform(20, 90)) + grain(ink.shape, rng))


def ruled(ink: Ink, rng: np.random.Generator) -> Image.Image:
    rows = ink.shape[0]
    lines = _lines(
        ink.shape, rows * rng.uniform(0.15, 0.6), rng.uniform(1, 3), rng.uniform(0, rows), rng.uniform(-0.03, 0.03)
    )
    paper = on(rng.uniform(225, 250), lines, rng.uniform(110, 200))
    return picture(on(paper, ink, rng.uniform(20, 80)) + grain(ink.shape, rng))


def squared(ink: Ink, rng: np.random.Generator) -> Image.Image:
    spacing, width, tilt = ink.shape[0] * rng.uniform(0.1, 0.4), rng.uniform(1, 2.5), rng.uniform(-0.02, 0.02)
    across = _lines(ink.shape, spacing, width, rng.uniform(0, spacing), tilt)
    along = _lines(ink.shape[::-1], spacing, width, rng.uniform(0, spacing), -tilt).T
    paper = on(rng.uniform(225, 250), np.maximum(across, along), rng.uniform(120, 200))
    return picture(on(paper, ink, rng.uniform(20, 80)) + grain(ink.shape, rng))


def margin_line(ink: Ink, rng: np.random.Generator) -> Image.Image:
    line = _lines(ink.shape[::-1], 1e6, 2.5, ink.shape[1] * rng.uniform(0.04, 0.12), rng.uniform(-0.02, 0.02)).T
    return picture(on(on(rng.uniform(225, 250), line, rng.uniform(90, 160)), ink, 40) + grain(ink.shape, rng))


def on_a_table(ink: Ink, rng: np.random.Generator) -> Image.Image:
    """A sheet, turned a little, on a table that shows at one to four sides."""
    rows, columns = ink.shape
    show = rng.uniform(0.05, 0.14, 4) * (rng.random(4) < 0.7)
    if not show.any():
        show[rng.integers(4)] = 0.1
    top, right, bottom, left = show * [rows, columns, rows, columns]
    tilt = rng.uniform(-0.04, 0.04)
    y, x = np.indices(ink.shape)
    y, x = y + tilt * (x - columns / 2), x - tilt * (y - rows / 2)
    edge = np.inf  # beyond the picture at sides where no table shows
    inside = (
        (y >= (top or -edge))
        & (y <= rows - (bottom or -edge))
        & (x >= (left or -edge))
        & (x <= columns - (right or -edge))
    )
    table = rng.uniform(40, 150) + 12 * np.sin(y / rng.uniform(2, 8)) + grain(ink.shape, rng, 6)
    return picture(np.where(inside, on(rng.uniform(200, 250), ink, 40) + grain(ink.shape, rng), table))


def with_bars(ink: Ink, rng: np.random.Generator) -> Image.Image:
    """A screenshot with black bars above and below, or at both sides, or at one of the four."""
    brightness = on(rng.choice([255.0, 240.0, 200.0]), ink, rng.uniform(0, 60))
    rows, columns = ink.shape
    high, wide = (round(side * rng.uniform(0.05, 0.18)) for side in (rows, columns))
    kind = rng.integers(4)
    if kind in (0, 2):
        brightness[:high] = 0
    if kind == 0:
        brightness[rows - high :] = 0
    if kind in (1, 3):
        brightness[:, :wide] = 0
    if kind == 1:
        brightness[:, columns - wide :] = 0
    return picture(brightness)


def in_shadow(ink: Ink, rng: np.random.Generator) -> Image.Image:
    """Light that falls off, and the edge of a shadow, soft or rather hard, across the picture."""
    rows, columns = np.indices(ink.shape) / max(ink.shape)
    angle = rng.uniform(0, 2 * np.pi)
    across = np.cos(angle) * (columns - 0.45) + np.sin(angle) * (rows - 0.5) + rng.uniform(-0.15, 0.15)
    light = 1 - rng.uniform(0.2, 0.5) / (1 + np.exp(-across / rng.uniform(0.01, 0.2)))
    return picture(on(rng.uniform(210, 250), ink, 40) * light + grain(ink.shape, rng))


def light_on_dark(ink: Ink, rng: np.random.Generator) -> Image.Image:
    return picture(on(rng.uniform(0, 60), ink, rng.uniform(200, 255)) + grain(ink.shape, rng))


def with_fragments(ink: Ink, rng: np.random.Generator) -> Image.Image:
    """Pieces of the rows above or below, or of a neighbour, cut off by the picture's edge."""
    other = draw(DIGITS[int(rng.integers(10))], canvas=ink.shape, pen=0.1)
    rows, columns = ink.shape
    used_rows, used_columns = np.flatnonzero((other > 0.5).any(1)), np.flatnonzero((other > 0.5).any(0))
    share = rng.uniform(0.1, 0.4)  # of the neighbour that is seen
    tall, wide = np.ptp(used_rows), np.ptp(used_columns)
    down, right = [
        (rows - used_rows[0] - share * tall, rng.uniform(-0.3, 0.3) * columns),
        (-used_rows[-1] + share * tall, rng.uniform(-0.3, 0.3) * columns),
        (rng.uniform(-0.15, 0.15) * rows, columns - used_columns[0] - share * wide),
        (rng.uniform(-0.15, 0.15) * rows, -used_columns[-1] + share * wide),
    ][rng.integers(4)]
    moved = np.asarray(
        Image.fromarray((255 * other).astype(np.uint8)).transform(
            (columns, rows), Image.Transform.AFFINE, (1, 0, -right, 0, 1, -down)
        ),
        float,
    )
    return plain(np.maximum(ink, moved / 255), rng)


SCENES: dict[str, Scene] = {
    "plain": plain,
    "light on dark": light_on_dark,
    "ruled": ruled,
    "squared": squared,
    "margin line": margin_line,
    "table": on_a_table,
    "bars": with_bars,
    "shadow": in_shadow,
    "fragments": with_fragments,
}


def scribble(rng: np.random.Generator) -> Ink:
    points = np.cumsum(rng.normal(0, 0.25, (60, 2)), axis=0)
    points = (points - points.min(0)) / np.ptp(points, axis=0)
    return draw([[(float(x), float(y)) for x, y in points]], pen=0.05)


def block(rng: np.random.Generator) -> Ink:
    ink = np.zeros((240, 200))
    top, left = rng.integers(30, 80, 2)
    ink[top : top + rng.integers(60, 130), left : left + rng.integers(50, 100)] = 1
    return ink


def disc(rng: np.random.Generator) -> Ink:
    rows, columns = np.indices((240, 200))
    return np.clip(rng.uniform(25, 70) - np.hypot(rows - 120, columns - 100), 0, 1)


def checks(rng: np.random.Generator) -> Ink:
    rows, columns = np.indices((240, 200)) // rng.integers(10, 40)
    return ((rows + columns) % 2).astype(float)


def hatching(rng: np.random.Generator) -> Ink:
    ink = np.zeros((240, 200))
    ink[60:180, 40:160] = _lines((120, 120), rng.uniform(8, 20), 3, 0, rng.uniform(0.5, 1))
    return ink


def cross(rng: np.random.Generator) -> Ink:
    tilt = rng.uniform(-0.1, 0.1)
    return draw([[(0, 0.5 + tilt), (1, 0.5 - tilt)], [(0.5 - tilt, 0), (0.5 + tilt, 1)]], pen=0.1)


def spiral(rng: np.random.Generator) -> Ink:
    turns = rng.uniform(2.5, 4)
    t = np.linspace(0, 1, 150)
    x, y = (0.5 + 0.5 * t * wave(2 * np.pi * turns * t) for wave in (np.cos, np.sin))
    return draw([list(zip(x.tolist(), y.tolist()))], pen=0.06)


def face(rng: np.random.Generator) -> Ink:
    eyes = [[(x, 0.35), (x, 0.4)] for x in rng.uniform(0.3, 0.4) + np.array([0, 0.3])]
    return draw([_arc(0.5, 0.5, 0.5, 0.5, 0, 360), *eyes, _arc(0.5, 0.55, 0.25, 0.25, 20, 160)], pen=0.07)


def empty(rng: np.random.Generator) -> Ink:
    return np.zeros((240, 200))


NO_DIGITS: dict[str, Callable[[np.random.Generator], Ink]] = {
    "scribble": scribble,
    "block": block,
    "disc": disc,
    "checks": checks,
    "hatching": hatching,
    "cross": cross,
    "spiral": spiral,
    "face": face,
}
