"""The filter with its covariance held steady, against the same filter that never holds it, and against the plain twin.

Tolerance: the covariance is held within 1e-11 of its limit (`steady.STEADY_SHARE`), which moves a log density by about as much.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import kalman as ref

from statewise.inference.filtering import run_filter
from statewise.inference.system import system as make_system
from statewise.sequences.sequences import Sequences

FIELDS = ("log_prob", "mean_pred", "cov_pred", "mean_filt", "cov_filt", "mean_next", "cov_next")


def both(parts, y, lengths=None):
    """The filter of the same data with a covariance that is held once steady, and without; the fields agree to 1e-9."""
    seqs = Sequences(y, [len(y)] if lengths is None else lengths)
    held, full = (run_filter(make_system(**parts), seqs, True, settle) for settle in (True, False))
    for name in FIELDS:
        want = getattr(full, name)
        np.testing.assert_allclose(getattr(held, name), want, rtol=1e-9, atol=1e-9 * np.abs(want).max())
    np.testing.assert_array_equal(full.steady_from, seqs.lengths)
    return held, full


def problem(n=4, p=2, radius=0.9, length=600, cross=True):
    rng = np.random.default_rng(n + p)
    parts = ref.random_system(rng, n, p, radius=radius, cross=cross)
    return parts, ref.simulate(parts, length, rng)


@pytest.mark.parametrize(("n", "p"), [(1, 1), (2, 1), (4, 2), (9, 3)])
@pytest.mark.parametrize("radius", [0.3, 0.99])
def test_a_steady_covariance_changes_nothing(n, p, radius):
    parts, y = problem(n, p, radius)
    held, _ = both(parts, y)
    twin = ref.kalman_filter(parts, y)
    np.testing.assert_allclose(held.log_prob, twin["log_prob"], rtol=1e-9, atol=1e-9)
    assert held.steady_from[0] < 600
    assert (held.cov_pred[held.steady_from[0] :] == held.cov_next[0]).all()


def test_missing_rows_and_entries_leave_the_steady_state_and_come_back():
    parts, y = problem()
    y[200], y[350, 1], y[400:420, 0] = np.nan, np.nan, np.nan
    held, _ = both(parts, y)
    assert 420 < held.steady_from[0] < 600


def test_many_missing_entries():
    parts, y = problem()
    y[np.random.default_rng(0).random(y.shape) < 0.05] = np.nan
    both(parts, y)


@pytest.mark.parametrize("length", [1, 2, 9, 17])
def test_short_sequences(length):
    parts, y = problem(length=3 * length)
    both(parts, y, [length] * 3)


def test_a_constant_seen_with_noise_never_settles():
    """P = R/t falls for ever, by less and less in each step."""
    one = np.eye(1)
    parts = {"A": one, "C": one, "Q": 0 * one, "R": one, "m0": np.zeros(1), "P0": one}
    held, _ = both(parts, np.random.default_rng(0).standard_normal((5000, 1)))
    assert held.steady_from[0] == 5000
    np.testing.assert_allclose(held.cov_next[0, 0, 0], 1 / 5001, rtol=1e-10)


@pytest.mark.parametrize("noise", [1e-8, 1e-5, 1e-2])
def test_a_slow_gain(noise):
    """Local level with a tiny signal: ρ = 1 − √noise settles late, and what is still to come counts, not the last move alone."""
    one = np.eye(1)
    parts = {"A": one, "C": one, "Q": noise * one, "R": one, "m0": np.zeros(1), "P0": 10 * one}
    both(parts, np.random.default_rng(0).standard_normal((5000, 1)).cumsum(axis=0))


def test_a_slow_state_behind_a_fast_one():
    """Two uncoupled states, of which the fast one settles at once."""
    parts = {"A": np.diag([0.1, 0.9999]), "C": np.eye(2), "Q": np.diag([1.0, 1e-7]), "R": np.eye(2)}
    parts |= {"m0": np.zeros(2), "P0": np.eye(2)}
    both(parts, np.random.default_rng(0).standard_normal((5000, 2)))
