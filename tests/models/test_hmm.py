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
    np.testing.assert_allclose(
        model.filter(seqs).probs, np.vstack([reference.filtered(*case) for case in cases]), **close
    )
    np.testing.assert_allclose(
        model.smooth(seqs).probs, np.vstack([reference.smoothed(*case) for case in cases]), **close
    )
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
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
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


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_hmmlearn_makes_the_same_em_step(covariance):
    """One iteration from the same start, with hmmlearn's priors neutral; it reports the likelihood before the step."""
    model = random_model(covariance, dim=3)
    seqs = model.sample(200, 2, seed=7)
    peer = peer_of(model, n_iter=1, tol=0.0, implementation="log")
    ours = model.clone().fit(seqs, max_iter=1, init="current")
    peer.fit(seqs.values, seqs.lengths)
    np.testing.assert_allclose(ours.initial_probs, peer.startprob_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.transition_probs, peer.transmat_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.means, peer.means_, rtol=1e-9)
    theirs = peer._covars_[:, 0] if covariance == "spherical" else peer._covars_
    np.testing.assert_allclose(ours.covariances, theirs, rtol=1e-8)
    assert ours.fit_result.details["start_log_prob"] == pytest.approx(peer.monitor_.history[0], rel=1e-11)
    assert not ours.fit_result.converged and ours.fit_result.outcome is Outcome.MAX_ITER


# --- fitting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_fit_rises_ends_at_a_maximum_and_states_its_likelihood(covariance):
    """With missing entries. The trace never falls; what is reported is what `log_prob` says; no small step is better."""
    model = random_model(covariance)
    seqs = gappy(model, [200, 150], missing=0.15)
    fit = HMM(3, covariance=covariance).fit(seqs, tol=1e-9, max_iter=2000, restarts=2)
    result = fit.fit_result
    assert result.converged
    assert not any("min_variance" in note for note in result.notes)
    assert (np.diff(result.trace) >= -1e-9 * abs(result.log_prob)).all()
    assert result.log_prob == pytest.approx(fit.log_prob(seqs).sum(), rel=1e-12)
    assert result.n_steps == int((~np.isnan(seqs.values)).any(axis=1).sum()) < seqs.rows
    assert result.log_prob >= model.log_prob(seqs).sum()
    assert len(result.details["restart_log_probs"]) == 2
    rng = np.random.default_rng(0)
    for _ in range(10):
        options = fit.get_params() | {
            "initial_probs": fit.initial_probs,
            "transition_probs": fit.transition_probs,
            "means": fit.means + 1e-2 * rng.normal(size=fit.means.shape),
            "covariances": fit.covariances * np.exp(1e-2 * rng.normal()),
        }
        assert HMM(**options).log_prob(seqs).sum() < result.log_prob + 1e-6


def test_parameters_are_recovered():
    """10 000 rows: each within 5 approximate standard errors, taken as if the states had been seen."""
    truth = HMM(
        2, initial_probs=[0.5, 0.5], transition_probs=[[0.95, 0.05], [0.1, 0.9]],
        means=[[0.0, 1.0], [2.0, 0.0]], covariances=[[1.0, 0.5], [0.3, 2.0]],
    )  # fmt: skip
    seqs = truth.sample(2500, 4, seed=8)
    fit = HMM(2).fit(seqs)
    rows = np.array([6667, 3333])
    assert (np.abs(fit.means - truth.means) < 5 * np.sqrt(truth.covariances / rows[:, None])).all()
    assert (np.abs(fit.covariances / truth.covariances - 1) < 5 * np.sqrt(2 / rows[:, None])).all()
    error = 5 * np.sqrt(truth.transition_probs * (1 - truth.transition_probs) / rows[:, None])
    assert (np.abs(fit.transition_probs - truth.transition_probs) < 1.5 * error).all()
    assert (fit.decode(seqs).path == truth.decode(seqs).path).mean() > 0.99


def test_one_state_is_a_gaussian_sample():
    """Closed form: sample mean, population covariance and the likelihood of independent normals."""
    y = np.random.default_rng(0).normal(size=(50, 2)) @ [[1.0, 0.5], [0.0, 2.0]]
    fit = HMM(1, covariance="full").fit([y[:20], y[20:]])
    np.testing.assert_allclose(fit.means[0], y.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fit.covariances[0], np.cov(y.T, ddof=0), rtol=1e-12)
    assert fit.fit_result.log_prob == pytest.approx(reference.gaussian_table(y, fit.means, fit.covariances).sum())
    assert fit.memory().half_life == 0.0 and fit.memory(y).half_life == 0.0


