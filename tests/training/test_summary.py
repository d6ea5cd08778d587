"""How a sweep ends on the terminal."""

import numpy as np
import pandas as pd

from numnist.config.schema import TrainingConfig
from numnist.training import summary

LABELS = np.repeat(np.arange(10, dtype=np.uint8), 100)
TRIALS = [TrainingConfig(10, 0.1, 100, seed, "he") for seed in range(6)]


def table(accuracies: list[float], column: str = "validation_accuracy") -> pd.DataFrame:
    """A sweep's table of one trial per accuracy, diverged if there is none."""
    frame = pd.DataFrame({"name": [trial.name for trial in TRIALS], column: accuracies})
    frame["status"] = ["diverged" if np.isnan(one) else "finished" for one in accuracies]
    return frame.assign(**{"validation_accuracy": frame.get("validation_accuracy", np.nan)})


def test_the_best_three_come_first_and_what_diverged_or_learned_nothing_is_counted() -> None:
    told = summary.describe_sweep(table([0.5, np.nan, 0.1, 0.9, 0.6, 0.11]), TRIALS, LABELS).splitlines()
    assert told == [
        "6 trials, the best by validation accuracy:",
        f"   90.00% {TRIALS[3].name}",
        f"   60.00% {TRIALS[4].name}",
        f"   50.00% {TRIALS[0].name}",
        "  1 diverged",
        "  2 learned nothing: no better than naming the most frequent class",
    ]


def test_other_trials_of_the_table_are_left_out() -> None:
    assert "90.00%" not in summary.describe_sweep(table([0.5, 0.4, 0.3, 0.9, 0.6, 0.7]), TRIALS[:3], LABELS)


def test_without_validation_images_training_accuracy_counts() -> None:
    told = summary.describe_sweep(table([0.5, 0.4, 0.3, 0.9, 0.6, 0.7], "train_accuracy"), TRIALS, LABELS)
    assert told.startswith("6 trials, the best by train accuracy:\n   90.00%")
