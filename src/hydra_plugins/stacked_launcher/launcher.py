"""The launcher: compose all jobs, train their trials in stacks, and finish each job as Hydra would.

Training leaves its results in the checkpoint store; the job that Hydra then runs finds its trial there. So a job does
the same whichever launcher runs it, and this one only sees to it that the work is done together.
"""

import functools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from numnist.common.errors import NumnistError, TrainingError

if TYPE_CHECKING:
    from numnist.config.schema import TrainingConfig

log = logging.getLogger(__name__)


@dataclass
class LauncherConfig:
    """The configuration group entry `hydra/launcher=stacked`."""

    _target_: str = "hydra_plugins.stacked_launcher.launcher.StackedLauncher"


@dataclass
class SweeperConfig:
    """The entry `hydra/sweeper=basic`, in the place of Hydra's own: experiments may override it."""

    _target_: str = "hydra_plugins.stacked_launcher.launcher.StackedSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/launcher", name="stacked", node=LauncherConfig)
ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=SweeperConfig)


class StackedSweeper(BasicSweeper):
    """Hydra's own sweeper, with the axes that experiments bring, and without a composition of every job to check it.

    Hydra takes `hydra.sweeper.params` from the experiment of `-m +experiment=one`. Here they are taken for each of
    `-m +experiment=one,other` too, and crossed with the jobs of that experiment alone.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Sweep; TrainingError if no trial came to an end."""
        returned = super().sweep(arguments)
        values = [job.return_value for batch in returned for job in batch]
        if all(map(math.isnan, values)):
            raise TrainingError(f"all {len(values)} trials diverged; try smaller learning rates. Curves: `make ui`")
        return returned

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """Return the jobs of a batch."""
        axes = functools.cache(self._axes)
        return [
            [*job, *more]
            for job in super().get_job_batch()
            for more in self._combinations(axes(tuple(one for one in job if one.startswith("+experiment="))), job)
        ]

    def _axes(self, experiment: tuple[str, ...]) -> dict[str, str]:
        """Return the axes of an experiment, as its file gives them."""
        if not experiment:
            return {}
        loader = self.hydra_context.config_loader  # type: ignore[union-attr]
        composed = loader.load_sweep_config(self.config, list(experiment))  # type: ignore[arg-type]
        return dict(composed.hydra.sweeper.params or {})

    def _combinations(self, axes: dict[str, str], job: Sequence[str]) -> list[list[str]]:
        """Return the overrides that each combination of axes adds to a job, which may set some of them itself."""
        given = {one.partition("=")[0] for one in job}
        added = [f"{name}={values}" for name, values in axes.items() if name not in given]
        [batch] = self.split_arguments(OverridesParser.create().parse_overrides(added), None)
        return batch

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave it to the launcher, which checks every job before it trains the first."""


@dataclass(frozen=True)
class Job:
    """A job of the sweep. Jobs that set the same keys share one composed configuration, in which each sets its own."""

    number: int
    overrides: list[str]
    shared: DictConfig
    values: Mapping[str, Any]  # of its own

    def config(self) -> DictConfig:
        """Return the job's configuration; it holds until that of another job is asked for."""
        with read_write(self.shared.hydra), open_dict(self.shared):
            for key, value in self.values.items():
                self.shared[key] = value
            hydra = self.shared.hydra
            hydra.overrides.task = self.overrides
            hydra.job.override_dirname = ",".join(self.overrides)
            hydra.job.id, hydra.job.num = f"job_{self.number}", self.number
        return self.shared


