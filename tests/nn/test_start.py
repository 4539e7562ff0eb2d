"""The linear start. Oracle: ridge regression as least squares on an augmented table (numpy.linalg.lstsq)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from statewise.nn.start import linear_start


def data(rows: int = 60, seed: int = 0):
    rng = np.random.default_rng(seed)
    skip = rng.normal(size=(rows, 3))
    values = skip @ np.array([[0.8, 0.0, -0.3], [0.1, 0.5, 0.0]]).T + 0.4 + rng.normal(size=(rows, 2)) * 0.3
    return skip, values


def test_it_is_ridge_regression_with_a_free_intercept():
    skip, values = data()
    everything, nothing = np.ones(60, dtype=bool), np.zeros(60, dtype=bool)
    found = linear_start(skip, values, everything, nothing)
    table = np.vstack([np.hstack([skip, np.ones((60, 1))]), np.hstack([np.eye(3), np.zeros((3, 1))])])
    want = np.linalg.lstsq(table, np.vstack([values, np.zeros((3, 2))]), rcond=None)[0]
    np.testing.assert_allclose(found.weight, want[:3].T, atol=1e-12)
    np.testing.assert_allclose(found.bias, want[3], atol=1e-12)
    rest = values - skip @ want[:3] - want[3]
    x = skip - skip.mean(axis=0)
    freedom = 60 - 1 - np.trace(x @ np.linalg.inv(x.T @ x + np.eye(3)) @ x.T)
    np.testing.assert_allclose(found.log_sd, 0.5 * np.log((rest**2).sum(axis=0) / freedom), atol=1e-12)


def test_missing_entries_are_left_out_column_by_column():
    skip, values = data()
    values[:10, 0] = np.nan
    everything, nothing = np.ones(60, dtype=bool), np.zeros(60, dtype=bool)
    found = linear_start(skip, values, everything, nothing)
    alone = linear_start(skip[10:], values[10:], everything[10:], nothing[10:])
    np.testing.assert_allclose(found.weight[0], alone.weight[0], atol=1e-12)
    assert abs(found.weight[1] - alone.weight[1]).max() > 1e-6


def test_the_validation_rows_choose_the_penalty():
    """On noise the strongest of the penalties validates best; on a strong signal the weakest. Oracle: both by construction."""
    rng = np.random.default_rng(1)
    skip, noise = rng.normal(size=(40, 15)), rng.normal(size=(40, 1))
    training = np.arange(40) < 20
    chosen = linear_start(skip, noise, training, ~training)
    weak = linear_start(skip, noise, training, np.zeros(40, dtype=bool))
    assert np.linalg.norm(chosen.weight) < 0.5 * np.linalg.norm(weak.weight)
    skip, signal = data(40)
    np.testing.assert_array_equal(
        linear_start(skip, signal, training, ~training).weight,
        linear_start(skip, signal, training, np.zeros(40, dtype=bool)).weight,
    )


def test_the_score_is_the_normal_density_of_what_was_observed():
    skip, values = data()
    found = linear_start(skip, values, np.ones(60, dtype=bool), np.zeros(60, dtype=bool))
    values[3, 1] = np.nan
    want = np.nanmean(norm.logpdf(values, skip @ found.weight.T + found.bias, np.exp(found.log_sd)))
    assert found.score(skip, values) == pytest.approx(want, rel=1e-12)
    assert found.score(skip[:0], values[:0]) == -np.inf


def test_a_column_without_variation_has_a_small_but_positive_sd():
    skip, values = data()
    found = linear_start(skip, 0 * values, np.ones(60, dtype=bool), np.zeros(60, dtype=bool))
    assert np.isfinite(found.log_sd).all()
    assert not found.weight.any()
