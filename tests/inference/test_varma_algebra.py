"""The algebra of VARMA models.

Oracles: the block-Toeplitz covariance from the moving-average weights (no state space at all); the ARMA recursion by hand; statsmodels
0.15's SARIMAX and VARMAX at given parameters; central differences; closed forms of ARMA(1,1).
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import kalman as ref

from statewise.inference import filtering, steady, varma
from statewise.inference.varma import VarmaParameters
from statewise.sequences.sequences import Sequences

ORDERS = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (3, 0), (0, 3)]


def parameters(seed: int, k: int, p: int, q: int, u: int = 0) -> VarmaParameters:
    """Stationary and invertible, with roots well inside."""
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((k, k))
    first = VarmaParameters(
        np.zeros((p, k, k)), np.zeros((q, k, k)), rng.standard_normal(k), rng.standard_normal((k, u)),
        half @ half.T + 0.3 * np.eye(k),
    )  # fmt: skip
    drawn = varma.random_parameters(first, rng)
    return VarmaParameters(0.9 * drawn.ar, 0.9 * drawn.ma, first.mean, first.weights, first.cov)


def log_prob(par: VarmaParameters, seqs: Sequences) -> float:
    return float(filtering.run_filter(varma.innovations_system(par), seqs, store=False).log_prob.sum())


# --- the innovations form ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "q"), ORDERS)
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_likelihood_is_that_of_the_autocovariances(p, q, k, missing):
    par = parameters(10 * p + q, k, p, q)
    rng = np.random.default_rng(0)
    y = rng.standard_normal((9, k)) + par.mean
    y[rng.random(y.shape) < missing] = np.nan
    want = ref.varma_log_density(par.ar, par.ma, par.mean, par.cov, y)
    np.testing.assert_allclose(log_prob(par, Sequences.from_arrays([y])), want, rtol=1e-9)


def test_inputs_move_the_mean():
    """μ[t] = mean + D u[t]: the likelihood is that of y − D u without inputs."""
    par, rng = parameters(1, 2, 1, 1, 3), np.random.default_rng(0)
    y, u = rng.standard_normal((12, 2)), rng.standard_normal((12, 3))
    plain = VarmaParameters(par.ar, par.ma, par.mean, np.zeros((2, 0)), par.cov)
    have = log_prob(par, Sequences.from_arrays([y], inputs=[u]))
    np.testing.assert_allclose(have, log_prob(plain, Sequences.from_arrays([y - u @ par.weights.T])), rtol=1e-12)


def test_a_process_that_is_not_stationary_has_no_innovations_form():
    for phi in (1.0, -1.0, 1.1):
        par = VarmaParameters(np.array([[[phi]]]), np.zeros((0, 1, 1)), np.zeros(1), np.zeros((1, 0)), np.eye(1))
        assert varma.innovations_system(par) is None


def test_arma_11_as_a_recurrent_network():
    """φ = .9, θ = −.4: the recurrent weight is −θ = .4, *not* φ, and the input weight φ + θ = .5; the innovations come back."""
    par = VarmaParameters(np.array([[[0.9]]]), np.array([[[-0.4]]]), np.zeros(1), np.zeros((1, 0)), np.eye(1))
    sys = varma.innovations_system(par)
    K, F, _, settled = steady.predictor_gain(sys)
    assert settled
    np.testing.assert_allclose([sys.A[0, 0] - K[0, 0], K[0, 0], F[0, 0]], [0.4, 0.5, 1.0], rtol=1e-12)
    e = np.random.default_rng(0).standard_normal(300)
    y = np.zeros(300)
    for t in range(300):
        y[t] = e[t] + (0.9 * y[t - 1] - 0.4 * e[t - 1] if t else 0.0)
    predictions = filtering.run_filter(sys, Sequences.from_arrays([y])).mean_pred[:, 0]
    np.testing.assert_allclose((y - predictions)[60:], e[60:], atol=1e-12)  # .4^60 is below rounding
    np.testing.assert_allclose((y - predictions)[60:], ref.arma_innovations(y, 0.9, -0.4)[60:], atol=1e-12)


# --- another package --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "q"), [(1, 0), (0, 1), (2, 1), (1, 3)])
def test_statsmodels_sarimax_agrees(p, q):
    """SARIMAX(p, 0, q) with an intercept, statsmodels 0.15, `loglike` at given parameters."""
    sarimax = pytest.importorskip("statsmodels.tsa.statespace.sarimax")
    par = parameters(p + q, 1, p, q)
    y = np.random.default_rng(0).standard_normal(60) + par.mean[0]
    y[[5, 20, 21]] = np.nan
    intercept = par.mean[0] * (1 - par.ar.sum())
    peer = sarimax.SARIMAX(y, order=(p, 0, q), trend="c")
    want = peer.loglike(np.concatenate([[intercept], par.ar.ravel(), par.ma.ravel(), par.cov.ravel()]))
    np.testing.assert_allclose(log_prob(par, Sequences.from_arrays([y])), want, rtol=1e-9)


@pytest.mark.parametrize(("p", "q"), [(1, 0), (1, 1), (2, 0)])
def test_statsmodels_varmax_agrees(p, q):
    """VARMAX with an intercept, statsmodels 0.15, `loglike` at given parameters (Σ by its Cholesky factor, by rows)."""
    varmax = pytest.importorskip("statsmodels.tsa.statespace.varmax")
    par = parameters(3 + p + q, 2, p, q)
    y = np.random.default_rng(0).standard_normal((50, 2)) + par.mean
    y[[3, 7], [0, 1]] = np.nan
    intercept = (np.eye(2) - par.ar.sum(axis=0)) @ par.mean
    low = np.linalg.cholesky(par.cov)
    blocks = [np.hstack([*part]).ravel() for part in (par.ar, par.ma) if len(part)]  # row i: lag 1, then lag 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # VARMA(p, q) is not identified in general
        peer = varmax.VARMAX(y, order=(p, q), trend="c")
    point = np.concatenate([intercept, *blocks, low[np.tril_indices(2)]])
    np.testing.assert_allclose(log_prob(par, Sequences.from_arrays([y])), peer.loglike(point), rtol=1e-9)


# --- the vector of free parameters ------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(0, 3), st.integers(0, 3), st.sampled_from("cn"))
def test_unpack_undoes_pack(seed, k, p, q, trend):
    par = parameters(seed, k, p, q, seed % 3)
    point = varma.pack(par, trend)
    back = varma.unpack(point, (k, p, q, seed % 3), trend)
    for name in ("ar", "ma", "weights"):
        np.testing.assert_array_equal(getattr(back, name), getattr(par, name))
    np.testing.assert_allclose(back.cov, par.cov, rtol=1e-12)
    np.testing.assert_array_equal(back.mean, par.mean if trend == "c" else np.zeros(k))
    means = k if trend == "c" else 0
    assert point.size == means + k * (seed % 3) + k * k * (p + q) + k * (k + 1) // 2
    np.testing.assert_allclose(varma.pack(back, trend), point, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("p", "q"), ORDERS)
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("trend", ["c", "n"])
def test_gradient_is_the_central_difference(p, q, k, trend):
    """Every free parameter, with inputs, missing entries and two sequences. Tolerance: √eps-differences, relative to the largest."""
    par, rng = parameters(5 * p + q, k, p, q, 2), np.random.default_rng(1)
    arrays = [rng.standard_normal((T, k)) for T in (14, 5)]
    arrays[0][rng.random((14, k)) < 0.2] = np.nan
    seqs = Sequences.from_arrays(arrays, inputs=[rng.standard_normal((T, 2)) for T in (14, 5)])
    point, shape = varma.pack(par, trend), (k, p, q, 2)
    value, gradient = varma.objective_and_gradient(point, seqs, shape, trend)
    np.testing.assert_allclose(value, log_prob(varma.unpack(point, shape, trend), seqs), rtol=1e-12)
    want = ref.differences(lambda x: varma.objective_and_gradient(x, seqs, shape, trend)[0], point)
    np.testing.assert_allclose(gradient, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("bad", [60.0, -60.0, np.nan, np.inf])
def test_points_that_are_no_model_have_no_objective(bad):
    seqs = Sequences.from_arrays([np.arange(5.0)])
    assert varma.objective_and_gradient(np.array([0.0, 0.5, bad]), seqs, (1, 1, 0, 0), "c") is None
    assert varma.objective_and_gradient(np.array([0.0, 1.01, 0.0]), seqs, (1, 1, 0, 0), "c") is None


# --- reflecting the moving-average roots ------------------------------------------------------------------------------


@pytest.mark.parametrize("theta", [2.5, -4.0, 1.25])
def test_a_root_inside_the_circle_is_reflected(theta):
    """MA(1): θ and σ² become 1/θ and θ²σ², the same autocovariances. Closed form."""
    par = VarmaParameters(np.zeros((0, 1, 1)), np.array([[[theta]]]), np.ones(1), np.zeros((1, 0)), 2 * np.eye(1))
    same = varma.make_invertible(par)
    np.testing.assert_allclose([same.ma[0, 0, 0], same.cov[0, 0]], [1 / theta, 2 * theta**2], rtol=1e-10)


@pytest.mark.parametrize(("p", "q"), [(0, 1), (1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("k", [1, 2])
def test_reflection_keeps_the_process(p, q, k):
    """The autocovariances, the AR part and the mean stay; all MA roots are outside the circle afterwards."""
    for seed in range(4):
        par = parameters(seed, k, p, q)
        wild = VarmaParameters(par.ar, 3 * par.ma, par.mean, par.weights, par.cov)
        same = varma.make_invertible(wild)
        old, new = (ref.varma_autocovariances(each.ar, each.ma, each.cov, 4, 800) for each in (wild, same))
        np.testing.assert_allclose(new, old, rtol=1e-7, atol=1e-7 * np.abs(old[0]).max())
        np.testing.assert_array_equal(same.ar, par.ar)
        K, _, _, _ = steady.predictor_gain(varma.innovations_system(same))
        sys = varma.innovations_system(same)
        assert steady.spectral_radius(sys.A - K @ sys.C) <= 1
        companion = np.eye(k * q, k=-k)
        companion[:k] = -np.hstack(list(same.ma))
        assert np.abs(np.linalg.eigvals(companion)).max() < 1 + 1e-7


def test_reflection_leaves_an_invertible_process_alone():
    par = parameters(2, 2, 1, 1)
    same = varma.make_invertible(par)
    np.testing.assert_allclose(same.ma, par.ma, atol=1e-8)
    np.testing.assert_allclose(same.cov, par.cov, atol=1e-8)
    pure = parameters(2, 2, 1, 0)
    assert varma.make_invertible(pure) is pure


# --- where the search starts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "q"), [(1, 0), (2, 0), (1, 1), (0, 1)])
def test_hannan_rissanen_is_consistent(p, q):
    """20 000 steps: each coefficient within 6 of its asymptotic standard errors' size, 1/√T times a small number."""
    par = parameters(4, 2, p, q)
    sys = varma.innovations_system(par)
    y = filtering.sample(sys, 20_000, 1, np.random.default_rng(0))[0]
    found = varma.start_parameters(Sequences.from_arrays([y]), p, q, "c")
    for have, want in ((found.ar, par.ar), (found.ma, par.ma), (found.cov, par.cov)):
        np.testing.assert_allclose(have, want, atol=0.08)


