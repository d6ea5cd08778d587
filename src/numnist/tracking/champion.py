"""The champion: the winner of the workspace's locked results, as reports/metrics.json names it and dvc.lock locks it.

DVC restores results without running the stage that made them. So whoever asks for the champion first brings the store
in line with the workspace: trials that are missing are logged from runs/, the winner is registered, the alias is moved.

In this checkout's own store the alias is always the workspace's. A store that people share has one champion for all,
that of the results that were pushed: see `_commit_of_champion`. An experiment's workspace registers, and moves nothing.
"""

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numnist.common import dvc_lock, files
from numnist.common.errors import DataError
from numnist.tracking import entities, provenance, recorded, registry, runs
from numnist.tracking.registry import DATA
from numnist.tracking.runs import WEIGHTS, WINNER, Tracker
from numnist.tracking.store import main_checkout, own_database

_COMMIT = "numnist.commit"  # tag of a version: the commit whose results made it champion
_REPORT = "numnist.report"  # tag of a sweep: the digest of the page that is among its artifacts
_RESTORED = {"mlflow.source.type": "LOCAL", "mlflow.source.name": "runs/", "restored": "from runs/; times unknown"}


@dataclass(frozen=True)
class Winner:
    """The network that a workspace's results name."""

    name: str
    weights: str  # their digest
    data: str  # the digest of the data set
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Champion:
    """The registered model that is asked, and the run that trained it."""

    version: Any
    run_id: str
    words: str


def champion(tracker: Tracker, root: Path, *, evaluated: bool = False) -> Champion:
    """Return the registered winner of the workspace, after the store is brought in line with it.

    If the workspace has no results, return the model that the store's alias names; DataError if there is none, either.
    `evaluated`: this process has just written the results, so DVC has not locked them yet.
    """
    winner = read_winner(root, evaluated=evaluated)
    current = registry.champion(tracker.store)
    if winner is None:
        if current is None:
            raise DataError(f"{root} has no results, and {tracker.store.name} no champion: `make run` makes both")
        return Champion(
            current,
            current.run_id,
            _words(current, "the champion of the store: no results here, or others than dvc.lock has"),
        )
    run_id = _log_what_is_missing(tracker, root, winner, evaluated=evaluated)
    version = registry.find(tracker.store, winner.weights, winner.data)
    if version is None:
        tags = {**{name: f"{value:.6g}" for name, value in winner.figures.items()}, DATA: winner.data,
                "trial": winner.name}  # fmt: skip
        version = registry.register(tracker.store, _weights(root, winner), run_id, tags, _classes(root, winner.data))
    is_champion = current is not None and current.version == version.version
    commit = _commit_of_champion(tracker, root, current)
    if commit is not None and not (is_champion and commit in ("", current.tags.get(_COMMIT))):
        registry.set_champion(tracker.store, version.version, {_COMMIT: commit} if commit else {})
        is_champion = True
    other = f"the champion that others see is version {current.version}" if current else "there is no champion"
    return Champion(version, run_id, _words(version, "the champion" if is_champion else f"the winner here; {other}"))


def is_up_to_date(root: Path) -> bool:
    """Whether this checkout's own store has the workspace's winner as champion; asks without MLflow."""
    winner, path = read_winner(root), own_database(root)
    if winner is None or not path.exists() or os.environ.get("MLFLOW_TRACKING_URI"):
        return False
    query = (
        "SELECT tag.key, tag.value FROM registered_model_aliases AS alias JOIN model_version_tags AS tag "
        "ON tag.name = alias.name AND tag.version = alias.version WHERE alias.name = ? AND alias.alias = ?"
    )
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            tags = dict(database.execute(query, (registry.MODEL, registry.CHAMPION)))
    except sqlite3.Error:  # the error shows when the store is opened
        return False
    return (tags.get(WEIGHTS), tags.get(DATA)) == (winner.weights, winner.data)


def read_winner(root: Path, *, evaluated: bool = False) -> Winner | None:
    """Return what the results name; None if there are none, or they are not those that dvc.lock locks."""
    path = root / "reports" / "metrics.json"
    if not path.exists() or not (evaluated or _locked(root, "evaluate", path)):
        return None
    metrics = files.read_json(path)
    try:
        figures = {f"{name}_accuracy": metrics[name]["accuracy"] for name in ("validation", "test")}
        winner = metrics["winner"]
        return Winner(winner["name"], winner["weights"], metrics["dataset"]["digest"], figures)
    except KeyError:  # of an earlier version of numnist
        return None


def _classes(root: Path, digest: str) -> list[str]:
    """Return the names of the classes of the data set with this digest, if it lies here; none if they are digits."""
    path = root / "data" / "processed" / "dataset.json"
    about = files.read_json(path) if path.exists() else {}
    return about["classes"] if about.get("digest") == digest and about["classes"] != list("0123456789") else []


def sweep_here(tracker: Tracker, root: Path) -> str | None:
    """Return the run of the workspace's sweep, put in place if it is missing; without results, that of the newest."""
    if read_winner(root):
        champion(tracker, root)
    return recorded.find_sweep(tracker.store, sweep_key(root)) or recorded.find_sweep(tracker.store)


def sweep_key(root: Path) -> str:
    """Return the key of the sweep whose trials lie under runs/."""
    return entities.sweep_key(record["key"] for record in _trials(root).values())


