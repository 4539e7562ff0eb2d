"""Systems against torch: replayed outputs, and Jacobian products against autograd's dense matrices, for every cell and layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import statewise as sw
from statewise.dissection.opening import opened
from statewise.dissection.systems import Stack

LAYERS = {
    "rnn": lambda d, h, k: nn.RNN(d, h, k, batch_first=True),
    "relu": lambda d, h, k: nn.RNN(d, h, k, batch_first=True, nonlinearity="relu"),
    "gru": lambda d, h, k: nn.GRU(d, h, k, batch_first=True),
    "gru without bias": lambda d, h, k: nn.GRU(d, h, k, batch_first=True, bias=False),
    "lstm": lambda d, h, k: nn.LSTM(d, h, k, batch_first=True),
    "projected": lambda d, h, k: nn.LSTM(d, h, k, batch_first=True, proj_size=2),
    "minimal": lambda d, h, k: sw.nn.MinGRU(d, h, num_layers=k, batch_first=True),
    "ours": lambda d, h, k: sw.nn.LSTM(d, h, k, batch_first=True),
}


def made(name: str, layers: int = 4, hidden: int = 3):
    torch.manual_seed(len(name))
    return LAYERS[name](2, hidden, layers).double()


def torch_step(layer: nn.Module, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """One step of torch's own layer for one sequence: x (d,), s (n,), layer after layer, (h, c) in each."""
    rows = state.reshape(layer.num_layers, -1)
    if isinstance(layer, nn.LSTM):
        P = layer.proj_size or layer.hidden_size
        h, c = rows[:, None, :P].contiguous(), rows[:, None, P:].contiguous()
        _, (h, c) = layer(x[None, None], (h, c))
        return torch.cat([h[:, 0], c[:, 0]], dim=1).reshape(-1)
    _, h = layer(x[None, None], rows[:, None].contiguous())
    return h[:, 0].reshape(-1)


@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("name", LAYERS)
def test_pushes_and_pulls_are_autograds_jacobian(name, layers):
    """To 1e-12: the same numbers, summed in another order."""
    layer = made(name, layers)
    x = torch.randn(3, 5, 2).double()
    subject = opened(layer, x)
    assert subject.replay_error < 1e-14
    (site,) = subject.sites
    system, t, rng = site.system, 3, np.random.default_rng(0)
    before, given = torch.from_numpy(system.states[:, t]), x[:, t]
    dense, driven = [], []
    for b in range(3):
        by_input, by_state = torch.autograd.functional.jacobian(
            lambda u, s: torch_step(layer, u, s), (given[b], before[b])
        )
        dense.append(by_state.numpy())
        driven.append(by_input.numpy())
        np.testing.assert_allclose(torch_step(layer, given[b], before[b]).detach(), system.states[b, t + 1], atol=1e-13)
    J, G = np.stack(dense), np.stack(driven)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12)  # noqa: E731  # a short name
    close(system.jacobian(t), J)
    close(system.jacobian_at(given.numpy(), before.numpy()), J)
    close(system.input_jacobian_at(given.numpy(), before.numpy()), G)
    V, U, W = (rng.normal(size=shape) for shape in ((3, system.size, 4), (3, 5, system.size), (3, 2, 4)))
    close(system.push(t, V), J @ V)
    close(system.pull(t, U), U @ J)
    many = rng.normal(size=(3, 40, system.size))  # the way for many rows
    close(system.pull(t, many), many @ J)
    close(system.push_input(t, W), G @ W)
    close(system.pull_input(t, U), U @ G)
    close(system.step(given.numpy(), before.numpy()), system.states[:, t + 1])
    close(system.advance(t, before.numpy()), system.states[:, t + 1])
    close(system.pull_direct(t, U), U @ system.direct(t))
    one = system.rows(np.array([2, 0]))
    close(one.jacobian(t), J[[2, 0]])
    close(one.advance(t, before.numpy()[[2, 0]]), system.states[[2, 0], t + 1])
    single = system.at(np.float32)
    assert single.dtype == np.float32
    assert single.pull(t, U.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.pull(t, U.astype(np.float32)), U @ J, atol=1e-4)


