"""The choice of a winner on tables made by hand, and the one look at the test set."""

import ast
import functools
import json
import operator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from numnist import network
from numnist.common import chance, files
from numnist.common.errors import DataError, NumericsError
from numnist.config.schema import SWEEP_AXES, TrainingConfig
from numnist.data.dataset import Dataset, Split
from numnist.evaluation import evaluate, exhibits, selection
from numnist.evaluation.evaluate import Sweep
from numnist.evaluation.predictions import Predictions
from numnist.training import results
from numnist.training.loop import CURVES, State
from numnist.training.results import Result
from pipeline.evaluate import note

ROOT = Path(__file__).resolve().parent.parent.parent
CLASSES = 10


def row(hidden_size, learning_rate, iterations, seed, accuracy, status="finished"):
    config = TrainingConfig(hidden_size, learning_rate, iterations, seed, "he")
    values = dict.fromkeys(CURVES, accuracy if status == "finished" else np.nan)
    return {"name": config.name, **vars(config), "status": status, **values}


def table(*rows):
    return pd.DataFrame([row(*values) for values in rows])


def grid(frame):
    """Every value of the axes that a table names."""
    return {axis: frame[axis].unique().tolist() for axis in SWEEP_AXES}


def board(frame, wanted=None):
    return selection.leaderboard(frame, wanted or grid(frame))


def order(frame, wanted=None):
    ranked = board(frame, wanted).dropna(subset="rank")
    return list(ranked[["hidden_size", "learning_rate", "iterations"]].itertuples(index=False, name=None))


def test_the_best_mean_over_seeds_wins_not_the_best_seed():
    frame = table((8, 0.1, 9, 0, 0.99), (8, 0.1, 9, 1, 0.90), (4, 0.1, 9, 0, 0.95), (4, 0.1, 9, 1, 0.95))
    assert order(frame) == [(4, 0.1, 9), (8, 0.1, 9)]


def test_a_configuration_with_a_diverged_seed_is_never_ranked():
    frame = table((8, 0.1, 9, 0, 0.99), (8, 0.1, 9, 1, 0.99, "diverged"), (4, 0.1, 9, 0, 0.5), (4, 0.1, 9, 1, 0.5))
    assert order(frame) == [(4, 0.1, 9)]
    assert selection.unfinished(frame, grid(frame)).to_dict("records") == [
        {"hidden_size": 8, "learning_rate": 0.1, "iterations": 9, "seed": 1, "status": "diverged"}
    ]


def test_a_configuration_with_a_missing_seed_is_never_ranked_and_listed():
    frame = table((8, 0.1, 9, 0, 0.99), (4, 0.1, 9, 0, 0.5), (4, 0.1, 9, 1, 0.5))
    assert order(frame) == [(4, 0.1, 9)]
    assert selection.unfinished(frame, grid(frame)).to_dict("records") == [
        {"hidden_size": 8, "learning_rate": 0.1, "iterations": 9, "seed": 1, "status": "missing"}
    ]


def test_ties_go_to_the_smaller_network_then_fewer_iterations_then_the_smaller_rate():
    trials = [(h, rate, k, 0, 0.9) for h in (8, 4) for rate in (0.3, 0.1) for k in (9, 5)]
    assert order(table(*trials))[:4] == [(4, 0.1, 5), (4, 0.3, 5), (4, 0.1, 9), (4, 0.3, 9)]


def test_means_that_are_equal_tie_whatever_the_order_of_their_sum():
    first, second = [0.1, 0.2, 0.7, 0.0], [0.7, 0.2, 0.1, 0.0]  # added one by one: 1.0 and 0.9999999999999999
    assert functools.reduce(operator.add, first) > functools.reduce(operator.add, second)  # not so sum() since 3.12
    frame = table(*((8, 0.1, 9, i, x) for i, x in enumerate(first)), *((4, 0.1, 9, i, x) for i, x in enumerate(second)))
    assert order(frame) == [(4, 0.1, 9), (8, 0.1, 9)]


def test_the_best_trial_is_the_best_seed_and_of_equals_the_lowest():
    frame = table((4, 0.1, 9, 0, 0.8), (4, 0.1, 9, 3, 0.9), (4, 0.1, 9, 2, 0.9))
    assert selection.select_winner(board(frame)).best_trial.seed == 2


def test_a_sweep_of_which_nothing_finished_is_an_error():
    frame = table((4, 0.1, 9, 0, 0, "diverged"))
    with pytest.raises(DataError, match="no configuration finished with all of its 1 seeds"):
        board(frame)


