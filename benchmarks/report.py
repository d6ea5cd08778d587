"""The benchmark's two outputs: results.json, and the same as tables in results.md."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import WORKS
from benchmarks.contestants import CONTESTANTS, OURS

NOTES = {
    1: "Every contestant uses all cores, as it does by itself. numnist also measures loss and accuracy on the way; the "
    "peers do not.",
    2: "Who trains no stacks trains one network after another: the figure is that of one network.",
    3: "numnist: all trials trained by the train stage's code, layout, curves, validation images and store. Peers: "
    "their time for an iteration at each hidden size, measured over about a second (at most 50 iterations) in each "
    "round, times the iterations of all jobs, one after another; start-up, compilation, curves and validation are left "
    "out. JAX vmap: one program for each hidden size, every network in it trained once, for the most iterations.",
    4: "h = 10; images and threads grow with a stack of 12, or one network for PyTorch. JAX vmap is left out at 1,000 "
    "networks: each of its arrays for the first layer would take 2.2 GB.",
    5: "The project's own commands in a fresh clone. `dvc repro` with all trials stored takes everything "
    "but the training; that and work 3's figure make the whole. Downloads are left out. Tracking a trial: a run with "
    "curves and files in MLflow.",
}


@dataclass(frozen=True)
class Figure:
    """One measured figure: its runs in ms, and what belongs beside it."""

    work: int
    label: str
    contestant: str
    runs: Sequence[float]
    peak_mb: float | None = None  # the most memory that the process held
    of_limit: float | None = None  # the limit's time over the median: the products with X alone, at the peak
    share: float | None = None  # of a whole

    @property
    def median(self) -> float:
        """The median of the runs, in ms."""
        return statistics.median(self.runs)


def write(directory: Path, name: str, figures: Sequence[Figure], about: Mapping[str, Any]) -> None:
    """Write <name>.json and <name>.md. `about`: images, machine, versions, agreement, peak_gflops."""
    rows = [_row(figure, _ratios(figure, figures)) for figure in figures]
    content = json.dumps({**about, "rows": rows}, indent=2, ensure_ascii=False)
    (directory / f"{name}.json").write_text(content + "\n", encoding="utf-8")
    (directory / f"{name}.md").write_text(_markdown(figures, about), encoding="utf-8")


def _row(figure: Figure, ratios: Mapping[str, float]) -> dict[str, Any]:
    row: dict[str, Any] = {"work": figure.work, "case": figure.label, "contestant": figure.contestant}
    row |= {"median_ms": figure.median, "runs": list(figure.runs), "ratios": dict(ratios)}
    more = {"peak_mb": figure.peak_mb, "of_limit": figure.of_limit, "share": figure.share}
    return row | {name: value for name, value in more.items() if value is not None}


def _ratios(figure: Figure, figures: Sequence[Figure]) -> dict[str, float]:
    """Say how many times numnist's time in each mode the figure takes, in the same case."""
    if figure.work == 5:
        return {}  # no peer does the same
    same = [other for other in figures if (other.work, other.label) == (figure.work, figure.label)]
    return {other.contestant: figure.median / other.median for other in same if other.contestant in OURS}


def _markdown(figures: Sequence[Figure], about: Mapping[str, Any]) -> str:
    peaks = ", ".join(f"{peak['gflops']:.0f} ({peak['mode']}, {peak['threads']} threads)" for peak in about["peaks"])
    left = ", ".join(f"{share:.1%} of {images:,} images" for images, share in about["pixels_left"].items())
    lines = ["# numnist and its peers", "", f"Made by `make bench`. Images: {about['images']}.", ""]
    lines += [f"- {name}: {value}" for name, value in {**about["machine"], **about["versions"]}.items()]
    lines += [
        f"- peak of a dense matrix product, float64 for exact and float32 for fast, GFLOP/s: {peaks}",
        f"- pixels left, which are not blank: {left}",
        "",
    ]
    lines += [
        "A figure is the median of its runs (least to most), then how many times exact's and fast's time it is.",
        "",
    ]
    for work in sorted({figure.work for figure in figures}):
        lines += [f"## {work}. {WORKS[work]}", "", NOTES[work], "", *_table(work, figures), ""]
        if work in (2, 4):
            lines += [*_table_of_limits(work, figures), ""]
    worst = ", ".join(f"{CONTESTANTS[name].title} {value:.0e}" for name, value in about["agreement"].items())
    lines += ["## Agreement", "", "Largest difference from the notebook's float64 weights after the same steps from "
              f"the same start: {worst}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _table(work: int, figures: Sequence[Figure]) -> list[str]:
    """Make a table with a line for each contestant and a column for each case."""
    mine = [figure for figure in figures if figure.work == work]
    cases = list(dict.fromkeys(figure.label for figure in mine))
    at = {(figure.contestant, figure.label): figure for figure in mine}
    lines = ["| | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]
    for name in [name for name in CONTESTANTS if any(figure.contestant == name for figure in mine)]:
        trials = [_trial(at[name, case], figures) if (name, case) in at else "" for case in cases]
        lines.append(f"| {CONTESTANTS[name].title} | " + " | ".join(trials) + " |")
    return lines


def _trial(figure: Figure, figures: Sequence[Figure]) -> str:
    text = f"{_short(figure.median)} ({_short(min(figure.runs))} to {_short(max(figure.runs))})"
    ratios = _ratios(figure, figures)
    if figure.share is not None:
        return f"{text}, {100 * figure.share:.1f}%"
    if figure.contestant in OURS or not ratios:
        return text
    return text + "; " + " / ".join(f"{ratios[mode]:.1f}x" for mode in OURS if mode in ratios)


def _table_of_limits(work: int, figures: Sequence[Figure]) -> list[str]:
    """Set our time beside its limit: the two products with X over the pixels left, at the peak; and memory."""
    lines = ["| | case | share of the limit | memory, MB |", "|---|---|---|---|"]
    for figure in figures:
        if figure.work == work and figure.of_limit and figure.peak_mb:
            title = CONTESTANTS[figure.contestant].title
            lines.append(f"| {title} | {figure.label} | {figure.of_limit:.0%} | {figure.peak_mb:.0f} |")
    return lines


def _short(value: float) -> str:
    """Write a number of ms with two or three figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
