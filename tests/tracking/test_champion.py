"""The champion follows the workspace's locked results, whatever happened to the store; a damaged one is replaced."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from stores import CONFIG, DIGEST, copy_store, register, trained

from numnist.common import dvc_lock, files
from numnist.common.errors import DataError
from numnist.tracking import champion, recorded, registry, runs, store
from numnist.tracking.champion import Champion
from numnist.tracking.runs import Tracker


@pytest.fixture
def root(empty_store: Path, tmp_path: Path) -> Path:
    """A checkout with an empty store of its own, and no results."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "params.yaml").touch()
    copy_store(empty_store, root)
    return root


def lock_results(root: Path, bias: float) -> str:
    """Make a workspace's results those of a sweep of one trial, and lock them; return the digest of its weights."""
    shutil.rmtree(root / "runs", ignore_errors=True)
    directory = trained(root / "runs" / CONFIG.name, bias=bias)
    record = files.read_json(directory / "result.json") | {"key": f"trial {bias}"}
    files.write_json(directory / "result.json", record)
    digest = files.sha256(directory / "weights.npz")
    metrics = {
        "dataset": {"digest": DIGEST},
        "winner": {"name": CONFIG.name, "weights": digest},
        "validation": {"accuracy": 0.5},
        "test": {"accuracy": 0.25 + bias / 100},
        "reference": {"name": "x"},
    }
    files.write_json(root / "reports" / "metrics.json", metrics)
    md5 = hashlib.md5((root / "reports" / "metrics.json").read_bytes()).hexdigest()
    outs = [{"path": "reports/metrics.json", "md5": md5}]
    files.write_text(root / "dvc.lock", yaml.safe_dump({"stages": {"evaluate": {"outs": outs}}}))
    return digest


def answering(root: Path) -> tuple[str, str]:
    """The version that answers in a workspace, and the digest of its stored weights."""
    tracker = runs.connect(root)
    found = champion.champion(tracker, root)
    return str(found.version.version), stored(tracker, found, root)


def stored(tracker: Tracker, found: Champion, root: Path) -> str:
    return files.sha256(registry.weights_of(tracker.store, found.version, root / "asked"))


def crowned(root: Path) -> str | None:
    version = registry.champion(store.connect(root))
    return version and str(version.version)


def test_results_that_come_back_from_a_cache_bring_their_champion_back(root: Path) -> None:
    eight = lock_results(root, 8)
    assert answering(root) == ("1", eight)
    sixteen = lock_results(root, 16)
    assert answering(root) == ("2", sixteen) and crowned(root) == "2"
    lock_results(root, 8)
    assert answering(root) == ("1", eight) and crowned(root) == "1"


def test_what_the_results_name_can_be_asked_after_the_store_is_gone(root: Path) -> None:
    digest = lock_results(root, 8)
    tracker = runs.connect(root)
    found = champion.champion(tracker, root)
    assert stored(tracker, found, root) == digest
    trial = recorded.read_trial(tracker.store, found.run_id)
    assert (trial.name, trial.data_digest, trial.params["hidden_size"]) == (CONFIG.name, DIGEST, "10")
    assert trial.tags["winner"] == "of 1 trials"
    run = tracker.store.client.get_run(found.run_id)
    assert run.data.metrics["test_accuracy"] == 0.33 and found.version.run_id == found.run_id


def test_asking_twice_changes_nothing(root: Path) -> None:
    lock_results(root, 8)
    answering(root)
    tracker = runs.connect(root)
    before = tracker.store.client.search_runs([tracker.store.experiment])
    assert answering(root)[0] == "1"
    after = tracker.store.client.search_runs([tracker.store.experiment])
    assert [run.to_dictionary() for run in after] == [run.to_dictionary() for run in before]


