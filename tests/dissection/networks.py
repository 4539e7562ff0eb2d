"""Small networks whose gradients are known to vanish, to last or to explode."""

from __future__ import annotations

import torch

T = 60


def inputs(count: int = 8, steps: int = T, size: int = 3, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(count, steps, size, generator=torch.Generator().manual_seed(0))


def forgetful(layers: int = 1, hidden: int = 16, **options) -> torch.nn.LSTM:
    """An LSTM as torch draws it: it forgets half of its cells at every step."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return torch.nn.LSTM(3, hidden, layers, batch_first=True, **options)


def linear(factor: float, size: int = 4) -> torch.nn.RNN:
    """A relu network without noise that multiplies its state by a factor at every step: G[t, t−k] = factor^k G[t, t]."""
    with torch.random.fork_rng(devices=[]):
        net = torch.nn.RNN(size, size, batch_first=True, nonlinearity="relu", bias=False)
    with torch.no_grad():
        net.weight_hh_l0.copy_(factor * torch.eye(size))
        net.weight_ih_l0.copy_(torch.eye(size))
    return net


def positive(steps: int = T, size: int = 4) -> torch.Tensor:
    """Inputs that keep a relu network open."""
    return torch.rand(8, steps, size, generator=torch.Generator().manual_seed(1)) + 0.1
