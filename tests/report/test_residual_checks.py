"""Residual checks. Oracle: statsmodels 0.15 (acf, acorr_ljungbox, jarque_bera) on one complete sequence; for panels and missing values a
loop over all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from statewise.report.residuals import check_residuals
from statewise.results.residual_tests import autocorrelation, ljung_box


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def test_against_statsmodels():
    from statsmodels.stats.diagnostic import acorr_ljungbox
    from statsmodels.stats.stattools import jarque_bera
    from statsmodels.tsa.stattools import acf

    e = noise(300) + 0.2
    found = check_residuals("y", e, np.array([300]))
    assert found is not None
    np.testing.assert_allclose(found.autocorrelation, acf(e, nlags=24)[1:], rtol=0, atol=1e-13)
    reference = acorr_ljungbox(e, lags=[10])
    np.testing.assert_allclose(found.portmanteau, reference["lb_stat"].iloc[0], rtol=1e-12)
    np.testing.assert_allclose(found.portmanteau_p, reference["lb_pvalue"].iloc[0], rtol=1e-10)
    _, p, skewness, kurtosis = jarque_bera(e)
    np.testing.assert_allclose([found.skewness, found.excess_kurtosis], [skewness, kurtosis - 3], rtol=1e-10)
    np.testing.assert_allclose(found.normality_p, p, rtol=1e-10)
    np.testing.assert_allclose([found.mean, found.sd], [e.mean(), e.std(ddof=1)], rtol=1e-12)


def test_pairs_stay_inside_sequences_and_skip_gaps():
    e = noise(40, 1)
    e[[3, 4, 25]] = np.nan
    lengths = np.array([15, 25])
    acf, pairs = autocorrelation(e, lengths, 5)
    centred = e - np.nanmean(e)
    for k in range(1, 6):
        members = [
            centred[t] * centred[t + k]
            for start, stop in ((0, 15), (15, 40))
            for t in range(start, stop - k)
            if np.isfinite(centred[t] * centred[t + k])
        ]
        assert pairs[k - 1] == len(members)
        np.testing.assert_allclose(acf[k - 1], sum(members) / np.nansum(centred**2), rtol=1e-12)


def test_ljung_box_ignores_lags_without_pairs():
    whole = ljung_box(np.array([0.1, 0.2]), np.array([9.0, 8.0]), 10)
    assert ljung_box(np.array([0.1, 0.2, 0.0]), np.array([9.0, 8.0, 0.0]), 10) == whole


def test_a_season_lengthens_the_test():
    lengths = np.array([400])
    assert check_residuals("y", noise(400), lengths).portmanteau_lags == 10
    assert check_residuals("y", noise(400), lengths, season=12).portmanteau_lags == 24
    assert check_residuals("y", noise(30), np.array([30]), season=12).portmanteau_lags == 6


@pytest.mark.parametrize("residuals", [np.full(20, np.nan), np.zeros(20), noise(7)])
def test_too_little_to_check(residuals):
    assert check_residuals("y", residuals, np.array([len(residuals)])) is None


@pytest.mark.parametrize("lengths", [[8], [1] * 8, [2] * 4, [1, 7]])
def test_short_sequences(lengths):
    found = check_residuals("y", noise(8), np.array(lengths))
    assert found is not None
    assert np.isfinite(found.autocorrelation).all()
    assert all(found.sentences.values())


@pytest.mark.parametrize(
    ("residuals", "key", "start"),
    [
        (noise(500), "dependence", "No dependence over time is detected"),
        (np.cumsum(noise(500)) / 10, "dependence", "The model leaves dependence"),
        (noise(500, 1), "shape", "No departure from the normal law is detected"),
        (np.sinh(1.5 * noise(500, 1)), "shape", "The tails are heavier"),
        (np.exp(0.25 * noise(500)), "shape", "The residuals are skewed to the right"),
        (np.random.default_rng(0).uniform(-2, 2, 500), "shape", "The tails are lighter"),
    ],
)
def test_sentences_say_what_is_seen(residuals, key, start):
    found = check_residuals("y", residuals, np.array([500]))
    assert found is not None
    assert found.sentences[key].startswith(start)


@pytest.mark.parametrize(
    ("residuals", "said"),
    [
        (noise(500), "centred (mean"),
        (noise(500) + 1, "not centred on 0"),
        (3 * noise(500), "intervals are too narrow"),
        (noise(500) / 3, "intervals are too wide"),
        (noise(500), "with the spread that the model claims"),
    ],
)
def test_size_sentence(residuals, said):
    found = check_residuals("y", residuals, np.array([500]))
    assert found is not None
    assert said in found.sentences["size"]
