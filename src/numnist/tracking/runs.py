"""Runs in MLflow: a sweep is a parent run with a child run per trial.

Every run is tagged with the process that owns it (`owners.py`), which shows whether its owner is at work or was
killed. A trial is logged from the directory that training writes: weights.npz, curves.csv, result.json.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numnist.common import files
from numnist.common.errors import TrackingError
from numnist.tracking import entities, owners, store
from numnist.tracking.store import NOTE, Store, none_if_missing

if TYPE_CHECKING:
    from mlflow.entities import Run, RunInfo

TRIAL, SWEEP = "numnist.trial", "numnist.sweep"  # tags: the key of a run
WEIGHTS = "numnist.weights"  # tag: the digest of a network's weights
WINNER = "winner"  # tag of a sweep's winning trial: what it won
REFERENCE = "reference"  # tag of the network that the winner is set beside
DIVERGED = "diverged"  # tag of a trial whose loss was no longer finite: the iteration
CODE = "numnist.code"  # in provenance.json: the digest of the code that trained
PARENT = "mlflow.parentRunId"  # tag that MLflow's pages show as a tree
PROVENANCE = "provenance.json"  # artifact of a sweep, or of a trial on its own: commit, code, packages, arithmetic

_ROWS = 1_000  # points that MLflow takes at a time

Tags = Mapping[str, str]
Curves = Mapping[str, Sequence[float]]
Point = tuple[str, float, int, float]  # of a curve: its name, the value, the step, and when: seconds since 1970


@dataclass(frozen=True)
class _Open:
    """A run that this process has begun and not ended, and the steps whose points are logged."""

    info: "RunInfo"
    steps: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Tracker:
    """The runs of a store. Each method raises TrackingError if the store fails."""

    store: Store
    created: set[str] = field(default_factory=set)
    open: dict[str, _Open] = field(default_factory=dict)  # by run id

    def begin_sweep(self, key: str, name: str, tags: Tags, *, all_trained: bool = False) -> str:
        """Return the parent run of a sweep, RUNNING: the newest with this key if it was cut off, else a new one.

        If all its trials are trained already, the newest is returned also if it is finished: DVC was interrupted before
        it took over the results. So nothing is logged twice.
        """
        tags = {SWEEP: key, NOTE: entities.SWEEP_NOTE, **tags}
        with self.store.errors(f"begin the sweep {name}"):
            newest = next(iter(self.store.search(f"tags.`{SWEEP}` = '{key}'")), None)
            if newest and (self._is_cut_off(newest) or (all_trained and is_done(newest))):
                return self._continue(newest, tags)
            return self._create(f"{name}, {datetime.now():%d %b %Y %H:%M}", tags)

    def begin_trial(
        self, name: str, key: str, parent: str | None, tags: Tags, params: Any = None, started: float | None = None
    ) -> str:
        """Return the run of a trial, RUNNING: one that was cut off, else a new one.

        `params`, a mapping, are logged at once if they are given, else with its results. `started`: seconds since 1970.
        """
        tags = {TRIAL: key, NOTE: entities.TRIAL_NOTE, **({PARENT: parent} if parent else {}), **tags}
        with self.store.errors(f"begin the trial {name}"):
            cut_off = self._cut_off_trial(key, parent)
            run_id = self._continue(cut_off, tags) if cut_off else self._create(name, tags, started)
            if params:
                self._log(run_id, params=params)
            return run_id

    def finished_trials(self, parent: str) -> set[str]:
        """Return the keys of a sweep's trials that are done."""
        with self.store.errors("read the finished trials"):
            children = self.store.search(f"tags.`{PARENT}` = '{parent}' and tags.`{TRIAL}` LIKE '%'")
            return {run.data.tags[TRIAL] for run in children if is_done(run)}

    def log_points(self, run_id: str, curves: Curves, length: int, times: Sequence[float]) -> None:
        """Log what is new of curves that grow to a length; `times` are those of their points, seconds since 1970."""
        with self.store.errors(f"log curves of the run {run_id}"):
            self._log(run_id, self._new_points(run_id, curves, length, times))

    def finish_trial(
        self, run_id: str, directory: Path, times: Sequence[float] = (), more: Sequence[Path] = ()
    ) -> None:
        """Log a trial from its directory under runs/, and more files, and end its run.

        `times` are those at which the points of its curves were reached, seconds since 1970; now, if it is not known.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        record, curves = files.read_json(directory / "result.json"), entities.read_curves(directory / "curves.csv")
        diverged = record["status"] == "diverged"
        last = (DIVERGED, str(record["iteration"])) if diverged else (WEIGHTS, files.sha256(directory / "weights.npz"))
        length = len(next(iter(curves.values())))
        with self.store.errors(f"log the trial {record['name']}"):
            info, client = self._opened(run_id).info, self.store.client
            used = [entities.dataset_input(**record["dataset"])]
            store.try_twice(lambda: client.log_inputs(run_id, used))
            artifacts = get_artifact_repository(info.artifact_uri, tracking_uri=self.store.uri)
            artifacts.log_artifacts(str(directory))  # type: ignore[no-untyped-call]
            for path in more:
                artifacts.log_artifact(str(path))  # type: ignore[no-untyped-call]
            times = times or [max(time.time(), info.start_time / 1000)] * length
            self._log(run_id, self._new_points(run_id, curves, length, times), record["config"], dict([last]))
            self._end(run_id, "FAILED" if diverged else "FINISHED", times[-1])

    def log_directory(self, directory: Path, parent: str | None, tags: Tags) -> str:
        """Log a trial that was trained elsewhere or earlier, from its directory; return its run."""
        record = files.read_json(directory / "result.json")
        run_id = self.begin_trial(record["name"], record["key"], parent, tags)
        self.finish_trial(run_id, directory)
        return run_id

    def end(self, run_id: str, status: str) -> None:
        """End a run as FINISHED, FAILED or KILLED."""
        with self.store.errors(f"end the run {run_id}"):
            self._end(run_id, status)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log single numbers, those that are finite."""
        with self.store.errors(f"log metrics to the run {run_id}"):
            self._log(run_id, [(name, value, 0, time.time()) for name, value in metrics.items()])

    def log_files(self, run_id: str, paths: Mapping[str, Iterable[Path]]) -> None:
        """Store files as artifacts; the keys are directories in the run ("" for its top)."""
        with self.store.errors(f"store files of the run {run_id}"):
            for directory, members in paths.items():
                for path in members:
                    self.store.client.log_artifact(run_id, str(path), directory or None)

    def artifact_sizes(self, run_id: str, directory: str) -> dict[str, int]:
        """Return the sizes in bytes of the files that a directory of a run holds, by their names."""
        with self.store.errors(f"list files of the run {run_id}"):
            found = self.store.client.list_artifacts(run_id, directory)
            return {Path(one.path).name: one.file_size or 0 for one in found if not one.is_dir}

    def log_text(self, run_id: str, name: str, text: str) -> None:
        """Store a text as an artifact."""
        with self.store.errors(f"store {name} of the run {run_id}"):
            self.store.client.log_text(run_id, text, name)

    def tags(self, run_id: str) -> Tags:
        """Return the tags of a run."""
        with self.store.errors(f"read the run {run_id}"):
            return dict(self.store.client.get_run(run_id).data.tags)

    def set_tags(self, run_id: str, tags: Tags) -> None:
        """Set tags of a run."""
        with self.store.errors(f"tag the run {run_id}"):
            self._log(run_id, tags=tags)

    def beat(self) -> None:
        """Renew the claim on the runs at the top that are open; TrackingError if another process has taken one over."""
        with self.store.errors("renew the claim on a run"):
            for run_id in list(self.open):
                tags = self.store.client.get_run(run_id).data.tags
                if not owners.is_mine(tags):
                    raise TrackingError(f"the run {run_id} was taken over by another process: {tags[owners.OWNER]}")
                if PARENT not in tags:
                    self.set_tags(run_id, owners.heartbeat())

    def close_orphaned_runs(self) -> None:
        """End as KILLED every run whose owner is dead."""
        with self.store.errors("mend runs that were cut off"):
            for run in self.store.search(f"attributes.status = 'RUNNING' and tags.`{owners.OWNER}` LIKE '%'"):
                if not self._is_alive(run):
                    self.store.client.set_terminated(run.info.run_id, "KILLED")

    def _create(self, name: str, tags: Tags, started: float | None = None) -> str:
        at = _milliseconds(started or time.time())
        every = {**tags, **owners.tags()}
        info = self.store.client.create_run(self.store.experiment, start_time=at, tags=every, run_name=name).info
        self.created.add(info.run_id)
        self.open[info.run_id] = _Open(info)
        return info.run_id

    def _cut_off_trial(self, key: str, parent: str | None) -> "Run | None":
        """Return the newest run of a trial that was cut off, in the same sweep; a new sweep has none."""
        if parent in self.created:
            return None
        same = [run for run in self.store.search(f"tags.`{TRIAL}` = '{key}'") if run.data.tags.get(PARENT) == parent]
        return next((run for run in same if self._is_cut_off(run)), None)

    def _continue(self, run: "Run", tags: Tags) -> str:
        run_id: str = run.info.run_id
        self._log(run_id, tags={**tags, **owners.tags()})
        self.store.client.update_run(run_id, "RUNNING")
        self.open[run_id] = self._opened(run_id)
        return run_id

    def _opened(self, run_id: str) -> _Open:
        """Return what is known of a run that is being logged; one of another process is asked for its points."""
        if run_id in self.open:
            return self.open[run_id]
        history = self.store.client.get_metric_history(run_id, "train_loss")
        return _Open(self.store.client.get_run(run_id).info, {point.step for point in history})

    def _new_points(self, run_id: str, curves: Curves, length: int, times: Sequence[float]) -> list[Point]:
        """Return the points of curves that grow to a length which are not logged yet, and take them for logged."""
        logged, reached = self._opened(run_id).steps, len(next(iter(curves.values())))
        new = [k for k in entities.steps(length) if k < reached and k not in logged]
        logged.update(new)
        return [(name, float(curve[k]), k, times[k]) for k in new for name, curve in curves.items()]

    def _log(self, run_id: str, points: Iterable[Point] = (), params: Any = None, tags: Tags | None = None) -> None:
        """Log points, those that are finite, parameters (a mapping) and tags, in as few requests as MLflow takes."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(name, value, _milliseconds(at), k) for name, value, k, at in points if math.isfinite(value)]
        values = [Param(key, str(value)) for key, value in (params or {}).items()]
        texts = [RunTag(key, value) for key, value in (tags or {}).items()]
        self.store.client.log_batch(run_id, metrics[:_ROWS], values, texts)
        for first in range(_ROWS, len(metrics), _ROWS):
            self.store.client.log_batch(run_id, metrics[first : first + _ROWS])

    def _end(self, run_id: str, status: str, at: float | None = None) -> None:
        self.open.pop(run_id, None)
        self.store.client.set_terminated(run_id, status, _milliseconds(at or time.time()))

    def _is_alive(self, run: "Run") -> bool:
        """Whether a run's owner is at work; of a child run, the parent has the heartbeat."""
        if owners.is_alive(run.data.tags):
            return True
        if (parent_id := run.data.tags.get(PARENT)) is None:
            return False
        parent = none_if_missing(lambda: self.store.client.get_run(parent_id))
        if parent is None or parent.info.status != "RUNNING":
            return False
        return parent.data.tags.get(owners.OWNER) == run.data.tags[owners.OWNER] and owners.is_alive(parent.data.tags)

    def _is_cut_off(self, run: "Run") -> bool:
        """Whether a run ended before its work did."""
        return not is_done(run) and not (run.info.status == "RUNNING" and self._is_alive(run))


def connect(root: Path) -> Tracker:
    """Open the tracking store of a checkout, and mend the runs that were cut off; errors as in `store.connect`."""
    tracker = Tracker(store.connect(root))
    tracker.close_orphaned_runs()
    return tracker


def _milliseconds(seconds: float) -> int:
    """Turn seconds since 1970 into MLflow's milliseconds."""
    return int(seconds * 1000)


def is_done(run: "Run") -> bool:
    """Whether a run needs no more work: finished, or diverged."""
    return run.info.status == "FINISHED" or (run.info.status == "FAILED" and DIVERGED in run.data.tags)
