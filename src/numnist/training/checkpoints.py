"""Trials by their keys: which training it is, exactly, and the store of those that are done or under way.

A *checkpoint key* stands for a training whatever its number of iterations: the same first 100 lead to 250 and 500. It
is the hash of everything that decides its bits: configuration, data and the code that trains. The store keeps, for each
key, the state after every number of iterations that was asked for, and a checkpoint.
"""

import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from numnist import exact, network
from numnist.common import files
from numnist.common.errors import DataError
from numnist.config.schema import TrainingConfig
from numnist.exact import arrays, budget, elementary
from numnist.network import Parameters
from numnist.training import arithmetic, loop, minibatches, optimizer
from numnist.training.arithmetic import ARITHMETICS
from numnist.training.loop import CURVES, State

_CHECKPOINT, _VELOCITY = "checkpoint", "velocity_"
TRAINING_MODULES = (network, exact, arrays, budget, elementary, arithmetic, loop, minibatches, optimizer)


@dataclass(frozen=True)
class CheckpointStore:
    """A directory of states, one directory per checkpoint key, for one data set and code."""

    directory: Path
    data_digest: str
    classes: int = network.CLASSES

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
        return _digest(asdict(config.checkpoint_config), self.data_digest, code_digest())

    def key(self, config: TrainingConfig) -> str:
        """Return the key of a configuration's trial."""
        return _digest(self.checkpoint_key(config), config.iterations)

    def finished(self, config: TrainingConfig) -> State | None:
        """Return the state of a trial that is done, if it is."""
        return self._read(str(config.iterations), config) if self.has(config) else None

    def has(self, config: TrainingConfig) -> bool:
        """Whether there is a file for a trial that is done; it may yet be damaged."""
        return self._path(config, str(config.iterations)).exists()

    def nearest(self, config: TrainingConfig) -> State | None:
        """Return the stored state that is furthest on the way to a trial, if there is one."""
        names = [path.stem for path in self._path(config, "any").parent.glob("*.npz")]
        names = [name for name in names if name == _CHECKPOINT or int(name) <= config.iterations]
        states = [
            state for name in names if (state := self._read(name, config)) and state.iteration <= config.iterations
        ]
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

    def _read(self, name: str, config: TrainingConfig) -> State | None:
        """Read a state; a damaged file is deleted, and counts as none."""
        path, dtype = self._path(config, name), ARITHMETICS[config.arithmetic].dtype
        shapes = network.shapes(config, self.classes)._asdict()
        expected: dict[str, Any] = {name: (dtype, (1, *shape)) for name, shape in shapes.items()}
        if config.momentum:
            expected |= {_VELOCITY + name: kind for name, kind in expected.items()}
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
        velocity = Parameters(*(arrays[_VELOCITY + name] for name in shapes)) if config.momentum else None
        return State(Parameters(*(arrays[name] for name in shapes)), curves, velocity)


@functools.cache
def code_digest() -> str:
    """Return the digest of the source that decides a training's bits, as it was when this process first asked."""
    return _digest(*(files.sha256(Path(str(module.__file__))) for module in TRAINING_MODULES))


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _write(path: Path, state: State) -> None:
    p, v, curves = state.parameters, state.velocity, state.curves
    if state.diverged:  # its weights are of no use, and its last row need not be finite
        p, curves = Parameters(*map(np.zeros_like, p)), curves[:-1]
        v = v and Parameters(*map(np.zeros_like, v))
    arrays = p._asdict() | ({_VELOCITY + name: array for name, array in v._asdict().items()} if v else {})
    files.save_arrays(path, arrays | {"curves": curves, "diverged": np.array(state.diverged)})


code_digest()  # at import: what is edited later is not what this process runs
