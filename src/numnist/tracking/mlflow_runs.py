"""What is kept of a run beside its files: MLflow's parameters, curves, artifacts and models.

A sweep is one parent run with a child run per trial. Every run is tagged with the process that owns it, so that one
whose owner was killed is told from one at work. No other module imports MLflow, but for the model's own file
(`served.py`) and its server (`serving.py`), and this one imports it when it is used: it takes a second. Which model is
the champion: `champion.py`.
"""

import contextlib
import json
import math
import os
import platform
import re
import sqlite3
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import psutil
from filelock import FileLock

from numnist.common import files
from numnist.common.errors import DataError, TrackingError
from numnist.config.schema import TrainingConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunInfo
    from mlflow.pyfunc import PyFuncModel

    from numnist.training.results import Result

T = TypeVar("T")
EXPERIMENT = MODEL = "numnist"
TRIAL, SWEEP = "numnist.trial", "numnist.training.scheduling"  # tags: the key of a run
DATA, WEIGHTS = "numnist.data", "numnist.weights"  # tags: the digests of a model; of a trial, its weights
CODE = "numnist.code"  # tag: the digest of the code that trained
DIVERGED = "diverged"  # tag of a trial whose loss was no longer finite: the iteration
_HOST, _PID, _STARTED = "numnist.host", "numnist.pid", "numnist.started"  # tags: who owns the run
_NOTE, _PARENT = "mlflow.note.content", "mlflow.parentRunId"  # tags that MLflow's pages show as text and as a tree

_ENVIRONMENT = {  # defaults, read when MLflow is imported or used
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # a model that is a pickle is not loaded
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # its errors come as exceptions, and are told by `tracking_errors`
}
_NEWEST_FIRST = ["attributes.start_time DESC"]
_LOCK_SECONDS = 60.0  # how long another process may take to create the store
_BUSY_SECONDS = 10.0  # how long another process may keep the database from being written
_FIRST, _STRIDE, _POINTS = 12, 3, 200  # see `_steps`: four curves fit in the 1,000 rows of a batch of MLflow's
_DIGEST_LENGTH = 36  # the longest data set digest that MLflow stores

_EXPERIMENT_NOTE = (
    "Neural networks with one hidden layer, written in NumPy, trained on handwritten digits. Each sweep is a "
    "parent run; its child runs are the trials, one network each, with learning curves, weights and results. "
    "`numnist` under Models is the best network so far."
)
_SWEEP_NOTE = (
    "**A sweep**: every combination of the values in params.yaml, one child run each. To see the curves, open the "
    "chart view and keep the runs below this one; to rank the trials, sort them by `validation_accuracy`."
)
_CELL_NOTE = (
    "**A trial**: one network. The curves are measured at the weights after so many updates (the step), loss as mean "
    "cross-entropy. `weights.npz` holds the weights, `curves.csv` the curves, `result.json` what decided them."
)


@dataclass(frozen=True)
class TrackedRun:
    """What the store holds of a trial's run, beside its files."""

    run_id: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    data_digest: str


