"""The bridges between linear-Gaussian models.

Oracles: the model that is converted (to 1e-10 on random models, not on one example); the joint Gaussian of the process itself; closed forms of
ARMA(1, 1) and the local level; the closed loop's spectral radius for what dies out.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError, NotFittedError, NumericalError, UnsupportedError
from statewise.conversion.graph import BRIDGES
from statewise.inference import varma as algebra
from statewise.inference.steady import spectral_radius
from statewise.inference.varma import VarmaParameters
from statewise.models.linear_rnn import LinearRNN

SEEDS = st.integers(0, 2**32 - 1)


def given_varma(ar, ma, mean, cov, weights=None) -> sw.VARMA:
    """A VARMA with given parameters, as if fitted."""
    ar, ma, mean, cov = (np.asarray(part, dtype=float) for part in (ar, ma, mean, cov))
    k = len(mean)
    weights = np.zeros((k, 0)) if weights is None else weights
    model = sw.VARMA(p=len(ar), q=len(ma))
    model._set_parameters(
        {
            "ar": ar.reshape(-1, k, k),
            "ma": ma.reshape(-1, k, k),
            "mean": mean,
            "input_weights": weights,
            "innovation_cov": cov,
        }
    )
    names = [f"u{j + 1}" for j in range(weights.shape[1])]
    model._schema = {
        "columns": [f"y{j + 1}" for j in range(k)],
        "input_columns": names,
        "season": None,
        "symbols": None,
    }
    return model


def random_varma(seed: int, k: int, p: int, q: int, u: int = 0) -> sw.VARMA:
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((k, k))
    near = VarmaParameters(
        np.zeros((p, k, k)), np.zeros((q, k, k)), rng.standard_normal(k), rng.standard_normal((k, u)),
        half @ half.T + 0.2 * np.eye(k),
    )  # fmt: skip
    par = algebra.random_parameters(near, rng)
    return given_varma(par.ar, par.ma, par.mean, par.cov, par.weights)


def data(seed: int, p: int, u: int, lengths=(17, 1, 6)) -> sw.Sequences:
    rng = np.random.default_rng(seed)
    values = [3 * rng.standard_normal((T, p)) for T in lengths]
    return sw.Sequences.from_arrays(values, inputs=[rng.standard_normal((T, u)) for T in lengths] if u else None)


def assert_same(one, two, seqs: sw.Sequences, u: int, tolerance: float = 1e-10) -> None:
    """The same densities step by step, predictions and forecasts."""
    future = np.random.default_rng(1).standard_normal((5, u)) if u else None
    np.testing.assert_allclose(
        one.log_prob(seqs, per_step=True), two.log_prob(seqs, per_step=True), rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(one.predict(seqs).mean, two.predict(seqs).mean, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(one.predict(seqs).variance, two.predict(seqs).variance, rtol=tolerance)
    have, want = (model.forecast(seqs, steps=5, inputs=future) for model in (one, two))
    np.testing.assert_allclose(have.mean, want.mean, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(have.variance, want.variance, rtol=tolerance)


# --- exact on random models -------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 3), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))
def test_varma_to_rnn_is_exact(seed, k, p, q, u):
    model, seqs = random_varma(seed, k, p, q, u), data(seed, k, u)
    assert_same(sw.convert(model, to="rnn"), model, seqs, u)


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.booleans(), st.sampled_from([0.3, 0.9, 0.99]))
def test_state_space_to_rnn_is_exact(seed, n, p, u, cross, radius):
    """Any system with a known start: correlated errors, intercepts, inputs into state and observation."""
    rng = np.random.default_rng(seed)
    model = sw.StateSpace(**ref.words(ref.random_system(rng, n, p, u, cross=cross, radius=radius)))
    assert_same(sw.convert(model, to="rnn"), model, data(seed, p, u), u)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.booleans())
def test_the_network_is_exact_with_missing_entries_too(seed, n, p, u, cross):
    rng = np.random.default_rng(seed)
    model, seqs = sw.StateSpace(**ref.words(ref.random_system(rng, n, p, u, cross=cross, radius=0.9))), data(seed, p, u)
    seqs = seqs.replace(values=np.where(rng.random(seqs.values.shape) < 0.3, np.nan, seqs.values))
    assert_same(sw.convert(model, to="rnn"), model, seqs, u)


@settings(max_examples=20)
@given(SEEDS, st.integers(1, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 1))
def test_varma_to_state_space_is_exact_with_missing_entries_too(seed, k, p, q, u):
    model, seqs = random_varma(seed, k, p, q, u), data(seed, k, u)
    values = np.where(np.random.default_rng(seed).random(seqs.values.shape) < 0.3, np.nan, seqs.values)
    seqs, converted = seqs.replace(values=values), sw.convert(model, to="state-space")
    assert converted.kind == "state-space"
    assert_same(converted, model, seqs, u, 1e-12)
    np.testing.assert_allclose(converted.smooth(seqs).mean, model.smooth(seqs).mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(converted.filter(seqs).cov, model.filter(seqs).cov, rtol=1e-12, atol=1e-12)


def test_the_rnn_has_the_density_of_the_process_itself():
    """Oracle without any state space: block-Toeplitz autocovariances of the VARMA."""
    model = random_varma(5, 2, 1, 2)
    y = data(5, 2, 0, (14,)).values
    want = ref.varma_log_density(model.ar, model.ma, model.mean, model.innovation_cov, y)
    np.testing.assert_allclose(sw.convert(model, to="rnn").log_prob(y), [want], rtol=1e-10)


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1e3, 1e9])
def test_exact_whatever_the_units_of_the_columns(unit):
    """Two series, one in a unit far from the other's: no threshold may be relative to the larger."""
    rng = np.random.default_rng(0)
    sys = ref.random_system(rng, 3, 2, radius=0.97)
    scale = np.array([1.0, unit])
    sys |= {
        "C": sys["C"] * scale[:, None],
        "R": sys["R"] * np.outer(scale, scale),
        "S": sys["S"] * scale,
        "d": sys["d"] * scale,
    }
    sys = {name: np.ascontiguousarray(part) for name, part in sys.items()}
    model = sw.StateSpace(**ref.words(sys))
    y = ref.simulate(sys, 80, rng)
    np.testing.assert_allclose(
        sw.convert(model, to="rnn").log_prob(y, per_step=True), model.log_prob(y, per_step=True), rtol=1e-9, atol=1e-9
    )


