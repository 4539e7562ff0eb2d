"""`HMM`: the twin, hmmlearn, enumeration through the verbs, recovery, and every edge a user can reach."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import hmm as reference

import statewise as sw
from statewise._core.errors import InputError, NotFittedError
from statewise._core.outcome import Outcome
from statewise.emissions.gaussian import COVARIANCES
from statewise.models.hmm import HMM

hmmlearn = pytest.importorskip("hmmlearn.hmm")


def random_model(covariance="diag", states=3, dim=2, seed=0, spread=2.0):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(states, dim, dim))
    full = roots @ np.swapaxes(roots, 1, 2) + 0.3 * np.eye(dim)
    covariances = {
        "full": full,
        "tied": full[0],
        "diag": rng.uniform(0.3, 2.0, (states, dim)),
        "spherical": rng.uniform(0.3, 2.0, states),
    }[covariance]
    return HMM(
        states,
        covariance=covariance,
        initial_probs=rng.dirichlet(np.ones(states)),
        transition_probs=rng.dirichlet(np.ones(states), states) * 0.4 + 0.6 * np.eye(states),
        means=rng.normal(size=(states, dim)) * spread,
        covariances=covariances,
    )


def dense(model):
    given, dim = model.covariances, model.means.shape[1]
    if model.get_params()["covariance"] == "full":
        return given
    if model.get_params()["covariance"] == "tied":
        return np.tile(given, (len(model.means), 1, 1))
    return np.stack([np.diag(np.broadcast_to(row, dim)) for row in given])


def arguments(model, y):
    return model.initial_probs, model.transition_probs, reference.gaussian_table(y, model.means, dense(model))


def gappy(model, lengths, seed=0, missing=0.2):
    """Sequences of the model with missing entries and a row of nothing."""
    rng = np.random.default_rng(seed)
    arrays = []
    for length in lengths:
        y = model.sample(length, seed=int(rng.integers(1e6))).values.copy()
        y[rng.random(y.shape) < missing] = np.nan
        arrays.append(y)
    arrays[0][len(arrays[0]) // 2] = np.nan
    return sw.Sequences.from_arrays(arrays)


# --- the twin ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_every_verb_against_the_twin_with_missing_entries(covariance):
    model = random_model(covariance)
    seqs = gappy(model, [20, 1, 13])
    cases = [arguments(model, y) for y in seqs.arrays()]
    close = {"rtol": 1e-10, "atol": 1e-12}
    steps = np.concatenate([reference.log_prob_steps(*case) for case in cases])
    np.testing.assert_allclose(model.log_prob(seqs, per_step=True), steps, **close)
    np.testing.assert_allclose(model.log_prob(seqs), [reference.log_prob_steps(*case).sum() for case in cases], **close)
    np.testing.assert_allclose(model.filter(seqs).probs, np.vstack([reference.filtered(*case) for case in cases]), **close)
    np.testing.assert_allclose(model.smooth(seqs).probs, np.vstack([reference.smoothed(*case) for case in cases]), **close)
    best = [reference.viterbi(*case) for case in cases]
    assert np.array_equal(model.decode(seqs).path, np.concatenate([path for path, _ in best]))
    np.testing.assert_allclose(model.decode(seqs).log_prob, [value for _, value in best], **close)
    ahead = np.vstack([reference.predicted(*case) for case in cases])
    variances = np.stack([np.diag(c) for c in dense(model)])
    predicted = model.predict(seqs)
    np.testing.assert_allclose(predicted.mean, ahead @ model.means, **close)
    second = ahead @ (variances + model.means**2)
    np.testing.assert_allclose(predicted.variance, second - (ahead @ model.means) ** 2, rtol=1e-9)
    assert np.array_equal(np.isnan(predicted.residuals), np.isnan(seqs.values))
    last = np.array([reference.filtered(*case)[-1] for case in cases])
    forecast = model.forecast(seqs, steps=4)
    for h in range(4):
        law = last @ np.linalg.matrix_power(model.transition_probs, h + 1)
        np.testing.assert_allclose(forecast.mean[:, h], law @ model.means, **close)


def test_a_missing_entry_is_integrated_out():
    """Numerical integral over the missing entry of the density of the complete sequence (trapezoid, spectrally exact)."""
    model = random_model("full", spread=1.0)
    y = model.sample(6, seed=1).values.copy()
    grid = np.linspace(-25, 25, 4001)
    filled = np.repeat(y[None], len(grid), axis=0)
    filled[:, 2, 1] = grid
    density = np.exp(model.log_prob(list(filled)))
    y[2, 1] = np.nan
    assert model.log_prob(y)[0] == pytest.approx(np.log(density.sum() * (grid[1] - grid[0])), rel=1e-10)


def test_the_forecast_of_one_step_is_the_next_prediction():
    model = random_model()
    y = model.sample(30, seed=2).values
    ahead, next_one = model.forecast(y[:29], steps=1), model.predict(y)
    np.testing.assert_allclose(ahead.mean[0, 0], next_one.mean[29], rtol=1e-12)
    np.testing.assert_allclose(ahead.variance[0, 0], next_one.variance[29], rtol=1e-12)


def test_a_forecast_reacts_to_the_last_row_and_tends_to_the_stationary_law():
    model = random_model()
    y = model.sample(30, seed=3).values.copy()
    before = model.forecast(y, steps=400)
    y[-1] += 3.0
    assert (np.abs(model.forecast(y, steps=5).mean - before.mean[:, :5]) > 1e-9).all()
    stationary = np.linalg.matrix_power(model.transition_probs, 1000)[0]
    np.testing.assert_allclose(before.mean[0, -1], stationary @ model.means, rtol=1e-9)


def test_forecast_intervals_cover():
    """2000 futures of a known model: 80 % and 95 % intervals within 4 binomial standard errors, at 1 and at 5 steps."""
    model = random_model(dim=1)
    seqs = model.sample(25, 2000, seed=4)
    forecast = model.forecast(seqs.steps(0, 20), steps=5)
    future = seqs.values.reshape(2000, 25, 1)[:, 20:]
    for level in (80, 95):
        low, high = forecast.interval(level)
        share = ((future >= low) & (future <= high)).mean(axis=0)
        error = 4 * np.sqrt(level / 100 * (1 - level / 100) / 2000)
        assert (np.abs(share[[0, 4]] - level / 100) < error).all()


def test_residuals_of_the_true_model_are_standard_normal():
    """20 000 rows: mean, variance and lag-one correlation within 5 standard errors."""
    model = random_model(dim=1)
    z = model.predict(model.sample(20_000, seed=5)).residuals[:, 0]
    assert abs(z.mean()) < 5 / np.sqrt(20_000)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / 20_000)
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 5 / np.sqrt(20_000)


# --- another package --------------------------------------------------------------------------------------------------


def peer_of(model, **options):
    """hmmlearn 0.3.3 with the same parameters, and its hidden priors on the covariances taken away."""
    covariance = model.get_params()["covariance"]
    peer = hmmlearn.GaussianHMM(
        len(model.means), covariance_type=covariance, covars_prior=0.0, covars_weight=-1.0, min_covar=0.0,
        init_params="", **options,
    )  # fmt: skip
    peer.startprob_, peer.transmat_, peer.means_ = model.initial_probs, model.transition_probs, model.means
    peer.n_features = model.means.shape[1]
    peer.covars_ = model.covariances
    return peer


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_hmmlearn_scores_and_decodes_alike(covariance):
    model = random_model(covariance, dim=3)
    seqs = model.sample(120, 3, seed=6)
    peer = peer_of(model)
    assert model.log_prob(seqs).sum() == pytest.approx(peer.score(seqs.values, seqs.lengths), rel=1e-11)
    log_prob, path = peer.decode(seqs.values, seqs.lengths)
    assert np.array_equal(model.decode(seqs).path, path)
    assert model.decode(seqs).log_prob.sum() == pytest.approx(log_prob, rel=1e-11)
    np.testing.assert_allclose(model.smooth(seqs).probs, peer.predict_proba(seqs.values, seqs.lengths), atol=1e-9)


@pytest.mark.parametrize("covariance", ["diag", "full", "spherical", "tied"])
def test_hmmlearn_makes_the_same_em_step(covariance):
    """One iteration from the same start. hmmlearn divides by its priors' weights too, which the neutral ones above undo
    for each shape but 'tied' and 'full', where it needs its own value."""
    model = random_model(covariance, dim=3)
    seqs = model.sample(200, 2, seed=7)
    peer = peer_of(model, n_iter=1, tol=0.0, implementation="log")
    if covariance in ("full", "tied"):
        peer.covars_weight = -(1 if covariance == "full" else 1)
        peer.covars_prior = 0.0
    ours = model.clone().fit(seqs, max_iter=1, init="current")
    peer.fit(seqs.values, seqs.lengths)
    np.testing.assert_allclose(ours.initial_probs, peer.startprob_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.transition_probs, peer.transmat_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.means, peer.means_, rtol=1e-9)
    theirs = peer._covars_ if covariance != "spherical" else peer._covars_
    np.testing.assert_allclose(ours.covariances, theirs, rtol=1e-8)
    assert ours.fit_result.details["start_log_prob"] == pytest.approx(peer.monitor_.history[0], rel=1e-11)
