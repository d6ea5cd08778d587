"""Sweeps that are trained elsewhere: by processes, a Dask cluster, Slurm; to the bytes of one that is trained here."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import checkout
import digits
import psutil
import pytest
import slurm
from stores import copy_store, free_port

from numnist.common.errors import ConfigError, ExecutorError
from numnist.config.reader import check_executor
from numnist.config.schema import DataConfig, Source, TrainingConfig
from numnist.data import dataset, fetching
from numnist.training import executors, loop, scheduling, worker
from numnist.training.results import Result
from numnist.training.scheduling import WorkerPool

CONFIG = TrainingConfig(hidden_size=3, learning_rate=0.3, iterations=4, seed=0, initialization="he")
GRID = [
    replace(CONFIG, hidden_size=h, seed=s, iterations=n, learning_rate=rate)
    for h in (3, 5)
    for s in range(4)
    for n in (2, 4)
    for rate in (0.3, 1e6)  # the latter diverges
]
DATA = digits.dataset(240, 60)


def train(
    configs: list[TrainingConfig], directory: Path, engine: WorkerPool | None = None
) -> dict[TrainingConfig, Result]:
    store = scheduling.open_store(directory, DATA)
    return {
        result.config: result
        for done in scheduling.Trainer(DATA, store, worker_pool=engine).train(configs)
        for result in done
    }


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.npz")}


@contextmanager
def engine(workers: int) -> Iterator[WorkerPool]:
    """Workers in threads of this process."""
    with ThreadPoolExecutor(workers) as pool:
        yield WorkerPool(pool, workers, 1, DATA)


@pytest.mark.parametrize("workers", [2, 5, 100])
def test_stacks_cut_for_any_number_of_workers_give_the_same_bytes(tmp_path: Path, workers: int) -> None:
    train(GRID, tmp_path / "here")
    with engine(workers) as one:
        found = train(GRID, tmp_path / "there", one)
    assert set(found) == set(GRID)
    assert content(tmp_path / "there") == content(tmp_path / "here")


@pytest.mark.parametrize("workers", [2, 3, 100])
def test_no_worker_gets_more_than_its_share_in_one_stack_and_the_largest_comes_first(
    tmp_path: Path, workers: int
) -> None:
    plans = scheduling.plan(GRID, scheduling.open_store(tmp_path, DATA), workers)
    assert sorted(trial.name for plan in plans for trial in plan.trials) == sorted(trial.name for trial in GRID)
    assert len(plans) >= min(workers, 16)  # there are 16 networks
    share = sum(plan.work for plan in plans) / workers
    assert all(plan.work <= share or len(plan.tasks) == 1 for plan in plans)
    assert [plan.work for plan in plans] == sorted((plan.work for plan in plans), reverse=True)


def test_a_stack_that_fails_costs_no_other_and_a_rerun_trains_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad = replace(CONFIG, hidden_size=5, seed=2)
    good = [replace(CONFIG, seed=seed) for seed in range(3)]
    whole, trained = loop.train_stack, []

    def faulty(tasks: Any, *rest: Any, **named: Any) -> Any:
        trained.extend(task.config for task in tasks)
        if bad in trained:
            raise ZeroDivisionError("a fault put in by a test")
        return whole(tasks, *rest, **named)

    monkeypatch.setattr(loop, "train_stack", faulty)
    with engine(1) as one, pytest.raises(ExceptionGroup, match="1 of 2 stacks failed"):
        train([bad, *good], tmp_path, one)
    assert bad.name in caplog.text and "a fault put in by a test" in caplog.text
    trained.clear()
    monkeypatch.setattr(
        loop, "train_stack", lambda c, *a, **k: trained.extend(x.config for x in c) or whole(c, *a, **k)
    )
    with engine(1) as one:
        assert set(train([bad, *good], tmp_path, one)) == {bad, *good}
    assert trained == [bad]


def test_a_launcher_that_stops_has_stored_what_came_back(tmp_path: Path) -> None:
    store = scheduling.open_store(tmp_path, DATA)
    with engine(2) as one:
        results = scheduling.Trainer(DATA, store, worker_pool=one).train(GRID)
        came = [result.config for done in (next(results), next(results), next(results)) for result in done]
        results.close()
    assert came and all(store.finished(config) for config in came)
    assert set(came) < set(GRID)


def test_a_process_with_other_code_is_refused_with_host_and_difference() -> None:
    identity = worker.identity_here() | {"data": DATA.digest}
    [plan] = [worker.Plan([loop.TrainingTask(CONFIG)], [CONFIG])]
    assert worker.train(plan, DATA, identity, 1)
    with pytest.raises(ExecutorError, match=r"worker \S+, process \d+, is refused: code is .* there and 0\.0 here"):
        worker.train(plan, DATA, identity | {"code": "0.0"}, 1)
    with pytest.raises(ExecutorError, match="expected the data set of digest other, got digest digest of 240"):
        worker.train(plan, DATA, identity | {"data": "other"}, 1)


DASK = {"name": "dask", "address": "tcp://127.0.0.1:8786", "workers": 1, "threads": 1, "seconds": 1}
SLURM = {"name": "slurm", "cluster": "local", "workers": 1, "threads": 1, "minutes": 1, "folder": "x", "parameters": {}}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"name": "spark"}, "executor.name is 'spark'; allowed: one of local, processes, dask, slurm"),
        (DASK | {"address": "host:8786"}, "executor.address is 'host:8786'; allowed: tcp://host:port"),
        (DASK | {"workers": 0}, "executor.workers is 0; allowed: a whole number from 1"),
        (DASK | {"color": "red"}, "unknown key executor.color"),
        (SLURM | {"cluster": "pbs"}, "executor.cluster is 'pbs'; allowed: 'slurm' or 'local'"),
        (SLURM | {"parameters": 3}, "executor.parameters is 3; allowed: a mapping"),
        ({"name": "processes", "workers": 1}, "the key executor.threads is missing"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_key(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_executor(values, "here")


def test_a_scheduler_that_does_not_answer_is_an_error_within_the_given_time(tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    settings = check_executor(DASK | {"address": address}, "here")
    with (
        pytest.raises(ExecutorError, match=rf"no Dask scheduler answers at {address} within 1 s .*start one with"),
        executors.opened(settings, DATA, tmp_path),
    ):
        pass


@pytest.mark.parametrize(("values", "package"), [(DASK, "distributed"), (SLURM, "submitit")])
def test_a_package_that_is_absent_is_told_with_the_way_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(
            ExecutorError, match=rf"needs the package {package}; run `pip install -e '\.\[{values['name']}\]'`"
        ),
        executors.opened(check_executor(values, "here"), DATA, tmp_path),
    ):
        pass


# From here on for real: processes that people start, on a checkout of their own.

SWEEP: dict[str, list[object]] = {  # the shape of the default one
    "hidden_size": [4, 6, 12],
    "learning_rate": [0.3, 1.0, 2.0],
    "iterations": [40, 100, 200],
    "seed": [0, 1],
}
TRIALS = 54
GRID_COMMAND = ("-m", "pipeline.train", "-m", "+experiment=grid")


@dataclass(frozen=True)
class Prepared:
    """A checkout with data but for the test set, its empty tracking store, and what the sweep makes in one process."""

    directory: Path
    made: dict[str, bytes]


@pytest.fixture(scope="module")
def prepared(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    directory = checkout.make(tmp_path_factory.mktemp("executors"), SWEEP)
    fetching.fetch(Source((), {}), "mnist-5k", directory / "data" / "raw" / "mnist-5k")
    dataset.preprocess(
        directory / "data" / "raw" / "mnist-5k", directory / "data" / "processed", DataConfig("mnist-5k", 12, 0)
    )
    (directory / "data" / "test.npz").unlink()  # no worker may want it
    copy_store(empty_store, directory)
    here = copied(directory, directory.parent / "here")
    finish(checkout.start(here, *GRID_COMMAND))
    return Prepared(directory, made_in(here))


def copied(directory: Path, target: Path) -> Path:
    shutil.copytree(directory, target)
    (target / "mlflow.db").unlink()
    copy_store(directory, target)
    return target


@pytest.fixture
def copy(prepared: Prepared, tmp_path: Path) -> Path:
    return copied(prepared.directory, tmp_path / "copy")


def made_in(directory: Path) -> dict[str, bytes]:
    paths = [path for path in (directory / "runs").rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in [*paths, directory / "sweep.csv"]}


def finish(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out + err


def wait_for(condition: Callable[[], Any], *processes: "subprocess.Popen[str]") -> Any:
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return found


def workers(launcher: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The processes of `executor=processes`."""
    found = []
    for child in psutil.Process(launcher.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # one that has just ended, such as git
            found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


def stored(directory: Path) -> dict[Path, int]:
    """The files of trials that are done, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in (directory / ".checkpoints").rglob("[0-9]*.npz")}


@contextmanager
def dask(
    directory: Path, logs: Path, *arguments: str, code: tuple[str, ...] = ("-m", "pipeline.dask")
) -> Iterator[Any]:
    """Run a scheduler or workers, with all that they say in a file, and stop them and their children."""
    with logs.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *code, *arguments],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": f"{directory}{os.pathsep}{directory / 'src'}"},
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.terminate()
            process.wait()
            for child in psutil.wait_procs(children, timeout=10)[1]:
                child.kill()


@pytest.fixture(scope="module")
def address(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and three workers of one thread each."""
    scratch = tmp_path_factory.mktemp("dask")
    where = f"tcp://127.0.0.1:{free_port()}"
    with (
        dask(prepared.directory, scratch / "scheduler", "scheduler", "--host", where, "--no-dashboard"),
        dask(prepared.directory, scratch / "workers", "worker", where, "--nworkers", "3", "--host", "127.0.0.1",
             "--local-directory", str(scratch)),
    ):  # fmt: skip
        yield where


def on(address: str, workers: int = 3) -> tuple[str, ...]:
    return ("executor=dask", f"executor.address={address}", f"executor.workers={workers}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor", [("executor=processes", "executor.workers=2"), ("executor=slurm", "executor.cluster=local")]
)
def test_processes_and_submitit_make_the_bytes_that_one_process_makes(
    prepared: Prepared, copy: Path, executor: tuple[str, ...]
) -> None:
    finish(checkout.start(copy, *GRID_COMMAND, *executor))
    assert made_in(copy) == prepared.made


@pytest.mark.slow
def test_a_dask_cluster_makes_the_bytes_that_one_process_makes(prepared: Prepared, copy: Path, address: str) -> None:
    finish(checkout.start(copy, *GRID_COMMAND, NUMNIST_EXECUTOR="dask", NUMNIST_SCHEDULER=address))
    assert len(made_in(copy)) >= 2 * TRIALS + 1
    assert made_in(copy) == prepared.made


@pytest.mark.slow
def test_no_worker_loses_its_copy_of_the_data_before_its_first_stack(address: str) -> None:
    import distributed

    settings = check_executor({**DASK, "address": address, "workers": 3, "seconds": 60}, "here")
    with distributed.Client(address, set_as_default=False) as client:
        client.amm.start()
        with executors.opened(settings, DATA, Path()) as pool:
            assert pool and not client.amm.running()
            [holders] = client.who_has(pool.data).values()
            assert len(holders) == 3


@pytest.mark.slow
def test_a_worker_that_is_killed_has_its_stack_done_by_another(prepared: Prepared, copy: Path, address: str) -> None:
    import distributed

    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(3)
        pids = client.run(os.getpid)
        launcher = checkout.start(copy, *GRID_COMMAND, *on(address))
        busy = wait_for(lambda: [worker for worker, tasks in client.processing().items() if tasks], launcher)
        os.kill(pids[busy[0]], signal.SIGKILL)
        finish(launcher)
    assert made_in(copy) == prepared.made


@pytest.mark.slow
def test_a_launcher_that_is_killed_and_started_again_trains_only_what_is_missing(
    prepared: Prepared, copy: Path, address: str
) -> None:
    launcher = checkout.start(copy, *GRID_COMMAND, *on(address))
    wait_for(lambda: stored(copy), launcher)
    launcher.kill()
    launcher.communicate()
    before = stored(copy)
    assert 0 < len(before) < TRIALS
    finish(checkout.start(copy, *GRID_COMMAND, *on(address)))
    assert made_in(copy) == prepared.made
    assert {path: stored(copy)[path] for path in before} == before


@pytest.mark.slow
def test_workers_allocate_as_other_processes_do(address: str) -> None:
    import distributed

    with distributed.Client(address, set_as_default=False) as client:
        assert set(client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()) == {None}


@pytest.mark.slow
def test_workers_of_other_code_are_refused_by_name_before_anything_is_trained(
    prepared: Prepared, copy: Path, address: str, tmp_path: Path
) -> None:
    other = copied(prepared.directory, tmp_path / "other")
    with (other / "src" / "numnist" / "network.py").open("a") as file:
        file.write("# edited\n")
    where = ("worker", address, "--host", "127.0.0.1", "--local-directory", str(tmp_path), "--no-nanny")
    with dask(other, tmp_path / "log", *where, "--name", "edited"):
        launcher = checkout.start(copy, *GRID_COMMAND, *on(address, 4))
        said = launcher.communicate()[1]
    assert launcher.returncode == 1 and "error: 1 of 4 workers do not run the code of this process" in said
    assert ": code is " in said
    assert not (copy / "runs").exists() and not stored(copy)


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_and_a_rerun_trains_what_is_missing(prepared: Prepared, copy: Path) -> None:
    command = (*GRID_COMMAND, "executor=processes", "executor.workers=2")
    launcher = checkout.start(copy, *command)
    wait_for(lambda: stored(copy), launcher)
    launcher.send_signal(signal.SIGSTOP)  # it gives its workers nothing more meanwhile
    workers(launcher)[0].kill()
    launcher.send_signal(signal.SIGCONT)
    said = launcher.communicate()[1]
    assert launcher.returncode == 1 and "error: a worker process ended by itself" in said
    finish(checkout.start(copy, *command))
    assert made_in(copy) == prepared.made


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_launcher(copy: Path, number: int) -> None:
    launcher = checkout.start(
        copy, *GRID_COMMAND, "executor=processes", "executor.workers=2", "sweep.iterations=[100000]"
    )
    busy = wait_for(lambda: [one for one in workers(launcher) if one.cpu_times().user > 2], launcher)  # they train
    launcher.send_signal(number)
    launcher.communicate()
    assert not psutil.wait_procs(busy, timeout=60)[1]


@pytest.mark.slow
@pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())
def test_slurm_makes_the_bytes_that_one_process_makes(prepared: Prepared, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    with slurm.running(tmp_path / "slurm") as configuration:
        finish(
            checkout.start(copy, *GRID_COMMAND, "executor=slurm", "executor.workers=2", SLURM_CONF=str(configuration))
        )
    assert len(list((copy / "launches").glob("*/jobs/*_result.pkl"))) > 2
    assert made_in(copy) == prepared.made
