"""A copy of this checkout with small parameters, as a git repository of its own, and a way to run its commands."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SWEEP = {"hidden_size": [4, 6], "learning_rate": [0.1, 0.5], "iterations": [2, 4], "seed": [0, 1]}
TRIALS = 16


def make(directory: Path, sweep: dict[str, list[object]] | None = None, data: str = "mnist-5k") -> Path:
    """Copy what git tracks, set the sample and a small sweep, and commit."""
    names = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if name.startswith(("tests/", "benchmarks/")) or not (ROOT / name).is_file() or name == "dvc.lock":
            continue
        copy = directory / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["data"]["name"] = data
    params["sweep"] = sweep or SWEEP
    (directory / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    for command in (
        ["init", "-q"],
        ["config", "user.name", "test"],
        ["config", "user.email", "test@example.org"],
        ["add", "-A"],
        ["commit", "-q", "-m", "A copy for tests"],
    ):
        subprocess.run(["git", *command], cwd=directory, check=True)
    return directory


@contextlib.contextmanager
def copy_of(finished: Path, directory: Path) -> Iterator[Path]:
    """Copy a checkout for a test to change, and delete the copy afterwards."""
    shutil.copytree(finished, directory, symlinks=True)
    yield directory
    shutil.rmtree(directory)


def run(directory: Path, *arguments: str, cwd: Path | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m ...` on a checkout, and wait until it has ended."""
    process = start(directory, "-m", *arguments, cwd=cwd, **more)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def start(
    directory: Path, *arguments: str, cwd: Path | None = None, prefix: tuple[str, ...] = (), **more: str
) -> "subprocess.Popen[str]":
    """Start Python on a checkout."""
    return subprocess.Popen(
        [*prefix, sys.executable, *arguments],
        cwd=cwd or directory,
        env=environment(directory, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environment(directory: Path, **more: str) -> dict[str, str]:
    """Return an environment with a checkout's commands, and with no tracking server and no mirror from outside."""
    ours = ("MLFLOW_", "MNIST_", "NUMNIST_", "DVC_")
    found = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(directory),
        "DVC_NO_ANALYTICS": "true",
    }
    return {name: value for name, value in (found | more).items() if value}  # an empty one is taken away
