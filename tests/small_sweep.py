"""A small sweep by the train stage's own code: `python tests/small_sweep.py DIRECTORY` writes its runs/ and sweep.csv.

Stacks, waypoints, batches and a network that diverges; NumPy, pandas and filelock are all that it needs.
"""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "src")]

import short_training  # noqa: E402

from numnist.config.schema import TrainingConfig  # noqa: E402
from numnist.data.dataset import Dataset, Split  # noqa: E402
from numnist.training import results, scheduling  # noqa: E402

FIRST = TrainingConfig(12, 0.5, 5, 0, "he")
CONFIGS = [
    *(replace(FIRST, hidden_size=h, iterations=i, seed=s) for h, i, s in itertools.product((10, 12), (5, 10), (0, 1))),
    replace(FIRST, batch_size=64, momentum=0.9, weight_decay=0.01, schedule="cosine", train_on="all"),
    replace(FIRST, recipe="notebook", initialization="uniform"),
    replace(FIRST, learning_rate=1e9),
]


def main() -> None:
    """Train the sweep and write what `dvc.lock` would hash."""
    directory = Path(sys.argv[1])
    train, validation = (Split(*short_training.pictures(images, seed)) for images, seed in ((400, 1), (100, 2)))
    data = Dataset("made-up", "400 and 100 pictures", train, validation)
    store = scheduling.open_store(directory / ".checkpoints", data)
    for trained in scheduling.Trainer(data, store, threads=2).train(CONFIGS):
        for result in trained:
            results.write_run(directory / "runs" / result.config.name, result, {"name": data.name})
    results.write_table(directory / "sweep.csv", directory / "runs")


if __name__ == "__main__":
    main()
