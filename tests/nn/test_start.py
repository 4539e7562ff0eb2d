"""The linear start. Oracle: ridge regression as least squares on an augmented table (numpy.linalg.lstsq)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from statewise.nn.start import LinearStart, linear_start

ZERO = np.zeros((2, 3))
ALL, NONE = np.ones(60, dtype=bool), np.zeros(60, dtype=bool)


def data(rows: int = 60, seed: int = 0):
    rng = np.random.default_rng(seed)
    skip = rng.normal(size=(rows, 3))
    values = skip @ np.array([[0.8, 0.0, -0.3], [0.1, 0.5, 0.0]]).T + 0.4 + rng.normal(size=(rows, 2)) * 0.3
    return skip, values


@pytest.mark.parametrize("centre", [ZERO, np.array([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]])])
def test_it_is_ridge_regression_around_a_centre_with_a_free_intercept(centre):
    """The penalty is 1, the first, where nothing chooses."""
    skip, values = data()
    found = linear_start(skip, values, ALL, NONE, [centre])
    table = np.vstack([np.hstack([skip, np.ones((60, 1))]), np.hstack([np.eye(3), np.zeros((3, 1))])])
    want = np.linalg.lstsq(table, np.vstack([values, centre.T]), rcond=None)[0]
    np.testing.assert_allclose(found.weight, want[:3].T, atol=1e-12)
    np.testing.assert_allclose(found.bias, want[3], atol=1e-12)
    rest = values - skip @ want[:3] - want[3]
    x = skip - skip.mean(axis=0)
    freedom = 60 - 1 - np.trace(x @ np.linalg.inv(x.T @ x + np.eye(3)) @ x.T)
    np.testing.assert_allclose(found.log_sd, 0.5 * np.log((rest**2).sum(axis=0) / freedom), atol=1e-12)


def test_missing_entries_are_left_out_column_by_column():
    skip, values = data()
    values[:10, 0] = np.nan
    found = linear_start(skip, values, ALL, NONE, [ZERO])
    alone = linear_start(skip[10:], values[10:], ALL[10:], NONE[10:], [ZERO])
    np.testing.assert_allclose(found.weight[0], alone.weight[0], atol=1e-12)
    assert abs(found.weight[1] - alone.weight[1]).max() > 1e-6


@pytest.mark.parametrize("truth", ["noise", "first feature"])
def test_the_validation_rows_choose_penalty_and_centre(truth):
    """Noise is best shrunk to nothing, a copy of the first feature to just that. Oracle: by construction."""
    rng = np.random.default_rng(1)
    skip = rng.normal(size=(60, 20))
    zero, walk = np.zeros((1, 20)), np.eye(1, 20)
    values = rng.normal(size=(60, 1)) if truth == "noise" else skip[:, :1] + 0.5 * rng.normal(size=(60, 1))
    best = zero if truth == "noise" else walk
    training = np.arange(60) < 30
    chosen = linear_start(skip, values, training, ~training, [zero, walk])
    first = linear_start(skip, values, training, NONE, [zero, walk])
    assert np.linalg.norm(chosen.weight - best) < 0.5 * np.linalg.norm(first.weight - best)
    assert chosen.score(skip[30:], values[30:]) > first.score(skip[30:], values[30:])


def test_the_score_is_the_normal_density_of_what_was_observed():
    skip, values = data()
    found = linear_start(skip, values, ALL, NONE, [ZERO])
    values[3, 1] = np.nan
    want = np.nansum(norm.logpdf(values, skip @ found.weight.T + found.bias, np.exp(found.log_sd)))
    assert found.score(skip, values) == pytest.approx(want, rel=1e-12)
    assert found.score(skip[:0], values[:0]) == 0.0


def test_columns_without_variation_or_without_data_have_a_positive_sd():
    skip, values = data()
    values[:, 0], values[:, 1] = 2.0, np.nan
    found = linear_start(skip, values, ALL, NONE, [ZERO])
    assert isinstance(found, LinearStart)
    assert np.isfinite(found.log_sd).all()
    assert not found.weight.any()
    assert found.bias.tolist() == [2.0, 0.0]


def test_more_features_than_rows():
    rng = np.random.default_rng(2)
    found = linear_start(rng.normal(size=(5, 40)), rng.normal(size=(5, 1)), ALL[:5], NONE[:5], [np.zeros((1, 40))])
    assert np.isfinite(found.weight).all()
    assert np.isfinite(found.log_sd).all()


def test_the_centres_given_are_not_changed():
    skip, values = data()
    centre = ZERO.copy()
    linear_start(skip, values, ALL, NONE, [centre])
    assert not centre.any()
