"""A tracking store that fails half-way costs no result and little time; paths and models let nothing in."""

import json
import pickle
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import digits
import mlflow
import numpy as np
import pytest
import sqlalchemy
from limits import no_file_larger_than
from stores import copy_store, disown, register

from numnist.common import files
from numnist.common.errors import DataError, TrackingError
from numnist.config.schema import DataConfig, TrainingConfig
from numnist.data import dataset, idx
from numnist.tracking import recorded
from numnist.tracking import runs as tracked
from numnist.training.session import Session

CONFIG = TrainingConfig(hidden_size=3, learning_rate=0.3, iterations=4, seed=0, initialization="he")
TRIALS = [replace(CONFIG, seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up digits, as the stage before training leaves them."""
    root = tmp_path_factory.mktemp("digits")
    for prefix, images in (("train", 240), ("t10k", 20)):
        split = digits.split(images)
        files.write_bytes(root / "raw" / f"{prefix}-images-idx3-ubyte", idx.pack(split.pixels))
        files.write_bytes(root / "raw" / f"{prefix}-labels-idx1-ubyte", idx.pack(split.labels))
    dataset.preprocess(root / "raw", root / "data" / "processed", DataConfig("made-up", 4, 0))
    return root / "data"


@pytest.fixture
def root(data: Path, empty_store: Path, tmp_path: Path) -> Path:
    """A checkout with them and an empty store."""
    (tmp_path / "data").symlink_to(data)
    copy_store(empty_store, tmp_path)
    return tmp_path


def statuses(root: Path) -> dict[str, str]:
    tracker = tracked.connect(root)
    return {
        str(run.info.run_name).partition(" (")[0]: run.info.status
        for run in tracker.store.client.search_runs([tracker.store.experiment])
    }


def on_disk(root: Path) -> set[str]:
    return {path.parent.name for path in (root / "runs").glob("*/result.json")}


def test_a_trial_that_diverges_fails_with_its_iteration(root: Path) -> None:
    one = Session(root)
    result = one.run_trial(replace(CONFIG, learning_rate=1e6, iterations=50), root / "runs")
    [run] = one.tracker.store.client.search_runs([one.tracker.store.experiment])
    assert (run.info.status, run.data.tags["diverged"]) == ("FAILED", str(result.state.iteration))
    assert "validation_accuracy" not in run.data.metrics or np.isfinite(run.data.metrics["validation_accuracy"])


@contextmanager
def waiting_little() -> Iterator[None]:
    """Make MLflow wait 50 ms for a locked database, and not its 20 s."""

    def hasten(connection: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> tuple[str, Any]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 50"), parameters

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", hasten, retval=True)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", hasten)


def test_a_database_locked_half_way_costs_no_result_and_the_same_command_logs_them_later(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = Session(root)
    first.begin_sweep(TRIALS)
    first.run_trial(TRIALS[0], root / "runs")
    other = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with waiting_little():
        for trial in TRIALS[1:]:
            first.run_trial(trial, root / "runs")
        with pytest.raises(TrackingError, match=r"mlflow\.db failed, .*locked.* run the same command again"):
            first.end("FINISHED")
    assert capfd.readouterr().err.count("training goes on without tracking: ") == 1
    other.close()
    assert on_disk(root) == {trial.name for trial in TRIALS}
    disown(first.tracker, str(first.sweep_run))  # as if that process had ended
    later = Session(root)
    later.begin_sweep(TRIALS)
    assert later.sweep_run == first.sweep_run
    for trial in TRIALS:
        later.run_trial(trial, root / "runs")
    later.end("FINISHED")
    assert statuses(root) == {"seed 0, 1, 2": "FINISHED"} | {trial.name: "FINISHED" for trial in TRIALS}


class Server(ThreadingHTTPServer):
    """A tracking server of very few words, that can fall silent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.silent = False
        self.over = threading.Event()
        self.requests_when_silent: list[str] = []


ANSWERS = {
    "experiments/get-by-name": {"experiment": {"experiment_id": "7", "name": "numnist", "lifecycle_stage": "active"}},
    "runs/create": {
        "run": {"info": {"run_id": "a" * 32, "status": "RUNNING", "artifact_uri": "mlflow-artifacts:/7/a"}, "data": {}}
    },
    "runs/get": {"run": {"info": {"run_id": "a" * 32, "artifact_uri": "mlflow-artifacts:/7/a"}, "data": {}}},
}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.server.silent:
            self.server.requests_when_silent.append(self.path)
            self.server.over.wait()
            return
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self.path.partition("?")[0].removeprefix("/api/2.0/mlflow/")
        body = json.dumps(ANSWERS.get(name, {})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def test_a_server_that_falls_silent_half_way_is_waited_for_once_and_costs_no_result(
    root: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    one = Session(root)
    one.begin_sweep(TRIALS)
    server.silent = True
    for trial in TRIALS:
        one.run_trial(trial, root / "runs")
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:\d+ failed, to begin the trial .* timed out"):
        one.end("FINISHED")
    assert len(server.requests_when_silent) == 1
    assert on_disk(root) == {trial.name for trial in TRIALS}


def test_a_full_disk_under_the_database_is_told_by_its_name(root: Path) -> None:
    tracker = tracked.connect(root)
    with no_file_larger_than(1_000), pytest.raises(TrackingError, match=r"mlflow\.db failed, to begin the sweep"):
        tracker.begin_sweep("key", "a sweep", {})
    tracker.begin_sweep("key", "a sweep", {})
    assert list(statuses(root).values()) == ["RUNNING"]


class Trap:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_in_the_place_of_the_champions_weights_is_not_executed(root: Path) -> None:
    tracker = tracked.connect(root)
    register(tracker, root / "trial")
    [weights] = (root / "mlartifacts").rglob("model*/**/artifacts/weights.npz")
    trap = root / "executed"
    for bad in (pickle.dumps(Trap(trap)), _object_array(root, trap)):
        weights.write_bytes(bad)
        with pytest.raises(Exception, match=r"pickle|allow_pickle"):
            mlflow.pyfunc.load_model(str(next((root / "mlartifacts").rglob("MLmodel")).parent))
    assert not trap.exists()


def _object_array(root: Path, trap: Path) -> bytes:
    np.savez(root / "bad.npz", W1=np.array([Trap(trap)], object))
    return (root / "bad.npz").read_bytes()


@pytest.mark.parametrize("run", ["../../secret", "..", "/etc/passwd", "file:///etc/passwd", "no-such-run"])
def test_a_run_that_is_a_path_or_a_slip_is_refused_and_the_store_is_not_blamed(root: Path, run: str) -> None:
    with pytest.raises(DataError, match=f"holds no run {run}; `make ui` shows which there are"):
        recorded.read_trial(tracked.connect(root).store, run)
