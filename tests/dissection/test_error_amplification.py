"""The error of an ODE solver as a product of Jacobians: theory, section 6."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.dissection.error_amplification import growth_bound, logarithmic_norm

error_amplification = sw.dissection.error_amplification


def euler(A, h: float):
    matrix = torch.as_tensor(np.atleast_2d(A))
    return lambda x, s: s + h * s @ matrix.T


def opened_euler(A, h: float, steps: int, start, sequences: int = 1):
    return error_amplification(euler(A, h), np.zeros((sequences, steps, 0)), initial=np.atleast_1d(start), dt=h)


@pytest.mark.parametrize(("N", "error"), [(10, -0.027961), (20, -0.013759), (40, -0.006823), (80, -0.003397)])
def test_eulers_global_error_is_rebuilt_from_its_local_errors(N, error):
    """y' = −2y, y(0) = 1 on [0, 1]: Σ_k ∏(1 + hJ) local[k] is the error exactly, and its values are the theory's."""
    h = 1 / N
    d = opened_euler(-2.0, h, N, 1.0)
    t = np.arange(N) * h
    local = np.exp(-2 * t) * (1 - 2 * h) - np.exp(-2 * (t + h))
    rebuilt = (np.exp(d.data["log_amplification"]) * local).sum()
    assert rebuilt == pytest.approx((1 - 2 * h) ** N - np.exp(-2), abs=1e-14)
    assert rebuilt == pytest.approx(error, abs=5e-7)
    assert abs(rebuilt) <= np.abs(local).max() * d.value <= np.abs(local).max() * d.data["bound"] + 1e-15
    assert d.data["mu_2"] == pytest.approx(-2)


def test_the_order_of_euler_is_one():
    errors = [abs((1 - 2 / N) ** N - np.exp(-2)) for N in (10, 20, 40, 80)]
    slope = np.polyfit(np.log([10, 20, 40, 80]), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.05)


def test_the_logarithmic_norm_does_not_bound_explicit_euler():
    """A rotation: μ = 0, and the error explodes all the same; μ_h bounds it."""
    A = np.array([[0.0, -10.0], [10.0, 0.0]])
    d = opened_euler(A, 0.1, 100, [1.0, 0.0])
    np.testing.assert_allclose(d.data["mu_2"], 0, atol=1e-9)
    assert d.data["mu_h"] == pytest.approx((np.sqrt(2) - 1) / 0.1)
    assert d.value > 1e14
    assert d.value == pytest.approx((2**50 - 1) / (np.sqrt(2) - 1))
    assert d.value <= d.data["norm_bound"] * (1 + 1e-9) <= d.data["bound"] * (1 + 2e-9)
    assert "enlarge errors" in d.meaning


def test_logarithmic_norms():
    """[[−1, 10], [0, −1]]: spectral abscissa −1, μ₂ = 4, μ_∞ = 9; and each is the limit of (‖I + hA‖ − 1)/h."""
    A = np.array([[-1.0, 10.0], [0.0, -1.0]])
    assert np.linalg.eigvals(A).real.max() == -1
    assert logarithmic_norm(A, "2") == pytest.approx(4)
    assert logarithmic_norm(A, "inf") == pytest.approx(9)
    assert logarithmic_norm(A, "1") == pytest.approx(9)
    for kind, order in (("1", 1), ("2", 2), ("inf", np.inf)):
        B = np.random.default_rng(0).normal(size=(4, 4))
        h = 1e-7
        limit = (np.linalg.norm(np.eye(4) + h * B, order) - 1) / h
        assert logarithmic_norm(B, kind) == pytest.approx(limit, abs=1e-5)
    with pytest.raises(ValueError, match="kind"):
        logarithmic_norm(A, "3")


def test_the_bound_at_and_around_no_growth():
    assert growth_bound(0.0, 0.1, 50) == 50
    assert growth_bound(1e-9, 0.1, 50) == pytest.approx(50, rel=1e-6)
    assert growth_bound(-2.0, 0.1, 10_000) == pytest.approx(5)
    assert growth_bound(50.0, 1.0, 1000) == np.inf
    assert growth_bound(-10.0, 0.1, 5) == 1
    for rate in (-0.5, 0.3):
        assert growth_bound(rate, 1.0, 7) == pytest.approx(sum((1 + rate) ** k for k in range(7)))
    assert growth_bound(-2.0, 0.1, 10) > np.expm1(-2.0) / -0.2  # the exponential form is no bound where errors fade


def test_overflow_leaves_the_logarithm():
    d = error_amplification(np.full((2000, 1, 1), 3.0))
    assert np.isinf(d.value)
    assert d.data["log_value"] == pytest.approx(2000 * np.log(3) - np.log(2))
    assert "10^954" in d.meaning


def test_a_network_that_contracts_bounds_its_errors():
    layer = torch.nn.RNN(1, 3, batch_first=True).double()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(0.5 * torch.eye(3))
    d = error_amplification(layer, np.random.default_rng(0).normal(size=(2, 60, 1)), sequence=1)
    assert d.value < 2
    assert "no single step enlarges" in d.meaning
