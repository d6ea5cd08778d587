"""A process's training session: the data, the store of trials and the tracking run that its trials belong to."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from numnist.common import machine
from numnist.common.errors import ConfigError, TrackingError
from numnist.config import reader, schema
from numnist.config.schema import TRAINING_KEYS, TrainingConfig
from numnist.data import dataset
from numnist.tracking import entities, owners, provenance, runs
from numnist.training import checkpoints, executors, results, scheduling
from numnist.training.clock import Clock
from numnist.training.loop import Stack
from numnist.training.results import Result
from numnist.training.scheduling import Trainer

_COMPOSED = "the composed configuration"


class Session:
    """What all trials of one process share: data, store, tracking, workers. It is made for the first trial."""

    def __init__(self, root: Path, images: int = 0) -> None:
        self.root, self.images = root, images
        self.whole = dataset.load(root / "data" / "processed")
        self.data = self.whole.thinned(images) if images else self.whole
        self.store = scheduling.open_store(root / ".checkpoints", self.data)
        self.tracker = runs.connect(root)
        self.tags, self.provenance, self.diff = (
            provenance.standard_tags(root),
            describe_origin(root),
            provenance.diff(root),
        )
        self.sweep_run: str | None = None
        self.logged: set[str] = set()
        self.wanted: set[TrainingConfig] = set()  # the trials that get a run
        self.runs: dict[str, str] = {}  # the open run of a trial, by its key
        self.clock = Clock()
        self.failure: TrackingError | None = None
        self.worker_pool: scheduling.WorkerPool | None = None
        self.resources = contextlib.ExitStack()
        self.settings: schema.Executor | None = None

    def use_executor(self, values: Mapping[str, Any]) -> None:
        """Reach the workers that the configuration group `executor` names; all trials are trained by the same ones."""
        settings = reader.check_executor(values, _COMPOSED)
        if self.settings is None:
            directory = self.root / "data" / "processed"
            self.worker_pool = self.resources.enter_context(executors.opened(settings, self.data, directory))
            self.settings = settings

    def trainer(self) -> Trainer:
        """Return what trains the trials of this process, as `use` says, and lets it follow them."""
        return Trainer(self.data, self.store, worker_pool=self.worker_pool, watch=self)

    def begin_sweep(self, configs: Sequence[TrainingConfig]) -> None:
        """Open the tracking run that the trials of a sweep are children of, or go on with it if it was cut off.

        The store of trials is this process's own from here on: whoever begins the same sweep meanwhile waits, and then
        goes on with the same run.
        """
        self.wanted.update(configs)
        if self.sweep_run is None:
            self.resources.enter_context(self.store.locked())
            all_trained = all(self.store.has(config) for config in configs)
            name = entities.sweep_name([asdict(config) for config in configs])
            self._begin([self.store.key(config) for config in configs], name, all_trained)

    def begin_search(self, description: Mapping[str, Any], name: str) -> None:
        """Open the run of a search, whose trials are not known yet, in the place of each batch's own."""
        shared = [self.data.digest, checkpoints.code_digest()]
        self._begin([json.dumps([description, *shared], sort_keys=True)], name)

    def log_best(self, accuracy: float, values: Mapping[str, str]) -> None:
        """Log the best trial to the run of the search."""
        if self.sweep_run:
            self._track(self.tracker.log_metrics, self.sweep_run, {"validation_accuracy": accuracy})
            self._track(self.tracker.set_tags, self.sweep_run, {f"best.{name}": text for name, text in values.items()})

    def _begin(self, keys: Sequence[str], name: str, all_trained: bool = False) -> None:
        if self.sweep_run is None:
            begin = functools.partial(self.tracker.begin_sweep, all_trained=all_trained)
            self.sweep_run = self._track(begin, entities.sweep_key(keys), name, self.tags)
            if self.sweep_run:
                self._describe(self.sweep_run)
                self.logged = self._track(self.tracker.finished_trials, self.sweep_run) or set()

    def run_trial(self, config: TrainingConfig, output: Path, more: Sequence[Path] = ()) -> Result:
        """Train a trial, or take it from the store; write its directory, and log its run with `more` files."""
        key, directory = self.store.key(config), output / config.name
        self.wanted.add(config)
        try:
            [result] = chain.from_iterable(self.trainer().train([config]))
            results.write_run(directory, result, self.data.identity)
        except Exception:  # closed at once: in a launcher's worker, nothing calls `end`
            self._open([config])
            if run := self.runs.pop(key, None):
                self._track(self.tracker.end, run, "FAILED")
            raise
        if key not in self.logged:
            self._open([config], was_trained=True)
            if run := self.runs.pop(key, None):
                times = self.clock.times(config, len(result.state.curves))
                self._track(self.tracker.finish_trial, run, directory, times, more)
            if self.sweep_run:
                self.logged.add(key)  # a search may propose a trial twice
        return result

    def started(self, trials: Sequence[TrainingConfig]) -> None:
        """Open the runs of trials whose training starts now."""
        self.clock.start(trials)
        self._open(trials)

    def reached(self, stack: Stack) -> None:
        """Take the time of an iteration, and let the curves in MLflow grow now and then."""
        self.clock.reached(stack)
        if not self.clock.is_due():
            return
        for i in stack.unfinished():
            state = stack.state(i)
            for config in self.clock.trials(stack.configs[i]):
                key = self.store.key(config)
                if key in self.runs and config.iterations > stack.iteration:
                    curves, times = Result(config, key, state).curves, self.clock.times(config, len(state.curves))
                    self._track(self.tracker.log_points, self.runs[key], curves, config.iterations + 1, times)
        self.clock.pause()

    def end(self, status: str) -> None:
        """Close every run that is still open: FINISHED, FAILED or KILLED; TrackingError if not all was logged."""
        self.resources.close()
        for run in reversed(list(self.tracker.open)):
            self._track(self.tracker.end, run, status)
        if self.failure and status == "FINISHED":
            raise self.failure

    def _open(self, trials: Sequence[TrainingConfig], *, was_trained: bool = False) -> None:
        """Open the runs of those trials that have none, neither open nor finished."""
        for config in trials:
            key = self.store.key(config)
            if key in self.runs or key in self.logged or config not in self.wanted:
                continue
            params = None if was_trained else asdict(config)  # else they are logged with the results
            started = self.clock.began(config)
            begin = functools.partial(self.tracker.begin_trial, params=params, started=started)
            if run := self._track(begin, config.name, key, self.sweep_run, self.tags):
                self.runs[key] = run
                if self.sweep_run is None:
                    self._describe(run)

    def _describe(self, run: str) -> None:
        """Claim a run at the top by a heartbeat, and keep with it what made it, and how that was not committed."""
        self.resources.callback(owners.start_heartbeat(lambda: self._track(self.tracker.beat)))
        self._track(self.tracker.log_text, run, runs.PROVENANCE, json.dumps(self.provenance, indent=2))
        if self.diff:
            self._track(self.tracker.log_text, run, "provenance.diff", self.diff)

    def _track(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Ask the tracking store until it has failed once; then results are on disk alone, and `end` raises it."""
        if self.failure is None:
            try:
                return action(*arguments)
            except TrackingError as error:
                self.failure = error
                print(f"training goes on without tracking: {error}", file=sys.stderr, flush=True)
        return None


def describe_origin(root: Path) -> dict[str, str]:
    """Return where the results of this process come from: commit, code and machine."""
    facts = {f"machine.{name}": fact for name, fact in machine.facts().items()}
    return {**provenance.describe(root), runs.CODE: checkpoints.code_digest(), **facts}


_opened: list[Session] = []  # one, as soon as a trial asks for it


def session(images: int = 0) -> Session:
    """Return this process's session; whoever asks first says how many images of each split it uses (0: all)."""
    if not _opened:
        _opened.append(Session(Path(os.environ["PROJECT_ROOT"]), images))
    return _opened[0]


def end(status: str) -> None:
    """End this process's session, if it has one."""
    if _opened:
        session().end(status)


def how_to_resume() -> str:
    """Say what a training that was stopped leaves, and how to go on; nothing if none had begun."""
    if not _opened or not session().wanted:
        return ""
    done = sum(map(session().store.has, session().wanted))
    return (
        f"stopped: {done} of {len(session().wanted)} trials are finished and kept. The same command trains the rest, "
        f"those under way from their last checkpoint (one every {scheduling.CHECKPOINT_SECONDS} s)\n"
    )


def trial_of(values: Mapping[str, Any]) -> TrainingConfig:
    """Check a composed configuration and return the trial that it describes."""
    config = reader.check(TrainingConfig, {name: values.get(name) for name in TRAINING_KEYS}, _COMPOSED)
    one = session(values["images"])
    if one.images != values["images"]:
        raise ConfigError(f"images is {one.images} and {values['images']}; all trials of a command use the same images")
    if (got := one.whole.name) != (wanted := values["data"]["name"]):
        raise ConfigError(
            f"data.name is {wanted}, but data/processed holds {got}; set data.name to {wanted} in "
            "params.yaml, and run `dvc repro preprocess` first"
        )
    return config
