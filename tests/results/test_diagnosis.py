"""Residual tests. Oracle: statsmodels 0.15, to 1e-10."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise.results.diagnosis import diagnosis


def test_statsmodels_agrees():
    diagnostic = pytest.importorskip("statsmodels.stats.diagnostic")
    from statsmodels.stats.stattools import jarque_bera
    from statsmodels.tsa.stattools import breakvar_heteroskedasticity_test as breakvar

    e = np.random.default_rng(0).standard_t(5, (101, 2))
    have = diagnosis(e, np.array([101]), ("a", "b"), 12, 2)
    for j in range(2):
        box = diagnostic.acorr_ljungbox(e[:, j], [12], model_df=2).iloc[0]
        np.testing.assert_allclose([have.ljung_box[j], have.ljung_box_p[j]], box, rtol=1e-10)
        np.testing.assert_allclose([have.jarque_bera[j], have.jarque_bera_p[j]], jarque_bera(e[:, j])[:2], rtol=1e-10)
        np.testing.assert_allclose(
            [have.heteroscedasticity[j], have.heteroscedasticity_p[j]], breakvar(e[:, j]), rtol=1e-10
        )
    assert have.to_frame().shape == (2, 6)
    assert have.plot().axes


def test_a_model_diagnoses_its_residuals():
    rng = np.random.default_rng(0)
    y = np.zeros(300)
    for t in range(1, 300):
        y[t] = 0.8 * y[t - 1] + rng.standard_normal() * (1 + (t > 200))
    right, wrong = sw.VARMA(p=1).fit(y).diagnose(y), sw.VARMA(p=0).fit(y).diagnose(y)
    assert (right.fitted, wrong.fitted) == (1, 0)
    assert wrong.ljung_box_p[0] < 1e-6 < 0.01 < right.ljung_box_p[0]
    assert right.heteroscedasticity_p[0] < 1e-6


def test_pairs_across_sequences_do_not_count():
    """Two sequences of one step each have no lag."""
    have = diagnosis(np.array([[1.0], [-1.0], [2.0], [np.nan]]), np.ones(4, int), ("a",), 2, 0)
    assert have.ljung_box[0] == 0
