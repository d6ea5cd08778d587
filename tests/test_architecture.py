"""Which way imports point, what our code never does, and that README names what there is."""

import ast
import re
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from imports import imported_by

SOURCE = ROOT / "src" / "numnist"
LIBRARY = sorted(SOURCE.rglob("*.py"))
OURS = [*LIBRARY, *sorted((ROOT / "src" / "hydra_plugins").rglob("*.py")), *sorted((ROOT / "pipeline").glob("*.py"))]
MAY_IMPORT = {  # each package, or module that stands alone, and what else of ours it may import
    "common": set(),
    "config": {"common"},
    "exact": {"common"},
    "network": {"exact"},
    "data": {"common", "config"},
    "tracking": {"common", "network"},
    "training": {"common", "config", "data", "exact", "network", "tracking"},
    "evaluation": {"common", "config", "data", "network", "training"},
    "inference": {"common", "network", "tracking"},
    "reproduce": {"common", "config", "data", "tracking", "training"},
    "report": {"common", "config", "tracking", "training"},
}
USERS = {  # who may import a tool, as packages or files
    "mlflow": {"tracking", "inference/model_server"},
    "hydra": {"config/overrides"},
    "omegaconf": {"config"},
    "dvc": set(),
}


def place(path: Path) -> str:
    """A file's place in the library, such as `training/loop`."""
    return path.relative_to(SOURCE).with_suffix("").as_posix()


def package(path: Path) -> str:
    return place(path).partition("/")[0]


def own_imports(path: Path) -> set[str]:
    """The packages of ours that a file imports, its own aside."""
    return {name.split(".")[1] for name in imported_by(path) if name.startswith("numnist.")} - {package(path)}


def top_level_packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_by(path)} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_imports_point_one_way(path: Path) -> None:
    assert own_imports(path) <= MAY_IMPORT.get(package(path), set())


@pytest.mark.parametrize("name", sorted({package(path) for path in LIBRARY if path.parent != SOURCE}))
def test_a_package_says_what_it_is_for_what_it_may_import_and_where_to_start(name: str) -> None:
    text = ast.get_docstring(ast.parse((SOURCE / name / "__init__.py").read_text(encoding="utf-8"))) or ""
    [told] = re.findall(r"May import: ([^.]+)\.", text)
    assert {name for name in told.split(", ") if name != "nothing of ours"} == MAY_IMPORT[name]
    assert "Start reading in" in text
    for start in re.findall(r"`(\w+\.py)`", text):
        assert (SOURCE / name / start).is_file(), start


def test_the_network_imports_numpy_alone() -> None:
    assert top_level_packages(SOURCE / "network.py") <= {"numpy", "numnist"}
    assert own_imports(SOURCE / "network.py") <= {"exact"}


def test_importing_the_package_imports_nothing() -> None:
    assert not imported_by(ROOT / "src" / "numnist" / "__init__.py")


@pytest.mark.parametrize("tool", USERS)
def test_a_tool_is_imported_in_its_own_place_alone(tool: str) -> None:
    places = {place(path) for path in LIBRARY if tool in top_level_packages(path)}
    assert {name for name in places if not {name, name.partition("/")[0]} & USERS[tool]} == set()


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
    named = set(re.findall(r"(?m)(?:`|^)make ([a-z]+)\b", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert targets == named


def test_every_promise_of_the_same_bits_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "reproducibility.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    written = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
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


def test_every_promise_of_reliability_names_tests_that_there_are() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")))
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named and named <= set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
