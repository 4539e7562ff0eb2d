"""Models of statsmodels and hmmlearn as ours. Oracle: the other package's own log-likelihood, at the versions of constraints.txt."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import statewise as sw
from statewise._core.errors import UnsupportedError

sm = pytest.importorskip("statsmodels.api")
hmmlearn = pytest.importorskip("hmmlearn.hmm")


def series(k=1, length=120, seed=0):
    rng = np.random.default_rng(seed)
    y = np.zeros((length, k))
    for t in range(1, length):
        y[t] = 0.6 * y[t - 1] + rng.standard_normal(k)
    return 3 + y


def smoothed(model, params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.smooth(params)


@pytest.mark.parametrize(("order", "trend"), [((1, 0), "c"), ((2, 1), "c"), ((0, 1), "n")])
def test_varmax_results(order, trend):
    y = series(2)
    y[5, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sm.tsa.VARMAX(y, order=order, trend=trend)
        results = model.filter(model.start_params)
    ours, gap = sw.convert(results, to="state-space", verify=y)
    assert gap < 1e-10
    np.testing.assert_allclose(ours.log_prob(y), [results.llf], rtol=1e-10)
    np.testing.assert_allclose(ours.forecast(y, 4).mean[0], results.forecast(4), rtol=1e-9)
    np.testing.assert_allclose(sw.convert(results, to="varma").log_prob(y), [results.llf], rtol=1e-9)


@pytest.mark.parametrize("level", ["llevel", "lltrend", "rwalk"])
def test_unobserved_components_with_an_exact_diffuse_start(level):
    """The same total, −½ log 2π for each diffuse step included."""
    y = series().cumsum(axis=0)[:, 0]
    y[[7, 8]] = np.nan
    model = sm.tsa.UnobservedComponents(y, level, use_exact_diffuse=True)
    results = smoothed(model, model.start_params)
    ours = sw.convert(results, to="state-space")
    np.testing.assert_allclose(ours.log_prob(y), [results.llf], rtol=1e-9)
    np.testing.assert_allclose(ours.forecast(y, 3).mean[0, :, 0], results.forecast(3), rtol=1e-8)


def test_an_approximate_diffuse_start_is_taken_literally_or_made_exact():
    """Every step's density is theirs; their sum leaves the burn-in out. start='diffuse' gives what the exact option gives."""
    y = series().cumsum(axis=0)[:, 0]
    model = sm.tsa.UnobservedComponents(y, "lltrend")
    results = smoothed(model, [1.0, 0.5, 0.3])
    ours, gap = sw.convert(results, to="state-space", verify=y)
    assert gap < 1e-9
    burn = model.loglikelihood_burn
    assert burn == 2
    np.testing.assert_allclose(ours.log_prob(y, per_step=True)[burn:].sum(), results.llf, rtol=1e-9)
    exact = sm.tsa.UnobservedComponents(y, "lltrend", use_exact_diffuse=True)
    want = smoothed(exact, [1.0, 0.5, 0.3]).llf
    np.testing.assert_allclose(sw.convert(results, to="state-space", start="diffuse").log_prob(y), [want], rtol=1e-9)


def test_exogenous_variables_of_the_observation_become_inputs():
    y, X = series()[:, 0], np.random.default_rng(1).standard_normal((120, 2))
    model = sm.tsa.UnobservedComponents(y, "llevel", exog=X, use_exact_diffuse=True)
    results = smoothed(model, [1.0, 0.5, 0.7, -0.4])
    seqs = sw.Sequences.from_arrays([y], inputs=[X])
    ours = sw.convert(results, to="state-space")
    np.testing.assert_allclose(ours.log_prob(seqs), [results.llf], rtol=1e-9)
    np.testing.assert_allclose(ours.parameters["input_to_observation"], [[0.7, -0.4]], rtol=1e-9)


def test_sarimax_results():
    y = series()[:, 0]
    model = sm.tsa.SARIMAX(y, order=(1, 0, 1), seasonal_order=(1, 0, 0, 4))
    results = smoothed(model, [0.5, 0.2, 0.3, 1.1])
    np.testing.assert_allclose(sw.convert(results, to="state-space").log_prob(y), [results.llf], rtol=1e-9)


