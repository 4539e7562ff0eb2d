"""The likelihood of complete data without a covariance recursion. Oracles: the Kalman filter and its adjoint; gradients by differences."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise.inference import varma as algebra
from statewise.inference import varma_likelihood as exact
from statewise.inference.varma_objective import VarmaObjective

CASES = [
    (1, 1, 1, [40], 0),
    (2, 1, 1, [60, 3, 1, 30], 0),
    (3, 2, 1, [200], 1),
    (2, 0, 2, [50, 80, 80], 2),
    (2, 2, 0, [30, 31], 0),
]


def case(k, p, q, lengths, width, trend="c", seed=0):
    rng = np.random.default_rng(seed)
    rows = sum(lengths)
    noise = rng.standard_normal((rows + 1, k))
    inputs = rng.standard_normal((rows, width)) if width else None
    seqs = sw.Sequences(noise[1:] + 0.5 * noise[:-1], lengths, inputs=inputs)
    start = algebra.pack(algebra.start_parameters(seqs, p, q, trend), trend)
    return seqs, (k, p, q, width), start + 0.02 * rng.standard_normal(start.size)


@pytest.mark.parametrize("sizes", CASES)
@pytest.mark.parametrize("trend", ["c", "n"])
def test_the_same_as_the_kalman_filter(sizes, trend):
    """Value to 1e-10 and every entry of the gradient to 1e-9 of the largest."""
    seqs, shape, point = case(*sizes, trend)
    value, gradient = VarmaObjective(seqs, shape, trend)._fast(point)
    want, slope = algebra.objective_and_gradient(point, seqs, shape, trend)
    np.testing.assert_allclose(value, want, rtol=1e-10)
    np.testing.assert_allclose(gradient, slope, atol=1e-9 * np.abs(slope).max())


def test_the_gradient_is_that_of_the_value():
    """Central differences: relative 1e-6."""
    seqs, shape, point = case(*CASES[1])
    objective = VarmaObjective(seqs, shape, "c")
    _, gradient = objective(point)
    for i in range(point.size):
        step = 1e-5 * np.eye(point.size)[i]
        slope = (objective(point + step)[0] - objective(point - step)[0]) / 2e-5
        np.testing.assert_allclose(gradient[i], slope, rtol=1e-6, atol=1e-6 * np.abs(gradient).max())


def test_far_from_invertible_goes_by_the_filter():
    seqs, shape, point = case(1, 0, 1, [100], 0)
    point[1] = 3.0
    objective = VarmaObjective(seqs, shape, "c")
    assert objective._fast(point) is None
    np.testing.assert_allclose(objective(point)[0], algebra.objective_and_gradient(point, seqs, shape, "c")[0])


def test_missing_entries_go_by_the_filter():
    seqs, shape, point = case(2, 1, 1, [50], 0)
    values = seqs.values.copy()
    values[7, 1] = np.nan
    gone = seqs.replace(values=values)
    objective = VarmaObjective(gone, shape, "c")
    assert objective.data is None
    assert objective(point)[0] == algebra.objective_and_gradient(point, gone, shape, "c")[0]
    assert np.linalg.eigvalsh(objective.inverse_information(point))[0] > 0


def test_inverse_coefficients():
    """Scalar: (−θ)ʲ, cut off after the first below 1e-18; a growing one is refused."""
    psi = exact.inverse_coefficients(np.full((1, 1, 1), 0.5), 1000)
    np.testing.assert_allclose(psi[:, 0, 0], (-0.5) ** np.arange(61), rtol=1e-13)
    assert len(exact.inverse_coefficients(np.full((1, 1, 1), 0.99), 10_000)) > 4000
    assert exact.inverse_coefficients(np.full((1, 1, 1), 1.5), 100) is None


def test_the_approximate_information_is_near_the_observed_one():
    """An AR(2) of 2 000 steps: the two differ by sampling error, here less than a tenth."""
    rng = np.random.default_rng(0)
    y = np.zeros(2000)
    for t in range(2, 2000):
        y[t] = 0.5 * y[t - 1] - 0.3 * y[t - 2] + rng.standard_normal()
    model = sw.VARMA(p=2).fit(y)
    known = model._training
    point = algebra.pack(known.par, "c")
    approximate = np.sqrt(np.diag(VarmaObjective(known.seqs, (1, 2, 0, 0), "c").inverse_information(point)))[1:3]
    np.testing.assert_allclose(approximate, model.standard_errors().standard_error[1:3], rtol=0.1)
