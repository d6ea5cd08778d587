"""Runs in MLflow: begun, finished, cut off and continued; the champion; the pages. Real stores, no stand-ins."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import checkout
import numpy as np
import pandas as pd
import psutil
import pytest
import scipy.sparse
from stores import CONFIG, DIGEST, PARAMS, begin, copy_store, disown, free_port, in_processes, printed_port, trained

from numnist.common.errors import DataError, NumnistError, TrackingError
from numnist.tracking import entities, owners, pyfunc_model, recorded
from numnist.tracking import runs as tracked
from numnist.tracking import store as store_module
from numnist.tracking.pages import sweep_link
from numnist.tracking.runs import Tracker
from numnist.training.loop import CURVES
from pipeline import ROOT, ui


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """A checkout with an empty store of its own."""
    copy_store(empty_store, tmp_path)
    return tmp_path


@pytest.fixture
def tracker(store: Path) -> Tracker:
    return tracked.connect(store)


def status(tracker: Tracker, run: str) -> str:
    return str(tracker.store.client.get_run(run).info.status)


def test_two_processes_that_create_the_store_at_once_both_succeed(empty_store: Path) -> None:
    assert [path.read_text() for path in empty_store.glob("created-*")] == ["1", "1"]


def test_a_store_can_be_read_and_written_at_once(store: Path) -> None:
    reader = sqlite3.connect(store / "mlflow.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT name FROM experiments").fetchall()
    with sqlite3.connect(store / "mlflow.db", timeout=0) as writer:
        writer.execute("UPDATE experiments SET last_update_time = 1")
    assert writer.execute("SELECT last_update_time FROM experiments").fetchone() == (1,)
    reader.close()
    writer.close()


def test_importing_the_module_does_not_import_mlflow() -> None:
    code = "import sys, pipeline, numnist.tracking; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


EXPERIMENTS = Path(".dvc", "tmp", "exps")  # where DVC puts its copies


@pytest.mark.parametrize(
    "below", [Path(), EXPERIMENTS / "standalone" / "one", Path(".sample"), Path(".sample") / EXPERIMENTS / "one"]
)
def test_copies_of_a_checkout_use_the_main_checkouts_store(tmp_path: Path, below: Path) -> None:
    (tmp_path / "params.yaml").touch()
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    assert store_module.main_checkout(tmp_path / below) == tmp_path.resolve()


def test_a_directory_that_is_called_sample_but_lies_in_no_checkout_is_a_checkout_itself(tmp_path: Path) -> None:
    assert store_module.main_checkout(tmp_path / ".sample" / "numnist") == tmp_path.resolve() / ".sample" / "numnist"


def test_the_environment_names_another_store(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}")
    tracked.connect(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def begin_and_be_killed(root: Path) -> None:
    tracker = tracked.connect(root)
    parent = tracker.begin_sweep("key", "a sweep", {})
    (root / "runs").write_text(f"{parent} {begin(tracker, 'trial', parent, {})}")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_owners_runs_are_mended_and_continued(store: Path) -> None:
    assert in_processes(begin_and_be_killed, store) == [-signal.SIGKILL]
    parent, trial = (store / "runs").read_text().split()
    tracker = tracked.connect(store)
    assert [status(tracker, run) for run in (parent, trial)] == ["KILLED", "KILLED"]
    assert tracker.begin_sweep("key", "a sweep", {}) == parent
    assert begin(tracker, "trial", parent, {}) == trial
    assert [status(tracker, run) for run in (parent, trial)] == ["RUNNING", "RUNNING"]
    tracked.connect(store)  # the runs are this process's own now
    assert [status(tracker, run) for run in (parent, trial)] == ["RUNNING", "RUNNING"]


def test_a_run_whose_owners_pid_is_another_processs_by_now_is_mended(store: Path, tracker: Tracker) -> None:
    run = tracker.begin_sweep("key", "a sweep", {})
    disown(tracker, run)
    tracked.connect(store)
    assert status(tracker, run) == "KILLED"


def test_a_run_of_another_machine_is_left_alone_as_long_as_its_heart_beats(store: Path, tracker: Tracker) -> None:
    run = tracker.begin_sweep("key", "a sweep", {})
    disown(tracker, run)
    now = time.time()
    for silent, expected in ((30, "RUNNING"), (3600, "KILLED")):
        owner = {owners.OWNER: "another 1 1.0", owners.HEARTBEAT: f"{now - silent:.0f}"}
        tracker.set_tags(run, owner)
        tracked.connect(store)
        assert status(tracker, run) == expected
    assert tracker.begin_sweep("key", "a sweep", {}) == run


@pytest.mark.parametrize(("ended_as", "continued"), [("KILLED", True), ("FAILED", True), ("FINISHED", False)])
def test_a_sweep_that_was_cut_off_keeps_its_parent_run(tracker: Tracker, ended_as: str, continued: bool) -> None:
    first = tracker.begin_sweep("key", "a sweep", {"a": "1"})
    tracker.end(first, ended_as)
    second = tracker.begin_sweep("key", "a sweep", {"a": "2"})
    assert (second == first) is continued
    run = tracker.store.client.get_run(second)
    assert (run.info.status, run.data.tags["a"]) == ("RUNNING", "2")


def test_a_sweep_at_work_in_a_live_process_is_not_taken_over(tracker: Tracker) -> None:
    assert tracker.begin_sweep("key", "a sweep", {}) != tracker.begin_sweep("key", "a sweep", {})


def test_a_trial_of_another_sweep_is_not_continued(tracker: Tracker) -> None:
    first, second = (tracker.begin_sweep(key, "a sweep", {}) for key in "ab")
    trial = begin(tracker, "trial", first, {})
    disown(tracker, trial)
    assert begin(tracker, "trial", second, {}) != trial
    assert begin(tracker, "trial", None, {}) != trial


def test_a_finished_trial_holds_config_curves_data_set_and_files(tracker: Tracker, tmp_path: Path) -> None:
    parent = tracker.begin_sweep("key", "a sweep", {})
    run_id = begin(tracker, "trial", parent, {"colour": "blue"})
    tracker.finish_trial(run_id, trained(tmp_path / "trial"))
    run = tracker.store.client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", CONFIG.name)
    assert run.data.params["hidden_size"] == "10" and run.data.params["learning_rate"] == "0.1"
    assert run.data.tags["mlflow.parentRunId"] == parent and run.data.tags["colour"] == "blue"
    assert run.data.metrics == {"train_loss": 0.25}
    history = tracker.store.client.get_metric_history(run_id, "train_loss")
    assert sorted((point.step, point.value) for point in history) == [(0, 2.0), (1, 1.0), (2, 0.5), (3, 0.25)]
    [used] = run.inputs.dataset_inputs if run.inputs else []
    assert used.dataset.name == "mnist" and DIGEST.startswith(used.dataset.digest)
    assert {item.path for item in tracker.store.client.list_artifacts(run_id)} == {
        "curves.csv",
        "result.json",
        "weights.npz",
    }


def test_a_trial_trained_before_its_run_began_holds_the_same(tracker: Tracker, tmp_path: Path) -> None:
    runs = []
    for was_trained in (False, True):
        run_id = begin(tracker, "trial", tracker.begin_sweep("key", "a sweep", {}), {}, None if was_trained else PARAMS)
        tracker.finish_trial(run_id, trained(tmp_path / "trial"))
        runs.append(tracker.store.client.get_run(run_id))
    assert runs[0].data.params == runs[1].data.params and runs[1].data.params.keys() == PARAMS.keys()
    assert runs[0].data.metrics == runs[1].data.metrics
    assert runs[0].data.tags.keys() == runs[1].data.tags.keys()


def test_of_a_long_curve_some_points_are_logged_and_its_end(tracker: Tracker, tmp_path: Path) -> None:
    run_id = begin(tracker, "trial", None, {})
    result = trained(tmp_path / "trial", losses=[1 / k for k in range(1, 2502)])
    tracker.finish_trial(run_id, result)
    history = tracker.store.client.get_metric_history(run_id, "train_loss")
    assert [(point.step, point.value) for point in history] == [(k, 1 / (k + 1)) for k in entities.steps(2501)]
    assert tracker.store.client.get_run(run_id).data.metrics["train_loss"] == 1 / 2501


def test_logging_a_trial_twice_adds_no_points(tracker: Tracker, tmp_path: Path) -> None:
    run = begin(tracker, "trial", None, {})
    for _ in range(2):
        tracker.finish_trial(run, trained(tmp_path / "trial"))
    assert len(tracker.store.client.get_metric_history(run, "train_loss")) == 4


def test_a_diverged_trial_fails_with_its_iteration_and_no_number_that_is_none(tracker: Tracker, tmp_path: Path) -> None:
    run_id = begin(tracker, "trial", None, {})
    result = trained(tmp_path / "trial", "diverged", (2.0, float("inf"), float("nan")))
    tracker.finish_trial(run_id, result)
    run = tracker.store.client.get_run(run_id)
    assert (run.info.status, run.data.tags["diverged"]) == ("FAILED", "2")
    assert [point.value for point in tracker.store.client.get_metric_history(run_id, "train_loss")] == [2.0]


def test_numbers_that_are_not_finite_are_left_out(tracker: Tracker) -> None:
    run = begin(tracker, "trial", None, {})
    tracker.log_metrics(run, {"a": 0.5, "b": float("nan"), "c": float("inf")})
    assert tracker.store.client.get_run(run).data.metrics == {"a": 0.5}


@pytest.mark.parametrize(("length", "steps"), [
    (1, [0]),
    (2, [0, 1]),
    (12, list(range(12))),
    (20, [*range(12), 12, 15, 18, 19]),
    (501, [*range(12), *range(12, 499, 3), 500]),
    (2501, [*range(12), *range(13, 2500, 13), 2500]),
])  # fmt: skip
def test_a_curve_is_logged_at_its_first_steps_then_at_every_third_or_fewer_and_at_its_end(
    length: int, steps: list[int]
) -> None:
    assert entities.steps(length) == steps


def test_the_curves_of_the_longest_training_fit_in_one_batch_of_a_thousand_rows() -> None:
    assert 200 < max(len(entities.steps(length)) for length in (*range(590, 2_000), 1_000_001)) <= 1_000 // len(CURVES)


def test_finished_trials_are_those_that_finished_or_diverged(tracker: Tracker, tmp_path: Path) -> None:
    parent = tracker.begin_sweep("key", "a sweep", {})
    keys = ("done", "diverged", "raised", "killed", "at work")
    runs = {key: begin(tracker, key, parent, {}) for key in keys}
    begin(tracker, "of another", None, {})
    for key, ended_as in (("done", "finished"), ("diverged", "diverged")):
        tracker.finish_trial(runs[key], trained(tmp_path / key, ended_as))
    tracker.end(runs["raised"], "FAILED")
    tracker.end(runs["killed"], "KILLED")
    assert tracker.finished_trials(parent) == {"done", "diverged"}


def test_files_are_stored_under_the_directories_named(tracker: Tracker, tmp_path: Path) -> None:
    run = tracker.begin_sweep("key", "a sweep", {})
    (tmp_path / "a.html").write_text("a")
    tracker.log_files(run, {"": [tmp_path / "a.html"], "report": [tmp_path / "a.html"]})
    assert {item.path for item in tracker.store.client.list_artifacts(run)} == {"a.html", "report"}


def test_the_link_shows_the_newest_sweeps_trials(tracker: Tracker) -> None:
    tracker.begin_sweep("old", "a sweep", {})
    newest = tracker.begin_sweep("new", "a sweep", {})
    begin(tracker, "trial", newest, {})
    link = sweep_link(tracker.store.experiment, recorded.find_sweep(tracker.store))
    assert link.startswith(f"#/experiments/{tracker.store.experiment}/runs?") and newest in link and " " not in link


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((1, 783)), "shape"),
        (np.zeros(784), "shape"),
        (np.full((1, 784), "a"), "type"),
        (np.full((1, 784), np.nan), "NaN"),
        (np.full((1, 784), 256.0), "256"),
        (np.full((1, 784), -1.0), "-1"),
        (np.full((1, 784), 0.5), "multiply by 255"),
        (pd.DataFrame(np.zeros((1, 784)), columns=[f"pixel{i}" for i in reversed(range(784))]), "another order"),
        (pd.DataFrame([[pd.NA] * 784], dtype="Int64"), "type object"),
    ],
)
def test_what_is_not_pixels_is_refused_with_the_reason(pixels: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pyfunc_model.check(pixels)


@pytest.mark.parametrize("pixels", [np.zeros((0, 784)), np.zeros((2, 784), "uint8"), np.full((1, 784), 255.0)])
def test_pixels_from_0_to_255_are_taken_whatever_their_number_type(pixels: np.ndarray) -> None:
    assert pyfunc_model.check(pixels).dtype == np.float32


def test_tables_of_pandas_own_types_are_taken_and_so_are_sparse_ones() -> None:
    pixels = np.arange(2 * 784).reshape(2, 784) % 256
    for name in ("Int64", "UInt8", "Float64", "object", "int64[pyarrow]"):
        for first in (0, 1):
            frame = pd.DataFrame(pixels, columns=[f"pixel{i}" for i in range(first, 784 + first)]).astype(name)
            assert np.array_equal(pyfunc_model.check(frame), pixels), name
    assert np.array_equal(pyfunc_model.check(scipy.sparse.csr_matrix(pixels)), pixels)


def test_a_database_that_another_process_keeps_locked_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BUSY_SECONDS", 0.05)
    other = sqlite3.connect(store / "mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TrackingError, match=r"mlflow\.db.*locked"):
        tracked.connect(store)
    other.close()


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database, but a long enough text to be one" * 100)
    with pytest.raises(TrackingError, match="not a database"):
        tracked.connect(tmp_path)


def test_a_server_that_is_down_is_an_error_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1") as caught:
        tracked.connect(tmp_path)
    assert "secret" not in str(caught.value)


def test_a_port_that_is_taken_is_an_error_with_the_way_out(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(sys, "argv", ["ui", "--port", str(taken.getsockname()[1])])
        with pytest.raises(NumnistError, match="--port"):
            ui.main()


@dataclass(frozen=True)
class Pages:
    """MLflow's pages on a store, and the process that serves them."""

    root: Path
    port: int
    process: "subprocess.Popen[str]"

    def get(self, path: str, host: str = "") -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", headers={"Host": host} if host else {})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())


