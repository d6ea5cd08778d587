"""Train a network, or with -m a sweep of them: configuration in; weights, curves, results and tracked runs out."""

import logging
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from numnist.common.errors import TrainingError
from numnist.config import cli, overrides
from pipeline import ROOT

if TYPE_CHECKING:
    from numnist.training.results import Result

log = logging.getLogger(__name__)


@hydra.main(config_path=str(ROOT / "conf"), config_name="config", version_base="1.3")
def job(config: DictConfig) -> float:
    """Train one trial; return what a search is to maximize, its validation accuracy (NaN if it diverged)."""
    from numnist.training.session import session, trial_of

    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    trial = trial_of(values)
    session().use_executor(values["executor"])
    composed = Path(HydraConfig.get().runtime.output_dir, HydraConfig.get().output_subdir or ".hydra", "config.yaml")
    result = session().run_trial(trial, Path(values["output"]), [composed] if composed.exists() else [])
    log.info("%s", said := _in_words(result))
    if HydraConfig.get().mode == RunMode.RUN:
        if result.state.diverged:
            raise TrainingError(f"{said}; try a smaller learning_rate. Its curve: `make ui`")
        print(f"{said}\n  files   {Path(values['output'], trial.name)}\n  curves  make ui")
    return result.metrics.get("validation_accuracy", result.metrics.get("train_accuracy", math.nan))


def _in_words(result: "Result") -> str:
    """Say how one trial came out."""
    if result.state.diverged:
        return f"{result.config.name}: diverged after {result.state.iteration} iterations"
    shown = {name.removesuffix("_accuracy"): value for name, value in result.metrics.items() if "accuracy" in name}
    return f"{result.config.name}: accuracy " + ", ".join(f"{value:.2%} in {name}" for name, value in shown.items())


def main() -> None:
    """Check the command line and params.yaml, let Hydra run the jobs, and close what they opened."""
    overrides.check(sys.argv[1:], ROOT / "conf")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let failures through to cli.run, which prints them
    from numnist.training import session

    status = "FAILED"
    try:
        job()
        status = "FINISHED"
    except overrides.FAULTS as error:  # of what only prints, and so is not checked
        raise overrides.in_words(error, sys.argv[1:], ROOT / "conf") from None
    except (KeyboardInterrupt, SystemExit) as ending:
        if isinstance(ending, KeyboardInterrupt) or ending.code in cli.STOPPED:
            status = "KILLED"
            sys.stderr.write(session.how_to_resume())
        raise
    finally:
        session.end(status)


if __name__ == "__main__":
    cli.run(main)
