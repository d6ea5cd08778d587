"""How a sweep ends on the terminal: its best trials, and what became of the others."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from numnist.common.chance import learned_nothing
from numnist.config.schema import TrainingConfig
from numnist.training.results import DIVERGED

_SHOWN = 3


def describe_sweep(table: pd.DataFrame, trials: Collection[TrainingConfig], validation_labels: np.ndarray) -> str:
    """Say which trials of a sweep did best, and how many diverged or learned nothing.

    `table` is sweep.csv, which may hold other trials, too.
    """
    rows = table[table["name"].isin({trial.name for trial in trials})]
    diverged = int((rows["status"] == DIVERGED).sum())
    measured = "train_accuracy" if rows["validation_accuracy"].isna().all() else "validation_accuracy"
    best = rows.dropna(subset=[measured]).sort_values(measured, ascending=False, kind="stable").head(_SHOWN)
    lines = [f"{len(rows)} trials, the best by {measured.replace('_', ' ')}:"] if len(best) else []
    lines += [f"  {accuracy:7.2%} {name}" for name, accuracy in zip(best["name"], best[measured])]
    counts = np.bincount(validation_labels)
    nothing = sum(learned_nothing(accuracy, counts.tolist()) for accuracy in rows[measured].dropna())
    if diverged:
        lines.append(f"  {diverged} diverged")
    if nothing:
        lines.append(f"  {nothing} learned nothing: no better than naming the most frequent class")
    return "\n".join(lines)
