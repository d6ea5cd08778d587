"""The store of trials that are done or under way, and the keys by which it finds them.

A *checkpoint key* stands for a training whatever its number of iterations: the same first 100 lead to 250 and 500. It
is the hash of everything that decides its bits: configuration, data and the code that trains. The store keeps, for each
key, the state after every number of iterations that was asked for, and a checkpoint. Each is sealed with its key and a
digest of its arrays.
"""

import functools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from numnist import exact, network
from numnist.common import files, hashing
from numnist.common.errors import DataError
from numnist.config.schema import TrainingConfig
from numnist.exact import arrays, budget, elementary
from numnist.network import Parameters
from numnist.training import arithmetic, loop, minibatches, optimizer
from numnist.training.arithmetic import ARITHMETICS
from numnist.training.loop import CURVES, State

_CHECKPOINT, _VELOCITY, _SEAL = "checkpoint", "velocity_", "seal"
_SILENT_SECONDS = 1.0  # before it is told that another process trains: that one has written who it is by then
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
            lock.acquire(timeout=_SILENT_SECONDS)
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
        return hashing.of_values(asdict(config.checkpoint_config), self.data_digest, code_digest())

    def key(self, config: TrainingConfig) -> str:
        """Return the key of a configuration's trial."""
        return hashing.of_values(self.checkpoint_key(config), config.iterations)

    def finished(self, config: TrainingConfig) -> State | None:
        """Return the state in which a trial ended; None if it is not done."""
        return self._read(str(config.iterations), config) if self.has(config) else None

    def has(self, config: TrainingConfig) -> bool:
        """Whether there is a file of a trial that is done; it may be damaged."""
        return self._path(config, str(config.iterations)).exists()

    def nearest(self, config: TrainingConfig) -> State | None:
        """Return the stored state that is furthest on the way to a trial, if there is one."""
        names = [path.stem for path in self._directory(config).glob("*.npz")]  # copies of somebody's are left alone
        wanted = [
            name for name in names if name == _CHECKPOINT or (name.isdecimal() and int(name) <= config.iterations)
        ]
        read = (self._read(name, config) for name in wanted)
        states = [state for state in read if state and not state.diverged and state.iteration <= config.iterations]
        return max(states, key=lambda state: state.iteration, default=None)

    def save(self, config: TrainingConfig, state: State) -> None:
        """Keep the state of a trial that is done."""
        self._write(str(config.iterations), config, state)

    def save_checkpoint(self, config: TrainingConfig, state: State) -> None:
        """Keep a state on the way, in the place of an earlier one."""
        self._write(_CHECKPOINT, config, state)

    def remove_checkpoints(self, configs: Iterable[TrainingConfig]) -> None:
        """Delete the checkpoints of trainings that are done."""
        for config in configs:
            self._path(config, _CHECKPOINT).unlink(missing_ok=True)

    def _directory(self, config: TrainingConfig) -> Path:
        return self.directory / self.checkpoint_key(config)

    def _path(self, config: TrainingConfig, name: str) -> Path:
        return self._directory(config) / f"{name}.npz"

    def _seal(self, config: TrainingConfig, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the digest of a state and of the training that it belongs to, which is kept with it."""
        digest = hashing.of_texts([self.checkpoint_key(config), hashing.of_arrays(arrays)])
        return np.frombuffer(bytes.fromhex(digest), np.uint8)

    def _write(self, name: str, config: TrainingConfig, state: State) -> None:
        p, v, curves = state.parameters, state.velocity, state.curves
        if state.diverged:  # its weights are of no use, and its last row need not be finite
            p, curves = Parameters(*map(np.zeros_like, p)), curves[:-1]
            v = v and Parameters(*map(np.zeros_like, v))
        arrays = p._asdict() | ({_VELOCITY + name: array for name, array in v._asdict().items()} if v else {})
        arrays |= {"curves": curves, "diverged": np.array(state.diverged)}
        files.save_arrays(self._path(config, name), arrays | {_SEAL: self._seal(config, arrays)})

    def _read(self, name: str, config: TrainingConfig) -> State | None:
        """Read a state. What is damaged, edited, or of another training or length is deleted, and counts as none."""
        try:
            arrays = files.load_arrays(self._path(config, name), self._expected(config))
            if not np.array_equal(arrays.pop(_SEAL), self._seal(config, arrays)):
                raise DataError("not what was written for this training")
            state = _state(arrays)
            if name != _CHECKPOINT and not _is_final(state, int(name)):
                raise DataError("of another length")
        except DataError:
            self._path(config, name).unlink(missing_ok=True)
            return None
        return state

    def _expected(self, config: TrainingConfig) -> dict[str, Any]:
        """Return the names, types and shapes of the arrays of a state."""
        dtype, shapes = ARITHMETICS[config.arithmetic].dtype, network.shapes(config, self.classes)._asdict()
        of_networks: dict[str, Any] = {name: (dtype, (1, *shape)) for name, shape in shapes.items()}
        if config.momentum:
            of_networks |= {_VELOCITY + name: kind for name, kind in of_networks.items()}
        return of_networks | {
            "curves": ("float64", (None, len(CURVES))),
            "diverged": ("bool", ()),
            _SEAL: ("uint8", (32,)),
        }


def _state(arrays: Mapping[str, np.ndarray]) -> State:
    """Return the state that was written as these arrays."""
    curves = arrays["curves"]
    if arrays["diverged"]:
        curves = np.vstack([curves, np.full((1, len(CURVES)), np.nan)])
    moving = [arrays[_VELOCITY + name] for name in Parameters._fields if _VELOCITY + name in arrays]
    parameters = Parameters(*(arrays[name] for name in Parameters._fields))
    return State(parameters, curves, Parameters(*moving) if moving else None)


def _is_final(state: State, iterations: int) -> bool:
    """Whether a state is what a trial of so many iterations ends in."""
    return state.iteration == iterations or (state.diverged and state.iteration < iterations)


@functools.cache
def code_digest() -> str:
    """Return the digest of the source that decides a training's bits, as it was when this process first asked."""
    return hashing.of_values(*(files.sha256(Path(str(module.__file__))) for module in TRAINING_MODULES))


code_digest()  # at import: what is edited later is not what this process runs
