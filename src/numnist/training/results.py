"""What a trained trial leaves behind: its result, the directory under runs/ that holds it, and the sweep's table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numnist import network
from numnist.common import files
from numnist.common.errors import DataError
from numnist.config.schema import TrainingConfig
from numnist.network import Parameters
from numnist.training.loop import CURVES, TRAIN_CURVES, State

if TYPE_CHECKING:
    import pandas as pd

FINISHED, DIVERGED = "finished", "diverged"
_AXES = list(TrainingConfig.__dataclass_fields__)
COLUMNS = ["name", *_AXES, "status", *CURVES]  # of the sweep's table


@dataclass(frozen=True)
class Result:
    """A trial that is done: trained for all its iterations, or until its loss was no longer a finite number."""

    config: TrainingConfig
    key: str  # of the trial, see `trials`
    state: State

    @property
    def status(self) -> str:
        """Whether it was trained to the end."""
        return DIVERGED if self.state.diverged else FINISHED

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each curve; empty if the trial diverged."""
        return {} if self.state.diverged else {name: float(curve[-1]) for name, curve in self.curves.items()}

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Each curve by its name, float64 (iterations + 1,); those of validation only if images were set apart."""
        names = CURVES if self.config.train_on == "training" else TRAIN_CURVES
        return {name: self.state.curves[:, CURVES.index(name)] for name in names}


def write_run(directory: Path, result: Result, dataset: Mapping[str, str]) -> None:
    """Write weights.npz (none if it diverged), curves.csv and result.json, the last one last."""
    files.remove_partial(directory)  # of a process that was killed here
    if not result.state.diverged:
        files.save_arrays(directory / "weights.npz", arrays_of(result.state.parameters))
    lines = [",".join(("iteration", *result.curves))]
    rows = zip(*(curve.tolist() for curve in result.curves.values()))
    lines += [",".join((str(k), *map(repr, row))) for k, row in enumerate(rows)]
    files.write_text(directory / "curves.csv", "\n".join(lines) + "\n")
    content = {
        "name": result.config.name,
        "config": asdict(result.config),
        "key": result.key,
        "status": result.status,
        "iteration": result.state.iteration,
        "dataset": dict(dataset),
        "metrics": result.metrics,
    }
    files.write_json(directory / "result.json", content)


def arrays_of(p: Parameters) -> dict[str, np.ndarray]:
    """Return one network's arrays as they are stored: without the stack's axis."""
    return {name: array[0] for name, array in p._asdict().items()}


def read_weights(path: Path) -> Parameters:
    """Read one network's weights, a stack of one; anything else is a DataError."""
    p = Parameters(**files.load_arrays(path, dict.fromkeys(Parameters._fields, ("float", None))))
    if not network.is_network(p):
        found = ", ".join(f"{name} {array.shape}" for name, array in p._asdict().items())
        raise DataError(f"{path}: the arrays' shapes are not those of one network: {found}; {files.REMAKE}")
    return Parameters(*(array[np.newaxis] for array in p))


def write_table(path: Path, runs: Path) -> None:
    """Gather every result.json below a directory into one CSV, in the order of hidden size, rate, iterations, seed."""
    import pandas as pd

    rows = [files.read_json(found) for found in sorted(runs.glob("*/result.json"))]
    frame = pd.DataFrame(
        [{"name": row["name"], **row["config"], "status": row["status"], **row["metrics"]} for row in rows],
        columns=COLUMNS,
    )
    files.write_text(path, frame.sort_values(_AXES).to_csv(index=False, lineterminator="\n"))


def read_table(path: Path, columns: Sequence[str] = ()) -> "pd.DataFrame":
    """Read a table, of the sweep one row per trial, metrics NaN if it diverged; DataError if it lacks a column."""
    import pandas as pd

    try:
        return pd.read_csv(path, usecols=columns or None)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; {files.MAKE}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable table ({error}); {files.REMAKE}") from None