def test_a_slow_gain_is_followed_until_it_has_settled():
    """Signal-to-noise 1e-6: the gain is still moving after a thousand steps."""
    model = sw.StateSpace([[1.0]], [[1.0]], [[1e-6]], [[1.0]], initial_mean=[0.0], initial_cov=[[1.0]])
    rnn = sw.convert(model, to="rnn")
    assert len(rnn.parameters["gain"]) > 5000
    y = np.random.default_rng(0).standard_normal(3000)
    np.testing.assert_allclose(rnn.log_prob(y), model.log_prob(y), rtol=1e-12)


def test_a_pure_autoregression_needs_as_many_gains_as_lags():
    model = given_varma([[[0.5]], [[0.2]]], [], [0.0], [[1.0]])
    rnn = sw.convert(model, to="rnn")
    assert len(rnn.parameters["gain"]) <= 25
    np.testing.assert_allclose(rnn.parameters["gain"][-1].ravel(), [0.5, 0.2], atol=1e-14)


# --- closed forms -----------------------------------------------------------------------------------------------------


def test_arma_11_as_a_recurrent_network():
    """φ = .9, θ = −.4: recurrent weight −θ = .4 (not φ), input weight φ + θ = .5, and the innovations come back."""
    model = given_varma([[[0.9]]], [[[-0.4]]], [0.0], [[1.0]])
    rnn = sw.convert(model, to="rnn", gain="steady")
    own = rnn.parameters
    K = own["gain"][0]
    np.testing.assert_allclose(own["transition"] - K @ own["observation"], [[0.4]], rtol=1e-12)
    np.testing.assert_allclose(K, [[0.5]], rtol=1e-12)
    np.testing.assert_allclose(own["innovation_chol"], [[[1.0]]], rtol=1e-12)
    e = np.random.default_rng(0).standard_normal(400)
    y = np.zeros(400)
    for t in range(400):
        y[t] = e[t] + (0.9 * y[t - 1] - 0.4 * e[t - 1] if t else 0.0)
    residuals = rnn.predict(y).residuals[:, 0]
    np.testing.assert_allclose(residuals, e, atol=1e-12)  # both start from nothing: from the first step
    np.testing.assert_allclose(residuals, ref.arma_innovations(y, 0.9, -0.4), atol=1e-12)
    exact = sw.convert(model, to="rnn").predict(y).residuals[:, 0]
    np.testing.assert_allclose(exact[60:], e[60:], atol=1e-12)


@pytest.mark.parametrize(("q", "gain"), [(1.0, 0.618034), (0.1, 0.270156), (0.01, 0.095125)])
def test_the_local_level_is_exponential_smoothing(q, gain):
    """h ← (1 − K) h + K y with K = (−q + √(q² + 4q))/2; the steady conversion works for a diffuse start, too."""
    model = sw.StateSpace([[1.0]], [[1.0]], [[q]], [[1.0]])
    rnn = sw.convert(model, to="rnn", gain="steady")
    exact = (-q + np.sqrt(q * q + 4 * q)) / 2
    np.testing.assert_allclose(exact, gain, atol=5e-7)
    np.testing.assert_allclose(rnn.parameters["gain"].ravel(), [exact], rtol=1e-12)
    np.testing.assert_allclose(rnn.memory().rate, 1 - exact, rtol=1e-12)
    y = np.random.default_rng(0).standard_normal(50)
    h = np.zeros(51)
    for t in range(50):
        h[t + 1] = (1 - exact) * h[t] + exact * y[t]
    np.testing.assert_allclose(rnn.predict(y).mean[:, 0], h[:-1], atol=1e-12)


