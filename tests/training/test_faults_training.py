"""Training against divergence, kill -9, a full disk, foreign states and long use. The disk is full by RLIMIT_FSIZE."""

import gc
import multiprocessing
import random
from dataclasses import replace
from pathlib import Path

import digits
import numpy as np
import psutil
import pytest
from limits import no_file_larger_than

from numnist.common import files
from numnist.common.errors import DataError, StorageError
from numnist.config.schema import SWEEP_AXES, TrainingConfig
from numnist.evaluation import evaluate, selection
from numnist.evaluation.evaluate import Evaluation
from numnist.training import checkpoints, loop, results, scheduling
from numnist.training.results import Result

CONFIG = TrainingConfig(hidden_size=3, learning_rate=0.3, iterations=4, seed=0, initialization="he")
GRID = {axis: [getattr(CONFIG, axis)] for axis in SWEEP_AXES}
DATA = digits.dataset(240, 60)
IDENTITY = {"name": DATA.name, "digest": DATA.digest}


def train(configs: list[TrainingConfig], directory: Path) -> dict[TrainingConfig, Result]:
    store = scheduling.open_store(directory, DATA)
    return {result.config: result for done in scheduling.Trainer(DATA, store).train(configs) for result in done}


def write(found: dict[TrainingConfig, Result], directory: Path) -> Path:
    """Write what the stage `train` writes, and return the table."""
    for config, result in found.items():
        results.write_run(directory / "runs" / config.name, result, IDENTITY)
    results.write_table(directory / "sweep.csv", directory / "runs")
    return directory / "sweep.csv"


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.npz")}


def leftovers(directory: Path) -> list[Path]:
    return list(directory.rglob(".partial-*"))


def test_a_network_that_diverges_stops_early_and_changes_no_bit_of_its_stack(tmp_path: Path) -> None:
    tame, wild = [replace(CONFIG, seed=seed) for seed in (0, 1)], replace(CONFIG, learning_rate=1e6, iterations=50)
    together, alone = train([*tame, wild], tmp_path / "together"), train(tame, tmp_path / "alone")
    assert together[wild].status == "diverged" and 0 < together[wild].state.iteration < 50
    for config in tame:
        np.testing.assert_array_equal(together[config].state.curves, alone[config].state.curves)
        np.testing.assert_array_equal(together[config].state.parameters.W1, alone[config].state.parameters.W1)


def test_a_network_that_diverges_is_never_ranked_and_listed_as_diverged(tmp_path: Path) -> None:
    found = train([replace(CONFIG, learning_rate=rate) for rate in (0.3, 1e6)], tmp_path / "trials")
    table, grid = results.read_table(write(found, tmp_path)), GRID | {"learning_rate": [0.3, 1e6]}
    assert selection.leaderboard(table, grid)["learning_rate"].tolist() == [0.3]
    missed = selection.unfinished(table, grid)
    assert missed[["learning_rate", "status"]].values.tolist() == [[1e6, "diverged"]]
    assert not (tmp_path / "runs" / replace(CONFIG, learning_rate=1e6).name / "weights.npz").exists()


OLD_AND_NEW = [bytes([byte]) * 2_000_000 for byte in (1, 2)]


def write_for_ever(path: Path) -> None:
    while True:
        for new in OLD_AND_NEW:
            files.write_bytes(path, new)


def test_a_write_that_is_killed_leaves_the_old_file_or_the_new_and_the_next_start_cleans_up(tmp_path: Path) -> None:
    store = scheduling.open_store(tmp_path, DATA)
    path = tmp_path / "key" / "4.npz"
    files.write_bytes(path, OLD_AND_NEW[0])
    moments = random.Random(0)
    for _ in range(25):
        process = multiprocessing.get_context("fork").Process(target=write_for_ever, args=(path,))
        process.start()
        process.join(timeout=moments.uniform(0.002, 0.03))
        process.kill()
        process.join()
        assert path.read_bytes() in OLD_AND_NEW
    assert leftovers(tmp_path)  # some were killed half-way
    with store.locked():
        assert not leftovers(tmp_path) and path.exists()


