"""Recurrent layers as a loop over steps in torch: cells that torch.nn does not have, and states that decay over irregular gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_GATES = {"linear": 1, "diagonal": 2, "rnn": 1, "gru": 3, "lstm": 4}
_TIME_CONSTANTS = (0.5, 100.0)  # of the first and the last unit at the start, in usual gaps


def first_log_time_constants(hidden: int) -> Tensor:
    """(H,) from short memories to long ones."""
    return torch.linspace(math.log(_TIME_CONSTANTS[0]), math.log(_TIME_CONSTANTS[1]), hidden)


class Stepwise(nn.Module):
    """Stacked recurrent layers with torch's parameter names, one step at a time.

    With `time_aware` the carried state fades while nothing arrives: before the step at time t[k] it is multiplied by
    exp(−(t[k] − t[k−1]) / τ), with a time constant τ for each unit, ``log_time_constant_l0`` (H,) = log τ. An LSTM's h and c share it.

    Args:
        cell: 'linear', 'diagonal', 'rnn' (tanh), 'gru' or 'lstm', with the equations of `cells`.
        input_size, hidden_size, num_layers: d, H and L.
        time_aware: whether the state decays with the gaps.

    `forward(x, state=None, elapsed=None)` takes x (batch, time, d) and elapsed (batch, time), the time since the step before in units of the
    usual gap, and returns the top layer's hidden states (batch, time, H) and the last states: (L, batch, H), for an LSTM a pair of them.
    """

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, num_layers: int = 1, time_aware: bool = False
    ) -> None:
        super().__init__()
        self.cell, self.hidden_size, self.num_layers, self.time_aware = cell, hidden_size, num_layers, time_aware
        rows, bound = _GATES[cell] * hidden_size, 1 / math.sqrt(hidden_size)
        for k in range(num_layers):
            shapes = {
                f"weight_ih_l{k}": (rows, input_size if k == 0 else hidden_size),
                f"weight_hh_l{k}": (rows, hidden_size),
                f"bias_ih_l{k}": (rows,),
                f"bias_hh_l{k}": (rows,),
            }
            if cell == "diagonal":
                shapes = {name: shape for name, shape in shapes.items() if "_hh_" not in name}
            for name, shape in shapes.items():
                self.register_parameter(name, nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))
            if time_aware:
                self.register_parameter(f"log_time_constant_l{k}", nn.Parameter(first_log_time_constants(hidden_size)))

    def forward(self, x: Tensor, state: Any = None, elapsed: Tensor | None = None) -> tuple[Tensor, Any]:
        zeros = x.new_zeros(self.num_layers, x.shape[0], self.hidden_size)
        given = (zeros, zeros) if state is None else state if self.cell == "lstm" else (state, zeros)
        ends = []
        for k in range(self.num_layers):
            x, end = self._layer(k, x, (given[0][k], given[1][k]), elapsed)
            ends.append(end)
        h, c = (torch.stack(parts) for parts in zip(*ends, strict=True))
        return x, (h, c) if self.cell == "lstm" else h

    def _layer(
        self, k: int, x: Tensor, state: tuple[Tensor, Tensor], gaps: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        part = lambda name: getattr(self, f"{name}_l{k}")  # noqa: E731  # shorter than a function here
        given = nn.functional.linear(x, part("weight_ih"), part("bias_ih")).unbind(1)
        decay: Sequence[Tensor | None] = [None] * len(given)
        if self.time_aware:
            if gaps is None:
                gaps = x.new_ones(x.shape[:2])
            decay = torch.exp(-gaps[..., None] * torch.exp(-part("log_time_constant"))).unbind(1)
        (h, c), outputs = state, []
        weight, bias = (None, None) if self.cell == "diagonal" else (part("weight_hh"), part("bias_hh"))
        for now, fade in zip(given, decay, strict=True):
            if fade is not None:
                h, c = h * fade, c * fade
            kept = now if weight is None else nn.functional.linear(h, weight, bias)
            h, c = self._step(now, kept, h, c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (h, c)

    def _step(self, given: Tensor, kept: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        if self.cell == "linear":
            return given + kept, c
        if self.cell == "rnn":
            return torch.tanh(given + kept), c
        size = self.hidden_size
        if self.cell == "diagonal":
            z, n = given.split(size, dim=1)
            return torch.lerp(h, n, torch.sigmoid(z)), c
        if self.cell == "gru":
            r, z = torch.sigmoid(given[:, : 2 * size] + kept[:, : 2 * size]).split(size, dim=1)
            n = torch.tanh(given[:, 2 * size :] + r * kept[:, 2 * size :])
            return n + z * (h - n), c
        i, f, g, o = (given + kept).split(size, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
