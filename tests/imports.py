"""What the project's files import, read from their source."""

import ast
from pathlib import Path

from checkout import ROOT


def module_file(name: str) -> Path | None:
    for base in (ROOT, ROOT / "src"):
        for path in (base / f"{name.replace('.', '/')}.py", base / name.replace(".", "/") / "__init__.py"):
            if path.is_file():
                return path
    return None


def imported_by(path: Path) -> set[str]:
    """Every module that a file names in an import, at its top or inside a function, and those modules' packages."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {".".join(name.split(".")[: i + 1]) for name in names for i in range(name.count(".") + 1)}


def closure(start: Path) -> set[str]:
    """The project's own files that a file needs, itself among them, as paths below the root."""
    found: set[Path] = set()
    waiting = [start, ROOT / "pipeline" / "__init__.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [file for name in imported_by(path) if (file := module_file(name))]
    return {path.relative_to(ROOT).as_posix() for path in found}
