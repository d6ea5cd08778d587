"""Our networks beside what the literature reports for one hidden layer without distortions of the images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from typing import Any

from numnist.common.errors import DataError
from numnist.data.dataset import Dataset, Split
from numnist.evaluation.predictions import predict
from numnist.training.results import FINISHED, Result


@dataclass(frozen=True)
class Record:
    """A published error, and the experiment in conf/experiment/ that sets ours beside it."""

    experiment: str
    source: str
    error: float  # share of images read wrongly
    theirs: str  # how theirs was trained, if ours was trained in another way
    measured_on: str = "test"  # or validation


RECORDS = (
    Record(
        "notebook",
        "the widely copied notebook, 784-10-10, on its own 1,000 rows set apart of Kaggle's 42,000",
        0.15,
        "the same recipe, slips and all, on 41,000 of Kaggle's rows; ours on 55,000 of MNIST's, with 5,000 apart",
        "validation",
    ),
    Record(
        "sklearn_50",
        "scikit-learn's example of MLP weights, 784-50-10",
        0.030,
        "ReLU, stochastic descent in batches, ten passes",
    ),
    Record(
        "lecun_300", "LeCun et al. 1998, 784-300-10", 0.047, "sigmoid units, mean squared error, stochastic descent"
    ),
    Record(
        "lecun_1000", "LeCun et al. 1998, 784-1000-10", 0.045, "sigmoid units, mean squared error, stochastic descent"
    ),
    Record("simard_800", "Simard et al. 2003, 784-800-10, cross-entropy", 0.016, "cross-entropy, stochastic descent"),
)


def compare(found: Mapping[str, Sequence[Result]], data: Dataset, test: Callable[[], Split]) -> dict[str, Any]:
    """Compare the networks of each experiment, one per seed, with its record.

    `test` opens the test set, once. DataError if a network did not finish.
    """
    for results in found.values():
        if bad := [one.config.name for one in results if one.status != FINISHED]:
            raise DataError(f"{', '.join(bad)} diverged, so its experiment has no figure; lower its learning_rate")
    parts = {"test": test(), "validation": data.validation}
    rows = [
        asdict(one) | _errors(found[one.experiment], parts[one.measured_on]) | {"ours": _values(found[one.experiment])}
        for one in RECORDS
    ]
    return {"dataset": data.identity, "rows": rows}


def markdown(content: Mapping[str, Any]) -> str:
    """Write the comparison as a table."""
    lines = ["| published | error | ours, mean of seeds | lowest to highest | theirs |", "|---|---|---|---|---|"]
    for row in content["rows"]:
        ours = f"**{row['mean']:.2%}** ({row['seeds']}) | {row['lowest']:.2%} to {row['highest']:.2%}"
        lines.append(f"| {row['source']} | {row['error']:.1%} | {ours} | {row['theirs']} |")
    return "\n".join(lines)


def replace_block(text: str, table: str) -> str:
    """Put a table between a document's two markers; DataError if it has none."""
    begin, end = "<!-- published: made by `python -m pipeline.published` -->", "<!-- end of published -->"
    before, found, rest = text.partition(begin)
    _, also_found, after = rest.partition(end)
    if not (found and also_found):
        raise DataError(f"expected the lines {begin} and {end} in the document; put them back (git diff shows them)")
    return f"{before}{begin}\n{table}\n{end}{after}"


def _values(results: Sequence[Result]) -> dict[str, Any]:
    """Return the values of an experiment's networks, which differ in their seeds."""
    return {name: value for name, value in asdict(results[0].config).items() if name != "seed"}


def _errors(results: Sequence[Result], split: Split) -> dict[str, Any]:
    n = len(split.labels)
    errors = [1 - predict(one.state.parameters, split).count / n for one in results]
    spread = {"mean": fsum(errors) / len(errors), "lowest": min(errors), "highest": max(errors)}
    return {name: round(value, 6) for name, value in spread.items()} | {"seeds": len(errors), "n": n}
