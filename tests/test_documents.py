"""The commands in README.md and docs/, run as they stand by somebody who has nothing of ours in the environment.

A block of `sh` that is not to be run has a comment on the line before it that says why: <!-- not run: why -->.
All other blocks of a file are typed into one shell, from the top of a fresh checkout with the sample and a small sweep.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import checkout
import pytest

ROOT = checkout.ROOT
OTHERS = {"docs/recipes.md", "docs/team.md"}  # have tests of their own, which also apply differences, start servers
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


def bare(home: Path) -> dict[str, str]:
    """The environment of a new user."""
    home.mkdir()
    return {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A fresh checkout in which `make` has installed the packages."""
    directory = checkout.make(tmp_path / "numnist", SWEEP)
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


@pytest.mark.soak  # trains what every page trains
@pytest.mark.parametrize("name", [name for name in FILES if name not in OTHERS and blocks(name)])
def test_commands_run_as_they_stand(name: str, copy: Path, tmp_path: Path) -> None:
    typed = "\n".join(f"echo '# block {i}'\n{b['commands']}" for i, b in enumerate(blocks(name)) if b["why"] is None)
    command = ["bash", "-e", "-o", "pipefail", "-c", typed]
    done = subprocess.run(command, cwd=copy, env=bare(tmp_path / "home"), capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.slow
def test_training_works_from_any_directory_once_the_packages_are_installed(copy: Path, tmp_path: Path) -> None:
    typed = """
set -e
make run
source .venv/bin/activate
cd /
python -m pipeline.train hidden_size=3 iterations=2
python -m pipeline.doctor
"""
    done = subprocess.run(["bash", "-c", typed], cwd=copy, env=bare(tmp_path / "home"), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"  files   {copy / 'launches'}" in done.stdout and "! git does not know who you are" in done.stdout
