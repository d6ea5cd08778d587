"""Measure numnist and its peers: `python -m benchmarks.run [--quick] [--work 1,2,3,4,5]`; `make bench` does it all.

Every measurement is a process of its own. The contestants take turns, round after round.
"""

import argparse
import importlib.metadata
import itertools
import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import images, overheads, report
from benchmarks.cases import QUICK, WORKS, Case, Row, Sizes, limit_gflop, rows
from benchmarks.contestants import CONTESTANTS, OURS, available
from benchmarks.processes import task
from benchmarks.report import Figure
from numnist.config import cli
from numnist.config.schema import TRAINING_KEYS, Params
from pipeline import ROOT

REFERENCE = "notebook"
CHECK = {"images": 2_000, "hidden_size": 10, "networks": 2}
CHECK_STEPS = 20
Peaks = dict[tuple[str, int], float]  # GFLOP/s of a dense product, by arithmetic and threads
TOLERANCE = 1e-4  # largest difference of a weight; the weights themselves must have moved a hundred times as far


def main() -> None:
    """Check that all compute the same, measure, and write results.md and results.json (a part of it: partial.*)."""
    works, sizes = _options()
    names, cores = available(), len(os.sched_getaffinity(0))
    params = cli.params()
    trials = _trials(params, sizes)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "images.npz"
        origin = images.write_images(file, ROOT, params)
        print(f"images: {origin}", flush=True)
        agreement = check(names, file, cores)
        table = rows(works, sizes, trials, names, cores)
        peaks, measured = measure(table, sizes, file)
        left = pixels_left(table, file)
        figures = [_figure(row, measured, peaks, left) for row in table]
        if 3 in works or 5 in works:
            figures += sweeps(works, sizes, file, cores, trials)
    about = {"images": origin, "machine": _machine(cores), "versions": _versions(), "agreement": agreement}
    about["pixels_left"] = left
    about["peaks"] = [{"mode": mode, "threads": threads, "gflops": peak} for (mode, threads), peak in peaks.items()]
    name = "results" if sizes == Sizes() and len(works) == len(WORKS) else "partial"
    report.write(ROOT / "benchmarks", name, figures, about)
    print((ROOT / "benchmarks" / f"{name}.md").read_text(encoding="utf-8"))


def check(names: Sequence[str], file: Path, cores: int) -> dict[str, float]:
    """Let all train the same networks; return the largest difference of each from the float64 one, or stop the run."""
    import numpy as np

    reached: dict[str, list[np.ndarray]] = {}
    for name in [REFERENCE, *(name for name in names if name != REFERENCE)]:
        out = file.parent / f"{name}.npz"
        task(ROOT, "check", name, threads=cores, file=str(file), steps=CHECK_STEPS, out=str(out), **CHECK)
        with np.load(out) as archive:
            reached[name] = [archive[array] for array in archive.files]
    out = file.parent / "start.npz"
    task(ROOT, "check", REFERENCE, threads=cores, file=str(file), steps=0, out=str(out), **CHECK)
    with np.load(out) as archive:
        moved = min(float(abs(archive[array] - end).max()) for array, end in zip(archive.files, reached[REFERENCE]))
    if moved < 100 * TOLERANCE:
        raise SystemExit(
            f"the check says nothing: some weights moved by no more than {moved:.1e} in {CHECK_STEPS} steps"
        )
    far = {
        name: max(float(abs(a - b).max()) for a, b in zip(arrays, reached[REFERENCE]))
        for name, arrays in reached.items()
    }
    for name, difference in far.items():
        print(f"after {CHECK_STEPS} steps {CONTESTANTS[name].title} is within {difference:.1e} of float64", flush=True)
    if wrong := [name for name, difference in far.items() if not difference <= TOLERANCE]:
        raise SystemExit(
            f"{', '.join(wrong)}: other weights than {REFERENCE}'s, by more than {TOLERANCE}; nothing was measured"
        )
    return far


