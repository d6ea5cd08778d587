"""Processes against signals, each other, edits under their feet and strange surroundings, as people start them."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import checkout
import psutil
import pytest
import yaml
from filelock import FileLock
from stores import copy_store

from numnist.common import files, rwlock
from numnist.config.schema import DataConfig, Source
from numnist.data import dataset, fetching
from numnist.evaluation import selection
from numnist.tracking import runs as tracked
from numnist.training import results

LONG = ("-m", "pipeline.train", "-m", "hidden_size=3", "iterations=1,1000000", "seed=0")


@pytest.fixture(scope="module")
def prepared(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with data and an empty tracking store, at a path with a space and letters beyond ASCII."""
    directory = checkout.make(tmp_path_factory.mktemp("größe zwei"))
    fetching.fetch(Source((), {}), "mnist-5k", directory / "data" / "raw" / "mnist-5k")
    dataset.preprocess(
        directory / "data" / "raw" / "mnist-5k", directory / "data" / "processed", DataConfig("mnist-5k", 12, 0)
    )
    copy_store(empty_store, directory)
    return directory


def copied(prepared: Path, directory: Path) -> Path:
    shutil.copytree(prepared, directory, ignore=shutil.ignore_patterns("mlflow.db*"))
    copy_store(prepared, directory)
    return directory


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it for a test to change."""
    directory = copied(prepared, tmp_path / "größe drei")
    yield directory
    directory.chmod(0o755)
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # SQLite's log goes when its last reader goes
            path.chmod(0o755)
    shutil.rmtree(directory)


def wait_for(condition: Callable[[], bool], *processes: "subprocess.Popen[str]") -> None:
    """Wait until something holds; an AssertionError where a process ends before."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def owner(directory: Path) -> int:
    """The process that trains in a checkout's store."""
    path = directory / ".checkpoints" / "owner"
    return int(path.read_text(encoding="utf-8")) if path.exists() else 0


def runs(directory: Path) -> list[tracked.Any]:
    tracker = tracked.connect(directory)
    return list(tracker.store.client.search_runs([tracker.store.experiment], max_results=1000))


@dataclass(frozen=True)
class Ended:
    """How three trainings of one store came out, each ended by a signal while it trained."""

    directory: Path
    codes: dict[str, int]
    errors: dict[str, str]
    pids: dict[str, int]
    told: list[str]  # by the two that had to wait for the first


