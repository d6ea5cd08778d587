"""dvc.yaml against what the stages' code really imports and reads."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
READ_BY_HYDRA = {  # what conf/config.yaml and the command of `train` name, beside imports
    "train": {
        "conf/config.yaml",
        "conf/executor/local.yaml",
        "conf/experiment/grid.yaml",
        "conf/experiment/note.yaml",
        "src/hydra_plugins/stacked_launcher/launcher.py",
    },
    "evaluate": {"conf/config.yaml", "conf/experiment/note.yaml", "src/numnist/served.py"},
}


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


def needed_code(stage: str) -> set[str]:
    named = READ_BY_HYDRA.get(stage, set())
    files = closure(ROOT / "pipeline" / f"{stage}.py") | named
    for path in named:
        if path.endswith(".py"):
            files |= closure(ROOT / path) | {str(Path(path).with_name("__init__.py"))}
    return files


def declared_code(stage: str) -> set[str]:
    files = set()
    for dep in STAGES[stage]["deps"]:
        path = ROOT / dep
        if dep.startswith(("src/", "pipeline/", "conf/")):
            files |= (
                {
                    p.relative_to(ROOT).as_posix()
                    for p in path.rglob("*")
                    if p.is_file() and "__pycache__" not in p.parts
                }
                if path.is_dir()
                else {dep}
            )
    return files


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_that_it_uses(stage: str) -> None:
    needed, declared = needed_code(stage), declared_code(stage)
    templates = {name for name in declared if "/templates/" in name}
    assert declared - templates == needed, f"missing {needed - declared}, too many {declared - needed - templates}"


def test_only_evaluate_depends_on_the_test_set() -> None:
    readers = {
        name
        for name, stage in STAGES.items()
        if any("test.npz" in dep or dep in ("data", "data/processed") for dep in stage["deps"])
    }
    assert readers == {"evaluate"}


def test_every_file_that_a_stage_needs_is_made_by_another_or_tracked() -> None:
    made = {
        out if isinstance(out, str) else next(iter(out))
        for stage in STAGES.values()
        for kind in ("outs", "metrics")
        for out in stage.get(kind, [])
    }
    for stage in STAGES.values():
        for dep in stage["deps"]:
            assert dep in made or (ROOT / dep).exists(), dep
