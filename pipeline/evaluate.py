"""Choose the sweep's winner, and test it and the note's network once: `python -m pipeline.evaluate`."""

from itertools import chain
from typing import TYPE_CHECKING

from hydra import compose, initialize_config_dir

from numnist.config import cli
from pipeline import ROOT

if TYPE_CHECKING:
    from numnist.config.schema import TrainingConfig


def main() -> None:
    """Write reports/metrics.json and its summary, reports/tables, plots, pictures.npz and the note's network."""
    from numnist.data import dataset
    from numnist.evaluation import evaluate
    from numnist.tracking import champion
    from numnist.tracking import runs as tracked
    from numnist.training import results
    from numnist.training.scheduling import Trainer, open_store

    processed = ROOT / "data" / "processed"
    data = dataset.load(processed)
    trainer = Trainer(data, open_store(ROOT / ".checkpoints", data))
    [reference] = chain.from_iterable(trainer.train([note()]))
    runs = ROOT / "runs"
    sweep = evaluate.Sweep(results.read_table(ROOT / "sweep.csv", results.COLUMNS), cli.params().axes, runs)
    found = evaluate.evaluate(sweep, data, reference, lambda: dataset.load_test(processed))
    evaluate.write(found, ROOT / "reports")
    identity = {"name": data.name, "digest": data.digest}
    results.write_run(ROOT / "reports" / "reference", reference, identity)
    print(champion.champion(tracked.connect(ROOT), ROOT, evaluated=True).words)


def note() -> "TrainingConfig":
    """Compose and check the values of the note's own network."""
    from numnist.config import reader
    from numnist.config.schema import TRAINING_KEYS, TrainingConfig

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose("config", overrides=["+experiment=note"])
    return reader.check(TrainingConfig, {name: composed[name] for name in TRAINING_KEYS}, "conf/experiment/note.yaml")


if __name__ == "__main__":
    cli.run(main)
