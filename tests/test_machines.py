"""The golden hash of tests/test_bits.py, and a whole sweep, on other machines than this one."""

from pathlib import Path

import pytest
import rigs
import short_training
import small_sweep
from test_bits import GOLDEN

SCRIPT = Path(short_training.__file__)


def ran(machine: rigs.Machine, *options: str) -> rigs.Ran:
    """Run the short training on a machine, and demand the bits that it has here."""
    if machine.missing:
        pytest.skip(machine.missing)
    done = rigs.run(machine, SCRIPT, *options)
    assert done.output == GOLDEN, f"{machine}: {done.facts}"
    return done


def folders(done: rigs.Ran) -> set[str]:
    """Return the names of the folders that the BLAS libraries in use come from."""
    return {Path(library).parent.name for library in done.facts["blas"]}


@pytest.mark.parametrize("kernel", rigs.KERNELS)
def test_every_kernel_of_openblas_gives_the_same_bits(kernel: str) -> None:
    assert ran(rigs.kernel(kernel)).kernel in {kernel, {"Zen": "Haswell", "Cooperlake": "SkylakeX"}.get(kernel)}


def test_numpy_without_simd_gives_the_same_bits() -> None:
    here, without = ran(rigs.Machine("here")), ran(rigs.without_simd())
    assert set(without.facts["simd"]) < set(here.facts["simd"])


@pytest.mark.parametrize(("threads", "of_blas"), [("1", "3"), ("2", "2"), ("3", "1"), ("5", "2")])
def test_any_number_of_threads_of_ours_and_of_blas_gives_the_same_bits(threads: str, of_blas: str) -> None:
    ran(rigs.Machine("threads", environment={"OPENBLAS_NUM_THREADS": of_blas}), "--threads", threads)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["Nehalem", "Haswell", "Skylake-Client", "EPYC", "max"])
def test_another_cpu_gives_the_same_bits(model: str) -> None:
    simd = ran(rigs.emulated_cpu(model)).facts["simd"]
    assert ("AVX2" in simd or "X86_V3" in simd) == (model != "Nehalem")


@pytest.mark.slow
@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_another_numpy_gives_the_same_bits(which: str) -> None:
    version = ran(rigs.numpy_wheel(which)).facts["numpy"]
    assert version.startswith("2.0.") == (which == "oldest")


@pytest.mark.slow
@pytest.mark.parametrize("machine", rigs.pythons(), ids=str)
def test_another_python_gives_the_same_bits(machine: rigs.Machine) -> None:
    assert machine.name == "python-" + ran(machine).facts["python"]


@pytest.mark.slow
@pytest.mark.parametrize("library", rigs.BLAS_LIBRARIES)
def test_another_blas_library_gives_the_same_bits(library: str) -> None:
    assert rigs.BLAS_LIBRARIES[library] in folders(ran(rigs.debian(library)))


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["cortex-a72", "neoverse-n1", "a64fx"])
def test_arm_gives_the_same_bits(cpu: str) -> None:
    done = ran(rigs.arm(cpu))
    assert done.facts["architecture"] == "aarch64" and done.kernel
    assert ("SVE" in done.facts["simd"]) == (cpu == "a64fx")


@pytest.mark.slow
@pytest.mark.parametrize("library", ["reference", "BLIS"])
def test_arm_with_another_blas_library_gives_the_same_bits(library: str) -> None:
    done = ran(rigs.debian(library, "aarch64", "neoverse-n1"))
    assert done.facts["architecture"] == "aarch64" and rigs.BLAS_LIBRARIES[library] in folders(done)


def files_of_a_sweep(machine: rigs.Machine, directory: Path) -> dict[str, bytes]:
    """Train a small sweep on a machine, and return what it wrote by relative path, without the checkpoints."""
    rigs.run(machine, Path(small_sweep.__file__), str(directory))
    found = [*directory.glob("runs/**/*.*"), directory / "sweep.csv"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in found if path.is_file()}


@pytest.mark.slow
def test_a_whole_sweep_on_arm_writes_the_bytes_that_it_writes_here(tmp_path: Path) -> None:
    machine = rigs.arm("neoverse-n1")
    if machine.missing:
        pytest.skip(machine.missing)
    here = files_of_a_sweep(rigs.Machine("here"), tmp_path / "here")
    there = files_of_a_sweep(machine, tmp_path / "there")
    assert len(here) == 3 * len(small_sweep.CONFIGS)  # weights, curves and result; the one that diverged has no weights
    assert [name for name in here if here[name] != there.get(name)] == [] and len(here) == len(there)
