"""Train one tracked trial again and compare: `python -m pipeline.replay RUN_ID`, or `champion` for the registered one.

Nothing is taken from the store of trials.
Exit 0 only if weights and curves have the same bytes.
"""

import argparse
import tempfile
from pathlib import Path

from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Print whether the trial came out the same, and if not, why."""
    parser = argparse.ArgumentParser(
        "python -m pipeline.replay", description="Train a tracked trial again and compare."
    )
    parser.add_argument("run", help="an MLflow run id of a trial, or champion")
    arguments = parser.parse_args()

    from numnist.data import dataset
    from numnist.reproduce import replay, verify
    from numnist.tracking import champion, recorded, registry, runs
    from numnist.training import session

    tracker = runs.connect(ROOT)
    run_id = arguments.run
    if run_id == registry.CHAMPION:
        found = champion.champion(tracker, ROOT)
        print(f"replaying {found.words}")
        run_id = found.run_id
    trial = recorded.read_trial(tracker.store, run_id)
    data = dataset.load(ROOT / "data" / "processed")
    with tempfile.TemporaryDirectory(prefix="numnist-replay-") as directory:
        artifacts = Path(directory, "artifacts")
        artifacts.mkdir()
        recorded.copy_files(tracker.store, trial, artifacts)
        again = replay.replay(trial, artifacts, data, session.describe_origin(ROOT), Path(directory))
    print(f"{trial.name}, run {trial.run_id}, commit {trial.tags.get('git.commit', 'unknown')}")
    for name, one in again.differences.items():
        number = "" if one.verdict == verify.SAME else f", largest relative difference {one.relative:.1e} {one.where}"
        print(f"  {name}: {one.verdict}{number}")
    if again.worst.verdict == verify.SAME:
        print("exact: the same bytes")
        return
    print(f"{again.worst.verdict}; what could explain it:")
    nothing = "nothing that is recorded: its files were changed in the store, or numnist has a defect"
    for cause in again.causes or [nothing]:
        print(f"  {cause}")
    raise SystemExit(1)


if __name__ == "__main__":
    cli.run(main)
