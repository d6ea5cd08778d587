"""What a cluster costs: two workers of one core each against one process on two, and the launcher's own costs.

`python -m benchmarks.cluster` prints a table in about a quarter of an hour, `--quick` one in a minute, on fewer images.
"""

import pickle
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks import images
from numnist.config import reader
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Dataset, Split
from numnist.training import executors, scheduling, worker
from numnist.training.scheduling import WorkerPool

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 2


def main(*, quick: bool) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        scratch = Path(directory)
        data, few = _data(scratch, quick), _part_of(_synthetic(), 400)
        print(f"data set: {_size(data) / 1e6:.1f} MB to each worker")
        address = stack.enter_context(_cluster(scratch))
        dask = {"name": "dask", "address": address, "workers": WORKERS, "threads": 1, "seconds": 60}
        settings = reader.check_executor(dask, "the benchmark")
        began = time.perf_counter()
        with executors.opened(settings, data, scratch) as engine:
            print(f"connecting, handshake and sending the data set: {time.perf_counter() - began:.2f} s")
            _throughput(data, engine, scratch, iterations=10 if quick else 60, pairs=2 if quick else 5)
        with executors.opened(settings, few, scratch) as engine:
            _growth(few, engine, scratch, (10, 100) if quick else (10, 100, 1000))


def _throughput(data: Dataset, engine: WorkerPool | None, scratch: Path, *, iterations: int, pairs: int) -> None:
    """Train the default sweep's networks here and there, in turn."""
    trials = [_trial(h, rate, iterations, seed) for h, rate, seed in product((10, 32, 64), (0.3, 0.5, 1.0), (0, 1))]
    laying_out = statistics.median(_seconds(lambda: worker.lay_out(data, "training", "exact")) for _ in range(3))
    ways: dict[str, Callable[[Path], float]] = {
        "here, 2 threads": lambda at: _trained(trials, data, at, None) - laying_out,
        "Dask, 2 workers of 1": lambda at: _trained(trials, data, at, engine),
    }
    _trained(
        [_trial(4, 0.3, 1, seed) for seed in range(WORKERS * 4)], data, scratch / "warm", engine
    )  # they lay out, too
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for pair in range(pairs):
        for name, way in ways.items():
            seconds[name].append(way(scratch / f"{name}-{pair}"))
    for name, values in seconds.items():
        print(f"{len(trials)} networks, {iterations} iterations, {name}: {_spread(values)} s")
    here, there = seconds.values()
    print(f"throughput on Dask against here: {_spread([100 * a / b for a, b in zip(here, there)])} %, pair by pair")


def _growth(few: Dataset, engine: WorkerPool | None, scratch: Path, sizes: Sequence[int]) -> None:
    """Train more and more trials of one iteration on 400 images: what is left is what a trial and a stack cost."""
    plan = scheduling.plan([_trial(64, 0.3, 1, 0)], scheduling.open_store(scratch / "none", few))[0]
    done = worker.train(plan, few, worker.identity_here() | {"data": few.digest}, 1)
    print(f"a trial of 64 hidden units: {len(pickle.dumps(plan)):,} bytes out, {len(pickle.dumps(done)):,} bytes back")
    for size in sizes:
        trials = [_trial(4, 0.3, 1, seed) for seed in range(size)]
        took = _trained(trials, few, scratch / f"trials-{size}", engine)
        print(f"{size:,} trials of one iteration: {took:.2f} s, {1000 * took / size:.1f} ms a trial")
    if engine:
        took = _seconds(lambda: [done.result() for done in [engine.executor.submit(abs, -i) for i in range(200)]])
        print(f"a task that does nothing: {1000 * took / 200:.1f} ms")


def _trained(trials: Sequence[TrainingConfig], data: Dataset, directory: Path, engine: WorkerPool | None) -> float:
    store = scheduling.open_store(directory, data)
    return _seconds(lambda: list(scheduling.Trainer(data, store, worker_pool=engine).train(trials)))


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _trial(hidden_size: int, rate: float, iterations: int, seed: int) -> TrainingConfig:
    values = {"hidden_size": hidden_size, "learning_rate": rate, "iterations": iterations, "seed": seed}
    return reader.check(TrainingConfig, values | {"initialization": "he"}, "the benchmark")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _size(data: Dataset) -> int:
    return sum(array.nbytes for split in (data.train, data.validation) for array in (split.pixels, split.labels))


def _synthetic() -> tuple[np.ndarray, np.ndarray]:
    return images.synthetic(5_000)


def _part_of(arrays: tuple[np.ndarray, np.ndarray], training: int) -> Dataset:
    pixels, labels = arrays
    train, rest = Split(pixels[:training], labels[:training]), Split(pixels[training:], labels[training:])
    return Dataset("benchmark", f"benchmark of {training} and {len(rest.labels)}", train, rest)


def _data(scratch: Path, quick: bool) -> Dataset:
    if quick:
        return _part_of(_synthetic(), 4_600)
    print("images:", images.write_images(scratch / "images.npz", ROOT, reader.load_params(ROOT / "params.yaml")))
    with np.load(scratch / "images.npz") as archive:
        return _part_of((archive["pixels"], archive["labels"]), 55_000)


@contextmanager
def _cluster(scratch: Path) -> Iterator[str]:
    """Run a scheduler and two workers on this machine."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{one.getsockname()[1]}"
    scheduler = ["scheduler", "--host", address, "--no-dashboard"]
    workers = ["worker", address, "--nworkers", str(WORKERS), "--host", "127.0.0.1", "--local-directory", str(scratch)]
    with ExitStack() as stack:
        log = stack.enter_context((scratch / "log").open("wb"))
        for arguments in (scheduler, workers):
            command = [sys.executable, "-m", "pipeline.dask", *arguments]
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield address


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
