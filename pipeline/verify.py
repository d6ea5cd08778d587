"""Repeat the pipeline in a fresh clone of HEAD and compare with dvc.lock: `python -m pipeline.verify [--quick]`.

--quick takes the packaged sample and a small sweep; nothing is committed about those, so they are run twice, in two
clones, and the second time on one core. Exit 0 only if every out has the same bytes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from numnist.common import dvc_lock, processes
from numnist.common.errors import DataError
from numnist.config import cli
from pipeline import ROOT

if TYPE_CHECKING:
    from numnist.reproduce.verify import Finding

QUICK_SWEEP = {"hidden_size": [8, 12], "learning_rate": [0.1, 0.5], "iterations": [5, 20], "seed": [0, 1]}
_OURS = ("MLFLOW_", "NUMNIST_", "DVC_", "GIT_", "PROJECT_ROOT", "PYTHONPATH")  # would lead a clone out of itself


def main() -> None:
    """Print a table of what is the same."""
    from numnist.reproduce import verify

    parser = argparse.ArgumentParser("python -m pipeline.verify", description="Does a fresh clone make the same bytes?")
    parser.add_argument("--quick", action="store_true", help="two runs on the packaged sample, against each other")
    quick = parser.parse_args().quick
    head = _git(ROOT, "rev-parse", "HEAD").strip()
    if _git(ROOT, "status", "--porcelain"):
        print("There are uncommitted changes: they are left out, and the last commit (HEAD) is verified.")
    print(f"Verifying {head[:12]} in {'two fresh clones' if quick else 'a fresh clone'}", flush=True)
    with tempfile.TemporaryDirectory(prefix="numnist-verify-") as directory:
        findings = (repeat_twice if quick else repeat)(Path(directory), head)
    print(f"\n{verify.table(findings)}\n")
    differing = [one for one in findings if one.difference.verdict != verify.SAME]
    if differing:
        print(
            f"{len(differing)} of {len(findings)} are not the same bytes; docs/reproducibility.md says what is promised"
        )
        raise SystemExit(1)
    print("Everything has the same bytes.")


def repeat(directory: Path, head: str) -> "list[Finding]":
    """Run the pipeline in a clone and compare it with the committed dvc.lock."""
    from numnist.reproduce import verify

    clone = _clone(head, directory / "clone")
    lock = clone / dvc_lock.NAME
    if not lock.exists():
        raise DataError(
            f"{ROOT}: the last commit has no {dvc_lock.NAME} to compare with; run `dvc repro`, then "
            f"`git add {dvc_lock.NAME}` and `git commit`"
        )
    expected, written = dvc_lock.read(lock), lock.read_bytes()
    _reproduce(clone)
    findings = verify.compare(expected, dvc_lock.read(lock), ROOT, clone)
    return [*findings, _whole_lock(lock.read_bytes() == written)]


def repeat_twice(directory: Path, head: str) -> "list[Finding]":
    """Run the pipeline on the sample in two clones, the second on one core, and compare the two."""
    from numnist.reproduce import verify

    clones = [_clone(head, directory / name) for name in ("one", "another path")]
    for clone, cores in zip(clones, (None, 1)):
        params = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))
        params["data"]["name"], params["sweep"] = "mnist-5k", QUICK_SWEEP
        (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        _reproduce(clone, cores)
    one, other = (clone / dvc_lock.NAME for clone in clones)
    findings = verify.compare(dvc_lock.read(one), dvc_lock.read(other), *clones)
    return [*findings, _whole_lock(one.read_bytes() == other.read_bytes())]


def _whole_lock(same: bool) -> "Finding":
    from numnist.reproduce.verify import DIFFERENT, SAME, Difference, Finding

    where = "" if same else "beside outs it holds the hashes of code and values: was it made from this commit?"
    return Finding("all", dvc_lock.NAME, Difference(SAME if same else DIFFERENT, 0 if same else float("inf"), where))


def _clone(head: str, directory: Path) -> Path:
    """Clone this checkout's commit, with nothing of what git does not track."""
    _git(ROOT, "clone", "--quiet", "--no-checkout", str(ROOT), str(directory))
    _git(directory, "checkout", "--quiet", "--detach", head)
    return directory


def _reproduce(clone: Path, cores: int | None = None) -> None:
    """Run every stage in a clone, whatever is up to date, with caches and tracking of its own."""
    environment = _clean() | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "true",
    }
    for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):  # may name a cache that checkouts share
        environment[f"DVC_{name}_DIR"] = str(clone.parent / "dvc" / name)
    given, ours = os.environ.get("MNIST_MIRROR"), ROOT / "data" / "raw" / cli.params().data.name
    if given and Path(given).exists():
        environment["MNIST_MIRROR"] = str(Path(given).resolve())
    elif not given and ours.is_dir():
        environment["MNIST_MIRROR"] = str(ours)
    chosen = sorted(os.sched_getaffinity(0))[:cores] if hasattr(os, "sched_getaffinity") else None
    pin = (lambda: os.sched_setaffinity(0, chosen)) if chosen else None
    command = [sys.executable, "-m", "dvc", "repro", "--force"]
    if code := processes.run(command, cwd=clone, env=environment, preexec_fn=pin):
        raise DataError(f"`dvc repro --force` failed in the clone, exit {code}; its messages stand above")


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(directory), *arguments],  # noqa: S607
            env=_clean(),
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise DataError(f"git cannot be started ({error}); verifying clones this checkout with it") from None
    if done.returncode:
        raise DataError(f"`git {' '.join(arguments)}` failed in {directory}: {done.stderr.strip()}")
    return done.stdout


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


if __name__ == "__main__":
    cli.run(main)
