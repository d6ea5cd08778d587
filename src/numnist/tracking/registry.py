"""The registered model: the best network so far, a version of `numnist` in MLflow's registry, alias `champion`."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numnist.common import files
from numnist.common.errors import DataError
from numnist.tracking import mlflow_runs
from numnist.tracking.mlflow_runs import DATA, MODEL, WEIGHTS, TrackedRun, Tracker

CHAMPION = "champion"  # the alias, and what people give in the place of a run's id

_NOTE = (
    "The network that won a sweep on validation data. In: float32 (m, 784), pixels from 0 to 255, ink bright. "
    "Out: the digit and ten probabilities an image. The alias `champion` marks the newest."
)


def register(
    tracker: Tracker, weights: Path, metrics: Mapping[str, float], tags: Mapping[str, str], parent: str | None
) -> str:
    """Make these weights the champion and return its URI (models:/numnist/<version>).

    A champion with the same weights and the same data set (`tags[DATA]`) stays as it is.
    """
    tags = {**tags, WEIGHTS: files.sha256(weights)}
    with mlflow_runs.tracking_errors(tracker.uri, "register the champion"):
        version = _version(tracker)
        if version is None or any(version.tags.get(name) != tags.get(name) for name in (WEIGHTS, DATA)):
            version = _new_version(tracker, weights, metrics, tags, parent)
            tracker.client.set_registered_model_alias(MODEL, CHAMPION, version.version)
        return f"models:/{MODEL}/{version.version}"


def weights_of(tracker: Tracker, run: str) -> Path:
    """Return the weights file of a run, or of the champion; DataError where there is none."""
    if run != CHAMPION:
        return tracker.weights_of(run)
    source = _there_is(tracker).source
    return tracker.download("find the champion's weights", artifact_uri=f"{source}/artifacts/weights.npz")


def model(tracker: Tracker) -> Any:
    """Load the champion as MLflow does; DataError where there is none, or it is damaged."""
    source = _there_is(tracker).source
    return mlflow_runs.load_model(str(tracker.download("load the champion", artifact_uri=source)))


def read_trial(tracker: Tracker, run: str) -> TrackedRun:
    """Return what is kept of a trial's run, or of the newest one with the champion's weights; DataError where none."""
    if run != CHAMPION:
        return tracker.read_trial(run)
    found = tracker.newest_trial(_there_is(tracker).tags.get(WEIGHTS, ""))
    if found is None:
        raise DataError("no run in the store has the champion's weights; give the id of one: `make ui` shows them")
    return tracker.read_trial(found)


def _there_is(tracker: Tracker) -> Any:
    """Return the champion's version, or say that there is none."""
    with mlflow_runs.tracking_errors(tracker.uri, "find the champion"):
        version = _version(tracker)
    if version is None:
        raise DataError("there is no champion yet; `make run` trains and registers one")
    return version


def _version(tracker: Tracker) -> Any:
    """Return the champion's version, or None where there is no model, or no such alias."""
    return mlflow_runs.none_if_missing(lambda: tracker.client.get_model_version_by_alias(MODEL, CHAMPION))


def _new_version(
    tracker: Tracker, weights: Path, metrics: Mapping[str, float], tags: Mapping[str, str], parent: str | None
) -> Any:
    """Store the model that these weights make, and register it as the newest version."""
    client = tracker.client
    logged = client.create_logged_model(tracker.experiment, MODEL, parent, dict(tags), model_type="classifier")
    with tempfile.TemporaryDirectory() as directory:
        mlflow_runs.save_model(Path(directory, "model"), weights, logged.model_id, parent)
        client.log_model_artifacts(logged.model_id, str(Path(directory, "model")))
    client.finalize_logged_model(logged.model_id, "READY")
    mlflow_runs.none_if_missing(lambda: client.create_registered_model(MODEL, description=_NOTE))  # None: there is one
    figures = {name: f"{value:.6g}" for name, value in metrics.items()}
    source = logged.artifact_location  # models:/<id> would be looked up in the process's default store
    model_id = logged.model_id if parent else None  # and so would the model of no run
    return client.create_model_version(MODEL, source, parent, {**figures, **tags}, model_id=model_id)
