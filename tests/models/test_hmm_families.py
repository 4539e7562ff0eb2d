"""Hidden Markov models with every family: published fits, hmmlearn's EM steps, structure, known states, streams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import statewise as sw
from statewise._core.errors import InputError, NumericalError

# Major earthquakes (magnitude 7 and above) a year, 1900 to 2006: Zucchini, MacDonald & Langrock, *Hidden Markov Models for
# Time Series* (2016), table 1.1.
EARTHQUAKES = np.array(
    """13 14 8 10 16 26 32 27 18 32 36 24 22 23 22 18 25 21 21 14 8 11 14 23 18 17 19 20 22 19 13 26 13 14 22 24 21 22 26 21
    23 24 27 41 31 27 35 26 28 36 39 21 17 22 17 19 15 34 10 15 22 18 15 20 15 22 19 16 30 27 29 23 20 16 21 21 25 16 18 15
    18 14 10 15 8 15 6 11 8 7 18 16 13 12 13 20 15 16 12 18 15 16 13 15 16 11 11""".split(),  # noqa: SIM905  # a table of 107 numbers reads better than a list of 107 lines
    dtype=float,
)
CHAIN = {"initial_probs": [0.6, 0.4], "transition_probs": [[0.7, 0.3], [0.4, 0.6]]}


@pytest.mark.parametrize(
    ("states", "log_prob", "rates"),
    [(2, -341.8787, [15.4208, 26.0182]), (3, -328.5275, [13.1338, 19.7131, 29.7097])],
)
def test_earthquakes_reach_the_published_maximum(states, log_prob, rates):
    """Log-likelihoods of EM with a free initial law, and its rates: Zucchini et al. (2016), §4.3, tables 4.1 and 4.2."""
    model = sw.HMM(states=states, emission="poisson").fit(EARTHQUAKES, tol=1e-10, max_iter=1000)
    assert model.log_prob(EARTHQUAKES)[0] == pytest.approx(log_prob, abs=5e-5)
    np.testing.assert_allclose(model.rates[:, 0], rates, atol=5e-3)
    assert model.fit_result.converged


def test_the_textbook_categorical_example():
    model = sw.HMM(states=2, emission="categorical", **CHAIN, probs=[[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]])
    seen = [0.0, 1.0, 2.0]
    assert np.exp(model.decode(seen).log_prob[0]) == pytest.approx(0.01344)
    P, B, total = np.array(CHAIN["transition_probs"]), np.array([[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]), 0.0
    for path in itertools.product(range(2), repeat=3):
        chance = CHAIN["initial_probs"][path[0]] * P[path[0], path[1]] * P[path[1], path[2]]
        total += chance * B[path[0], 0] * B[path[1], 1] * B[path[2], 2]
    assert model.log_prob(seen)[0] == pytest.approx(np.log(total), rel=1e-13)


def test_hmmlearn_makes_the_same_step_for_symbols_counts_and_mixtures():
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    rng = np.random.default_rng(0)
    symbols, lengths = rng.integers(4, size=300), [200, 100]
    probs = rng.dirichlet(np.ones(4), size=2)
    peer = hmmlearn.CategoricalHMM(2, n_iter=1, tol=0, init_params="", params="ste")
    peer.startprob_, peer.transmat_, peer.emissionprob_ = *(np.array(v) for v in CHAIN.values()), probs.copy()
    ours = sw.HMM(states=2, emission="categorical", **CHAIN, probs=probs)
    pieces = [symbols[:200].astype(float), symbols[200:].astype(float)]
    assert ours.log_prob(pieces).sum() == pytest.approx(peer.score(symbols[:, None], lengths), rel=1e-11)
    peer.fit(symbols[:, None], lengths)
    ours.fit(pieces, init="current", max_iter=1)
    np.testing.assert_allclose(ours.probs, peer.emissionprob_, rtol=1e-8)
    np.testing.assert_allclose(ours.transition_probs, peer.transmat_, rtol=1e-8)

    counts = rng.poisson(np.repeat([2.0, 7.0], 150))
    peer = hmmlearn.PoissonHMM(2, n_iter=1, tol=0, init_params="", params="stl")
    peer.startprob_, peer.transmat_ = (np.array(v) for v in CHAIN.values())
    peer.lambdas_ = np.array([[1.0], [5.0]])
    ours = sw.HMM(states=2, emission="poisson", **CHAIN, rates=[1.0, 5.0])
    peer.fit(counts[:, None])
    ours.fit(counts.astype(float), init="current", max_iter=1)
    np.testing.assert_allclose(ours.rates, peer.lambdas_, rtol=1e-8)


def test_a_product_of_families_finds_its_states_and_is_saved(tmp_path):
    rng = np.random.default_rng(1)
    truth = np.repeat(np.arange(2), 100).tolist() * 2
    calls = rng.poisson(np.array([2.0, 9.0])[truth])
    length = rng.gamma(3.0, np.array([1.0, 4.0])[truth])
    values = np.column_stack([calls, length]).astype(float)
    values[rng.random(values.shape) < 0.1] = np.nan
    data = sw.Sequences.from_arrays([values], columns=["calls", "length"])
    model = sw.HMM(states=2, emission={"calls": "poisson", "length": "gamma"}).fit(data)
    assert (model.decode(data).path == truth).mean() > 0.97
    assert model.parameters["calls.rates"][:, 0] == pytest.approx([2.0, 9.0], rel=0.15)
    assert model.n_parameters == 3 + 2 + 4
    model.save(tmp_path / "m")
    again = sw.load(tmp_path / "m")
    np.testing.assert_array_equal(again.log_prob(data), model.log_prob(data))
    forecast = model.forecast(data, steps=3)
    assert forecast.mean.shape == (1, 3, 2)
    assert forecast.interval(80)[0].shape == (1, 3, 2)
    assert model.predict(data).residuals.shape == values.shape
    given = sw.HMM(
        states=2,
        emission={"calls": "poisson", "length": "gamma"},
        **CHAIN,
        rates={"calls": [2.0, 9.0]},
        shapes={"length": [3.0, 3.0]},
        scales={"length": [1.0, 4.0]},
    )
    assert np.isfinite(given.log_prob(data)).all()
    given.save(tmp_path / "g")
    np.testing.assert_array_equal(sw.load(tmp_path / "g").log_prob(data), given.log_prob(data))
    with pytest.raises(InputError, match=r"names the columns calls, length and the data have a, b"):
        model.fit(sw.Sequences.from_arrays([values], columns=["a", "b"]))


def test_left_to_right_chains_never_return():
    rng = np.random.default_rng(2)
    data = [np.repeat([0.0, 5.0, 1.0], [n, 30, 40 - n]) + rng.normal(size=70) for n in (10, 20, 30)]
    model = sw.HMM(states=3, transitions="left-to-right").fit(data)
    P = model.transition_probs
    assert (P[np.tril_indices(3, -1)] == 0).all()
    assert P[0, 2] == 0
    assert model.initial_probs.tolist() == [1.0, 0.0, 0.0]
    assert model.means[:, 0] == pytest.approx([0.0, 5.0, 1.0], abs=0.5)
    assert (np.diff(model.decode(data[0]).path) >= 0).all()
    assert model.n_parameters == 2 + 6
    banded = sw.HMM(states=3, transitions="banded").fit(data, restarts=1)
    assert banded.transition_probs[0, 2] == banded.transition_probs[2, 0] == 0


def test_a_prior_for_staying_is_asked_for_and_counts_as_extra_stays():
    data = np.random.default_rng(3).normal(size=200)
    plain = sw.HMM(states=2, **CHAIN, means=[-1.0, 1.0], covariances=[1.0, 1.0])
    sticky = sw.HMM(states=2, **CHAIN, means=[-1.0, 1.0], covariances=[1.0, 1.0], stay_prior=50.0)
    plain.fit(data, init="current", max_iter=1)
    sticky.fit(data, init="current", max_iter=1)
    assert (np.diag(sticky.transition_probs) > np.diag(plain.transition_probs)).all()
    longer = sticky.fit(data, init="current", max_iter=30)
    assert longer.fit_result.log_prob == pytest.approx(longer.log_prob(data)[0], rel=1e-12)


def test_known_states_decide_and_unknown_ones_are_inferred():
    rng = np.random.default_rng(4)
    truth = np.repeat([1, 0, 1, 0], 50)
    data = np.where(truth == 1, -1.0, 1.0) + rng.normal(size=200)
    model = sw.HMM(states=2).fit(data, known_states=[truth], max_iter=1)
    assert model.means[:, 0] == pytest.approx([data[truth == 0].mean(), data[truth == 1].mean()], rel=1e-12)
    stays = np.array([[98, 1], [2, 98]]) / [[99], [100]]
    np.testing.assert_allclose(model.transition_probs, stays, rtol=1e-12)
    some = np.where(rng.random(200) < 0.3, truth, -1)
    partly = sw.HMM(states=2).fit(data, known_states=[some])
    assert (partly.decode(data).path == truth).mean() > 0.95
    with pytest.raises(InputError, match="`known_states` has the entry 2"):
        model.fit(data, known_states=[np.full(200, 2)])
    with pytest.raises(InputError, match="in the lengths"):
        model.fit(data, known_states=[truth[:-1]])


def test_an_autoregression_with_one_state_is_least_squares():
    rng = np.random.default_rng(5)
    y = np.zeros(300)
    for t in range(1, 300):
        y[t] = 1.0 + 0.7 * y[t - 1] + rng.normal()
    model = sw.HMM(states=1, emission="autoregressive").fit(y)
    x = np.column_stack([np.ones(300), np.concatenate([[y.mean()], y[:-1]])])
    expected = np.linalg.lstsq(x, y, rcond=None)[0]
    assert [model.intercepts[0, 0], model.coefficients[0, 0, 0]] == pytest.approx(expected, rel=1e-6)
    forecast = model.forecast(y, steps=3, seed=1)
    first = expected[0] + expected[1] * y[-1]
    assert forecast.mean[0, 0, 0] == pytest.approx(first, abs=0.15)
    assert forecast.mean[0, 2, 0] == pytest.approx(
        expected[0] * (1 + expected[1] + expected[1] ** 2) + expected[1] ** 3 * y[-1], abs=0.2
    )


def test_regimes_of_a_regression_are_found_and_forecast_from_future_inputs():
    rng = np.random.default_rng(6)
    truth = np.repeat([0, 1, 0, 1], 100)
    u = rng.normal(size=400)
    y = np.where(truth == 0, 2.0 * u, -1.0 * u) + 0.3 * rng.normal(size=400)
    data = sw.Sequences.from_arrays([y], inputs=[u])
    model = sw.HMM(states=2, emission="regression").fit(data, restarts=5)
    assert sorted(model.coefficients[:, 0, 0]) == pytest.approx([-1.0, 2.0], abs=0.1)
    path = model.decode(data).path
    assert max((path == truth).mean(), (path != truth).mean()) > 0.95
    ahead = model.forecast(data, steps=2, inputs=[[1.0], [2.0]])
    belief = model.filter(data).probs[-1]
    slopes = model.intercepts[:, 0] + np.outer([1.0, 2.0], model.coefficients[:, 0, 0])
    P = model.transition_probs
    assert ahead.mean[0, :, 0] == pytest.approx([belief @ P @ slopes[0], belief @ P @ P @ slopes[1]], rel=1e-10)
    with pytest.raises(InputError, match="`inputs`"):
        model.forecast(data, steps=2)
    with pytest.raises(InputError, match="needs inputs"):
        sw.HMM(states=2, emission="regression").fit(y)


@pytest.mark.parametrize("emission", ["poisson", "student-t", "gaussian-mixture", "autoregressive"])
def test_streams_agree_with_the_filter_and_go_on_from_bytes(emission):
    rng = np.random.default_rng(7)
    y = rng.poisson(np.repeat([2.0, 8.0, 2.0], 30)).astype(float)
    y[10] = np.nan
    model = sw.HMM(states=2, emission=emission).fit(y, restarts=1, max_iter=20)
    probs, stream = model.filter(y).probs, model.stream()
    for t in range(50):
        stream.update(y[t])
        np.testing.assert_allclose(stream.probs, probs[t], atol=1e-10)
    stream = model.stream(stream.to_bytes())
    for t in range(50, 90):
        stream.update(y[t])
    np.testing.assert_allclose(stream.probs, probs[-1], atol=1e-10)
    assert stream.log_prob == pytest.approx(model.log_prob(y)[0], rel=1e-10)
    np.testing.assert_allclose(stream.forecast(3).mean, model.forecast(y, 3).mean, rtol=1e-8)
    with pytest.raises(InputError, match="`state`"):
        model.stream(b"nothing")


def test_a_stream_refuses_what_cannot_be_and_stays_as_it_was():
    model = sw.HMM(states=2, emission="categorical", **CHAIN, probs=[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    stream = model.stream()
    stream.update(0)
    with pytest.raises(NumericalError):
        stream.update(2)
    assert stream.step == 1
    assert stream.probs.tolist() == [1.0, 0.0]


def test_parameters_of_another_family_are_refused_by_name():
    with pytest.raises(InputError, match="`rates` is not a parameter of emission 'gaussian'"):
        sw.HMM(states=2, rates=[1.0, 2.0])
    with pytest.raises(AttributeError, match="has no `rates`; it has initial_probs"):
        _ = sw.HMM(states=2, **CHAIN, means=[0.0, 1.0], covariances=[1.0, 1.0]).rates
    with pytest.raises(InputError, match="'tied', which emission 'gaussian-mixture' does not have"):
        sw.HMM(states=2, emission="gaussian-mixture", covariance="tied").fit(np.arange(10.0))
    with pytest.raises(InputError, match=r"`probs` has a row that sums to 0\.9"):
        sw.HMM(states=2, emission="categorical", probs=[[0.5, 0.5], [0.2, 0.7]])
    with pytest.raises(InputError, match="takes one column"):
        sw.HMM(states=2, emission="categorical").fit([np.zeros((5, 2))])
