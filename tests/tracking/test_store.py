"""The store: created whole or not at all, mended if the checkout was moved, opened as MLflow's users expect."""

import contextlib
import functools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import mlflow.store.db.utils
import pytest
from limits import no_file_larger_than
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from stores import CONFIG, copy_store, in_processes, register, trained

from numnist.common import files
from numnist.common.errors import TrackingError
from numnist.tracking import entities, owners, provenance, recorded, registry, runs, store
from pipeline import ROOT


@pytest.fixture
def root(empty_store: Path, tmp_path: Path) -> Path:
    """A checkout with an empty store."""
    (tmp_path / "checkout").mkdir()
    copy_store(empty_store, tmp_path / "checkout")
    return tmp_path / "checkout"


@pytest.fixture
def created_soon(empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store be created in no time, as a copy."""
    monkeypatch.setattr(store, "_create", lambda path: shutil.copy(empty_store / "mlflow.db", path))


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.name.startswith("mlflow.db")}


def create_and_be_killed(root: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    def killed(self: Any) -> None:  # after the migrations, before the rename
        os.kill(os.getpid(), signal.SIGKILL)

    SqlAlchemyStore._initialize_store_state = killed  # type: ignore[method-assign, assignment]
    store.connect(root)


def test_a_creation_that_is_killed_leaves_no_store_and_the_next_start_makes_one(tmp_path: Path) -> None:
    assert in_processes(create_and_be_killed, tmp_path) == [-signal.SIGKILL]
    assert "mlflow.db" not in names(tmp_path) and "mlflow.db.partial" in names(tmp_path)
    assert store.connect(tmp_path).client.get_experiment_by_name("numnist")
    assert not {name for name in names(tmp_path) if "partial" in name}


def create_on_a_full_disk(size: int, root: Path) -> None:
    with no_file_larger_than(size):
        try:
            store.connect(root)
        except TrackingError as error:
            assert f"the tracking store sqlite:///{root / 'mlflow.db'} failed, to open it: " in str(error)
            os._exit(1)


@pytest.mark.parametrize(
    "size", [300_000, *(pytest.param(n, marks=pytest.mark.soak) for n in range(20_000, 1_220_000, 60_000))]
)
def test_a_disk_that_fills_while_the_store_is_created_leaves_none_and_the_next_start_makes_one(
    tmp_path: Path, size: int
) -> None:
    [code] = in_processes(functools.partial(create_on_a_full_disk, size), tmp_path)
    assert (code, "mlflow.db" in names(tmp_path)) in ((1, False), (0, True))
    assert code or size > 300_000
    assert store.connect(tmp_path).client.get_experiment_by_name("numnist")
    assert not {name for name in names(tmp_path) if "partial" in name}


@pytest.mark.parametrize("cut_off", ["DROP TABLE webhooks", "UPDATE alembic_version SET version_num = '451aebb31d03'",
                                     "DELETE FROM alembic_version", ""])  # fmt: skip
@pytest.mark.usefixtures("created_soon")
def test_a_store_whose_creation_an_earlier_version_left_half_done_is_made_anew(root: Path, cut_off: str) -> None:
    if cut_off:
        with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database, database:
            database.execute(cut_off)
            database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    else:
        (root / "mlflow.db").write_bytes(b"")
    assert store.connect(root).client.get_experiment_by_name("numnist")
    assert "mlflow.db.half-made" in names(root)


def test_a_store_with_runs_is_never_put_aside(root: Path) -> None:
    runs.connect(root).begin_sweep("key", "a sweep", {})
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    SqlAlchemyStore._engine_map.clear()
    with contextlib.suppress(TrackingError, MlflowException):
        store.connect(root)
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (1,)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("created_soon")
def test_a_database_of_flipped_bytes_ends_in_words_and_its_remedy_helps(root: Path, seed: int) -> None:
    database = root / "mlflow.db"
    content, flips = bytearray(database.read_bytes()), random.Random(seed)
    for _ in range(200):
        content[flips.randrange(100, len(content))] ^= 0xFF
    database.write_bytes(content)
    try:
        runs.connect(root).begin_sweep("key", "a sweep", {})
    except TrackingError as error:
        assert f"(mv {database} {database}.damaged)" in str(error) and len(str(error)) < 1500
        database.rename(f"{database}.damaged")
        runs.connect(root).begin_sweep("key", "a sweep", {})


def test_a_store_is_made_anew_beside_what_a_killed_process_left_of_the_one_before(root: Path) -> None:
    runs.connect(root).begin_sweep("key", "a sweep", {})
    database = root / "mlflow.db"
    other = sqlite3.connect(database)
    other.execute("CREATE TABLE of_before (x)")
    other.commit()
    left = {name: (root / name).read_bytes() for name in ("mlflow.db-wal", "mlflow.db-shm")}  # as kill -9 leaves them
    other.close()
    SqlAlchemyStore._engine_map.clear()
    database.unlink()
    for name, content in left.items():
        (root / name).write_bytes(content)
    runs.connect(root).begin_sweep("key", "a sweep", {})
    with contextlib.closing(sqlite3.connect(database)) as anew:
        assert not anew.execute("SELECT name FROM sqlite_master WHERE name = 'of_before'").fetchall()


def held(root: Path) -> tuple[str, str, bytes]:
    """What a checkout's store gives of a trial and of version 1: where its artifacts lie, and the weights of both."""
    tracker = runs.connect(root)
    version = tracker.store.client.get_model_version("numnist", "1")
    weights = registry.weights_of(tracker.store, version, root / "asked")
    of_run = recorded.copy_weights(tracker.store, recorded.read_trial(tracker.store, str(version.run_id)), root)
    assert files.sha256(of_run) == files.sha256(weights)
    return tracker.store.client.get_run(version.run_id).info.artifact_uri, version.source, weights.read_bytes()


def test_a_checkout_that_is_renamed_keeps_its_artifacts(root: Path) -> None:
    register(runs.connect(root), root / "trial")
    before = held(root)
    moved = root.rename(root.parent / "a new %20 name")
    after = held(moved)
    assert after[2] == before[2]
    assert after[0].startswith(f"{moved.as_uri()}/mlartifacts/") and after[1].startswith(f"{moved.as_uri()}/")
    assert not root.exists()


def test_a_checkout_that_is_copied_does_not_write_into_the_original(root: Path) -> None:
    register(runs.connect(root), root / "trial")
    copy = shutil.copytree(root, root.parent / "copy")
    before = sorted(root.rglob("*"))
    tracker = runs.connect(copy)
    run = tracker.log_directory(trained(copy / "another"), None, {})
    assert (
        recorded.copy_weights(tracker.store, recorded.read_trial(tracker.store, run), copy).is_file() and held(copy)[2]
    )
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("name", ["a?b%20c#d", 'it\'s "naïve"'])
def test_the_store_lies_in_the_checkout_whatever_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    register(runs.connect(tmp_path / name), tmp_path / name / "trial")
    assert held(tmp_path / name)[2]
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name / "mlflow.db").stat().st_size


