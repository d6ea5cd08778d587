"""The launcher: compose all jobs, train their cells in stacks, and finish each job as Hydra would.

Training leaves its results in the store of cells; the job that Hydra then runs finds its cell there. So a job does the
same whichever launcher runs it, and this one only sees to it that the work is done together.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

log = logging.getLogger(__name__)


@dataclass
class StackedConfig:
    """The configuration group entry `hydra/launcher=stacked`."""

    _target_: str = "hydra_plugins.stacked_launcher.launcher.StackedLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="stacked", node=StackedConfig)


class StackedLauncher(Launcher):
    """Trains the cells of a batch of jobs together, then runs the jobs one after another in this process."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands every launcher."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train and run the jobs; a job that fails does not stop the others."""
        from numnist import results, sweep
        from numnist.experiment import cell_of, session

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        jobs = [self._compose(overrides, initial_job_idx + i) for i, overrides in enumerate(job_overrides)]
        cells = [cell_of(values_of(job)) for job in jobs]
        one = session()
        one.begin_sweep(cells)
        returned: dict[int, JobReturn] = {}
        try:
            for done in sweep.train(cells, one.data, one.store):
                trained = {result.config for result in done}
                returned |= {i: self._run(jobs[i]) for i, cell in enumerate(cells) if cell in trained}
        except Exception:
            log.exception("training in stacks failed; each cell that is missing is now trained alone")
        returned |= {i: self._run(jobs[i]) for i in range(len(jobs)) if i not in returned}
        for output, table in {(job.output, job.table) for job in jobs}:
            results.write_table(Path(table), Path(output))
        if failed := [cells[i].name for i, job in returned.items() if job.status != JobStatus.COMPLETED]:
            log.error(
                "%d of %d cells failed: %s; the same command trains just these again",
                len(failed),
                len(jobs),
                ", ".join(failed),
            )
        return [returned[i] for i in range(len(jobs))]

    def _compose(self, overrides: Sequence[str], number: int) -> DictConfig:
        job = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(job):
            job.hydra.job.id = f"job_{number}"
            job.hydra.job.num = number
        return job

    def _run(self, job: DictConfig) -> JobReturn:
        returned = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=job,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return returned


def values_of(config: DictConfig) -> dict[str, Any]:
    """Return what a job's configuration says besides Hydra's own settings, as plain values."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", "output", "table")])
    return OmegaConf.to_container(own, resolve=True)  # type: ignore[return-value]
