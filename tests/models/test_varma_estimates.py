"""Standard errors and impulse responses of a VARMA.

Oracles: statsmodels 0.15 at our estimate, closed forms by the delta method, differences of forecasts, and the Jacobian of a change of units.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.models.series import arma, growth, growth_model

import statewise as sw
from statewise._core.errors import NotFittedError


def test_standard_errors_of_an_autoregression():
    """statsmodels 0.15, SARIMAX(1, 0, 0) at our estimate, observed information by complex step; 1e-4 for its own approximation."""
    sarimax = pytest.importorskip("statsmodels.tsa.statespace.sarimax")
    y = arma(300, 0.6, 0.0)
    model = sw.VARMA(p=1, trend="n").fit(y)
    have = model.standard_errors()
    peer = sarimax.SARIMAX(y, order=(1, 0, 0)).smooth(
        [model.ar[0, 0, 0], model.innovation_cov[0, 0]], cov_type="approx"
    )
    np.testing.assert_allclose(have.standard_error, peer.bse, rtol=1e-4)
    np.testing.assert_allclose(have.estimate, peer.params)
    np.testing.assert_allclose(have.p_value, peer.pvalues, rtol=1e-2, atol=1e-12)
    assert have.names == ("ar1 y on y", "cov y, y")
    assert list(have.to_frame().columns[:2]) == ["estimate", "standard_error"]
    assert have.plot().axes


def test_standard_errors_follow_the_units():
    one, two = (sw.VARMA(p=1, q=1).fit(growth() * scale).standard_errors() for scale in (1.0, 1e4))
    ratio = two.standard_error / one.standard_error
    np.testing.assert_allclose(ratio[:2], 1e4, rtol=1e-3)
    np.testing.assert_allclose(ratio[2:10], 1, rtol=1e-3)
    np.testing.assert_allclose(ratio[10:], 1e8, rtol=1e-3)


def test_a_loaded_model_keeps_the_table_but_not_the_data(tmp_path):
    model = sw.VARMA(p=1).fit(arma(100))
    model.save(tmp_path / "m")
    after = sw.load(tmp_path / "m")
    assert "std. error" in after.summary()
    with pytest.raises(NotFittedError, match="training data"):
        after.standard_errors()
    assert np.isnan(after.impulse_response(3).lower).all()


def test_impulse_responses_of_an_autoregression():
    """φʰ, with standard error h φ^(h−1) se(φ) by the delta method."""
    model = sw.VARMA(p=1).fit(arma(300, 0.6, 0.0))
    phi, error = model.ar[0, 0, 0], model.standard_errors().standard_error[1]
    have, h = model.impulse_response(steps=8), np.arange(9)
    np.testing.assert_allclose(have.response[:, 0, 0], phi**h, rtol=1e-12)
    half = 1.959963984540054 * error * h * phi ** (h - 1.0)
    np.testing.assert_allclose((have.upper - have.response)[:, 0, 0], half, rtol=1e-6, atol=1e-12)
    assert len(have.to_frame()) == 9
    assert have.plot().axes


def test_impulse_responses_are_differences_of_forecasts():
    """A unit more in the last observation moves the forecasts by Ψ; orthogonal ones are Ψ times the Cholesky factor."""
    model, y = growth_model(), growth()
    have = model.impulse_response(steps=5)
    for j in range(2):
        moved = y.copy()
        moved[-1, j] += 1.0
        change = model.forecast(moved, steps=5).mean[0] - model.forecast(y, steps=5).mean[0]
        np.testing.assert_allclose(have.response[1:, :, j], change, rtol=1e-6, atol=1e-8)
    turned = model.impulse_response(steps=5, orthogonal=True)
    np.testing.assert_allclose(turned.response, have.response @ np.linalg.cholesky(model.innovation_cov), rtol=1e-12)
    assert (turned.upper > turned.response).sum() >= 20