def test_what_changes_with_the_step_is_refused():
    y = series(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sm.tsa.VARMAX(y, order=(1, 0), trend="ct")
        results = model.filter(model.start_params)
    with pytest.raises(UnsupportedError, match="state_intercept changes with the step"):
        sw.convert(results, to="state-space")
    with pytest.raises(UnsupportedError, match="the results of a state-space model"):
        sw.convert(sm.OLS(y[:, 0], y).fit(), to="state-space")


def with_parameters(model, K, **laws):
    rng = np.random.default_rng(0)
    model.startprob_, model.transmat_ = rng.dirichlet(np.ones(K)), rng.dirichlet(np.ones(K), K)
    for name, value in laws.items():
        setattr(model, name, value)
    return model


@pytest.mark.parametrize("kind", ["diag", "full", "tied", "spherical"])
def test_gaussian_models_of_hmmlearn(kind):
    rng = np.random.default_rng(1)
    half = rng.standard_normal((3, 2, 2))
    full = half @ half.swapaxes(1, 2) + np.eye(2)
    covars = {"diag": rng.gamma(2, 1, (3, 2)), "full": full, "tied": full[0], "spherical": rng.gamma(2, 1, 3)}[kind]
    model = with_parameters(hmmlearn.GaussianHMM(3, kind), 3, means_=rng.standard_normal((3, 2)))
    model.n_features = 2
    model.covars_ = covars
    y = rng.standard_normal((40, 2))
    ours, gap = sw.convert(model, to="hmm", verify=sw.Sequences.from_arrays([y, y[:9]]))
    assert gap < 1e-10
    np.testing.assert_allclose(ours.log_prob(y), [model.score(y)], rtol=1e-10)
    np.testing.assert_allclose(ours.smooth(y).probs, model.predict_proba(y), atol=1e-10)
    np.testing.assert_allclose(sw.convert(model, to="rnn").log_prob(y), [model.score(y)], rtol=1e-10)


@pytest.mark.parametrize("kind", ["diag", "full", "tied", "spherical"])
def test_mixtures_of_hmmlearn(kind):
    rng = np.random.default_rng(2)
    half = rng.standard_normal((3, 2, 2, 2))
    full = half @ half.swapaxes(2, 3) + np.eye(2)
    covars = {
        "diag": rng.gamma(2, 1, (3, 2, 2)),
        "full": full,
        "tied": full[:, 0],
        "spherical": rng.gamma(2, 1, (3, 2)),
    }[kind]
    model = with_parameters(
        hmmlearn.GMMHMM(3, 2, covariance_type=kind), 3, means_=rng.standard_normal((3, 2, 2)),
        weights_=rng.dirichlet(np.ones(2), 3), covars_=covars,
    )  # fmt: skip
    model.n_features = 2
    y = rng.standard_normal((30, 2))
    np.testing.assert_allclose(sw.convert(model, to="hmm").log_prob(y), [model.score(y)], rtol=1e-10)


def test_symbols_counts_and_what_is_refused():
    rng = np.random.default_rng(3)
    symbols = with_parameters(hmmlearn.CategoricalHMM(3), 3, emissionprob_=rng.dirichlet(np.ones(4), 3))
    symbols.n_features = 4
    y = rng.integers(0, 4, (30, 1))
    np.testing.assert_allclose(sw.convert(symbols, to="hmm").log_prob(y.astype(float)), [symbols.score(y)], rtol=1e-10)
    counts = with_parameters(hmmlearn.PoissonHMM(3), 3, lambdas_=rng.gamma(2, 2, (3, 2)))
    counts.n_features = 2
    y = rng.poisson(3.0, (30, 2))
    np.testing.assert_allclose(sw.convert(counts, to="hmm").log_prob(y.astype(float)), [counts.score(y)], rtol=1e-10)
    with pytest.raises(UnsupportedError, match="MultinomialHMM"):
        sw.convert(hmmlearn.MultinomialHMM(2), to="hmm")
    with pytest.raises(UnsupportedError, match="fit it first"):
        sw.convert(hmmlearn.PoissonHMM(2), to="hmm")
