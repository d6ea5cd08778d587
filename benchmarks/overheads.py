"""What the project's commands cost beside the training: measured on a fresh clone of HEAD, with the benchmark's images.

A trial that is in the store of trials is not trained again. So all trials are trained first, then the note's network
alone, though `dvc repro` has it in a stack: that is the training. What `dvc repro` takes after it is all the rest.
"""

import itertools
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.processes import command, task
from benchmarks.report import Figure
from numnist.common import files
from numnist.data import idx
from pipeline import evaluate

TEST_IMAGES = 10_000
NO_OPS = 3
ARITHMETIC = 5  # measurements of an iteration, whose median is taken off a sweep of many trials
MANY: dict[str, list[Any]] = {
    "hidden_size": [10],
    "learning_rate": [0.1, 0.2, 0.3, 0.4, 0.5],
    "iterations": [50, 100],
    "seed": list(range(100)),
}
MANY_IMAGES = 2_000
INITIALIZATION = "he"


def sweep_and_overheads(
    root: Path,
    directory: Path,
    file: Path,
    mode: str,
    trials: Sequence[Mapping[str, Any]],
    *,
    images: int,
    cores: int,
    also: bool,
) -> list[Figure]:
    """Train the default sweep in a clone (work 3) and, if `also` asked for, measure `dvc repro` around it (work 5)."""
    clone = _clone(root, directory / f"clone-{mode}", file, mode, images, trials)
    mirror = {"MNIST_MIRROR": str(clone / "mirror")}
    command(clone, "pipeline.fetch", **mirror)
    command(clone, "pipeline.preprocess")
    result = task(clone, "sweep", mode, threads=cores, trials=list(trials))
    training = Figure(3, f"{len(trials)} trials", mode, [result["ms"]], result["peak_mb"])
    if not also:
        return [training]
    note = task(clone, "sweep", mode, threads=cores, trials=[asdict(evaluate.note())])
    trained = result["ms"] + note["ms"]
    rest = command(clone, "dvc", "repro", **mirror)
    no_op = [command(clone, "dvc", "repro", **mirror) for _ in range(NO_OPS)]
    tracked = task(clone, "track", mode, threads=cores, trials=list(trials))
    return [
        training,
        Figure(5, "dvc repro, default sweep", mode, [rest + trained]),
        Figure(5, "all of it but training", mode, [rest], share=rest / (rest + trained)),
        Figure(5, "dvc repro, nothing to do", mode, no_op),
        Figure(5, f"tracking a trial (of {len(trials)})", mode, [tracked["ms"]]),
    ]


def many_trials(root: Path, directory: Path, file: Path, mode: str, *, seeds: int, cores: int) -> Figure:
    """Measure a sweep of many trials on few images, less its arithmetic: its networks' iterations in one stack."""
    axes = MANY | {"seed": MANY["seed"][:seeds]}
    trials = [dict(zip(axes, values), initialization=INITIALIZATION) for values in itertools.product(*axes.values())]
    clone = _clone(root, directory / f"clone-many-{mode}", file, mode, MANY_IMAGES, trials)
    command(clone, "pipeline.fetch", MNIST_MIRROR=str(clone / "mirror"))
    command(clone, "pipeline.preprocess")
    whole = command(clone, "pipeline.train", "-m", "+experiment=grid")
    networks, iterations = len(trials) // len(axes["iterations"]), max(axes["iterations"])
    size = {"hidden_size": axes["hidden_size"][0], "networks": networks, "images": MANY_IMAGES, "threads": cores}
    one = statistics.median(
        task(root, "time", mode, file=str(file), seconds=2, **size)["ms"] for _ in range(ARITHMETIC)
    )
    return Figure(
        5,
        f"{len(trials):,} trials on {MANY_IMAGES:,} images, all but arithmetic",
        mode,
        [whole - networks * iterations * one],
    )


def _clone(root: Path, clone: Path, file: Path, mode: str, images: int, trials: Sequence[Mapping[str, Any]]) -> Path:
    """Clone HEAD, with params.yaml set to a sweep, a mode, and images in a mirror of its own."""
    subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
    params = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))
    params["sweep"] = {name: sorted({trial[name] for trial in trials}) for name in params["sweep"]}
    params["data"]["name"] = "mnist"
    params["arithmetic"] = mode
    params["datasets"]["mnist"] = {"mirrors": [], "sha256": _mirror(clone / "mirror", file, images)}
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return clone


def _mirror(directory: Path, file: Path, images: int) -> dict[str, str]:
    """Write so many images as a data set's four files, the last of them as its test set too; return their hashes."""
    with np.load(file) as archive:
        pixels, labels = archive["pixels"][:images], archive["labels"][:images]
    test = slice(-TEST_IMAGES, None)
    for name, array in zip(idx.NAMES, (pixels, labels, pixels[test], labels[test]), strict=True):
        files.write_bytes(directory / name, idx.pack(array))
    return {path.name: files.sha256(path) for path in sorted(directory.iterdir())}