@dataclass(frozen=True)
class Tracker:
    """An open tracking store and the experiment in it. Each method raises TrackingError where the store fails."""

    uri: str
    experiment: str
    client: "MlflowClient"
    created: "dict[str, RunInfo]" = field(default_factory=dict)  # by id, the open runs that this process created

    def begin_sweep(self, key: str, name: str, tags: Mapping[str, str]) -> str:
        """Return the parent run of a sweep, RUNNING: the one with this key that was cut off last, else a new one."""
        tags = {SWEEP: key, _NOTE: _SWEEP_NOTE, **tags}
        with tracking_errors(self.uri, f"begin the sweep {name}"):
            newest = self._search(f"tags.`{SWEEP}` = '{key}'")[:1]
            return self._continue(newest[0], tags) if newest and _cut_off(newest[0]) else self._create(name, tags)

    def begin_trial(
        self, config: TrainingConfig, key: str, parent: str | None, tags: Mapping[str, str], trained: bool = False
    ) -> str:
        """Return the run of a trial, RUNNING: one that was cut off, else a new one.

        Its parameters are the config's, logged at once where it is yet to be trained, else with its results.
        """
        tags = {TRIAL: key, _NOTE: _CELL_NOTE, **({_PARENT: parent} if parent else {}), **tags}
        with tracking_errors(self.uri, f"begin the trial {config.name}"):
            cut_off = self._cut_off_trial(key, parent)
            run_id = self._continue(cut_off, tags) if cut_off else self._create(config.name, tags)
            if not trained:
                self.client.log_batch(run_id, params=_params(config))  # where cut off, it may have been before this
            return run_id

    def finished_trials(self, parent: str) -> set[str]:
        """Return the keys of a sweep's trials that need no more work: finished, or diverged."""
        with tracking_errors(self.uri, "read the finished trials"):
            children = self._search(f"tags.`{_PARENT}` = '{parent}' and tags.`{TRIAL}` LIKE '%'")
            return {run.data.tags[TRIAL] for run in children if _done(run)}

    def finish_trial(self, run_id: str, result: "Result", directory: Path) -> None:
        """Log a trial's curves, data set and files (those of its directory under runs/), and end its run."""
        from mlflow.entities import RunTag
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        record = files.read_json(directory / "result.json")
        diverged = result.status == "diverged"
        last = (DIVERGED, str(record["iteration"])) if diverged else (WEIGHTS, files.sha256(directory / "weights.npz"))
        with tracking_errors(self.uri, f"log the trial {result.config.name}"):
            info = self.created.pop(run_id, None) or self.client.get_run(run_id).info
            self.client.log_inputs(run_id, [_dataset_input(**record["dataset"])])
            artifacts = get_artifact_repository(info.artifact_uri, tracking_uri=self.uri)
            artifacts.log_artifacts(str(directory))  # type: ignore[no-untyped-call]
            curves = ((name, float(curve[k]), k) for name, curve in result.curves.items() for k in _steps(len(curve)))
            metrics = _metrics(curves, info.start_time)  # one time for all: logging twice adds no rows
            self.client.log_batch(run_id, metrics=metrics, params=_params(result.config), tags=[RunTag(*last)])
            self.client.set_terminated(run_id, "FAILED" if diverged else "FINISHED")

    def end(self, run_id: str, status: str) -> None:
        """End a run as FINISHED, FAILED or KILLED."""
        self.created.pop(run_id, None)
        with tracking_errors(self.uri, f"end the run {run_id}"):
            self.client.set_terminated(run_id, status)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log single numbers, those that are finite."""
        with tracking_errors(self.uri, f"log metrics to the run {run_id}"):
            rows = ((name, value, 0) for name, value in metrics.items())
            self.client.log_batch(run_id, metrics=_metrics(rows, _now()))

    def log_files(self, run_id: str, paths: Mapping[str, Iterable[Path]]) -> None:
        """Store files as artifacts; the keys are directories in the run ("" for its top)."""
        with tracking_errors(self.uri, f"store files of the run {run_id}"):
            for directory, members in paths.items():
                for path in members:
                    self.client.log_artifact(run_id, str(path), directory or None)

    def log_text(self, run_id: str, name: str, text: str) -> None:
        """Store a text as an artifact."""
        with tracking_errors(self.uri, f"store {name} of the run {run_id}"):
            self.client.log_text(run_id, text, name)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        from mlflow.entities import RunTag

        with tracking_errors(self.uri, f"tag the run {run_id}"):
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def sweep(self, key: str) -> str | None:
        """Return the parent run of the sweep with this key that was begun last."""
        with tracking_errors(self.uri, "find a sweep"):
            return next((str(run.info.run_id) for run in self._search(f"tags.`{SWEEP}` = '{key}'")), None)

    def newest_sweep(self) -> str | None:
        """Return the parent run of the sweep that was begun last."""
        with tracking_errors(self.uri, "find the newest sweep"):
            return next((str(run.info.run_id) for run in self._search(f"tags.`{SWEEP}` LIKE '%'")), None)

    def weights_of(self, run: str) -> Path:
        """Return the weights file of a trial's run; DataError if there is no such trial, or it left none."""
        if DIVERGED in self.read_trial(run).tags:
            raise DataError(f"the run {run} diverged and left no weights; `make ui` shows which runs finished")
        return self.download(f"find the weights of {run}", run_id=run, artifact_path="weights.npz")

    def download(self, action: str, **what: str) -> Path:
        """Return a copy of an artifact on this machine; `what` names it as MLflow's download_artifacts wants it."""
        with tracking_errors(self.uri, action):
            from mlflow.artifacts import download_artifacts

            return Path(download_artifacts(**what, tracking_uri=self.uri))

    def read_trial(self, run_id: str) -> TrackedRun:
        """Return what is kept of a trial's run; DataError where there is no such trial, or it is not finished."""
        with tracking_errors(self.uri, f"read the run {run_id}"):
            found = none_if_missing(lambda: self.client.get_run(run_id))
            if found is None:
                raise DataError(f"{self.uri} holds no run {run_id}; `make ui` shows which there are")
            if TRIAL not in found.data.tags or not _done(found):
                raise DataError(f"the run {run_id} is no finished trial; `make ui` shows which runs there are")
            inputs = found.inputs.dataset_inputs if found.inputs else []
            sources = [json.loads(one.dataset.source) for one in inputs]
            digest = sources[0]["digest"] if sources else ""
            return TrackedRun(found.info.run_id, found.info.run_name, found.data.params, found.data.tags, digest)

    def newest_trial(self, weights: str) -> str | None:
        """Return the newest run of a trial whose weights have this digest."""
        with tracking_errors(self.uri, "find the trial of some weights"):
            found = self._search(f"attributes.status = 'FINISHED' and tags.`{WEIGHTS}` = '{weights}'")
            return next((str(run.info.run_id) for run in found), None)

    def copy_files(self, run_id: str, directory: Path) -> None:
        """Copy a run's artifacts into a directory."""
        with tracking_errors(self.uri, f"copy the files of the run {run_id}"):
            self.client.download_artifacts(run_id, "", str(directory))

    def sweep_link(self) -> str:
        """Return the part of the UI's address, from # on, that shows the newest sweep's curves."""
        newest = self.newest_sweep()
        children = f"tags.`{_PARENT}` = '{newest}'" if newest else ""
        view = {
            "workflowType": "machine_learning",
            "compareRunsMode": "CHART",
            "searchFilter": children,
            "orderByKey": "metrics.`validation_accuracy`",  # sorted by a metric, children show as runs of their own
            "orderByAsc": "false",
        }
        return f"#/experiments/{self.experiment}/runs?{urlencode(view, quote_via=quote)}"

    def close_orphaned_runs(self) -> None:
        """End as KILLED every run of this host whose owner is dead."""
        with tracking_errors(self.uri, "mend runs that were cut off"):
            for run in self._search(f"attributes.status = 'RUNNING' and tags.`{_HOST}` = '{platform.node()}'"):
                if not _alive(run.data.tags):
                    self.client.set_terminated(run.info.run_id, "KILLED")

    def _search(self, condition: str) -> "list[Run]":
        """Find runs, newest first."""
        page = self.client.search_runs([self.experiment], condition, order_by=_NEWEST_FIRST)
        found = list(page)
        while page.token:
            page = self.client.search_runs([self.experiment], condition, order_by=_NEWEST_FIRST, page_token=page.token)
            found += page
        return found

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        info = self.client.create_run(self.experiment, tags={**tags, **_owner()}, run_name=name).info
        self.created[info.run_id] = info
        return info.run_id

    def _cut_off_trial(self, key: str, parent: str | None) -> "Run | None":
        """Return the newest run of a trial that was cut off, in the same sweep; one just created has none."""
        if parent in self.created:
            return None
        same = [run for run in self._search(f"tags.`{TRIAL}` = '{key}'") if run.data.tags.get(_PARENT) == parent]
        return next((run for run in same if _cut_off(run)), None)

    def _continue(self, run: "Run", tags: Mapping[str, str]) -> str:
        run_id: str = run.info.run_id
        self.set_tags(run_id, {**tags, **_owner()})
        self.client.update_run(run_id, "RUNNING")
        return run_id


