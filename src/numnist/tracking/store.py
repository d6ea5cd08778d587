"""The tracking store: opened, created whole or not at all, mended if the checkout was moved; its failures in words.

The store is what MLFLOW_TRACKING_URI names, else mlflow.db and mlartifacts/ in the main checkout, which is this
checkout's *own* store. MLflow is imported when a store is opened: it takes a second.
"""

import contextlib
import os
import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote

from filelock import FileLock

from numnist.common.errors import NumnistError, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")
NOTE = "mlflow.note.content"  # tag: the text on a page of MLflow's
EXPERIMENT = "numnist"  # unless MLFLOW_EXPERIMENT_NAME names another

_ENVIRONMENT = {  # defaults, read when MLflow is imported or used
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # a model that is a pickle is not loaded
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # its errors come as exceptions, which `tracking_errors` puts into words
    "PGCONNECT_TIMEOUT": "10",  # seconds, of PostgreSQL's own library
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # its links hold the password of the address
}
_LOCK_SECONDS = 60.0  # how long another process may take to create the store
_BUSY_SECONDS = 10.0  # how long another process may keep the database from being written
_KIND = ("mlflow.experimentKind", "custom_model_development")  # tag: the pages open it under Model training
_EXPERIMENT_NOTE = (
    "Neural networks written in NumPy, trained on MNIST or its like. Each sweep is a parent run; its child runs are "
    "the trials, one network each, with learning curves, weights and results. The winner of a sweep has the tag "
    "`winner`; the champion is under Models, as `numnist`."
)
_LOCATIONS = (  # where MLflow's tables hold the absolute addresses of artifacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True)
class Store:
    """An open tracking store and the experiment in it."""

    uri: str
    experiment: str
    client: "MlflowClient"
    is_own: bool  # this checkout's own database, not one that people share
    artifacts: Path  # where an own store keeps files

    @property
    def name(self) -> str:
        """Its address without any password."""
        return without_password(self.uri)

    def errors(self, action: str) -> "contextlib.AbstractContextManager[None]":
        """Turn what fails in the store, during an action, into a TrackingError."""
        return tracking_errors(self.uri, action)

    def search(self, condition: str) -> "list[Run]":
        """Find runs, newest first."""
        found: list[Run] = []
        token = None
        while token != "":
            page = self.client.search_runs(
                [self.experiment], condition, order_by=["attributes.start_time DESC"], page_token=token
            )
            found, token = found + page, page.token or ""
        return found


def connect(root: Path) -> Store:
    """Open the tracking store of a checkout, made if there is none.

    TrackingError if it cannot be written: after 10 s for a locked database, 60 s for a lock on its creation, and
    about half a minute for a server that does not answer.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    own, given = own_database(root), os.environ.get("MLFLOW_TRACKING_URI", "")
    uri = _absolute(given) if given else _address(own)
    is_own = database(uri) == own
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    artifacts = (database(uri) or own).parent / "mlartifacts"
    with tracking_errors(uri, "open it"), _made_ready(uri, is_own):
        from mlflow import MlflowClient

        client = MlflowClient(uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
        location = None if uri.startswith("http") else artifacts.as_uri()
        return Store(uri, _experiment(client, uri, experiment, location), client, is_own, artifacts)


def own_database(root: Path) -> Path:
    """Return the path of the database that is a checkout's own."""
    return main_checkout(root) / "mlflow.db"


def database(uri: str) -> Path | None:
    """Return the path of the SQLite database that an address names, if it names one."""
    scheme, _, path = uri.partition(":///")
    return Path(unquote(path.partition("?")[0])) if scheme.partition("+")[0] == "sqlite" else None


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
    """Turn whatever MLflow and its stores raise into a TrackingError that names the store and the action.

    A damaged database surfaces as a dozen types of exception, of SQLAlchemy, SQLite and MLflow.
    """
    try:
        yield
    except (NumnistError, MemoryError, SystemError):  # SystemError: of compiled code that got no memory
        raise
    except Exception as error:
        kind = "" if type(error).__module__.startswith("mlflow") else f"{type(error).__name__}: "
        reason = " ".join(str(error).split("\n[SQL")[0].split())[:500]
        message = (
            f"the tracking store {uri} failed, to {action}: {kind}{reason}. {_remedy(uri, kind + reason)}; "
            "then run the same command again, which keeps what is finished"
        )
        raise TrackingError(_without_secrets(message, uri)) from error


def without_password(uri: str) -> str:
    """Return an address without user and password."""
    return _without_secrets(uri, uri)


def none_if_missing(ask: Callable[[], T]) -> T | None:
    """Return what MLflow answers, or None if there is no such thing, or, on creating one, there is one already."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS"):
            return None
        raise


def try_twice(write: Callable[[], T]) -> T:
    """Write what another process may write at once: MLflow fails if that one was first, and is then asked again."""
    from mlflow.exceptions import MlflowException

    try:
        return write()
    except MlflowException as error:
        if "Unique" not in str(error) and "UNIQUE" not in str(error):
            raise
        return write()


def _absolute(uri: str) -> str:
    """Make the path of an SQLite address absolute: in a copy of `dvc exp run` a relative one would be lost with it."""
    path = database(uri)
    return _address(main_checkout(Path.cwd()) / path) if path and not path.is_absolute() else uri


def _address(path: Path) -> str:
    """Return an SQLite database's address; only +pysqlite keeps MLflow from making a directory of an encoded path."""
    plain = not set(str(path)) & set("%?#")
    return f"sqlite:///{path}" if plain else f"sqlite+pysqlite:///{quote(str(path))}"


def _without_secrets(text: str, uri: str) -> str:
    """Take an address's user and password out of a text."""
    login = uri.partition("://")[2].partition("/")[0].rpartition("@")[0]
    secret = login.partition(":")[2]
    for found in filter(None, (f"{login}@" if login else "", secret, unquote(secret))):
        text = text.replace(found, "" if found.endswith("@") else "***")
    text = re.sub(r"(?i)([?&][^=&\s]*(?:pass|pwd|token|secret|key)[^=&\s]*=)[^&\s]*", r"\1***", text)
    return re.sub(r"://[^/@\s]*@", "://", text)


def _remedy(uri: str, reason: str) -> str:
    """Say what helps: a database that is damaged is put aside, and what the workspace holds is logged anew."""
    path = database(uri)
    broken = ("malformed", "not a database", "no such table", "no such column", "DatabaseError", "Unicode", "corrupt")
    if path and any(word in reason for word in broken):
        return f"The database is damaged: put it aside (mv {path} {path}.damaged), or restore a copy of it"
    return "Mend it or set MLFLOW_TRACKING_URI to another"


@contextlib.contextmanager
def _made_ready(uri: str, is_own: bool) -> Iterator[None]:
    """Make an SQLite store ready to be opened; no other process creates or mends it meanwhile."""
    if (path := database(uri)) is None:
        _check_answers(uri)
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
        if not path.exists() or _set_aside_if_half_made(path):
            _create(path)
        _check_writable(path)
        if is_own:
            _correct_locations(path)
        yield


def _check_answers(uri: str) -> None:
    """Connect to a database server once: MLflow itself would try for two minutes before it said that none answers."""
    if uri.startswith(("postgresql", "mysql")):
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        create_engine(uri, poolclass=NullPool).connect().close()  # without a pool, which would keep it open


def _create(path: Path) -> None:
    """Create a database under another name, and rename it when it is whole: MLflow's migrations take seconds.

    It gets a write-ahead log, for good: a commit then waits for the disk once, not three or four times, and whoever
    reads the pages meanwhile is in nobody's way.
    """
    partial = path.with_name(f"{path.name}.partial")
    _remove(partial)
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    made: Any = SqlAlchemyStore(_address(partial), (path.parent / "mlartifacts").as_uri())  # type: ignore[no-untyped-call]
    made.engine.dispose()
    SqlAlchemyStore._engine_map.pop(_address(partial), None)
    with contextlib.closing(sqlite3.connect(partial)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    _remove(path)  # what a database that was put aside left: SQLite would play its log into the new one
    os.replace(partial, path)


def _set_aside_if_half_made(path: Path) -> bool:
    """Rename a database in which MLflow's migrations were cut off; return whether there is none any more.

    Such a one holds no run: the first is logged after them.
    """
    from mlflow.store.db.utils import _get_latest_schema_revision

    with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "runs" in tables and connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone():
            return False
        rows = connection.execute("SELECT * FROM alembic_version") if "alembic_version" in tables else ()
        if list(rows) == [(_get_latest_schema_revision(),)]:  # type: ignore[no-untyped-call]
            return False
    aside = path.with_name(f"{path.name}.half-made")
    _remove(aside)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    return True


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _check_writable(path: Path) -> None:
    """Check that a database can be written: MLflow itself would try for minutes before it said so."""
    if not os.access(path, os.W_OK):  # SQLite would find out at the first commit
        raise PermissionError("the file may not be written")
    with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _correct_locations(path: Path) -> None:
    """Let every address of an artifact point into this checkout: it may have been moved, renamed or copied."""
    here = (path.parent / "mlartifacts").as_uri()
    with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection, connection:
        found = connection.execute("SELECT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'")
        roots = {location for (location,) in found if location.endswith("/mlartifacts")} - {here}
        for old, (table, column) in ((old, place) for old in roots for place in _LOCATIONS):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) IN (?, ?)",  # noqa: S608
                (here, len(old) + 1, len(old) + 1, old, f"{old}/"),
            )


def _experiment(client: "MlflowClient", uri: str, name: str, artifacts: str | None) -> str:
    """Return the id of the experiment, created if there is none."""
    found = client.get_experiment_by_name(name)
    if found is None:  # if another machine is first, there is one afterwards, too
        none_if_missing(lambda: client.create_experiment(name, artifacts, dict([_KIND, (NOTE, _EXPERIMENT_NOTE)])))
        found = client.get_experiment_by_name(name)
    if found is None:
        raise OSError(f"it has no experiment {name}, which was created just now")
    if found.lifecycle_stage != "active":
        where = "" if os.environ.get("MLFLOW_TRACKING_URI") else f"MLFLOW_TRACKING_URI={shlex.quote(uri)} "
        restore = f"{where}mlflow experiments restore -x {found.experiment_id}"
        raise OSError(f"its experiment {name} is deleted (`{restore}` brings it back)")
    if found.tags.get(_KIND[0]) != _KIND[1]:
        try_twice(lambda: client.set_experiment_tag(found.experiment_id, *_KIND))
    return str(found.experiment_id)
