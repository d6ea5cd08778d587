"""One measurement, in a process of its own: `python -m benchmarks.measure <task as JSON>` prints its result as JSON.

Threads and kernels are fixed before NumPy is imported, so nothing that imports it stands at the top.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import CONTESTANTS, OURS

if TYPE_CHECKING:
    from benchmarks.problem import Problem, Stepper

MOST_STEPS = 50
SQUARE = 4096  # rows and columns of the matrices that the peak is measured with


def main() -> None:
    """Do the task and print its result."""
    task = json.loads(sys.argv[1])
    todo = task.pop("task")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[: task["threads"]])
    pin(task["contestant"])
    tasks: dict[str, Callable[..., dict[str, float]]] = {
        "time": time_steps,
        "check": write_weights,
        "peak": peak,
        "left": pixels_left,
        "sweep": sweep_whole,
        "track": track,
    }
    print(json.dumps(tasks[todo](**task)))


def pin(contestant: str) -> None:
    """Choose numnist's kernels for numnist, and leave the peers what they choose themselves."""
    if contestant in OURS:
        from numnist.common import machine

        machine.choose_kernels()


def time_steps(contestant: str, file: str, seconds: float, **size: int) -> dict[str, float]:
    """Measure a step's ms per network after a first one, over about so many seconds, and the process's peak memory."""
    step = _prepare(contestant, _problem(file, **size))
    step(1)  # compiles, allocates
    took, k = _clock(step, 1), 1
    if took < seconds / 2:
        k = min(MOST_STEPS, round(seconds / took))
        took = _clock(step, k)
    return {"ms": 1000 * took / k / size["networks"], "peak_mb": _peak_memory()}


def write_weights(contestant: str, file: str, steps: int, out: str, **size: int) -> dict[str, float]:
    """Write the weights that a contestant reaches; one that trains no stacks trains the networks one by one."""
    import numpy as np

    problem = _problem(file, **size)
    if CONTESTANTS[contestant].stacks:
        weights = _prepare(contestant, problem)(steps)
    else:
        networks = [_prepare(contestant, problem.alone(i))(steps) for i in range(size["networks"])]
        weights = tuple(np.concatenate(arrays) for arrays in zip(*networks))  # type: ignore[assignment]
    np.savez(out, *weights)
    return {}


def peak(contestant: str, threads: int, seconds: float) -> dict[str, float]:
    """Measure the GFLOP/s of a dense product in an arithmetic's type on all threads: the best of several."""
    os.environ.update(OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    import numpy as np

    dtype = np.float64 if contestant == "exact" else np.float32
    A, B = (np.random.default_rng(seed).random((SQUARE, SQUARE)).astype(dtype) for seed in (0, 1))
    out = A @ B
    times: list[float] = []
    while sum(times) < seconds:
        begun = time.perf_counter()
        np.matmul(A, B, out=out)
        times.append(time.perf_counter() - begun)
    return {"gflops": 2 * SQUARE**3 / min(times) / 1e9}


def pixels_left(contestant: str, file: str, threads: int, images: int) -> dict[str, float]:
    """Return the share of the pixels that numnist multiplies with."""
    from benchmarks.contestants import ours

    return {"share": ours.pixels_left(_problem(file, images=images, hidden_size=1, networks=1, threads=threads))}


def sweep_whole(contestant: str, threads: int, trials: list[Any]) -> dict[str, float]:
    """Measure the training of a whole sweep as the train stage does it, layout, curves and store included."""
    from numnist.config import reader
    from numnist.config.schema import TrainingConfig
    from numnist.data import dataset
    from numnist.training import scheduling
    from pipeline import ROOT

    configs = [reader.check(TrainingConfig, trial | {"arithmetic": contestant}, "the benchmark") for trial in trials]
    data = dataset.load(ROOT / "data" / "processed")
    begun = time.perf_counter()
    trainer = scheduling.Trainer(data, scheduling.open_store(ROOT / ".checkpoints", data))
    done = [result for some in trainer.train(configs) for result in some]
    took = time.perf_counter() - begun
    if len(done) != len(trials):
        raise SystemExit(f"the sweep gave {len(done)} results for {len(trials)} trials")
    return {"ms": 1000 * took, "peak_mb": _peak_memory()}


def track(contestant: str, threads: int, trials: list[Any]) -> dict[str, float]:
    """Measure what it costs to track one of the trials that `sweep_whole` trained."""
    from numnist.config import reader
    from numnist.config.schema import TrainingConfig
    from numnist.data import dataset
    from numnist.tracking import runs
    from numnist.training import scheduling
    from pipeline import ROOT

    configs = [reader.check(TrainingConfig, trial | {"arithmetic": contestant}, "the benchmark") for trial in trials]
    data = dataset.load(ROOT / "data" / "processed")
    trainer = scheduling.Trainer(data, scheduling.open_store(ROOT / ".checkpoints", data))
    [results] = trainer.train(configs)
    tracker = runs.connect(ROOT)
    parent = tracker.begin_sweep("benchmark", "benchmark", {})
    begun = time.perf_counter()
    for result in results:
        run = tracker.begin_trial(result.config.name, result.key, parent, {})
        tracker.finish_trial(run, ROOT / "runs" / result.config.name)
    return {"ms": 1000 * (time.perf_counter() - begun) / len(results)}


def _problem(file: str, **size: int) -> "Problem":
    from benchmarks import problem

    return problem.load(Path(file), **size)


def _prepare(contestant: str, problem: "Problem") -> "Stepper":
    chosen = CONTESTANTS[contestant]
    module = importlib.import_module(f"benchmarks.contestants.{chosen.module}")
    return module.prepare(problem, chosen.variant)


def _clock(step: "Stepper", k: int) -> float:
    begun = time.perf_counter()
    step(k)
    return time.perf_counter() - begun


def _peak_memory() -> float:
    """Return the most memory that this process has held, in MB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
