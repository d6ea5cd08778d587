"""What may be set, and within what range: dataclasses that check themselves, and the reader of params.yaml.

One field, one `Range` or `Choice`: the ranges stand here and nowhere else. A sweep's axes take the ranges of the
training values that they vary.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from numnist.common.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Numbers of one type between two bounds, both allowed unless `above` (then the lower one is not)."""

    type: type
    lowest: float
    highest: float
    above: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.type is int else "a number"
        bounds = f"above {self.lowest:,} and up to" if self.above else f"from {self.lowest:,} to"
        return f"{kind} {bounds} {self.highest:,}"

    def check(self, value: Any) -> Any:
        """Return the value as this type, or raise ValueError."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        if self.type is int and not isinstance(value, int):
            raise ValueError
        if (
            not math.isfinite(value)
            or not self.lowest <= value <= self.highest
            or (self.above and value == self.lowest)
        ):
            raise ValueError
        return self.type(value)


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return "one of " + ", ".join(self.words)

    def check(self, value: Any) -> str:
        """Return the word, or raise ValueError."""
        if value not in self.words or not isinstance(value, str):
            raise ValueError
        return value


SEED = Range(int, 0, 2**32 - 1)
DIGITS = tuple("0123456789")  # the names of the classes of a data set that names none


@dataclass(frozen=True)
class TrainingConfig:
    """All that decides how one network is trained, except the data and the code.

    The defaults are the note's: plain descent over all training images at once, at a constant rate.
    """

    hidden_size: int = field(metadata={"allowed": Range(int, 1, 10_000)})
    learning_rate: float = field(metadata={"allowed": Range(float, 0, 1e9, above=True)})
    iterations: int = field(metadata={"allowed": Range(int, 1, 1_000_000)})
    seed: int = field(metadata={"allowed": SEED})
    initialization: str = field(metadata={"allowed": Choice(("he", "uniform"))})
    batch_size: int = field(default=0, metadata={"allowed": Range(int, 0, 1_000_000)})
    momentum: float = field(default=0.0, metadata={"allowed": Range(float, 0, 0.999)})
    weight_decay: float = field(default=0.0, metadata={"allowed": Range(float, 0, 1)})
    schedule: str = field(default="constant", metadata={"allowed": Choice(("constant", "cosine"))})
    recipe: str = field(default="note", metadata={"allowed": Choice(("note", "notebook"))})
    train_on: str = field(default="training", metadata={"allowed": Choice(("training", "all"))})
    arithmetic: str = field(default="exact", metadata={"allowed": Choice(("exact", "fast"))})

    @property
    def name(self) -> str:
        """A name for directories and lists that sorts as the numbers do, and that no other trial has."""
        plain = f"h{self.hidden_size:04d}-lr{_short(self.learning_rate)}-it{self.iterations:05d}-s{self.seed}"
        return "-".join([plain, *self._differences()])

    def _differences(self) -> Iterator[str]:
        """Say in short what is not as usual."""
        if self.initialization != "he":
            yield self.initialization
        if self.batch_size:
            yield f"b{self.batch_size}"
        if self.momentum:
            yield f"m{_short(self.momentum)}"
        if self.weight_decay:
            yield f"wd{_short(self.weight_decay)}"
        if self.schedule != "constant":
            yield self.schedule
        if self.recipe != "note":
            yield self.recipe
        if self.train_on != "training":
            yield self.train_on
        if self.arithmetic != "exact":
            yield self.arithmetic

    @property
    def checkpoint_config(self) -> "TrainingConfig":
        """What it shares with those that are waypoints of it: all but the iterations, if its rate knows no end."""
        return self if self.schedule == "cosine" else replace(self, iterations=1)

    @property
    def stack_key(self) -> tuple[Any, ...]:
        """What networks must have in common to be trained as one stack."""
        return self.hidden_size, self.batch_size, self.train_on, self.arithmetic


TRAINING_RANGES: dict[str, Range | Choice] = {item.name: item.metadata["allowed"] for item in fields(TrainingConfig)}
SWEEP_AXES = ("hidden_size", "learning_rate", "iterations", "seed")
COMMON = tuple(name for name in TRAINING_RANGES if name not in SWEEP_AXES)  # of all trials of the sweep in params.yaml


@dataclass(frozen=True)
class DataConfig:
    """Which data set, and how its training images are split."""

    name: str
    validation_one_in: int = field(metadata={"allowed": Range(int, 2, 1000)})
    split_seed: int = field(metadata={"allowed": SEED})


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: mirrors, and the SHA-256 that each file must have (none: a packaged sample).

    A mirror is a base URL or a directory. Or the data set is a table, the path of a file like Kaggle's train.csv.
    `classes` are the names of its classes, in the order of its labels.
    """

    mirrors: tuple[str, ...]
    sha256: Mapping[str, str]
    table: str = ""
    classes: tuple[str, ...] = DIGITS


@dataclass(frozen=True)
class Params:
    """What params.yaml says."""

    data: DataConfig
    datasets: Mapping[str, Source]
    sweep: Mapping[str, tuple[Any, ...]]
    common: Mapping[str, Any]  # the training values that are no axis

    @property
    def source(self) -> Source:
        """The source of the data set in use."""
        return self.datasets[self.data.name]


PARAMS = ("data", "datasets", "sweep", *COMMON)  # the keys of params.yaml


def parse_training(values: Mapping[str, Any], source: str) -> TrainingConfig:
    """Check one trial's values. `source` names the file or command line for the error."""
    return TrainingConfig(**_record(TrainingConfig, values, source, ""))


