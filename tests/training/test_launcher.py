"""A job of the stacked launcher against the same job run by Hydra's own function for launchers."""

import copy
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.stacked_launcher.launcher import StackedLauncher
from pipeline import ROOT, train  # noqa: F401  (registers the resolver)

VALUES = [
    "hidden_size=7",
    "learning_rate=1e-3",
    "+experiment=note",
    "hydra.job.name='größe'",
    "hydra.job.id=1",
    "hydra.job.num=3",
]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[DictConfig]:
    """A composed job, and logging as it was once it is over."""
    handlers, level = list(logging.root.handlers), logging.root.level
    setup_globals()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield compose("config", [*VALUES, f"hydra.sweep.dir={tmp_path / 'jobs'}"], return_hydra_config=True)
    logging.root.handlers, logging.root.level = handlers, level


def both(job: DictConfig, task: object) -> tuple[JobReturn, dict[str, bytes], JobReturn, dict[str, bytes]]:
    """Run a job by Hydra and by the launcher, in the same directory, and return the answers and the files."""
    context = HydraContext(config_loader=None, callbacks=Callbacks())  # type: ignore[arg-type]
    directory = Path(job.hydra.sweep.dir)
    theirs = run_job(
        task_function=task, config=copy.deepcopy(job), job_dir_key="hydra.sweep.dir",  # type: ignore[arg-type]
        job_subdir_key="hydra.sweep.subdir", hydra_context=context,
    )  # fmt: skip
    expected = taken(directory)
    launcher = StackedLauncher()
    launcher.setup(hydra_context=context, task_function=task, config=job)  # type: ignore[arg-type]
    return theirs, expected, launcher._run(copy.deepcopy(job)), taken(directory)


def taken(directory: Path) -> dict[str, bytes]:
    """The files of a directory, which are then deleted."""
    found = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    content = {name: path.read_bytes() for name, path in found.items()}
    for path in found.values():
        path.unlink()
    return content


def test_a_job_leaves_the_files_and_the_answer_of_hydras_own(job: DictConfig) -> None:
    seen = []

    def task(config: DictConfig) -> float:
        seen.append(
            (config, OmegaConf.is_struct(config), HydraConfig.get().job.num, HydraConfig.get().runtime.output_dir)
        )
        return float(config.learning_rate)

    theirs, expected, ours, files = both(job, task)
    assert set(files) >= {"3/.hydra/config.yaml", "3/.hydra/hydra.yaml", "3/.hydra/overrides.yaml"}
    assert files == expected
    assert seen[0] == seen[1]
    assert (ours.cfg, ours.overrides, ours.working_dir) == (theirs.cfg, theirs.overrides, theirs.working_dir)
    assert ours.hydra_cfg.hydra == theirs.hydra_cfg.hydra  # type: ignore[union-attr]
    assert (ours.status, ours.return_value) == (theirs.status, theirs.return_value) == (JobStatus.COMPLETED, 1e-3)


def test_a_job_that_raises_has_failed_with_what_it_raised(job: DictConfig) -> None:
    def task(config: DictConfig) -> None:
        raise ZeroDivisionError("a fault put in by a test")

    theirs, expected, ours, files = both(job, task)
    assert ours.status == theirs.status == JobStatus.FAILED
    told = files.pop("3/größe.log").decode()
    assert "the job hidden_size=7 learning_rate=1e-3" in told and "ZeroDivisionError: a fault put in by a test" in told
    assert expected.pop("3/größe.log") == b"" and files == expected
    with pytest.raises(ZeroDivisionError):
        ours.return_value  # noqa: B018


def test_a_job_with_a_directory_and_an_environment_of_its_own_gets_them(job: DictConfig) -> None:
    job.hydra.job.chdir, job.hydra.job.env_set = True, {"NUMNIST_TEST": "1"}
    seen = []

    def task(config: DictConfig) -> None:
        seen.append((Path.cwd().name, os.environ.get("NUMNIST_TEST")))

    both(job, task)
    assert seen == [("3", "1")] * 2


def test_many_jobs_keep_no_file_open(job: DictConfig) -> None:
    launcher = StackedLauncher()
    context = HydraContext(config_loader=None, callbacks=Callbacks())  # type: ignore[arg-type]
    launcher.setup(hydra_context=context, task_function=lambda config: 0.0, config=job)
    launcher._run(copy.deepcopy(job))
    before = psutil.Process().num_fds()
    for number in range(20):
        job.hydra.job.num = number
        launcher._run(copy.deepcopy(job))
    assert psutil.Process().num_fds() == before