def test_daily_return_scale_reaches_the_maximum():
    """Standard deviations .005 and .030 with equal means, where hidden priors and absolute floors go wrong. The default
    fit finds the likelihood that the true parameters' own neighbourhood has, and scales exactly with the unit."""
    truth = HMM(
        2, initial_probs=[0.5, 0.5], transition_probs=[[0.98, 0.02], [0.05, 0.95]],
        means=[0.0005, -0.001], covariances=[0.005**2, 0.03**2],
    )  # fmt: skip
    seqs = truth.sample(2000, seed=9)
    best = truth.clone().fit(seqs, init="current", tol=1e-10, max_iter=1000)
    fit = HMM(2).fit(seqs, tol=1e-10, max_iter=1000)
    assert fit.fit_result.log_prob == pytest.approx(best.fit_result.log_prob, abs=1e-5)
    # 4 standard errors of the standard deviation of the rarer state's 570 rows, 1 / √(2 · 570) each.
    np.testing.assert_allclose(np.sort(np.sqrt(fit.covariances[:, 0])), [0.005, 0.03], rtol=4 / np.sqrt(2 * 570))
    other = HMM(2).fit(seqs.replace(values=seqs.values * 1024), tol=1e-10, max_iter=1000)
    shift = 2000 * np.log(1024)
    assert other.fit_result.log_prob == pytest.approx(fit.fit_result.log_prob - shift, abs=1e-6)
    np.testing.assert_allclose(other.covariances, fit.covariances * 1024**2, rtol=1e-9)


def test_same_seed_same_fit_and_states_in_order():
    seqs = random_model(seed=3).sample(300, seed=1)
    one, two = HMM(3).fit(seqs, seed=4), HMM(3).fit(seqs, seed=4)
    assert all(np.array_equal(one.parameters[name], two.parameters[name]) for name in one.parameters)
    assert (np.diff(one.means[:, 0]) > 0).all()
    random = HMM(3).fit(seqs, init="random", seed=4, restarts=5)
    assert len(random.fit_result.details["restart_log_probs"]) == 5
    assert (np.diff(random.means[:, 0]) > 0).all()


def test_current_continues_where_it_was_and_keeps_the_order():
    """Two fits of 5 iterations are one of 10, to the last digit; the states stay where the user put them."""
    model = random_model(seed=5)
    seqs = model.sample(200, seed=1)
    parts = model.clone().fit(seqs, max_iter=5, init="current", tol=0.0).fit(seqs, max_iter=5, init="current", tol=0.0)
    whole = model.clone().fit(seqs, max_iter=10, init="current", tol=0.0)
    assert all(np.array_equal(parts.parameters[name], whole.parameters[name]) for name in whole.parameters)
    assert np.array_equal(np.argsort(whole.means[:, 0]), np.argsort(model.means[:, 0]))
    with pytest.raises(NotFittedError, match="call `fit"):
        HMM(2).fit(seqs, init="current")


def test_given_parts_are_where_a_fit_starts():
    """A transition given as zero stays zero, which shows that it was used; given means keep their order."""
    seqs = random_model(states=2, seed=6).sample(200, seed=1)
    left_to_right = HMM(2, transition_probs=[[0.9, 0.1], [0.0, 1.0]], means=[[3.0, 0.0], [-3.0, 0.0]])
    assert not left_to_right.is_fitted
    left_to_right.fit(seqs)
    assert left_to_right.transition_probs[1, 0] == 0.0
    assert left_to_right.means[0, 0] > left_to_right.means[1, 0]
    assert len(left_to_right.fit_result.details["restart_log_probs"]) == 1
    assert not np.isnan(left_to_right.smooth(seqs).probs).any()