def test_a_seed_or_another_value_whose_trials_all_failed_is_missed():
    frame = table((4, 0.1, 9, 0, 0.9), (4, 0.3, 9, 0, 0.8))
    wanted = grid(frame) | {"hidden_size": [4, 8]}
    assert order(frame, wanted) == [(4, 0.1, 9), (4, 0.3, 9)]
    missed = selection.unfinished(frame, wanted)
    assert missed[["hidden_size", "learning_rate", "status"]].values.tolist() == [
        [8, 0.1, "missing"], [8, 0.3, "missing"],
    ]  # fmt: skip
    with pytest.raises(DataError, match="no configuration finished with all of its 2 seeds"):
        board(frame, grid(frame) | {"seed": [0, 1]})


def reader(digit_of_pixel, h=CLASSES, sharpness=9.0):
    """A network that reads digit d off an image whose only ink is pixel d, where digit_of_pixel[d] == d."""
    W1 = np.zeros((1, h, 784), np.float32)
    W1[0, range(CLASSES), range(CLASSES)] = 1
    W2 = np.zeros((1, CLASSES, h), np.float32)
    W2[0, digit_of_pixel, range(CLASSES)] = sharpness
    return network.Parameters(W1, np.zeros((1, h, 1), np.float32), W2, np.zeros((1, CLASSES, 1), np.float32))


def images(count):
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    pixels = np.zeros((count, 784), np.uint8)
    pixels[np.arange(count), labels] = 255
    return Split(pixels, labels)


RIGHT = list(range(CLASSES))
NINE_READ_AS_FOUR = [*range(9), 4]
ALL_ZERO = [0] * CLASSES


class Setting:
    """Three configurations on disk (two of one network, trained for 9 and 5 iterations), and a test set that counts."""

    def __init__(self, directory):
        self.runs, self.opened = directory / "runs", 0
        self.table = table(
            (12, 0.1, 9, 0, 0.90), (12, 0.1, 9, 1, 0.92), (12, 0.1, 5, 0, 0.90), (12, 0.1, 5, 1, 0.90),
            (10, 0.3, 5, 0, 0.30), (10, 0.3, 5, 1, 0.20), (10, 0.3, 9, 0, 0, "diverged"), (10, 0.3, 9, 1, 0.99),
        )  # fmt: skip
        networks = {(12, 9): NINE_READ_AS_FOUR, (12, 5): RIGHT, (10, 5): ALL_ZERO}
        for trial in self.table.itertuples():
            self.write_curves(trial.name, [trial.validation_accuracy] * (trial.iterations + 1))
            if (reads := networks.get((trial.hidden_size, trial.iterations))) is not None:
                self.save(trial.name, reader(reads, trial.hidden_size))
        self.data = Dataset("toy", "d" * 64, images(20), images(20))

    def save(self, name, parameters):
        files.save_arrays(self.runs / name / "weights.npz", results.arrays_of(parameters))

    def write_curves(self, name, accuracies):
        columns = dict.fromkeys(CURVES, accuracies) | {"iteration": range(len(accuracies))}
        files.write_text(self.runs / name / "curves.csv", pd.DataFrame(columns).to_csv(index=False))

    def test(self):
        self.opened += 1
        return images(40)

    def evaluate(self, last=0.5):
        reference = Result(
            TrainingConfig(10, 0.1, 3, 0, "uniform"), "key", State(reader(ALL_ZERO), np.full((4, 4), last))
        )
        sweep = Sweep(self.table, grid(self.table), self.runs)
        return evaluate.evaluate(sweep, self.data, reference, self.test)


@pytest.fixture
def setting(tmp_path):
    return Setting(tmp_path)


def test_the_test_set_is_opened_once(setting):
    setting.evaluate()
    assert setting.opened == 1


def test_the_winner_is_tested_and_its_mistakes_are_counted(setting):
    found = setting.evaluate()
    assert found.metrics.winner["name"] == "h0012-lr0.1-it00009-s1"
    winner, test = found.metrics.winner, found.metrics.test
    assert (winner["hidden_size"], winner["learning_rate"], winner["iterations"], winner["seed"]) == (12, 0.1, 9, 1)
    assert winner["weights"] == files.sha256(setting.runs / "h0012-lr0.1-it00009-s1" / "weights.npz")
    assert found.metrics.validation.accuracy == pytest.approx(0.91)
    assert (test.n, test.wrong, test.accuracy, test.error) == (40, 4, 0.9, 0.1)
    assert found.tables["confusion"].set_index("class").loc["9", "4"] == 4
    assert found.pictures["mistakes_labels"].tolist() == [9] * 4
    assert found.pictures["mistakes_predicted"].tolist() == [4] * 4
    assert found.pictures["mistakes_indices"].tolist() == [9, 19, 29, 39]
    assert found.pictures["correct_labels"].tolist() == [*range(9)] * 3


