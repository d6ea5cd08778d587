"""The launcher: compose all jobs, train their trials in stacks, and finish each job as Hydra would.

Training leaves its results in the checkpoint store; the job that Hydra then runs finds its trial there. So a job does
the same whichever launcher runs it, and this one only sees to it that the work is done together.
"""

import copy
import functools
import gc
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf._utils import get_omega_conf_dumper

from numnist.common.errors import NumnistError
from numnist.config.schema import TRAINING_KEYS, TrainingConfig

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

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """Return the jobs of a batch."""
        axes = functools.cache(self._axes)
        return [
            [*job, *more]
            for job in super().get_job_batch()
            for more in self._crossed(axes(tuple(one for one in job if one.startswith("+experiment="))), job)
        ]

    def _axes(self, experiment: tuple[str, ...]) -> dict[str, str]:
        """Return the axes of an experiment, as its file gives them."""
        if not experiment:
            return {}
        loader = self.hydra_context.config_loader  # type: ignore[union-attr]
        composed = loader.load_sweep_config(self.config, list(experiment))  # type: ignore[arg-type]
        return dict(composed.hydra.sweeper.params or {})

    def _crossed(self, axes: dict[str, str], job: Sequence[str]) -> list[list[str]]:
        """Return the overrides that each combination of axes adds to a job, which may set some of them itself."""
        given = {one.partition("=")[0] for one in job}
        added = [f"{name}={values}" for name, values in axes.items() if name not in given]
        [batch] = self.split_arguments(OverridesParser.create().parse_overrides(added), None)
        return batch

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave it to the launcher, which checks every job before it trains the first."""


class StackedLauncher(Launcher):
    """Trains the trials of a batch of jobs together, then runs the jobs one after another in this process."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands every launcher."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train and run the jobs; a job that fails does not stop the others."""
        from numnist.training import results, scheduling
        from numnist.training.session import session, trial_of

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        gc.set_threshold(10_000, 10, 1_000)  # all jobs stay: to look through them seldom saves a tenth
        jobs = self._compose(job_overrides, initial_job_idx)
        trials = [trial_of(values_of(job)) for job in jobs]
        one = session()
        one.use(dict(jobs[0].executor))
        one.begin_sweep(trials)
        returned: dict[int, JobReturn] = {}
        try:
            wanted = [*trials, *self._along(jobs[0])]
            for done in scheduling.train(wanted, one.data, one.store, engine=one.engine, watch=one):
                trained = {result.config for result in done}
                returned |= {i: self._run(jobs[i]) for i, trial in enumerate(trials) if trial in trained}
        except NumnistError:
            raise  # a full disk, say: no trial would fare better alone
        except Exception:
            log.exception("training in stacks failed; each trial that is missing is now trained alone")
        returned |= {i: self._run(jobs[i]) for i in range(len(jobs)) if i not in returned}
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        for output, table in {(job.output, job.table) for job in jobs}:
            results.write_table(Path(table), Path(output))
            print(f"{len(jobs)} trials: {table}")
        if failed := [trials[i].name for i, job in returned.items() if job.status != JobStatus.COMPLETED]:
            log.error("%d of %d trials failed: %s; the same command trains just these again",
                      len(failed), len(jobs), ", ".join(sorted(failed)))  # fmt: skip
        return [returned[i] for i in range(len(jobs))]

    def _along(self, job: DictConfig) -> list[TrainingConfig]:
        """Return the trial of the experiment that the jobs' `along` names: a stack has room for one network more."""
        from numnist.training.session import trial_of

        if "along" not in job:
            return []
        loader = self.hydra_context.config_loader
        return [trial_of(values_of(loader.load_sweep_config(self.config, [f"+experiment={job.along}"])))]

    def _compose(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[DictConfig]:
        """Compose every job; those that set the same plain keys as the first of their kind are copies of it.

        Setting a key to a plain value is all that an override without a group does, and a copy is ten times as fast
        as Hydra's composition.
        """
        composed: dict[tuple[str, ...], DictConfig] = {}
        jobs = []
        parser = OverridesParser.create()
        for number, overrides in enumerate(job_overrides, first):
            parsed = parser.parse_overrides(list(overrides))
            kind = tuple(one.key_or_group if self._is_plain(one) else str(one.input_line) for one in parsed)
            if kind not in composed:
                composed[kind] = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            job = copy.deepcopy(composed[kind])
            with open_dict(job):
                for one in filter(self._is_plain, parsed):
                    job[one.key_or_group] = one.value()
                job.hydra.overrides.task = list(overrides)
                job.hydra.job.override_dirname = ",".join(overrides)
                job.hydra.job.id = f"job_{number}"
                job.hydra.job.num = number
            jobs.append(job)
        return jobs

    def _is_plain(self, override: Override) -> bool:
        """Whether an override sets a top-level key to a number or a word."""
        key = override.key_or_group
        if override.is_add() or override.is_delete() or key not in self.config:
            return False
        return not OmegaConf.is_config(self.config[key]) and not OmegaConf.is_interpolation(self.config, key)

    def _run(self, job: DictConfig) -> JobReturn:
        """Do what Hydra's `run_job` does, to the same files, the same log and the same answer, in a third of the time.

        That one copies all of a configuration four times, and writes YAML without libyaml. It runs those few jobs that
        want a working directory or an environment of their own.
        """
        if job.hydra.job.chdir or job.hydra.job.env_set:
            return run_job(self.task_function, job, "hydra.sweep.dir", "hydra.sweep.subdir", self.hydra_context)
        returned, outer = JobReturn(), HydraConfig.instance().cfg
        HydraConfig.instance().cfg = job  # type: ignore[assignment]  # what ${hydra:...} looks into
        try:
            directory = Path(str(job.hydra.sweep.dir), str(job.hydra.sweep.subdir)).absolute()
            with open_dict(job.hydra.runtime):
                job.hydra.runtime.output_dir = str(directory)
            OmegaConf.set_readonly(job.hydra, True)
            returned.cfg = task = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
            OmegaConf.set_struct(task, True)
            returned.hydra_cfg = job
            returned.overrides = list(job.hydra.overrides.task)
            returned.working_dir = os.getcwd()
            returned.task_name = str(job.hydra.job.name)
            directory.mkdir(parents=True, exist_ok=True)
            configure_log(job.hydra.job_logging, job.hydra.verbose)
            if job.hydra.output_subdir is not None:
                kept = {
                    "config": _plain(task),
                    "hydra": {"hydra": _plain(job.hydra)},
                    "overrides": _plain(job.hydra.overrides.task),
                }
                (directory / job.hydra.output_subdir).mkdir(exist_ok=True)
                for name, part in kept.items():
                    (directory / job.hydra.output_subdir / f"{name}.yaml").write_text(_yaml(part), encoding="utf-8")
            self.hydra_context.callbacks.on_job_start(config=job, task_function=self.task_function)
            try:
                returned.return_value, returned.status = self.task_function(task), JobStatus.COMPLETED
            except Exception as error:  # this job alone has failed: its log tells why
                log.exception("the job %s failed", " ".join(returned.overrides))
                returned.return_value, returned.status = error, JobStatus.FAILED
            self.hydra_context.callbacks.on_job_end(config=job, job_return=returned)
            return returned
        finally:
            HydraConfig.instance().cfg = outer


class _Dumper(getattr(yaml, "CDumper", yaml.Dumper)):  # type: ignore[misc]
    """Writes YAML as OmegaConf does, with libyaml where that is installed."""


_Dumper.add_representer(str, get_omega_conf_dumper().str_representer)


def _plain(part: Any) -> Any:
    """Return a part of a configuration as plain values, interpolations as they stand."""
    return OmegaConf.to_container(part, resolve=False, enum_to_str=True)


def _yaml(values: Any) -> str:
    return yaml.dump(values, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)


def values_of(config: DictConfig) -> dict[str, Any]:
    """Return what decides a job's trial, as plain values."""
    return {name: config[name] for name in TRAINING_KEYS} | {"data": dict(config.data)}
