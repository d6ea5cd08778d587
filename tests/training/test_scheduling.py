"""Trials and their store: what is trained, what is taken from the store, and what a change of anything means."""

from dataclasses import replace
from pathlib import Path

import digits
import numpy as np
import pytest

from numnist import network
from numnist.common import files
from numnist.config.schema import TrainingConfig
from numnist.training import checkpoints, loop, scheduling, stacks
from numnist.training.checkpoints import CheckpointStore
from numnist.training.loop import State, TrainingTask
from numnist.training.results import Result

CONFIG = TrainingConfig(hidden_size=10, learning_rate=0.3, iterations=4, seed=0, initialization="he")
DATA = digits.dataset()


def store(directory: Path) -> CheckpointStore:
    return scheduling.open_store(directory, DATA)


def train(configs: list[TrainingConfig], one: CheckpointStore) -> dict[TrainingConfig, Result]:
    return {result.config: result for results in scheduling.Trainer(DATA, one).train(configs) for result in results}


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*.npz")}


def test_shorter_trials_come_out_of_the_longest_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    whole = loop.train_stack
    monkeypatch.setattr(loop, "train_stack", lambda c, *a, **k: trained.extend(c) or whole(c, *a, **k))
    results = train([replace(CONFIG, iterations=n) for n in (1, 4, 2)], store(tmp_path))
    assert [task.config.iterations for task in trained] == [4]
    assert {config.iterations: result.state.iteration for config, result in results.items()} == {1: 1, 4: 4, 2: 2}


def test_a_finished_trial_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train([CONFIG], store(tmp_path))[CONFIG]
    monkeypatch.setattr(loop, "train_stack", None)
    again = train([CONFIG], store(tmp_path))[CONFIG]
    assert again.metrics == first.metrics


def test_a_longer_trial_goes_on_from_a_shorter_one_with_the_same_bits(tmp_path: Path) -> None:
    one, other = store(tmp_path / "a"), store(tmp_path / "b")
    longer = replace(CONFIG, iterations=7)
    train([CONFIG], one)
    assert scheduling.plan([longer], one)[0].tasks[0].iteration == 4
    train([longer], one)
    train([CONFIG, longer], other)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_training_cut_off_at_a_checkpoint_goes_on_and_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "CHECKPOINT_SECONDS", -1)  # a checkpoint after every iteration
    cut_off = store(tmp_path / "a")
    whole = loop.train_stack

    def two_iterations(*arguments: object, **named: object) -> object:
        for count, stack in enumerate(whole(*arguments, **named)):  # type: ignore[arg-type]
            if count == 3:
                raise KeyboardInterrupt
            yield stack

    monkeypatch.setattr(loop, "train_stack", two_iterations)
    with pytest.raises(KeyboardInterrupt):
        train([CONFIG], cut_off)
    assert scheduling.plan([CONFIG], cut_off)[0].tasks[0].iteration == 2
    monkeypatch.setattr(loop, "train_stack", whole)
    train([CONFIG], cut_off)
    train([CONFIG], store(tmp_path / "b"))
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_what_a_killed_write_left_in_the_store_is_removed(tmp_path: Path) -> None:
    one = store(tmp_path)
    left = tmp_path / one.checkpoint_key(CONFIG) / ".partial-abc"
    left.parent.mkdir()
    left.touch()
    train([CONFIG], one)
    assert not left.exists()