def test_the_runner_up_is_another_network_not_the_winner_half_trained(setting):
    found = setting.evaluate()
    assert found.metrics.runner_up.trial["name"] == "h0010-lr0.3-it00005-s0"
    paired = found.metrics.runner_up.mcnemar
    # of 20 images the winner errs on the two nines, and the runner-up knows the two zeros alone
    assert (paired.n, paired.both_right, paired.only_first, paired.only_second) == (20, 2, 16, 0)
    assert paired.p_value == 2 / 2**16


def test_without_another_network_there_is_no_runner_up(setting):
    setting.table = setting.table[setting.table["hidden_size"] == 12]
    found = setting.evaluate()
    assert found.metrics.runner_up is None


def test_the_reference_is_measured_on_the_same_test_images(setting):
    metrics = setting.evaluate().metrics
    assert metrics.reference.test.wrong == 36
    assert metrics.reference.trial["initialization"] == "uniform"
    assert (metrics.reference.mcnemar.n, metrics.reference.mcnemar.only_first) == (40, 32)  # of the test set


def test_confidence_and_calibration_are_those_of_the_softmax(setting):
    test = setting.evaluate().metrics.test
    confidence = np.exp(9) / (np.exp(9) + 9)
    assert test.mean_confidence == pytest.approx(confidence, rel=1e-6)
    assert test.expected_calibration_error == pytest.approx(confidence - 0.9, rel=1e-5)


def test_a_reference_that_diverged_is_an_error_and_the_test_set_stays_shut(setting):
    with pytest.raises(NumericsError, match="diverged"):
        setting.evaluate(last=np.nan)
    assert setting.opened == 0


