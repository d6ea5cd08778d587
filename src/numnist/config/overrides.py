"""What commands and experiments compose to, checked as a whole before Hydra makes a directory or a run exists."""

import itertools
import math
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

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


def check(arguments: Sequence[str], conf: Path) -> None:
    """Compose what a command line asks for, as Hydra does; ConfigError, with the source, for unknown keys and values.

    Values of a sweep are checked one by one, and its trials are counted. Commands that only print are left to Hydra.
    """
    given = get_args_parser().parse_args(list(arguments))
    if given.help or given.hydra_help or given.cfg or given.info or given.shell_completion:
        return
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            if given.config_dir:
                more = f"file://{Path(given.config_dir).resolve()}"
                loader.get_search_path().prepend("command-line", more, SearchPathQuery(provider="schema"))
            _check_jobs(given, loader)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"the configuration cannot be composed: {error}") from None


def trials_of(experiment: str, conf: Path) -> list[TrainingConfig]:
    """Compose an experiment of conf/ and return its trials: every combination of the axes that its file has."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        composed = compose("config", overrides=[f"+experiment={experiment}"], return_hydra_config=True)
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

    def compose(self) -> DictConfig:
        """Compose as Hydra does before it looks at sweeps."""
        return self.loader.load_configuration(
            self.name, self.overrides, RunMode.MULTIRUN, validate_sweep_overrides=False
        )

    def source(self, key: str) -> str:
        """Name what a key's value comes from: the command line, or the last of the files composed that has the key."""
        if any(key == one.key_or_group or key.startswith(f"{one.key_or_group}.") for one in self.given):
            return COMMAND_LINE
        files = [Path(one.path) for one in self.compose().hydra.runtime.config_sources if one.schema == "file"]
        for default in reversed(
            self.loader.compute_defaults_list(self.name, self.overrides, RunMode.MULTIRUN).defaults
        ):
            within = f"{default.package}." if default.package not in (None, "", "_global_") else ""
            for path in (directory / f"{default.config_path}.yaml" for directory in files):
                if path.is_file() and key.startswith(within) and _holds(path, key.removeprefix(within)):
                    return str(path)
        return "the composed configuration"


def _holds(path: Path, key: str) -> bool:
    """Whether a file has a key."""
    values: Any = reader.read_yaml(path)
    for name in key.split("."):
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


def _check_jobs(given: Namespace, loader: ConfigLoader) -> None:
    """Check what the command composes to, with every experiment that it sweeps over."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(given.overrides)
    swept = [one for one in parsed if one.is_sweep_override()]
    if any(one.key_or_group.partition(".")[0] == "executor" for one in swept):
        raise ConfigError(f"{COMMAND_LINE}: executor has several values; all trials of a sweep go to one executor")
    groups = [one for one in swept if loader.get_group_options(one.key_or_group)]
    axes = [one for one in swept if one not in groups]
    plain = [str(one.input_line) for one in parsed if one not in swept]
    trials = 0
    for chosen in itertools.product(*map(_single_values, groups)):
        command = _Command(loader, given.config_name or "config", parsed, [*plain, *chosen])
        trials += _count_trials(command, axes)
    if trials > MOST_TRIALS:
        raise ConfigError(f"{COMMAND_LINE}: a sweep of {trials:,} trials; allowed: at most {MOST_TRIALS:,}")


def _single_values(override: Override) -> list[str]:
    """Write a sweep as overrides of one value each."""
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _count_trials(command: _Command, axes: Sequence[Override]) -> int:
    """Check one composed configuration and the values of its axes; return how many trials it stands for."""
    composed = command.compose()
    job = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    reader.check_composed(OmegaConf.to_container(job, resolve=True), command.source)
    sweeper = composed.hydra.sweeper
    of_files = OverridesParser.create().parse_overrides([f"{key}={it}" for key, it in (sweeper.params or {}).items()])
    fixed = {one.key_or_group for one in command.given}
    lengths = [_check_axis(one, command.source(f"hydra.sweeper.params.{one.key_or_group}"))
               for one in of_files if one.key_or_group not in fixed]  # fmt: skip
    lengths += [_check_axis(one, COMMAND_LINE) for one in axes]
    if "trials" not in sweeper:
        return math.prod(lengths)
    search = {item.name: sweeper[item.name] for item in fields(Search)}
    return reader.check(Search, search, command.source, "hydra.sweeper").trials


def _check_axis(axis: Override, source: str) -> int:
    """Check every value of an axis, and return how many there are; an interval counts as one: searches check it."""
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
