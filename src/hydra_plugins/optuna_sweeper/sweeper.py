"""The sweeper that searches: Optuna proposes a batch of trials, the launcher trains them, Optuna learns the results.

The space is written as Hydra's sweeps: choice(...), range(...), interval(a, b), tag(log, interval(a, b)). Batches are
of a fixed size and reported in order, so a seed decides every proposal: the same command finds its finished trials in
the store, and a search that was cut off goes on.
"""

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from numnist.common.errors import ConfigError, TrainingError
from numnist.config import reader
from numnist.config.schema import TRAINING_KEYS, Search, TrainingConfig

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

_SPACE = "hydra.sweeper.params or the command line"
_DIGITS = 4  # that count, of a proposed number: more would only make names long
log = logging.getLogger(__name__)


@dataclass
class SweeperConfig:
    """The configuration group entry `hydra/sweeper=optuna`."""

    _target_: str = "hydra_plugins.optuna_sweeper.sweeper.OptunaSweeper"
    sampler: str = "tpe"
    trials: int = 48
    batch: int = 12
    seed: int = 0
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=SweeperConfig)


class OptunaSweeper(Sweeper):
    """Searches for the trial with the highest value that the job returns."""

    config_loader: ConfigLoader | None = None
    images = 0  # of each split that are used; 0: all

    def __init__(self, sampler: str, trials: int, batch: int, seed: int, params: Mapping[str, str] | None) -> None:
        self.settings = Search(sampler, trials, batch, seed)  # type: ignore[arg-type]  # checked before Hydra starts
        self.params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands every sweeper, and make the launcher."""
        self.config_loader, self.images = hydra_context.config_loader, config.images
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Search; ConfigError, before any run exists, if the space is not allowed or Optuna is missing."""
        texts = [*(f"{name}={text}" for name, text in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.config_loader)
        overrides = {one.get_key_element(): one for one in parser.parse_overrides(texts)}
        drawn = {key: one for key, one in overrides.items() if one.is_sweep_override()}
        fixed = [str(one.input_line) for key, one in overrides.items() if key not in drawn]
        trials, batch = self.settings.trials, self.settings.batch
        study = _study(self.settings)
        space = {key: distribution(one) for key, one in drawn.items()}
        if not space:
            raise ConfigError(
                "a search needs a space: give a key an interval, a range or choices, as +experiment=search does"
            )

        from numnist.training.session import session

        session(self.images).begin_search(
            {**asdict(self.settings), "space": sorted(texts)}, f"search of {self.settings.trials} trials"
        )
        returned = []
        for first in range(0, trials, batch):
            asked = [study.ask(space) for _ in range(min(batch, trials - first))]
            proposed = [proposal(trial, space) for trial in asked]
            jobs = [[*fixed, *(f"{key}={value}" for key, value in one.items())] for one in proposed]
            returned.append(self.launcher.launch(jobs, initial_job_idx=first))
            for trial, job in zip(asked, returned[-1]):
                _tell(study, trial, job)
            for job in returned[-1]:
                _ = job.return_value  # raises if it failed
        self._close(study, returned, space)
        return returned

    def _close(self, study: Any, returned: list[Sequence[JobReturn]], space: Mapping[str, Any]) -> None:
        """Tell which trial was best, and log it to the search's run."""
        from numnist.training.session import session

        trials = len(study.trials)
        if not any(trial.value is not None for trial in study.trials):
            raise TrainingError(f"all {trials} trials diverged; search among smaller learning rates. Curves: `make ui`")
        best = study.best_trial
        found = proposal(best, space)
        words = " ".join(f"{key}={value}" for key, value in found.items())
        print(f"best of {trials} trials, number {best.number}: {words}, validation accuracy {best.value:.2%}")
        session().log_best(best.value, {key: str(value) for key, value in found.items()})


def distribution(override: Override) -> "BaseDistribution":
    """Turn a sweep into Optuna's distribution; ConfigError if it reaches beyond what its key allows."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    key, swept = override.key_or_group, override.value()
    if not isinstance(swept, IntervalSweep):
        choices: list[Any] = list(override.sweep_iterator())
        if key in TRAINING_KEYS:
            choices = [reader.check_key(TrainingConfig, key, value, _SPACE) for value in choices]
        return CategoricalDistribution(choices)
    kind = get_type_hints(TrainingConfig).get(key)
    if kind not in (int, float):
        raise ConfigError(f"{_SPACE}: {override.input_line}: an interval is for numbers of a network, not for {key}")
    whole = kind is int
    bounds: tuple[Any, Any] = (swept.start, swept.end)
    low, high = (
        reader.check_key(TrainingConfig, key, int(bound) if whole and bound == int(bound) else bound, _SPACE)
        for bound in bounds
    )
    if low >= high:
        raise ConfigError(f"{_SPACE}: {override.input_line}: the interval ends at {high}, expected above {low}")
    logarithmic = "log" in swept.tags
    return IntDistribution(low, high, logarithmic) if whole else FloatDistribution(low, high, logarithmic)


def proposal(trial: "Trial | Any", space: Mapping[str, "BaseDistribution"]) -> dict[str, Any]:
    """Return a trial's values, numbers rounded within their bounds."""
    return {key: _rounded(trial.params[key], one) for key, one in space.items()}


def _rounded(value: Any, one: Any) -> Any:
    if not isinstance(value, float) or not hasattr(one, "low"):
        return value
    return min(max(float(f"{value:.{_DIGITS}g}"), one.low), one.high)


def _tell(study: Any, trial: "Trial", job: JobReturn) -> None:
    """Report a trial: one that diverged as pruned, which counts as worst, and one that raised as failed."""
    from optuna.trial import TrialState

    if job.status != JobStatus.COMPLETED:
        study.tell(trial, state=TrialState.FAIL)
    elif math.isnan(job.return_value):
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, job.return_value)


def _study(settings: Search) -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError("a search needs the package optuna; `pip install optuna` gets it (`make run` has)") from None

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=settings.seed)
        if settings.sampler == "tpe":  # a constant liar keeps the trials of a batch apart
            sampler = optuna.samplers.TPESampler(seed=settings.seed, constant_liar=True)
    return optuna.create_study(direction="maximize", sampler=sampler)