def test_a_stack_is_block_triangular():
    system = opened(made("gru"), torch.randn(2, 5, 2).double()).sites[0].system
    assert isinstance(system, Stack)
    J = system.jacobian(2)[0]
    blocks = np.abs(J.reshape(4, 3, 4, 3)).max(axis=(1, 3))
    assert (blocks[np.triu_indices(4, 1)] == 0).all()
    assert (blocks[np.tril_indices(4)] > 0).all()


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "projected", "ours"])
@pytest.mark.parametrize("layout", ["time first", "packed", "one sequence", "first state", "two directions", "float32"])
def test_every_layout_is_replayed(name, layout):
    """The replayed weights give the fused output, in every layout that the layer takes."""
    kinds = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM, "projected": nn.LSTM, "ours": sw.nn.LSTM}
    torch.manual_seed(0)
    extra = {"proj_size": 2} if name == "projected" else {}
    layer = kinds[name](2, 3, 2, batch_first=layout != "time first", bidirectional=layout == "two directions", **extra)
    x = torch.randn(4, 6, 2)
    batch = x
    if layout != "float32":
        layer, x = layer.double(), x.double()
        batch = x
    if layout == "packed":
        batch = pack_padded_sequence(x, torch.tensor([3, 6, 1, 4]), batch_first=True, enforce_sorted=False)
    if layout == "one sequence":
        batch = x[0]
    if layout == "first state":
        h = torch.randn(2, 4, 2 if name == "projected" else 3).double()
        batch = (x, (h, torch.randn(2, 4, 3).double()) if name in ("lstm", "projected", "ours") else h)
    subject = opened(layer, batch)
    assert subject.replay_error < (1e-6 if layout == "float32" else 1e-13)
    assert len(subject.sites) == (4 if layout == "two directions" else 1)
    expected = {"time first": [4] * 6, "packed": [3, 6, 1, 4], "one sequence": [6]}.get(layout, [6] * 4)
    np.testing.assert_array_equal(subject.lengths, expected)
    d = sw.dissection.lyapunov(subject, exponents=2)
    assert np.isfinite(d.value[0])


def test_the_difference_is_reported_where_there_is_one():
    """A layer whose output is not what its weights say."""

    class Shifted(nn.GRU):
        def forward(self, *args):
            output, h = super().forward(*args)
            return output + 0.25, h

    assert opened(Shifted(2, 3, batch_first=True), torch.randn(2, 5, 2)).replay_error == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_time_aware_layers(name):
    """The decay between steps is in the states, the Jacobians and the steps; oracle: the layer's own one-step method by autograd."""
    torch.manual_seed(0)
    layer = getattr(sw.nn, name)(2, 3, num_layers=2, batch_first=True, time_constant=2.0).double()
    elapsed = torch.from_numpy(np.random.default_rng(0).uniform(0.2, 3, (2, 6)))
    x = torch.randn(2, 6, 2).double()
    subject = opened(layer, {"input": x, "elapsed": elapsed})
    assert subject.replay_error < 1e-13
    system, t = subject.sites[0].system, 4

    def step(state):
        parts = state.reshape(2, -1, 3)
        hx = tuple(parts[:, i : i + 1].contiguous() for i in range(parts.shape[1]))
        _, end = layer(x[:1, t : t + 1], hx if name == "LSTM" else hx[0], elapsed=elapsed[:1, t : t + 1])
        return torch.cat([torch.cat([part[k, 0] for part in (end if name == "LSTM" else (end,))]) for k in range(2)])

    before = torch.from_numpy(system.states[0, t])
    np.testing.assert_allclose(step(before).detach(), system.states[0, t + 1], atol=1e-13)
    J = torch.autograd.functional.jacobian(step, before).numpy()
    np.testing.assert_allclose(system.jacobian(t)[0], J, atol=1e-12)
    V = np.random.default_rng(1).normal(size=(2, system.size, 3))
    np.testing.assert_allclose(system.push(t, V)[0], J @ V[0], atol=1e-12)
    np.testing.assert_allclose(system.pull(t, V.transpose(0, 2, 1))[0], V[0].T @ J, atol=1e-12)
    np.testing.assert_allclose(system.advance(t, system.states[:, t]), system.states[:, t + 1], atol=1e-13)
