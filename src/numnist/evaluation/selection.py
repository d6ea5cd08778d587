"""The choice of a sweep's winner, on validation data alone.

A *configuration* is a trial without its seed. Configurations all of whose seeds finished are ranked by mean validation
accuracy over seeds, at the last iteration; ties go to the smaller network, then to fewer iterations, then to the
smaller rate. A configuration's *best trial* is its seed with the best validation accuracy (ties: the lowest seed).

The runner-up is the best configuration that differs from the winner in more than its iterations. The same network some
iterations earlier is no rival: it is the winner, half trained, and a paired test between the two would say nothing
about the choice that the sweep is there to make.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from numnist.common.chance import wilson_interval
from numnist.common.errors import DataError
from numnist.config.schema import SWEEP_AXES, TrainingConfig
from numnist.training.results import FINISHED

AXES = list(SWEEP_AXES)
KEYS = [item.name for item in fields(TrainingConfig) if item.name != "seed"]  # what makes a configuration
_TAIL = 10  # the last iterations, among which a spike stands out
Grid = Mapping[str, Sequence[Any]]  # the values of each axis that were to be trained, as params.yaml gives them


@dataclass(frozen=True)
class Spread:
    """Validation accuracies over seeds."""

    accuracy: float  # the mean
    lowest: float
    highest: float
    seeds: int


@dataclass(frozen=True)
class Candidate:
    """A configuration that finished: its best trial, and the accuracies of its seeds."""

    best_trial: TrainingConfig
    validation: Spread


def leaderboard(sweep: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """Tabulate the configurations of sweep.csv that finished with a seed at least, the winner first.

    Those that lack a seed come last, without rank and mean. DataError if none finished with all of its seeds.
    """
    finished = sweep[sweep["status"] == FINISHED].sort_values("seed")
    if finished["validation_accuracy"].isna().any():
        raise DataError(
            "sweep.csv: trials without a validation accuracy (train_on: all), so none can win; choose with "
            "train_on: training (params.yaml) first"
        )
    accuracies = finished.groupby(KEYS, sort=False)["validation_accuracy"]
    best = finished.loc[accuracies.idxmax()].set_index(KEYS)["seed"]  # of equals the first, whose seed is the lowest
    board = accuracies.agg(seeds="size", mean_validation_accuracy=_mean, lowest="min", highest="max")
    board = board.assign(best_seed=best).reset_index()
    ranked = board["seeds"] == len(grid["seed"])
    if not ranked.any():
        raise DataError(
            f"sweep.csv: no configuration finished with all of its {len(grid['seed'])} seeds, so none can win; try "
            "smaller learning rates (params.yaml), or run `dvc repro` again if the training was cut off"
        )
    board["mean_validation_accuracy"] = board["mean_validation_accuracy"].where(ranked)
    order = ["mean_validation_accuracy", "hidden_size", "iterations", "learning_rate"]
    board = board.sort_values(order, ascending=[False, True, True, True], ignore_index=True)
    ranks = pd.Series(range(1, len(board) + 1), dtype="Int64").where(board["mean_validation_accuracy"].notna())
    board.insert(0, "rank", ranks)
    return board[["rank", *KEYS, "seeds", "mean_validation_accuracy", "lowest", "highest", "best_seed"]]


def select_winner(board: pd.DataFrame) -> Candidate:
    """Return the best configuration of a leaderboard."""
    return _candidate(board.iloc[[0]])


def select_runner_up(board: pd.DataFrame) -> Candidate | None:
    """Return the best ranked configuration that differs from the winner in more than its iterations."""
    network = [key for key in KEYS if key != "iterations"]
    rivals = board[board["rank"].notna() & (board[network] != board.loc[0, network]).any(axis=1)]
    return None if rivals.empty else _candidate(rivals.iloc[[0]])


def unfinished(sweep: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """List the trials of the grid that gave no network: those that diverged or failed, and those without a row."""
    wanted = pd.MultiIndex.from_product([sorted(grid[axis]) for axis in AXES], names=AXES).to_frame(index=False)
    states = wanted.merge(sweep[[*AXES, "status"]], on=AXES, how="left").fillna({"status": "missing"})
    return states[states["status"] != FINISHED].reset_index(drop=True)


def edges(winner: TrainingConfig, grid: Grid) -> dict[str, str]:
    """Say of which axes the winner has the lowest or the highest value that was tried: beyond may lie a better one."""
    found = {}
    for axis in AXES:
        value, values = getattr(winner, axis), grid[axis]
        if axis != "seed" and len(values) > 1 and value in (min(values), max(values)):
            found[axis] = "highest" if value == max(values) else "lowest"
    return found


def ends_on_a_spike(accuracies: Sequence[float], n: int) -> bool:
    """Whether a curve's last accuracy, of n images, is not typical of the iterations before it.

    It is further from the median of the last ones than chance explains (half the 95% interval of n images), and among
    them the curve falls as far: a curve that still rises has no spike.
    """
    tail = np.asarray(accuracies[-_TAIL:])
    typical = float(np.median(tail))
    low, high = wilson_interval(round(typical * n), n)
    fall = float((np.maximum.accumulate(tail) - tail).max())
    return min(abs(tail[-1] - typical), fall) > (high - low) / 2


def importance(sweep: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the share of the differences in validation accuracy, on n images, that each axis explains by itself.

    The share is eta squared, the variance between the means of its values over the variance of all trials. It is
    computed from the counts of wrong images, in whole numbers. An axis of one value explains nothing and is left out.
    """
    finished = sweep[sweep["status"] == FINISHED]
    wrong = ((1 - finished["validation_accuracy"]) * n).round().astype(int).astype(object)  # Python's, of any size
    mean = Fraction(wrong.sum(), len(wrong))
    total = (wrong * wrong).sum() - mean * wrong.sum()
    shares = {}
    for axis in AXES:
        groups = wrong.groupby(finished[axis])
        if total and groups.ngroups > 1:
            between = sum(Fraction(group.sum() ** 2, len(group)) for _, group in groups) - mean * wrong.sum()
            shares[axis] = round(float(between / total), 6)
    return pd.DataFrame({"hyperparameter": list(shares), "share": pd.Series(list(shares.values()), dtype="float64")})


def _mean(accuracies: pd.Series) -> float:
    """Return the mean; rounded, so that equal means tie whatever the order of their sum."""
    return round(math.fsum(accuracies) / len(accuracies), 12)


def _candidate(row: pd.DataFrame) -> Candidate:
    [values] = row.to_dict("records")
    trial = TrainingConfig(**{key: values[key] for key in KEYS}, seed=values["best_seed"])
    mean = values["mean_validation_accuracy"]
    return Candidate(trial, Spread(mean, values["lowest"], values["highest"], values["seeds"]))
