"""The commands in README.md and docs/, run as they stand by somebody who has nothing of ours in the environment.

A block of `sh` that is not to be run has a comment on the line before it that says why: <!-- not run: why -->.
All other blocks of a page are typed into one shell at the top of a checkout in which README's first command, `make
run`, has been run on the sample and a small sweep.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import checkout
import pytest

ROOT = checkout.ROOT
OTHERS = {"docs/recipes.md", "docs/team.md"}  # have tests of their own, which also apply differences, start servers
LONG = {"docs/reproducibility.md", "docs/search.md"}  # train most; .ci/run repeats the pipeline itself
FILES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"(?ms)(?:^<!-- not run: (?P<why>[^\n]*) -->\n)?^```sh\n(?P<commands>.*?)^```$")
SWEEP: dict[str, list[object]] = {"hidden_size": [4, 6], "learning_rate": [0.5], "iterations": [2, 4], "seed": [0]}

# A python that makes .venv at once, out of the packages that are here, where `make` asks for one.
PYTHON = f"""#!/bin/sh
if [ "$1 $2" != "-m venv" ]; then exec {sys.executable} "$@"; fi
{sys.executable} -m venv --without-pip .venv
{sys.executable} -c 'import site; print(*site.getsitepackages())' > "$(echo .venv/lib/python*/site-packages)/here.pth"
for name in dvc mlflow mypy pytest ruff; do
  printf '#!/bin/sh\\nexec "%s/python" -m %s "$@"\\n' "$PWD/.venv/bin" "$name" > ".venv/bin/$name"
done
printf '#!/bin/sh\\n' > .venv/bin/pip
chmod +x .venv/bin/*
"""


def blocks(name: str) -> list[re.Match[str]]:
    return list(BLOCK.finditer((ROOT / name).read_text(encoding="utf-8")))


def type_(commands: str, directory: Path) -> str:
    """Type commands into a new user's shell, to be successful; return what they print."""
    home = directory.parent / "home"
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@example.org\n")  # README asks for it
    environment = {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    command = ["bash", "-e", "-o", "pipefail", "-c", commands]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A fresh checkout in which `make` has installed the packages."""
    directory = checkout.make(tmp_path / "numnist", SWEEP)
    subprocess.run(["git", "config", "--remove-section", "user"], cwd=directory, check=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tests", directory / "tests", ignore=ignored)
    subprocess.run(["git", "add", "tests"], cwd=directory, check=True)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    command = ["make", f"PYTHON={python}", ".venv/.installed"]
    subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
    return directory


@pytest.mark.parametrize("name", [name for name in FILES if name not in OTHERS])
def test_every_block_of_commands_is_read_by_the_tests_that_run_them(name: str) -> None:
    assert len(blocks(name)) == len(
        re.findall(r"(?m)^ *```(sh|bash|shell|console)\b", (ROOT / name).read_text("utf-8"))
    )
    assert all(block["why"] is None or len(block["why"].split()) > 2 for block in blocks(name))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.soak if name in LONG else pytest.mark.slow)
        for name in FILES
        if name not in OTHERS and any(block["why"] is None for block in blocks(name))
    ],
)
def test_commands_run_as_they_stand(name: str, copy: Path) -> None:
    type_("make run && git add dvc.lock && git commit -qm 'The results'", copy)
    active = "" if name == "README.md" else "source .venv/bin/activate\n"  # which README says
    typed = (f"echo '# block {i}'\n{b['commands']}" for i, b in enumerate(blocks(name)) if b["why"] is None)
    type_(active + "\n".join(typed), copy)


@pytest.mark.slow
def test_training_works_from_any_directory_once_the_packages_are_installed(copy: Path) -> None:
    typed = """
rm ~/.gitconfig
make run
source .venv/bin/activate
cd /
python -m pipeline.train hidden_size=3 iterations=2
python -m pipeline.doctor
"""
    said = type_(typed, copy)
    assert f"  files   {copy / 'launches'}" in said and "! git does not know who you are" in said


def test_readme_has_at_most_a_thousand_words() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1_000


def test_readmes_figures_are_those_of_the_committed_results() -> None:
    path, lock = ROOT / "reports" / "metrics.json", (ROOT / "dvc.lock").read_text(encoding="utf-8")
    if not path.exists() or hashlib.md5(path.read_bytes()).hexdigest() not in lock:
        pytest.skip("the committed results are not here: `dvc repro` makes them")
    m = json.loads(path.read_text(encoding="utf-8"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.split(r"<!-- (?:end of )?result -->", text)[1]
    for found in (m, m["reference"]):
        trial, tested = found.get("winner") or found["trial"], found["test"]
        for said in (
            f"{trial['hidden_size']} hidden units, rate {trial['learning_rate']:g}, {trial['iterations']} iterations",
            f"{found['validation']['accuracy']:.2%}",
            f"{tested['accuracy']:.2%}",
            f"{tested['interval']['low']:.2%} to {tested['interval']['high']:.2%}",
        ):
            assert said in table, said
