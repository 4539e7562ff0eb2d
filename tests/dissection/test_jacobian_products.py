"""Products of Jacobians against dense products, closed forms and each other's bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.dissection.opening import opened
from statewise.dissection.products import iterated_log_norm, peak_growth, spectral_norms

jacobian_products = sw.dissection.jacobian_products


def test_norms_are_those_of_the_dense_products():
    J = np.random.default_rng(0).normal(size=(2, 30, 5, 5))
    d = jacobian_products(J)
    expected = []
    for b in range(2):
        product, row = np.eye(5), []
        for t in range(30):
            product = J[b, t] @ product
            row.append(np.log(np.linalg.norm(product, 2)))
        expected.append(row)
    np.testing.assert_allclose(d.value, np.mean(expected, axis=0), atol=1e-10)
    np.testing.assert_allclose(d.interval, [np.min(expected, axis=0), np.max(expected, axis=0)], atol=1e-10)


def test_bounds_hold_and_are_where_they_belong():
    """|det|^{1/n} and ρ below the norm, ∏‖J‖ above it, ∏√(‖J‖₁‖J‖_∞) above that."""
    d = jacobian_products(np.random.default_rng(0).normal(size=(40, 6, 6)))
    for low in ("radius", "det"):
        assert (d.data[low] <= d.value + 1e-9).all()
        assert (d.data[low] > d.value - 80).all()
    assert (d.data["norms"] >= d.value - 1e-9).all()
    assert (d.data["mixed"] >= d.data["norms"] - 1e-9).all()
    assert (d.data["norms"][-1] - d.value[-1]) > 5


@pytest.mark.parametrize("scale", [5.0, 0.01, 0.0])
def test_ten_thousand_steps_do_not_overflow(scale):
    d = jacobian_products(np.tile(scale * np.eye(3), (10_000, 1, 1)))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(d.value[-1], 10_000 * np.log(scale))
    if scale:
        np.testing.assert_allclose(d.data["radius"][-1], 10_000 * np.log(scale))
        assert "10^" in d.meaning


def test_power_iteration_finds_the_same_norms():
    """To 1e-5 of dense singular values, for a stack and at every lag; its own tolerance is 1e-6 a round."""
    torch.manual_seed(0)
    layer = torch.nn.LSTM(2, 6, num_layers=2, batch_first=True).double()
    system = opened(layer, torch.randn(3, 25, 2).double()).sites[0].system
    product = np.tile(np.eye(24), (3, 1, 1))
    for t in range(25):
        product = system.jacobian(t) @ product
        if t in (0, 3, 24):
            expected = np.log(np.linalg.norm(product, 2, axis=(1, 2)))
            np.testing.assert_allclose(iterated_log_norm(system, t), expected, atol=1e-5)


def test_large_states_are_interpolated_between_lags():
    torch.manual_seed(0)
    layer = torch.nn.RNN(2, 80, batch_first=True).double()
    x = torch.randn(2, 40, 2).double()
    d = jacobian_products(layer, x)
    system = opened(layer, x).sites[0].system
    product, expected = np.tile(np.eye(80), (2, 1, 1)), []
    for t in range(40):
        product = system.jacobian(t) @ product
        expected.append(np.log(np.linalg.norm(product, 2, axis=(1, 2))).mean())
    np.testing.assert_allclose(d.value[[0, 1, 2, 39]], np.array(expected)[[0, 1, 2, 39]], atol=1e-4)
    np.testing.assert_allclose(d.value, expected, atol=0.5)
    assert d.data["radius"] is None
    np.testing.assert_allclose(spectral_norms(np.tile(np.diag(np.arange(200.0)), (2, 1, 1))), 199, rtol=1e-4)


def test_non_normal_growth():
    """[[.9, 1], [0, .9]]: spectral radius .9, yet max_k ‖J^k‖ = 3.9126 at k = 9."""
    J = np.array([[0.9, 1.0], [0.0, 0.9]])
    peak, at = peak_growth(J)
    assert (round(peak, 4), at) == (3.9126, 9)
    d = jacobian_products(np.tile(J, (30, 1, 1)))
    np.testing.assert_allclose(d.data["peak_growth"], 3.9126, atol=1e-4)
    np.testing.assert_allclose(np.exp(d.value.max()), 3.9126, atol=1e-4)
    np.testing.assert_allclose(d.data["non_normality"], np.linalg.norm(J, 2) / 0.9)
    assert peak_growth(1.1 * np.eye(2))[0] == np.inf


@pytest.mark.parametrize(("gain", "vanishes"), [(0.9, True), (1.5, False)])
def test_weights_below_one_are_enough_to_vanish(gain, vanishes):
    layer = torch.nn.RNN(1, 4, batch_first=True).double()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(gain * torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0])
    d = jacobian_products(layer, np.random.default_rng(0).normal(size=(2, 50, 1)))
    assert d.data["weight_norm"] == pytest.approx(gain)
    assert d.data["vanishes"] is vanishes
    if vanishes:
        assert (d.value <= np.arange(1, 51) * np.log(gain) + 1e-12).all()


def test_the_cells_jacobian_at_the_origin():
    """GRU: z I + (1 − z) r W. LSTM with zero biases but the forget gate's: f + i o eig(W_g), and n exact zeros."""
    gru = torch.nn.GRU(1, 3, batch_first=True).double()
    lstm = torch.nn.LSTM(1, 3, batch_first=True).double()
    with torch.no_grad():
        for layer in (gru, lstm):
            for name, parameter in layer.named_parameters():
                if "bias" in name:
                    parameter.zero_()
        lstm.bias_ih_l0[3:6] = 1.0
    zeros = np.zeros((1, 2, 1))
    W = gru.weight_hh_l0.detach().numpy()
    J = opened(gru, zeros).sites[0].system.jacobian(0)[0]
    np.testing.assert_allclose(J, 0.5 * np.eye(3) + 0.25 * W[6:], atol=1e-14)
    W = lstm.weight_hh_l0.detach().numpy()
    J = opened(lstm, zeros).sites[0].system.jacobian(0)[0]
    f = 1 / (1 + np.exp(-1))
    expected = np.concatenate([f + 0.25 * np.linalg.eigvals(W[6:9]), np.zeros(3)])
    found = np.linalg.eigvals(J)
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(expected), atol=1e-7)