@pytest.mark.parametrize("theta", [0.5, 0.8])
def test_the_difference_of_the_steady_gain_dies_out_like_the_closed_loop(theta):
    """MA(1): |ŷ_steady − ŷ_exact| at step t falls like ρ(A − K C)ᵗ = θᵗ; the slope of its logarithm, within 5 %."""
    model = given_varma([], [[[theta]]], [0.0], [[1.0]])
    exact, steady = (sw.convert(model, to="rnn", gain=gain) for gain in ("exact", "steady"))
    assert len(steady.parameters["gain"]) == 1
    y = np.zeros(60)
    y[0] = 1.0
    gap = np.abs(exact.predict(y).mean - steady.predict(y).mean)[:, 0]
    far = np.flatnonzero(gap > 1e-13)[5:]
    slope = np.polyfit(far, np.log(gap[far]), 1)[0]
    np.testing.assert_allclose(slope, np.log(theta), rtol=0.05)
    np.testing.assert_allclose(
        spectral_radius(
            exact.parameters["transition"] - steady.parameters["gain"][0] @ exact.parameters["observation"]
        ),
        theta,
        rtol=1e-9,
    )


@pytest.mark.parametrize("seed", range(5))
def test_densities_of_the_steady_gain_approach_the_exact_ones(seed):
    """On a random system, beyond the step where ρᵗ is below rounding they are equal."""
    rng = np.random.default_rng(seed)
    sys = ref.random_system(rng, 3, 2, radius=0.7)
    model = sw.StateSpace(**ref.words(sys))
    exact, steady = (sw.convert(model, to="rnn", gain=gain) for gain in ("exact", "steady"))
    y = ref.simulate(sys, 300, rng)
    gap = np.abs(exact.log_prob(y, per_step=True) - steady.log_prob(y, per_step=True))
    assert gap[0] > 1e-6
    assert gap[200:].max() < 1e-10


# --- a fitted model, and one that was saved ----------------------------------------------------------------------------


def test_a_fitted_varma_on_real_data():
    macro = sw.datasets.load("us_macro")
    picked = [macro.columns.index(name) for name in ("realgdp", "realcons")]
    growth = np.diff(np.log(macro.values[:, picked]), axis=0)
    model = sw.VARMA(p=1, q=1).fit(growth, restarts=0)
    rnn = sw.convert(model, to="rnn")
    np.testing.assert_allclose(rnn.log_prob(growth), model.log_prob(growth), rtol=1e-12)
    np.testing.assert_allclose(rnn.memory().rate, model.memory().rate, rtol=1e-6)


def test_names_travel_along(tmp_path):
    y, u = np.random.default_rng(0).standard_normal((2, 60))
    seqs = sw.Sequences.from_arrays([y], inputs=[u], columns="gdp", input_columns="oil", season=4)
    model = sw.VARMA(p=1).fit(seqs)
    for target in ("state-space", "rnn"):
        converted = sw.convert(model, to=target)
        assert converted.sample(length=2, inputs=np.zeros((2, 1))).columns == ("gdp",)
        with pytest.raises(InputError, match="has the inputs oil"):
            converted.forecast(seqs)
        with pytest.raises(InputError, match="0 input_columns"):
            converted.log_prob(y)
        converted.save(tmp_path / target)
        again = sw.load(tmp_path / target)
        np.testing.assert_array_equal(again.log_prob(seqs), converted.log_prob(seqs))


@pytest.mark.parametrize("make", [
    lambda y: sw.Structural(trend=True).fit(y),
    lambda y: sw.Structural(level=False, seasonal=4).fit(y),
    lambda y: sw.Structural(trend="damped", cycle=(4.0, 15.0)).fit(y),
    lambda y: sw.ARIMA((1, 1, 1), (0, 1, 0), period=4).fit(y),
    lambda y: sw.Naive(season=3).fit(y),
])  # fmt: skip
def test_diffuse_models_become_state_space_models(make, tmp_path):
    """Same densities, forecasts, smoothed states and draws; after saving and loading, too."""
    y = 10 + np.random.default_rng(0).standard_normal(40).cumsum()
    model = make(y)
    for converted in (sw.convert(model, to="state-space"), None):
        if converted is None:
            sw.convert(model, to="state-space").save(tmp_path / "model")
            converted = sw.load(tmp_path / "model")
        assert_same(converted, model, sw.Sequences.from_arrays([y, y[:20]]), 0, 1e-12)
        np.testing.assert_allclose(converted.smooth(y).mean, model.smooth(y).mean, rtol=1e-12, atol=1e-12)
        assert converted.sample(length=4, seed=0).equals(model.sample(length=4, seed=0))


