"""Runs in MLflow: a sweep is a parent run with a child run per trial.

Every run is tagged with the process that owns it (`owners.py`), so that one whose owner was killed is told from one at
work. A trial is logged from the directory that training writes: weights.npz, curves.csv, result.json.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numnist.common import files
from numnist.common.errors import DataError, TrackingError
from numnist.tracking import entities, owners, store
from numnist.tracking.store import NOTE, Store, none_if_missing

if TYPE_CHECKING:
    from mlflow.entities import Param, Run, RunInfo, RunTag

TRIAL, SWEEP = "numnist.trial", "numnist.sweep"  # tags: the key of a run
WEIGHTS = "numnist.weights"  # tag: the digest of a network's weights
WINNER = "winner"  # tag of a sweep's winning trial: what it won
REFERENCE = "reference"  # tag of the network that the winner is set beside
DIVERGED = "diverged"  # tag of a trial whose loss was no longer finite: the iteration
CODE = "numnist.code"  # in provenance.json: the digest of the code that trained
PARENT = "mlflow.parentRunId"  # tag that MLflow's pages show as a tree
PROVENANCE = "provenance.json"  # artifact of a sweep, or of a trial on its own: commit, code, packages, arithmetic

_NEWEST_FIRST = ["attributes.start_time DESC"]
_ROWS = 1_000


@dataclass(frozen=True)
class TrackedRun:
    """What the store holds of a trial's run, beside its files; `tags` with what provenance.json says."""

    run_id: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    data_digest: str


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

    def begin_sweep(self, key: str, name: str, tags: Mapping[str, str], *, all_trained: bool = False) -> str:
        """Return the parent run of a sweep, RUNNING: the newest with this key if it was cut off, else a new one.

        If all its trials are trained already, the newest is returned also if it is finished: whoever was to take over
        its results was interrupted, and nothing is logged twice.
        """
        tags = {SWEEP: key, NOTE: entities.SWEEP_NOTE, **tags}
        with self._errors(f"begin the sweep {name}"):
            newest = next(iter(self._search(f"tags.`{SWEEP}` = '{key}'")), None)
            if newest and (self._is_cut_off(newest) or (all_trained and _is_done(newest))):
                return self._continue(newest, tags)
            return self._create(f"{name}, {datetime.now():%d %b %Y %H:%M}", tags)

    def begin_trial(
        self,
        name: str,
        key: str,
        parent: str | None,
        tags: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        started: float | None = None,
    ) -> str:
        """Return the run of a trial, RUNNING: one that was cut off, else a new one.

        `params` are logged at once if they are given, else with its results. `started`: seconds since 1970.
        """
        tags = {TRIAL: key, NOTE: entities.TRIAL_NOTE, **({PARENT: parent} if parent else {}), **tags}
        with self._errors(f"begin the trial {name}"):
            cut_off = self._cut_off_trial(key, parent)
            run_id = self._continue(cut_off, tags) if cut_off else self._create(name, tags, started)
            if params:
                self.store.client.log_batch(run_id, params=entities.params(params))
            return run_id

    def finished_trials(self, parent: str) -> set[str]:
        """Return the keys of a sweep's trials that need no more work: finished, or diverged."""
        with self._errors("read the finished trials"):
            children = self._search(f"tags.`{PARENT}` = '{parent}' and tags.`{TRIAL}` LIKE '%'")
            return {run.data.tags[TRIAL] for run in children if _is_done(run)}

    def log_points(
        self, run_id: str, curves: Mapping[str, Sequence[float]], length: int, times: Sequence[float]
    ) -> None:
        """Log what is new of curves that grow to a length; `times` are those of their points, seconds since 1970."""
        with self._errors(f"log curves of the run {run_id}"):
            reached = len(next(iter(curves.values())))
            self._log_curves(run_id, curves, [k for k in entities.steps(length) if k < reached], times)

    def finish_trial(
        self,
        run_id: str,
        directory: Path,
        times: Sequence[float] = (),
        more: Sequence[Path] = (),
    ) -> None:
        """Log a trial from its directory under runs/, and more files, and end its run.

        `times` are those at which the points of its curves were reached, seconds since 1970; now, if it is not known.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        record, curves = files.read_json(directory / "result.json"), entities.read_curves(directory / "curves.csv")
        diverged = record["status"] == "diverged"
        last = (DIVERGED, str(record["iteration"])) if diverged else (WEIGHTS, files.sha256(directory / "weights.npz"))
        length = len(next(iter(curves.values())))
        with self._errors(f"log the trial {record['name']}"):
            info, client = self._opened(run_id).info, self.store.client
            used = [entities.dataset_input(**record["dataset"])]
            store.at_once_with_others(lambda: client.log_inputs(run_id, used))
            artifacts = get_artifact_repository(info.artifact_uri, tracking_uri=self.store.uri)
            artifacts.log_artifacts(str(directory))  # type: ignore[no-untyped-call]
            for path in more:
                artifacts.log_artifact(str(path))  # type: ignore[no-untyped-call]
            times = times or [max(time.time(), info.start_time / 1000)] * length
            self._log_curves(
                run_id,
                curves,
                entities.steps(length),
                times,
                entities.params(record["config"]),
                entities.tags(dict([last])),
            )
            self._end(run_id, "FAILED" if diverged else "FINISHED", times[-1])

    def log_directory(self, directory: Path, parent: str | None, tags: Mapping[str, str]) -> str:
        """Log a trial that was trained elsewhere or earlier, from its directory; return its run."""
        record = files.read_json(directory / "result.json")
        run_id = self.begin_trial(record["name"], record["key"], parent, tags)
        self.finish_trial(run_id, directory)
        return run_id

    def end(self, run_id: str, status: str) -> None:
        """End a run as FINISHED, FAILED or KILLED."""
        with self._errors(f"end the run {run_id}"):
            self._end(run_id, status)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log single numbers, those that are finite."""
        with self._errors(f"log metrics to the run {run_id}"):
            rows = ((name, value, 0, time.time()) for name, value in metrics.items())
            self.store.client.log_batch(run_id, metrics=entities.metrics(rows))

    def log_files(self, run_id: str, paths: Mapping[str, Iterable[Path]]) -> None:
        """Store files as artifacts; the keys are directories in the run ("" for its top)."""
        with self._errors(f"store files of the run {run_id}"):
            for directory, members in paths.items():
                for path in members:
                    self.store.client.log_artifact(run_id, str(path), directory or None)

    def log_text(self, run_id: str, name: str, text: str) -> None:
        """Store a text as an artifact."""
        with self._errors(f"store {name} of the run {run_id}"):
            self.store.client.log_text(run_id, text, name)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        with self._errors(f"tag the run {run_id}"):
            self.store.client.log_batch(run_id, tags=entities.tags(tags))

    def beat(self) -> None:
        """Renew the claim on the runs at the top that are open; TrackingError if another process has taken one over."""
        with self._errors("renew the claim on a run"):
            for run_id in list(self.open):
                tags = self.store.client.get_run(run_id).data.tags
                if not owners.is_mine(tags):
                    raise TrackingError(f"the run {run_id} was taken over by another process: {tags[owners.OWNER]}")
                if PARENT not in tags:
                    self.set_tags(run_id, owners.heartbeat())

    def sweep(self, key: str = "%") -> str | None:
        """Return the parent run of the sweep with this key that was begun last; of all sweeps, without a key."""
        with self._errors("find a sweep"):
            return next((str(run.info.run_id) for run in self._search(f"tags.`{SWEEP}` LIKE '{key}'")), None)

    def trial(self, weights: str, parent: str) -> "Run | None":
        """Return the trial of a sweep whose weights have this digest."""
        with self._errors("find a trial"):
            finished = f"attributes.status = 'FINISHED' and tags.`{WEIGHTS}` = '{weights}'"
            return next(iter(self._search(f"{finished} and tags.`{PARENT}` = '{parent}'")), None)

    def tags(self, run_id: str) -> Mapping[str, str]:
        """Return the tags of a run."""
        with self._errors(f"read the run {run_id}"):
            return dict(self.store.client.get_run(run_id).data.tags)

    def weights_of(self, run_id: str, directory: Path) -> Path:
        """Copy the weights file of a trial into a directory; DataError if there is no such trial, or it left none."""
        if DIVERGED in self.read_trial(run_id).tags:
            raise DataError(f"the run {run_id} diverged and left no weights; `make ui` shows which runs finished")
        with self._errors(f"find the weights of {run_id}"):
            return Path(self.store.client.download_artifacts(run_id, "weights.npz", str(directory)))

    def read_trial(self, run_id: str) -> TrackedRun:
        """Return what is kept of a trial's run; DataError if there is no such trial, or it is not finished."""
        found = self._run(run_id)
        if TRIAL not in found.data.tags or not _is_done(found):
            raise DataError(f"the run {run_id} is no finished trial; `make ui` shows which runs there are")
        inputs = found.inputs.dataset_inputs if found.inputs else []
        sources = [json.loads(one.dataset.source) for one in inputs]
        tags = {**found.data.tags, **self._provenance(run_id, found.data.tags.get(PARENT))}
        digest = sources[0]["digest"] if sources else ""
        return TrackedRun(found.info.run_id, found.info.run_name, found.data.params, tags, digest)

    def copy_files(self, run_id: str, directory: Path) -> None:
        """Copy a run's artifacts into a directory."""
        with self._errors(f"copy the files of the run {run_id}"):
            self.store.client.download_artifacts(run_id, "", str(directory))

    def close_orphaned_runs(self) -> None:
        """End as KILLED every run whose owner is dead."""
        with self._errors("mend runs that were cut off"):
            for run in self._search(f"attributes.status = 'RUNNING' and tags.`{owners.OWNER}` LIKE '%'"):
                if not self._is_alive(run):
                    self.store.client.set_terminated(run.info.run_id, "KILLED")

    def _errors(self, action: str) -> "contextlib.AbstractContextManager[None]":
        return store.tracking_errors(self.store.uri, action)

    def _search(self, condition: str) -> "list[Run]":
        """Find runs, newest first."""
        found: list[Run] = []
        token = None
        while token is None or token:
            page = self.store.client.search_runs(
                [self.store.experiment], condition, order_by=_NEWEST_FIRST, page_token=token
            )
            found, token = found + page, page.token or ""
        return found

    def _run(self, run_id: str) -> "Run":
        with self._errors(f"read the run {run_id}"):
            found = none_if_missing(lambda: self.store.client.get_run(run_id))
        if found is None:
            raise DataError(f"{self.store.name} holds no run {run_id}; `make ui` shows which there are")
        return found

    def _create(self, name: str, tags: Mapping[str, str], started: float | None = None) -> str:
        at = entities.milliseconds(started or time.time())
        every = {**tags, **owners.tags()}
        info = self.store.client.create_run(self.store.experiment, start_time=at, tags=every, run_name=name).info
        self.created.add(info.run_id)
        self.open[info.run_id] = _Open(info)
        return info.run_id

    def _cut_off_trial(self, key: str, parent: str | None) -> "Run | None":
        """Return the newest run of a trial that was cut off, in the same sweep; one just created has none."""
        if parent in self.created:
            return None
        same = [run for run in self._search(f"tags.`{TRIAL}` = '{key}'") if run.data.tags.get(PARENT) == parent]
        return next((run for run in same if self._is_cut_off(run)), None)

    def _continue(self, run: "Run", tags: Mapping[str, str]) -> str:
        run_id: str = run.info.run_id
        self.store.client.log_batch(run_id, tags=entities.tags({**tags, **owners.tags()}))
        self.store.client.update_run(run_id, "RUNNING")
        self.open[run_id] = self._opened(run_id)
        return run_id

    def _opened(self, run_id: str) -> _Open:
        """Return what is known of a run that is being logged; one of another process is asked for its points."""
        if run_id in self.open:
            return self.open[run_id]
        history = self.store.client.get_metric_history(run_id, "train_loss")
        return _Open(self.store.client.get_run(run_id).info, {point.step for point in history})

    def _log_curves(
        self,
        run_id: str,
        curves: Mapping[str, Sequence[float]],
        steps: Iterable[int],
        times: Sequence[float],
        params: "Sequence[Param]" = (),
        tags: "Sequence[RunTag]" = (),
    ) -> None:
        """Log the points of some steps, those that are not logged yet."""
        logged = self._opened(run_id).steps
        new = [k for k in steps if k not in logged]
        rows = entities.metrics((name, float(curve[k]), k, times[k]) for k in new for name, curve in curves.items())
        for first in range(0, max(len(rows), 1), _ROWS):
            self.store.client.log_batch(run_id, rows[first : first + _ROWS], params, tags)
            params, tags = (), ()
        logged.update(new)

    def _end(self, run_id: str, status: str, at: float | None = None) -> None:
        self.open.pop(run_id, None)
        self.store.client.set_terminated(run_id, status, entities.milliseconds(at or time.time()))

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
        return not _is_done(run) and not (run.info.status == "RUNNING" and self._is_alive(run))

    def _provenance(self, *run_ids: str | None) -> Mapping[str, str]:
        """Return what the first of some runs says of its provenance."""
        for run_id in filter(None, run_ids):
            with contextlib.suppress(Exception), tempfile.TemporaryDirectory() as directory:  # each store has its own
                return dict(files.read_json(Path(self.store.client.download_artifacts(run_id, PROVENANCE, directory))))
        return {}


def connect(root: Path) -> Tracker:
    """Open the tracking store of a checkout, and mend the runs that were cut off; errors as in `store.connect`."""
    tracker = Tracker(store.connect(root))
    tracker.close_orphaned_runs()
    return tracker


def _is_done(run: "Run") -> bool:
    return run.info.status == "FINISHED" or (run.info.status == "FAILED" and DIVERGED in run.data.tags)
