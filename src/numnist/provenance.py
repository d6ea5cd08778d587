"""Where a result comes from: commit, dirty tree, locked requirements. For MLflow, never for outs."""

import os
import subprocess
from pathlib import Path

from numnist import files


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
    """Return the difference between the tracked files and the commit, without dvc.lock, which a run writes itself."""
    return _git(root, "diff", "HEAD", "--", ".", ":!dvc.lock")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)  # noqa: S603, S607
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