def test_inputs_that_a_model_ignores_have_no_weight_afterwards():
    y = np.random.default_rng(0).standard_normal(30)
    seqs = sw.Sequences.from_arrays([y], inputs=[np.arange(30.0)])
    model = sw.Naive().fit(seqs)
    converted = sw.convert(model, to="state-space")
    np.testing.assert_allclose(converted.log_prob(seqs), model.log_prob(seqs), rtol=1e-12)
    np.testing.assert_array_equal(
        converted.forecast(seqs, steps=2, inputs=np.ones((2, 1))).mean, model.forecast(seqs, steps=2).mean
    )


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_diffuse_start_has_no_exact_network():
    model = sw.StateSpace([[1.0]], [[1.0]], [[1.0]], [[1.0]])
    with pytest.raises(UnsupportedError, match=r"diffuse start, whose first gains are infinite.*gain='steady'"):
        sw.convert(model, to="rnn")
    with pytest.raises(UnsupportedError, match="diffuse start"):
        sw.convert(sw.Naive().fit([1.0, 2.0, 4.0]), to="rnn")


def test_a_gain_that_never_settles_has_no_exact_network():
    """A constant observed with noise: K[t] = 1/(t + 1) for ever."""
    model = sw.StateSpace([[1.0]], [[1.0]], [[0.0]], [[1.0]], initial_mean=[0.0], initial_cov=[[1.0]])
    with pytest.raises(UnsupportedError, match=r"has not settled after 20000 steps.*gain='steady'"):
        sw.convert(model, to="rnn")


@pytest.mark.parametrize("gain", ["exact", "steady"])
def test_a_singular_innovation_covariance_has_no_network(gain):
    model = sw.StateSpace([[0.9]], [[1.0], [1.0]], [[1.0]], np.zeros((2, 2)))
    with pytest.raises(NumericalError, match="add observation_noise or remove duplicate columns"):
        sw.convert(model, to="rnn", gain=gain)


def test_wrong_targets_and_models_are_named():
    model = given_varma([[[0.5]]], [], [0.0], [[1.0]])
    with pytest.raises(InputError, match=r"`to` is 'rn'; pass one of .*'innovations', .*'rnn', .*did you mean 'rnn'"):
        sw.convert(model, to="rn")
    with pytest.raises(InputError, match=r"`gain` is 'stedy'.*did you mean 'steady'"):
        sw.convert(model, to="rnn", gain="stedy")
    with pytest.raises(UnsupportedError, match="pass a statewise model, such as a fitted VARMA"):
        sw.convert("varma", to="rnn")
    with pytest.raises(
        UnsupportedError, match=r"a 'hmm' model does not convert to 'varma'; from it one reaches: birnn, rnn$"
    ):
        sw.convert(sw.HMM(states=2), to="varma")
    with pytest.raises(UnsupportedError, match=r"from it one reaches: birnn, .*innovations, .*rnn, .*varma"):
        sw.convert(sw.convert(model, to="state-space"), to="state-space")
    with pytest.raises(NotFittedError, match="fit"):
        sw.convert(sw.VARMA(), to="rnn")
    with pytest.raises(TypeError, match="gains"):
        sw.convert(model, to="rnn", gains="steady")


# --- the graph --------------------------------------------------------------------------------------------------------


def test_conversions_lists_every_bridge():
    table = sw.conversions()
    assert list(table.columns) == ["from", "to", "exact", "preserves"]
    assert len(table) == len(BRIDGES)
    assert {("varma", "state-space"), ("state-space", "rnn")} <= set(zip(table["from"], table["to"], strict=True))


def test_every_bridge_leads_to_a_function_and_between_kinds():
    import importlib

    from statewise.models.registry import MODELS

    targets = {"rnn": LinearRNN.kind, "innovations": "state-space"}
    for bridge in BRIDGES:
        module, name = bridge.where.split(":")
        assert callable(getattr(importlib.import_module(module), name))
        assert targets.get(bridge.source, bridge.source) in {*MODELS, "statsmodels", "hmmlearn", "torch", "layer"}
        assert targets.get(bridge.node, bridge.node) in {*MODELS, "torch", "layer"}


def test_a_chain_is_the_same_as_its_links():
    model, seqs = random_varma(3, 2, 1, 1), data(3, 2, 0)
    direct = sw.convert(model, to="rnn")
    linked = sw.convert(sw.convert(model, to="state-space"), to="rnn")
    np.testing.assert_array_equal(direct.log_prob(seqs), linked.log_prob(seqs))
