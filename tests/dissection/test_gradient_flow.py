"""The gradient-flow matrix and its half-life against autograd on unrolled cells and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import statewise as sw
from statewise.dissection import Status

gradient_flow, gradient_half_life = sw.dissection.gradient_flow, sw.dissection.gradient_half_life
CELLS = {"RNN": nn.RNNCell, "GRU": nn.GRUCell, "LSTM": nn.LSTMCell}


def unrolled(layer: nn.Module, name: str, x: torch.Tensor, loss=lambda h: 0.5 * (h**2).sum(-1)) -> np.ndarray:
    """(B, T, T) ‖∂L[t]/∂s[s]‖ by T separate backward passes through torch's cell, step by step."""
    cell = CELLS[name](x.shape[2], layer.hidden_size).to(x)
    with torch.no_grad():
        for mine, theirs in zip(cell.parameters(), layer.parameters(), strict=True):
            mine.copy_(theirs)
    batch, steps = x.shape[:2]
    G = np.full((batch, steps, steps), np.nan)
    for b in range(batch):
        state, states, losses = None, [], []
        for t in range(steps):
            after = cell(x[b, t : t + 1], state)
            after = after if isinstance(after, tuple) else (after,)
            nudges = tuple(
                torch.zeros_like(part).requires_grad_() for part in after
            )  # h moves without c, and c without h
            states.append(nudges)
            moved = tuple(part + nudge for part, nudge in zip(after, nudges, strict=True))
            losses.append(loss(moved[0][0]))
            state = moved if name == "LSTM" else moved[0]
        for t in range(steps):
            for s in range(t + 1):
                found = torch.autograd.grad(losses[t], states[s], retain_graph=True, allow_unused=True)
                G[b, t, s] = np.sqrt(sum(float((g**2).sum()) for g in found if g is not None))
    return G


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", CELLS)
def test_against_autograd_on_an_unrolled_cell(name, precision):
    """1e-6 relative in float32, 1e-10 in float64 (§1); the state is (h, c) for an LSTM."""
    torch.manual_seed(0)
    layer = getattr(nn, name)(2, 4, batch_first=True).double()
    x = torch.randn(2, 9, 2).double()
    G = gradient_flow(layer, x, precision=precision).data["by_sequence"]
    expected = unrolled(layer, name, x)
    np.testing.assert_array_equal(np.isnan(G), np.isnan(expected))
    np.testing.assert_allclose(G, expected, rtol=1e-6 if precision == "float32" else 1e-10)


def test_a_stack_is_followed_through_its_layers():
    """Dense: ∇L of the top's h times the product of autograd-checked Jacobians of the whole stack."""
    torch.manual_seed(0)
    layer = nn.LSTM(2, 3, num_layers=3, batch_first=True).double()
    x = torch.randn(1, 7, 2).double()
    subject = sw.dissect(layer, x).subject
    system = subject.sites[0].system
    G = gradient_flow(subject, precision="float64").data["by_sequence"][0]
    for t in range(7):
        row = np.zeros(18)
        row[12:15] = system.states[0, t + 1, 12:15]
        for s in range(t, -1, -1):
            assert G[t, s] == pytest.approx(np.linalg.norm(row), rel=1e-10)
            row = row @ system.jacobian(s)[0]


@pytest.mark.parametrize("a", [0.9, -0.5, 1.1])
def test_a_scalar_leak_is_exact(a):
    """|a|^(t − s), and the half-life ln 2 / −ln|a|: 6.578813 at .9."""
    d = gradient_flow(
        lambda x, s: a * s + x,
        np.random.default_rng(0).normal(size=(3, 30, 1)),
        initial=np.zeros(1),
        loss=lambda s: s[..., 0],
        precision="float64",
    )
    t, s = np.tril_indices(30)
    np.testing.assert_allclose(d.value[t, s], abs(a) ** (t - s), rtol=1e-12)
    np.testing.assert_allclose(d.data["curve"], abs(a) ** np.arange(30), rtol=1e-12)
    half = gradient_half_life(
        lambda x, s: a * s + x, np.ones((8, 30, 1)), initial=np.zeros(1), loss=lambda s: s[..., 0]
    )
    expected = np.log(2) / -np.log(abs(a)) if abs(a) < 1 else np.inf
    assert half.value == pytest.approx(expected, rel=1e-5)
    if a == 0.9:
        assert half.value == pytest.approx(6.578813, rel=1e-6)