def parse(cls: type, values: Any, source: str, prefix: str) -> Any:
    """Make a dataclass whose fields say what is allowed out of a mapping; `prefix` stands before each key's name."""
    return cls(**_record(cls, values, source, prefix))


def check_value(name: str, value: Any, source: str) -> Any:
    """Check one training value."""
    return _value(TRAINING_RANGES[name], value, source, name)


def check_axis(name: str, values: Any, source: str) -> tuple[Any, ...]:
    """Check one axis of a sweep: a list without repeats, of at least one value that the name allows."""
    return _axis(TRAINING_RANGES[name], values, source, f"sweep.{name}")


def load_params(path: Path) -> Params:
    """Read and check params.yaml: no unknown or repeated key, every value of its type and in its range."""
    source = str(path)
    values = _read_yaml(path)
    _check_keys(values, set(PARAMS), set(), source, "")
    data = DataConfig(**_record(DataConfig, values["data"], source, "data."))
    datasets = {
        str(name): _source(item, source, f"datasets.{name}.")
        for name, item in _mapping(values["datasets"], source, "datasets").items()
    }
    if data.name not in datasets:
        _refuse(source, "data.name", data.name, "one of " + ", ".join(datasets))
    axes = _mapping(values["sweep"], source, "sweep")
    _check_keys(axes, set(SWEEP_AXES), set(), source, "sweep.")
    return Params(
        data=data,
        datasets=datasets,
        sweep={name: check_axis(name, axes[name], source) for name in SWEEP_AXES},
        common={name: check_value(name, values[name], source) for name in COMMON},
    )


def _record(cls: type, values: Any, source: str, prefix: str) -> dict[str, Any]:
    """Check a mapping against a dataclass whose fields say what is allowed."""
    values = _mapping(values, source, prefix.rstrip("."))
    required = {item.name for item in fields(cls) if item.default is MISSING}
    _check_keys(values, required, {item.name for item in fields(cls)}, source, prefix)
    return {
        item.name: _value(item.metadata["allowed"], values[item.name], source, prefix + item.name)
        if "allowed" in item.metadata
        else _text(values[item.name], source, prefix + item.name)
        for item in fields(cls)
        if item.name in values
    }


def _source(values: Any, source: str, prefix: str) -> Source:
    values = _mapping(values, source, prefix.rstrip("."))
    classes = _classes(values.pop("classes", list(DIGITS)), source, prefix + "classes")
    if "table" in values:
        _check_keys(values, {"table"}, {"classes"}, source, prefix)
        return Source((), {}, _text(values["table"], source, prefix + "table"), classes)
    _check_keys(values, {"mirrors", "sha256"}, {"classes"}, source, prefix)
    mirrors = values["mirrors"]
    if not isinstance(mirrors, list) or not all(map(_is_mirror, mirrors)):
        _refuse(source, prefix + "mirrors", mirrors, "a list of https URLs and directories")
    hashes = _mapping(values["sha256"], source, prefix + "sha256")
    for name, digest in hashes.items():
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            _refuse(source, f"{prefix}sha256.{name}", digest, "64 hexadecimal digits")
    return Source(tuple(mirrors), dict(hashes), classes=classes)


def _classes(values: Any, source: str, key: str) -> tuple[str, ...]:
    names = tuple(map(str, values)) if isinstance(values, list) else ()
    if not 2 <= len(names) <= 100 or len(set(names)) < len(names) or not all(name.strip() for name in names):
        _refuse(source, key, values, "a list of 2 to 100 names without repeats, one per class, in the labels' order")
    return names


def _is_mirror(value: Any) -> bool:
    return isinstance(value, str) and value != "" and (value.startswith("https://") or "://" not in value)


def _axis(allowed: Range | Choice, values: Any, source: str, key: str) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        _refuse(source, key, values, f"a list of at least one value, each {allowed}")
    checked = tuple(_value(allowed, value, source, key) for value in values)
    if len(set(checked)) < len(checked):
        _refuse(source, key, values, "a list without repeats")
    return checked


def _value(allowed: Range | Choice, value: Any, source: str, key: str) -> Any:
    try:
        return allowed.check(value)
    except ValueError:
        hint = ""
        if isinstance(value, str) and isinstance(allowed, Range) and _is_number(value):
            hint = f" (YAML reads {value} as text: write it as {float(value)!r}, without quotes)"
        _refuse(source, key, value, str(allowed) + hint)


def _text(value: Any, source: str, key: str) -> str:
    if not isinstance(value, str) or not value:
        _refuse(source, key, value, "a text")
    return value


def _mapping(value: Any, source: str, key: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        _refuse(source, key or "(top level)", value, "a mapping of keys to values")
    return dict(value)


def _check_keys(values: Mapping[str, Any], required: set[str], known: set[str], source: str, prefix: str) -> None:
    if unknown := sorted(str(key) for key in values if key not in required | known):
        raise ConfigError(
            f"{source}: unknown key {prefix}{unknown[0]}; known here: {', '.join(sorted(required | known))}"
        )
    if missing := sorted(required - set(values)):
        raise ConfigError(f"{source}: the key {prefix}{missing[0]} is missing")


def _refuse(source: str, key: str, value: Any, allowed: str) -> Any:
    raise ConfigError(f"{source}: {key} is {value!r}; allowed: {allowed}")


def _short(number: float) -> str:
    """Write a number with every digit that counts."""
    return repr(number).removesuffix(".0")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which would keep the last of two equal keys, taught to refuse them."""


def _construct_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise ConfigError(
                f"{key_node.start_mark.name}, line {key_node.start_mark.line + 1}: the key {key} is given twice"
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            return _mapping(yaml.load(file, _StrictLoader), str(path), "")  # noqa: S506  (a SafeLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; run this from a checkout of the project") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}") from None
