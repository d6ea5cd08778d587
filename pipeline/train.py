"""Train a network, or with -m a sweep of them: configuration in; weights, curves, results and tracked runs out."""

import sys
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

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
    status = "FAILED"
    try:
        job()
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit) as ending:
        killed = isinstance(ending, KeyboardInterrupt) or ending.code == cli.TERMINATED
        status = "KILLED" if killed else "FAILED"
        raise
    finally:
        from numnist import experiment

        experiment.end(status)


if __name__ == "__main__":
    cli.run(main)
