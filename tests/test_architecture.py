"""Which way imports point, what our code never does, and that README names what there is."""

import ast
import re
import sys
from pathlib import Path

import pytest
from test_dvc import ROOT, imported_by

LIBRARY = sorted((ROOT / "src" / "numnist").glob("*.py"))
OURS = [*LIBRARY, *sorted((ROOT / "src" / "hydra_plugins").rglob("*.py")), *sorted((ROOT / "pipeline").glob("*.py"))]
LAYERS = [  # a module imports from its own line or from those above it
    {"errors"},
    {"files", "config", "numerics", "progress", "provenance", "threads", "verification"},
    {"network", "idx", "statistics", "figures", "png"},
    {"dataset", "fetching", "blocks", "kaggle", "pictures", "prediction", "descent"},
    {"minibatches"},
    {"training"},
    {"results", "cells"},
    {"stacks"},
    {"sweep", "tracking", "selection", "served"},
    {"executors"},
    {"champion", "experiment", "evaluation", "plots", "replay", "serving"},
    {"report", "published"},
]


def own_imports(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported_by(path) if name.startswith("numnist.") and name.count(".") == 1}


def top_level_packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_by(path)} - set(sys.stdlib_module_names)


def test_every_module_has_its_layer() -> None:
    assert {path.stem for path in LIBRARY} - {"__init__"} == set().union(*LAYERS)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_imports_point_one_way(path: Path) -> None:
    layer = next((i for i, names in enumerate(LAYERS) if path.stem in names), 0)
    allowed = set().union(*LAYERS[: layer + 1])
    assert own_imports(path) <= allowed


def test_the_network_imports_numpy_alone() -> None:
    assert top_level_packages(ROOT / "src" / "numnist" / "network.py") == {"numpy"}


def test_importing_the_package_imports_nothing() -> None:
    assert not imported_by(ROOT / "src" / "numnist" / "__init__.py")


@pytest.mark.parametrize(
    ("package", "users"),
    [("mlflow", {"tracking", "served", "serving"}), ("hydra", set()), ("omegaconf", set()), ("dvc", set())],
)
def test_a_tool_is_imported_in_its_own_place_alone(package: str, users: set[str]) -> None:
    assert {path.stem for path in LIBRARY if package in top_level_packages(path)} == users


@pytest.mark.parametrize("path", OURS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_our_code_neither_unpickles_nor_evaluates_nor_starts_a_shell(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"), called
            assert called != "yaml.load" or ast.unparse(node.args[1]) == "_StrictLoader", (
                "yaml.load without a safe loader"
            )
            for keyword in node.keywords:
                told = f"{keyword.arg}={ast.unparse(keyword.value)}"
                assert told not in ("shell=True", "allow_pickle=True", "verify=False"), told
    assert not {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"} & {
        name.split(".")[0] for name in imported_by(path)
    }


def test_readme_names_every_target_and_every_target_is_named() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert targets - {"help"} == named


def test_every_promise_of_the_same_bits_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "reproducibility.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    written = {
        node.name
        for path in (ROOT / "tests").glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert named and named <= written, named - written


def test_readme_names_what_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for module in re.findall(r"python -m pipeline\.(\w+)", text):
        assert (ROOT / "pipeline" / f"{module}.py").is_file(), module
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link
    library = {path.stem for path in LIBRARY} - {"__init__", "progress", "provenance", "experiment"}
    assert library <= set(re.findall(r"`(\w+)`", text))


def test_every_promise_of_reliability_names_tests_that_there_are() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")))
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    assert named and named <= set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
