"""Trials by their keys: which training it is, exactly, and the store of those that are done or under way.

A *checkpoint key* stands for a training whatever its number of iterations: the same first 100 lead to 250 and 500. It
is the hash of everything that decides its bits: configuration, data, the code that trains, numerics. The store keeps,
for each key, the state after every number of iterations that was asked for, and a checkpoint.
"""

import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from numnist import network
from numnist.common import files
from numnist.common.errors import DataError
from numnist.config.schema import TrainingConfig
from numnist.network import CLASSES, PIXELS, Parameters
from numnist.training import blank_pixels, loop, minibatches, optimizer, threads
from numnist.training.loop import CURVES, State

_CHECKPOINT = "checkpoint"
TRAINING_MODULES = (network, blank_pixels, optimizer, minibatches, threads, loop)


@dataclass(frozen=True)
class CheckpointStore:
    """A directory of states, one directory per checkpoint key, for one data set, code and numerics."""

    directory: Path
    data_digest: str
    fingerprint: Mapping[str, Any]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time train what goes into the store; whoever must wait says for whom."""
        self.directory.mkdir(parents=True, exist_ok=True)
        owner = self.directory / "owner"
        lock = FileLock(self.directory / "lock", is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            process = owner.read_text(encoding="utf-8") if owner.exists() else "another"
            print(f"waiting for process {process}, which is training in {self.directory}", file=sys.stderr, flush=True)
            lock.acquire()
        try:
            files.remove_partial(self.directory)
            files.write_text(owner, str(os.getpid()))
            yield
        finally:
            lock.release()

    def checkpoint_key(self, config: TrainingConfig) -> str:
        """Return the key of a configuration's training, whatever its iterations."""
        return _digest(asdict(config.checkpoint_config), self.data_digest, code_digest(), dict(self.fingerprint))

    def key(self, config: TrainingConfig) -> str:
        """Return the key of a configuration's trial."""
        return _digest(self.checkpoint_key(config), config.iterations)

    def finished(self, config: TrainingConfig) -> State | None:
        """Return the state of a trial that is done, if it is."""
        return _read(self._path(config, str(config.iterations)), config) if self.has(config) else None

    def has(self, config: TrainingConfig) -> bool:
        """Whether there is a file for a trial that is done; it may yet be damaged."""
        return self._path(config, str(config.iterations)).exists()

    def nearest(self, config: TrainingConfig) -> State | None:
        """Return the stored state that is furthest on the way to a trial, if there is one."""
        names = [path.stem for path in self._path(config, "any").parent.glob("*.npz")]
        paths = [self._path(config, name) for name in names if name == _CHECKPOINT or int(name) <= config.iterations]
        states = [state for path in paths if (state := _read(path, config)) and state.iteration <= config.iterations]
        return max((state for state in states if not state.diverged), key=lambda state: state.iteration, default=None)

    def save(self, config: TrainingConfig, state: State) -> None:
        """Keep the state of a trial that is done."""
        _write(self._path(config, str(config.iterations)), state)

    def save_checkpoint(self, config: TrainingConfig, state: State) -> None:
        """Keep a state on the way, in the place of an earlier one."""
        _write(self._path(config, _CHECKPOINT), state)

    def remove_checkpoints(self, configs: Iterable[TrainingConfig]) -> None:
        """Delete the checkpoints of trainings that are done."""
        for config in configs:
            self._path(config, _CHECKPOINT).unlink(missing_ok=True)

    def _path(self, config: TrainingConfig, name: str) -> Path:
        return self.directory / self.checkpoint_key(config) / f"{name}.npz"


@functools.cache
def code_digest() -> str:
    """Return the digest of the source that decides a training's bits, as it was when this process first asked."""
    return _digest(*(files.sha256(Path(str(module.__file__))) for module in TRAINING_MODULES))


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _write(path: Path, state: State) -> None:
    p, v = state.parameters, state.velocity
    curves = state.curves
    if state.diverged:  # its weights are of no use, and its last row need not be finite
        p, v, curves = optimizer.zeros(p), optimizer.zeros(v) if v else None, curves[:-1]
    arrays = dict(zip(_shapes(1), optimizer.arrays(p)))
    if v:
        arrays |= {f"velocity_{name}": array for name, array in zip(_shapes(1), optimizer.arrays(v))}
    files.save_arrays(path, arrays | {"curves": curves, "diverged": np.array(state.diverged)})


def _read(path: Path, config: TrainingConfig) -> State | None:
    """Read a state; a damaged file is deleted, and counts as none."""
    shapes = _shapes(config.hidden_size)
    expected: dict[str, Any] = {name: ("float32", shape) for name, shape in shapes.items()}
    if config.momentum:
        expected |= {f"velocity_{name}": kind for name, kind in expected.items()}
    try:
        arrays = files.load_arrays(
            path, expected | {"curves": ("float64", (None, len(CURVES))), "diverged": ("bool", ())}
        )
    except DataError:
        path.unlink(missing_ok=True)
        return None
    curves = arrays["curves"]
    if arrays["diverged"]:
        curves = np.vstack([curves, np.full((1, len(CURVES)), np.nan)])
    velocity = Parameters(*(arrays[f"velocity_{name}"] for name in shapes)) if config.momentum else None
    return State(Parameters(*(arrays[name] for name in shapes)), curves, velocity)


def _shapes(h: int) -> dict[str, tuple[int, int, int]]:
    return {"W1": (1, h, PIXELS), "b1": (1, h, 1), "W2": (1, CLASSES, h), "b2": (1, CLASSES, 1)}


code_digest()  # at import: what is edited later is not what this process runs
