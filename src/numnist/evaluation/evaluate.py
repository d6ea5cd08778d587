"""The one look at the test set: for the winner's best trial (`selection`) and for the note's network, the reference.

All that the report shows of images is kept here (`exhibits`), so that nothing after it opens the test set.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from numnist.common import chance, files
from numnist.common.errors import NumericsError
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Dataset, Split
from numnist.evaluation import exhibits, metrics, selection, statistics
from numnist.evaluation.metrics import Metrics, Rival, TrialCounts
from numnist.evaluation.predictions import predict
from numnist.evaluation.selection import Grid, Spread
from numnist.network import Array, Parameters
from numnist.training.results import FINISHED, Result, read_table, read_weights


@dataclass(frozen=True)
class Sweep:
    """What a sweep left behind: its table, the grid that was asked for, and the directories of its trials."""

    table: pd.DataFrame  # sweep.csv
    grid: Grid
    runs: Path

    def weights(self, trial: TrainingConfig) -> Parameters:
        """Read a trial's network, a stack of one."""
        return read_weights(self.weights_file(trial))

    def weights_file(self, trial: TrainingConfig) -> Path:
        """Return where a trial's network lies."""
        return self.runs / trial.name / "weights.npz"

    def curves(self, trial: TrainingConfig) -> pd.DataFrame:
        """Read a trial's learning curves."""
        return read_table(self.runs / trial.name / "curves.csv")


@dataclass(frozen=True)
class Evaluation:
    """All that is known of a sweep in the end: figures (JSON), tables and plots (CSV), arrays for pictures (.npz)."""

    metrics: Metrics
    tables: Mapping[str, pd.DataFrame]
    plots: Mapping[str, pd.DataFrame]
    pictures: Mapping[str, Array]


def evaluate(sweep: Sweep, data: Dataset, reference: Result, test: Callable[[], Split]) -> Evaluation:
    """Choose the winner of a sweep on validation data, then test it and the reference.

    `test` opens the test set: it is called once, after all else has been read.
    """
    if reference.status != FINISHED:
        raise NumericsError(
            f"the note's network {reference.config.name} {reference.status}; mend conf/experiment/note.yaml"
        )
    board = selection.leaderboard(sweep.table, sweep.grid)
    winner, second = selection.select_winner(board), selection.select_runner_up(board)
    curves = {seed: sweep.curves(replace(winner.best_trial, seed=seed)) for seed in sweep.grid["seed"]}
    best, n = sweep.weights(winner.best_trial), len(data.validation.labels)
    validated = predict(best, data.validation)
    rival = predict(sweep.weights(second.best_trial), data.validation) if second else None

    split = test()
    tested, noted = predict(best, split), predict(reference.state.parameters, split)
    note = reference.metrics["validation_accuracy"]
    figures = Metrics(
        dataset=data.identity,
        blank_pixels=int((data.train.pixels.max(axis=0) == 0).sum()),
        trials=_counts(sweep, data.validation),
        winner={**metrics.trial(winner.best_trial), "weights": files.sha256(sweep.weights_file(winner.best_trial))},
        edges=selection.edges(winner.best_trial, sweep.grid),
        spikes=[seed for seed, one in curves.items() if selection.ends_on_a_spike(one["validation_accuracy"], n)],
        validation=winner.validation,
        test=metrics.shares(tested),
        runner_up=Rival(
            metrics.trial(second.best_trial), second.validation, None, statistics.mcnemar(validated.right, rival.right)
        )
        if second and rival
        else None,
        reference=Rival(
            metrics.trial(reference.config),
            Spread(note, note, note, 1),
            metrics.shares(noted),
            statistics.mcnemar(tested.right, noted.right),
        ),
    )
    tables = {
        "leaderboard": board,
        "missing": selection.unfinished(sweep.table, sweep.grid),
        "importance": selection.importance(sweep.table, n),
        "calibration": exhibits.calibration(tested),
        **exhibits.by_class(data.classes, split, tested),
    }
    plots = exhibits.plots(data.classes, split, tested, curves[winner.best_trial.seed])
    return Evaluation(figures, tables, plots, exhibits.pictures(data, split, tested, best))


def write(evaluation: Evaluation, directory: Path) -> None:
    """Write metrics.json, its summary for `dvc metrics show`, tables/*.csv, plots/*.csv and pictures.npz."""
    files.remove_partial(directory)
    files.write_json(directory / "metrics.json", asdict(evaluation.metrics))
    files.write_json(directory / "summary.json", summary(evaluation.metrics))
    for folder, tables in {"tables": evaluation.tables, "plots": evaluation.plots}.items():
        for name, table in tables.items():
            files.write_text(directory / folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    files.save_arrays(directory / "pictures.npz", evaluation.pictures)


def summary(figures: Metrics) -> dict[str, Any]:
    """Return the few figures, accuracies first, that tell experiments apart: a row of them fits a terminal."""
    trials = figures.trials
    return {
        "test": figures.test.accuracy,
        "validation": round(figures.validation.accuracy, 6),
        "winner": figures.winner["name"],
        "dataset": figures.dataset["name"],
        "bad_trials": trials.diverged + trials.failed + trials.missing + trials.learned_nothing,
    }


def _counts(sweep: Sweep, validation: Split) -> TrialCounts:
    states = selection.unfinished(sweep.table, sweep.grid)["status"].tolist()
    finished = sweep.table.loc[sweep.table["status"] == FINISHED, "validation_accuracy"]
    class_counts = np.bincount(validation.labels).tolist()
    nothing = sum(chance.learned_nothing(accuracy, class_counts) for accuracy in finished)
    lost = {state: states.count(state) for state in ("diverged", "failed", "missing")}
    return TrialCounts(finished=len(finished), **lost, learned_nothing=nothing)
