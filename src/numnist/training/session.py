"""A process's training session: the data, the store of trials and the tracking run that its trials belong to."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from numnist.common import machine
from numnist.common.errors import ConfigError, TrackingError
from numnist.config import reader, schema
from numnist.config.schema import TRAINING_KEYS, TrainingConfig
from numnist.data import dataset
from numnist.tracking import mlflow_runs, provenance
from numnist.training import checkpoints, executors, results, scheduling
from numnist.training.results import Result

_COMPOSED = "the composed configuration"


class Session:
    """What the trials that one process trains have in common; made when the first trial needs it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = dataset.load(root / "data" / "processed")
        self.store = scheduling.open_store(root / ".checkpoints", self.data)
        self.tracker = mlflow_runs.connect(root)
        self.tags, self.diff = tags(root), provenance.diff(root)
        self.sweep_run: str | None = None
        self.logged: set[str] = set()
        self.open_runs: list[str] = []
        self.failure: TrackingError | None = None
        self.engine: scheduling.WorkerPool | None = None
        self.resources = contextlib.ExitStack()
        self.settings: schema.Executor | None = None

    def use(self, values: Mapping[str, Any]) -> None:
        """Reach the workers that the configuration group `executor` names; all trials are trained by the same ones."""
        settings = executors.parse(values)
        if self.settings is None:
            directory = self.root / "data" / "processed"
            self.engine = self.resources.enter_context(executors.opened(settings, self.data, directory))
            self.settings = settings

    def begin_sweep(self, configs: Sequence[TrainingConfig]) -> None:
        """Open the tracking run that the trials of a sweep are children of, or go on with it where it was cut off."""
        self._begin([self.store.key(config) for config in configs], f"sweep of {len(configs)} trials")

    def begin_search(self, description: Mapping[str, Any], name: str) -> None:
        """Open the run of a search, whose trials are not known yet, in the place of each batch's own."""
        shared = [self.data.digest, checkpoints.code_digest()]
        self._begin([json.dumps([description, *shared], sort_keys=True)], name)

    def log_best(self, accuracy: float, values: Mapping[str, str]) -> None:
        """Log the best trial to the run of the search."""
        if self.sweep_run:
            self._track(self.tracker.log_metrics, self.sweep_run, {"validation_accuracy": accuracy})
            self._track(self.tracker.set_tags, self.sweep_run, {f"best.{name}": text for name, text in values.items()})

    def _begin(self, keys: Sequence[str], name: str) -> None:
        if self.sweep_run is None:
            key = results.sweep_key(keys)
            self.sweep_run = self._track(self.tracker.begin_sweep, key, name, self.tags)
            if self.sweep_run:
                self.open_runs.append(self.sweep_run)
                self._log_diff(self.sweep_run)
                self.logged = self._track(self.tracker.finished_trials, self.sweep_run) or set()

    def run_trial(self, config: TrainingConfig, output: Path) -> Result:
        """Train a trial, or take it from the store; write its directory, and log its run."""
        key = self.store.key(config)
        run = None
        if key not in self.logged:
            trained = self.store.has(config)
            run = self._track(self.tracker.begin_trial, config, key, self.sweep_run, self.tags, trained)
        if run:
            self.open_runs.append(run)
            if self.sweep_run is None:
                self._log_diff(run)
        try:
            [result] = chain.from_iterable(scheduling.train([config], self.data, self.store, engine=self.engine))
            directory = output / config.name
            identity = {"name": self.data.name, "digest": self.data.digest}
            results.write_run(directory, result, identity)
        except Exception:  # closed at once: in a launcher's worker, nothing calls `end`
            if run:
                self._track(self.tracker.end, run, "FAILED")
                self.open_runs.remove(run)
            raise
        if run:
            self._track(self.tracker.finish_trial, run, result, directory)
            self.open_runs.remove(run)
            if self.sweep_run:
                self.logged.add(key)  # a search may propose a trial twice
        return result

    def end(self, status: str) -> None:
        """Close every run that is still open: FINISHED, FAILED or KILLED; TrackingError where not all was logged."""
        self.resources.close()
        while self.open_runs:
            self._track(self.tracker.end, self.open_runs.pop(), status)
        if self.failure and status == "FINISHED":
            raise self.failure

    def _log_diff(self, run: str) -> None:
        """Keep with a run how the tracked files differed from the commit, where they did."""
        if self.diff:
            self._track(self.tracker.log_text, run, "provenance.diff", self.diff)

    def _track(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Ask the tracking store, until it has failed once: then results are kept on disk alone, and `end` tells."""
        if self.failure is None:
            try:
                return action(*arguments)
            except TrackingError as error:
                self.failure = error
                print(f"training goes on without tracking: {error}", file=sys.stderr, flush=True)
        return None


def tags(root: Path) -> dict[str, str]:
    """Return where the results of this process come from: commit, code and machine."""
    facts = {f"machine.{name}": fact for name, fact in machine.facts().items()}
    return {**provenance.tags(root), mlflow_runs.CODE: checkpoints.code_digest(), **facts}


@functools.cache
def session() -> Session:
    """Return this process's session."""
    return Session(Path(os.environ["PROJECT_ROOT"]))


def end(status: str) -> None:
    """End this process's session, if it has one."""
    if session.cache_info().currsize:
        session().end(status)


def trial_of(values: Mapping[str, Any]) -> TrainingConfig:
    """Check a composed configuration and return the trial that it describes."""
    config = reader.check(TrainingConfig, {name: values.get(name) for name in TRAINING_KEYS}, _COMPOSED)
    if (got := session().data.name) != (wanted := values["data"]["name"]):
        raise ConfigError(f"data.name is {wanted}, but data/processed holds {got}; run `dvc repro preprocess` first")
    return config