def test_a_collapsing_state_is_set_aside_or_stated():
    """Ten equal rows among noise: a state that settles on them has no variance. With two states, some start finds the
    honest fit; where every start collapses, the note says so."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=60)
    y[::6] = 7.0
    fit = HMM(2).fit(y)
    assert "min_variance=1e-06" in fit.fit_result.notes[0]
    assert fit.covariances.min() == pytest.approx(1e-6 * y.var(), rel=1e-9)
    wide = HMM(2, min_variance=0.5).fit(y)
    assert wide.covariances.min() == pytest.approx(0.5 * y.var(), rel=1e-9)
    assert (np.diff(wide.fit_result.trace) >= -1e-9).all()


def test_rows_of_zeros_and_gaps_do_not_kill_a_fit():
    y = random_model(dim=2).sample(300, seed=2).values.copy()
    y[50:80] = 0.0
    y[100:140] = np.nan
    y[200:, 1] = np.nan
    for covariance in COVARIANCES:
        fit = HMM(2, covariance=covariance).fit(y, max_iter=30)
        assert all(np.isfinite(array).all() for array in fit.parameters.values())
        assert np.isfinite(fit.log_prob(y)).all()


def test_sequences_of_length_one_are_a_mixture():
    """No transition is ever seen: the start's transitions stay, and the density is Σ π N."""
    y = np.concatenate([np.random.default_rng(0).normal(m, 1.0, 100) for m in (0.0, 8.0)])
    fit = HMM(2).fit([np.array([value]) for value in y])
    np.testing.assert_allclose(fit.initial_probs, [0.5, 0.5], atol=1e-3)
    np.testing.assert_allclose(fit.means[:, 0], [y[:100].mean(), y[100:].mean()], atol=0.01)
    np.testing.assert_allclose(fit.transition_probs, 0.5)
    assert fit.memory([np.array([1.0])]).method == "eigenvalues"


def test_inputs_are_ignored_and_that_is_said():
    seqs = sw.Sequences.from_arrays([np.arange(20.0) % 7], inputs=[np.arange(20.0)])
    fit = HMM(2).fit(seqs, max_iter=3)
    assert any("the inputs u1 are not used" in note for note in fit.fit_result.notes)
    assert fit.forecast(seqs, steps=2, inputs=np.zeros((2, 1))).mean.shape == (1, 2, 1)


# --- the rest of the model --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_parameter_counts(covariance):
    model = random_model(covariance, states=3, dim=4)
    free = {"diag": 24, "full": 12 + 30, "tied": 12 + 10, "spherical": 15}[covariance]
    assert model.n_parameters == 2 + 6 + free


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_save_and_load_give_the_same_model(covariance, tmp_path):
    seqs = gappy(random_model(covariance), [60, 40])
    fit = HMM(2, covariance=covariance).fit(seqs, max_iter=20)
    fit.save(tmp_path / "model")
    again = sw.load(tmp_path / "model")
    assert isinstance(again, HMM)
    assert np.array_equal(again.log_prob(seqs), fit.log_prob(seqs))
    assert np.array_equal(again.forecast(seqs).mean, fit.forecast(seqs).mean)
    assert again.fit_result.details == fit.fit_result.details
    given = random_model(covariance)
    given.save(tmp_path / "given")
    assert np.array_equal(sw.load(tmp_path / "given").log_prob(seqs), given.log_prob(seqs))


def test_samples_have_the_model_s_moments_and_names():
    """Stationary mean within 5 standard errors of independent sequences."""
    model = random_model()
    seqs = model.sample(3, 5000, seed=1)
    last = seqs.values.reshape(5000, 3, 2)[:, 2]
    law = model.initial_probs @ np.linalg.matrix_power(model.transition_probs, 2)
    variance = law @ (model.covariances + model.means**2) - (law @ model.means) ** 2
    assert (np.abs(last.mean(axis=0) - law @ model.means) < 5 * np.sqrt(variance / 5000)).all()
    assert model.sample(5, seed=2).equals(model.sample(5, seed=2))
    named = sw.Sequences.from_arrays([seqs.values[:50]], columns=["gdp", "oil"])
    assert HMM(2).fit(named, max_iter=2).sample(4, seed=0).columns == ("gdp", "oil")


def test_memory_is_that_of_the_symmetric_recursion():
    """Two states, switch probability .1: |λ₂| = 1 − 2ε = .8, and observations shorten it (slope ≤ 1 − 2ε, theory §2)."""
    model = HMM(
        2,
        initial_probs=[0.5, 0.5],
        transition_probs=[[0.9, 0.1], [0.1, 0.9]],
        means=[-1.0, 1.0],
        covariances=[1.0, 1.0],
    )
    memory = model.memory()
    assert (memory.method, memory.rate) == ("eigenvalues", pytest.approx(0.8))
    assert memory.half_life == memory.process_half_life == pytest.approx(np.log(2) / -np.log(0.8))
    along = model.memory(model.sample(500, seed=1))
    assert along.method == "gradient" and 0 < along.rate < 0.8
    assert along.process_half_life == memory.half_life
    assert model.memory([np.nan] * 40).rate == pytest.approx(0.8, rel=1e-9)


