"""Where a result comes from: commit, dirty tree, locked requirements. For MLflow, never for outs."""

import contextlib
import getpass
import os
import subprocess
import sys
from pathlib import Path

from numnist.common import files

_CODE = ("src", "pipeline", "conf")


def describe(root: Path) -> dict[str, str]:
    """Return what identifies the code of a checkout; what is not known (no git, no repository) is left out."""
    found = {"git.commit": _git(root, "rev-parse", "HEAD").strip()}
    if found["git.commit"]:
        found["git.dirty"] = str(bool(diff(root))).lower()
    lock = root / "requirements.lock"
    if lock.exists():
        found["requirements.sha256"] = files.sha256(lock)
    if experiment := os.environ.get("DVC_EXP_NAME"):
        found["dvc.experiment"] = experiment
    return {name: value for name, value in found.items() if value}


def has_git(root: Path) -> bool:
    """Whether a checkout is, or lies in, a git repository."""
    return bool(_git(root, "rev-parse", "--git-dir"))


def standard_tags(root: Path) -> dict[str, str]:
    """Return the tags that MLflow's pages show as who made a run, by what, from which commit."""
    from mlflow.utils.credentials import read_mlflow_creds

    source = Path(sys.argv[0])
    with contextlib.suppress(ValueError):
        source = source.resolve().relative_to(root.resolve())
    user = read_mlflow_creds().username  # MLFLOW_TRACKING_USERNAME
    with contextlib.suppress(OSError, KeyError, ImportError):  # a container may know no name
        user = user or getpass.getuser()
    commit = _git(root, "rev-parse", "HEAD").strip()
    found = {
        "mlflow.user": user or "unknown",
        "mlflow.source.name": source.as_posix(),
        "mlflow.source.type": "LOCAL",
        "mlflow.project.entryPoint": source.stem,
    }
    return {**found, **({"mlflow.source.git.commit": commit} if commit else {})}


def pushed_commit(root: Path) -> str:
    """Return the commit of the branch's upstream (without one: HEAD) if it holds this dvc.lock, else ""."""
    commit = (_git(root, "rev-parse", "--quiet", "--verify", "@{upstream}") or _git(root, "rev-parse", "HEAD")).strip()
    theirs = _git(root, "rev-parse", "--quiet", "--verify", f"{commit}:./dvc.lock")
    return commit if theirs and theirs == _git(root, "hash-object", "dvc.lock") else ""


def is_ancestor(root: Path, earlier: str, later: str) -> bool:
    """Whether a commit comes before another, or is the same; not so for one that this clone does not have."""
    return _git(root, "merge-base", earlier, later).strip() == earlier


def diff(root: Path) -> str:
    """Return how a checkout differs from its commit: tracked files, and code that is not tracked yet.

    Left out is dvc.lock, which a run writes itself.
    """
    added = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *_CODE).split("\0")
    new = (_git(root, "diff", "--no-index", "--", os.devnull, name) for name in added if name)
    return "".join([_git(root, "diff", "HEAD", "--", ".", ":!dvc.lock"), *new])


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints, nothing if it fails; a `diff --no-index` that finds a difference exits with 1."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)  # noqa: S603, S607
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode in (0, 1) else ""
