"""The launcher: many jobs out of one composition, and what Hydra leaves of each."""

import logging
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.stacked_launcher.launcher import Job, StackedLauncher
from numnist.config import overrides  # noqa: F401  (registers the resolver)
from pipeline import ROOT

JOBS = [
    [f"hidden_size={h}", "learning_rate=1e-3", "+experiment=note", f"seed={seed}"] for h in (7, 8) for seed in (0, 1)
]


@pytest.fixture
def loader() -> Iterator[ConfigLoader]:
    """What composes this checkout's configurations; logging is as it was once the test is over."""
    handlers, level = list(logging.root.handlers), logging.root.level
    setup_globals()
    yield ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))
    logging.root.handlers, logging.root.level = handlers, level


def launcher(loader: ConfigLoader, directory: Path, task: TaskFunction) -> StackedLauncher:
    """A launcher whose jobs write below a directory."""
    given = [f"hydra.sweep.dir={directory}", "hydra.job.name='größe'"]
    config = loader.load_configuration("config", given, RunMode.MULTIRUN)
    one = StackedLauncher()
    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    one.setup(hydra_context=context, task_function=task, config=config)
    return one


def test_jobs_that_set_the_same_keys_are_composed_once_and_are_what_hydra_composes_less_what_no_job_reads(
    loader: ConfigLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = launcher(loader, tmp_path, lambda config: None)
    expected = [loader.load_sweep_config(one.config, job) for job in JOBS]
    composed = []
    whole = ConfigLoaderImpl.load_sweep_config
    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", lambda *a: composed.append(a) or whole(*a))
    jobs = one._jobs(JOBS, 3)
    assert len(composed) == 1
    for number, (job, theirs) in enumerate(zip(jobs, expected), 3):
        ours = job.config()
        assert {key: ours[key] for key in ours if key != "hydra"} == {
            key: theirs[key] for key in theirs if key not in ("hydra", "datasets", "sweep")
        }
        assert (ours.hydra.job.id, ours.hydra.job.num) == (f"job_{number}", number)
        assert ours.hydra.overrides == theirs.hydra.overrides


def test_a_job_runs_with_its_own_values_and_leaves_hydras_files(loader: ConfigLoader, tmp_path: Path) -> None:
    seen = []

    def task(config: DictConfig) -> float:
        hydra = HydraConfig.get()
        seen.append((config.hidden_size, config.seed, hydra.job.num, Path(hydra.runtime.output_dir)))
        return float(config.learning_rate)

    one = launcher(loader, tmp_path, task)
    returned = [one._finish(job) for job in one._jobs(JOBS, 0)]
    assert seen == [(h, seed, n, tmp_path / str(n)) for n, (h, seed) in enumerate([(7, 0), (7, 1), (8, 0), (8, 1)])]
    assert {(job.status, job.return_value) for job in returned} == {(JobStatus.COMPLETED, 1e-3)}
    for number, (h, seed, *_) in enumerate(seen):
        written = yaml.safe_load((tmp_path / str(number) / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
        assert (written["hidden_size"], written["seed"]) == (h, seed)
        assert OmegaConf.load(tmp_path / str(number) / ".hydra" / "overrides.yaml") == JOBS[number]


def finished(loader: ConfigLoader, directory: Path, task: TaskFunction) -> tuple[Job, JobReturn]:
    one = launcher(loader, directory, task)
    [job] = one._jobs(JOBS[:1], 3)
    return job, one._finish(job)


def test_a_job_that_raises_has_failed_with_what_it_raised(loader: ConfigLoader, tmp_path: Path) -> None:
    def task(config: DictConfig) -> None:
        raise ZeroDivisionError("a fault put in by a test")

    _, returned = finished(loader, tmp_path, task)
    assert returned.status == JobStatus.FAILED
    told = (tmp_path / "3" / "größe.log").read_text(encoding="utf-8")
    assert "the job hidden_size=7 learning_rate=1e-3" in told and "ZeroDivisionError: a fault put in by a test" in told
    with pytest.raises(ZeroDivisionError):
        returned.return_value  # noqa: B018


def test_many_jobs_keep_no_file_open(loader: ConfigLoader, tmp_path: Path) -> None:
    one = launcher(loader, tmp_path, lambda config: 0.0)
    jobs = one._jobs([[f"seed={number}"] for number in range(20)], 0)
    one._finish(jobs[0])
    before = psutil.Process().num_fds()
    for job in jobs[1:]:
        one._finish(job)
    assert psutil.Process().num_fds() == before
