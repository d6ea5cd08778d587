"""What is logged of sweeps and trials: names, notes, the points of curves, data sets."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numnist.common import hashing

_FIRST, _STRIDE, _POINTS = 12, 3, 200  # see `steps`: four curves fit in the 1,000 rows of a batch of MLflow's
DIGEST_LENGTH = 36  # the longest data set digest that MLflow stores
_SHOWN = 4  # values of a hyperparameter in the name of a sweep

SWEEP_NOTE = (
    "**A sweep**: every combination of some values, one child run each. To see the curves, open the chart view and "
    "keep the runs below this one; to rank the trials, sort them by `validation_accuracy`. The winner has the tag "
    "`winner`."
)
TRIAL_NOTE = (
    "**A trial**: one network. The curves are measured at the weights after so many updates (the step), loss as mean "
    "cross-entropy. `weights.npz` holds the weights, `curves.csv` the curves, `result.json` what decided them."
)


def sweep_name(trials: Sequence[Mapping[str, Any]]) -> str:
    """Name a sweep by what varies in its configurations: "hidden_size 10, 32, 64; seed 0, 1 (6 trials)"."""
    varied = {key: list(dict.fromkeys(trial[key] for trial in trials)) for key in (trials[0] if trials else ())}
    words = [
        f"{key} {', '.join(map(str, values)) if len(values) <= _SHOWN else f'{values[0]} to {values[-1]}'}"
        for key, values in varied.items()
        if len(values) > 1
    ]
    return f"{'; '.join(words) or 'a single trial'} ({len(trials)} trial{'s' * (len(trials) != 1)})"


def sweep_key(keys: Iterable[str]) -> str:
    """Return the key of a sweep: the hash of its trials' keys, in whatever order."""
    return hashing.of_texts(sorted(keys))[:32]


def steps(length: int) -> list[int]:
    """Return the steps of a curve that are logged: each of the first ones, every third after them, and the last one.

    A row costs MLflow 0.1 ms. Of long curves it gets about _POINTS points; its pages draw 320. `curves.csv` holds all.
    """
    stride = max(_STRIDE, math.ceil(length / _POINTS))
    return sorted({*range(min(_FIRST, length)), *range(0, length, stride), length - 1})


def read_curves(path: Path) -> dict[str, list[float]]:
    """Read curves.csv: each curve by its name, a number per iteration."""
    with path.open(encoding="utf-8", newline="") as file:
        (_, *names), *rows = csv.reader(file)
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(names, 1)}


def dataset_input(name: str, digest: str, **more: Any) -> Any:
    """Make the record of a data set that a run used."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": "data/processed", "digest": digest})
    dataset = Dataset(name, digest[:DIGEST_LENGTH], "local", source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
