"""Scores against closed forms, brute force and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from statewise.evaluate import metrics
from statewise.results.forecast import Forecast
from statewise.results.marginals import GaussianMarginals
from statewise.sequences.sequences import Sequences


def standard_normal(shape: tuple[int, ...]) -> Forecast:
    marginals = GaussianMarginals(np.zeros(shape), np.ones(shape))
    return Forecast(marginals, (80.0, 95.0), tuple(range(shape[0])), tuple(f"y{k}" for k in range(shape[2])))


def test_crps_of_a_standard_normal_at_its_mean() -> None:
    """Closed form: CRPS(N(0, 1), 0) = (√2 − 1)/√π = .2336950."""
    score = metrics.crps(standard_normal((1, 1, 1)), np.zeros((1, 1, 1)))
    assert score.item() == pytest.approx((np.sqrt(2) - 1) / np.sqrt(np.pi), rel=1e-12)


def test_missing_actual_values_are_not_scored() -> None:
    forecast, actual = standard_normal((1, 2, 1)), np.array([[[0.5], [np.nan]]])
    assert np.isnan(metrics.crps(forecast, actual)[0, 1, 0])
    assert np.isnan(metrics.covered(forecast, actual, 80)[0, 1, 0])


def test_coverage_at_the_edge_of_the_interval() -> None:
    """Closed form: the central 95 % interval of N(0, 1) ends at ±1.959964."""
    forecast = standard_normal((1, 4, 1))
    actual = np.array([1.9599, 1.9600, -1.9599, -1.9600]).reshape(1, 4, 1)
    assert metrics.covered(forecast, actual, 95).ravel().tolist() == [1.0, 0.0, 1.0, 0.0]


def test_mase_scale_by_hand() -> None:
    """By hand: |4 − 1| and |2 − 2| average to 1.5 at season 2; a missing value leaves its pairs out; a constant has no scale."""
    seqs = Sequences.from_arrays([[1.0, 2.0, 4.0, 2.0], [5.0, 5.0, 5.0, 5.0], [1.0, np.nan, 4.0, 2.0]])
    scale = metrics.mase_scale(seqs, 2)
    assert scale[0, 0] == 1.5
    assert np.isnan(scale[1, 0])
    assert scale[2, 0] == 3.0


def test_diebold_mariano_without_lags_is_the_t_test() -> None:
    """Closed form: with no lags the statistic is that of the one-sample t test (scipy.stats.ttest_1samp)."""
    from scipy import stats

    d = np.random.default_rng(0).normal(0.3, 1, 40)
    expected = stats.ttest_1samp(d, 0)
    found = metrics.diebold_mariano(d, 0)
    assert found.mean == pytest.approx(d.mean())
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)


def test_diebold_mariano_matches_statsmodels_hac() -> None:
    """statsmodels 0.15: OLS on a constant with HAC covariance (Bartlett, 5 lags), up to its n/(n − 1) convention."""
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    d = np.convolve(rng.normal(size=120), np.ones(4) / 2, "valid")
    fit = sm.OLS(d, np.ones(len(d))).fit(cov_type="HAC", cov_kwds={"maxlags": 5})
    n = len(d)
    assert metrics.diebold_mariano(d, 5).se == pytest.approx(fit.bse[0] * np.sqrt(n / (n - 1)), rel=1e-10)


def test_diebold_mariano_has_its_level() -> None:
    """Monte Carlo: under no difference about 5 % of the tests reject at 5 % (3 standard errors at 2000 draws, MA(2) differences)."""
    rng = np.random.default_rng(2)
    rejected = 0
    for _ in range(2000):
        e = rng.normal(size=202)
        rejected += metrics.diebold_mariano(e[2:] + 0.5 * e[1:-1] + 0.25 * e[:-2], 8).p_value < 0.05
    assert 0.03 < rejected / 2000 < 0.11


def test_diebold_mariano_of_equal_scores() -> None:
    same = metrics.diebold_mariano(np.zeros(10), 3)
    assert (same.mean, same.se, same.p_value) == (0.0, 0.0, 1.0)
    assert metrics.diebold_mariano(np.array([0.3]), 3).se == np.inf
