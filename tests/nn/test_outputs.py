"""The laws that a network can put out. Oracles: scipy.stats, torch against NumPy, Monte Carlo within 5 standard errors, shuffled columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import expit, softmax

from statewise.nn.outputs import NUMPY, OUTPUTS, Law, TorchMaths

P, ROWS, SIZE = 3, 50, 4


def random_law(name: str, rows: int = ROWS, seed: int = 0):
    """An output of three columns, `rows` random laws of it, and values that it can have."""
    rng = np.random.default_rng(seed)
    output = OUTPUTS[name](P, SIZE)
    law = Law(*(rng.normal(size=(rows, width)) * 0.7 for width in output.widths))
    y = output.draw(law, rng.normal(size=(rows, output.noise_size)))
    return output, law, y


def density_by_scipy(name: str, law: Law, y: np.ndarray) -> np.ndarray:
    """(rows, p) log densities of the columns alone."""
    sd = np.exp(law.log_sd)
    if name == "gaussian":
        return stats.norm.logpdf(y, law.location, sd)
    if name == "student-t":
        return stats.t.logpdf(y, 2.1 + np.logaddexp(0, law.shape), law.location, sd)
    if name == "poisson":
        return stats.poisson.logpmf(y, np.exp(law.location))
    if name == "negative-binomial":
        size = np.exp(6 * np.tanh(law.shape / 6))
        return stats.nbinom.logpmf(y, size, size / (size + np.exp(law.location)))
    if name == "bernoulli":
        return stats.bernoulli.logpmf(y, expit(law.location))
    shares = softmax(law.location.reshape(*y.shape, SIZE), axis=-1)
    return np.log(np.take_along_axis(shares, y.astype(int)[..., None], axis=-1)[..., 0])


@pytest.mark.parametrize("name", ["gaussian", "student-t", "poisson", "negative-binomial", "bernoulli", "categorical"])
def test_columns_have_the_density_that_scipy_gives(name):
    """rtol 1e-10: differences of log Γ of numbers up to e⁶ lose a few digits."""
    output, law, y = random_law(name)
    seen = (np.random.default_rng(1).random(y.shape) < 0.7).astype(float)
    want = (seen * density_by_scipy(name, law, y)).sum(axis=1)
    np.testing.assert_allclose(output.log_density(NUMPY, law, y, seen), want, rtol=1e-10, atol=1e-12)


def covariance(law: Law, k: int) -> np.ndarray:
    """S Sᵀ of row k, written out."""
    unit = np.eye(P)
    unit[1, 0], unit[2, 0], unit[2, 1] = law.shape[k]
    root = np.diag(np.exp(law.log_sd[k])) @ unit
    return root @ root.T


@pytest.mark.parametrize("complete", [True, False])
def test_a_full_covariance_leaves_missing_entries_out(complete):
    """Oracle: scipy's multivariate normal of the observed entries; 1e-10, the conditioning of a 3 × 3 covariance."""
    output, law, y = random_law("gaussian-full")
    seen = np.ones_like(y) if complete else (np.random.default_rng(1).random(y.shape) < 0.6).astype(float)
    found = output.log_density(NUMPY, law, y, seen)
    for k in range(ROWS):
        here = seen[k] == 1
        cov = covariance(law, k)[np.ix_(here, here)]
        want = stats.multivariate_normal.logpdf(y[k, here], law.location[k, here], cov) if here.any() else 0.0
        assert found[k] == pytest.approx(want, rel=1e-10, abs=1e-10)


def test_a_mixture_is_the_sum_of_its_components():
    """Oracle: the formula, a component at a time."""
    output, law, y = random_law("mixture")
    seen = (np.random.default_rng(1).random(y.shape) < 0.7).astype(float)
    found = output.log_density(NUMPY, law, y, seen)
    for k in range(ROWS):
        weight = softmax(law.shape[k, :SIZE])
        offset = law.shape[k, SIZE : SIZE + SIZE * P].reshape(SIZE, P)
        ratio = np.exp(2 * np.tanh(law.shape[k, SIZE + SIZE * P :].reshape(SIZE, P) / 2))
        sd = np.exp(law.log_sd[k])
        parts = [
            weight[j] * np.prod(stats.norm.pdf(y[k], law.location[k] + sd * offset[j], sd * ratio[j]) ** seen[k])
            for j in range(SIZE)
        ]
        assert found[k] == pytest.approx(np.log(sum(parts)), rel=1e-11)


