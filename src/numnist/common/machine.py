"""This machine: its cores, which BLAS kernels are fast on it, and the facts that are recorded with a run.

None of it decides a bit of exact arithmetic. Imports no NumPy until it is asked for the facts.
"""

import os
import platform
from pathlib import Path

_KERNEL = "OPENBLAS_CORETYPE"
_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_kernels() -> None:
    """Have BLAS use one thread, since ours share out the work, and OpenBLAS the fastest kernels; before NumPy's import.

    OpenBLAS takes AMD's CPUs with full-width AVX-512 (Zen 5) for older ones. What the user has set stays.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    double_pumped = _cpu("cpu family") == "25"  # Zen 4 takes 512 bits in two steps
    if _cpu("vendor_id") == "AuthenticAMD" and not double_pumped and set(_cpu("flags").split()) >= _AVX512:
        os.environ.setdefault(_KERNEL, "SkylakeX")


def facts() -> dict[str, str]:
    """Return what computes here: the architecture, CPU, Python, NumPy, BLAS and its kernel."""
    import numpy as np

    config = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return {
        "architecture": platform.machine(),
        "cpu": _cpu("model name") or platform.processor() or "unknown",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "blas_kernel": os.environ.get(_KERNEL, "chosen by the BLAS"),
    }


def _cpu(name: str) -> str:
    """Return what Linux says of the first CPU under a name; empty if it does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")
