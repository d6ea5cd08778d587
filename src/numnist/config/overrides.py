"""What may be given to `pipeline.train` on the command line: checked before Hydra makes a directory or a run exists."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from numnist.common.errors import ConfigError
from numnist.config import reader
from numnist.config.schema import TRAINING_KEYS, Params, Sweep, TrainingConfig

_SOURCE = "the command line"
_KNOWN = list(
    dict.fromkeys(["experiment", "executor", "output", "table", *TRAINING_KEYS, *Params.__dataclass_fields__])
)


def check(arguments: Sequence[str], params: Params) -> None:
    """Refuse an unknown key, and a value that is not allowed for it; ConfigError names both."""
    given = [argument for argument in arguments if not argument.startswith("-") and "=" in argument]
    try:
        parsed = OverridesParser.create().parse_overrides(given)
    except HydraException as error:
        raise ConfigError(f"{_SOURCE}: {error}") from None
    for override in parsed:
        _check_override(override)


def choices(values: Any) -> str:
    """Join an axis of params.yaml as Hydra's sweeper wants it: "10,32,64"."""
    return ",".join(str(value) for value in (values if OmegaConf.is_list(values) else [values]))


def _check_override(override: Override) -> None:
    key = override.key_or_group
    top, _, rest = key.partition(".")
    if top == "hydra" or key.startswith("hydra/"):
        return
    if top not in _KNOWN:
        raise ConfigError(f"{_SOURCE}: unknown key {key} (in {override.input_line}); known here: {', '.join(_KNOWN)}")
    if override.is_delete():
        raise ConfigError(f"{_SOURCE}: {override.input_line} takes away a key that every run needs")
    if top == "executor" and override.is_sweep_override():
        raise ConfigError(f"{_SOURCE}: {override.input_line}: all trials of a sweep go to one executor")
    values = _values(override)
    if repeated := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ConfigError(f"{_SOURCE}: {key} is {repeated[0]!r} twice (in {override.input_line}); allowed: no repeats")
    for value in values:
        if key in TRAINING_KEYS:
            reader.check_key(TrainingConfig, key, value, _SOURCE)
        elif top == "sweep" and rest in Sweep.__dataclass_fields__:
            reader.check_key(Sweep, rest, value, _SOURCE)


def _values(override: Override) -> list[Any]:
    """Return every value that an override stands for; none for those that only a sweeper can draw from."""
    if override.is_interval_sweep():
        return []
    return list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