def test_what_a_killed_stage_left_is_cleaned_when_it_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "summary", dict)
    monkeypatch.setattr(evaluate, "asdict", dict)
    (tmp_path / ".partial-1").touch()
    evaluate.write(Evaluation({}, {}, {}, {}), tmp_path)  # type: ignore[arg-type]
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("seconds_between_checkpoints", [20, -1])
def test_a_full_disk_is_told_by_file_and_need_and_costs_nothing_that_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds_between_checkpoints: int
) -> None:
    small, large = CONFIG, replace(CONFIG, hidden_size=20)
    whole = train([small, large], tmp_path / "whole")
    monkeypatch.setattr(scheduling, "CHECKPOINT_SECONDS", seconds_between_checkpoints)
    name = "4" if seconds_between_checkpoints > 0 else "checkpoint"
    said = rf"full/\w+/{name}\.npz cannot be written: it needs 1[23]\d,\d{{3}} bytes \(File too large\)"  # 20 x 784 x 8
    with no_file_larger_than(60_000), pytest.raises(StorageError, match=said):
        train([small, large], tmp_path / "full")
    assert len(content(tmp_path / "full")) == 1 and not leftovers(tmp_path / "full")
    trained = []
    stack = loop.train_stack
    monkeypatch.setattr(loop, "train_stack", lambda c, *a, **k: trained.extend(c) or stack(c, *a, **k))
    assert train([small, large], tmp_path / "full")[large].metrics == whole[large].metrics
    assert [task.config for task in trained] == [large]
    assert content(tmp_path / "full") == content(tmp_path / "whole")


def test_a_full_disk_keeps_the_earlier_results_and_report(tmp_path: Path) -> None:
    found = train([CONFIG], tmp_path / "trials")
    write(found, tmp_path)
    files.write_text(tmp_path / "reports" / "index.html", "the earlier page")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with no_file_larger_than(5_000):
        with pytest.raises(StorageError, match=r"weights\.npz cannot be written: it needs 2\d,\d{3} bytes"):
            write(found, tmp_path)
        with pytest.raises(StorageError, match=r"index\.html cannot be written: it needs 6,000 bytes"):
            files.write_text(tmp_path / "reports" / "index.html", "a" * 6_000)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_state_of_another_architecture_is_not_taken_for_a_trials_own(tmp_path: Path) -> None:
    store = scheduling.open_store(tmp_path, DATA)
    other = replace(CONFIG, hidden_size=5)
    own = train([CONFIG, other], tmp_path)[CONFIG]
    path = tmp_path / store.checkpoint_key(CONFIG) / "4.npz"
    path.write_bytes((tmp_path / store.checkpoint_key(other) / "4.npz").read_bytes())
    np.testing.assert_array_equal(train([CONFIG], tmp_path)[CONFIG].state.parameters.W1, own.state.parameters.W1)


def test_source_that_is_edited_under_a_running_process_does_not_change_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = scheduling.open_store(tmp_path, DATA)
    key = store.key(CONFIG)
    monkeypatch.setattr(checkpoints.files, "sha256", lambda path: "of the edited file")
    assert store.key(CONFIG) == key


def test_trials_that_differ_in_anything_have_different_directories() -> None:
    configs = [
        replace(CONFIG, learning_rate=rate, initialization=first_weights)
        for rate in (0.1, 0.1234567, 0.1234568, 1.0, 1e-7, 1e9)
        for first_weights in ("he", "uniform")
    ]
    assert len({config.name for config in configs}) == 12


def used() -> tuple[int, int, int]:
    """Resident memory in bytes, open files, threads."""
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss, process.num_fds(), process.num_threads()


@pytest.mark.slow
def test_memory_files_and_threads_do_not_grow_over_two_hundred_sweeps(tmp_path: Path) -> None:
    before = (0, 0, 0)
    for seed in range(200):
        if seed == 40:  # everything has been used, and the allocator has its pools
            before = used()
        train([replace(CONFIG, seed=seed, iterations=n) for n in (1, 2)], tmp_path)
    memory, *rest = used()
    assert rest == list(before[1:])
    assert memory - before[0] < 8_000_000  # to keep the images of each sweep would take 60 MB


def test_a_sweep_of_a_thousand_trials_accounts_for_every_one(tmp_path: Path) -> None:
    configs = [
        replace(CONFIG, hidden_size=h, learning_rate=rate, iterations=n, seed=seed)
        for h in (1, 2)
        for rate in (0.1, 0.2, 0.4, 0.8, 1e6)
        for n in (1, 2)
        for seed in range(50)
    ]
    table = results.read_table(write(train(configs, tmp_path / "trials"), tmp_path))
    assert sorted(table["name"]) == sorted(config.name for config in configs) and len(configs) == 1000
    assert set(table["status"]) == {"finished", "diverged"}
    assert not leftovers(tmp_path) and not list((tmp_path / "trials").rglob("checkpoint.npz"))


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "\0"])
def test_a_table_that_is_none_of_a_sweep_is_refused_in_words(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.csv").write_text(content)
    with pytest.raises(DataError, match=r"sweep\.csv is not a readable table .* delete it and run `dvc repro`"):
        results.read_table(tmp_path / "sweep.csv", results.COLUMNS)
