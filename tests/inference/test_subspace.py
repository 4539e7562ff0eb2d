"""The subspace estimate: exact where the autocovariances are, and close to the maximum where they are estimated."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise.inference import subspace
from statewise.sequences.sequences import Sequences


def process_covariances(sys, lags):
    """Γ(h) = C Aʰ⁻¹ G with G = A P C' + S, and Γ(0) = C P C' + R."""
    G = sys.A @ sys.P0 @ sys.C.T + sys.S
    gamma, power = [sys.C @ sys.P0 @ sys.C.T + sys.R], np.eye(sys.n)
    for _ in range(lags):
        gamma.append(sys.C @ power @ G)
        power = sys.A @ power
    return np.stack(gamma)


@pytest.mark.parametrize(("n", "p"), [(1, 1), (2, 1), (3, 2)])
def test_true_autocovariances_give_the_system_back(n, p, monkeypatch):
    """The law is that of the true system but for what lies beyond the lags, which fades by the predictor's memory."""
    truth = sw.StateSpace.random(n, p, seed=1).system
    gamma = process_covariances(truth, 40)
    monkeypatch.setattr(subspace, "autocovariances", lambda seqs, mean, lags: gamma[: lags + 1])
    values = np.vstack([np.ones(p), -np.ones(p)])  # mean 0 and standard deviation 1: the units are left alone
    found = subspace.subspace_system(Sequences(values, np.array([2])), n, 20)
    np.testing.assert_allclose(process_covariances(found, 12), gamma[:13], atol=2e-6 * np.abs(gamma[0]).max())
    np.testing.assert_allclose(
        np.sort_complex(np.linalg.eigvals(found.A)), np.sort_complex(np.linalg.eigvals(truth.A)), atol=1e-6
    )


def test_the_estimate_is_close_to_the_maximum_and_a_start_for_it():
    truth = sw.StateSpace.random(3, 2, seed=2)
    y = truth.sample(3000, seed=0)
    model = sw.StateSpace.subspace(y, states=3)
    before = model.log_prob(y)[0]
    assert before > truth.log_prob(y)[0] - 20.0
    fitted = model.fit(y, method="mle")
    assert fitted.fit_result.log_prob >= max(before, truth.log_prob(y)[0])
    assert fitted.fit_result.log_prob - before < 30.0


def test_missing_entries_and_several_sequences_in_any_units():
    truth = sw.StateSpace.random(2, 2, seed=3)
    y = truth.sample(400, count=3, seed=0)
    values = y.values.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.1] = np.nan
    gappy = y.replace(values=values)
    model = sw.StateSpace.subspace(gappy, states=2)
    loss = truth.log_prob(gappy).sum() - model.log_prob(gappy).sum()
    assert loss < 30.0
    scaled = y.replace(values=values * [1e8, 1e-8] + [3.0, 1.0])
    shift = np.isfinite(values).sum(axis=0) @ np.log([1e8, 1e-8])
    np.testing.assert_allclose(
        sw.StateSpace.subspace(scaled, states=2).log_prob(scaled).sum() + shift, model.log_prob(gappy).sum(), rtol=1e-6
    )


def test_without_noise_cross_it_starts_expectation_maximisation():
    y = sw.StateSpace.random(2, 1, seed=4).sample(300, seed=0)
    model = sw.StateSpace.subspace(y, states=2, noise_cross=False)
    before = model.log_prob(y)[0]
    assert model.fit(y, max_iter=20).fit_result.log_prob > before


def test_what_cannot_be_is_refused():
    with pytest.raises(sw.InputError, match="`states` is 5"):
        sw.StateSpace.subspace(np.arange(9.0), states=5)
    with pytest.raises(sw.InputError, match="lags of less"):
        sw.StateSpace.subspace(np.arange(30.0), states=2, lags=20)
    with pytest.raises(sw.InputError, match="inputs"):
        sw.StateSpace.subspace(sw.Sequences.from_arrays([np.arange(9.0)], inputs=[np.ones((9, 1))]), states=1)