def connect(root: Path) -> Tracker:
    """Open the tracking store of a checkout, made where there is none, and mend the runs that were cut off.

    The store is MLFLOW_TRACKING_URI where that is set, else mlflow.db and mlartifacts/ in the main checkout.
    TrackingError where it cannot be written: after 10 s for a locked database, 60 s for a lock on its creation,
    and about half a minute for a server that does not answer.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{main_checkout(root) / 'mlflow.db'}"
    with tracking_errors(uri, "open it"), _sole_creator(uri) as database:
        if database:
            _probe(database)
        from mlflow import MlflowClient

        client = MlflowClient(uri, registry_uri=uri)
        artifacts = (database.parent / "mlartifacts").as_uri() if database else None
        tracker = Tracker(uri, _experiment(client, artifacts), client)
    tracker.close_orphaned_runs()
    return tracker


def main_checkout(root: Path) -> Path:
    """Return the checkout that keeps the store: not a copy that `dvc exp run` or the sample's run works in."""
    root = root.resolve()
    for directory in (root, *root.parents):
        if directory.parts[-3:] == (".dvc", "tmp", "exps"):
            return main_checkout(directory.parents[2])
        if directory.name == ".sample" and (directory.parent / "params.yaml").is_file():
            return main_checkout(directory.parent)
    return root


