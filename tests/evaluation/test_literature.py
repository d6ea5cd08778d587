"""Our networks beside published results: errors counted by hand, and the table that docs/published.md shows."""

from dataclasses import replace

import numpy as np
import pytest

from numnist import network
from numnist.common import files
from numnist.common.errors import DataError
from numnist.config import overrides
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Dataset, Split
from numnist.evaluation import literature
from numnist.network import Parameters
from numnist.training.loop import State
from numnist.training.results import Result
from pipeline import ROOT

CONFIG = TrainingConfig(2, 0.1, 1, 0, "he")
TEST = Split(np.zeros((4, 784), np.uint8), np.array([7, 7, 7, 1], np.uint8))
VALIDATION = Split(np.zeros((4, 784), np.uint8), np.array([7, 1, 1, 1], np.uint8))
DATA = Dataset("toy", "digest", VALIDATION, VALIDATION)


def says(digit: int) -> Result:
    """A network that predictions every picture with one digit."""
    zero = network.initialize(CONFIG, rng=np.random.default_rng(0))
    b2 = np.eye(10, dtype="f8")[digit].reshape(1, 10, 1)
    silent = Parameters(zero.W1 * 0, zero.b1, zero.W2 * 0, b2)
    return Result(replace(CONFIG, seed=digit), "key", State(silent, np.zeros((2, 4))))


def found() -> dict[str, list[Result]]:
    return {one.experiment: [says(7), says(1)] for one in literature.RECORDS}


def test_errors_are_shares_of_images_over_the_seeds() -> None:
    rows = literature.compare(found(), DATA, lambda: TEST)["rows"]
    by_name = {row["experiment"]: row for row in rows}
    assert (by_name["lecun_300"]["lowest"], by_name["lecun_300"]["mean"], by_name["lecun_300"]["highest"]) == (
        0.25,
        0.5,
        0.75,
    )
    assert by_name["notebook"]["lowest"] == 0.25  # seven is right once in the validation images, one three times
    assert all((row["seeds"], row["n"]) == (2, 4) for row in rows)


def test_the_test_set_is_opened_once() -> None:
    opened = []
    literature.compare(found(), DATA, lambda: opened.append(1) or TEST)  # type: ignore[func-returns-value]
    assert len(opened) == 1


def test_a_network_that_diverged_is_named() -> None:
    bad = found()
    state = State(bad["lecun_300"][0].state.parameters, np.full((2, 4), np.nan))
    bad["lecun_300"][0] = replace(bad["lecun_300"][0], state=state)
    with pytest.raises(DataError, match=r"h0002-lr0\.1-it00001-s7 diverged"):
        literature.compare(bad, DATA, lambda: TEST)


def test_readme_shows_the_table_that_the_command_made() -> None:
    text = (ROOT / "docs" / "published.md").read_text(encoding="utf-8")
    table = literature.markdown(files.read_json(ROOT / "docs" / "published.json"))
    assert literature.replace_block(text, table) == text


def test_a_document_without_its_markers_is_an_error() -> None:
    with pytest.raises(DataError, match="put them back"):
        literature.replace_block("no markers", "a table")


def test_each_experiment_has_five_seeds_and_is_trained_on_what_its_record_says() -> None:
    for record in literature.RECORDS:
        trials = overrides.trials_of(record.experiment, ROOT / "conf")
        assert [trial.seed for trial in trials] == [0, 1, 2, 3, 4]
        assert {trial.train_on for trial in trials} == {"training" if record.measured_on == "validation" else "all"}
