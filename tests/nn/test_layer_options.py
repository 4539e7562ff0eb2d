"""What the layers have beyond torch's: learned first states, decay with time, dropout of the state, layer norm. Oracle: their equations by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.nn.layers import LENGTHS, TOLERANCE, random_state, twins
from torch import nn

import statewise as sw
from statewise import nn as fast

pytestmark = pytest.mark.usefixtures("kernels_at_every_size")


def test_learned_first_states_have_their_gradients():
    """Equal to those of the same state given by hand, summed over the batch."""
    for kind in ("GRU", "LSTM"):
        layer = getattr(fast, kind)(4, 5, learn_initial=True, num_layers=2, dtype=torch.float64)
        starts = [layer.initial_h, layer.initial_c] if kind == "LSTM" else [layer.initial_h]
        x = torch.randn(7, 6, 4, dtype=torch.float64)
        given = [torch.zeros(2, 6, 5, dtype=torch.float64, requires_grad=True) for _ in starts]
        output = layer(x, tuple(given) if kind == "LSTM" else given[0])[0]
        wanted = [g.sum(1) for g in torch.autograd.grad((output**2).sum(), given)]
        for own, other in zip(torch.autograd.grad((layer(x)[0] ** 2).sum(), starts), wanted, strict=True):
            torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


# --- time that has passed, dropout of the state -----------------------------------------------------------------------------


def decayed_by_hand(layer, x, elapsed, state):
    """One sequence (T, d) through torch's cell, its state multiplied by exp(−Δt/τ) before each step."""
    kind = layer.mode.replace("_TANH", "")
    cell = getattr(nn, f"{kind}Cell")(layer.input_size, layer.hidden_size, dtype=x.dtype)
    cell.load_state_dict(
        {name.removesuffix("_l0"): value for name, value in layer.state_dict().items() if "time" not in name}
    )
    outputs = []
    for x_t, gap in zip(x, elapsed, strict=True):
        decay = torch.exp(-gap / torch.exp(layer.log_time_constant_l0))
        state = tuple(part * decay for part in state) if kind == "LSTM" else state * decay
        state = cell(x_t, state)
        outputs.append(state[0] if kind == "LSTM" else state)
    return torch.stack(outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_the_state_decays_with_time(kind, dtype):
    """Against torch's cells step by step, dense, ragged and streamed, all on the kernels; the time constants have a gradient."""
    torch.manual_seed(0)
    layer = getattr(fast, kind)(4, 5, time_constant=2.0, dtype=dtype)
    x, elapsed = torch.randn(7, 6, 4, dtype=dtype), torch.rand(7, 6, dtype=dtype) * 3
    state = random_state(layer, 6, dtype)
    dense, ragged = layer(x, state, elapsed=elapsed)[0], layer(x, state, elapsed=elapsed, lengths=LENGTHS)[0]
    assert layer.path == ""
    for b, length in enumerate(LENGTHS):
        own = tuple(part[0, b] for part in state) if kind == "LSTM" else state[0, b]
        wanted = decayed_by_hand(layer, x[:, b], elapsed[:, b], own)
        torch.testing.assert_close(dense[:, b], wanted, rtol=0, atol=TOLERANCE[dtype])
        torch.testing.assert_close(ragged[:length, b], wanted[:length], rtol=0, atol=TOLERANCE[dtype])
    streamed = tuple(part.detach() for part in state) if kind == "LSTM" else state.detach()
    for t in range(7):
        y, streamed = layer.step(x[t], streamed, elapsed=elapsed[t])
        torch.testing.assert_close(y, dense[t].detach(), rtol=0, atol=TOLERANCE[dtype])
    if dtype == torch.float64:
        grad = torch.autograd.grad(dense.sum(), layer.log_time_constant_l0)[0]
        step = 1e-6
        with torch.no_grad():
            layer.log_time_constant_l0 += step
            moved = layer(x, state, elapsed=elapsed)[0].sum()
        torch.testing.assert_close((moved - dense.sum()) / step, grad.sum(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_the_way_back_decays_over_the_gap_to_the_next_step(kind):
    """The reverse direction on x is the forward one on x turned around, with the gaps moved accordingly."""
    both = getattr(fast, kind)(4, 5, time_constant=2.0, bidirectional=True, dtype=torch.float64)
    alone = getattr(fast, kind)(4, 5, time_constant=2.0, dtype=torch.float64)
    alone.load_state_dict({name: both.state_dict()[f"{name}_reverse"] for name in alone.state_dict()})
    x, elapsed = torch.randn(7, 6, 4, dtype=torch.float64), torch.rand(7, 6, dtype=torch.float64)
    found = both(x, elapsed=elapsed, lengths=LENGTHS)[0][..., 5:]
    for b, length in enumerate(LENGTHS):
        gaps = torch.cat([torch.zeros(1), elapsed[1:length, b].flip(0)])
        wanted = alone(x[:length, b].flip(0), elapsed=gaps)[0].flip(0)
        torch.testing.assert_close(found[:length, b], wanted, rtol=0, atol=1e-12)


def test_decay_by_the_time_since_each_variable_was_seen():
    """GRU-D: FillMissing in front, the state multiplied by exp(−max(0, W δ + b)); equal to the layer's own fallback in torch."""
    fill, layer = fast.FillMissing(3), fast.GRU(6, 5, batch_first=True, decay_inputs=3)
    x = torch.randn(2, 7, 3)
    x[torch.rand(2, 7, 3) < 0.4] = float("nan")
    seen, since = fill(x, torch.ones(2, 7))
    output = layer(seen, elapsed=since)[0]
    assert layer.path == "" and torch.isfinite(output).all()
    output.sum().backward()
    assert layer.decay_weight_l0.grad.abs().sum() > 0 and fill.weight.grad is not None
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(seen, elapsed=since)[0].float(), output, rtol=0, atol=0.1)
    assert "autocast" in layer.path


def test_missing_inputs_by_hand():
    fill = fast.FillMissing(1)
    nan = float("nan")
    fill.mean += 1.0
    seen, since = fill(torch.tensor([[[nan], [3.0], [nan], [nan], [5.0]]]), torch.tensor([[0.0, 1.0, 2.0, 0.5, 1.0]]))
    fade = torch.exp(-0.1 * torch.tensor([2.0, 2.5]))
    wanted = torch.tensor([1.0, 3.0, *(3 * fade + (1 - fade)), 5.0])
    torch.testing.assert_close(seen[0, :, 0], wanted)
    assert seen[0, :, 1].tolist() == [0, 1, 0, 0, 1]
    assert since[0, :, 0].tolist() == [0.0, 0.0, 2.0, 2.5, 0.0]


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_dropout_of_the_state_is_one_mask_a_sequence(kind):
    """The state that enters the product is masked, the one that is carried is not: torch's cell on masked products; evaluation is plain."""
    ours, theirs = twins(kind, hidden=6)
    ours.recurrent_dropout = 0.5
    x = torch.randn(7, 3, 4, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(5)
    found = ours(x)[0]
    assert ours.path == ""
    torch.manual_seed(5)
    mask = nn.functional.dropout(torch.ones(3, 6, dtype=torch.float64), 0.5)
    h = torch.zeros(3, 6, dtype=torch.float64)
    c = torch.zeros(3, 6, dtype=torch.float64)
    for t in range(7):
        given = x[t] @ ours.weight_ih_l0.T + ours.bias_ih_l0
        kept = (h * mask) @ ours.weight_hh_l0.T + ours.bias_hh_l0
        if kind == "RNN":
            h = torch.tanh(given + kept)
        elif kind == "GRU":
            r, z = torch.sigmoid(given[:, :12] + kept[:, :12]).chunk(2, 1)
            h = z * h + (1 - z) * torch.tanh(given[:, 12:] + r * kept[:, 12:])
        else:
            i, f, g, o = (given + kept).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        torch.testing.assert_close(found[t], h, rtol=0, atol=1e-12)
    ours.eval()
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=0, atol=1e-10)


def test_wrong_times_are_named():
    plain, timed = fast.GRU(4, 5), fast.GRU(4, 5, time_constant=1.0)
    x = torch.zeros(7, 6, 4)
    for call in (
        lambda: plain(x, elapsed=torch.ones(7, 6)),
        lambda: timed(x),
        lambda: timed(x, elapsed=torch.ones(6, 7)),
        lambda: timed(x, elapsed=-torch.ones(7, 6)),
        lambda: timed.step(np.zeros(4, np.float32)),
        lambda: fast.FillMissing(3)(x, torch.ones(7, 6)),
    ):
        with pytest.raises(sw.InputError, match=r"elapsed|`x`"):
            call()
    with pytest.raises(sw.InputError, match="time_constant"):
        fast.GRU(4, 5, time_constant=0.0)


def normed_step(layer, x, h, c, fade=None):
    """One step in the equations of Ba, Kiros and Hinton (2016), §3.1 and appendix, gate by gate."""
    p = {name.removesuffix("_l0"): value for name, value in layer.named_parameters()}
    norm = lambda a: (a - a.mean(-1, keepdim=True)) / torch.sqrt(a.var(-1, keepdim=True, correction=0) + 1e-5)  # noqa: E731  # shorter than a function here
    h, c = (h, c) if fade is None else (h * fade, c * fade)
    given, kept = x @ p["weight_ih"].T, h @ p["weight_hh"].T
    if layer.mode.startswith("RNN"):
        return torch.tanh(p["norm_weight"] * norm(given + kept) + p["bias_ih"] + p["bias_hh"]), c
    given = p["norm_ih_weight"] * norm(given) + p["bias_ih"]
    kept = p["norm_hh_weight"] * norm(kept) + p["bias_hh"]
    size = layer.hidden_size
    if layer.mode == "GRU":
        r, z = torch.sigmoid(given[:, : 2 * size] + kept[:, : 2 * size]).chunk(2, 1)
        return z * h + (1 - z) * torch.tanh(given[:, 2 * size :] + r * kept[:, 2 * size :]), c
    i, f, g, o = (given + kept).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(p["norm_cell_weight"] * norm(c) + p["norm_cell_bias"]), c


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_layer_norm_by_hand(kind, timed, dtype):
    """Outputs, last states and all gradients of a ragged batch of kernels, and streamed steps, against the published equations."""
    torch.manual_seed(0)
    layer = getattr(fast, kind)(4, 6, layer_norm=True, time_constant=2.0 if timed else None, dtype=dtype)
    with torch.no_grad():
        for name, value in layer.named_parameters():
            if name.startswith("norm"):
                value.uniform_(0.5, 2)
    x = torch.randn(5, 3, 4, dtype=dtype, requires_grad=True)
    gaps = torch.rand(5, 3, dtype=dtype) if timed else None
    h = c = torch.zeros(3, 6, dtype=dtype)
    wanted, state = [], None
    for t in range(5):
        fade = torch.exp(-gaps[t][:, None] / torch.exp(layer.log_time_constant_l0)) if timed else None
        new, cell = normed_step(layer, x[t], h, c, fade)
        wanted.append(new)
        if t < 2:  # the third sequence ends after two steps
            h, c = new, cell
        else:
            h, c = torch.cat([new[:2], h[2:]]), torch.cat([cell[:2], c[2:]])
        with torch.no_grad():
            y, state = layer.step(x[t].detach(), state, elapsed=None if gaps is None else gaps[t])
        if t < 2:
            torch.testing.assert_close(y, new.detach(), rtol=0, atol=TOLERANCE[dtype])
    seen = torch.ones(5, 3, 1, dtype=dtype)
    seen[2:, 2] = 0
    output, last = layer(x, lengths=[5, 5, 2], elapsed=gaps)
    assert layer.path == ""
    wanted = torch.stack(wanted) * seen
    torch.testing.assert_close(output, wanted, rtol=0, atol=TOLERANCE[dtype])
    torch.testing.assert_close(last[0][0] if kind == "LSTM" else last[0], h, rtol=0, atol=TOLERANCE[dtype])
    upstream = torch.randn(5, 3, 6, dtype=dtype)
    tensors = [x, *layer.parameters()]
    for own, by_hand in zip(
        torch.autograd.grad(output, tensors, upstream), torch.autograd.grad(wanted, tensors, upstream), strict=True
    ):
        torch.testing.assert_close(own, by_hand, rtol=0, atol=30 * TOLERANCE[dtype])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_layer_norm_stacked_both_ways_and_without_biases(kind):
    """Scaling the weights of a normalised product changes nothing but by the 1e-5 beside the variance: the invariance the norm is for."""
    torch.manual_seed(0)
    layer = getattr(fast, kind)(
        4, 6, num_layers=2, bidirectional=True, bias=False, layer_norm=True, dtype=torch.float64
    )
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    before = layer(x)[0]
    with torch.no_grad():
        for name, value in layer.named_parameters():
            if name.startswith("weight"):
                value *= 1e4
        large = layer(x)[0]
        for name, value in layer.named_parameters():
            if name.startswith("weight"):
                value *= 3.0
    torch.testing.assert_close(layer(x)[0], large, rtol=0, atol=1e-8)
    assert not torch.allclose(before, before * 0)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_steps_with_layer_norm_are_the_layer(kind):
    """Arrays, alone, from a learned first state; a stack."""
    layer = getattr(fast, kind)(4, 6, num_layers=2, layer_norm=True, learn_initial=True, dtype=torch.float64)
    with torch.no_grad():
        layer.initial_h.normal_()
    x = torch.randn(5, 4, dtype=torch.float64)
    state, found = None, []
    for row in x.numpy():
        y, state = layer.step(row, state)
        found.append(y)
    np.testing.assert_allclose(found, layer(x)[0].detach().numpy(), rtol=0, atol=1e-14)
    with pytest.raises(sw.UnsupportedError, match="bidirectional"):
        fast.GRU(4, 6, layer_norm=True, bidirectional=True).step(np.zeros(4, np.float32))
