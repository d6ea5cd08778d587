"""The stages end to end, on the packaged sample, as people start them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import checkout
import pytest
import yaml
from filelock import FileLock

from numnist.common import dvc_lock
from numnist.data import dataset
from numnist.tracking import champion, recorded, registry
from numnist.tracking import runs as tracked
from numnist.training import scheduling
from pipeline.evaluate import note


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the pipeline has run once, at a path with letters that shells, URLs or globs misread."""
    directory = checkout.make(tmp_path_factory.mktemp("""größe *:;\\[]'"#$,= one"""))
    done = checkout.run(directory, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it for a test to change."""
    with checkout.copy_of(finished, tmp_path / "copy") as directory:
        yield directory


def runs(directory: Path) -> list[tracked.Any]:
    tracker = tracked.connect(directory)
    return list(tracker.store.client.search_runs([tracker.store.experiment], max_results=1000))


def children(directory: Path) -> dict[str, list[str]]:
    """The names of finished child runs by their parent."""
    found: dict[str, list[str]] = {}
    for run in runs(directory):
        if parent := run.data.tags.get("mlflow.parentRunId"):
            assert run.info.status == "FINISHED"
            found.setdefault(parent, []).append(run.info.run_name)
    return found


def test_every_trial_is_a_finished_child_of_one_sweep_and_has_its_directory(finished: Path) -> None:
    [(_, names)] = children(finished).items()
    trials = sorted(path.name for path in (finished / "runs").iterdir())
    assert len(trials) == checkout.TRIALS
    assert sorted(names) == sorted([*trials, note().name])  # the note's network is a run, too
    for name in trials:
        held = {path.name for path in (finished / "runs" / name).iterdir()}
        assert held == {"weights.npz", "curves.csv", "result.json"}


def test_the_notes_network_is_trained_with_the_sweep_and_kept_for_evaluate(finished: Path) -> None:
    data = dataset.load(finished / "data" / "processed")
    config = note()
    assert config.name not in {path.name for path in (finished / "runs").iterdir()}
    state = scheduling.open_store(finished / ".checkpoints", data).finished(config)
    assert state and state.iteration == config.iterations
    first = min((finished / "reports").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    kept = next(path for path in (finished / ".checkpoints").rglob(f"{config.iterations}.npz"))
    assert kept.stat().st_mtime_ns < (finished / "sweep.csv").stat().st_mtime_ns < first.stat().st_mtime_ns


def test_metrics_hold_what_readers_rely_on(finished: Path) -> None:
    metrics = json.loads((finished / "reports" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["dataset"]["name"] == "mnist-5k" and len(metrics["dataset"]["digest"]) == 64
    assert metrics["winner"]["hidden_size"] in (4, 6) and metrics["winner"]["iterations"] in (2, 4)
    assert metrics["test"]["n"] == 1000
    assert metrics["test"]["accuracy"] + metrics["test"]["error"] == pytest.approx(1)
    assert 0 < metrics["validation"]["accuracy"] < 1


def test_dvc_shows_the_summary_in_one_row(finished: Path) -> None:
    done = checkout.run(finished, "dvc", "metrics", "show", "--json", "reports/summary.json")
    assert done.returncode == 0 and not done.stderr, done.stderr
    [row] = json.loads(done.stdout).values()
    shown = row["data"]["reports/summary.json"]["data"]
    metrics = json.loads((finished / "reports" / "metrics.json").read_text(encoding="utf-8"))
    assert shown["test"] == metrics["test"]["accuracy"] and shown["dataset"] == "mnist-5k"


def test_dvcs_tables_fit_120_columns_and_lead_with_what_tells_experiments_apart(finished: Path) -> None:
    metrics = checkout.run(finished, "dvc", "metrics", "show").stdout.splitlines()
    assert 0 < max(map(len, metrics)) <= 120
    experiments = checkout.run(finished, "dvc", "exp", "show", "--csv").stdout.splitlines()[0].split(",")
    fixed = ["Experiment", "rev", "typ", "Created", "parent"]
    assert experiments[: len(fixed) + 4] == [*fixed, "test", "validation", "winner", "dataset"]


def test_dvc_draws_curves_and_confusion_matrix_by_its_own_templates(finished: Path) -> None:
    drawn = checkout.run(finished, "dvc", "plots", "show", "--json")
    assert drawn.returncode == 0, drawn.stderr
    shown = json.loads(drawn.stdout)
    assert not shown.get("errors")
    points = {name: len(one["content"]["data"]["values"]) for name, [one] in shown["data"].items()}
    iterations = json.loads((finished / "reports" / "metrics.json").read_text(encoding="utf-8"))["winner"]["iterations"]
    assert points["confusion"] == 1_000  # test images
    assert points["accuracy"] == points["loss"] == 2 * (iterations + 1)
    assert points["sweep"] == checkout.TRIALS


def test_the_winner_is_the_registered_champion(finished: Path, tmp_path: Path) -> None:
    metrics = json.loads((finished / "reports" / "metrics.json").read_text(encoding="utf-8"))
    tracker = tracked.connect(finished)
    version = registry.champion(tracker.store)
    weights = registry.weights_of(tracker.store, version, tmp_path)
    assert weights.read_bytes() == (finished / "runs" / metrics["winner"]["name"] / "weights.npz").read_bytes()
    run = tracker.store.client.get_run(version.run_id)
    assert run.info.run_name == metrics["winner"]["name"] and "winner" in run.data.tags
    assert run.data.metrics["test_accuracy"] == metrics["test"]["accuracy"]
    curves = [
        tracker.store.client.get_metric_history(version.run_id, f"validation_{name}") for name in ("accuracy", "loss")
    ]
    assert [point.step for point in curves[0]] == [point.step for point in curves[1]]  # no point beside the curve
    assert run.outputs and [model.model_id in version.source for model in run.outputs.model_outputs] == [True]


def test_the_report_names_the_sample_in_its_first_line_of_text(finished: Path) -> None:
    page = (finished / "reports" / "index.html").read_text(encoding="utf-8")
    heading = page[page.index("<h1") : page.index("</h1>")]
    assert "mnist-5k" in heading.lower() or "sample" in heading.lower()


def test_outs_hold_no_path_of_this_machine(finished: Path) -> None:
    outs = [finished / "sweep.csv", *(finished / "runs").rglob("*"), *(finished / "reports").rglob("*")]
    for path in outs:
        if path.is_file():
            assert str(finished.parent).encode() not in path.read_bytes(), path  # in plain letters, as JSON writes them


def test_a_second_run_does_nothing(copy: Path) -> None:
    before = (copy / "dvc.lock").read_bytes(), len(runs(copy))
    done = checkout.run(copy, "pipeline.run")
    assert done.returncode == 0 and "Everything is up to date." in done.stdout, done.stdout + done.stderr
    assert ((copy / "dvc.lock").read_bytes(), len(runs(copy))) == before


def test_of_two_make_run_at_once_one_waits_for_the_other(copy: Path) -> None:
    with FileLock(copy / ".dvc" / "run.lock"):  # as the first one holds it
        second = checkout.start(copy, "-m", "pipeline.run")
        assert second.stdout and second.stdout.readline() == "Waiting for another `make run` in this checkout to end.\n"
        assert second.poll() is None
    out, err = second.communicate()
    assert second.returncode == 0 and out.startswith("Everything is up to date."), out + err


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("data.validation_one_in", 10, {"preprocess", "report"}),
        ("data.split_seed", 1, {"preprocess", "report"}),
        ("sweep.seed", [0], {"train", "evaluate", "report"}),
        ("initialization", "uniform", {"train"}),
        ("arithmetic", "fast", {"train"}),
        ("datasets.mnist-5k.mirrors", ["https://example.org/"], {"fetch", "preprocess"}),
        ("datasets.mnist.mirrors", ["https://example.org/"], set()),
    ],
)
def test_an_edit_of_a_parameter_concerns_just_its_stages(copy: Path, key: str, value: object, stages: set[str]) -> None:
    from dvc.repo import Repo

    params = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))
    *parents, last = key.split(".")
    place = params
    for parent in parents:
        place = place[parent]
    place[last] = value
    (copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    with Repo(str(copy)) as repo:
        changed = repo.status()
    by_params = {
        stage.rpartition(":")[2]
        for stage, reasons in changed.items()
        for reason in reasons
        if "params.yaml" in str(reason)
    }
    assert by_params == stages


def test_a_sweep_by_hand_from_another_directory_adds_its_own_children(copy: Path, tmp_path: Path) -> None:
    done = checkout.run(copy, "pipeline.train", "-m", "hidden_size=3,5", "iterations=1,3", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(len(names) for names in children(copy).values()) == [4, checkout.TRIALS + 1]
    assert not list(tmp_path.glob("*.db")) and len(list((copy / "launches").glob("*/sweep.csv"))) == 2 - 1


@pytest.mark.slow
def test_the_figures_go_to_the_sweep_that_they_are_of_not_to_a_newer_one(copy: Path) -> None:
    for command in (("pipeline.train", "-m", "hidden_size=3", "iterations=1,2"), ("pipeline.evaluate",)):
        done = checkout.run(copy, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    tracker = tracked.connect(copy)
    own = recorded.find_sweep(tracker.store, champion.sweep_key(copy))
    newest = recorded.find_sweep(tracker.store)
    assert own and newest and own != newest
    assert "test_accuracy" in tracker.store.client.get_run(own).data.metrics
    assert "test_accuracy" not in tracker.store.client.get_run(newest).data.metrics


def test_a_value_out_of_range_creates_no_run_and_no_directory(copy: Path) -> None:
    before = len(runs(copy)), sorted(path.name for path in (*copy.iterdir(), *(copy / "launches").rglob("*")))
    done = checkout.run(copy, "pipeline.train", "-m", "hidden_size=10,0")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: the command line: hidden_size is 0; allowed: a whole number from 1 to 10,000"
    after = len(runs(copy)), sorted(path.name for path in (*copy.iterdir(), *(copy / "launches").rglob("*")))
    assert after == before


def test_a_sweep_all_of_whose_trials_diverge_fails_in_words(copy: Path) -> None:
    done = checkout.run(copy, "pipeline.train", "-m", "learning_rate=1e6,1e7", "iterations=3")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: all 2 trials diverged; try smaller learning rates")
    assert "  2 diverged\n" in done.stdout


def test_a_trial_run_takes_a_few_images_and_its_log_says_how_it_went(copy: Path) -> None:
    done = checkout.run(copy, "pipeline.train", "+debug=fast")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("h0010-lr0.1-it00002-s0: accuracy ")
    [log] = (copy / "launches").glob("*/train.log")
    assert done.stdout.splitlines()[0] in log.read_text(encoding="utf-8")
    result = json.loads((log.parent / "h0010-lr0.1-it00002-s0" / "result.json").read_text(encoding="utf-8"))
    assert result["dataset"]["name"] == "mnist-5k, 300 images"


@pytest.mark.parametrize("flags", [("--help",), ("--cfg", "job"), ("--info",), ("-sc", "install=bash")])
def test_what_only_prints_makes_nothing(copy: Path, flags: tuple[str, ...]) -> None:
    before = sorted(path.name for path in (*copy.iterdir(), *(copy / "launches").rglob("*")))
    done = checkout.run(copy, "pipeline.train", *flags)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    assert sorted(path.name for path in (*copy.iterdir(), *(copy / "launches").rglob("*"))) == before


@pytest.mark.slow
def test_an_experiment_runs_train_onwards_only(copy: Path) -> None:
    done = checkout.run(copy, "dvc", "exp", "run", "-S", "sweep.hidden_size=[5]")
    assert done.returncode == 0, done.stdout + done.stderr
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert ran == ["train", "evaluate", "report"]


def test_the_champion_comes_out_the_same_when_it_is_trained_again_from_its_run(copy: Path) -> None:
    done = checkout.run(copy, "pipeline.replay", "champion")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("  weights.npz: same bytes\n  curves.csv: same bytes\nexact: the same bytes\n")


@pytest.mark.slow
def test_a_run_in_a_changed_tree_keeps_the_change_and_a_replay_names_it(copy: Path) -> None:
    description = copy / "data" / "processed" / "dataset.json"
    with (copy / "src" / "numnist" / "training" / "loop.py").open("a") as code:
        code.write("\nBLOCK_IMAGES = 300  # changed\n")
    (copy / "src" / "numnist" / "added.py").write_text("ADDED = True\n")
    assert checkout.run(copy, "pipeline.train", "hidden_size=3", "iterations=2").returncode == 0
    tracker = tracked.connect(copy)
    [run] = [one for one in runs(copy) if one.data.params.get("hidden_size") == "3"]
    changed = Path(tracker.store.client.download_artifacts(run.info.run_id, "provenance.diff")).read_text(
        encoding="utf-8"
    )
    assert (
        "+BLOCK_IMAGES = 300  # changed" in changed
        and "+ADDED = True" in changed
        and recorded.read_trial(tracker.store, run.info.run_id).tags["git.dirty"] == "true"
    )
    subprocess.run(["git", "checkout", "-q", "src"], cwd=copy, check=True)
    processed = description.read_text(encoding="utf-8")
    params = (copy / "params.yaml").read_text(encoding="utf-8")
    (copy / "params.yaml").write_text(params.replace("split_seed: 0", "split_seed: 1"), encoding="utf-8")
    assert checkout.run(copy, "pipeline.preprocess").returncode == 0
    assert description.read_text(encoding="utf-8") != processed
    done = checkout.run(copy, "pipeline.replay", run.info.run_id)
    assert done.returncode == 1 and "what could explain it:" in done.stdout, done.stdout + done.stderr
    for cause in ("other data: digest ", "other training code: "):
        assert cause in done.stdout
    assert "uncommitted changes then" in done.stdout and "uncommitted changes now" in done.stdout


@pytest.mark.parametrize(
    "run", ["sweep", *(pytest.param(run, marks=pytest.mark.slow) for run in ("0" * 32, "not an id"))]
)
def test_a_replay_of_what_is_no_trial_is_an_error(finished: Path, run: str) -> None:
    [sweep] = children(finished)
    done = checkout.run(finished, "pipeline.replay", sweep if run == "sweep" else run)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and "`make ui` shows" in done.stderr


def trained_by(copy: Path, *launcher: str) -> None:
    """Train anew some trials of the pipeline's, by another launcher, and compare every byte and their runs."""
    shutil.rmtree(copy / ".checkpoints")
    before = {run.info.run_id for run in runs(copy)}
    output = copy / "-".join(launcher).replace("/", "-")
    arguments = ("-m", "hidden_size=4,6", "learning_rate=0.5", "iterations=2,4", f"output='{output}'")
    done = checkout.run(copy, "pipeline.train", *arguments, *launcher)
    assert done.returncode == 0, done.stdout + done.stderr
    names = sorted(f"h000{h}-lr0.5-it0000{n}-s0" for h in (4, 6) for n in (2, 4))
    for name in names:
        for kept in ("weights.npz", "curves.csv", "result.json"):
            assert (output / name / kept).read_bytes() == (copy / "runs" / name / kept).read_bytes()
    new = [run for run in runs(copy) if run.info.run_id not in before]
    assert sorted(run.info.run_name for run in new) == names and {run.info.status for run in new} == {"FINISHED"}


@pytest.mark.slow
def test_other_launchers_give_the_same_bytes(copy: Path) -> None:
    hydras_own = "hydra.sweeper._target_=hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    trained_by(copy, "hydra/launcher=basic", hydras_own)


@pytest.mark.slow
def test_a_launcher_of_several_processes_gives_the_same_bytes(copy: Path) -> None:
    before = set((copy / "launches").iterdir())
    trained_by(copy, "hydra/launcher=joblib", "hydra.launcher.n_jobs=3")
    [output] = set((copy / "launches").iterdir()) - before
    assert sorted(path.name for path in output.iterdir() if path.is_dir()) == ["0", "1", "2", "3"]


def rot(copy: Path, name: str, old: bytes, new: bytes) -> None:
    """Change a file's object in DVC's cache, and take it out of there again."""
    digest = dvc_lock.md5(copy / name)
    kept = copy / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    content = kept.read_bytes()
    assert old in content
    kept.chmod(0o644)
    kept.write_bytes(content.replace(old, new))
    kept.chmod(0o444)
    (copy / name).unlink()
    assert checkout.run(copy, "dvc", "checkout").returncode == 0
    assert (copy / name).read_bytes() != content
    assert "up to date" in checkout.run(copy, "dvc", "status").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "out", "old", "new", "stage"),
    [
        pytest.param(
            "data/processed/dataset.json", "data/processed", b"}", b"", "train", marks=pytest.mark.slow, id="cut"
        ),
        pytest.param("sweep.csv", "sweep.csv", b",0.", b",0.9", "evaluate", id="edited"),
        pytest.param(
            "reports/metrics.json", "reports/metrics.json", b"0.", b"0.9", "report", marks=pytest.mark.slow, id="result"
        ),
    ],
)
def test_an_object_that_rots_in_dvcs_cache_is_refused_and_comes_back_by_the_remedy(
    copy: Path, name: str, out: str, old: bytes, new: bytes, stage: str
) -> None:
    made = {path: path.read_bytes() for path in copy.glob("reports/*.*")}
    lock = (copy / "dvc.lock").read_text()
    rot(copy, name, old, new)
    made.pop(copy / name, None)
    for command in (("dvc", "repro", "--force", "--single-item", stage), ("pipeline.run",)):
        refused = checkout.run(copy, *command)
        assert refused.returncode != 0 and "Traceback" not in refused.stderr
        assert f"error: {copy / out}: dvc.lock says that " in refused.stderr
        assert "DVC's cache is damaged" in refused.stderr and "up to date" not in refused.stdout
    assert all(path.read_bytes() == made[path] for path in made if path.exists())  # DVC removes a stage's own outs
    remedy = [line.strip() for line in refused.stderr.splitlines() if line.startswith("  ")]
    assert len(remedy) == 2
    for line in remedy:
        done = subprocess.run(line, shell=True, cwd=copy, env=checkout.environment(copy), capture_output=True)
        assert done.returncode == 0, done.stderr
    done = checkout.run(copy, "pipeline.run")
    assert done.returncode == 0 and "Everything is up to date." in done.stdout, done.stderr
    assert (copy / "dvc.lock").read_text().splitlines() == lock.splitlines()


@pytest.mark.slow
def test_a_zip_of_the_repository_runs_without_git_and_with_it_later(tmp_path: Path) -> None:
    directory = checkout.make(tmp_path / "zip", {name: values[:1] for name, values in checkout.SWEEP.items()})
    shutil.rmtree(directory / ".git")
    done = checkout.run(directory, "pipeline.run")
    assert done.returncode == 0 and "This is no git repository" in done.stdout, done.stdout + done.stderr
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "All"]):
        subprocess.run(["git", *command], cwd=directory, check=True)
    done = checkout.run(directory, "pipeline.run")
    assert done.returncode == 0 and "Everything is up to date." in done.stdout and "no git" not in done.stdout
    assert "no_scm" not in (directory / ".dvc" / "config.local").read_text(encoding="utf-8")
