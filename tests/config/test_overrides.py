"""The command line of training: what is refused before a directory or a run exists, and how it is said."""

import os
import re
import shutil
from pathlib import Path

import pytest

from numnist.common.errors import ConfigError
from numnist.config import overrides, reader
from numnist.training import results
from pipeline import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMNIST_EXECUTOR", raising=False)


def refusal(*arguments: str, conf: Path = ROOT / "conf") -> str:
    """What is said of a command line that is refused."""
    with pytest.raises(ConfigError) as caught:
        overrides.check(arguments, conf)
    return str(caught.value)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("hidden_size=0", "the command line: hidden_size is 0; allowed: a whole number from 1"),
        ("hidden_size=1000000000", "from 1 to 10,000"),
        ("hidden_size=10,0", "hidden_size is 0"),
        ("hidden_size=range(0,3)", "hidden_size is 0"),
        (
            'hidden_size="8"',
            "hidden_size is '8'; allowed: a whole number from 1 to 10,000 (this one is text: write 8 wi",
        ),
        ("learning_rate=-1", "learning_rate is -1; allowed: a number above 0"),
        ("learning_rate=nan", "learning_rate is nan"),
        ("learning_rate=fast", "learning_rate is 'fast'"),
        ("iterations=1.5", "iterations is 1.5; allowed: a whole number"),
        ("iterations=true", "iterations is True"),
        ("hidden_size=8,16,8", "hidden_size is 8 2 times"),
        ("learning_rate=0.5,0.50", "learning_rate is 0.5 2 times"),
        ("learning_rate=inf", "learning_rate is inf"),
        ("seed=", "seed is ''"),
        ("initialization=xavier", "'he' or 'uniform'"),
        ("schedule=constant,linear", "'constant' or 'cosine'"),
        ("hiden_size=10", "hiden_size"),
        ("+momentum_=0.9", "the command line: unknown key momentum_; known here: hidden_size, "),
        ("+data.seed=1", "the command line: unknown key data.seed; known here: name, "),
        ("~hidden_size=10", "the key hidden_size is missing"),
        ("~momentum", "the command line: the key momentum is missing"),
        ("sweep.hidden_size=[]", "a list of at least one value"),
        ("sweep.hidden_size=[8,8]", "without repeats"),
        ("sweep.hidden_size=[0]", "the command line: sweep.hidden_size is 0"),
        ("data.name=mnits", "the command line: data.name is 'mnits'; allowed: one of mnist, mnist-5k"),
        ("executor=spark", "Could not find 'executor/spark'"),
        ("executor=local,processes", "all trials of a sweep go to one executor"),
        ("executor.threads=3", "threads"),
        ("+executor.threads=3", "the command line: unknown key executor.threads"),
        ("hidden_size=[", "cannot be composed"),
        ("hidden_size=glob(*)", "gives hidden_size no value"),
    ],
)
@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_a_value_that_is_not_allowed_is_refused_by_key_and_value(
    mode: tuple[str, ...], argument: str, said: str
) -> None:
    assert said in refusal(*mode, argument)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("trials=0", "trials is 0; allowed: a whole number from 1 to 100,000"),
        ("batch=0", "batch is 0; allowed: a whole number from 1 to 10,000"),
        ("seed=-1", "seed is -1; allowed: a whole number from 0"),
        ("sampler=grid", "sampler is 'grid'; allowed: 'tpe' or 'random'"),
    ],
)
def test_a_setting_of_a_search_that_is_not_allowed_is_refused(setting: str, said: str) -> None:
    told = refusal("-m", "+experiment=search", f"hydra.sweeper.{setting}")
    assert told.startswith(f"the command line: hydra.sweeper.{said}")


@pytest.mark.parametrize("argument", ["hidden_size=range(1,1000000000)", "seed=range(0,100001)"])
def test_a_sweep_beyond_the_bound_is_refused_by_its_size_before_it_is_written_out(argument: str) -> None:
    assert "values; allowed: at most 100,000" in refusal("-m", argument)
    assert "values; allowed: at most 100,000" in refusal("-m", "+experiment=search", argument)


