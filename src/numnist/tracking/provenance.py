"""Where a result comes from: commit, dirty tree, locked requirements. For MLflow, never for outs."""

import os
import subprocess
from pathlib import Path

from numnist.common import files

_CODE = ("src", "pipeline", "conf")


def tags(root: Path) -> dict[str, str]:
    """Return what identifies the code of a checkout; what cannot be told (no git, no repository) is left out."""
    found = {"git.commit": _git(root, "rev-parse", "HEAD").strip()}
    if found["git.commit"]:
        found["git.dirty"] = str(bool(diff(root))).lower()
    lock = root / "requirements.lock"
    if lock.exists():
        found["requirements.sha256"] = files.sha256(lock)
    if experiment := os.environ.get("DVC_EXP_NAME"):
        found["dvc.experiment"] = experiment
    return {name: value for name, value in found.items() if value}


def diff(root: Path) -> str:
    """Return how a checkout differs from its commit: tracked files, and code that is not tracked yet.

    Left out is dvc.lock, which a run writes itself.
    """
    added = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *_CODE).split("\0")
    new = (_git(root, "diff", "--no-index", "--", os.devnull, name) for name in added if name)
    return "".join([_git(root, "diff", "HEAD", "--", ".", ":!dvc.lock"), *new])


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints, nothing where it fails; a `diff --no-index` that finds a difference exits with 1."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)  # noqa: S603, S607
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode in (0, 1) else ""
