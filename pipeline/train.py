"""Train a network, or with -m a sweep of them: configuration in; weights, curves, results and tracked runs out."""

import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from numnist.errors import ConfigError
from pipeline import ROOT, cli, overrides

OmegaConf.register_new_resolver("choices", overrides.choices)


@hydra.main(config_path=str(ROOT / "conf"), config_name="config", version_base="1.3")
def job(config: DictConfig) -> float:
    """Train one cell; return what a search is to maximize, its validation accuracy (0 where it diverged)."""
    from numnist.experiment import cell_of, session

    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    result = session().run_cell(cell_of(values), Path(values["output"]))
    return result.metrics.get("validation_accuracy", 0.0)


def main() -> None:
    """Check the command line and params.yaml, let Hydra run the jobs, and close what they opened."""
    overrides.check(sys.argv[1:], cli.params())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let failures through to cli.run, which tells them
    status = "FAILED"
    try:
        job()
        status = "FINISHED"
    except HydraException as error:
        raise ConfigError(f"the configuration cannot be composed: {error}") from None
    except (KeyboardInterrupt, SystemExit) as ending:
        killed = isinstance(ending, KeyboardInterrupt) or ending.code == cli.TERMINATED
        status = "KILLED" if killed else "FAILED"
        raise
    finally:
        from numnist import experiment

        experiment.end(status)


if __name__ == "__main__":
    cli.run(main)
