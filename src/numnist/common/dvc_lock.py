"""What dvc.lock says that the stages made, and whether that is what lies there.

DVC trusts the objects in its cache: it does not look into them again. So one that rots comes back as it is, and
`dvc status` calls it up to date. Here the bytes are hashed.
"""

import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from numnist.common.errors import DataError
from numnist.common.files import MAKE

NAME = "dvc.lock"

_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")

Outs = Mapping[tuple[str, str], str]  # the MD5 of each out, by stage and path


def read(path: Path) -> Outs:
    """Read the outs of a dvc.lock, in its order."""
    return {(name, out["path"]): out["md5"] for name, stage in read_stages(path).items() for out in stage["outs"]}


def read_stages(path: Path) -> dict[str, Any]:
    """Read the stages of a dvc.lock, as DVC writes them; DataError if it is damaged."""
    try:
        stages: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
        outs = {(name, out["path"]): out["md5"] for name, stage in stages.items() for out in stage["outs"]}
        if cut_off := [md5 for md5 in outs.values() if not _MD5.fullmatch(md5)]:
            raise ValueError(f"{cut_off[0]} is no MD5")
        return stages
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; {MAKE}") from None
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise DataError(
            f"{path} is not a lock of DVC ({reason}); `git checkout HEAD dvc.lock` brings the committed one back. "
            "Without one, remove it: the stages run again, and no trial is trained twice"
        ) from None


def md5(path: Path) -> str:
    """Return the MD5 of a file, or of a directory's listing, as DVC has them; "" for nothing.

    What Python keeps beside the source, __pycache__, is left out, as .dvcignore says.
    """
    if path.is_dir():
        members = (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        listed = [{"md5": md5(file), "relpath": file.relative_to(path).as_posix()} for file in members]
        text = json.dumps(sorted(listed, key=lambda member: member["relpath"]), sort_keys=True)
        return _md5(text.encode()) + ".dir"
    return _md5(path.read_bytes()) if path.exists() else ""


def check(root: Path, needed: Iterable[str] | None = None, *, edits_allowed: bool = False) -> None:
    """Refuse an out that is not what dvc.lock says; DataError names what to remove, and the command to give then.

    `needed` are the paths that matter, in an out or above one; all, if it is None. An out that dvc.lock does not know
    is not checked. With `edits_allowed` only damage in DVC's cache is refused: `dvc repro` sees the rest itself.
    """
    if not (root / NAME).exists() or needed == []:
        return
    paths = None if needed is None else [Path(name) for name in needed]
    for (stage, out), expected in read(root / NAME).items():
        matters = paths is None or any(path.is_relative_to(out) or Path(out).is_relative_to(path) for path in paths)
        if not matters or (got := md5(root / out)) == expected or (edits_allowed and not got):
            continue
        rotten = list(_rotten(_cache(root), expected))
        if rotten or not edits_allowed:
            found = f"has the MD5 {got}" if got else "does not exist"
            why = (
                "DVC's cache is damaged. Remove what is wrong" if rotten else "Remove it, if it is not meant to differ"
            )
            remove = shlex.join(["rm", "-rf", *map(str, rotten), str(root / out)])
            raise DataError(
                f"{root / out}: {NAME} says that {stage} made it with the MD5 {expected}, but it {found}. "
                f"{why}, and it is made anew:\n  {remove}\n  dvc repro"
            )


def _cache(root: Path) -> Path:
    """Return where DVC keeps the objects of a checkout."""
    asked = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], cwd=root, capture_output=True, text=True)
    return Path(asked.stdout.strip(), "files", "md5")


def _rotten(cache: Path, expected: str) -> Iterator[Path]:
    """Yield the objects of an out in DVC's cache whose bytes are not those that they are named for."""
    place = cache / expected[:2] / expected[2:]
    if not place.is_file():
        return
    if _md5(place.read_bytes()) != expected.removesuffix(".dir"):
        yield place
    elif expected.endswith(".dir"):
        for member in json.loads(place.read_bytes()):
            yield from _rotten(cache, member["md5"])


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