def test_the_trials_of_a_sweep_are_counted_over_all_axes_and_experiments() -> None:
    arguments = ("-m", "+experiment=note,notebook", "seed=range(0,250)", "iterations=range(1,251)")
    assert refusal(*arguments) == "the command line: a sweep of 125,000 trials; allowed: at most 100,000"
    overrides.check(["-m", "seed=range(0,250)", "iterations=range(1,251)"], ROOT / "conf")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of conf/ to be edited."""
    return Path(shutil.copytree(ROOT / "conf", tmp_path / "conf"))


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("experiment/x.yaml", "hiden_size: 30", "unknown key hiden_size; known here: "),
        ("experiment/x.yaml", "hidden_size: 0", "hidden_size is 0; allowed: "),
        ("experiment/x.yaml", "hydra: {sweeper: {params: {hidden_size: '8,0'}}}", "hidden_size is 0; allowed: "),
        (
            "experiment/x.yaml",
            "hydra: {sweeper: {params: {hiden_size: '8,16'}}}",
            "unknown key hiden_size; known here: ",
        ),
        ("experiment/x.yaml", "data: {validation: 3}", "unknown key data.validation; known here: "),
        ("experiment/x.yaml", "3: 4", "unknown key 3; known here: "),
        ("experiment/x.yaml", "executor: {name: spark}", "executor.name is 'spark'; allowed: "),
        ("executor/local.yaml", "workers: 3", "unknown key executor.workers; known here: name"),
        ("config.yaml", "hiden_size: 30", "unknown key hiden_size; known here: "),
    ],
)
@pytest.mark.parametrize("argument", ["+experiment=x", "+experiment=x,note"])
def test_a_fault_in_any_file_is_refused_with_the_file(
    conf: Path, file: str, line: str, said: str, argument: str
) -> None:
    (conf / "experiment" / "x.yaml").write_text("# @package _global_\nseed: 3\n", encoding="utf-8")
    with (conf / file).open("a", encoding="utf-8") as edited:
        edited.write(f"\n{line}\n")
    assert refusal("-m", argument, conf=conf).startswith(f"{conf / file}: {said}")


GLOBAL = "# @package _global_\n"
MINE = "+experiment=mine"
SEEDS = "hydra: {sweeper: {params: {seed: '0,1'}}}\n"


@pytest.mark.parametrize(
    ("content", "argument", "said"),
    [
        (f"{GLOBAL}\tseed: 3\n", MINE, r"found character '\\t'.* in \"FILE\", line 2, column 1"),
        (f"{GLOBAL}seed: 3\nseed: 4\n", MINE, 'duplicate key seed in "FILE", line 3, column 1'),
        (f"{GLOBAL}seed: [\n", MINE, 'expected the node content.* in "FILE", line 3, column 1'),
        (f"{GLOBAL}# f\xfcr\n", MINE, "FILE is not readable YAML: 'utf-8' codec can't decode byte 0xfc in position 23"),
        (f"{GLOBAL}seed: ${{\n", MINE, "composed: no viable alternative at input .*seed"),
        (f"{GLOBAL}defaults: [mine]\n", MINE, "`defaults` of a file lead back to that file .*experiment=mine"),
        (f"{GLOBAL}defaults: 3\n", MINE, "defaults must be a list .*experiment=mine"),
        (GLOBAL, "+experiment=null", "must be a string .*experiment=null"),
        (GLOBAL, "executor=3", "must be a string .*executor=3"),
        ("seed: 3\n", MINE, "FILE: .* its first line has to be `# @package _global_`"),
        ("", MINE, "FILE: .* its first line has to be `# @package _global_`"),
        (f"# Mine.\n{GLOBAL}seed: 3\n", MINE, "FILE: .* its first line has to be `# @package _global_`"),
        (f"\xef\xbb\xbf{GLOBAL}seed: 3\n", MINE, "FILE: .* its first line has .* not even a byte order mark"),
        ("# @package mine\nseed: 3\n", MINE, "FILE: its values would go to mine; its first line has to be"),
    ],
)
def test_a_slip_in_an_experiment_file_is_told_in_words_with_its_place(
    conf: Path, content: str, argument: str, said: str
) -> None:
    file = conf / "experiment" / "mine.yaml"
    file.write_bytes(content.encode("latin-1"))
    for mode in ((), ("-m",)):
        assert re.search(said.replace("FILE", re.escape(str(file))), refusal(*mode, argument, conf=conf), re.DOTALL)


def test_a_slip_in_an_experiment_that_a_stage_asks_for_is_told_in_words(conf: Path) -> None:
    (conf / "experiment" / "note.yaml").write_text(f"{GLOBAL}\tseed: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"note.yaml., line 2, column 1"):
        overrides.trials_of("note", conf)


def test_a_sweep_without_m_is_refused_unless_every_axis_is_given_one_value(conf: Path) -> None:
    mine = conf / "experiment" / "mine.yaml"
    mine.write_text(GLOBAL + SEEDS, encoding="utf-8")
    assert refusal(MINE, conf=conf).startswith(f"{mine}: this experiment is a sweep over seed; add -m to the command")
    for name in ("grid", "search"):
        assert "is a sweep over learning_rate, iterations" in refusal(f"+experiment={name}", "seed=1", "hidden_size=8")
    for allowed in (["-m", MINE], [MINE, "seed=3"], [MINE, "hydra.mode=MULTIRUN"]):
        overrides.check(allowed, conf)


@pytest.mark.parametrize("axis", ["executor: 'local,processes'", "executor.workers: '1,2'"])
def test_a_sweep_over_executors_is_refused_in_a_file_as_on_the_command_line(conf: Path, axis: str) -> None:
    mine = conf / "experiment" / "mine.yaml"
    mine.write_text(f"{GLOBAL}hydra: {{sweeper: {{params: {{{axis}}}}}}}\n", encoding="utf-8")
    assert refusal("-m", MINE, conf=conf).startswith(f"{mine}: executor has several values; ")


@pytest.mark.parametrize("place", ["README.md", "README.md/below", "/proc/nothing", "x" * 300])
@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir", "output"])
def test_a_place_that_cannot_be_a_directory_is_refused(
    key: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("README.md").touch()
    mode = [] if key == "hydra.run.dir" else ["-m"]
    assert refusal(*mode, f"{key}={place}").startswith(f"the command line: {key} is '{place}'; allowed: a directory")
    overrides.check([*mode, f"{key}=a/b"], ROOT / "conf")
    assert os.listdir() == ["README.md"]


def test_a_sweeps_table_replaces_nothing_but_an_earlier_table(tmp_path: Path) -> None:
    earlier, mine, runs = tmp_path / "sweep.csv", tmp_path / "mine.csv", tmp_path / "runs"
    mine.write_text("name,phone\nAda,1\n", encoding="utf-8")
    for _ in range(2):
        overrides.check(["-m", f"table={earlier}"], ROOT / "conf")
        results.write_table(earlier, runs)
    for taken in (mine, tmp_path):
        assert refusal("-m", f"table={taken}").startswith(f"the command line: table is '{taken}'; allowed: a new file")
    overrides.check([f"table={mine}"], ROOT / "conf")  # a single run writes none


def test_a_directory_of_ones_own_is_composed_from_and_checked_too(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    mine = tmp_path / "experiment" / "mine.yaml"
    arguments = "-m", "+experiment=mine,note", "--config-dir", str(tmp_path)
    mine.write_text("# @package _global_\nseed: 3\n", encoding="utf-8")
    overrides.check(arguments, ROOT / "conf")
    mine.write_text("# @package _global_\nseed: -3\n", encoding="utf-8")
    assert refusal(*arguments).startswith(f"{mine}: seed is -3; allowed: ")


def test_a_fault_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMNIST_EXECUTOR", "dask")
    monkeypatch.setenv("NUMNIST_SCHEDULER", "nowhere")
    assert "executor.address is 'nowhere'; allowed: tcp://host:port" in refusal()


@pytest.mark.parametrize(
    "arguments",
    [
        "hidden_size=64",
        "-m learning_rate=1e-3,0.5",
        "-m +experiment=grid",
        "+debug=fast",
        "-m +experiment=search",
        "-m +experiment=search learning_rate=interval(0.5,1)",
        "-m +experiment=glob(n*)",
        "-m +experiment=note,notebook seed=0,1",
        "hydra/launcher=basic",
        "hydra.run.dir=x",
        "-m",
        "executor=slurm executor.parameters={slurm_partition:long}",
        "-cn config",
        "--cfg job",
        "--help",
        "--info",
        "--hydra-help",
        "-sc install=bash",
        "-sc query=x",
    ],
)
def test_what_is_allowed_passes(arguments: str) -> None:
    overrides.check(arguments.split(), ROOT / "conf")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("arithmetic: exact", "arithmetic: slow", "arithmetic is 'slow'; allowed: 'exact' or 'fast'"),
        ("  name: mnist  ", "  name: mnits  ", "data.name is 'mnits'; allowed: one of mnist, mnist-5k"),
        ("[0.2, 0.7, 1.4]", "['1e-3']", "sweep.learning_rate is '1e-3'; allowed: a number above 0"),
        ("[0.2, 0.7, 1.4]", "[]", "sweep.learning_rate is []; allowed: a list of at least one value"),
        ("[10, 32, 64]", "[10, 10]", "without repeats"),
        ("[10, 32, 64]", "10", "a list"),
        ("[10, 32, 64]", "[1000000000]", "sweep.hidden_size is 1000000000; allowed: a whole number from 1 to 10,000"),
        ("[0.2, 0.7, 1.4]", "[.nan]", "sweep.learning_rate is nan; allowed: a number above 0"),
        ("arithmetic: exact", "arithmetic: exact\narithmetic: fast", "found duplicate key arithmetic"),
        ("arithmetic: exact", "", "the key arithmetic is missing"),
        ("arithmetic: exact", "arithmetic: exact\nspeed: 3", "unknown key speed"),
        ("split_seed: 0", "split_seed: -1", "data.split_seed is -1"),
        ("split_seed: 0", "split_seed: yes", "data.split_seed is True"),
        (
            "  mnist-5k: {}  ",
            "  mnist-5k: {mirrors: [http://example.org/]}  ",
            "datasets.mnist-5k.mirrors is 'http://example.org/'; allowed: an https URL, a directory or a file",
        ),
        ("    table: kaggle/train.csv", "    table: 3", "datasets.kaggle.table is 3; allowed: a text"),
        ("    table: kaggle/train.csv", "    table: a.csv\n    mirrors: [x]", "either a table, or mirrors and sha256"),
        ("arithmetic: exact", "arithmetic: [", "not readable YAML"),
        ("arithmetic: exact", "arithmetic: " + 5_000 * "[", "not readable YAML"),
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
    path.write_text(TEXT.replace("[0.2, 0.7, 1.4]", "[1e-3, 5.0e-1]"), encoding="utf-8")
    assert reader.load_params(path).sweep.learning_rate == (0.001, 0.5)


def test_a_number_in_quotes_comes_with_the_way_to_write_it(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("[0.2, 0.7, 1.4]", "['1e-3']"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"write 1e-3 without quotes"):
        reader.load_params(path)
