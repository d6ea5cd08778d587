"""The choice of a sweep's winner, on validation data alone.

A *configuration* is a trial without its seed. Configurations all of whose seeds finished are ranked by mean validation
accuracy over seeds; ties go to the smaller network, then to fewer iterations, then to the smaller rate. A
configuration's *best trial* is its seed with the best validation accuracy (ties: the lowest seed).

The runner-up is the best configuration of another hidden size or rate. The same network some iterations earlier is
no rival of the winner: it is the winner, half trained, and a paired test between the two would say nothing about the
choice that the sweep is there to make.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import pandas as pd

from numnist.common.errors import DataError
from numnist.config.schema import TRAINING_RANGES, TrainingConfig
from numnist.training.results import FINISHED

_AXES = ["hidden_size", "learning_rate", "iterations", "seed"]
Grid = Mapping[str, Sequence[Any]]  # the values of each axis that were to be trained, as params.yaml gives them


@dataclass(frozen=True)
class ConfigurationScore:
    """How one configuration did on the validation data."""

    config: TrainingConfig  # its seed means nothing
    accuracies: Mapping[int, float]  # by seed, of those that finished
    ranked: bool  # whether every seed finished

    @property
    def mean(self) -> float:
        """The mean over seeds; rounded, so that equal means tie whatever the order of their sum."""
        return round(math.fsum(self.accuracies.values()) / len(self.accuracies), 12)

    @property
    def lowest(self) -> float:
        """The accuracy of the worst seed."""
        return min(self.accuracies.values())

    @property
    def highest(self) -> float:
        """The accuracy of the best seed."""
        return max(self.accuracies.values())

    @property
    def best_trial(self) -> TrainingConfig:
        """The trial of the best seed."""
        seed = min(self.accuracies, key=lambda seed: (-self.accuracies[seed], seed))
        return replace(self.config, seed=seed)

    @property
    def sort_key(self) -> tuple[bool, float, int, int, float]:
        """What scores are sorted by, the best first and those not ranked last."""
        config = self.config
        return not self.ranked, -self.mean, config.hidden_size, config.iterations, config.learning_rate


def rank(sweep: pd.DataFrame, grid: Grid) -> list[ConfigurationScore]:
    """Return every configuration of sweep.csv that finished with a seed at least, the winner first.

    DataError where none finished with all of its seeds.
    """
    seeds = len(grid["seed"])
    found: dict[TrainingConfig, dict[int, float]] = {}
    for trial in sweep[sweep["status"] == FINISHED].to_dict("records"):
        config = TrainingConfig(**{name: trial[name] for name in TRAINING_RANGES})
        found.setdefault(replace(config, seed=0), {})[config.seed] = trial["validation_accuracy"]
    scores = [ConfigurationScore(config, accuracies, len(accuracies) == seeds) for config, accuracies in found.items()]
    if not any(item.ranked for item in scores):
        raise DataError(
            f"sweep.csv: no configuration finished with all of its {seeds} seeds, so none can win; try smaller "
            "learning rates (params.yaml), or run `dvc repro` again if the training was cut off"
        )
    return sorted(scores, key=lambda item: item.sort_key)


def runner_up(scores: Sequence[ConfigurationScore]) -> ConfigurationScore | None:
    """Return the best ranked configuration whose hidden size or rate is not the winner's, if there is one."""
    winner = scores[0]
    rivals = (item for item in scores if item.ranked and _network(item) != _network(winner))
    return next(rivals, None)


def unfinished(sweep: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """List the trials of the grid that gave no network: those that diverged or failed, and those without a row."""
    states = {tuple(trial[axis] for axis in _AXES): trial["status"] for trial in sweep.to_dict("records")}
    wanted = product(*(sorted(grid[axis]) for axis in _AXES))
    rows = [(*trial, states.get(trial, "missing")) for trial in wanted if states.get(trial) != FINISHED]
    return pd.DataFrame(rows, columns=[*_AXES, "status"])


def leaderboard(scores: Sequence[ConfigurationScore]) -> pd.DataFrame:
    """Tabulate the scores, a configuration a row; those not ranked have no rank and no mean."""
    rows = [
        {
            "rank": place if item.ranked else None,
            **{name: value for name, value in asdict(item.config).items() if name != "seed"},
            "seeds": len(item.accuracies),
            "mean_validation_accuracy": item.mean if item.ranked else None,
            "lowest": item.lowest,
            "highest": item.highest,
        }
        for place, item in enumerate(scores, start=1)
    ]
    return pd.DataFrame(rows).astype({"rank": "Int64", "mean_validation_accuracy": "float64"})


def _network(score: ConfigurationScore) -> tuple[int, float]:
    return score.config.hidden_size, score.config.learning_rate
