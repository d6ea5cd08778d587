"""What commands and experiments compose to, checked as a whole before Hydra makes a directory or a run exists."""

import contextlib
import functools
import itertools
import math
import os
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser  # Hydra has no public name for what reads its command line
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from numnist.common.errors import ConfigError
from numnist.config import reader
from numnist.config.schema import MOST_TRIALS, TRAINING_KEYS, Composed, Search, TrainingConfig

COMMAND_LINE = "the command line"
KEYS = [item.name for item in fields(Composed)]
FAULTS = (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeError, RecursionError)  # of what people write
_GLOBAL = "_global_"


def check(arguments: Sequence[str], conf: Path) -> None:
    """Compose what a command line asks for, as Hydra does; ConfigError, with the source, for unknown keys and values.

    Values of a sweep are checked one by one, and its trials are counted. Commands that only print are left to Hydra.
    """
    given = get_args_parser().parse_args(list(arguments))
    if given.help or given.hydra_help or given.cfg or given.info or given.shell_completion:
        return
    with _composing(given.overrides, conf, given.config_dir or "") as loader:
        _check_jobs(given, loader)


@contextlib.contextmanager
def _composing(asked: Sequence[str], conf: Path, more: str = "") -> Iterator[ConfigLoader]:
    """Let Hydra compose from conf/ and a directory of one's own; ConfigError if a file or the command is at fault."""
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            if more:
                path = f"file://{Path(more).resolve()}"
                loader.get_search_path().prepend("command-line", path, SearchPathQuery(provider="schema"))
            yield loader
    except (*FAULTS, ValueError) as error:  # ValueError: Hydra's, of a group without a name
        raise in_words(error, asked, conf, *filter(None, [more])) from None


def in_words(error: Exception, asked: Sequence[str], *folders: Path | str) -> ConfigError:
    """Say why there is no configuration, with the file and the place in there if a file is at fault."""
    if isinstance(error, UnicodeError):  # alone names no file
        params = Path(os.environ["PROJECT_ROOT"], "params.yaml")
        for path in (params, *itertools.chain.from_iterable(Path(folder).rglob("*.yaml") for folder in folders)):
            reader.read_yaml(path)
    text = str(error) or str(error.__cause__)
    if isinstance(error, RecursionError):
        text = "the `defaults` of a file lead back to that file"
    if isinstance(error, yaml.YAMLError):
        text = " ".join(text.split())
    elif isinstance(error, RecursionError | ValueError):  # they name neither a file nor a key
        text += f" (asked for: {' '.join(asked)})"
    return ConfigError(f"the configuration cannot be composed: {text}")


def trials_of(experiment: str, conf: Path) -> list[TrainingConfig]:
    """Compose an experiment of conf/ and return its trials: every combination of the axes that its file has."""
    asked = [f"+experiment={experiment}"]
    with _composing(asked, conf):
        composed = compose("config", overrides=asked, return_hydra_config=True)
        values: dict[str, Any] = {name: composed[name] for name in TRAINING_KEYS}
        axes = dict(composed.hydra.sweeper.params or {})
    named = [[(name, value) for value in OmegaConf.create(f"[{choices}]")] for name, choices in axes.items()]
    source = str(conf / "experiment" / f"{experiment}.yaml")
    return [reader.check(TrainingConfig, {**values, **dict(chosen)}, source) for chosen in itertools.product(*named)]


def choices(values: Any) -> str:
    """Join an axis of params.yaml as Hydra's sweeper wants it: "10,32,64"."""
    return ",".join(str(value) for value in (values if OmegaConf.is_list(values) else [values]))


OmegaConf.register_new_resolver("choices", choices, replace=True)


@dataclass(frozen=True)
class _Command:
    """A command line without its sweeps, and what it composes to."""

    loader: ConfigLoader
    name: str
    given: Sequence[Override]
    overrides: list[str]

    @functools.cached_property
    def composed(self) -> DictConfig:
        """What Hydra composes before it looks at sweeps."""
        return self.loader.load_configuration(
            self.name, self.overrides, RunMode.MULTIRUN, validate_sweep_overrides=False
        )

    def files(self) -> Iterator[tuple[Path, str]]:
        """Yield the files composed, the last one first, each with the key that its values go to, if it is not all."""
        sources = [Path(one.path) for one in self.composed.hydra.runtime.config_sources if one.schema == "file"]
        for default in reversed(
            self.loader.compute_defaults_list(self.name, self.overrides, RunMode.MULTIRUN).defaults
        ):
            for path in (directory / f"{default.config_path}.yaml" for directory in sources):
                if path.is_file():
                    yield path, "" if default.package in (None, _GLOBAL) else default.package

    def source(self, key: str) -> str:
        """Name what a key's value comes from: the command line, or the last of the files composed that has the key."""
        if any(key == one.key_or_group or key.startswith(f"{one.key_or_group}.") for one in self.given):
            return COMMAND_LINE
        for path, package in self.files():
            within = f"{package}." if package else ""
            if key.startswith(within) and _holds(reader.read_yaml(path), key.removeprefix(within)):
                return str(path)
        return "the composed configuration"


def _holds(values: Any, key: str) -> bool:
    """Whether a file's values have a key."""
    if not isinstance(values, dict):
        return False
    first, _, rest = key.partition(".")
    return key in values or (first in values and _holds(values[first], rest))


