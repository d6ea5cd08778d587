"""The command line of training: what is refused before a directory or a run exists, and how it is said."""

from pathlib import Path

import pytest

from numnist.common.errors import ConfigError
from numnist.config import overrides, reader
from pipeline import ROOT

PARAMS = reader.load_params(ROOT / "params.yaml")
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("hidden_size=0", "hidden_size is 0; allowed: a whole number from 1"),
        ("hidden_size=1000000000", "from 1 to 10,000"),
        ("hidden_size=10,0", "hidden_size is 0"),
        ("hidden_size=range(0,3)", "hidden_size is 0"),
        ("learning_rate=-1", "learning_rate is -1; allowed: a number above 0"),
        ("learning_rate=nan", "learning_rate is nan"),
        ("learning_rate=fast", "learning_rate is 'fast'"),
        ("iterations=1.5", "iterations is 1.5; allowed: a whole number"),
        ("iterations=true", "iterations is True"),
        ("hidden_size=8,16,8", "hidden_size is 8 twice"),
        ("learning_rate=0.5,0.50", "learning_rate is 0.5 twice"),
        ("learning_rate=inf", "learning_rate is inf"),
        ("seed=", "seed is ''"),
        ("initialization=xavier", "'he' or 'uniform'"),
        ("arithmetic=slow", "'exact' or 'fast'"),
        ("hiden_size=10", "unknown key hiden_size"),
        ("+momentum_=0.9", "unknown key momentum_"),
        ("~hidden_size=10", "takes away"),
        ("sweep.hidden_size=[]", "a list of at least one value"),
        ("sweep.hidden_size=[8,8]", "without repeats"),
        ("hidden_size=[", "the command line"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_key_and_value(argument: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        overrides.check([argument], PARAMS)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "argument",
    ["hidden_size=64", "learning_rate=1e-3,0.5", "+experiment=grid", "hydra/launcher=basic", "hydra.run.dir=x", "-m"],
)
def test_what_is_allowed_passes(argument: str) -> None:
    overrides.check([argument], PARAMS)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("arithmetic: exact", "arithmetic: slow", "arithmetic is 'slow'; allowed: 'exact' or 'fast'"),
        ("  name: mnist  ", "  name: mnits  ", "data.name is 'mnits'; allowed: one of mnist, mnist-5k"),
        ("[0.3, 1.0, 2.0]", "['1e-3']", "sweep.learning_rate is '1e-3'; allowed: a number above 0"),
        ("[0.3, 1.0, 2.0]", "[]", "sweep.learning_rate is []; allowed: a list of at least one value"),
        ("[10, 32, 64]", "[10, 10]", "without repeats"),
        ("[10, 32, 64]", "10", "a list"),
        ("[10, 32, 64]", "[1000000000]", "sweep.hidden_size is 1000000000; allowed: a whole number from 1 to 10,000"),
        ("[0.3, 1.0, 2.0]", "[.nan]", "sweep.learning_rate is nan; allowed: a number above 0"),
        ("arithmetic: exact", "arithmetic: exact\narithmetic: fast", "found duplicate key arithmetic"),
        ("arithmetic: exact", "", "the key arithmetic is missing"),
        ("arithmetic: exact", "arithmetic: exact\nspeed: 3", "unknown key speed"),
        ("split_seed: 0", "split_seed: -1", "data.split_seed is -1"),
        ("split_seed: 0", "split_seed: yes", "data.split_seed is True"),
        (
            "    mirrors: []  ",
            "    mirrors: [http://example.org/]  ",
            "datasets.mnist-5k.mirrors is 'http://example.org/'; allowed: an https URL or a directory",
        ),
        ("    table: kaggle/train.csv", "    table: 3", "datasets.kaggle.table is 3; allowed: a text"),
        ("    table: kaggle/train.csv", "    table: a.csv\n    mirrors: [x]", "either a table, or mirrors and sha256"),
        ("arithmetic: exact", "arithmetic: [", "not readable YAML"),
    ],
)
def test_params_yaml_is_checked_as_a_whole(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in TEXT
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        reader.load_params(path)
    assert said in str(caught.value) and str(path) in str(caught.value)


def test_a_number_may_be_written_as_hydra_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("[0.3, 1.0, 2.0]", "[1e-3, 5.0e-1]"), encoding="utf-8")
    assert reader.load_params(path).sweep.learning_rate == (0.001, 0.5)


def test_a_number_in_quotes_comes_with_the_way_to_write_it(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("[0.3, 1.0, 2.0]", "['1e-3']"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"write 1e-3 without quotes"):
        reader.load_params(path)
