"""Missing entries given the whole sequence. Oracle: the joint Gaussian of all observations as one dense matrix, conditioned on the observed ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from tests.inference.problems import SEEDS, draw
from tests.reference import kalman as ref

import statewise as sw
from statewise.inference import filling, smoothing


def conditioned(sys: dict, y: np.ndarray, u: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (T, p) of every entry given the observed ones."""
    law = ref.joint(sys, len(y), u)
    seen = ~np.isnan(y.ravel())
    gain = np.linalg.solve(law["yy"][np.ix_(seen, seen)], law["yy"][seen]).T
    mean = law["mean_y"] + gain @ (y.ravel() - law["mean_y"])[seen]
    cov = law["yy"] - gain @ law["yy"][seen]
    return mean.reshape(y.shape), np.diag(cov).reshape(y.shape)


@settings(max_examples=25)
@given(SEEDS)
def test_a_missing_entry_has_its_law_in_the_joint_gaussian(seed):
    """1e-9: float64 algebra of well-conditioned systems; correlated observation noise, so that the rest of the step counts."""
    sys, system, seqs, arrays, inputs = draw(seed, n=3, p=3, u=1, missing=0.4, cross=False)
    mean, variance = filling.entry_moments(system, seqs, *smoothing.smooth(system, seqs))
    want_mean, want_variance = conditioned(sys, arrays[0], inputs[0])
    np.testing.assert_allclose(mean, want_mean, atol=1e-9)
    np.testing.assert_allclose(variance, want_variance, atol=1e-9)


def test_correlated_noises_are_refused_and_observed_entries_kept():
    _, system, seqs, _, _ = draw(3, p=2, missing=0.4, cross=True)
    mean, variance = filling.entry_moments(system, seqs, *smoothing.smooth(system, seqs))
    gone = np.isnan(seqs.values)
    assert np.isnan(mean[gone]).all() and np.isnan(variance[gone]).all()
    np.testing.assert_array_equal(mean[~gone], seqs.values[~gone])
    assert (variance[~gone] == 0).all()


def test_a_smoother_fills_the_gap_of_a_random_walk():
    """Local level with tiny observation noise is a Brownian bridge: between 0 and 4 over four steps, variance j (4 − j) / 4."""
    model = sw.StateSpace(
        transition=[[1.0]], observation=[[1.0]], state_noise=[[1.0]], observation_noise=[[1e-10]],
        initial_mean=[0.0], initial_cov=[[1e-10]],
    )  # fmt: skip
    smoothed = model.smooth([0.0, np.nan, np.nan, np.nan, 4.0])
    np.testing.assert_allclose(smoothed.value_mean[:, 0], [0, 1, 2, 3, 4], atol=1e-8)
    np.testing.assert_allclose(smoothed.value_variance[:, 0], [0, 0.75, 1.0, 0.75, 0], atol=1e-8)


@pytest.mark.parametrize("missing", [0.0, 1.0])
def test_nothing_and_everything_missing(missing):
    """With nothing observed, entries have their marginal law."""
    sys, system, _, arrays, _ = draw(5, lengths=(4,), p=2, missing=0.0, cross=False)
    y = arrays[0] if missing == 0 else np.full_like(arrays[0], np.nan)
    given_seqs = sw.Sequences.from_arrays([y])
    mean, variance = filling.entry_moments(system, given_seqs, *smoothing.smooth(system, given_seqs))
    law = ref.joint(sys, 4)
    want = (y, np.zeros_like(y)) if missing == 0 else (law["mean_y"].reshape(4, 2), np.diag(law["yy"]).reshape(4, 2))
    np.testing.assert_allclose(mean, want[0], atol=1e-9)
    np.testing.assert_allclose(variance, want[1], atol=1e-9)
