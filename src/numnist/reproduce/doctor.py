"""What somebody who is to help must know of a checkout: versions, paths, store, lock, what is stale, what to mend."""

import contextlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from numnist.common import dvc_lock, rwlock
from numnist.tracking import provenance, store

_SHOWN = ("numpy", "hydra-core", "mlflow", "dvc")
_GIB = 1 << 30


def examine(root: Path) -> Iterator[tuple[str, str]]:
    """Yield names and texts, each a line or two; a question that cannot be answered says why, and ends no other."""
    questions: dict[str, Callable[[Path], str]] = {
        "checkout": _checkout,
        "machine": _machine,
        "python": _python,
        "packages": _packages,
        "git": _git_identity,
        "store": _store,
        "stages": _stages,
        "outs": _outs,
        "settings": _settings,
    }
    for name, ask in questions.items():
        try:
            yield name, ask(root)
        except Exception as error:
            yield name, f"! {error or type(error).__name__}"


def _checkout(root: Path) -> str:
    found = provenance.describe(root)
    dirty = ", with changes that are not committed" if found.get("git.dirty") == "true" else ""
    return f"{root}, commit {found.get('git.commit', 'unknown')[:12]}{dirty}"


def _machine(root: Path) -> str:
    limit, memory = resource.getrlimit(resource.RLIMIT_AS)[0], psutil.virtual_memory().total
    limited = "" if limit == resource.RLIM_INFINITY else f" limited to {limit / _GIB:.1f} GiB (ulimit -v),"
    return (
        f"{platform.platform()}, {psutil.cpu_count()} cores, {memory / _GIB:.1f} GiB of memory,{limited} "
        f"{shutil.disk_usage(root).free / _GIB:.1f} GiB free on the disk"
    )


def _python(root: Path) -> str:
    return f"{platform.python_version()}, {sys.executable}"


def _packages(root: Path) -> str:
    """Compare what is installed with requirements.lock, as far as it is installed."""
    locked: dict[str, set[str]] = {}
    for name, wanted in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", (root / "requirements.lock").read_text("utf-8")):
        locked.setdefault(name, set()).add(wanted)  # more than one: another for each Python
    other = []
    for name, wanted in locked.items():
        with contextlib.suppress(PackageNotFoundError):
            if version(name) not in wanted:
                other.append(f"{name} {version(name)}")
    shown = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
    return f"{shown}\n! not as requirements.lock has them: {', '.join(other)}" if other else shown


def _git_identity(root: Path) -> str:
    if not provenance.has_git(root):
        return (
            "! no repository: `make run` works without, `dvc exp run` does not; "
            "`git init && git add -A && git commit`, then `make run`, which tells DVC"
        )
    name, mail = (_said(root, "git", "config", f"user.{what}") for what in ("name", "email"))  # "" if not set
    if not (name and mail):
        return (
            "! git does not know who you are: `dvc exp run` fails if a file has changes. Tell it once:\n"
            "  git config --global user.name NAME; git config --global user.email ADDRESS"
        )
    return f"{_said(root, 'git', '--version')}, commits as {name} <{mail}>"


def _store(root: Path) -> str:
    if given := os.environ.get("MLFLOW_TRACKING_URI"):
        return store.without_password(given)
    database = store.own_database(root)
    return f"{database}, {database.stat().st_size:,} bytes" if database.exists() else f"{database}, not made yet"


def _stages(root: Path) -> str:
    """Say which stages `dvc repro` would run."""
    if rwlock.is_cut_off(root):
        return f"! DVC was killed while it wrote {rwlock.NAME}, and refuses to start; `rm {rwlock.NAME}`, or `make run`"
    said = _said(root, sys.executable, "-m", "dvc", "status", "--json")
    if not said.startswith("{"):
        return f"! {said}"
    stale = json.loads(said)
    return f"to be run: {', '.join(stale)}" if stale else "up to date"


def _outs(root: Path) -> str:
    """Compare the files with dvc.lock, byte for byte, which `dvc status` does not."""
    if not (root / dvc_lock.NAME).exists():
        return "no dvc.lock"
    outs = dvc_lock.read(root / dvc_lock.NAME)
    dvc_lock.check(root, edits_allowed=True)
    return f"{sum((root / out).exists() for _, out in outs)} of {len(outs)} are there; no damage is seen"


def _settings(root: Path) -> str:
    """Name the variables that change what our commands do; their values may hold passwords."""
    ours = ("MLFLOW_", "NUMNIST_", "DVC_", "MNIST_", "OPENBLAS", "OMP_", "PYTHONPATH", "HYDRA_")
    given = psutil.Process().environ()  # without what this process has set itself
    return ", ".join(sorted(name for name in given if name.startswith(ours))) or "none"


def _said(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() or done.stderr.strip()
