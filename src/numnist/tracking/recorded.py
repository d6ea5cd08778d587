"""What a store holds of sweeps and trials that were tracked: found, read, and copied out of it."""

import contextlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from numnist.common import files
from numnist.common.errors import DataError
from numnist.tracking.runs import DIVERGED, PARENT, PROVENANCE, SWEEP, TRIAL, WEIGHTS, is_done
from numnist.tracking.store import Store, none_if_missing

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class TrackedRun:
    """What the store holds of a trial's run, beside its files; `tags` with what provenance.json says."""

    run_id: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    data_digest: str


def find_sweep(store: Store, key: str = "%") -> str | None:
    """Return the parent run of the sweep with this key that was begun last; of all sweeps, without a key."""
    with store.errors("find a sweep"):
        return next((str(run.info.run_id) for run in store.search(f"tags.`{SWEEP}` LIKE '{key}'")), None)


def find_trial(store: Store, weights: str, parent: str) -> "Run | None":
    """Return the trial of a sweep whose weights have this digest."""
    with store.errors("find a trial"):
        finished = f"attributes.status = 'FINISHED' and tags.`{WEIGHTS}` = '{weights}'"
        return next(iter(store.search(f"{finished} and tags.`{PARENT}` = '{parent}'")), None)


def read_trial(store: Store, run_id: str) -> TrackedRun:
    """Return what is kept of a trial's run; DataError if there is no such trial, or it is not finished."""
    with store.errors(f"read the run {run_id}"):
        found = none_if_missing(lambda: store.client.get_run(run_id))
    if found is None:
        raise DataError(f"{store.name} holds no run {run_id}; `make ui` shows which there are")
    if TRIAL not in found.data.tags or not is_done(found):
        raise DataError(f"the run {run_id} is no finished trial; `make ui` shows which runs there are")
    inputs = found.inputs.dataset_inputs if found.inputs else []
    digests = [json.loads(one.dataset.source)["digest"] for one in inputs]
    tags = {**found.data.tags, **_provenance(store, run_id, found.data.tags.get(PARENT))}
    return TrackedRun(found.info.run_id, found.info.run_name, found.data.params, tags, (digests or [""])[0])


def copy_weights(store: Store, run: TrackedRun, directory: Path) -> Path:
    """Copy the weights file of a trial into a directory; DataError if it left none, or the store has another."""
    if DIVERGED in run.tags:
        raise DataError(f"the run {run.run_id} diverged and left no weights; `make ui` shows which runs finished")
    copy_files(store, run, directory)
    if lost := lost_weights(run, directory):
        raise DataError(
            f"the run {run.run_id} in {store.name}: {lost}. Train the trial again with the same parameters, which "
            "`make ui` shows: that makes the same weights and a run that has them"
        )
    return directory / "weights.npz"


def lost_weights(run: TrackedRun, copied: Path) -> str:
    """Say how the weights among a run's copied files are not those that were logged; nothing if they are."""
    if not (logged := run.tags.get(WEIGHTS)):
        return ""
    if not (file := copied / "weights.npz").is_file():
        return "its weights.npz is gone"
    return "" if files.sha256(file) == logged else f"its weights.npz is not the file that was logged (SHA-256 {logged})"


def copy_files(store: Store, run: TrackedRun, directory: Path) -> None:
    """Copy a run's artifacts, as far as there are any, into a directory."""
    with store.errors(f"copy the files of the run {run.run_id}"):
        if store.client.list_artifacts(run.run_id):
            store.client.download_artifacts(run.run_id, "", str(directory))


def _provenance(store: Store, *run_ids: str | None) -> Mapping[str, str]:
    """Return what the first of some runs says of its provenance."""
    for run_id in filter(None, run_ids):
        with contextlib.suppress(Exception), tempfile.TemporaryDirectory() as directory:  # each store has its own
            return dict(files.read_json(Path(store.client.download_artifacts(run_id, PROVENANCE, directory))))
    return {}
