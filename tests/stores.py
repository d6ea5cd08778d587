"""Tracking stores for tests: a copy of one that is made, runs without an owner, weights that say what they see."""

import contextlib
import json
import multiprocessing
import os
import re
import socket
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from numnist.common import files
from numnist.config.schema import TrainingConfig
from numnist.tracking import owners, registry, store
from numnist.tracking.runs import Tracker

CONFIG = TrainingConfig(hidden_size=10, learning_rate=0.1, iterations=3, seed=0, initialization="he")
PARAMS = asdict(CONFIG)
DIGEST = "0123456789abcdef" * 4


def weights_file(path: Path, bias: list[float]) -> Path:
    """Write a network of ten hidden units: unit j sees pixel j alone, and adds ten times itself to digit j's score."""
    parts = {"W1": np.eye(10, 784), "b1": np.zeros((10, 1)), "W2": 10 * np.eye(10), "b2": np.reshape(bias, (10, 1))}
    files.save_arrays(path, {name: part.astype("float32") for name, part in parts.items()})
    return path


def create(root: Path) -> None:
    """Open a checkout's store, which creates it, and leave a file that says so."""
    (root / f"created-{os.getpid()}").write_text(store.connect(root).experiment)


def copy_store(template: Path, root: Path) -> None:
    source, copy = (sqlite3.connect(directory / "mlflow.db") for directory in (template, root))
    with contextlib.closing(source), contextlib.closing(copy), copy:
        source.backup(copy)
        copy.execute("UPDATE experiments SET artifact_location = ?", [(root / "mlartifacts").as_uri()])


def disown(tracker: Tracker, run: str) -> None:
    """Make a run look as if its process had been killed, and its pid were another's by now."""
    tracker.set_tags(run, {owners.OWNER: f"{owners.machine()} 1 1.0"})


def printed_port(lines: Iterable[str]) -> int:
    """Return the port in the first address that a server prints: it was given 0, and took a free one."""
    return next(int(found[1]) for line in lines if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))


def free_port() -> int:
    """Return a port for a server that does not say which one it took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def trained(
    directory: Path, status: str = "finished", losses: Sequence[float] = (2.0, 1.0, 0.5, 0.25), bias: float = 0.0
) -> Path:
    """Write a trial's directory and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    weights_file(directory / "weights.npz", [bias] * 10)
    record = {"name": CONFIG.name, "config": asdict(CONFIG), "key": "trial", "status": status, "iteration": 2}
    record["dataset"] = {"name": "mnist", "digest": DIGEST}
    (directory / "result.json").write_text(json.dumps(record))
    lines = ["iteration,train_loss", *(f"{k},{loss!r}" for k, loss in enumerate(losses))]
    (directory / "curves.csv").write_text("\n".join(lines) + "\n")
    return directory


def begin(
    tracker: Tracker,
    key: str,
    parent: str | None,
    tags: dict[str, str],
    params: Mapping[str, object] | None = PARAMS,
) -> str:
    return tracker.begin_trial(CONFIG.name, key, parent, tags, params)


def in_processes(work: Callable[[Path], None], root: Path, count: int = 1) -> list[int | None]:
    """Do the work in child processes at once, the store below `root`, and return how they ended."""
    processes = [multiprocessing.get_context("fork").Process(target=work, args=(root,)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def register(tracker: Tracker, directory: Path, bias: float = 0.0, classes: tuple[str, ...] = (), **tags: str) -> Any:
    """Log a trial that ends with such weights, and register them; return the version."""
    run_id = tracker.log_directory(trained(directory, bias=bias), None, {})
    return registry.register(tracker.store, directory / "weights.npz", run_id, tags, classes)
