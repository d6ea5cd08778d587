"""Train a network, or with -m a sweep of them: configuration in; weights, curves, results and tracked runs out."""

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from numnist.common.errors import ConfigError
from numnist.config import cli, overrides
from pipeline import ROOT

if TYPE_CHECKING:
    from numnist.training.results import Result


@hydra.main(config_path=str(ROOT / "conf"), config_name="config", version_base="1.3")
def job(config: DictConfig) -> float:
    """Train one trial; return what a search is to maximize, its validation accuracy (NaN where it diverged)."""
    from numnist.training.session import session, trial_of

    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    trial = trial_of(values)
    session().use(values["executor"])
    composed = Path(HydraConfig.get().runtime.output_dir, HydraConfig.get().output_subdir or ".hydra", "config.yaml")
    result = session().run_trial(trial, Path(values["output"]), [composed] if composed.exists() else [])
    if HydraConfig.get().mode == RunMode.RUN:
        print(_told(result, Path(values["output"])))
    return result.metrics.get("validation_accuracy", math.nan)


def _told(result: "Result", output: Path) -> str:
    """Say how one trial came out, and where its files are."""
    how = f"diverged after {result.state.iteration} iterations"
    if shown := result.metrics:
        how = f"accuracy {shown['train_accuracy']:.2%} in training, {shown['validation_accuracy']:.2%} in validation"
    return f"{result.config.name}: {how}\n  files   {output / result.config.name}\n  curves  make ui"


def main() -> None:
    """Check the command line and params.yaml, let Hydra run the jobs, and close what they opened."""
    overrides.check(sys.argv[1:], ROOT / "conf")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let failures through to cli.run, which tells them
    status = "FAILED"
    try:
        job()
        status = "FINISHED"
    except HydraException as error:
        raise ConfigError(f"the configuration cannot be composed: {error}") from None
    except (KeyboardInterrupt, SystemExit) as ending:
        killed = isinstance(ending, KeyboardInterrupt) or ending.code in cli.ENDED
        status = "KILLED" if killed else "FAILED"
        raise
    finally:
        from numnist.training import session

        session.end(status)


if __name__ == "__main__":
    cli.run(main)
