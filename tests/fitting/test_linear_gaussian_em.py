"""EM of linear-Gaussian systems: monotone, exact with missing entries, stationary points of the likelihood, published maxima."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError
from statewise.fitting.linear_gaussian_em import e_step


def example(seed=0, n=2, p=2, u=1, lengths=(30, 1, 12), missing=0.25):
    rng = np.random.default_rng(seed)
    sys = ref.random_system(rng, n, p, u)
    sys["S"] = np.zeros((n, p))
    inputs = [rng.standard_normal((T, u)) for T in lengths]
    arrays = [ref.simulate(sys, T, rng, own) for T, own in zip(lengths, inputs, strict=True)]
    for y in arrays:
        y[rng.random(y.shape) < missing] = np.nan
    words = {k: v for k, v in ref.words(sys).items() if k != "noise_cross"}
    return words, sw.Sequences.from_arrays(arrays, inputs=inputs)


@pytest.mark.parametrize(
    "fix", [(), ("observation", "state_noise"), ("transition", "input_to_state", "observation_noise")]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_likelihood_never_falls_and_the_result_is_true(seed, fix):
    words, seqs = example(seed)
    model = sw.StateSpace(**words, initial="estimated").fit(seqs, fix=fix, max_iter=15, tol=1e-12)
    fit = model.fit_result
    trace = np.r_[fit.details["start_log_prob"], fit.trace]
    assert (np.diff(trace) > 0).all()  # far from the maximum still: each gain is well above rounding
    np.testing.assert_allclose(model.log_prob(seqs).sum(), fit.log_prob, rtol=1e-12)
    for name in fix:
        np.testing.assert_array_equal(model.parameters[name], words[name])
    changed = {name for name in model.parameters if not np.array_equal(model.parameters[name], words[name])}
    assert changed == set(words) - set(fix)


def test_expected_statistics_are_those_of_the_joint_gaussian():
    """Complete-data moments by conditioning the joint law of (x, y) on what is seen; 1e-9: float64 algebra on a 60 × 60 system."""
    rng = np.random.default_rng(3)
    words, _ = example(3)
    plain = {k: v for k, v in words.items() if not k.startswith("input")}
    y = rng.standard_normal((6, 2))
    y[rng.random(y.shape) < 0.3] = np.nan
    y[2] = np.nan
    y[3] = [np.nan, 0.7]
    model = sw.StateSpace(**plain)
    s, T = model.system, 6
    n, p = s.n, s.p
    mean, shape = np.zeros(T * n + T * p), np.zeros((T * n + T * p, n + T * (n + p)))
    mean[:n], shape[:n, :n] = s.m0, np.eye(n)
    noise = np.zeros((n + T * (n + p),) * 2)
    noise[:n, :n] = s.P0
    for t in range(T):
        x, o, w = slice(t * n, t * n + n), slice(T * n + t * p, T * n + t * p + p), n + t * (n + p)
        noise[w : w + n, w : w + n], noise[w + n : w + n + p, w + n : w + n + p] = s.Q, s.R
        mean[o], shape[o] = s.C @ mean[x] + s.d, s.C @ shape[x]
        shape[o, w + n : w + n + p] += np.eye(p)
        if t + 1 < T:
            after = slice(x.stop, x.stop + n)
            mean[after], shape[after] = s.A @ mean[x] + s.b, s.A @ shape[x]
            shape[after, w : w + n] += np.eye(n)
    cov = shape @ noise @ shape.T
    seen = np.r_[np.zeros(T * n, bool), ~np.isnan(y.ravel())]
    gain = cov[:, seen] @ np.linalg.inv(cov[np.ix_(seen, seen)])
    mean = mean + gain @ (y.ravel()[seen[T * n :]] - mean[seen])
    second = cov - gain @ cov[seen] + np.outer(mean, mean)
    _, got = e_step(s, sw.Sequences.from_arrays([y]))
    X = [slice(t * n, t * n + n) for t in range(T)]
    Y = [slice(T * n + t * p, T * n + t * p + p) for t in range(T)]
    some = [t for t in range(T) if not np.isnan(y[t]).all()]
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(got.state.tt, sum(second[X[t + 1], X[t + 1]] for t in range(T - 1)), **close)
    np.testing.assert_allclose(got.state.tz[:, :n], sum(second[X[t + 1], X[t]] for t in range(T - 1)), **close)
    np.testing.assert_allclose(got.state.zz[:n, :n], sum(second[X[t], X[t]] for t in range(T - 1)), **close)
    np.testing.assert_allclose(got.observation.tt, sum(second[Y[t], Y[t]] for t in some), **close)
    np.testing.assert_allclose(got.observation.tz[:, :n], sum(second[Y[t], X[t]] for t in some), **close)
    np.testing.assert_allclose(got.observation.tz[:, -1], sum(mean[Y[t]] for t in some), **close)
    assert (got.observation.count, got.state.count) == (len(some), T - 1)


def test_nile_reaches_the_published_maximum():
    """Durbin & Koopman (2012, §2.10): 15098.53 and 1469.178 at −633.4646; EM stops within 1e-3 nats and .5 % of them."""
    model = sw.StateSpace([[1.0]], [[1.0]], [[1000.0]], [[10000.0]], initial="diffuse")
    model.fit(sw.datasets.load("nile"), fix=("transition", "observation"), max_iter=2000, tol=1e-9)
    assert model.fit_result.converged
    np.testing.assert_allclose(model.fit_result.log_prob, -633.4646, atol=1e-3)
    np.testing.assert_allclose(model.parameters["observation_noise"], [[15098.53]], rtol=5e-3)
    assert model.n_parameters == 2
    np.testing.assert_allclose(model.aic, 4 + 2 * 633.4646, atol=1e-2)
    assert model.clone().fit_result is None
    np.testing.assert_array_equal(model.clone().parameters["state_noise"], [[1000.0]])


def test_units_of_the_data_do_not_matter():
    words, seqs = example(5)
    scale = np.array([1e6, 1e-4])
    scaled = words | {
        "observation": scale[:, None] * words["observation"],
        "observation_noise": scale[:, None] * words["observation_noise"] * scale,
        "observation_intercept": scale * words["observation_intercept"],
        "input_to_observation": scale[:, None] * words["input_to_observation"],
    }
    one = sw.StateSpace(**words, initial="estimated").fit(seqs, max_iter=8)
    two = sw.StateSpace(**scaled, initial="estimated").fit(seqs.replace(values=seqs.values * scale), max_iter=8)
    np.testing.assert_allclose(two.parameters["transition"], one.parameters["transition"], rtol=1e-6, atol=1e-8)


def test_a_fitted_model_comes_back_from_a_file(tmp_path):
    words, seqs = example(1)
    model = sw.StateSpace(**words, initial="estimated").fit(seqs, max_iter=3)
    model.save(tmp_path / "model")
    again = sw.load(tmp_path / "model")
    np.testing.assert_array_equal(again.log_prob(seqs), model.log_prob(seqs))
    assert again.n_parameters == model.n_parameters > 0


def test_what_em_cannot_do_is_said():
    words, seqs = example()
    stable = {k: words[k] for k in ("transition", "observation", "state_noise", "observation_noise")}
    plain = sw.Sequences.from_arrays([seqs.values[:30]])
    with pytest.raises(InputError, match="stationary"):
        sw.StateSpace(**stable, initial="stationary").fit(plain)
    with pytest.raises(InputError, match="`fix` has 'gain'"):
        sw.StateSpace(**words).fit(seqs, fix=("gain",))
    with pytest.raises(InputError, match="noise_cross"):
        sw.StateSpace(**words, noise_cross=np.full((2, 2), 1e-3)).fit(seqs)


@pytest.mark.parametrize(("states", "dim"), [(1, 1), (4, 2), (5, 3)])
def test_random_models_are_stable_and_repeatable(states, dim):
    one, two = (sw.StateSpace.random(states=states, dim=dim, seed=0) for _ in range(2))
    assert np.abs(np.linalg.eigvals(one.system.A)).max() <= 0.95 + 1e-12
    assert (one.system.n, one.system.p) == (states, dim)
    np.testing.assert_array_equal(one.system.A, two.system.A)


@pytest.mark.parametrize("fix", [(), ("initial_mean",), ("initial_cov",), ("initial_mean", "initial_cov")])
def test_the_start_that_was_fitted_with_comes_back_from_a_file(tmp_path, fix):
    drawn = sw.StateSpace.random(2, 1, seed=1)
    words = {k: v for k, v in drawn.parameters.items() if not k.startswith("initial")}
    seqs = drawn.sample(40, 2, seed=0)
    model = sw.StateSpace(**words, initial="estimated").fit(seqs, fix=fix, max_iter=5)
    model.save(tmp_path / "model")
    np.testing.assert_allclose(sw.load(tmp_path / "model").log_prob(seqs), model.log_prob(seqs), rtol=1e-12)


def test_a_diffuse_start_stays_diffuse_where_the_fitted_transition_is_stable(tmp_path):
    seqs = sw.datasets.load("nile")
    model = sw.StateSpace([[1.0]], [[1.0]], [[1000.0]], [[10000.0]]).fit(seqs, fix=("observation",), max_iter=20)
    assert model.parameters["transition"] < 1
    model.save(tmp_path / "model")
    np.testing.assert_allclose(sw.load(tmp_path / "model").log_prob(seqs), model.log_prob(seqs), rtol=1e-12)
