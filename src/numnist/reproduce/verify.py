"""Whether two runs of the pipeline made the same: the same bytes, else numbers that are close, else something other."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from numnist.common import files
from numnist.common.dvc_lock import Outs

SAME, CLOSE, DIFFERENT = "same bytes", "within tolerance", "differs"
TOLERANCE = 1e-2  # of a relative difference; docs/reproducibility.md says what was measured


@dataclass(frozen=True)
class Difference:
    """How far a file is from another: the largest relative difference of its numbers, infinite if there is none."""

    verdict: str
    relative: float = 0.0
    where: str = ""


@dataclass(frozen=True)
class Finding:
    """What came of one out of a stage."""

    stage: str
    out: str
    difference: Difference


def compare(expected: Outs, got: Outs, expected_root: Path, got_root: Path) -> list[Finding]:
    """Compare the outs of two locks by their hashes and, if these differ, the files that lie below the two roots."""
    findings = []
    for stage, out in {**expected, **got}:
        hashes = expected.get((stage, out)), got.get((stage, out))
        if hashes[0] == hashes[1]:
            difference = Difference(SAME)
        elif None in hashes:
            difference = Difference(DIFFERENT, math.inf, "only one of the two runs makes it")
        else:
            difference = compare_paths(expected_root / out, got_root / out)
        if difference.verdict == SAME and hashes[0] != hashes[1]:
            difference = Difference(DIFFERENT, math.inf, "this checkout's file is not the one that its dvc.lock names")
        findings.append(Finding(stage, out, difference))
    return findings


def compare_paths(expected: Path, got: Path) -> Difference:
    """Compare two files, or two directories file by file, and return what differs most."""
    if not (expected.is_dir() and got.is_dir()):
        return _compare_files(expected, got)
    names = sorted({path.relative_to(root) for root in (expected, got) for path in root.rglob("*") if path.is_file()})
    found = {name: _compare_files(expected / name, got / name) for name in names}
    other = {name: one for name, one in found.items() if one.verdict != SAME}
    if not other:
        return Difference(SAME)
    name, worst = max(other.items(), key=lambda item: (item[1].verdict == DIFFERENT, item[1].relative))
    where = f"{len(other)} of {len(names)} files, most in {name.as_posix()}: {worst.where}"
    return Difference(worst.verdict, worst.relative, where)


def table(findings: Sequence[Finding]) -> str:
    """Lay findings out in lines: stage, out, verdict, largest relative difference, where."""
    rows = [("stage", "out", "verdict", "largest relative difference")]
    for one in findings:
        found = one.difference
        number = f"{found.relative:.1e}  " if math.isfinite(found.relative) else ""
        rows.append((one.stage, one.out, found.verdict, "" if found.verdict == SAME else number + found.where))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[3]]).rstrip() for row in rows)


def _compare_files(expected: Path, got: Path) -> Difference:
    for path in (expected, got):
        if not path.is_file():
            return Difference(DIFFERENT, math.inf, f"{path} does not exist")
    if expected.read_bytes() == got.read_bytes():
        return Difference(SAME)
    try:
        leaves, others = _values(expected), _values(got)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes surface as a dozen types
        return Difference(DIFFERENT, math.inf, f"cannot be read: {error}")
    if leaves.keys() != others.keys():
        return Difference(DIFFERENT, math.inf, f"only one has {', '.join(sorted(leaves.keys() ^ others.keys()))}")
    relative = {name: _relative(leaves[name], others[name]) for name in leaves}
    worst = max(relative, key=lambda name: relative[name], default="")
    number = relative.get(worst, 0.0)
    return Difference(CLOSE if number <= TOLERANCE else DIFFERENT, number, worst)


def _relative(a: Any, b: Any) -> float:
    """Return the largest difference of two arrays of numbers in parts of the largest number; texts are equal or not."""
    if isinstance(a, str) or isinstance(b, str):
        return 0.0 if isinstance(a, str) and isinstance(b, str) and a == b else math.inf
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return math.inf
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    largest = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return float(np.abs(a - b).max(initial=0) / largest) if largest else 0.0


def _values(path: Path) -> dict[str, Any]:
    """Return what a file holds by names: float64 arrays, and texts. Of a kind without numbers, its hash."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name].astype(np.float64) for name in archive.files}
    if path.suffix == ".csv":
        return {name: _column(column) for name, column in pd.read_csv(path).items()}
    if path.suffix == ".json":
        return dict(_flat(json.loads(path.read_text(encoding="utf-8")), ""))
    return {"its bytes": files.sha256(path)}


def _column(column: pd.Series) -> Any:
    """Return a CSV's column as numbers, an empty place as NaN; else as one text."""
    return column.to_numpy(np.float64) if column.dtype.kind in "iuf" else "\n".join(column.astype(str))


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield what JSON holds, by the path of keys that leads there."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key != "key":
                yield from _flat(one, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from _flat(one, f"{name}[{i}]")
    else:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        yield name, np.array(value, np.float64) if number else repr(value)
