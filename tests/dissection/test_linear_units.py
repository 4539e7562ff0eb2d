"""Linear recurrent units and minimal GRUs, as real recurrences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.dissection.opening import opened


@pytest.mark.parametrize(
    ("both", "layers", "first", "started"), list(itertools.product((False, True), (1, 2), (False, True), (False, True)))
)
def test_replay(both: bool, layers: int, first: bool, started: bool):
    torch.manual_seed(0)
    layer = sw.nn.LRU(3, 4, num_layers=layers, bidirectional=both, batch_first=first, state_size=5).double()
    x = torch.randn(2, 20, 3, dtype=torch.float64)
    x = x if first else x.transpose(0, 1)
    state = torch.randn(layers * (1 + both), 2, 5, dtype=torch.complex128)
    subject = opened(layer, (x, state) if started else x)
    assert subject.replay_error < 1e-12
    assert len(subject.sites) == (2 * layers if both else 1)


def test_exponents_are_the_logs_of_the_eigenvalues():
    torch.manual_seed(0)
    layer = sw.nn.LRU(2, 3, batch_first=True, state_size=4, radius=(0.5, 0.99)).double()
    found = sw.dissection.lyapunov(layer, torch.randn(1, 4000, 2, dtype=torch.float64), exponents=8)
    expected = np.repeat(np.sort(np.log(np.abs(layer.eigenvalues().detach().numpy())))[::-1], 2)
    np.testing.assert_allclose(found.value, expected, atol=2e-3)


@pytest.mark.parametrize("layers", [1, 2])
def test_products_by_finite_differences(layers: int):
    torch.manual_seed(0)
    layer = sw.nn.LRU(3, 4, num_layers=layers, batch_first=True, state_size=2).double()
    system = opened(layer, torch.randn(2, 9, 3, dtype=torch.float64)).sites[0].system
    s, x, h = system.states[:, 4], system.inputs[:, 4], 1e-6
    by_state = np.stack(
        [(system.step(x, s + h * e) - system.step(x, s - h * e)) / (2 * h) for e in np.eye(system.size)], axis=2
    )
    by_input = np.stack([(system.step(x + h * e, s) - system.step(x - h * e, s)) / (2 * h) for e in np.eye(3)], axis=2)
    identity = np.broadcast_to(np.eye(system.size), (2, system.size, system.size))
    np.testing.assert_allclose(system.jacobian(4), by_state, atol=1e-8)
    np.testing.assert_allclose(system.pull(4, identity), by_state, atol=1e-8)
    np.testing.assert_allclose(system.pull_input(4, identity), by_input, atol=1e-8)
    np.testing.assert_allclose(system.jacobian_at(x, s), by_state, atol=1e-8)
    np.testing.assert_allclose(system.at(np.float32).pull(4, identity.astype(np.float32)), by_state, atol=1e-5)
    part = system.rows(np.array([1]))
    np.testing.assert_allclose(part.jacobian(4), by_state[1:], atol=1e-8)


def test_gradient_to_the_state_is_autograds():
    """dL[t]/ds[s] of ½‖y‖², through the real and imaginary parts."""
    torch.manual_seed(0)
    layer = sw.nn.LRU(2, 3, batch_first=True, state_size=2).double()
    x = torch.randn(1, 6, 2, dtype=torch.float64)
    G = sw.dissection.gradient_flow(layer, x, precision="float64").data["by_sequence"]
    start = torch.view_as_complex(torch.zeros(1, 1, 2, 2, dtype=torch.float64)).requires_grad_()
    _, state = layer(x[:, :3], start)
    state = state.detach().requires_grad_()
    y, _ = layer(x[:, 3:], state)
    (0.5 * (y[0, 2] ** 2).sum()).backward()
    assert G[0, 5, 2] == pytest.approx(float(torch.linalg.norm(torch.view_as_real(state.grad))), rel=1e-9)


def test_minimal_gru():
    torch.manual_seed(0)
    layer = sw.nn.MinGRU(3, 4, num_layers=2, batch_first=True, bidirectional=True).double()
    d = sw.dissect(layer, torch.randn(2, 15, 3, dtype=torch.float64))
    assert d.replay_error < 1e-12
    assert np.isfinite(d.gradient_half_life.value)