@pytest.fixture(scope="module")
def pages(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    root = tmp_path_factory.mktemp("pages")
    copy_store(empty_store, root)
    uri = f"sqlite:///{root / 'mlflow.db'}"
    process = checkout.start(
        checkout.make(root / "checkout"), "-m", "pipeline.ui", "--port", "0", MLFLOW_TRACKING_URI=uri
    )
    try:
        printed = next(line for line in process.stdout or () if "http" in line)
        assert "/#/experiments/" in printed
        yield Pages(root, printed_port([printed]), process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


@pytest.mark.parametrize("name", ["evil.example", "10.evil.example", "evil.example:{}"])
def test_the_pages_refuse_foreign_names(pages: Pages, name: str) -> None:
    assert b"<html" in pages.get("")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        pages.get("", host=name.format(pages.port))


def test_the_pages_listen_on_this_machine_alone(pages: Pages) -> None:
    server = psutil.Process(pages.process.pid)
    family = [server, *server.children(recursive=True)]
    assert {c.laddr.ip for one in family for c in one.net_connections() if c.status == "LISTEN"} == {"127.0.0.1"}


def test_the_pages_serve_nothing_above_their_artifacts(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{pages.root / 'mlflow.db'}")
    for name in ("secret", "kept"):
        (pages.root / name).write_text(name)
    tracker = tracked.connect(pages.root)
    run = tracker.begin_sweep("key", "a sweep", {})
    tracker.log_files(run, {"": [pages.root / "kept"]})
    assert pages.get(f"get-artifact?run_uuid={run}&path=kept") == b"kept"
    up = ("../../../secret", "..%2F..%2F..%2Fsecret", "%252e%252e/%252e%252e/%252e%252e/secret", pages.root / "secret")
    asked = [f"get-artifact?run_uuid={run}&path={path}" for path in up]
    for path in (*asked, *(f"api/2.0/mlflow-artifacts/artifacts/{path}" for path in up)):
        with pytest.raises(urllib.error.HTTPError):
            pages.get(path)


def test_the_pages_end_with_ctrl_c(pages: Pages) -> None:
    pages.process.send_signal(signal.SIGINT)
    assert pages.process.wait() == 130
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", pages.port))


def test_a_trial_cut_off_before_its_parameters_were_logged_gets_them_when_it_goes_on(tracker: Tracker) -> None:
    run = tracker._create(CONFIG.name, {tracked.TRIAL: "trial"})
    disown(tracker, run)
    assert begin(tracker, "trial", None, {}) == run
    assert tracker.store.client.get_run(run).data.params["hidden_size"] == "10"


def test_a_trial_is_read_back_with_its_parameters_data_and_files(tracker: Tracker, tmp_path: Path) -> None:
    run = begin(tracker, "trial", None, {tracked.CODE: "digest"})
    tracker.finish_trial(run, trained(tmp_path / "trial"))
    trial = recorded.read_trial(tracker.store, run)
    assert (trial.run_id, trial.data_digest, trial.tags[tracked.CODE]) == (run, DIGEST, "digest")
    assert trial.params["learning_rate"] == "0.1"
    (tmp_path / "copied").mkdir()
    recorded.copy_files(tracker.store, trial, tmp_path / "copied")
    assert {path.name for path in (tmp_path / "copied").iterdir()} == {"weights.npz", "curves.csv", "result.json"}
    running = begin(tracker, "another", None, {})
    with pytest.raises(DataError, match="is no finished trial"):
        recorded.read_trial(tracker.store, running)
