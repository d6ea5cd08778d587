"""The bits of one short training: as committed, on other CPUs, and the pins that they rest on."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import short_training
from threadpoolctl import threadpool_info

from numnist import numerics
from numnist.common.errors import NumericsError

DATA = "350bc8d5305d45c8236a41a3e3c933c49ab14ffc350ce2c5c295752556e6b027"
GOLDEN = "f99fbb7973aa40efeabcaf6e283d61281a5b94076acc4a814ad0159239b4e0b3"
DECISION = """
The bits of a short training are not the committed ones: every result of this checkout may differ from those before.
If nobody meant that, find the cause (git diff; another NumPy or OpenBLAS?) and mend it. If it is meant, decide it:
  python tests/short_training.py     prints the new hash, to be put into tests/test_bits.py as GOLDEN
  dvc repro                          on real MNIST renews dvc.lock, and the README's numbers follow
and say why in the commit. Results of before and after can then be compared within a tolerance, not byte for byte.
"""

on_x86 = pytest.mark.skipif(
    numerics.platform.machine() not in ("x86_64", "AMD64"), reason="the same bits are promised on x86-64-v3 CPUs alone"
)


@on_x86
def test_a_short_training_has_the_bits_that_were_committed() -> None:
    assert short_training.data_digest() == DATA, "the made-up digits of tests/digits.py changed, so GOLDEN says nothing"
    assert short_training.digest() == GOLDEN, DECISION


@on_x86
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="needs qemu-x86_64 (apt-get install qemu-user)")
@pytest.mark.parametrize("cpu", ["Haswell", "Skylake-Client", "EPYC", "max"])
def test_another_cpu_gives_the_same_bits(cpu: str) -> None:
    command = ["qemu-x86_64", "-cpu", cpu, sys.executable, short_training.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == GOLDEN


def python(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process that has neither pins nor NumPy."""
    source = str(Path(numerics.__file__).parent.parent)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": source}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    ("before", "told"),
    [("import numpy", "no pins"), ("numerics.pin('native'); import numpy", "native")],
)
def test_pinning_is_refused_where_numpy_was_imported_otherwise(before: str, told: str) -> None:
    done = python(f"from numnist import numerics; {before}; numerics.pin('portable')")
    assert done.returncode == 1
    assert f"NumPy was already imported with {told}; call numnist.numerics.pin('portable') before" in done.stderr


def test_pinning_the_same_twice_is_no_error() -> None:
    assert python("from numnist import numerics as n; n.pin('native'); import numpy; n.pin('native')").returncode == 0


def test_pins_of_an_earlier_mode_do_not_stay() -> None:
    code = "import os; from numnist import numerics as n; n.pin('portable'); n._cpu_flags = set; n.pin('native')"
    done = python(f"{code}; print({{'OPENBLAS_CORETYPE', 'NPY_DISABLE_CPU_FEATURES'}} & set(os.environ))")
    assert done.stdout.strip() == "set()", done.stderr


@on_x86
@pytest.mark.parametrize("missing", ["avx2", "fma"])
def test_a_cpu_without_avx2_is_told_to_compute_natively(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(numerics, "_cpu_flags", lambda: {"sse4_2", "avx", "avx2", "fma"} - {missing})
    with pytest.raises(NumericsError, match="needs a CPU with AVX2 and FMA, and this one has not; use numerics=native"):
        numerics.pin("portable")
    done = python("from numnist import numerics as n; n._cpu_flags = lambda: {'avx'}; n.pin('native'); import numpy")
    assert done.returncode == 0, done.stderr


@on_x86
@pytest.mark.parametrize(
    ("vendor", "family", "flags", "kernel"),
    [
        ("AuthenticAMD", "26", {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}, "SkylakeX"),
        ("GenuineIntel", "6", {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}, "SkylakeX"),
        ("AuthenticAMD", "25", {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}, "Haswell"),
        ("GenuineIntel", "6", set(), "Haswell"),
    ],
)
def test_native_takes_the_512_bit_kernels_where_the_cpu_has_them_in_full_width(
    monkeypatch: pytest.MonkeyPatch, vendor: str, family: str, flags: set[str], kernel: str
) -> None:
    told = {"vendor_id": vendor, "cpu family": family, "flags": " ".join({"avx2", "fma"} | flags)}
    monkeypatch.setattr(numerics, "_cpu_line", told.__getitem__)
    assert numerics._environment("native")["OPENBLAS_CORETYPE"] == kernel


def test_a_configuration_of_another_mode_than_the_process_is_refused() -> None:
    with pytest.raises(NumericsError, match="this process computes with numerics=portable, and a configuration asks"):
        numerics.require("native")


@on_x86
def test_the_fingerprint_names_all_that_the_bits_depend_on() -> None:
    found = numerics.fingerprint()
    assert found["mode"] == "portable" and found["blas_kernel"] == "Haswell"
    assert found["numpy"].startswith("2.") and found["blas"].startswith("scipy-openblas 0.")
    assert "512" not in found["simd"] and "V4" not in found["simd"]


@on_x86
def test_blas_uses_the_pinned_kernel_and_one_thread() -> None:
    [blas] = [one for one in threadpool_info() if "numpy" in one["filepath"]]
    assert (blas["architecture"], blas["num_threads"]) == ("Haswell", 1)