@contextlib.contextmanager
def tracking_errors(uri: str, action: str) -> Iterator[None]:
    """Turn what MLflow and its stores raise into a TrackingError that names the store and the action."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, sqlite3.Error) as error:
        reason = " ".join(str(error).split())[:500]
        message = (
            f"the tracking store {uri} failed, to {action}: {reason}. Mend it or set MLFLOW_TRACKING_URI to another; "
            "then run the same command again, which keeps what is finished"
        )
        raise TrackingError(re.sub(r"://[^/@\s]*@", "://", message)) from error  # no password


@contextlib.contextmanager
def _sole_creator(uri: str) -> Iterator[Path | None]:
    """Give the path of an SQLite store, or None for a server; no other process creates the store meanwhile."""
    if not uri.startswith("sqlite:///"):
        yield None
        return
    database = Path(uri.removeprefix("sqlite:///")).absolute()
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=_LOCK_SECONDS):
        yield database


def _probe(database: Path) -> None:
    """Check that a database can be written: MLflow itself would try for minutes before it said so.

    A new one gets a write-ahead log, for good: a commit then waits for the disk once, not three or four times, and
    whoever reads the pages meanwhile is in nobody's way.
    """
    new = not database.exists()
    if not new and not os.access(database, os.W_OK):  # SQLite would find out at the first commit
        raise PermissionError("the file may not be written")
    with contextlib.closing(sqlite3.connect(database, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        if new:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def none_if_missing(ask: Callable[[], T]) -> T | None:
    """Return what MLflow answers, or None where there is no such thing, or, on creating one, there is one already."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS"):
            return None
        raise


def _experiment(client: "MlflowClient", artifacts: str | None) -> str:
    """Return the id of the experiment, created where there is none."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:  # where another machine is first, there is one afterwards, too
        none_if_missing(lambda: client.create_experiment(EXPERIMENT, artifacts, {_NOTE: _EXPERIMENT_NOTE}))
        found = client.get_experiment_by_name(EXPERIMENT)
    if found is None or found.lifecycle_stage != "active":
        raise OSError(f"its experiment {EXPERIMENT} is deleted (`mlflow experiments restore` brings it back)")
    return str(found.experiment_id)


def _owner() -> dict[str, str]:
    """Return the tags that say which process owns a run."""
    process = psutil.Process()
    return {_HOST: platform.node(), _PID: str(process.pid), _STARTED: str(process.create_time())}


def _alive(tags: Mapping[str, str]) -> bool:
    """Whether a run's owner is at work; who runs on another host is taken to be, and who left no tags not."""
    if tags.get(_HOST) != platform.node():
        return _HOST in tags
    try:
        process = psutil.Process(int(tags[_PID]))
        same = abs(process.create_time() - float(tags[_STARTED])) < 2  # the clock may have been set meanwhile
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, ValueError):
        return False


def _steps(length: int) -> list[int]:
    """Return the steps of a curve that are logged: each of the first ones, every third after them, and the last one.

    A row costs MLflow 0.1 ms. Of long curves it gets about _POINTS points; its pages draw 320. `curves.csv` holds all.
    """
    stride = max(_STRIDE, math.ceil(length / _POINTS))
    return sorted({*range(min(_FIRST, length)), *range(0, length, stride), length - 1})


def _params(config: TrainingConfig) -> "list[Param]":
    from mlflow.entities import Param

    return [Param(key, str(value)) for key, value in asdict(config).items()]


def _metrics(rows: Iterable[tuple[str, float, int]], timestamp: int) -> "list[Metric]":
    """Make metrics of rows (name, value, step); numbers that are not finite are left out."""
    from mlflow.entities import Metric

    return [Metric(name, value, timestamp, step) for name, value, step in rows if math.isfinite(value)]


def _done(run: "Run") -> bool:
    return run.info.status == "FINISHED" or (run.info.status == "FAILED" and DIVERGED in run.data.tags)


def _cut_off(run: "Run") -> bool:
    """Whether a run ended before its work did."""
    return not _done(run) and not (run.info.status == "RUNNING" and _alive(run.data.tags))


def _dataset_input(name: str, digest: str) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": "data/processed", "digest": digest})
    dataset = Dataset(name, digest[:_DIGEST_LENGTH], "local", source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def load_model(directory: str) -> "PyFuncModel":
    """Load a model as MLflow does; DataError where its weights are damaged. A pickle is neither read nor taken."""
    from mlflow import pyfunc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it finds no type hints
        try:
            return pyfunc.load_model(directory)
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:  # of `served`, and of NumPy
            raise DataError(
                f"the model in {directory} cannot be loaded: {error}; `dvc repro -f evaluate` registers it anew"
            ) from None


def save_model(directory: Path, weights: Path, model_id: str, parent: str | None) -> None:
    """Write the model that `served.py` and the weights make: code, arrays and text, no pickle."""
    from importlib.metadata import version

    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array
    from numpy import dtype

    inputs = Schema([TensorSpec(dtype("float32"), (-1, 784))])
    outputs = Schema([ColSpec(DataType.long, "digit"), ColSpec(Array(DataType.double), "probabilities")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would like an input example, beside the signature
        pyfunc.save_model(
            directory,
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"weights": str(weights)},
            signature=ModelSignature(inputs, outputs),
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pandas")],
            mlflow_model=Model(artifact_path=MODEL, run_id=parent, model_id=model_id),
        )


def _now() -> int:
    return int(time.time() * 1000)
