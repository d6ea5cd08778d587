"""Tracking stores for tests: a copy of one that is made, runs without an owner, weights that say what they see."""

import contextlib
import socket
import sqlite3
from pathlib import Path

import numpy as np

from numnist.common import files
from numnist.tracking.mlflow_runs import Tracker


def weights_file(path: Path, bias: list[float]) -> Path:
    """Write a network of ten hidden units: unit j sees pixel j alone, and adds ten times itself to digit j's score."""
    parts = {"W1": np.eye(10, 784), "b1": np.zeros((10, 1)), "W2": 10 * np.eye(10), "b2": np.reshape(bias, (10, 1))}
    files.save_arrays(path, {name: part.astype("float32") for name, part in parts.items()})
    return path


def copy_store(template: Path, root: Path) -> None:
    source, copy = (sqlite3.connect(directory / "mlflow.db") for directory in (template, root))
    with contextlib.closing(source), contextlib.closing(copy), copy:
        source.backup(copy)
        copy.execute("UPDATE experiments SET artifact_location = ?", [(root / "mlartifacts").as_uri()])


def disown(tracker: Tracker, run: str) -> None:
    """Make a run look as if its process had been killed, and its pid were another's by now."""
    tracker.set_tags(run, {"numnist.started": "1.0"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
