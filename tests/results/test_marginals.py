"""Predictive distributions. Oracles: numerical integration, root finding, brute force over pairs, closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from statewise._core.errors import InputError
from statewise.results.marginals import GaussianMarginals, MixtureMarginals, SampleMarginals


def crps_by_integration(cdf, y: float, low: float, high: float) -> float:
    """∫(F(x) − 1{x ≥ y})² dx, split at y where the integrand jumps; [low, high] holds all but 1e-16 of the mass."""
    below = quad(lambda x: cdf(x) ** 2, min(low, y), y, epsabs=1e-11, limit=400)[0]
    above = quad(lambda x: (1 - cdf(x)) ** 2, y, max(high, y), epsabs=1e-11, limit=400)[0]
    return below + above


def mixture(weights, mu, sd) -> MixtureMarginals:
    """One mixture as an array of shape (1, 1, 1, K)."""
    return MixtureMarginals(
        *(np.array(part, dtype=float).reshape(1, 1, 1, -1) for part in (weights, mu, np.square(sd)))
    )


# --- normal -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mu", "sd", "y"), [(0.0, 1.0, 0.0), (2.0, 0.5, 3.7), (-4.0, 3.0, -20.0), (1e3, 2.0, 1001.0)])
def test_gaussian_crps_equals_the_integral(mu, sd, y):
    want = crps_by_integration(norm(mu, sd).cdf, y, mu - 10 * sd, mu + 10 * sd)
    have = GaussianMarginals(np.array([mu]), np.array([sd**2])).crps(np.array([y]))
    np.testing.assert_allclose(have, want, rtol=1e-8)


def test_gaussian_crps_at_the_centre_has_a_closed_form():
    """σ(√2 − 1)/√π at y = μ."""
    have = GaussianMarginals(np.zeros(1), np.array([4.0])).crps(np.zeros(1))
    np.testing.assert_allclose(have, 2 * (np.sqrt(2) - 1) / np.sqrt(np.pi), rtol=1e-14)


def test_gaussian_limits_are_the_absolute_error_and_infinity():
    marginals = GaussianMarginals(np.array([1.0, 1.0]), np.array([0.0, np.inf]))
    np.testing.assert_array_equal(marginals.crps(np.array([3.5, 3.5])), [2.5, np.inf])
    np.testing.assert_array_equal(marginals.crps(np.array([np.nan, np.nan])), [np.nan, np.nan])
    np.testing.assert_array_equal(marginals.quantile(0.975), [1.0, np.inf])
    np.testing.assert_array_equal(marginals.quantile(0.5), [1.0, 1.0])


def test_gaussian_moments_and_quantiles():
    marginals = GaussianMarginals(np.array([[1.0, 2.0]]), np.array([[4.0, 9.0]]))
    assert marginals.shape == (1, 2)
    np.testing.assert_array_equal(marginals.mean, [[1.0, 2.0]])
    np.testing.assert_array_equal(marginals.variance, [[4.0, 9.0]])
    np.testing.assert_allclose(marginals.quantile(0.9), norm([1.0, 2.0], [2.0, 3.0]).ppf(0.9)[None], rtol=1e-13)


# --- mixtures ---------------------------------------------------------------------------------------------------------

MIXTURES = [
    ([1.0], [2.0], [0.5]),
    ([0.3, 0.7], [-1.0, 2.0], [0.5, 1.5]),
    ([0.5, 0.5], [-30.0, 30.0], [1.0, 1.0]),
    ([0.98, 0.01, 0.01], [0.0, 0.0, 5.0], [0.1, 10.0, 0.01]),
]


@pytest.mark.parametrize("parts", MIXTURES)
@pytest.mark.parametrize("y", [-7.0, 0.0, 2.5])
def test_mixture_crps_equals_the_integral(parts, y):
    weights, mu, sd = map(np.array, parts)
    breaks = np.sort(np.concatenate([[y], mu - 12 * sd, mu - 3 * sd, mu, mu + 3 * sd, mu + 12 * sd]))

    def integrand(x: float) -> float:
        return (float(weights @ norm.cdf((x - mu) / sd)) - (x >= y)) ** 2

    want = sum(quad(integrand, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(breaks))
    have = mixture(*parts).crps(np.array([[[y]]]))
    np.testing.assert_allclose(have, want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("parts", MIXTURES)
@pytest.mark.parametrize("q", [0.001, 0.1, 0.5, 0.975])
def test_mixture_quantile_equals_the_root(parts, q):
    weights, mu, sd = map(np.array, parts)
    want = brentq(lambda x: float(weights @ norm.cdf((x - mu) / sd)) - q, -500, 500, xtol=1e-13)
    marginals = mixture(*parts)
    have = marginals.quantile(q)
    np.testing.assert_allclose(marginals.cdf(have), q, rtol=1e-12)
    if not (parts == MIXTURES[2] and q == 0.5):  # that median lies in a gap without mass: any point in it is one
        np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("parts", MIXTURES)
def test_mixture_moments_equal_integrals(parts):
    weights, mu, sd = map(np.array, parts)
    marginals = mixture(*parts)
    mean = weights @ mu
    np.testing.assert_allclose(marginals.mean, mean)
    np.testing.assert_allclose(marginals.variance, weights @ (sd**2 + mu**2) - mean**2, rtol=1e-10)


def test_a_mixture_of_points_is_a_step_function():
    """Components without variance: the law is discrete, and its CRPS is the empirical one (brute force over pairs)."""
    marginals = mixture([0.25, 0.75], [1.0, 3.0], [0.0, 0.0])
    np.testing.assert_array_equal(marginals.cdf(np.array([[[0.9]]])), 0.0)
    np.testing.assert_array_equal(marginals.cdf(np.array([[[1.0]]])), 0.25)
    np.testing.assert_array_equal(marginals.cdf(np.array([[[3.0]]])), 1.0)
    np.testing.assert_allclose(marginals.quantile(0.2), 1.0)
    np.testing.assert_allclose(marginals.quantile(0.5), 3.0)
    np.testing.assert_allclose(marginals.crps(np.array([[[2.0]]])), 1.0 - 0.25 * 0.75 * 2.0)


# --- samples ----------------------------------------------------------------------------------------------------------


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_sample_crps_equals_brute_force_over_pairs(count, seed):
    rng = np.random.default_rng(seed)
    samples, y = rng.normal(size=(count, 2, 3)), rng.normal(size=(2, 3))
    pairs = [np.abs(samples[i] - samples[j]) for i in range(count) for j in range(count) if i != j]
    want = np.abs(samples - y).mean(axis=0) - np.mean(pairs, axis=0) / 2
    np.testing.assert_allclose(SampleMarginals(samples).crps(y), want, rtol=0, atol=1e-12)


def test_sample_crps_is_fair():
    """Its expectation over samples of any size is the CRPS of the law they come from (within 4 standard errors)."""
    rng = np.random.default_rng(0)
    y = np.full(20_000, 0.7)
    scores = SampleMarginals(rng.normal(size=(5, 20_000))).crps(y)
    exact = GaussianMarginals(np.zeros(1), np.ones(1)).crps(np.array([0.7]))[0]
    assert abs(scores.mean() - exact) < 4 * scores.std() / np.sqrt(scores.size)


def test_sample_moments_and_quantiles():
    samples = np.arange(11.0)[:, None, None, None]
    marginals = SampleMarginals(samples)
    assert marginals.shape == (1, 1, 1)
    np.testing.assert_allclose(marginals.mean, 5.0)
    np.testing.assert_allclose(marginals.variance, 11.0)
    np.testing.assert_allclose(marginals.quantile(0.1), 1.0)


def test_one_sample_is_refused():
    with pytest.raises(InputError, match="1 sample; pass at least 2"):
        SampleMarginals(np.zeros((1, 3)))


# --- all --------------------------------------------------------------------------------------------------------------

ALL = [
    GaussianMarginals(np.zeros((1, 1, 1)), np.ones((1, 1, 1))),
    mixture([0.5, 0.5], [-1.0, 1.0], [1.0, 1.0]),
    SampleMarginals(np.random.default_rng(0).normal(size=(50, 1, 1, 1))),
]


@pytest.mark.parametrize("marginals", ALL, ids=lambda marginals: type(marginals).__name__)
class TestAll:
    @pytest.mark.parametrize("q", [0.0, 1.0, -0.1, 80, np.nan, "half"])
    def test_a_quantile_outside_the_unit_interval_is_refused(self, marginals, q):
        with pytest.raises(InputError, match="`q`"):
            marginals.quantile(q)

    def test_quantiles_rise_and_shapes_agree(self, marginals):
        ends = [marginals.quantile(q) for q in (0.01, 0.3, 0.7, 0.99)]
        assert all((a < b).all() for a, b in itertools.pairwise(ends))
        assert {end.shape for end in ends} == {marginals.shape} == {marginals.mean.shape} == {marginals.variance.shape}

    def test_crps_of_a_missing_observation_is_missing(self, marginals):
        assert np.isnan(marginals.crps(np.full((1, 1, 1), np.nan))).all()

    def test_crps_scales_with_the_unit(self, marginals):
        """Invariance: CRPS is in the unit of y and does not see a shift."""
        y = np.full((1, 1, 1), 0.4)
        factor, shift = 3.0, 100.0
        if isinstance(marginals, GaussianMarginals):
            moved = GaussianMarginals(factor * marginals.mu + shift, factor**2 * marginals.var)
        elif isinstance(marginals, MixtureMarginals):
            moved = MixtureMarginals(marginals.weights, factor * marginals.mu + shift, factor**2 * marginals.var)
        else:
            moved = SampleMarginals(factor * marginals.samples + shift)
        np.testing.assert_allclose(moved.crps(factor * y + shift), factor * marginals.crps(y), rtol=1e-11)