def test_mlflows_own_variables_mean_what_its_users_expect(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path / 'registry.db'}")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    tracker = runs.connect(root)
    experiment = tracker.store.client.get_experiment(tracker.store.experiment)
    assert (experiment.name, experiment.tags["mlflow.experimentKind"]) == ("mine", "custom_model_development")
    register(tracker, root / "trial")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    assert registry.find(store.connect(root), "any", "any") is None
    assert provenance.standard_tags(root)["mlflow.user"] == "ann"


@pytest.mark.usefixtures("created_soon")
def test_a_relative_address_is_kept_in_the_copy_of_an_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "one"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert store.connect(copy).uri == f"sqlite:///{tmp_path.resolve() / 'other.db'}"


@pytest.mark.parametrize("secret", ["secret", "se%2Fcr%40et", "p:w"])
def test_no_message_of_a_store_holds_its_password(secret: str) -> None:
    uri = f"postgresql://ann:{secret}@db.example:5432/mlflow"
    told = f"connection to {uri} failed for ann:{secret}@db.example, password {secret}"
    with pytest.raises(TrackingError) as caught, store.tracking_errors(uri, "open it"):
        raise OSError(told)
    assert secret not in str(caught.value) and "db.example" in str(caught.value)
    assert store.without_password(uri) == "postgresql://db.example:5432/mlflow"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/?token=hunter2", "postgresql:///db?user=me&password=hunter2&x=1"])
def test_no_message_of_a_store_holds_a_password_of_its_query(uri: str) -> None:
    assert "hunter2" not in store.without_password(uri) and store.without_password(uri).startswith(uri[:12])


@pytest.mark.parametrize("uri", ["http://[::1", "postgresql://a:b@[::1/x"])
def test_an_address_that_is_none_is_an_error_in_words(root: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match="failed, to open it"):
        store.connect(root)


def test_a_database_server_that_does_not_answer_is_asked_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1:1/x")
    monkeypatch.setattr("sqlalchemy.create_engine", refused)
    monkeypatch.setattr(mlflow.store.db.utils, "create_sqlalchemy_engine_with_retry", pytest.fail)
    with pytest.raises(TrackingError, match="refused"):
        store.connect(root)


def test_mlflow_prints_no_link_with_a_password(root: Path) -> None:
    store.connect(root)
    assert os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] == "true"


def test_a_run_that_another_process_took_over_is_noticed(root: Path) -> None:
    tracker = runs.connect(root)
    run = tracker.begin_sweep("key", "a sweep", {})
    tracker.beat()
    assert owners.is_alive(tracker.tags(run))
    tracker.set_tags(run, {owners.OWNER: "another 1 1.0"})
    with pytest.raises(TrackingError, match="taken over by another process: another 1"):
        tracker.beat()