class StackedLauncher(Launcher):
    """Trains the trials of a batch of jobs together, then runs the jobs one after another in this process."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands every launcher."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train and run the jobs; a job that fails does not stop the others."""
        from numnist.training import results, summary
        from numnist.training.session import session, trial_of

        setup_globals()
        self._log_to_terminal()
        jobs = self._jobs(job_overrides, initial_job_idx)
        trials = [trial_of(job.config()) for job in jobs]
        returned: dict[int, JobReturn] = {}
        for number in self._train(jobs, trials):
            returned[number] = self._finish(jobs[number])
        self._log_to_terminal()
        for output, table in {(config.output, config.table) for config in map(Job.config, jobs)}:
            results.write_table(Path(table), Path(output))
            if "trials" not in self.config.hydra.sweeper:  # a search says itself how it ended
                print(summary.describe_sweep(results.read_table(Path(table)), trials, session().data.validation.labels))
            print(f"  table   {table}\n  files   {output}\n  curves  make ui")
        if failed := [trials[i].name for i, job in returned.items() if job.status != JobStatus.COMPLETED]:
            log.error("%d of %d trials failed: %s; the same command trains just these again",
                      len(failed), len(jobs), ", ".join(sorted(failed)))  # fmt: skip
        return [returned[i] for i in range(len(jobs))]

    def _jobs(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
        """Compose the jobs, those that give plain values to the same keys once: Hydra takes 60 ms for each."""
        composed: dict[tuple[str, ...], DictConfig] = {}
        jobs = []
        parser = OverridesParser.create()
        for number, overrides in enumerate(job_overrides, first):
            parsed = parser.parse_overrides(list(overrides))
            kind = tuple(one.key_or_group if self._is_plain(one) else str(one.input_line) for one in parsed)
            if kind not in composed:
                composed[kind] = self._compose(overrides)
            values = {one.key_or_group: one.value() for one in parsed if self._is_plain(one)}
            jobs.append(Job(number, list(overrides), composed[kind], values))
        return jobs

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose a job's configuration, less what no job reads: Hydra copies it four times for each, and writes it."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with read_write(config.hydra), open_dict(config):
            del config.datasets, config.sweep
            config.hydra.sweeper = config.hydra.launcher = config.hydra.hydra_logging = {}
            config.hydra.runtime.choices, config.hydra.runtime.config_sources = {}, []
            config.hydra.help.header = config.hydra.help.footer = config.hydra.hydra_help.template = ""
        return config

    def _is_plain(self, override: Override) -> bool:
        """Whether an override sets a top-level key to a number or a word."""
        key = override.key_or_group
        if override.is_add() or override.is_delete() or key not in self.config:
            return False
        return not OmegaConf.is_config(self.config[key]) and not OmegaConf.is_interpolation(self.config, key)

    def _train(self, jobs: Sequence[Job], trials: "Sequence[TrainingConfig]") -> Iterator[int]:
        """Train the trials in stacks, and yield the number of each job as soon as it is trained."""
        from numnist.training.session import session, trial_of

        config = jobs[0].config()
        reference = config.reference_experiment  # a stack has room for one network more
        more = [trial_of(self._compose([f"+experiment={reference}", f"images={config.images}"]))] if reference else []
        one = session()
        one.use_executor(dict(config.executor))
        one.begin_sweep(trials)
        waiting = set(range(len(jobs)))
        try:
            for done in one.trainer().train([*trials, *more]):
                trained = {result.config for result in done}
                for number in sorted(number for number in waiting if trials[number] in trained):
                    waiting.remove(number)
                    yield number
        except NumnistError:
            raise  # a full disk, say: no trial would fare better alone
        except Exception:
            log.exception("training in stacks failed; each trial that is missing is now trained alone")
        yield from sorted(waiting)

    def _finish(self, job: Job) -> JobReturn:
        """Have Hydra run a job that is trained, and forget its configuration, which nobody reads later."""
        returned = run_job(
            _logged(self.task_function), job.config(), "hydra.sweep.dir", "hydra.sweep.subdir", self.hydra_context
        )
        returned.cfg = returned.hydra_cfg = None
        return returned

    def _log_to_terminal(self) -> None:
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)


def _logged(task: TaskFunction) -> TaskFunction:
    """Have a job that fails say so in its log, which Hydra leaves to the sweep's end."""

    def run(config: DictConfig) -> Any:
        try:
            return task(config)
        except Exception:
            log.exception("the job %s failed", " ".join(HydraConfig.get().overrides.task))
            raise

    return run