def _check_jobs(given: Namespace, loader: ConfigLoader) -> None:
    """Check what the command composes to, with every experiment that it sweeps over."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(given.overrides)
    swept = [one for one in parsed if one.is_sweep_override()]
    groups = [one for one in swept if one.key_or_group != "executor" and loader.get_group_options(one.key_or_group)]
    axes = [one for one in swept if one not in groups]
    plain = [str(one.input_line) for one in parsed if one not in swept]
    trials = 0
    for chosen in itertools.product(*map(_single_values, groups)):
        command = _Command(loader, given.config_name or "config", parsed, [*plain, *chosen])
        trials += _count_trials(command, axes, multirun=given.multirun)
    if trials > MOST_TRIALS:
        raise ConfigError(f"{COMMAND_LINE}: a sweep of {trials:,} trials; allowed: at most {MOST_TRIALS:,}")


def _single_values(override: Override) -> list[str]:
    """Write a sweep as overrides of one value each."""
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _count_trials(command: _Command, axes: Sequence[Override], *, multirun: bool) -> int:
    """Check one composed configuration and the values of its axes; return how many trials it stands for."""
    _check_packages(command)
    composed = command.composed
    job = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])  # type: ignore[misc]
    values: Any = OmegaConf.to_container(job, resolve=True)
    reader.check_composed({str(key): value for key, value in values.items()}, command.source)
    sweeper, multirun = composed.hydra.sweeper, multirun or composed.hydra.mode == RunMode.MULTIRUN
    fixed = {one.key_or_group for one in command.given}
    of_files = {key: values for key, values in (sweeper.params or {}).items() if key not in fixed}
    if of_files and not multirun:
        [first, *_] = of_files
        source = command.source(f"hydra.sweeper.params.{first}")
        raise ConfigError(
            f"{source}: this experiment is a sweep over {', '.join(of_files)}; add -m to the command, or give each of "
            f"them one value, as {first}=..."
        )
    parsed = OverridesParser.create().parse_overrides([f"{key}={values}" for key, values in of_files.items()])
    lengths = [_check_axis(one, command.source(f"hydra.sweeper.params.{one.key_or_group}")) for one in parsed]
    lengths += [_check_axis(one, COMMAND_LINE) for one in axes]
    for key in (f"hydra.{'sweep' if multirun else 'run'}.dir", "output"):
        _check_directory(key, Path(OmegaConf.select(composed, key)), command)
    if multirun:
        _check_table(Path(composed.table), command)
    if "trials" not in sweeper:
        return math.prod(lengths)
    search = {item.name: sweeper[item.name] for item in fields(Search)}
    return reader.check(Search, search, command.source, "hydra.sweeper").trials


def _check_packages(command: _Command) -> None:
    """Refuse an experiment whose values Hydra would put below its group's name."""
    for path, package in command.files():
        if package and package.partition(".")[0] not in (*KEYS, "hydra"):
            raise ConfigError(
                f"{path}: its values would go to {package}; its first line has to be `# @package {_GLOBAL}`, with "
                "nothing before it, not even a byte order mark"
            )


def _check_directory(key: str, path: Path, command: _Command) -> None:
    """Refuse what cannot become a directory to write to, by trying it in the lowest one above that exists."""
    try:
        above = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
        with TemporaryDirectory(dir=above):
            return
    except OSError as error:
        allowed = f"a directory that can be made and written to ({error.strerror})"
        raise ConfigError(f"{command.source(key)}: {key} is {str(path)!r}; allowed: {allowed}") from None


def _check_table(path: Path, command: _Command) -> None:
    """Refuse to write a sweep's table over anything but an earlier one, which its first columns tell."""
    if not path.exists():
        return
    header = ",".join(("name", *TRAINING_KEYS[:2])).encode()
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as file:
            if file.read(len(header)) == header:
                return
    raise ConfigError(
        f"{command.source('table')}: table is {str(path)!r}; allowed: a new file, or an earlier sweep's table, which "
        "is replaced; this one holds something else"
    )


def _check_axis(axis: Override, source: str) -> int:
    """Check every value of an axis, and return how many there are; an interval counts as one: searches check it."""
    if axis.is_sweep_override() and axis.key_or_group.partition(".")[0] == "executor":
        raise ConfigError(f"{source}: executor has several values; all trials of a sweep go to one executor")
    if axis.is_interval_sweep():
        return 1
    swept, key = axis.value(), axis.key_or_group
    if (top := key.partition(".")[0]) not in KEYS:
        raise ConfigError(f"{source}: unknown key {top}; known here: {', '.join(KEYS)}")
    length = 1
    if isinstance(swept, RangeSweep):
        length = math.ceil(((swept.stop or 0) - (swept.start or 0)) / swept.step)
    if length > MOST_TRIALS:
        raise ConfigError(f"{source}: {axis.input_line} has {length:,} values; allowed: at most {MOST_TRIALS:,}")
    values = list(axis.sweep_iterator()) if axis.is_sweep_override() else [swept]
    for value in values:
        if key in TRAINING_KEYS:
            reader.check_key(TrainingConfig, key, value, source)
    if not values:
        raise ConfigError(f"{source}: {axis.input_line} gives {key} no value")
    [(value, times)] = Counter(map(repr, values)).most_common(1)
    if times > 1:
        raise ConfigError(f"{source}: {key} is {value} {times} times (in {axis.input_line}); allowed: once")
    return len(values)