def test_a_heart_beats_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    beaten = threading.Event()
    monkeypatch.setattr(owners, "BEAT_SECONDS", 0.001)
    before = set(threading.enumerate())
    stop = owners.start_heartbeat(beaten.set)
    [heart] = set(threading.enumerate()) - before
    assert beaten.wait(10)
    stop()
    heart.join(10)
    assert not heart.is_alive()


def test_a_process_of_another_namespace_is_another_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = owners.tags()
    assert owners.is_alive(tags) and owners.is_mine(tags)
    here = owners.machine()
    monkeypatch.setattr(owners, "machine", lambda: here + "0")
    assert owners.is_alive(tags)  # it was alive a moment ago: nobody takes its run
    assert not owners.is_alive({**tags, owners.HEARTBEAT: "0"})


CONTAINER = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", sys.executable, "-c"]
HOLD = """
import sys, pathlib, pipeline
from numnist.tracking import runs
print(runs.connect(pathlib.Path(sys.argv[1])).begin_sweep("key", "a sweep", {}), flush=True)
sys.stdin.read()
"""
BEGIN_TOO = """
import sys, pathlib, pipeline
from numnist.tracking import runs
tracker = runs.connect(pathlib.Path(sys.argv[1]))
print(tracker.store.client.get_run(sys.argv[2]).info.status, tracker.begin_sweep("key", "a sweep", {}))
"""


def can_contain() -> bool:
    """Whether this machine lets us make PID namespaces."""
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run([*CONTAINER, ""], capture_output=True, check=False).returncode == 0
    return False


@pytest.mark.slow
@pytest.mark.skipif(not can_contain(), reason="needs Linux's unshare, and the right to make namespaces")
def test_a_run_that_is_at_work_in_another_container_is_not_taken_over(root: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    holder = subprocess.Popen([*CONTAINER, HOLD, str(root)], **pipes)  # type: ignore[call-overload]
    run = holder.stdout.readline().strip()
    asked = [*CONTAINER, BEGIN_TOO, str(root), run]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    holder.communicate("")
    assert holder.returncode == 0
    assert said[0] == "RUNNING" and said[1] != run


def test_a_sweep_that_is_finished_is_begun_anew_unless_all_its_trials_were_trained(root: Path) -> None:
    tracker = runs.connect(root)
    first = tracker.begin_sweep("key", "a sweep", {})
    tracker.end(first, "FINISHED")
    assert tracker.begin_sweep("key", "a sweep", {}, all_trained=True) == first
    tracker.end(first, "FINISHED")
    assert tracker.begin_sweep("key", "a sweep", {}) != first


def test_a_sweep_is_named_by_what_varies() -> None:
    trials = [{"hidden_size": h, "seed": s, "momentum": 0.0} for h in (8, 16) for s in range(9)]
    assert entities.sweep_name(trials) == "hidden_size 8, 16; seed 0 to 8 (18 trials)"
    assert entities.sweep_name(trials[:1]) == "a single trial (1 trial)"


def test_points_bear_the_time_at_which_they_were_reached_and_are_logged_once(root: Path) -> None:
    tracker = runs.connect(root)
    directory = trained(root / "trial")
    run = tracker.begin_trial(CONFIG.name, "trial", None, {}, started=100.0)
    curves = {"train_loss": [2.0, 1.0, 0.5]}
    tracker.log_points(run, curves, 4, [100.0, 110.0, 120.0])
    status = tracker.store.client.get_run(run).info.status
    grown = tracker.store.client.get_metric_history(run, "train_loss")
    tracker.finish_trial(run, directory, [100.0, 110.0, 120.0, 130.0])
    history = tracker.store.client.get_metric_history(run, "train_loss")
    info = tracker.store.client.get_run(run).info
    assert status == "RUNNING" and [(one.step, one.timestamp) for one in grown] == [
        (0, 100_000),
        (1, 110_000),
        (2, 120_000),
    ]
    assert [(one.step, one.timestamp) for one in history] == [(k, 100_000 + 10_000 * k) for k in range(4)]
    assert (info.start_time, info.end_time) == (100_000, 130_000)


def test_a_trial_that_goes_on_keeps_the_points_that_it_has(root: Path) -> None:
    tracker = runs.connect(root)
    run = tracker.begin_trial(CONFIG.name, "trial", None, {}, started=100.0)
    tracker.log_points(run, {"train_loss": [2.0, 1.0]}, 4, [100.0, 110.0])
    tracker.end(run, "KILLED")
    later = runs.connect(root)
    assert later.begin_trial(CONFIG.name, "trial", None, {}) == run
    later.finish_trial(run, trained(root / "trial"), [200.0, 200.0, 220.0, 230.0])
    history = later.store.client.get_metric_history(run, "train_loss")
    assert sorted((one.step, one.timestamp) for one in history) == [
        (0, 100_000),
        (1, 110_000),
        (2, 220_000),
        (3, 230_000),
    ]
