"""Dissection against the ways that a user would go without it: autograd, vmap(jacrev) and QR; and what the monitor costs in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import statewise as sw
from benchmarks.workloads import Pair, Workload
from statewise.dissection.opening import opened
from statewise.dissection.spectrum import spectrum
from statewise.nn.threads import torch_threads

_THREADS = 2
_EXPONENTS = 8
_PEER_STEPS = 60  # of the spectra that are compared; a step of the peer takes a good part of a second at H = 256


def _lstm(inputs: int, hidden: int, seed: int = 0) -> torch.nn.LSTM:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return torch.nn.LSTM(inputs, hidden, batch_first=True)


def _draw(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


def _default(steps: int) -> Pair:
    """All that `dissect` computes at once."""
    net, x = _lstm(16, 256 if steps > 50 else 8), _draw(8, steps, 16)

    def ours() -> Any:
        with torch_threads(_THREADS):
            return sw.dissect(net, x)

    return Pair(ours)


def _flow(steps: int) -> Pair:
    """G[t, s] = ‖∂L[t]/∂h[s]‖ of one sequence, from T backward passes through an unrolled cell, against one backward recursion."""
    hidden = 64
    net, x = _lstm(8, hidden), _draw(1, steps, 8)
    cell = torch.nn.LSTMCell(8, hidden)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in net.state_dict().items()})

    def ours() -> np.ndarray:
        with torch_threads(_THREADS):
            return np.asarray(sw.dissection.gradient_flow(net, x).value)

    def peer() -> np.ndarray:
        with torch_threads(_THREADS):
            state = torch.zeros(1, 2 * hidden).requires_grad_()
            states = []
            for t in range(steps):
                h, c = cell(x[:, t], (state[:, :hidden], state[:, hidden:]))
                state = torch.cat([h, c], dim=1)
                states.append(state)
            found = np.full((steps, steps), np.nan)
            for t in range(steps):
                loss = 0.5 * (states[t][:, :hidden] ** 2).sum()
                for s, gradient in enumerate(torch.autograd.grad(loss, states[: t + 1], retain_graph=True)):
                    found[t, s] = float(torch.linalg.vector_norm(gradient))
            return found

    return Pair(ours, peer, _relative)


def _relative(ours: np.ndarray, peer: np.ndarray) -> float:
    """The largest error relative to an entry, over those that float32 can tell from 0 beside the largest of their row."""
    there = np.isfinite(peer) & (peer > 1e-5 * np.nanmax(peer, axis=1, keepdims=True))
    return float(np.max(np.abs(ours - peer)[there] / peer[there]))


def _spectrum(steps: int) -> Pair:
    """The leading exponents, against Jacobians by vmap(jacrev) and a QR a step, over as many steps as one can wait for: both are linear in T."""
    net, x = _lstm(8, 256 if steps >= _PEER_STEPS else 8), _draw(1, steps, 8)
    system = opened(net, x).layers[0][1]

    def ours() -> np.ndarray:
        with torch_threads(_THREADS):
            return np.asarray(np.nanmean(spectrum(system, _EXPONENTS, warmup=0).increments[0], axis=0))

    return Pair(ours, lambda: _by_jacrev(net, x), lambda a, b: float(np.abs(a - b).max()))


def _long_spectrum(steps: int) -> Pair:
    net, x = _lstm(8, 256 if steps > 100 else 8), _draw(1, steps, 8)
    system = opened(net, x).layers[0][1]
    return Pair(lambda: spectrum(system, _EXPONENTS))


def _by_jacrev(net: torch.nn.LSTM, x: torch.Tensor) -> np.ndarray:
    """Mean ln |R_ii| of Q ← J[t] Q, from the same first tangents."""
    hidden = net.hidden_size
    given_ih, given_hh, b_ih, b_hh = (value.detach().double() for value in net.parameters())
    weights = given_ih, given_hh, b_ih + b_hh

    def step(given: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        h, c = state[:hidden], state[hidden:]
        i, f, g, o = (weights[0] @ given + weights[1] @ h + weights[2]).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat([torch.sigmoid(o) * torch.tanh(c), c])

    jacobian = torch.func.vmap(torch.func.jacrev(step, argnums=1))
    draw = np.random.default_rng(0).standard_normal((1, 2 * hidden, _EXPONENTS))
    Q, state = torch.from_numpy(np.linalg.qr(draw)[0]), torch.zeros(1, 2 * hidden, dtype=torch.float64)
    total = torch.zeros(_EXPONENTS, dtype=torch.float64)
    with torch_threads(_THREADS), torch.no_grad():
        for t in range(x.shape[1]):
            given = x[:, t].double()
            J = jacobian(given, state)
            Q, R = torch.linalg.qr(J @ Q)
            total += torch.diagonal(R[0]).abs().log()
            state = torch.stack([step(given[0], state[0])])
    return np.asarray(total / x.shape[1])


def _monitored(steps: int) -> Pair:
    """A hundred training steps with one reading of the monitor (ours) and with none (the peer): the ratio is 1 / (1 + overhead)."""
    hidden, batch = (256, 8) if steps > 50 else (8, 4)
    x = _draw(batch, steps, 16)

    def trained(told: Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], None] | None) -> np.ndarray:
        net = _lstm(16, hidden)
        optimiser = torch.optim.Adam(net.parameters())
        with torch_threads(_THREADS):
            for _ in range(100):
                loss = net(x)[0].pow(2).mean()
                optimiser.zero_grad()
                loss.backward()
                if told is not None:
                    told(net, x, loss)
                optimiser.step()
        return net.weight_hh_l0.detach().numpy()

    return Pair(
        lambda: trained(sw.dissection.Monitor(every=100, needs=40).step),
        lambda: trained(None),
        lambda a, b: float(np.abs(a - b).max()),
    )


WORKLOADS = [
    Workload("dissect", "sw.dissect as it is, LSTM H = 256, T = 200, batch 8", "", "", 0.0, 200, 20, _default),
    Workload(
        "dissect-flow",
        "gradient-flow matrix, LSTM H = 64, T = 128, one sequence",
        f"T backward passes of torch, {_THREADS} threads",
        "relative",
        1e-3,
        128,
        12,
        _flow,
    ),
    Workload(
        "dissect-exponents",
        f"leading {_EXPONENTS} Lyapunov exponents, LSTM H = 256, {_PEER_STEPS} steps",
        f"vmap(jacrev) and QR a step, {_THREADS} threads",
        "nats",
        1e-9,
        _PEER_STEPS,
        20,
        _spectrum,
        most_rounds=3,
    ),
    Workload(
        "dissect-exponents-long",
        f"leading {_EXPONENTS} Lyapunov exponents, LSTM H = 256, T = 10,000",
        "",
        "",
        0.0,
        10_000,
        40,
        _long_spectrum,
        most_rounds=1,
    ),
    Workload(
        "dissect-monitor",
        "100 training steps with one reading of the monitor, LSTM H = 256, T = 200, batch 8",
        "the same without",
        "absolute",
        0.0,
        200,
        20,
        _monitored,
        most_rounds=5,
    ),
]