def test_start_parameters_are_always_a_model():
    """Stationary and invertible with a positive definite Σ, for a unit root, missing entries, short sequences and inputs."""
    rng = np.random.default_rng(0)
    walk = rng.standard_normal((80, 2)).cumsum(axis=0)
    walk[10:15] = np.nan
    for arrays in ([walk], [walk[:3], walk[:1], walk[20:40]], [np.ones((6, 2)) + 1e-9 * rng.standard_normal((6, 2))]):
        inputs = [rng.standard_normal((len(y), 1)) for y in arrays]
        for seqs in (Sequences.from_arrays(arrays), Sequences.from_arrays(arrays, inputs=inputs)):
            for p, q in ORDERS:
                par = varma.start_parameters(seqs, p, q, "c")
                assert varma.innovations_system(par) is not None
                assert np.linalg.eigvalsh(par.cov)[0] > 0


def test_random_parameters_are_stationary_and_invertible():
    rng = np.random.default_rng(0)
    for seed in range(20):
        par = parameters(seed, 2, 2, 2)
        drawn = varma.random_parameters(par, rng)
        assert varma.innovations_system(drawn) is not None
        assert (
            varma.innovations_system(VarmaParameters(-drawn.ma, drawn.ma, par.mean, par.weights, par.cov)) is not None
        )
        np.testing.assert_array_equal(drawn.cov, par.cov)
