"""The registered model `numnist`: versions in MLflow's registry, each a network, and the alias `champion`.

A version is found by the digests of its weights and its data set, if its stored files are whole: they have a digest,
too.
"""

import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numnist.common import dvc_lock, files
from numnist.common.errors import DataError
from numnist.tracking.runs import WEIGHTS
from numnist.tracking.store import Store, none_if_missing, try_twice

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

MODEL, CHAMPION = "numnist", "champion"
DATA, STORED = "numnist.data", "numnist.stored"  # tags of a version: the digests of its data set and its files

_SOURCE = Path(__file__).parent.parent
CODE = [  # what a model needs of this package to be loaded anywhere
    *("__init__.py", "network.py", "common/__init__.py", "common/errors.py"),
    *(f"exact/{path.name}" for path in sorted((_SOURCE / "exact").glob("*.py"))),
]
_NOTE = (
    "The network that won a sweep on validation data. In: images, (m, 784) or (m, 28, 28), pixels from 0 to 255, ink "
    "bright. Out: the class, and the probability of each, per image. The alias `champion` marks the winner of the "
    "locked results."
)


def find(store: Store, weights: str, data: str) -> Any:
    """Return the newest version with these digests whose stored files are whole, or None."""
    with store.errors("find a registered network"):
        condition = f"name = '{MODEL}' and tags.`{WEIGHTS}` = '{weights}'"
        found = store.client.search_model_versions(condition, order_by=["version_number DESC"])
        return next((one for one in found if one.tags.get(DATA) == data and _is_whole(store, one)), None)


def register(store: Store, weights: Path, run_id: str, tags: Mapping[str, str], classes: Sequence[str] = ()) -> Any:
    """Store the model that these weights make, of the trial that trained them, and return it as the newest version.

    `classes` are their names, if they are no digits.
    """
    from mlflow.entities import LoggedModelOutput

    client = store.client
    with store.errors("register a network"), tempfile.TemporaryDirectory() as directory:
        logged = client.create_logged_model(store.experiment, MODEL, run_id, dict(tags), model_type="classifier")
        model, copy = Path(directory, "model"), Path(directory, "weights.npz")
        shutil.copy(weights, copy)  # MLflow would decode a % in the path of a checkout
        _save(model, copy, logged.model_id, run_id, classes)
        client.log_model_artifacts(logged.model_id, str(model))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        none_if_missing(lambda: client.create_registered_model(MODEL, description=_NOTE))  # None: there is one
        tags = {**tags, WEIGHTS: files.sha256(weights), STORED: dvc_lock.md5(model)}
        source = logged.artifact_location  # models:/<id> would be looked up in the process's default store
        return client.create_model_version(MODEL, source, run_id, tags, model_id=logged.model_id)


def champion(store: Store) -> Any:
    """Return the version that has the alias, or None."""
    with store.errors("find the champion"):
        return none_if_missing(lambda: store.client.get_model_version_by_alias(MODEL, CHAMPION))


def set_champion(store: Store, version: str, tags: Mapping[str, str]) -> None:
    """Give a version the alias."""
    with store.errors("move the alias champion"):
        for name, value in tags.items():
            store.client.set_model_version_tag(MODEL, version, name, value)
        try_twice(lambda: store.client.set_registered_model_alias(MODEL, CHAMPION, version))


def weights_of(store: Store, version: Any, directory: Path) -> Path:
    """Copy a version's files into a directory, and return its weights file; DataError if they are damaged."""
    return _copy(store, version, str(directory)) / "artifacts" / "weights.npz"


def model(store: Store, version: Any) -> "PyFuncModel":
    """Load a version as MLflow does; DataError if it is damaged. A pickle is neither read nor taken."""
    from mlflow import pyfunc

    directory = _copy(store, version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it finds no type hints
        try:
            return pyfunc.load_model(str(directory))
        except Exception as error:  # of MLflow, YAML, Python and NumPy, after what is damaged
            raise _damaged(store, version, f"{type(error).__name__}: {error}") from None


def _copy(store: Store, version: Any, directory: str | None = None) -> Path:
    """Return a copy of a version's files on this machine; DataError if they are not those that were stored."""
    with store.errors(f"find version {version.version} of {MODEL}"):
        from mlflow.artifacts import list_artifacts

        if not list_artifacts(version.source, tracking_uri=store.uri):
            raise _damaged(store, version, "its files are gone")
    copy = _download(store, version, directory)
    if dvc_lock.md5(copy) != version.tags.get(STORED):
        raise _damaged(store, version, "its files are not those that were stored")
    return copy


def _download(store: Store, version: Any, directory: str | None = None) -> Path:
    """Return a version's files, or a copy of them in a directory, as they are."""
    with store.errors(f"read version {version.version} of {MODEL}"):
        from mlflow.artifacts import download_artifacts

        return Path(download_artifacts(artifact_uri=version.source, dst_path=directory, tracking_uri=store.uri))


def _is_whole(store: Store, version: Any) -> bool:
    """Whether a version's stored files are those that were stored."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            return dvc_lock.md5(_download(store, version, directory)) == version.tags.get(STORED)
        except Exception:  # gone: each kind of store says so in its own way
            return False


def _damaged(store: Store, version: Any, reason: str) -> DataError:
    return DataError(
        f"version {version.version} of {MODEL} in {store.name} is damaged: {' '.join(reason.split())[:300]}. With the "
        "results in place (`make run`, or `dvc pull`), the same command registers it anew"
    )


def _save(directory: Path, weights: Path, model_id: str, run_id: str, classes: Sequence[str]) -> None:
    """Write the model that the weights, `pyfunc_model.py` and CODE make: code, arrays and text, no pickle."""
    from importlib.metadata import version

    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    answer = (DataType.string, "class") if classes else (DataType.long, "digit")
    columns = answer, (Array(DataType.double), "probabilities"), (DataType.string, "doubt")
    outputs = Schema([ColSpec(*column) for column in columns])
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as code:
        warnings.simplefilter("ignore")  # it would like an input example, beside the signature
        for name in CODE:
            copy = Path(code, "numnist", name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((_SOURCE / name).read_bytes())
        pyfunc.save_model(
            directory,
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            code_paths=[str(Path(code, "numnist"))],
            artifacts={"weights": str(weights)},
            model_config={"classes": list(classes)},
            signature=ModelSignature(outputs=outputs),  # one of inputs would refuse each number type but one
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pandas")],
            mlflow_model=Model(artifact_path=MODEL, run_id=run_id, model_id=model_id),
        )