def test_the_slope_at_long_lags_is_the_first_exponent():
    torch.manual_seed(0)
    layer = nn.GRU(2, 16, batch_first=True).double()
    x = torch.randn(16, 200, 2).double()
    d = sw.dissect(layer, x)
    half = gradient_half_life(d.subject, lags=(5, 25))
    assert -np.log(2) / half.value == pytest.approx(d.lyapunov.value[0], rel=0.08)


def test_ragged_sequences_are_padded_with_nothing():
    torch.manual_seed(0)
    layer = nn.GRU(2, 4, batch_first=True).double()
    x = torch.randn(2, 9, 2).double()
    lengths = torch.tensor([9, 5])
    G = gradient_flow(layer, x, lengths=lengths, precision="float64").data["by_sequence"]
    alone = gradient_flow(layer, x[1:, :5], precision="float64").data["by_sequence"]
    np.testing.assert_allclose(G[1, :5, :5], alone[0], rtol=1e-12)
    assert np.isnan(G[1, 5:]).all()


def test_a_loss_at_the_end_is_one_row():
    """One number a sequence: ∂L/∂s[s] for every s, as autograd gives it."""
    torch.manual_seed(0)
    layer = nn.GRU(2, 4, batch_first=True).double()
    x = torch.randn(2, 8, 2).double()
    G = gradient_flow(layer, x, loss=lambda r: r[0][:, -1].sum(-1), precision="float64").data["by_sequence"]
    expected = unrolled(layer, "GRU", x, loss=lambda h: h.sum(-1))
    np.testing.assert_allclose(G[:, -1], expected[:, -1], rtol=1e-10)


def test_retained_gradients_of_the_output_are_a_trap():
    """`output.retain_grad()` sees the last step only, since recurrence does not go through `output`: it looks like vanishing. Ours does not."""
    torch.manual_seed(0)
    layer = nn.LSTM(2, 4, batch_first=True).double()
    x = torch.randn(1, 20, 2).double()
    output, _ = layer(x)
    output.retain_grad()
    output[:, -1].sum().backward()
    assert (output.grad[0, :-1] == 0).all()
    G = gradient_flow(layer, x, loss=lambda r: r[0][:, -1].sum(-1), precision="float64").data["by_sequence"]
    assert (G[0, -1, 10:] > 1e-6).all()


def test_the_band_is_of_quantiles():
    """Oracle: np.quantile of the ratios of each lag."""
    torch.manual_seed(0)
    layer = nn.GRU(2, 4, batch_first=True).double()
    d = gradient_flow(layer, torch.randn(3, 12, 2).double(), precision="float64")
    G = d.data["by_sequence"]
    for k in range(12):
        ratios = np.log([G[b, t, t - k] / G[b, t, t] for b in range(3) for t in range(k, 12)])
        assert np.log(d.data["low"][k]) == pytest.approx(np.quantile(ratios, 0.1), abs=1e-12)
        assert np.log(d.data["high"][k]) == pytest.approx(np.quantile(ratios, 0.9), abs=1e-12)
        assert np.log(d.data["curve"][k]) == pytest.approx(np.mean(ratios), abs=1e-12)


def test_a_loss_without_gradient_is_said_to_be_one():
    """Half the square of an output of zeros."""
    layer = nn.LSTM(1, 2, bias=False, batch_first=True)
    d = gradient_flow(layer, np.zeros((1, 8, 1)))
    assert d.status is Status.NOT_CONVERGED
    assert "does not change with the states" in d.reason
    assert gradient_half_life(layer, np.zeros((1, 8, 1))).reason == d.reason


def test_it_needs_a_loss():
    assert gradient_flow(np.ones((5, 1, 1))).status is Status.REFUSED
    assert gradient_half_life(np.ones((5, 1, 1))).status is Status.REFUSED


def test_both_directions_have_their_curves():
    torch.manual_seed(0)
    layer = nn.GRU(2, 4, batch_first=True, bidirectional=True).double()
    x = torch.randn(2, 9, 2).double()
    d = gradient_flow(layer, x, precision="float64")
    assert len(d.data["sites"]) == 2
    one = nn.GRU(2, 4, batch_first=True).double()
    one.load_state_dict({name: value for name, value in layer.state_dict().items() if "reverse" not in name})
    np.testing.assert_allclose(
        d.data["by_sequence"], gradient_flow(one, x, precision="float64").data["by_sequence"], rtol=1e-10
    )


def test_an_explosion_is_named_with_its_step():
    d = gradient_flow(lambda x, s: 1e8 * s, np.zeros((1, 60, 0)), initial=np.full(1, 1e-300), loss=lambda s: s[..., 0])
    assert d.status is Status.NOT_CONVERGED
    assert "overflows on the way back" in d.reason