def test_zeros_in_the_chain_never_become_nan():
    """Absorbing states, a forbidden start and observations a thousand standard deviations away."""
    model = HMM(
        3, initial_probs=[1.0, 0.0, 0.0], transition_probs=[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]],
        means=[0.0, 1000.0, -1000.0], covariances=[1.0, 1.0, 1.0],
    )  # fmt: skip
    y = np.array([900.0, -1000.0, 0.0, 1000.0, np.nan, 1e5])
    table = arguments(model, y[:, None])
    # The twin takes differences of sums up to 5e9.
    np.testing.assert_allclose(
        model.log_prob(y, per_step=True), reference.log_prob_steps(*table), rtol=1e-12, atol=1e-5
    )
    np.testing.assert_allclose(model.smooth(y).probs, reference.smoothed(*table), atol=1e-12)
    for result in (model.filter(y).probs, model.predict(y).mean, model.predict(y).variance, model.forecast(y).mean):
        assert np.isfinite(result).all()
    assert np.isfinite(model.predict(y).residuals[~np.isnan(y)]).all()
    assert np.isfinite(model.fit(y, init="current", max_iter=5).fit_result.log_prob)


def test_inputs_and_parameters_are_not_changed():
    y = random_model().sample(50, seed=1).values.copy()
    before, given = y.copy(), np.array([0.5, 0.5])
    model = HMM(2, initial_probs=given).fit(y, max_iter=5)
    given[:] = [1.0, 0.0]
    model.smooth(y), model.decode(y), model.predict(y), model.forecast(y), model.memory(y)
    assert np.array_equal(y, before)
    assert model.get_params()["initial_probs"].tolist() == [0.5, 0.5]
    assert not model.clone().is_fitted
    assert random_model().clone().is_fitted


def test_a_summary_says_how_it_went():
    text = HMM(2).fit(random_model().sample(100, seed=1)).summary()
    assert "HMM(states=2)" in text and "converged" in text and "transition_probs" in text
    assert repr(HMM(3, covariance="full")) == "HMM(states=3, covariance='full')"


@pytest.mark.parametrize("rule", ["states", "emission", "covariance", "initial_probs", "means", "min_variance"])
def test_bad_options_are_refused(rule):
    for value in HMM.options[rule].bad:
        with pytest.raises(InputError, match=f"`{rule}`"):
            HMM(**{rule: value})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"initial_probs": [1.0]}, r"`initial_probs` has shape \(1,\); pass shape \(2\)"),
        ({"initial_probs": [0.5, 0.6]}, "sums to 1.1"),
        ({"transition_probs": [[0.5, 0.5], [1.5, -0.5]]}, "negative entry"),
        ({"means": [0.0, 1.0, 2.0]}, "`means` has 3 entries but `states` is 2"),
        ({"covariances": [1.0]}, "`covariances` has 1 entries but `states` is 2"),
    ],
)
def test_bad_parameters_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        HMM(2, **given)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.full(20, 3.0), "column y is constant at 3"),
        ([np.nan] * 20, "column y has no observed entry"),
        ([1.0, 2.0, 1.0, 2.0], "`states` is 3 but the data have only 2 distinct rows"),
        (np.column_stack([np.arange(9.0), np.full(9, np.nan)]), "column y2 has no observed entry"),
        ([5.0], "column y is constant at 5"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(data, message):
    model = HMM(3)
    with pytest.raises(InputError, match=message):
        model.fit(data)
    assert not model.is_fitted


def test_other_columns_are_refused():
    with pytest.raises(InputError, match="2 columns but the HMM has laws for 1"):
        HMM(1, initial_probs=[1.0], transition_probs=[[1.0]], means=[0.0], covariances=[1.0]).log_prob(np.zeros((3, 2)))
    with pytest.raises(NotFittedError, match="no parameters yet"):
        HMM(2).log_prob([1.0, 2.0])
    with pytest.raises(InputError, match="`restarts` is 0"):
        HMM(2).fit([1.0, 2.0, 3.0], restarts=0)
    with pytest.raises(InputError, match="`init`"):
        HMM(2).fit([1.0, 2.0, 3.0], init="kmean")
