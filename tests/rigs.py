"""Machines that this one can pretend to be, and Python on each: CPUs, BLAS kernels and libraries, NumPys, Pythons, ARM.

`.ci/machines` prepares what NumPy's wheel here does not have, in the directory that NUMNIST_MACHINES names.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PREPARED = Path(os.environ.get("NUMNIST_MACHINES", "/nonexistent"))
ROOT = Path(__file__).resolve().parent.parent

# Runs a script, then tells in a last line where it ran: so a test knows that it was on the machine that it names.
_RUN = """
import json, platform, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
import numpy
umath = sys.modules.get("numpy._core._multiarray_umath") or sys.modules["numpy.core._multiarray_umath"]
with open("/proc/self/maps") as mapped:
    libraries = sorted({line.split()[-1] for line in mapped if "blas" in line.rpartition("/")[2]})
simd = sorted(name for name, on in umath.__cpu_features__.items() if on)
print(json.dumps({"python": platform.python_version(), "numpy": numpy.__version__, "architecture": platform.machine(),
                  "blas": libraries, "simd": simd}))
"""


@dataclass(frozen=True)
class Machine:
    """One way to run Python, and why it cannot be run here (nothing if it can)."""

    name: str
    command: tuple[str, ...] = (sys.executable,)
    environment: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Ran:
    """What a script printed, what Python told of the machine, and what OpenBLAS did."""

    output: str
    facts: dict[str, Any]
    kernel: str


def run(machine: Machine, script: Path, *options: str, timeout: float = 900) -> Ran:
    """Run a script there, in an environment that has nothing but what the machine names."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [*machine.command, "-c", _RUN, str(script), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env=kept | {"OPENBLAS_VERBOSE": "2", "PYTHONDONTWRITEBYTECODE": "1"} | dict(machine.environment),
    )
    assert done.returncode == 0, f"{machine}: exit {done.returncode}\n{done.stderr}"
    output, _, facts = done.stdout.strip().rpartition("\n")
    kernels = [line.removeprefix("Core: ") for line in done.stderr.splitlines() if line.startswith("Core: ")]
    return Ran(output, json.loads(facts), kernels[-1] if kernels else "")


def _absent(tool: str, package: str) -> str:
    return "" if shutil.which(tool) else f"needs {tool} (apt-get install {package})"


def _unprepared(path: Path) -> str:
    return (
        ""
        if path.exists()
        else f"needs what `.ci/machines {sys.executable} DIRECTORY` prepares, and NUMNIST_MACHINES=DIRECTORY"
    )


@cache
def cpu_flags() -> set[str]:
    """Return what this CPU can do, as Linux tells it for x86; nothing elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}
KERNELS = {  # OpenBLAS's kernels for x86-64, and the flags that a CPU needs for each
    "Nehalem": {"sse4_2"},
    "Sandybridge": {"avx"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": _AVX512,
    "Cooperlake": _AVX512 | {"avx512_bf16"},
}


def kernel(name: str) -> Machine:
    """Return this machine with one of OpenBLAS's kernels."""
    lacks = KERNELS[name] - cpu_flags()
    missing = f"this CPU has no {', '.join(sorted(lacks))}, which OpenBLAS's {name} kernel needs" if lacks else ""
    return Machine(name, environment={"OPENBLAS_CORETYPE": name}, missing=missing)


def without_simd() -> Machine:
    """Return this machine with all that NumPy chooses at run time switched off."""
    import numpy as np

    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return Machine("no SIMD", environment={"NPY_DISABLE_CPU_FEATURES": " ".join(found)})


def emulated_cpu(model: str) -> Machine:
    """Return an emulated x86-64 CPU; NumPy's wheels need one of Nehalem's age or newer."""
    foreign = "" if platform.machine() == "x86_64" else "needs Python's x86-64 binary"
    return Machine(
        model, ("qemu-x86_64", "-cpu", model, sys.executable), missing=foreign or _absent("qemu-x86_64", "qemu-user")
    )


def numpy_wheel(which: str) -> Machine:
    """Return this Python with another NumPy: `oldest` that is promised, or `newest`."""
    path = PREPARED / f"numpy-{which}"
    return Machine(f"{which} NumPy", environment={"PYTHONPATH": str(path)}, missing=_unprepared(path))


def pythons() -> list[Machine]:
    """Return the other Pythons that are installed here, each with its newest NumPy."""
    found = sorted(PREPARED.glob("python-*/bin/python"))
    none = Machine("another Python", missing=_unprepared(PREPARED / "python-*"))
    return [Machine(path.parent.parent.name, (str(path),)) for path in found] or [none]


BLAS_LIBRARIES = {"reference": "blas", "ATLAS": "atlas", "BLIS": "blis-pthread", "OpenBLAS": "openblas-pthread"}


def debian(library: str, architecture: str = "x86_64", cpu: str = "") -> Machine:
    """Return Debian's Python and NumPy with one of its BLAS libraries, emulated for another architecture."""
    root = PREPARED / f"debian-{architecture}"
    libraries = root / "usr/lib" / f"{architecture}-linux-gnu"
    path = ":".join(str(libraries / part) for part in (BLAS_LIBRARIES[library], "lapack", "."))
    python = str(root / "usr/bin/python3.13")
    environment = {"PYTHONHOME": str(root / "usr"), "PYTHONPATH": str(root / "usr/lib/python3/dist-packages")}
    name, missing = f"Debian, {library}", _unprepared(root)
    if cpu:
        emulator = ("qemu-aarch64", "-cpu", cpu, "-L", str(root), "-E", f"LD_LIBRARY_PATH={path}", python)
        return Machine(f"{name}, {cpu}", emulator, environment, missing or _absent("qemu-aarch64", "qemu-user"))
    loader = (str(root / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", path, python)
    if platform.machine() != architecture:
        missing = f"needs a CPU of {architecture}"
    return Machine(name, loader, environment, missing)


def arm(cpu: str) -> Machine:
    """Return an emulated ARM CPU with NumPy's own wheel, and what a sweep needs beside it."""
    like = debian("reference", "aarch64", cpu)
    packages = PREPARED / "packages-aarch64"
    environment = {**like.environment, "PYTHONPATH": str(packages)}
    return Machine(f"ARM, {cpu}", like.command, environment, like.missing or _unprepared(packages))
