"""The report's figures as inline SVG: plain functions from numbers to text, styled by the page's style sheet.

By hand, since a plotting library's figures know neither dark mode nor hints, and differ between its versions.

Colours are names of classes, so that one figure serves light, dark and paper. Lengths are CSS pixels at the size
that a figure is drawn for; the page scales it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

Array = np.ndarray
COLOURS = 6  # of the style sheet; with more lines they repeat


@dataclass(frozen=True)
class Line:
    """One curve, x and y (k,); `colour` counts the palette's colours, `kind` is mean, or seed (thin)."""

    x: Array
    y: Array
    colour: int
    kind: str = "mean"
    dashed: bool = False


@dataclass(frozen=True)
class Frame:
    """A plot's inside: where data coordinates lie on the drawing, and how values map to it."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    log_y: bool = False

    def x(self, value: Array | float) -> Array:
        """Return where x values lie."""
        low, high = self.x_range
        return self.left + (np.asarray(value) - low) / (high - low) * (self.right - self.left)

    def y(self, value: Array | float) -> Array:
        """Return where y values lie; below the range of a logarithmic axis they lie on its floor."""
        low, high = self.y_range
        share = (np.asarray(value) - low) / (high - low)
        if self.log_y:
            share = np.log(np.maximum(value, low) / low) / math.log(high / low)
        return self.bottom - share * (self.bottom - self.top)


@dataclass(frozen=True)
class Axes:
    """What stands at the axes of a plot, of which the vertical one is logarithmic; `label` writes its values."""

    title: str
    x_title: str
    y_title: str
    y_range: tuple[float, float]
    label: Callable[[float], str]


def curves(lines: Sequence[Line], axes: Axes) -> Markup:
    """Draw curves over iterations; what comes last lies on top."""
    frame = Frame(52, 30, 336, 208, (0, max(float(line.x[-1]) for line in lines)), axes.y_range, log_y=True)
    parts = []
    for line in lines:
        style = f"line c{line.colour % COLOURS} {line.kind}" + (" dashed" if line.dashed else "")
        parts.append(_tag("polyline", points=_points(frame, line.x, line.y), class_=style))
    return _plot(axes, frame, _even_ticks(*frame.x_range), parts, "over")


def dots(groups: Sequence[tuple[str, Sequence[float]]], axes: Axes) -> Markup:
    """Draw a column of dots per group, and a line through the groups' means."""
    frame = Frame(52, 30, 336, 208, (-0.5, len(groups) - 0.5), axes.y_range, log_y=True)
    parts = []
    step = -(-7 * max(len(name) for name, _ in groups) * len(groups) // 284)  # names of 7 pixels a letter must fit
    for i, (name, values) in enumerate(groups):
        x = float(frame.x(i))
        parts += [_tag("circle", cx=x, cy=float(y), r=3, class_="trial") for y in frame.y(np.asarray(values))]
        if i % step == 0:
            parts.append(_text(x, frame.bottom + 17, name, "tick", "middle"))
    means = np.array([math.fsum(values) / len(values) for _, values in groups])
    parts.append(_tag("polyline", points=_points(frame, np.arange(len(groups)), means), class_="line c0"))
    return _plot(axes, frame, [], parts, "by")


@dataclass(frozen=True)
class Cell:
    """One field of a heat map: what is printed, how dark it is (0 to 1; none: no value), and whether it is outlined."""

    text: str
    shade: float | None
    outlined: bool = False
    hint: str = ""


def heat_map(
    cells: Sequence[Sequence[Cell]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    row_title: str,
    column_title: str,
    size: tuple[int, int] = (88, 46),
) -> Markup:
    """Draw rows x columns of shaded fields, each with its value if that fits, and as many names as fit."""
    width, height = size
    turned = 7 * max(map(len, columns)) > width  # a letter takes 7 pixels
    left: float = max(52, 30 + 7 * max(map(len, rows)))
    top = 30 if title else 8
    right, bottom = left + width * len(columns), top + height * len(rows)
    below = 7 * max(map(len, columns)) if turned else 10
    parts = [_text(left, 14, title, "title", "start")] if title else []
    outlines = []
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            x, y = left + j * width, top + i * height
            parts.append(_cell(cell, x, y, width, height))
            if cell.outlined:
                outlines.append(
                    _tag("rect", x=x + 1, y=y + 1, width=width - 3, height=height - 3, rx=3, class_="outline")
                )
    parts += outlines
    step = -(-14 // min(width if turned else 14, height))
    for i, name in list(enumerate(rows))[::step]:
        parts.append(_text(left - 8, top + (i + 0.5) * height + 4, name, "tick", "end"))
    for j, name in list(enumerate(columns))[::step]:
        x = left + (j + 0.5) * width
        parts.append(
            _vertical_text(x + 4, bottom + 8, name, "tick", "end")
            if turned
            else _text(x, bottom + 16, name, "tick", "middle")
        )
    parts.append(_text((left + right) / 2, bottom + below + 24, column_title, "axis", "middle"))
    parts.append(_vertical_text(12, (top + bottom) / 2, row_title))
    return _svg(right + 6, bottom + below + 32, title or f"{row_title} by {column_title}", parts)


@dataclass(frozen=True)
class Bar:
    """One bin of a reliability diagram, all in shares but the count of images."""

    bounds: tuple[float, float]
    confidence: float
    accuracy: float
    interval: tuple[float, float]
    images: int


def reliability(bars: Iterable[Bar]) -> Markup:
    """Draw accuracy per bin of confidence with 95% intervals, against the diagonal of perfect calibration."""
    frame = Frame(54, 12, 406, 292, (0, 1), (0, 1))
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    x_title, y_title = "confidence: the probability given to the answer", "share of right predictions"
    parts = _axes(frame, ticks, ticks, percent, x_title, y_title, percent)
    parts.append(_tag("line", x1=frame.left, y1=frame.bottom, x2=frame.right, y2=frame.top, class_="diagonal"))
    for bar in bars:
        left, right, middle = (float(frame.x(value)) for value in (*bar.bounds, bar.confidence))
        y, low, high = (float(frame.y(value)) for value in (bar.accuracy, *bar.interval))
        hint = f"{bar.images:,} images, mean confidence {bar.confidence:.1%}, {bar.accuracy:.1%} right"
        shape = {"x": left + 1.5, "y": y, "width": right - left - 3, "height": frame.bottom - y}
        parts += [
            _tag("rect", _tag("title", hint), **shape, class_="bar"),
            _tag("line", x1=middle, y1=low, x2=middle, y2=high, class_="whisker"),
            _tag("circle", cx=middle, cy=y, r=3.2, class_="dot"),
        ]
    return _svg(416, 334, "Share of right predictions by confidence", parts)


@dataclass(frozen=True)
class Interval:
    """A measured share with its interval, one row of a dot plot."""

    name: str
    share: float
    interval: tuple[float, float]


def intervals(rows: Sequence[Interval], x_title: str) -> Markup:
    """Draw shares as dots with their 95% intervals on one axis, a row each."""
    lows, highs = zip(*(row.interval for row in rows))
    margin = 0.06 * (max(highs) - min(lows))
    x_range = max(0.0, min(lows) - margin), min(1.0, max(highs) + margin)
    frame = Frame(10, 4, 390, 12 + 44 * len(rows), x_range, (0, 1))
    parts = []
    for tick in _even_ticks(*x_range, 8):
        x = float(frame.x(tick))
        parts.append(_tag("line", x1=x, y1=frame.top, x2=x, y2=frame.bottom, class_="grid"))
        parts.append(_text(x, frame.bottom + 17, percent(tick), "tick", "middle"))
    for i, row in enumerate(rows):
        y = 38 + 44 * i
        low, middle, high = (float(frame.x(value)) for value in (row.interval[0], row.share, row.interval[1]))
        anchor, beside = ("start", low) if middle < (frame.left + frame.right) / 2 else ("end", high)
        parts += [
            _text(beside, y - 12, f"{row.name}: {row.share:.2%}", "name", anchor),
            _tag("line", x1=low, y1=y, x2=high, y2=y, class_=f"range c{i}"),
            _tag("circle", cx=middle, cy=y, r=4.5, class_=f"point c{i}"),
        ]
    parts.append(_text((frame.left + frame.right) / 2, frame.bottom + 35, x_title, "axis", "middle"))
    return _svg(400, frame.bottom + 42, x_title, parts)


def percent(share: float) -> str:
    """Write a share of an axis."""
    return f"{100 * share:.4g}%"


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten in a range; the powers alone if that would be many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 2_000 else (1,)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high * (1 + 1e-9)]


def _even_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return about so many round numbers in a range."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return [round(step * k, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _plot(axes: Axes, frame: Frame, x_ticks: Sequence[float], parts: Sequence[Markup], word: str) -> Markup:
    """Put axes and a title around what is drawn in a frame."""
    ticks = log_ticks(*axes.y_range)
    around = _axes(frame, x_ticks, ticks, axes.label, axes.x_title, axes.y_title)
    title = _text(frame.left, 14, axes.title, "title", "start")
    return _svg(346, 246, f"{axes.title}: {axes.y_title} {word} {axes.x_title}", [*around, *parts, title])


def _axes(
    frame: Frame,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    y_label: Callable[[float], str],
    x_title: str,
    y_title: str,
    x_label: Callable[[float], str] = "{:g}".format,
) -> list[Markup]:
    parts = []
    for tick in y_ticks:
        y = float(frame.y(tick))
        parts += [
            _tag("line", x1=frame.left, y1=y, x2=frame.right, y2=y, class_="grid"),
            _text(frame.left - 6, y + 4, y_label(tick), "tick", "end"),
        ]
    for tick in x_ticks:
        x = float(frame.x(tick))
        parts += [
            _tag("line", x1=x, y1=frame.bottom, x2=x, y2=frame.bottom + 4, class_="base"),
            _text(x, frame.bottom + 17, x_label(tick), "tick", "middle"),
        ]
    parts.append(_tag("line", x1=frame.left, y1=frame.bottom, x2=frame.right, y2=frame.bottom, class_="base"))
    parts.append(_text((frame.left + frame.right) / 2, frame.bottom + 34, x_title, "axis", "middle"))
    parts.append(_vertical_text(10, (frame.top + frame.bottom) / 2, y_title))
    return parts


def _cell(cell: Cell, x: float, y: float, width: float, height: float) -> Markup:
    shape: dict[str, Any] = {"x": x, "y": y, "width": width - 1, "height": height - 1, "rx": 3}
    if cell.shade is None:
        field, ink = _tag("rect", **shape, class_="empty"), "none"
    else:
        field = _tag("rect", **shape, class_="field", style=f"--shade:{100 * cell.shade:.0f}%")
        ink = "value high" if cell.shade > 0.56 else "value low"
    hint = _tag("title", cell.hint) if cell.hint else Markup("")
    fits = width > 6 * len(cell.text) and height > 14
    value = _text(x + (width - 1) / 2, y + height / 2 + 4, cell.text, ink, "middle") if fits else Markup("")
    return _tag("g", hint + field + value)


def _points(frame: Frame, x: Array, y: Array) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(frame.x(x), frame.y(y), strict=True))


def _text(x: float, y: float, content: str, style: str, anchor: str) -> Markup:
    return _tag("text", content, x=x, y=y, class_=style, text_anchor=anchor)


def _vertical_text(x: float, y: float, content: str, style: str = "axis", anchor: str = "middle") -> Markup:
    transform = f"translate({x:g} {y:g}) rotate(-90)"
    return _tag("text", escape(content), class_=style, text_anchor=anchor, transform=transform)


def _svg(width: float, height: float, label: str, parts: Sequence[Markup]) -> Markup:
    return _tag(
        "svg",
        Markup("\n").join(parts),
        viewBox=f"0 0 {width:g} {height:g}",
        style=f"max-width:{1.25 * width:.0f}px",
        role="img",
        aria_label=label,
    )


def _tag(name: str, content: Markup | str = "", **attributes: str | float) -> Markup:
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}>{escape(content)}</{name}>")  # noqa: S704  (every part is escaped)


def _value(value: str | float) -> str:
    return str(escape(value)) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
