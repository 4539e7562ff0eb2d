"""Networks that start at a classical model.

Oracles: the classical model itself, to 1e-8 before training (the bound asked for; what is reached is near rounding); its exact forecasts
against simulated ones within Monte Carlo error; central differences; a series whose nonlinear part is known.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conversion.test_hmm_bridges import random_hmm
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError, UnsupportedError
from statewise.results.added import Added, standard_error

SEEDS = st.integers(0, 2**32 - 1)
AT_START = 1e-8


def level_series(seed=0, length=90, season=None):
    rng = np.random.default_rng(seed)
    y = 20 + np.cumsum(rng.standard_normal(length)) + rng.standard_normal(length)
    if season:
        y = y + 4 * np.sin(2 * np.pi * np.arange(length) / season)
    return sw.Sequences.from_arrays([y, y[: length // 2] + 3], season=season)


def holed(seqs, seed=0):
    gone = np.random.default_rng(seed).random(seqs.values.shape) < 0.15
    return seqs.replace(values=np.where(gone, np.nan, seqs.values))


STARTS = {
    "varma": lambda y: sw.VARMA(p=1, q=1).fit(y, restarts=0),
    "level": lambda y: sw.Structural().fit(y),
    "trend-season": lambda y: sw.Structural(trend=True, seasonal=4).fit(y),
    "arima": lambda y: sw.ARIMA((0, 1, 1), (0, 1, 1), period=4).fit(y, restarts=0),
    "hmm": lambda y: sw.HMM(states=3).fit(y, restarts=1, max_iter=20),
}


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_before_training_it_is_the_classical_model(name, cell):
    """log_prob, predictions and forecasts, with holes and a diffuse start; and again through the whole recursion of the network."""
    seqs = level_series(season=4)
    start = STARTS[name](seqs)
    model = sw.Recurrent(cell=cell, hidden=5, start=start).fit(seqs, epochs=0)
    for data in (seqs, holed(seqs)):
        np.testing.assert_allclose(
            model.log_prob(data, per_step=True), start.log_prob(data, per_step=True), rtol=0, atol=AT_START
        )
        have, want = model.predict(data), start.predict(data)
        np.testing.assert_allclose(have.mean, want.mean, rtol=1e-8)
        np.testing.assert_allclose(have.variance, want.variance, rtol=1e-8)
        np.testing.assert_allclose(model.forecast(data, 5).mean, start.forecast(data, 5).mean, rtol=1e-12)
    assert str(model.added(seqs)) == "nothing: the network is its classical start"
    assert model.fit_result.details["added"] == 0.0
    assert model.n_parameters == start.n_parameters


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.booleans())
def test_the_start_is_exact_on_random_systems(seed, n, p, u, cross):
    rng = np.random.default_rng(seed)
    sys = ref.random_system(rng, n, p, u, cross=cross)
    inputs = [rng.standard_normal((T, u)) for T in (12, 5)]
    arrays = [ref.simulate(sys, T, rng, own if u else None) for T, own in zip((12, 5), inputs, strict=True)]
    seqs = holed(sw.Sequences.from_arrays(arrays, inputs=inputs if u else None), seed)
    start = sw.StateSpace(**ref.words(sys))
    model = sw.Recurrent(hidden=3, start=start).fit(seqs, epochs=0)
    np.testing.assert_allclose(model.log_prob(seqs), start.log_prob(seqs), rtol=1e-10, atol=AT_START)


@pytest.mark.parametrize("family", ["full", "categorical", "poisson", "mixture", "product", "autoregressive"])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_start_is_exact_for_hidden_markov_models(family, zeros):
    start, seqs = random_hmm(family, 5, 3, zeros)
    model = sw.Recurrent(hidden=3, start=start).fit(seqs, epochs=0)
    np.testing.assert_allclose(
        model.log_prob(seqs, per_step=True), start.log_prob(seqs, per_step=True), rtol=0, atol=AT_START
    )


@pytest.mark.parametrize("name", ["varma", "trend-season", "hmm"])
@pytest.mark.parametrize("classical", ["train", "freeze"])
def test_training_never_ends_worse_on_the_validation_part(name, classical):
    seqs = level_series(season=4)
    start = STARTS[name](seqs)
    model = sw.Recurrent(hidden=4, start=start, classical=classical).fit(seqs, epochs=6, window=20)
    details = model.fit_result.details
    assert details["best_score"] >= details["start_score"]
    rows = np.concatenate(
        [np.arange(b - round(0.15 * (b - a)), b) for a, b in zip(seqs.offsets, seqs.offsets[1:], strict=False)]
    )
    have, want = (m.log_prob(seqs, per_step=True)[rows].mean() for m in (model, start))
    np.testing.assert_allclose(have - want, details["added"], atol=1e-8)
    assert have >= want - 1e-8
    assert any("the network added" in note for note in model.fit_result.notes)
    if classical == "freeze":
        assert model.module.path_unchanged()


def nonlinear(seed, length=600):
    """y[t] = .6 y[t−1] + 2 tanh(2 y[t−2]) − 1.2 y[t−2] + e[t], e ~ N(0, .25)."""
    rng = np.random.default_rng(seed)
    y = np.zeros(length + 50)
    for t in range(2, len(y)):
        y[t] = 0.6 * y[t - 1] + 2 * np.tanh(2 * y[t - 2]) - 1.2 * y[t - 2] + 0.5 * rng.standard_normal()
    return y[50:]


@pytest.fixture(scope="module")
def learnt():
    y = nonlinear(0)
    start = sw.VARMA(p=2).fit(y[:500])
    return y, start, sw.Recurrent(hidden=12, start=start, classical="freeze").fit(y[:500], epochs=60, lr=0.01, seed=0)


def test_a_nonlinear_term_is_found_and_its_size_is_said(learnt):
    y, start, model = learnt
    later = model.added(sw.Sequences.from_arrays([nonlinear(1)]))
    assert not later.is_nothing
    assert later.nats > 0.05
    assert model.fit_result.details["best_epoch"] > 0
    have, want = (m.predict(y).residuals for m in (model, start))
    assert have.shape == want.shape
    assert "nats per step" in model.summary()
    assert "added" in model.fit_result.details


def test_simulated_forecasts_and_densities_agree(learnt):
    """The density of the next step integrates to one, its mean is the forecast's within 4 standard errors of 1 000 paths, and `predict`'s."""
    y, _, model = learnt
    past = y[:80]
    grid = np.linspace(-8, 8, 2001)
    batch = sw.Sequences.from_arrays([np.append(past, value) for value in grid])
    density = np.exp(model.log_prob(batch, per_step=True)[batch.offsets[1:] - 1])
    step = grid[1] - grid[0]
    assert density.sum() * step == pytest.approx(1, abs=1e-6)
    mean, ahead = density @ grid * step, model.forecast(past, steps=3, seed=1)
    np.testing.assert_allclose(model.predict(np.append(past, 0.0)).mean[-1, 0], mean, rtol=1e-6)
    assert abs(ahead.mean[0, 0, 0] - mean) < 4 * np.sqrt(ahead.variance[0, 0, 0] / 1000) + 1e-3
    drawn = model.sample(length=400, count=2, seed=0)
    assert np.isfinite(drawn.values).all()


def test_save_load_clone(learnt, tmp_path):
    y, _, model = learnt
    model.save(tmp_path / "m")
    again = sw.load(tmp_path / "m")
    np.testing.assert_array_equal(again.log_prob(y), model.log_prob(y))
    np.testing.assert_array_equal(again.forecast(y, 3).mean, model.forecast(y, 3).mean)
    assert again.get_params()["start"].name == model.get_params()["start"].name
    copy = model.clone()
    assert not copy.is_fitted
    assert not copy.get_params()["start"].is_fitted
    np.testing.assert_array_equal(
        sw.Recurrent(hidden=4, start=sw.VARMA(p=1)).fit(y[:200], epochs=2).log_prob(y),
        sw.Recurrent(hidden=4, start=sw.VARMA(p=1)).fit(y[:200], epochs=2).log_prob(y),
    )


def test_an_hmm_start_goes_on_after_training(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.poisson(np.where(np.arange(300) % 20 < 10, 2.0, 9.0)).astype(float)  # a clock that a chain cannot keep
    start = sw.HMM(states=2, emission="poisson").fit(y, restarts=1)
    model = sw.Recurrent(cell="gru", hidden=8, start=start).fit(y, epochs=30, lr=0.03)
    assert model.fit_result.details["best_score"] >= model.fit_result.details["start_score"]
    ahead = model.forecast(y, 4)
    assert np.isfinite(ahead.mean).all()
    assert (model.sample(5, 2, seed=0).values >= 0).all()
    model.save(tmp_path / "m")
    np.testing.assert_allclose(sw.load(tmp_path / "m").log_prob(y), model.log_prob(y), rtol=1e-12)


def test_a_panel_with_a_classical_model_for_each_series():
    """At the start every series has the density of its own model; units far apart in scale share one network."""
    arrays = [level_series(k, 60).arrays()[0] * 10.0 ** (3 * k) for k in range(3)]
    seqs = sw.Sequences.from_arrays(arrays, ids=["a", "b", "c"])
    model = sw.Recurrent(hidden=4, start=sw.Structural(), per_series=True).fit(seqs, epochs=0)
    want = [sw.Structural().fit(one).log_prob(one)[0] for one in seqs]
    np.testing.assert_allclose(model.log_prob(seqs), want, atol=1e-6)
    np.testing.assert_allclose(model.log_prob(seqs[[2, 0]]), [want[2], want[0]], atol=1e-6)
    trained = sw.Recurrent(hidden=4, start=sw.Structural(), per_series=True).fit(seqs, epochs=3)
    assert trained.forecast(seqs, 2).mean.shape == (3, 2, 1)
    with pytest.raises(InputError, match=r"series 'x' was not among"):
        model.log_prob(sw.Sequences.from_arrays(arrays[:1], ids=["x"]))
    with pytest.raises(InputError, match="leave it out for an HMM"):
        sw.Recurrent(start=sw.HMM(states=2), per_series=True)
    with pytest.raises(UnsupportedError, match="no one classical model"):
        model.sample()


def test_gradients_of_the_path_pass_gradcheck():
    """Every weight, the gain and the scale, around a point that is not the start; a batch with a hole."""
    from statewise.models.started_training import Table

    rng = np.random.default_rng(0)
    y = rng.standard_normal((6, 1))
    y[3] = np.nan
    start = sw.StateSpace([[0.8]], [[1.0]], [[1.0]], [[1.0]])
    model = sw.Recurrent(hidden=2, start=start).fit(y, epochs=0)
    network, seqs = model.module, sw.Sequences.from_arrays([y])
    rows, _scored, _ = Table(model._part.rows(seqs, np.zeros(1, int)), seqs).whole()[0]
    names = [name for name, _ in network.named_parameters()]

    def density(*weights):
        return torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (rows,))[0]

    weights = [torch.tensor(0.1 * rng.standard_normal(w.shape), requires_grad=True) for w in network.parameters()]
    assert torch.autograd.gradcheck(density, weights)


def test_what_cannot_start():
    with pytest.raises(InputError, match="`start` is 'varma'; pass a VARMA"):
        sw.Recurrent(start="varma")
    with pytest.raises(InputError, match="`classical` is 'thaw'"):
        sw.Recurrent(start=sw.VARMA(), classical="thaw")
    varying = sw.StateSpace(np.full((5, 1, 1), 0.5), [[1.0]], [[1.0]], [[1.0]], initial_mean=[0.0], initial_cov=[[1.0]])
    with pytest.raises(UnsupportedError, match="change with the step"):
        sw.Recurrent(start=varying).fit(np.arange(5.0))


def test_what_was_added_in_words_and_its_standard_error():
    """White noise: sd/√T; an AR(1) with φ = .8 within 15 % of the long-run value (Monte Carlo and truncation of lags)."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal(4000)
    np.testing.assert_allclose(standard_error(white), 1 / np.sqrt(4000), rtol=0.15)
    ar = np.zeros(40_000)
    for t in range(1, len(ar)):
        ar[t] = 0.8 * ar[t - 1] + rng.standard_normal()
    np.testing.assert_allclose(standard_error(ar), 5 / np.sqrt(40_000), rtol=0.15)
    assert "nothing that can be told from chance" in str(Added.of(white - white.mean() + 0.001, True))
    assert str(Added.of(0.01 * white + 1, True)).startswith("+0.9998 ± 0.0002 nats")
    assert str(Added.of(np.zeros(3), False)) == "nothing: the network is its classical start"
    assert Added.of(white, True).to_frame().shape == (1, 3)


def test_it_counts_as_a_recurrent_model_and_is_compared_like_one():
    """compare refits the start at each origin: the network with a start and no epochs scores as the start alone."""
    seqs = level_series(length=60)
    network = sw.Recurrent(hidden=3, start=sw.VARMA(p=1))
    assert isinstance(network, sw.Recurrent)
    table = sw.compare([sw.VARMA(p=1), network], seqs, horizon=2, windows=2)
    assert any("start=VARMA" in score.name for score in table.scores)
    assert all(score.failure is None for score in table.scores)
