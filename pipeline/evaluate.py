"""Choose the sweep's winner, and test it and the note's network once: `python -m pipeline.evaluate`."""

from itertools import chain

from numnist.config import cli, overrides
from numnist.config.schema import TrainingConfig
from pipeline import ROOT


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
    results.write_run(ROOT / "reports" / "reference", reference, data.identity)
    print(champion.champion(tracked.connect(ROOT), ROOT, evaluated=True).words)


def note() -> TrainingConfig:
    """Return the trial of the note's own network."""
    [trial] = overrides.trials_of("note", ROOT / "conf")
    return trial


if __name__ == "__main__":
    cli.run(main, __doc__)