@pytest.mark.parametrize("name", OUTPUTS)
def test_torch_computes_the_same(name):
    """Oracle: NumPy, in float64: the same formula in other code. 1e-11."""
    output, law, y = random_law(name)
    seen = (np.random.default_rng(2).random(y.shape) < 0.7).astype(float)
    tensors = Law(*map(torch.from_numpy, law))
    found = output.log_density(TorchMaths(), tensors, torch.from_numpy(y), torch.from_numpy(seen))
    np.testing.assert_allclose(found.numpy(), output.log_density(NUMPY, law, y, seen), rtol=1e-11, atol=1e-11)
    sharp = output.sharpness(TorchMaths(), tensors).numpy()
    np.testing.assert_allclose(sharp, output.sharpness(NUMPY, law), rtol=1e-11)
    assert sharp.shape == law.location.shape


@pytest.mark.parametrize("name", OUTPUTS)
def test_gradients(name):
    """gradcheck of every number of the law, with missing entries."""
    output, law, y = random_law(name, rows=4)
    seen = torch.from_numpy((np.random.default_rng(3).random(y.shape) < 0.7).astype(float))
    numbers = torch.from_numpy(np.concatenate(law, axis=1)).requires_grad_(True)

    def density(parts):
        return output.log_density(TorchMaths(), Law(*parts.split(output.widths, dim=1)), torch.from_numpy(y), seen)

    assert torch.autograd.gradcheck(density, [numbers])


@pytest.mark.parametrize("name", OUTPUTS)
def test_draws_have_the_moments_and_the_distribution(name):
    """Oracle: the stated mean, variance and distribution function; 5 standard errors of 40 000 draws of one law."""
    output, law, _ = random_law(name, rows=1, seed=4)
    count = 40_000
    many = Law(*(np.repeat(part, count, axis=0) for part in law))
    y = output.draw(many, np.random.default_rng(5).normal(size=(count, output.noise_size)))
    mean, variance = output.mean(law)[0], output.variance(law)[0]
    assert (np.abs(y.mean(axis=0) - mean) < 5 * np.sqrt(variance / count)).all()
    kurtosis = ((y - mean) ** 4).mean(axis=0)
    slack = 5 * np.sqrt(kurtosis / count)
    if name != "student-t":  # whose fourth moment need not exist
        assert (np.abs(((y - mean) ** 2).mean(axis=0) - variance) < slack).all()
    shares = output.cdf(many, y)
    assert (np.abs(shares.mean(axis=0) - 0.5) < 5 * np.sqrt(1 / 12 / count)).all()
    point = np.repeat(y[:1], count, axis=0)
    want = ((y < point) + 0.5 * (y == point)).mean(axis=0)
    assert (np.abs(output.cdf(many, point)[0] - want) < 5 * 0.5 / np.sqrt(count)).all()


def test_draws_of_a_full_covariance_have_it():
    output, law, _ = random_law("gaussian-full", rows=1, seed=6)
    many = Law(*(np.repeat(part, 40_000, axis=0) for part in law))
    y = output.draw(many, np.random.default_rng(7).normal(size=(40_000, P)))
    want = covariance(law, 0)
    spread = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    assert (np.abs(np.cov(y.T) - want) < 5 * spread * np.sqrt(2 / 40_000)).all()


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_start_is_the_marginal_law(name):
    """Oracle: the data's mean and, where the law has one of its own, their variance; with missing entries."""
    output, law, _ = random_law(name, rows=1, seed=8)
    many = Law(*(np.repeat(part, 4000, axis=0) for part in law))
    y = output.draw(many, np.random.default_rng(9).normal(size=(4000, output.noise_size)))
    y[np.random.default_rng(10).random(y.shape) < 0.1] = np.nan
    start = output.start(y)
    assert [len(part) for part in start] == list(output.widths)
    begin = Law(*(part[None] for part in start))
    np.testing.assert_allclose(output.mean(begin)[0], np.nanmean(y, axis=0), rtol=2e-3, atol=2e-3)
    if name != "poisson":
        np.testing.assert_allclose(output.variance(begin)[0], np.nanvar(y, axis=0), rtol=0.12)


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_a_family_cannot_have_is_found(name):
    output = OUTPUTS[name](1, SIZE)
    y = np.array([[0.0], [1.0], [np.nan], [0.5], [-1.0]])
    wrong, wanted = output.judge(y)
    assert wrong.ravel().tolist() == ([False] * 5 if output.continuous else [False] * 3 + [True] * 2)
    assert wanted


def test_the_view_of_symbols_is_their_indicators():
    view = OUTPUTS["categorical"](2, 3).view(np.array([[0.0, 2.0], [np.nan, 1.0]]))
    np.testing.assert_array_equal(view[0], [1, 0, 0, 0, 0, 1])
    assert np.isnan(view[1, :3]).all()
    np.testing.assert_array_equal(view[1, 3:], [0, 1, 0])
