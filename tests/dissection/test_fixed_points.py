"""Fixed points against closed forms and roots found by bisection."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.opening import opened

fixed_points = sw.dissection.fixed_points


def units(weight: np.ndarray, inputs: int = 1) -> torch.nn.RNN:
    """A tanh network without biases whose input is not connected."""
    layer = torch.nn.RNN(inputs, len(weight), bias=False, batch_first=True).double()
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
        layer.weight_hh_l0.copy_(torch.from_numpy(weight))
    return layer


@pytest.mark.parametrize(
    ("w", "point", "slope"), [(1.5, 0.858560, 0.394313), (2.0, 0.957504, 0.166372), (4.0, 0.999326, 0.005393)]
)
def test_one_tanh_unit(w, point, slope):
    """tanh(w h): ± the point with that slope, and the origin with slope w."""
    layer = units(np.array([[w]]))
    start = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 6, 1)))
    d = fixed_points(layer, np.zeros((6, 30, 1)), initial=start)
    order = np.argsort(d.value[:, 0])
    np.testing.assert_allclose(d.value[order, 0], [-point, 0, point], atol=1e-6)
    np.testing.assert_allclose(d.data["eigenvalues"][order, 0], [slope, w, slope], atol=1e-6)
    np.testing.assert_array_equal(d.data["unstable"][order], [0, 1, 0])
    np.testing.assert_array_equal(d.data["stable"][order], [True, False, True])
    np.testing.assert_allclose(d.data["tau"][order, 0], [-1 / np.log(slope), np.inf, -1 / np.log(slope)], rtol=1e-3)
    assert d.status is Status.CONVERGED
    assert "3 fixed points, 2 stable" in d.meaning
    assert d.plot().axes


def test_three_bits_are_eight_stable_points():
    """Three bistable units hold three bits: 3³ fixed points, of which 2³ are stable, 12 have one unstable mode, 6 two, one three."""
    weight = 2 * np.eye(3)
    layer = units(weight)
    start = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, size=(1, 200, 3)))
    d = fixed_points(layer, np.zeros((200, 3, 1)), initial=start, starts=1500)
    assert int(d.data["stable"].sum()) == 8
    np.testing.assert_array_equal(np.bincount(d.data["unstable"]), [8, 12, 6, 1])
    corners = d.value[d.data["stable"]]
    np.testing.assert_allclose(np.abs(corners), 0.957504, atol=1e-6)
    assert len(np.unique(np.sign(corners), axis=0)) == 8
    assert "several things" in d.meaning


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_points_are_fixed_under_torchs_own_step(name):
    """Oracle: torch's layer started there stays there, for two layers; the eigenvalues are those of autograd's Jacobian."""
    torch.manual_seed(0)
    layer = getattr(torch.nn, name)(2, 4, num_layers=2, batch_first=True).double()
    x = torch.randn(4, 50, 2).double()
    d = fixed_points(layer, x)
    assert d.status is Status.CONVERGED, d.reason
    point = torch.from_numpy(d.value[0])
    held = torch.from_numpy(d.data["x"])[None, None]
    np.testing.assert_allclose(d.data["x"], x.mean(dim=(0, 1)), rtol=1e-12)

    def step(state):
        parts = state.reshape(2, -1, 4)  # (layer, h or (h, c), units)
        hx = tuple(parts[:, i : i + 1].contiguous() for i in range(parts.shape[1]))
        _, end = layer(held, hx if name == "LSTM" else hx[0])
        return torch.cat([torch.cat([part[k, 0] for part in (end if name == "LSTM" else (end,))]) for k in range(2)])

    np.testing.assert_allclose(step(point).detach(), point, atol=1e-8)
    J = torch.autograd.functional.jacobian(step, point).numpy()
    np.testing.assert_allclose(
        np.sort(np.abs(d.data["eigenvalues"][0])), np.sort(np.abs(np.linalg.eigvals(J))), atol=1e-6
    )
    right, left = d.data["right"][0], d.data["left"][0]
    for k in range(2):
        value = d.data["eigenvalues"][0, k]
        np.testing.assert_allclose(J @ right[:, k], value * right[:, k], atol=1e-6)
        np.testing.assert_allclose(left[:, k].conj() @ J, value * left[:, k].conj(), atol=1e-6)


def test_a_held_input_moves_the_point():
    """tanh(.5 h + x) at x = .3, by bisection."""
    layer = units(np.array([[0.5]]))
    with torch.no_grad():
        layer.weight_ih_l0.fill_(1.0)
    d = fixed_points(layer, np.random.default_rng(0).normal(size=(2, 20, 1)), x=[0.3])
    expected = brentq(lambda h: np.tanh(0.5 * h + 0.3) - h, -1, 1, xtol=1e-14)
    np.testing.assert_allclose(d.value, [[expected]], atol=1e-9)
    with pytest.raises(ValueError, match="`x` is"):
        fixed_points(layer, np.zeros((1, 5, 1)), x=[1.0, 2.0])


def test_rotation_has_a_frequency():
    """.9 times a turn by an eighth: period 8, τ = −1 / ln .9."""
    turn = np.pi / 4
    weight = 0.9 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    d = fixed_points(units(weight), np.zeros((2, 30, 1)), initial=torch.ones(1, 2, 2).double() / 2, dt=0.5)
    np.testing.assert_allclose(d.data["frequency"][0], 1 / (8 * 0.5))
    np.testing.assert_allclose(d.data["tau"][0], -0.5 / np.log(0.9))


def test_a_slow_point_is_kept_and_labelled():
    """s' = s + .001 + s², just after a saddle-node: no fixed point, but q has its minimum ½ 10⁻⁶ at 0."""
    d = fixed_points(lambda x, s: s + 1e-3 + s**2, np.zeros((3, 5, 0)), initial=np.array([0.05]), slow=1e-4)
    assert d.status is Status.NOT_CONVERGED
    np.testing.assert_allclose(d.value, [[0.0]], atol=1e-3)
    np.testing.assert_allclose(d.data["q"], 0.5e-6, rtol=1e-2)
    assert not d.data["exact"].any()
    assert "1 slow point" in d.meaning


def test_nothing_is_found_where_nothing_rests():
    d = fixed_points(lambda x, s: s + 1.0, np.zeros((1, 5, 0)), initial=np.array([0.0]))
    assert d.status is Status.NOT_CONVERGED
    assert len(d.value) == 0
    assert "goes on moving" in d.meaning


def test_both_directions_are_searched_and_the_module_is_left_alone():
    torch.manual_seed(0)
    layer = torch.nn.GRU(2, 3, batch_first=True, bidirectional=True)
    layer.weight_hh_l0.requires_grad_(False)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    d = fixed_points(layer, torch.randn(3, 20, 2))
    assert len(d.data["sites"]) == 2
    assert layer.training
    assert not layer.weight_hh_l0.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_refused_for_bare_jacobians():
    assert fixed_points(np.ones((5, 1, 1))).status is Status.REFUSED
    subject = opened(np.ones((5, 1, 1)))
    assert not subject.sites[0].system.steps_anywhere
