"""The search: what it proposes, what it is told, and what it refuses before a run exists."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import checkout
import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.optuna_sweeper.sweeper import OptunaSweeper, distribution
from numnist.common.errors import ConfigError, TrainingError
from numnist.tracking import runs as tracked
from numnist.training import session

SPACE = ["hidden_size=choice(8,16)", "learning_rate=tag(log,interval(0.01,100))", "seed=3"]


def parsed(text: str) -> Any:
    return OverridesParser.create().parse_override(text)


class Launcher:
    """Returns a value for each job, computed from its overrides, and keeps what it was given."""

    def __init__(self, value: Callable[[dict[str, str]], float]) -> None:
        self.value = value
        self.batches: list[list[dict[str, str]]] = []

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        jobs = [dict(one.split("=", 1) for one in overrides) for overrides in job_overrides]
        assert initial_job_idx == sum(map(len, self.batches))
        self.batches.append(jobs)
        return [self.returned(job) for job in jobs]

    def returned(self, job: dict[str, str]) -> JobReturn:
        done = JobReturn(status=JobStatus.COMPLETED)
        try:
            done.return_value = self.value(job)
        except ZeroDivisionError as error:
            done.status, done.return_value = JobStatus.FAILED, error
        return done


def near_one(job: dict[str, str]) -> float:
    """Highest, 0, at the learning rate 1."""
    return -(math.log(float(job["learning_rate"])) ** 2)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the session is asked to log, in the place of a store."""
    calls: list[Any] = []
    fake = SimpleNamespace(
        begin_search=lambda *given: calls.append(("begin", *given)), log_best=lambda *given: calls.append(given)
    )
    monkeypatch.setattr(session, "session", lambda *_: fake)
    return calls


def search(value: Callable[[dict[str, str]], float] = near_one, space: Sequence[str] = SPACE, **settings: Any) -> Any:
    sweeper = OptunaSweeper(**{"sampler": "tpe", "trials": 20, "batch": 8, "seed": 0, "params": None} | settings)
    sweeper.launcher = Launcher(value)  # type: ignore[assignment]
    sweeper.sweep(list(space))
    return sweeper.launcher


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hidden_size=choice(8,16)", optuna.distributions.CategoricalDistribution([8, 16])),
        ("hidden_size=8,16", optuna.distributions.CategoricalDistribution([8, 16])),
        ("iterations=range(2,8,3)", optuna.distributions.CategoricalDistribution([2, 5])),
        ("hidden_size=interval(8,64)", optuna.distributions.IntDistribution(8, 64)),
        ("hidden_size=tag(log,interval(8,64))", optuna.distributions.IntDistribution(8, 64, log=True)),
        ("learning_rate=interval(0.1,2)", optuna.distributions.FloatDistribution(0.1, 2)),
        ("learning_rate=tag(log,interval(0.1,2))", optuna.distributions.FloatDistribution(0.1, 2, log=True)),
        ("initialization=he,uniform", optuna.distributions.CategoricalDistribution(["he", "uniform"])),
    ],
)
def test_a_space_in_hydras_words_is_searched_as_it_says(text: str, expected: Any) -> None:
    assert distribution(parsed(text)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hidden_size=interval(0,64)", "hidden_size is 0; allowed: a whole number from 1"),
        ("hidden_size=interval(8,20000)", "hidden_size is 20000"),
        ("hidden_size=interval(1.5,8)", "hidden_size is 1.5"),
        ("hidden_size=choice(8,0)", "hidden_size is 0"),
        ("learning_rate=interval(0,1)", "learning_rate is 0"),
        ("learning_rate=interval(2,1)", "ends at 1.0, expected above 2.0"),
        ("initialization=interval(0,1)", "not for initialization"),
        ("initialization=he,xavier", "initialization is 'xavier'"),
    ],
)
def test_a_space_beyond_what_is_allowed_is_refused_before_a_run_exists(
    text: str, said: str, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Launcher, "launch", lambda *_, **__: pytest.fail("a job was started"))
    with pytest.raises(ConfigError) as caught:
        search(space=[text])
    assert said in str(caught.value)
    assert logged == []


def test_a_search_without_a_space_is_refused(logged: list[Any]) -> None:
    with pytest.raises(ConfigError, match="a search needs a space"):
        search(space=["seed=3"])