def _trials(root: Path) -> dict[Path, dict[str, Any]]:
    """Return the results of the trials under runs/, by their directories."""
    found = {path: files.read_json(path) for path in sorted((root / "runs").glob("*/result.json"))}
    for path, record in found.items():
        if not isinstance(record, dict) or not {"key", "config"} <= record.keys():
            raise DataError(f"{path} is no result of a trial; {files.REMAKE}")
    return {path.parent: record for path, record in found.items()}


def log_report(tracker: Tracker, root: Path, parent: str) -> None:
    """Store the report among the artifacts of its sweep, unless it is there."""
    reports = root / "reports"
    digest = files.sha256(reports / "index.html")
    top = [reports / "index.html", reports / "metrics.json", root / "sweep.csv"]
    stored = tracker.artifact_sizes(parent, "report")
    is_whole = all(stored.get(path.name) == path.stat().st_size for path in top)
    if tracker.tags(parent).get(_REPORT) != digest or not is_whole:
        tables = sorted((reports / "tables").glob("*.csv"))
        tracker.log_files(parent, {"report": top, "report/tables": tables})
        tracker.set_tags(parent, {_REPORT: digest})


def _log_what_is_missing(tracker: Tracker, root: Path, winner: Winner, *, evaluated: bool) -> str:
    """Log what the store lacks of the sweep, its figures and its report; return the winner's run."""
    parent = recorded.find_sweep(tracker.store, sweep_key(root))
    trial = recorded.find_trial(tracker.store, winner.weights, parent) if parent else None
    if parent is None or trial is None:
        _weights(root, winner)  # what is damaged, or not whole, is not logged as if it were right
        dvc_lock.check(root, ["runs", *(["reports"] if not evaluated else [])])
        parent = _restore_sweep(tracker, root)
        trial = recorded.find_trial(tracker.store, winner.weights, parent)
    if trial is None:
        raise _changed(root, winner)
    if WINNER not in trial.data.tags:
        tracker.log_metrics(parent, winner.figures)  # validation: the mean over seeds
        tracker.log_metrics(trial.info.run_id, {"test_accuracy": winner.figures["test_accuracy"]})
        tracker.set_tags(trial.info.run_id, {WINNER: f"of {len(list((root / 'runs').glob('*/result.json')))} trials"})
    reference = root / "reports" / "reference"
    if (reference / "result.json").exists() and files.read_json(reference / "result.json")["key"] not in (
        tracker.finished_trials(parent)
    ):
        tracker.log_directory(reference, parent, {**_RESTORED, runs.REFERENCE: "the note's own network"})
    page = root / "reports" / "index.html"
    if not evaluated and page.exists() and _locked(root, "report", page):
        log_report(tracker, root, parent)
    return str(trial.info.run_id)


def _restore_sweep(tracker: Tracker, root: Path) -> str:
    """Log the sweep whose trials lie under runs/, each that the store does not have."""
    trials = _trials(root)
    name = entities.sweep_name([record["config"] for record in trials.values()])
    parent = tracker.begin_sweep(sweep_key(root), name, _RESTORED, all_trained=True)
    logged = tracker.finished_trials(parent)
    for path, record in trials.items():
        if record["key"] not in logged:
            tracker.log_directory(path, parent, _RESTORED)
    tracker.end(parent, "FINISHED")
    return parent


def _commit_of_champion(tracker: Tracker, root: Path, current: Any) -> str | None:
    """Return the commit to note at the alias, "" if none is needed; None if the workspace's winner may not have it.

    In a store that people share, the alias goes the way of a branch that is pushed, forward only: the workspace's
    dvc.lock is that of the branch's upstream (without one, of HEAD), and the champion so far is of an earlier commit.
    """
    main = main_checkout(root)
    if "DVC_EXP_NAME" in os.environ or ".dvc" in root.relative_to(main).parts:
        return None
    if root != main and read_winner(main):  # the sample's workspace gives way to results of the checkout's own
        return None
    if tracker.store.is_own:
        return ""
    commit = provenance.pushed_commit(root)
    before = current.tags.get(_COMMIT) if current else None
    if current and (not commit or (before and not provenance.is_ancestor(root, before, commit))):
        return None
    return commit


def _locked(root: Path, stage: str, out: Path) -> bool:
    """Whether a file is what dvc.lock says that a stage made, of the results that are there."""
    lock = root / dvc_lock.NAME
    stages = dvc_lock.read_stages(lock) if lock.exists() else {}
    listed = [*stages.get(stage, {}).get("outs", []), *stages.get(stage, {}).get("deps", [])]
    hashes = {one["path"]: one.get("md5") for one in listed}
    wanted = [out.relative_to(root).as_posix(), *({"reports/metrics.json"} & hashes.keys())]
    return all((root / name).is_file() and hashes.get(name) == dvc_lock.md5(root / name) for name in wanted)


def _weights(root: Path, winner: Winner) -> Path:
    path = root / "runs" / winner.name / "weights.npz"
    if not path.exists() or files.sha256(path) != winner.weights:
        raise _changed(root, winner)
    return path


def _changed(root: Path, winner: Winner) -> DataError:
    return DataError(
        f"{root / 'runs' / winner.name / 'weights.npz'} is not the file that reports/metrics.json was made of (SHA-256 "
        f"{winner.weights[:12]}...); `dvc checkout --force runs` brings it back, or `dvc pull runs`, else `dvc repro`"
    )


def _words(version: Any, role: str) -> str:
    trial = version.tags.get("trial", "")
    return f"version {version.version} of {registry.MODEL} ({trial + ', ' if trial else ''}{role})"