def test_damaged_weights_are_an_error_and_the_test_set_stays_shut(setting):
    (setting.runs / "h0012-lr0.1-it00009-s1" / "weights.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"h0012-lr0\.1-it00009-s1"):
        setting.evaluate()
    assert setting.opened == 0


def test_diverged_and_missing_trials_are_counted(setting):
    found = setting.evaluate().metrics.trials
    assert (found.finished, found.diverged, found.failed, found.missing) == (7, 1, 0, 8)


def test_trials_no_better_than_the_most_frequent_class_are_counted_as_having_learned_nothing(setting):
    # each of ten classes is a tenth of the 20 validation images; 30% of 20 may be chance (Wilson: 14.5% to 51.9%),
    setting.table.loc[setting.table["iterations"] == 5, "validation_accuracy"] = 0.3  # but 20% (8.1% to 41.6%) is
    setting.table.loc[setting.table["learning_rate"] == 0.3, "validation_accuracy"] = 0.2
    assert setting.evaluate().metrics.trials.learned_nothing == 3  # of rate 0.3, but the one that diverged


@pytest.mark.parametrize(("right", "nothing"), [(0.1, True), (0.5, True), (0.6, True), (0.61, False), (0.9, False)])
def test_chance_is_the_share_of_the_most_frequent_class_not_one_in_as_many_as_there_are(right, nothing):
    assert chance.learned_nothing(right, [6_000, 1_500, 2_500]) == nothing


def test_the_winner_on_the_edge_of_the_grid_is_told_by_axis():
    wanted = {"hidden_size": [4, 8, 16], "learning_rate": [0.1, 0.3, 1.0], "iterations": [9], "seed": [0, 1]}
    assert selection.edges(TrainingConfig(16, 0.1, 9, 0, "he"), wanted) == {
        "hidden_size": "highest",
        "learning_rate": "lowest",
    }
    assert selection.edges(TrainingConfig(8, 0.3, 9, 0, "he"), wanted) == {}


RISING = [0.1 * k for k in range(10)]
CALM = [0.9] * 20


@pytest.mark.parametrize(
    ("accuracies", "spike"),
    [
        (CALM, False),
        (RISING, False),  # short runs still learn at the end
        ([*CALM, 0.9 + 0.01], False),  # of 1,000 images 1% more may be chance
        ([*CALM, 0.8], True),
        ([*CALM, 0.8, 0.9, 0.8, 0.9], False),  # wild, but not at the end
        ([*[0.8, 0.82] * 10, 0.81, 0.9], False),  # one leap up that no fall preceded: it learns
        ([*[0.9, 0.7, 0.72] * 6, 0.9], True),
    ],
)
def test_a_curve_ends_on_a_spike_if_its_last_value_is_far_from_those_before(accuracies, spike):
    assert selection.ends_on_a_spike(accuracies, 1_000) == spike


def test_a_winner_that_ends_on_a_spike_is_marked_by_its_seed(setting):
    assert setting.evaluate().metrics.spikes == []
    setting.write_curves("h0012-lr0.1-it00009-s1", [*[0.1] * 7, 0.5, 0.1, 0.92])
    assert setting.evaluate().metrics.spikes == [1]


def test_the_importance_of_an_axis_is_its_share_of_the_variance():
    # wrong of 100: 10, 20 by size; 0, 40 more by rate; and once 8 more. Means of all: by size 30, 44; by rate 15, 59
    frame = table((4, 0.1, 9, 0, 0.9), (8, 0.1, 9, 0, 0.8), (4, 0.3, 9, 0, 0.5), (8, 0.3, 9, 0, 0.32))
    found = selection.importance(frame, 100).set_index("hyperparameter")["share"]
    wrong = np.array([10, 20, 50, 68])
    expected = {"hidden_size": [30, 44, 30, 44], "learning_rate": [15, 15, 59, 59]}
    assert list(found.index) == list(expected)  # nothing else varies
    for axis, means in expected.items():
        assert found[axis] == pytest.approx(np.var(means) / np.var(wrong), abs=1e-6)


def test_trials_that_are_all_alike_leave_nothing_to_explain():
    assert selection.importance(table((4, 0.1, 9, 0, 0.9), (8, 0.1, 9, 0, 0.9)), 100).empty


def test_a_sweep_trained_on_all_images_has_no_winner():
    frame = table((4, 0.1, 9, 0, np.nan))
    with pytest.raises(DataError, match="train_on: training"):
        board(frame)


def test_the_pixels_that_are_blank_in_every_training_image_are_counted(setting):
    assert setting.evaluate().metrics.blank_pixels == 784 - CLASSES  # each class inks one


def test_of_many_classes_one_picture_each_is_put_aside():
    labels = np.repeat(np.arange(100), 3).astype(np.uint8)
    split = Split(np.zeros((300, 784), np.uint8), labels)
    data = Dataset("toy", "d", split, split, tuple(f"class {k}" for k in range(100)))
    guessed = Predictions(labels, np.ones(300), np.ones(300, bool))
    found = exhibits.pictures(data, split, guessed, reader(RIGHT))
    assert found["samples_labels"].tolist() == found["correct_labels"].tolist() == list(range(100))
    assert exhibits.by_class(data.classes, split, guessed)["per_class"]["class"].tolist() == list(data.classes)


def test_every_value_of_the_notes_network_is_pinned_in_its_experiment():
    pinned = yaml.safe_load((ROOT / "conf" / "experiment" / "note.yaml").read_text(encoding="utf-8"))
    assert set(pinned) == {item.name for item in fields(TrainingConfig)}
    plain = TrainingConfig(10, 0.1, 500, 0, "uniform")  # the others' defaults are the note's
    assert asdict(plain) == pinned == asdict(note())


def test_a_networks_units_stand_in_the_order_of_their_largest_outgoing_weight():
    p = reader(RIGHT, sharpness=1.0)
    p.W2[0, 3, 7], p.W2[0, 4, 2] = -9, 5
    found = network.foremost_weights(p, 3)
    assert found.shape == (3, 784)
    assert found.argmax(axis=1).tolist() == [7, 2, 0]


def test_the_same_inputs_give_the_same_bytes(setting, tmp_path):
    for name in ("one", "two"):
        evaluate.write(setting.evaluate(), tmp_path / name)
    written = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(written) == 11  # metrics, summary, pictures, six tables and two plots
    for path in written:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    assert json.loads((tmp_path / "one" / "metrics.json").read_text())["dataset"] == {"name": "toy", "digest": "d" * 64}


def test_of_the_stages_only_evaluate_asks_for_the_test_set():
    askers = set()
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("pipeline/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = getattr(node, "attr", None) or getattr(node, "id", None) or getattr(node, "name", None)
            spelled = isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith("test.npz")
            if named == "load_test" or spelled:
                askers.add(path.relative_to(ROOT).as_posix())
    assert askers == {"src/numnist/data/dataset.py", "pipeline/evaluate.py", "pipeline/published.py"}
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    assert not any("published" in stage["cmd"] for stage in stages)  # it is no stage: people run it, apart
