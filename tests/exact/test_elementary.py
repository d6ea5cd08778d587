"""exp, log and half a cosine against the mathematics, and that only operations that IEEE 754 defines make them."""

import ast
import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numnist.exact import arrays, elementary

SOURCE = Path(elementary.__file__).parent


@given(st.lists(st.floats(-800, 0), min_size=1, max_size=50))
def test_exp_is_the_exponential_in_multiples_of_its_unit(numbers: list[float]) -> None:
    found = elementary.exp(np.array(numbers))
    np.testing.assert_allclose(found, [math.exp(x) for x in numbers], rtol=3e-9, atol=2.0**-41)
    units = found * 2.0**elementary.EXP_BITS
    np.testing.assert_array_equal(units, np.rint(units))
    assert (found <= 1).all()


def test_exp_of_0_is_1_and_of_nan_nan() -> None:
    np.testing.assert_array_equal(elementary.exp(np.array([0.0, -0.0, -np.inf, np.nan])), [1, 1, 0, np.nan])


def test_exp_does_the_same_in_one_piece_and_in_many() -> None:
    x = -np.random.Generator(np.random.PCG64(0)).random(100_000) * 30
    np.testing.assert_array_equal(elementary.exp(x)[50_000:50_007], elementary.exp(x[50_000:50_007]))


@given(st.floats(1, 1e4))
def test_log_is_the_logarithm(x: float) -> None:
    assert elementary.log(np.array([x]))[0] == float(np.float64(elementary.log(np.array([x]))[0]))
    np.testing.assert_allclose(elementary.log(np.array([x])), math.log(x), rtol=0, atol=1e-9)


@given(st.floats(0, 1))
def test_half_a_cosine_is_one(part: float) -> None:
    assert abs(elementary.half_cosine(part) - (1 + math.cos(math.pi * part)) / 2) < 1e-15


def test_half_a_cosine_falls_from_1_to_0() -> None:
    values = [elementary.half_cosine(k / 1000) for k in range(1001)]
    assert (values[0], values[500], values[1000]) == (1.0, 0.5, 0.0)
    assert values == sorted(values, reverse=True)


def test_only_defined_operations_decide_bits() -> None:
    """NumPy's and libm's exp, log, sin, pow, mean and fused sums round differently between machines."""
    suspect = {
        "exp",
        "log",
        "exp2",
        "log2",
        "sin",
        "cos",
        "tanh",
        "power",
        "mean",
        "dot",
        "einsum",
        "std",
        "var",
        "pow",
    }
    for path in [*SOURCE.glob("*.py"), *(SOURCE.parent / "training").glob("[lmo]*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                assert owner not in ("np", "math") or node.func.attr not in suspect, f"{path}: {ast.unparse(node)}"


def test_the_golden_training_calls_our_functions() -> None:
    assert arrays.elementary is elementary
