"""Where stacks are trained, as the group `executor` says: in this process, or by processes, Dask or Slurm."""

import contextlib
import importlib
import logging
import multiprocessing
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from numnist.common import machine
from numnist.common.errors import ExecutorError
from numnist.config import schema
from numnist.config.schema import Dask, Local, Processes, Slurm
from numnist.data.dataset import Dataset
from numnist.training import worker
from numnist.training.scheduling import WorkerPool


@contextlib.contextmanager
def opened(settings: schema.Executor, data: Dataset, directory: Path) -> Iterator[WorkerPool | None]:
    """Reach the workers, and see that they run the same code; None if that is this process alone.

    `directory` holds the data set for workers that see this machine's files. Dask's are sent it, once each.
    """
    if isinstance(settings, Local):
        yield None
    elif isinstance(settings, Processes):
        workers = settings.workers or max(1, machine.cores() // settings.threads)
        with _processes(workers) as pool:
            yield WorkerPool(pool, workers, settings.threads, directory)
    elif isinstance(settings, Dask):
        with _dask(settings, data) as worker_pool:
            yield worker_pool
    else:
        jobs = _slurm(settings)
        try:
            yield WorkerPool(jobs, settings.workers, settings.threads, directory)
        finally:
            jobs.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    """Start processes that end with the block, and with this process, however it ends."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():  # one that is amid a stack would finish it for nobody
            process.terminate()


def _end_with_parent() -> None:
    """End this process when its parent does, which after SIGKILL nothing else would see to."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _dask(settings: Dask, data: Dataset) -> Iterator[WorkerPool]:
    """Connect to a scheduler, ask every worker which code it runs, and send each the data set."""
    distributed = _package("distributed", "dask")
    logging.getLogger("distributed").setLevel(logging.ERROR)  # what matters comes back as an exception
    try:
        client = distributed.Client(settings.address, timeout=settings.seconds, set_as_default=False)
    except OSError as error:
        raise ExecutorError(
            f"executor.address: no Dask scheduler answers at {settings.address} within {settings.seconds} s ({error}); "
            "start one with `python -m pipeline.dask scheduler`, or give executor.address=tcp://host:port"
        ) from None
    with client:
        try:
            client.wait_for_workers(settings.workers, timeout=settings.seconds)
        except TimeoutError:
            raise ExecutorError(
                f"the Dask scheduler at {settings.address}: workers: expected {settings.workers} within "
                f"{settings.seconds} s, got {len(client.nthreads())}; start each with `python -m pipeline.dask worker "
                f"{settings.address}`, or give executor.workers the number that there are"
            ) from None
        _check_workers(client)
        client.amm.stop()  # it takes back copies that no stack waits for yet; a killed worker could have the last one
        sent = client.scatter(data, broadcast=True, hash=False)
        executor = client.get_executor(pure=False)
        try:
            yield WorkerPool(executor, _count(client), settings.threads, sent)
        finally:
            executor.shutdown(wait=False)


def _check_workers(client: Any) -> None:
    """Refuse by name what runs other code than this process, or cannot read what is sent to it."""
    try:
        client.run_on_scheduler(worker.identity_here)
    except Exception as error:
        raise ExecutorError(
            f"the Dask scheduler {client.scheduler.address} cannot run this checkout's code ({error!r}); end it, and "
            "start another with `python -m pipeline.dask scheduler`"
        ) from None
    here = worker.identity_here()
    found = client.run(worker.identity_here, on_error="return")
    reasons = {
        address: str(there) if isinstance(there, Exception) else worker.differences(here, there)
        for address, there in sorted(found.items())
    }
    if refused := [f"  {address}: {why}" for address, why in reasons.items() if why]:
        raise ExecutorError(
            f"{len(refused)} of {len(found)} workers do not run the code of this process:\n" + "\n".join(refused) + "\n"
            "Bring each to the same commit and start it anew with `python -m pipeline.dask worker "
            f"{client.scheduler.address}`, or end it"
        )


def _count(client: Any) -> int:
    """How many stacks the workers train at once."""
    return sum(client.nthreads().values())


class _Jobs(ThreadPoolExecutor):
    """submitit's jobs as futures: each thread hands one over and waits for its result."""

    def __init__(self, submitit: Any, workers: int) -> None:
        super().__init__(workers)
        self._submitit, self._open, self._lock = submitit, set[Any](), threading.Lock()

    def submit(self, task: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":
        """Hand a task over as soon as fewer jobs are open than there may be."""
        return super().submit(self._result, task, *arguments, **named)

    def _result(self, task: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self._lock:
            job = self._submitit.submit(task, *arguments, **named)
            self._open.add(job)
        try:
            return job.result()
        finally:
            self._open.discard(job)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the jobs that are open, if what waits is to be cancelled."""
        if cancel_futures:
            super().shutdown(wait=False, cancel_futures=True)
            with self._lock:
                for job in self._open:
                    job.cancel(check=False)
        super().shutdown(wait=wait)


def _slurm(settings: Slurm) -> _Jobs:
    """Let submitit hand over jobs that import this code."""
    submitit = _package("submitit", "slurm")
    logging.getLogger("submitit").setLevel(logging.ERROR)
    source = shlex.quote(str(Path(worker.__file__).parent.parent.parent))
    try:
        executor = submitit.AutoExecutor(settings.folder, cluster=settings.cluster, slurm_max_num_timeout=0)
        executor.update_parameters(
            name="numnist",
            timeout_min=settings.minutes,
            slurm_cpus_per_task=settings.threads,
            **{f"{settings.cluster}_setup": [f"export PYTHONPATH={source}"]},
            **(settings.parameters or {}),
        )
    except Exception as error:
        raise ExecutorError(f"executor: submitit refuses cluster {settings.cluster!r}: {error}") from None
    return _Jobs(executor, settings.workers)


def _package(name: str, extra: str) -> Any:
    """Import what an executor needs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ExecutorError(
            f"executor={extra} needs the package {name}; run `pip install -e '.[{extra}]'`, or `make test` once, which "
            "installs it"
        ) from None