@pytest.fixture(scope="module")
def ended(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Start three at once, and end the one that trains: by SIGKILL, then Ctrl-C, then SIGTERM."""
    directory = copied(prepared, tmp_path_factory.mktemp("signals") / "copy")
    waiting = {one.pid: one for one in (checkout.start(directory, *LONG) for _ in range(3))}
    codes, errors, pids, told = {}, {}, {}, []
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        wait_for(lambda: owner(directory) in waiting, *waiting.values())
        wait_for(lambda: any(directory.glob(".checkpoints/*/1.npz")), *waiting.values())
        process = waiting.pop(owner(directory))
        told = told or [next(one.stderr or iter(())) for one in waiting.values()]
        process.send_signal(number)
        errors[number.name] = process.communicate()[1]
        codes[number.name], pids[number.name] = process.returncode, process.pid
    return Ended(directory, codes, errors, pids, told)


def test_a_training_ends_with_the_exit_code_of_its_signal(ended: Ended) -> None:
    assert ended.codes == {"SIGKILL": -9, "SIGINT": 130, "SIGTERM": 143}
    assert not any("Traceback" in text for text in ended.errors.values())


def test_a_training_that_is_told_to_end_says_what_is_kept_and_how_to_go_on(ended: Ended) -> None:
    for number in ("SIGINT", "SIGTERM"):
        assert "trials are finished and kept. The same command trains the rest" in ended.errors[number]


def test_one_trains_in_a_store_and_the_others_wait_and_name_it(ended: Ended) -> None:
    first, store = ended.pids["SIGKILL"], ended.directory / ".checkpoints"
    assert ended.told == [f"waiting for process {first}, which is training in {store}\n"] * 2


def test_a_training_that_was_ended_is_killed_and_after_kill_9_the_next_start_says_so(ended: Ended) -> None:
    found = runs(ended.directory)
    unfinished = [run for run in found if run.data.params.get("iterations") != "1"]  # one iteration is soon done
    assert unfinished and {run.info.status for run in unfinished} == {"KILLED"}
    assert {run.info.status for run in found} <= {"KILLED", "FINISHED"}
    owners = {int(run.data.tags["numnist.owner"].split()[1]) for run in found}
    assert owners <= set(ended.pids.values())  # who goes on with a run owns it


@pytest.mark.slow
def test_after_kill_9_of_dvc_its_orphan_keeps_others_out(copy: Path) -> None:
    params = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))
    params["sweep"] = {"hidden_size": [3], "learning_rate": [0.1], "iterations": [1, 1_000_000], "seed": [0]}
    (copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    repro = ("-m", "dvc", "repro", "--single-item", "train")
    first = checkout.start(copy, *repro)
    wait_for(lambda: any(copy.glob(".checkpoints/*/1.npz")), first)
    orphan = owner(copy)
    first.kill()
    first.wait()
    second = checkout.start(copy, *repro)
    try:
        said = next((line for line in second.stderr or () if "waiting for process" in line), "")
        assert f"waiting for process {orphan}, " in said
        assert owner(copy) == orphan != first.pid
    finally:
        os.kill(orphan, signal.SIGKILL)
    wait_for(lambda: owner(copy) != orphan, second)
    os.kill(owner(copy), signal.SIGTERM)
    assert second.wait() != 0


FAULTY = """
import sys
import pipeline
from numnist.training import loop
from numnist.config import cli
from pipeline import train
fault, whole = sys.argv.pop(1), loop.train_stack
def train_stack(tasks, *rest, **named):
    names = sorted(task.config.name for task in tasks)
    print("trains", *names, flush=True)
    if fault in names:
        raise ZeroDivisionError("a fault put in by a test")
    return whole(tasks, *rest, **named)
loop.train_stack = train_stack
cli.run(train.main)
"""


@pytest.mark.slow
def test_a_trial_that_raises_costs_none_but_itself_and_a_rerun_trains_it_alone(copy: Path) -> None:
    bad, *good = sorted(f"h000{h}-lr0.1-it00002-s{seed}" for h in (3, 4) for seed in (0, 1))
    sweep = ("-m", "hidden_size=3,4", "seed=0,1", "iterations=2", f"output='{copy / 'out'}'")

    def train(fault: str) -> "subprocess.CompletedProcess[str]":
        process = checkout.start(copy, "-c", FAULTY, fault, *sweep)
        out, err = process.communicate()
        return subprocess.CompletedProcess([], process.returncode, out, err)

    failed = train(bad)
    assert failed.returncode == 1 and f"1 of 4 trials failed: {bad}" in failed.stdout + failed.stderr
    table = results.read_table(copy / "out" / "sweep.csv")
    assert sorted(table["name"]) == good
    grid = {"hidden_size": [3, 4], "learning_rate": [0.1], "iterations": [2], "seed": [0, 1]}
    assert selection.unfinished(table, grid)[["hidden_size", "seed", "status"]].values.tolist() == [[3, 0, "missing"]]
    status = {run.info.run_name.partition(" (")[0]: run.info.status for run in runs(copy)}
    assert status == {"hidden_size 3, 4; seed 0, 1": "FAILED", bad: "FAILED"} | dict.fromkeys(good, "FINISHED")
    again = train("none")
    assert again.returncode == 0, again.stderr
    assert [line for line in again.stdout.splitlines() if line.startswith("trains")] == [f"trains {bad}"]
    assert {run.info.status for run in runs(copy)} == {"FINISHED"} and len(runs(copy)) == 5


@pytest.mark.slow
def test_eight_trainings_started_at_once_on_a_fresh_checkout_share_one_store_and_lose_nothing(copy: Path) -> None:
    for path in copy.glob("mlflow.db*"):
        path.unlink()
    arguments = ("-m", "pipeline.train", "-m", "hidden_size=3", "iterations=1,2")
    processes = [checkout.start(copy, *arguments, f"seed={seed}") for seed in range(8)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, errors
    found = runs(copy)
    assert {run.info.status for run in found} == {"FINISHED"}
    trials = [run.info.run_name for run in found if "mlflow.parentRunId" in run.data.tags]
    assert sorted(trials) == [f"h0003-lr0.1-it{n:05d}-s{seed}" for n in (1, 2) for seed in range(8)]
    tables = [results.read_table(path) for path in (copy / "launches").glob("*/sweep.csv")]
    assert sorted(len(table) for table in tables) == [2] * 8 and len(list((copy / "launches").iterdir())) == 8
    assert sorted(name for table in tables for name in table["name"]) == sorted(trials)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_make_run_that_is_told_to_end_ends_its_training_too(copy: Path, number: signal.Signals) -> None:
    params = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))
    params["sweep"] = {"hidden_size": [3], "learning_rate": [0.1], "iterations": [1, 1_000_000], "seed": [0]}
    (copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    process = checkout.start(copy, "-m", "pipeline.run")
    wait_for(lambda: any(copy.glob(".checkpoints/*/1.npz")), process)
    training = psutil.Process(owner(copy))
    process.send_signal(number)
    assert process.wait() == 128 + number
    assert not training.is_running() or training.status() == psutil.STATUS_ZOMBIE
    assert {run.info.status for run in runs(copy)} <= {"KILLED", "FINISHED"}


@pytest.mark.slow
def test_a_sweep_whose_output_nobody_reads_is_finished_all_the_same(copy: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pipeline.train", "-m", "hidden_size=3", "iterations=1,2"]
    code = subprocess.run(command, cwd=copy, env=checkout.environment(copy), stdout=writer, stderr=writer).returncode
    os.close(writer)
    assert code == 141
    assert len(runs(copy)) == 3 and {run.info.status for run in runs(copy)} == {"FINISHED"}


@pytest.mark.parametrize("megabytes", [150, 300, *(pytest.param(n, marks=pytest.mark.slow) for n in (250, 350))])
def test_too_little_memory_is_told_in_words(copy: Path, megabytes: int) -> None:
    limited = ("prlimit", f"--as={megabytes << 20}")
    process = checkout.start(copy, "-m", "pipeline.train", "hidden_size=3", "iterations=2", prefix=limited)
    errors = process.communicate()[1]
    assert process.returncode == 1 and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: ")  # which of a hundred libraries finds no room, no test can tell


def test_published_results_are_compared_on_their_data_alone(copy: Path) -> None:
    kept = {name: (copy / name).read_bytes() for name in ("docs/published.md", "docs/published.json")}
    done = checkout.run(copy, "pipeline.published")
    assert done.returncode == 1 and "holds mnist-5k, and published results are on mnist" in done.stderr
    assert {name: (copy / name).read_bytes() for name in kept} == kept


def test_the_doctor_says_all_on_one_screen_and_what_to_mend(copy: Path) -> None:
    done = checkout.run(copy, "pipeline.doctor", MLFLOW_TRACKING_URI="http://me:secret@127.0.0.1:1")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) < 25 and "secret" not in done.stdout
    assert any(line.startswith("store") and "127.0.0.1:1" in line for line in lines)
    assert any(line.startswith("stages") and "train, evaluate, report" in line for line in lines)
    shutil.rmtree(copy / ".git")
    nameless = checkout.run(copy, "pipeline.doctor", HOME=str(copy))
    assert "! no repository" in nameless.stdout
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
    nameless = checkout.run(copy, "pipeline.doctor", HOME=str(copy), XDG_CONFIG_HOME=str(copy), GIT_CONFIG_NOSYSTEM="1")
    assert "! git does not know who you are" in nameless.stdout


@pytest.mark.slow
def test_dvcs_own_list_of_files_that_a_kill_cut_off_is_told_by_the_doctor_and_mended_by_make_run(copy: Path) -> None:
    cut_off = copy / rwlock.NAME
    files.write_text(cut_off, '{"write": {"/data')
    refused = checkout.run(copy, "dvc", "repro")
    assert refused.returncode != 0 and "Unable to read RWLock-file" in refused.stderr
    assert f"! DVC was killed while it wrote {rwlock.NAME}" in checkout.run(copy, "pipeline.doctor").stdout
    checkout.run(copy, "pipeline.run")
    assert "RWLock" not in checkout.run(copy, "dvc", "repro", "fetch").stderr


def test_dvcs_list_of_files_is_left_alone_if_it_is_whole_or_being_written(tmp_path: Path) -> None:
    for content, is_held, stays in (("{}", False, True), ("", True, True), ("", False, False)):
        files.write_text(tmp_path / rwlock.NAME, content)
        with FileLock(f"{tmp_path / rwlock.NAME}.lock") if is_held else contextlib.nullcontext():
            rwlock.mend(tmp_path)
        assert (tmp_path / rwlock.NAME).exists() == stays


def test_inputs_that_are_edited_while_a_stage_runs_are_named_and_nothing_is_recorded(copy: Path) -> None:
    stage = copy / "pipeline" / "preprocess.py"
    edits = """
    (ROOT / "src" / "numnist" / "data" / "idx.py").open("a").write("# edited")
    text = (ROOT / "params.yaml").read_text().replace("split_seed: 0", "split_seed: 1")
    (ROOT / "params.yaml").write_text(text.replace("arithmetic: exact", "arithmetic: fast"))  # not the stage's
"""
    stage.write_text(
        stage.read_text().replace(
            "    from numnist.data import dataset\n", f"    from numnist.data import dataset\n{edits}"
        )
    )
    done = checkout.run(copy, "dvc", "repro", "--single-item", "preprocess")
    assert done.returncode != 0
    assert "error: changed while the stage ran: data (params.yaml), src/numnist/data. " in done.stderr
    assert not (copy / "dvc.lock").exists()


@pytest.mark.slow
def test_a_path_beyond_ascii_no_home_the_c_locale_and_another_directory_are_no_hindrance(copy: Path) -> None:
    bare = {"HOME": "", "LANG": "", "LC_ALL": "C", "USER": "", "LOGNAME": ""}
    single = ("pipeline.train", "hidden_size=3", "iterations=2")
    done = checkout.run(copy, *single, cwd=Path("/"), **bare)
    assert done.returncode == 0, done.stderr
    [output] = (copy / "launches").iterdir()
    assert (output / "h0003-lr0.1-it00002-s0" / "weights.npz").exists()


@pytest.mark.parametrize("command", ["pipeline.run", "pipeline.train hidden_size=3", "pipeline.predict three.png"])
def test_a_read_only_checkout_is_told_by_the_path_in_one_line(copy: Path, command: str) -> None:
    for path in [*copy.rglob("*"), copy]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    process = checkout.start(copy, "-m", *command.split(), prefix=without_rights())
    said = process.communicate()[1].strip()
    assert process.returncode == 1
    assert said.startswith("error: ") and str(copy) in said and "denied" in said and "\n" not in said


def without_rights() -> tuple[str, ...]:
    """What makes a command heed permissions, even root's."""
    return ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


def test_a_read_only_database_is_told_before_anything_is_trained(copy: Path) -> None:
    (copy / "mlflow.db").chmod(0o444)
    process = checkout.start(copy, "-m", "pipeline.train", "hidden_size=3", "iterations=2", prefix=without_rights())
    said = process.communicate()[1].splitlines()[-1]  # after Hydra's words on the job
    assert process.returncode == 1
    assert said.startswith(f"error: the tracking store sqlite:///{copy / 'mlflow.db'} failed, to open it: ")
    assert "may not be written" in said and "then run the same command again" in said
    assert not (copy / ".checkpoints").exists()


MAKE_PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then exit; fi
echo venv >> made
mkdir -p .venv/bin .venv/lib/python3/site-packages
printf '#!/bin/sh\\ncat release\\n' > .venv/bin/pip
chmod +x .venv/bin/pip
"""


@pytest.mark.skipif(not shutil.which("flock"), reason="without flock, make does not wait")
def test_of_two_makes_at_once_one_installs_and_the_other_waits(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(checkout.ROOT / name, tmp_path)
    (tmp_path / "python").write_text(MAKE_PYTHON)
    (tmp_path / "python").chmod(0o755)
    os.mkfifo(tmp_path / "release")
    command = ["make", f"PYTHON={tmp_path / 'python'}", ".venv/.installed"]
    made = tmp_path / "made"
    first = subprocess.Popen(command, cwd=tmp_path, text=True)
    wait_for(made.exists, first)
    second = subprocess.Popen(command, cwd=tmp_path, text=True)
    wait_for(lambda: is_waiting(second.pid) or made.read_text() == "venv\nvenv\n", first, second)
    (tmp_path / "release").open("w").close()
    assert (first.wait(), second.wait()) == (0, 0)
    assert made.read_text() == "venv\n"


def is_waiting(pid: int) -> bool:
    """Whether a make waits for flock."""
    with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended
        return any(
            child.name() == "flock" and not child.children() for child in psutil.Process(pid).children(recursive=True)
        )
    return False
