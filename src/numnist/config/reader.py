"""Reading configuration: YAML as Hydra reads it, each value checked against the schema, errors that name the key."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from numnist.common.errors import ConfigError
from numnist.config.schema import EXECUTORS, Composed, Executor, Params

T = TypeVar("T")
P = TypeVar("P", bound=Params)
Source = str | Callable[[str], str]  # what names the place that a value came from, always or by its key
_ALLOWED = {  # in words, by pydantic's name for the error
    "dataclass_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "tuple_type": "a list of values",
}


def load_params(path: Path) -> Params:
    """Read and check params.yaml."""
    return _check_params(Params, read_yaml(path), str(path))


def check_composed(values: Any, source: Source) -> Composed:
    """Check what Hydra composed for a job, its executor too."""
    composed = _check_params(Composed, values, source)
    check_executor(composed.executor, source)
    return composed


def check_executor(values: Mapping[str, Any], source: Source) -> Executor:
    """Check the values of the group `executor`."""
    if (name := values.get("name")) not in EXECUTORS:
        _refuse(source, "executor.name", name, f"one of {', '.join(EXECUTORS)}")
    return check(EXECUTORS[name], values, source, "executor")


def _check_params(kind: Callable[..., P], values: Any, source: Source) -> P:
    """Check all values of params.yaml, and that none is missing."""
    params = check(kind, values, source)
    if missing := [item.name for item in fields(params) if item.name not in values]:
        raise ConfigError(f"{_named(source, missing[0])}: the key {missing[0]} is missing")
    if params.data.name not in params.datasets:
        _refuse(source, "data.name", params.data.name, f"one of {', '.join(params.datasets)}")
    return params


def _refuse(source: Source, key: str, value: Any, allowed: str) -> NoReturn:
    raise ConfigError(f"{_named(source, key)}: {key} is {value!r}; allowed: {allowed}")


def _named(source: Source, key: str) -> str:
    return source if isinstance(source, str) else source(key)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file in Hydra's dialect, which refuses equal keys and reads 1e-3 as a number."""
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; run this from a checkout of the project") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a list; expected keys and values")
    return {str(key): value for key, value in values.items()}


def check_key(kind: type, name: str, value: Any, source: Source) -> Any:
    """Check one value of a record."""
    return check(get_type_hints(kind, include_extras=True)[name], value, source, name)


def check(kind: Callable[..., T], values: Any, source: Source, key: str = "", *, texts: bool = False) -> T:
    """Make a record, or a value of an annotated type, out of what was given; the first error is a ConfigError.

    `source` names the file or the command line that a key's value came from, `key` the place of the values in there.
    `texts`: numbers are given as texts, as MLflow keeps them.
    """
    try:
        return _adapter(kind).validate_strings(values) if texts else _adapter(kind).validate_python(values)
    except ValidationError as error:
        [first, *_] = error.errors()
    path = [*filter(None, [key]), *(str(part) for part in first["loc"] if isinstance(part, str))]
    where, name = ".".join(path) or "(top level)", first["type"]
    if name == "unexpected_keyword_argument":
        known = ", ".join(_known(kind, first["loc"][:-1]))
        raise ConfigError(f"{_named(source, where)}: unknown key {where}; known here: {known}")
    if name == "missing":
        raise ConfigError(f"{_named(source, where)}: the key {where} is missing")
    allowed = _ALLOWED.get(name) or first.get("ctx", {}).get("expected") or first["msg"].removeprefix("Value error, ")
    _refuse(source, where, first["input"], allowed + ("" if texts else _hint(first["input"])))


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _known(kind: Any, path: Sequence[str | int]) -> list[str]:
    """Return the keys of the record that lies at a path within another."""
    for key in path:
        kind = get_type_hints(kind, include_extras=True)[str(key)] if is_dataclass(kind) else get_args(kind)[1]
    return [item.name for item in fields(kind)]


def _hint(value: Any) -> str:
    """Say what to do with a number that stands in quotes."""
    text = value.strip("'\"") if isinstance(value, str) else ""
    try:
        float(text)
    except ValueError:
        return ""
    return f" (this one is text: write {text} without quotes)"
