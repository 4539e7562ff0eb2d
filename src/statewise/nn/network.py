"""The torch module that is trained: a stack of recurrent layers and an output head."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from statewise.nn.head import FLOOR, SWING

_LAYERS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class GaussianOutput(NamedTuple):
    """What the head says of each step, every field (batch, time, p).

    Attributes:
        mean, log_sd: of the normal distribution.
        correction: the part of the mean that comes from the hidden state.
        swing: the part of the log standard deviation that does.
    """

    mean: Tensor
    log_sd: Tensor
    correction: Tensor
    swing: Tensor


class GaussianHead(nn.Module):
    """Mean and log standard deviation per column from the hidden state and the skip features; the equations are in `nn.head`.

    All weights start at zero, so an untrained network is what the skip and the biases say.
    """

    def __init__(self, hidden: int, skip_size: int, dim: int) -> None:
        super().__init__()
        self.mean_weight = nn.Parameter(torch.zeros(dim, hidden))
        self.mean_bias = nn.Parameter(torch.zeros(dim))
        self.skip_weight = nn.Parameter(torch.zeros(dim, skip_size))
        self.log_sd_weight = nn.Parameter(torch.zeros(dim, hidden))
        self.log_sd_bias = nn.Parameter(torch.zeros(dim))

    def forward(self, h: Tensor, skip: Tensor) -> GaussianOutput:
        correction = nn.functional.linear(h, self.mean_weight)
        swing = SWING * torch.tanh(nn.functional.linear(h, self.log_sd_weight) / SWING)
        mean = correction + nn.functional.linear(skip, self.skip_weight, self.mean_bias)
        log_sd = FLOOR + nn.functional.softplus(self.log_sd_bias - FLOOR) + swing
        return GaussianOutput(mean, log_sd, correction, swing)


_HEADS = {"gaussian": GaussianHead}


class RecurrentNetwork(nn.Module):
    """torch.nn.RNN, GRU or LSTM with a head.

    Args:
        cell: 'rnn' (tanh), 'gru' or 'lstm'.
        input_size: d, numbers that the first layer sees at a step.
        hidden: H, units of a layer.
        layers: layers in the stack.
        skip_size: k, numbers that the head sees beside the hidden state.
        dim: p, columns that are predicted.
        output: the head; 'gaussian'.

    Batches are padded at the end: every output depends on its own and earlier steps only, so the caller leaves the padded ones out.
    """

    def __init__(
        self, cell: str, input_size: int, hidden: int, layers: int, skip_size: int, dim: int, output: str = "gaussian"
    ) -> None:
        super().__init__()
        self.rnn = _LAYERS[cell](input_size, hidden, num_layers=layers, batch_first=True)
        self.head = _HEADS[output](hidden, skip_size, dim)

    def forward(self, x: Tensor, skip: Tensor) -> GaussianOutput:
        """The head's output, (batch, time, p), for x (batch, time, d) and skip (batch, time, k)."""
        h, _ = self.rnn(x)
        return self.head(h, skip)

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters as float64 arrays, the layers' under torch's names (`weight_ih_l0`, …) and the head's under its own."""
        return {name.partition(".")[2]: p.detach().double().numpy().copy() for name, p in self.named_parameters()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take those parameters that `arrays` has, in this network's precision; other names in it are ignored."""
        with torch.no_grad():
            for name, p in self.named_parameters():
                if name.partition(".")[2] in arrays:
                    p.copy_(torch.from_numpy(np.array(arrays[name.partition(".")[2]], dtype=np.float64)))

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameters for the optimiser: matrices that read or write the hidden state decay, the skip and the biases do not."""
        named = [(name.partition(".")[2], p) for name, p in self.named_parameters()]
        decays = [name.startswith("weight_") or name in ("mean_weight", "log_sd_weight") for name, _ in named]
        return [
            {"params": [p for (_, p), d in zip(named, decays, strict=True) if d], "weight_decay": weight_decay},
            {"params": [p for (_, p), d in zip(named, decays, strict=True) if not d], "weight_decay": 0.0},
        ]


def gaussian_nll(output: GaussianOutput, y: Tensor, weight: Tensor) -> Tensor:
    """Σ weight · [½ ln 2π + log sd + ½ ((y − mean)/sd)²]; where the weight is 0, y must still be finite."""
    z = (y - output.mean) * torch.exp(-output.log_sd)
    return (weight * (0.5 * math.log(2 * math.pi) + output.log_sd + 0.5 * z**2)).sum()


def departure(output: GaussianOutput, weight: Tensor) -> Tensor:
    """Σ weight · [5 (correction/sd)² + 10 swing²]: how far the network departs from the linear model with constant variance.

    Divided by the steps of training data it is the negative log of a normal prior on the two functions, which keeps a few dozen
    steps from persuading the network that it predicts far better than it does. The sd is not pushed by it.
    """
    relative = output.correction * torch.exp(-output.log_sd.detach())
    return (weight * (5.0 * relative**2 + 10.0 * output.swing**2)).sum()
