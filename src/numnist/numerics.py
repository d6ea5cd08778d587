"""The choice of arithmetic: which kernels BLAS and NumPy use, fixed before NumPy is imported.

What bits a matrix product gives depends on OpenBLAS's kernel and its threads, and what bits exp() gives on NumPy's
SIMD level. All three are read from the environment when NumPy is first imported.

- portable: the AVX2 kernels, on every x86-64-v3 CPU the same bits. Elsewhere it pins the threads alone.
- native: the fastest kernels that this CPU has; the same bits on the same kind of CPU.

Imports no NumPy until it is asked for the fingerprint.
"""

import os
import platform
import sys
from pathlib import Path
from typing import Any

from numnist.common.errors import NumericsError

_MODE = "NUMNIST_NUMERICS"  # which mode this process and its children are pinned to
_KERNEL = "OPENBLAS_CORETYPE"
_SIMD = "NPY_DISABLE_CPU_FEATURES"
_ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_PORTABLE = {_KERNEL: "Haswell", _SIMD: "X86_V4 AVX512_ICL AVX512_SPR"}

# OpenBLAS's Haswell kernels give a row of W @ X the same bits whatever rows stand beside it only where every
# network starts at a multiple of 12 rows: their micro-kernel takes rows in two sixes that round differently.
ROWS_PER_NETWORK = {"portable": 12, "native": 1}


def pin(mode: str) -> None:
    """Fix the arithmetic of this process and its children; NumPy must not be imported yet, or with the same pins."""
    wanted = _environment(mode)
    if "numpy" in sys.modules and os.environ.get(_MODE) != mode:
        raise NumericsError(
            f"numerics is {mode}, but NumPy was already imported with {os.environ.get(_MODE, 'no pins')}; "
            f"call numnist.numerics.pin({mode!r}) before the first `import numpy`, or start another process"
        )
    for name in (_KERNEL, _SIMD):
        os.environ.pop(name, None)
    os.environ.update(wanted, **{_MODE: mode})


def pins() -> dict[str, str]:
    """Return the environment variables that fix this process's arithmetic, for one that does not inherit them."""
    names = (_MODE, _KERNEL, _SIMD, *_ONE_BLAS_THREAD)
    return {name: os.environ[name] for name in names if name in os.environ}


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pinned() -> str:
    """Return the mode of this process; NumericsError where none was pinned."""
    mode = os.environ.get(_MODE)
    if mode is None:
        raise NumericsError(
            "no numerics are pinned; call numnist.numerics.pin('portable') before the first `import numpy`"
        )
    return mode


def require(mode: str) -> None:
    """Check that this process computes in the given mode."""
    if pinned() != mode:
        raise NumericsError(
            f"this process computes with numerics={pinned()}, and a configuration asks for {mode}: NumPy's kernels are "
            f"chosen once per process. Give numerics={mode} on the command line or in params.yaml, not as an axis"
        )


def fingerprint() -> dict[str, Any]:
    """Return what the bits depend on: machine, NumPy, BLAS and its kernel, SIMD level and mode."""
    import numpy as np

    config = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return {
        "mode": pinned(),
        "architecture": platform.machine(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "blas_kernel": os.environ.get(_KERNEL, "chosen by OpenBLAS"),
        "simd": config["SIMD Extensions"]["found"][-1],
    }


def _environment(mode: str) -> dict[str, str]:
    if platform.machine() not in ("x86_64", "AMD64"):
        return _ONE_BLAS_THREAD
    flags = _cpu_flags()
    if mode == "native":
        return _ONE_BLAS_THREAD | _fastest_kernel(flags)
    if flags and not flags >= _AVX2:
        raise NumericsError(
            "numerics=portable needs a CPU with AVX2 and FMA, and this one has not; use numerics=native "
            "(params.yaml or the command line): its bits hold on this kind of CPU only"
        )
    return _ONE_BLAS_THREAD | _PORTABLE


def _fastest_kernel(flags: set[str]) -> dict[str, str]:
    """Name the kernel that measured fastest; nothing where OpenBLAS chooses well itself."""
    if not flags >= _AVX2:
        return {}
    halved = (
        _cpu_line("vendor_id") == "AuthenticAMD" and _cpu_line("cpu family") == "25"
    )  # Zen 4: 512 bits in two steps
    return {_KERNEL: "SkylakeX" if flags >= _AVX512 and not halved else "Haswell"}


_AVX2 = {"avx2", "fma"}
_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}


def _cpu_flags() -> set[str]:
    """Return the CPU's feature flags as Linux names them; empty where it does not tell."""
    return set(_cpu_line("flags").split())


def _cpu_line(name: str) -> str:
    """Return what Linux says of the first CPU under a name; empty where it does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")
