"""dvc.yaml against what the stages' code really imports and reads."""

from pathlib import Path

import pytest
import yaml
from imports import closure

ROOT = Path(__file__).resolve().parent.parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
READ_BY_HYDRA = {  # what conf/config.yaml and the command of `train` name, beside imports
    "train": {
        "conf/config.yaml",
        "conf/executor/local.yaml",
        "conf/experiment/grid.yaml",
        "conf/experiment/note.yaml",
        "src/hydra_plugins/stacked_launcher/launcher.py",
    },
    "evaluate": {"conf/config.yaml", "conf/experiment/note.yaml", "src/numnist/tracking/pyfunc_model.py"},
}


def needed_code(stage: str) -> set[str]:
    """The files of ours that a stage's command imports, or that Hydra reads for it."""
    named = READ_BY_HYDRA.get(stage, set())
    return closure(ROOT / "pipeline" / f"{stage}.py").union(
        named, *(closure(ROOT / path) for path in named if path.endswith(".py"))
    )


def declared(stage: str, path: str) -> bool:
    """Whether a file or a folder above it is among a stage's deps."""
    return any(path == dep or path.startswith(f"{dep}/") for dep in STAGES[stage]["deps"])


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_imports_is_among_its_deps(stage: str) -> None:
    missing = {path for path in needed_code(stage) if not declared(stage, path) and path != "src/numnist/__init__.py"}
    assert not missing


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_a_dozen_deps_at_most(stage: str) -> None:
    assert len(STAGES[stage]["deps"]) <= 12


def test_only_evaluate_depends_on_the_test_set() -> None:
    readers = {name for name, stage in STAGES.items() if any(dep in ("data", "data/test.npz") for dep in stage["deps"])}
    assert readers == {"evaluate"}


def test_every_file_that_a_stage_needs_is_a_whole_out_of_another_or_tracked() -> None:
    """A part of an out is no dep: in a fresh clone, `dvc exp run` looks for it in the out as it is committed."""
    made = {
        out if isinstance(out, str) else next(iter(out))
        for stage in STAGES.values()
        for kind in ("outs", "metrics")
        for out in stage.get(kind, [])
    }
    for stage in STAGES.values():
        for dep in stage["deps"]:
            part = any(dep.startswith(f"{out}/") for out in made)
            assert dep in made or ((ROOT / dep).exists() and not part), dep


@pytest.mark.parametrize("stage", ["fetch", "preprocess", "train", "evaluate", "report"])
def test_a_stage_says_what_it_does_where_to_read_on_and_what_its_outs_are(stage: str) -> None:
    described = STAGES[stage]
    assert described["desc"] and described["meta"]["takes"] and (ROOT / described["meta"]["code"]).is_file()
    for out in [*described["outs"], *described.get("metrics", [])]:
        assert isinstance(out, dict) and (next(iter(out.values())).get("desc") or "persist" in str(out)), out
