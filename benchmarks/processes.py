"""Running a measurement, or one of the project's commands, in a process and environment of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS

LONGEST = 1800  # seconds; nothing measured takes so long
# settings that a contestant makes itself, or that would lead the project's commands out of their clone
DROPPED = ("OPENBLAS_", "OMP_", "MKL_", "NPY_", "NUMNIST_", "MLFLOW_", "HYDRA_", "DVC_", "PROJECT_ROOT", "PYTHONPATH")


def task(directory: Path, name: str, contestant: str, **details: Any) -> dict[str, float]:
    """Run one measurement with the code of a checkout; its failure ends the run."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.measure",
        json.dumps({"task": name, "contestant": contestant} | details),
    ]
    settings = {"JAX_PLATFORMS": "cpu"}
    if "file" in details:
        settings["TORCHINDUCTOR_CACHE_DIR"] = str(Path(details["file"]).parent / "inductor")
    environment = _environment() | settings
    done = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.PIPE, timeout=LONGEST, check=False)
    if done.returncode:
        raise SystemExit(f"{CONTESTANTS[contestant].title} failed (task {name}); its error stands above")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def command(directory: Path, *arguments: str, **settings: str) -> float:
    """Run `python -m ...` in a checkout and return its wall time in ms; its failure ends the run, with its words."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=directory, env=_environment() | settings, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LONGEST, check=False)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed in a clone:\n{done.stdout}")
    return 1000 * (time.perf_counter() - begun)


def _environment() -> dict[str, str]:
    """Return this process's environment without DROPPED, its own Python first in the search path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(DROPPED)}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"}
