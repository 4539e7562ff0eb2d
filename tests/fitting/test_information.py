"""Observed information. Oracle: a Gaussian sample, whose information and standard errors have closed forms; a quadratic."""

from __future__ import annotations

import numpy as np
import pytest

from statewise.fitting.information import delta_method, observed_information


def normal(y):
    """(μ, ln σ) -> log-likelihood and gradient."""

    def objective(point):
        mean, log_sd = point
        z = (y - mean) / np.exp(log_sd)
        value = -0.5 * np.sum(z**2) - len(y) * (log_sd + 0.5 * np.log(2 * np.pi))
        return value, np.array([z.sum() / np.exp(log_sd), np.sum(z**2) - len(y)])

    return objective


def test_a_normal_sample_has_known_standard_errors():
    """σ̂/√n for the mean and, by the delta method, σ̂/√(2n) for σ; 1e-8 is the square of the step, the error of central differences."""
    y = np.random.default_rng(0).standard_normal(50) * 3 + 7
    point = np.array([y.mean(), np.log(y.std())])
    found = observed_information(normal(y), point)
    natural = delta_method(lambda at: np.array([at[0], np.exp(at[1])]), point, found.covariance)
    np.testing.assert_allclose(np.sqrt(np.diag(natural)), y.std() / np.sqrt([50, 100]), rtol=1e-8)
    np.testing.assert_allclose(found.matrix, np.diag([50 / y.var(), 100]), atol=1e-6)


def test_the_condition_ignores_units():
    shape = np.array([[2.0, 1.0], [1.0, 2.0]])
    for units in ([1.0, 1.0], [1e4, 1e-4]):
        scaled = shape * np.outer(units, units)
        found = observed_information(lambda x, scaled=scaled: (0.0, -scaled @ x), np.zeros(2))
        np.testing.assert_allclose(found.condition, 3.0, rtol=1e-6)
        np.testing.assert_allclose(found.covariance, np.linalg.inv(scaled), rtol=1e-6)


@pytest.mark.parametrize("matrix", [np.diag([1.0, -1.0]), np.diag([1.0, 0.0]), np.array([[1.0, 2.0], [2.0, 1.0]])])
def test_no_standard_errors_away_from_a_maximum(matrix):
    found = observed_information(lambda x: (0.0, -matrix @ x), np.zeros(2))
    assert np.isinf(found.condition)
    assert np.isnan(found.covariance).all()


def test_a_neighbour_that_is_not_allowed():
    found = observed_information(lambda x: None if x[0] > 0 else (0.0, -x), np.zeros(1))
    assert np.isnan(found.matrix).all()
