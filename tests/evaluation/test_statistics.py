"""The figures against scikit-learn, SciPy, statsmodels and small cases worked by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from statsmodels.stats import contingency_tables, proportion

from numnist.common import chance
from numnist.evaluation import statistics


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (9_512, 10_000), (10_000, 10_000)])
def test_the_wilson_interval_is_that_of_statsmodels_and_scipy(successes, n):
    got = chance.wilson_interval(successes, n)
    assert got == pytest.approx(proportion.proportion_confint(successes, n, method="wilson"), abs=1e-12)
    scipy = binomtest(successes, n).proportion_ci(method="wilson")
    assert got == pytest.approx((scipy.low, scipy.high), abs=1e-12)


def test_no_images_leave_the_whole_interval_open():
    assert chance.wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 1), (3, 9), (9, 3), (25, 25), (120, 61), (1_200, 1_090)])
def test_mcnemar_is_the_exact_test_of_statsmodels(only_first, only_second):
    first = np.array([True] * (40 + only_first) + [False] * (only_second + 5))
    second = np.array([True] * 40 + [False] * only_first + [True] * only_second + [False] * 5)
    got = statistics.mcnemar(first, second)
    assert (got.both_right, got.only_first, got.only_second, got.both_wrong) == (40, only_first, only_second, 5)
    expected = contingency_tables.mcnemar([[40, only_first], [only_second, 5]], exact=True).pvalue
    assert got.p_value == pytest.approx(expected, rel=1e-9)
    assert got.significant == (expected < 0.05)


def test_mcnemar_by_hand_nine_to_one_is_22_in_1024():
    first = np.array([True] * 9 + [False])
    assert statistics.mcnemar(first, ~first).p_value == 2 * (1 + 10) / 1024


def test_two_that_never_differ_are_not_separable():
    right = np.array([True, False, True])
    result = statistics.mcnemar(right, right)
    assert result.p_value == 1.0
    assert not result.significant


def test_mcnemar_needs_no_approximation_at_ten_thousand_differences():
    first = np.arange(10_000) < 9_000
    assert 0 <= statistics.mcnemar(first, ~first).p_value < 1e-300


def test_reliability_bins_are_those_of_scikit_learn(rng):
    confidence = rng.uniform(0.1, 1, 2_000).astype(np.float32)
    right = rng.random(2_000) < confidence**2
    got = statistics.reliability(confidence, right, bins=15)
    accuracy, mean_confidence = calibration_curve(right, confidence, n_bins=15)
    filled = got.count > 0
    assert got.accuracy[filled] == pytest.approx(accuracy)
    assert got.confidence[filled] == pytest.approx(mean_confidence)
    assert got.count.sum() == 2_000


def test_the_expected_calibration_error_by_hand():
    # two predictions of 0.9, one right: gap 0.4; two of 0.6, both right: gap 0.4; one of 1.0, right: no gap
    result = statistics.reliability(np.array([0.9, 0.9, 0.6, 0.6, 1.0]), np.array([True, False, True, True, True]))
    # bins are (low, high]: 0.9 lies in (0.8, 0.9], 0.6 in (0.5, 0.6], 1.0 in (0.9, 1.0]
    assert result.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2, 1]
    assert result.expected_calibration_error == pytest.approx((2 * 0.4 + 2 * 0.4 + 0) / 5)
