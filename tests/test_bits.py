"""The bits of a short training: as committed, whatever threads, shards and order of images."""

import subprocess
import sys

import pytest
import short_training

from numnist.training import blank_pixels

DATA = "29c92c128346f91b53e0248ca30b97963e829d0f99f492d3ffd0df1ddbe73615"
GOLDEN = "a17ea2f1c523bf3c49ed9ef0ad688e182bcd46fb188ad518d7d22d725e806819"
FULL_BATCH = "45ad7528a6dc8cfb494202bf049f1147cf19491bea552295bb41ac6f182bce5e"
DECISION = """
The bits of a short training are not the committed ones: every result of this checkout may differ from those before.
If nobody meant that, find the cause (git diff) and mend it. If it is meant, decide it:
  python tests/short_training.py     prints the new hash, to be put into tests/test_bits.py as GOLDEN
  dvc repro                          on real MNIST renews dvc.lock, and the README's numbers follow
and say why in the commit. Results of before and after can then be compared within a tolerance, not byte for byte.
"""


def test_a_short_training_has_the_bits_that_were_committed() -> None:
    assert short_training.data_digest() == DATA, "the made-up pictures changed, so GOLDEN says nothing"
    assert short_training.digest(short_training.states()) == GOLDEN, DECISION


def test_it_needs_numpy_alone() -> None:
    code = f"""
import runpy, sys
runpy.run_path({short_training.__file__!r})
ours = {{"numpy", "numnist", "short_training", "__main__", "__mp_main__"}}
found = {{name.partition(".")[0] for name, module in sys.modules.items() if getattr(module, "__file__", None)}}
print(sorted(found - ours - set(sys.stdlib_module_names) - {{"sitecustomize", "usercustomize"}}))
"""
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}\n{code}"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("threads", [1, 3, 5])
def test_the_number_of_threads_and_the_cut_of_the_images_change_no_bit(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blank_pixels, "SHARD_IMAGES", 30 * threads)
    assert short_training.digest(short_training.states(threads=threads)) == GOLDEN


def test_the_order_of_the_images_changes_no_bit_of_full_batch_descent() -> None:
    assert short_training.digest(short_training.states(reversed_images=True)) == FULL_BATCH