@pytest.mark.parametrize("part", ["MLmodel", "pyfunc_model.py", "artifacts/weights.npz", "all"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_champion_whose_stored_files_are_damaged_or_gone_is_registered_anew(root: Path, part: str, how: str) -> None:
    digest = lock_results(root, 8)
    answering(root)
    [described] = (root / "mlartifacts").rglob("MLmodel")
    for path in [described.parent / part] if part != "all" else [*described.parent.rglob("*.*")]:
        path.write_bytes(path.read_bytes()[:-10]) if how == "cut" else path.unlink()
    assert answering(root) == ("2", digest) and crowned(root) == "2"


def test_a_damaged_champion_is_told_in_words_if_there_are_no_results_to_mend_it_with(root: Path) -> None:
    lock_results(root, 8)
    answering(root)
    shutil.rmtree(root / "reports")
    [described] = (root / "mlartifacts").rglob("MLmodel")
    described.write_bytes(described.read_bytes()[:100])
    tracker = runs.connect(root)
    found = champion.champion(tracker, root)
    with pytest.raises(
        DataError, match=r"version 1 of numnist in .* is damaged: .* the same command registers it anew"
    ):
        registry.model(tracker.store, found.version)
    with pytest.raises(DataError, match="damaged: its files are not those that were stored"):
        registry.weights_of(tracker.store, found.version, root / "copy")
    shutil.rmtree(described.parent)
    with pytest.raises(DataError, match="damaged: its files are gone"):
        registry.weights_of(tracker.store, found.version, root / "copy")


def test_an_experiment_registers_its_winner_and_leaves_the_alias_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_results(root, 8)
    answering(root)
    copy = root / ".dvc" / "tmp" / "exps" / "standalone" / "one"
    copy.mkdir(parents=True)
    other = lock_results(copy, 16)
    assert answering(copy) == ("2", other) and crowned(root) == "1"
    monkeypatch.setenv("DVC_EXP_NAME", "one")  # `dvc exp run` in the workspace itself
    third = lock_results(root, 24)
    assert answering(root) == ("3", third) and crowned(root) == "1"


def test_results_that_dvc_lock_does_not_lock_move_nothing(root: Path) -> None:
    lock_results(root, 8)
    answering(root)
    lock = (root / "dvc.lock").read_bytes()
    other = lock_results(root, 16)
    (root / "dvc.lock").write_bytes(lock)
    assert answering(root)[0] == "1" and crowned(root) == "1"
    assert champion.champion(runs.connect(root), root, evaluated=True).version.tags[runs.WEIGHTS] == other


def test_weights_that_are_not_those_that_were_evaluated_are_not_registered(root: Path) -> None:
    digest = lock_results(root, 8)
    weights = root / "runs" / CONFIG.name / "weights.npz"
    right = weights.read_bytes()
    weights.write_bytes(b"x")
    with pytest.raises(DataError, match=r"weights\.npz is not the file .* `dvc checkout --force runs` brings it back"):
        answering(root)
    assert crowned(root) is None
    weights.write_bytes(right)  # as the remedy does
    assert answering(root) == ("1", digest)


@pytest.mark.parametrize("fault", ["cut weights", "other curves", "no trial", "no result"])
def test_a_sweep_is_logged_only_if_all_of_it_is_as_dvc_lock_has_it(root: Path, fault: str) -> None:
    lock_results(root, 8)
    another = trained(root / "runs" / "another", bias=9)
    files.write_json(another / "result.json", files.read_json(another / "result.json") | {"key": "another"})
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    lock["stages"]["train"] = {"outs": [{"path": "runs", "md5": dvc_lock.md5(root / "runs")}]}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    kept = shutil.copytree(root / "runs", root / "kept")
    if fault == "no trial":
        shutil.rmtree(another)
    else:
        name = {"cut weights": "weights.npz", "other curves": "curves.csv", "no result": "result.json"}[fault]
        (another / name).write_bytes(b"{}" if fault == "no result" else (another / name).read_bytes()[:-9])
    with pytest.raises(DataError, match=r"runs"):
        answering(root)
    assert crowned(root) is None and recorded.find_sweep(store.connect(root)) is None
    shutil.rmtree(root / "runs")
    kept.rename(root / "runs")
    assert answering(root)[0] == "1"


@pytest.mark.parametrize("damage", [lambda page: page.unlink(), lambda page: page.write_text("damaged")])
def test_a_report_that_the_store_lost_is_stored_again(root: Path, damage: Callable[[Path], None]) -> None:
    tracker = runs.connect(root)
    parent = tracker.begin_sweep("key", "a sweep", {})
    for name in ("reports/index.html", "reports/metrics.json", "sweep.csv"):
        files.write_text(root / name, f"the content of {name}")
    champion.log_report(tracker, root, parent)
    [page] = (root / "mlartifacts").rglob("index.html")
    damage(page)
    champion.log_report(tracker, root, parent)
    assert page.read_text() == "the content of reports/index.html"


def test_without_results_or_champion_the_way_to_both_is_told(root: Path) -> None:
    with pytest.raises(DataError, match=r"has no results, and .* no champion: `make run` makes both"):
        answering(root)


def git(root: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *settings, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def clones(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two clones of one repository, and one store for both."""
    git(tmp_path, "init", "-q", "--bare", "shared.git")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    for name in ("ann", "bob"):
        git(tmp_path, "clone", "-q", "shared.git", name)
        (tmp_path / name / "params.yaml").touch()
    return tmp_path / "ann", tmp_path / "bob"


def push(clone: Path) -> None:
    git(clone, "add", "dvc.lock")
    git(clone, "commit", "-qm", "results")
    git(clone, "push", "-q", "-u", "origin", "HEAD")


def test_a_store_that_people_share_has_the_champion_whose_results_were_pushed_last(clones: tuple[Path, Path]) -> None:
    ann, bob = clones
    lock_results(ann, 8)
    assert answering(ann)[0] == "1" and crowned(ann) == "1"  # the first of all, pushed or not
    push(ann)
    git(bob, "pull", "-q", "origin", "main")
    git(bob, "branch", "-q", "--set-upstream-to", "origin/main")
    tried = lock_results(bob, 16)
    assert answering(bob) == ("2", tried) and crowned(bob) == "1"  # asks his own, and changes it for nobody
    push(bob)
    assert answering(bob) == ("2", tried) and crowned(bob) == "2"
    assert answering(ann)[0] == "1" and crowned(ann) == "2"  # who has not pulled yet does not turn it back
    git(ann, "pull", "-q")
    lock_results(ann, 16)
    assert answering(ann) == ("2", tried) and crowned(ann) == "2"


def test_a_process_without_this_package_gets_the_answers_of_the_networks_own_code(root: Path, tmp_path: Path) -> None:
    tracker = runs.connect(root)
    register(tracker, tmp_path / "trial")
    uri = tracker.store.client.get_model_version_download_uri("numnist", "1")
    model = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(tmp_path / "model"))
    code = f"""
import mlflow, numpy, sys
model = mlflow.pyfunc.load_model({model!r})
images = numpy.zeros((1, 784), "float32")
images[0, 3] = 255
print(model.predict(images)["digit"][0], sys.modules["numnist.network"].__file__)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    digit, path = done.stdout.split()
    assert digit == "3" and Path(path).is_relative_to(model)


def test_the_champion_is_code_and_arrays_without_pickle_and_knows_its_digits(root: Path, tmp_path: Path) -> None:
    tracker = runs.connect(root)
    register(tracker, tmp_path / "trial")
    directory = Path(
        mlflow.artifacts.download_artifacts(
            artifact_uri=tracker.store.client.get_model_version_download_uri("numnist", "1"),
            dst_path=str(tmp_path / "model"),
        )
    )
    found = {path.name for path in directory.rglob("*") if path.is_file()}
    files = {"MLmodel", "pyfunc_model.py", "weights.npz", "conda.yaml", "python_env.yaml", "requirements.txt"}
    assert found == files | {Path(name).name for name in registry.CODE}
    images = np.zeros((2, 784), "float32")
    images[0, 3] = images[1, 7] = 255  # hidden unit 3 is 1, so digit 3 scores 10 and all others 0
    model = mlflow.pyfunc.load_model(str(directory))
    for kind in ("uint8", "int64", "float64", "float32"):  # as people have them
        typed = images.astype(kind)
        for given in (typed, typed.reshape(-1, 28, 28), pd.DataFrame(typed)):
            assert list(model.predict(given)["digit"]) == [3, 7]
    answer = model.predict(images)
    expected = np.exp(10) / (np.exp(10) + 9)
    assert answer["probabilities"][0][3] == pytest.approx(expected) and len(answer["probabilities"][1]) == 10


def test_a_champion_of_other_classes_answers_with_their_names(root: Path, tmp_path: Path) -> None:
    tracker = runs.connect(root)
    version = register(tracker, tmp_path / "trial", classes=tuple("abcdefghij"))
    images = np.zeros((2, 784), "uint8")
    images[0, 3] = images[1, 7] = 255
    uri = tracker.store.client.get_model_version_download_uri("numnist", version.version)
    model = mlflow.pyfunc.load_model(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "model")))
    answer = model.predict(images)
    assert list(answer["class"]) == ["d", "h"] and "digit" not in answer
    assert model.metadata.signature.outputs.input_names() == ["class", "probabilities", "doubt"]


def test_whether_the_store_agrees_is_known_without_mlflow(root: Path) -> None:
    assert not champion.is_up_to_date(root)
    lock_results(root, 8)
    assert not champion.is_up_to_date(root)
    answering(root)
    assert champion.is_up_to_date(root)
    lock_results(root, 16)
    assert not champion.is_up_to_date(root)
    (root / "mlflow.db").write_bytes(b"no database")
    assert not champion.is_up_to_date(root)