def measure(table: Sequence[Row], sizes: Sizes, file: Path) -> tuple[Peaks, dict[Case, list[dict[str, float]]]]:
    """Measure the peaks, and each case that the rows need once a round; every other round goes backwards."""
    cases = list(dict.fromkeys(case for row in table for case, _ in row.parts))
    peaks = {(case.contestant, case.threads): 0.0 for case in cases if case.contestant in OURS}
    measured: dict[Case, list[dict[str, float]]] = {case: [] for case in cases}
    for number in range(sizes.rounds):
        for mode, threads in peaks:
            result = task(ROOT, "peak", mode, threads=threads, seconds=2 * sizes.seconds)
            peaks[mode, threads] = max(peaks[mode, threads], result["gflops"])
        for case in cases if number % 2 == 0 else reversed(cases):
            result = task(ROOT, "time", **vars(case), file=str(file), seconds=sizes.seconds)
            measured[case].append(result)
            print(f"round {number + 1}: {case}: {result['ms']:.2f} ms, {result['peak_mb']:.0f} MB", flush=True)
    return peaks, measured


def pixels_left(table: Sequence[Row], file: Path) -> dict[int, float]:
    """Return the share of pixels that are not blank, by the number of images that numnist trains on."""
    counts = {case.images for row in table for case, _ in row.parts if case.contestant in OURS}
    return {m: task(ROOT, "left", OURS[0], threads=1, file=str(file), images=m)["share"] for m in sorted(counts)}


def sweeps(
    works: Sequence[int], sizes: Sizes, file: Path, cores: int, trials: Sequence[Mapping[str, Any]]
) -> list[Figure]:
    """Measure the whole sweep, once in each mode, and what the project's commands cost around it."""
    figures = []
    for mode in OURS:
        figures += overheads.sweep_and_overheads(ROOT, file.parent, file, mode, trials, images=sizes.with_validation,
                                                 cores=cores, also=5 in works and mode in sizes.overheads)  # fmt: skip
    if 5 in works:
        figures.append(
            overheads.many_trials(ROOT, file.parent, file, sizes.overheads[0], seeds=sizes.seeds, cores=cores)
        )
    for figure in figures:
        print(f"{figure.label}, {figure.contestant}: {figure.median:.0f} ms", flush=True)
    return figures


def _figure(
    row: Row, measured: Mapping[Case, Sequence[Mapping[str, float]]], peaks: Peaks, left: Mapping[int, float]
) -> Figure:
    runs = [sum(factor * result["ms"] for (_, factor), result in zip(row.parts, results))
            for results in zip(*(measured[case] for case, _ in row.parts))]  # fmt: skip
    if row.work == 3:
        return Figure(row.work, row.label, row.contestant, runs)
    [(case, _)] = row.parts
    memory = max(result["peak_mb"] for result in measured[case])
    if row.contestant not in OURS:
        return Figure(row.work, row.label, row.contestant, runs, memory)
    limit = 1000 * limit_gflop(case, left[case.images]) / peaks[case.contestant, case.threads]
    return Figure(row.work, row.label, row.contestant, runs, memory, limit / statistics.median(runs))


def _trials(params: Params, sizes: Sizes) -> list[dict[str, Any]]:
    """List the trials of the sweep in params.yaml."""
    axes = {name: values[: sizes.sweep_values] for name, values in params.axes.items()}
    common = {name: value for name, value in asdict(params).items() if name in TRAINING_KEYS}
    trials = [dict(zip(axes, values)) for values in itertools.product(*axes.values())]
    return [trial | {"iterations": max(1, trial["iterations"] // sizes.sweep_share), **common} for trial in trials]


def _machine(cores: int) -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return {"CPU": f"{model}, {cores} cores in use"}


def _versions() -> dict[str, str]:
    names = ("numpy", "torch", "jax", "scikit-learn")
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def _options() -> tuple[list[int], Sizes]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: to see that all runs")
    parser.add_argument("--work", default=",".join(map(str, WORKS)), help="which works, by number (default: all)")
    options = parser.parse_args()
    works = [int(number) for number in options.work.split(",") if number.isdigit() and int(number) in WORKS]
    if not works:
        parser.error(f"--work is {options.work}; allowed: numbers out of {', '.join(map(str, WORKS))}, with commas")
    return works, QUICK if options.quick else Sizes()


if __name__ == "__main__":
    main()