def test_without_optuna_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="pip install optuna"):
        search()


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_seed_decides_every_proposal(sampler: str, logged: list[Any]) -> None:
    one, same, other = (search(sampler=sampler, seed=seed).batches for seed in (5, 5, 6))
    assert one == same != other
    assert [len(batch) for batch in one] == [8, 8, 4]
    assert all(job["seed"] == "3" and 0.01 <= float(job["learning_rate"]) <= 100 for batch in one for job in batch)


def test_what_it_is_told_draws_tpe_to_the_optimum(logged: list[Any]) -> None:
    batches = search(trials=64).batches
    far = [[abs(math.log(float(job["learning_rate"]))) for job in batch] for batch in batches]
    assert min(map(min, far)) < math.log(1.2)
    assert sum(far[-1]) < sum(far[0]) / 2


def test_the_best_trial_is_printed_and_logged(logged: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    def value(job: dict[str, str]) -> float:
        return 0.9 if job["hidden_size"] == "16" else 0.5

    batches = search(value, space=["hidden_size=8,16"], params={"learning_rate": "0.5", "hidden_size": "4,6"}).batches
    assert {job["learning_rate"] for batch in batches for job in batch} == {"0.5"}
    assert "hidden_size=16, validation accuracy 90.00%" in capsys.readouterr().out
    assert [call[0] for call in logged] == ["begin", 0.9] and logged[-1] == (0.9, {"hidden_size": "16"})


def test_trials_that_diverge_are_avoided_and_never_the_best(
    logged: list[Any],
) -> None:
    def value(job: dict[str, str]) -> float:
        rate = float(job["learning_rate"])
        return math.nan if rate > 1 else math.log(rate)  # best at the edge

    batches = search(value, trials=64).batches
    diverged = [sum(float(job["learning_rate"]) > 1 for job in batch) for batch in batches]
    assert diverged[0] > 2 and sum(diverged[1:]) < sum(map(len, batches[1:])) / 2
    assert float(logged[-1][1]["learning_rate"]) <= 1
    with pytest.raises(TrainingError, match="all 20 trials diverged"):
        search(lambda job: math.nan)


def test_a_trial_that_raises_ends_the_search_after_its_batch(logged: list[Any]) -> None:
    with pytest.raises(ZeroDivisionError):
        search(lambda job: 1 / 0)
    assert len(logged) == 1


@pytest.mark.slow
def test_a_search_is_one_run_with_a_child_a_trial_and_repeated_it_trains_nothing(tmp_path: Path) -> None:
    copy = checkout.make(tmp_path)
    for stage in ("fetch", "preprocess"):
        assert checkout.run(copy, f"pipeline.{stage}").returncode == 0
    command = ["pipeline.train", "-m", "+experiment=search", "hidden_size=choice(2,4,6)", "iterations=choice(2,5)"]
    refused = checkout.run(copy, *command, "learning_rate=interval(0,1)")
    assert refused.returncode == 1 and refused.stderr.startswith("error: hydra.sweeper.params or the command line: ")
    assert not (copy / "mlflow.db").exists()
    search = [*command, "hydra.sweeper.trials=6", "hydra.sweeper.batch=4"]
    done = checkout.run(copy, *search)
    assert done.returncode == 0, done.stderr
    trained = {path: path.stat().st_mtime_ns for path in (copy / ".checkpoints").rglob("*.npz")}
    again = checkout.run(copy, *search)
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]
    assert trained == {path: path.stat().st_mtime_ns for path in (copy / ".checkpoints").rglob("*.npz")}
    first = min((copy / "launches").iterdir())
    results = [json.loads(path.read_text()) for path in first.glob("*/result.json")]
    tracker = tracked.connect(copy)
    parents = tracker.store.search(f"tags.`{tracked.SWEEP}` LIKE '%'")
    assert [run.info.run_name.partition(",")[0] for run in parents] == ["search of 6 trials"] * 2
    for parent in parents:
        children = tracker.store.search(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
        assert {run.info.run_name for run in children} == {one["name"] for one in results}
        best = max(run.data.metrics["validation_accuracy"] for run in children)
        assert parent.data.metrics["validation_accuracy"] == best
        assert {"best.hidden_size", "best.learning_rate", "best.iterations"} <= set(parent.data.tags)