def test_a_damaged_trial_is_trained_again(tmp_path: Path) -> None:
    train([CONFIG], store(tmp_path))
    [path] = tmp_path.rglob("*.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    train([CONFIG], store(tmp_path))
    assert path.read_bytes() == whole


def swap(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def edit(path: Path, change: str) -> None:
    """Change one number of a state, and write the file as the store does."""
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays[change].flat[0] += 1
    files.save_arrays(path, arrays)


@pytest.mark.parametrize("fault", ["copied", "swapped", "curves", *network.Parameters._fields, "another key's"])
def test_a_state_that_is_not_what_was_written_there_is_trained_anew(tmp_path: Path, fault: str) -> None:
    trials = [CONFIG, replace(CONFIG, iterations=2), replace(CONFIG, seed=1)]
    train(trials, store(tmp_path))
    whole = files_of(tmp_path)
    four, two, other = (store(tmp_path)._path(trial, str(trial.iterations)) for trial in trials)
    if fault == "copied":
        two.write_bytes(four.read_bytes())
    elif fault == "swapped":
        swap(two, four)
    elif fault == "another key's":
        swap(four, other)
    else:
        edit(four, fault)
    assert files_of(tmp_path) != whole
    results = train(trials, store(tmp_path))
    assert [results[trial].state.iteration for trial in trials] == [4, 2, 4]
    assert files_of(tmp_path) == whole


def test_trials_that_differ_in_length_alone_are_one_training_unless_the_rate_knows_the_end() -> None:
    lengths = [replace(CONFIG, iterations=n) for n in (1, 4)]
    assert list(stacks.group_by_checkpoint_key([*lengths, replace(CONFIG, seed=1)]).values()) == [
        lengths,
        [replace(CONFIG, seed=1)],
    ]
    assert len(stacks.group_by_checkpoint_key([replace(one, schedule="cosine") for one in lengths])) == 2


def test_tasks_of_one_hidden_size_batch_size_and_start_are_one_stack() -> None:
    alike = [TrainingTask(replace(CONFIG, seed=seed, learning_rate=rate)) for seed, rate in ((0, 0.1), (1, 0.5))]
    others = [TrainingTask(replace(CONFIG, hidden_size=11)), TrainingTask(replace(CONFIG, batch_size=32))]
    started = TrainingTask(CONFIG, State(None, np.zeros((3, 4))))  # type: ignore[arg-type]
    groups = scheduling.group_by_stack_key([others[0], alike[0], started, others[1], alike[1]])
    assert groups == [alike, [started], [others[1]], [others[0]]]


@pytest.mark.parametrize(
    ("items", "parts", "sizes"), [(7, 3, [3, 2, 2]), (6, 3, [2, 2, 2]), (2, 5, [1, 1]), (3, 1, [3])]
)
def test_parts_differ_by_one_item_at_most(items: int, parts: int, sizes: list[int]) -> None:
    cut = scheduling.split_evenly(range(items), parts)
    assert [len(part) for part in cut] == sizes
    assert sorted(item for part in cut for item in part) == list(range(items))


def test_other_data_code_or_configuration_make_other_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = store(tmp_path)
    keys = {one.key(CONFIG)}
    keys.add(replace(one, data_digest="other").key(CONFIG))
    keys.add(one.key(replace(CONFIG, arithmetic="fast")))
    for change in ({"hidden_size": 11}, {"learning_rate": 0.31}, {"seed": 1}, {"initialization": "uniform"}):
        keys.add(one.checkpoint_key(replace(CONFIG, **change)))  # type: ignore[arg-type]
    keys.add(one.key(replace(CONFIG, iterations=5)))
    monkeypatch.setattr(checkpoints, "code_digest", lambda: "other code")
    keys.add(one.key(CONFIG))
    assert len(keys) == 9


def test_a_trial_that_diverges_is_kept_as_diverged_for_every_length_it_never_reached(tmp_path: Path) -> None:
    wild = [replace(CONFIG, learning_rate=1e8, iterations=n) for n in (1, 40)]
    results = train(wild, store(tmp_path))
    assert results[wild[1]].status == "diverged" and results[wild[1]].metrics == {}
    again = train(wild, store(tmp_path))
    assert again[wild[1]].status == "diverged"
    np.testing.assert_array_equal(again[wild[1]].state.curves, results[wild[1]].state.curves)


def test_stacks_hold_one_hidden_size_and_a_bounded_number_of_hidden_units(tmp_path: Path) -> None:
    configs = [replace(CONFIG, hidden_size=h, seed=s) for h in (10, 100) for s in range(50)]
    plans = scheduling.plan(configs, store(tmp_path))
    for plan in plans:
        sizes = {task.config.hidden_size for task in plan.tasks}
        assert len(sizes) == 1 and sum(c.config.hidden_size for c in plan.tasks) <= scheduling.STACK_ROWS
    assert sorted(trial.name for plan in plans for trial in plan.trials) == sorted(config.name for config in configs)
