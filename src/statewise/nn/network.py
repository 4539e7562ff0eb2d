"""The torch module that is trained: a stack of recurrent layers and an output head."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from statewise.nn.diagonal import MinGRU
from statewise.nn.head import FLOOR, READERS
from statewise.nn.outputs import OUTPUTS, Law, TorchMaths
from statewise.nn.outputs.base import SWING
from statewise.nn.recurrent import GRU, LSTM, RNN
from statewise.nn.stepwise import Stepwise, first_log_time_constants

# cell -> the layer that trains it, made as torch.nn makes its own
_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "linear": partial(Stepwise, "linear"),
    "diagonal": partial(MinGRU, batch_first=True),
    "rnn": partial(RNN, batch_first=True),
    "gru": partial(GRU, batch_first=True),
    "lstm": partial(LSTM, batch_first=True),
}
_MATHS = TorchMaths()


def layer(cell: str, input_size: int, hidden: int, layers: int, time_aware: bool = False, **options: Any) -> nn.Module:
    """A stack of recurrent layers: x (batch, time, d), a state or None -> hidden states (batch, time, H) and the last state.

    One whose state decays also takes the gaps (batch, time), as `elapsed`; its time constants are those of `nn.stepwise` at first.
    """
    if time_aware and cell in ("linear", "diagonal"):
        return Stepwise(cell, input_size, hidden, layers, time_aware=True)
    if time_aware:
        made = _LAYERS[cell](input_size, hidden, num_layers=layers, time_constant=1.0, **options)
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if name.startswith("log_time_constant"):
                    parameter.copy_(first_log_time_constants(hidden))
        return made
    return _LAYERS[cell](input_size, hidden, num_layers=layers, **options)


class HeadOutput(NamedTuple):
    """What the head says of each step, every field (batch, time, size).

    Attributes:
        mean, log_sd, shape: the numbers of the law (`nn.outputs.Law`).
        correction: the part of the mean that comes from the hidden state.
        swing: the part of the log standard deviation that does.
        bend: the part of the shape that does.
    """

    mean: Tensor
    log_sd: Tensor
    correction: Tensor
    swing: Tensor
    shape: Tensor | None = None
    bend: Tensor | None = None

    @property
    def law(self) -> Law:
        shape = self.mean.new_zeros((*self.mean.shape[:-1], 0)) if self.shape is None else self.shape
        return Law(self.mean, self.log_sd, shape)


class Head(nn.Module):
    """The numbers of a law from the hidden state and the skip features; the equations are in `nn.head`.

    All weights start at zero, so an untrained network is what the skip and the biases say.
    """

    def __init__(self, hidden: int, skip_size: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        location, spread, shape = widths
        self.mean_weight = nn.Parameter(torch.zeros(location, hidden))
        self.mean_bias = nn.Parameter(torch.zeros(location))
        self.skip_weight = nn.Parameter(torch.zeros(location, skip_size))
        self.log_sd_weight = nn.Parameter(torch.zeros(spread, hidden))
        self.log_sd_bias = nn.Parameter(torch.zeros(spread))
        self.has_shape = shape > 0
        if shape:
            self.shape_weight = nn.Parameter(torch.zeros(shape, hidden))
            self.shape_bias = nn.Parameter(torch.zeros(shape))

    def forward(self, h: Tensor, skip: Tensor) -> HeadOutput:
        correction = nn.functional.linear(h, self.mean_weight)
        swing = SWING * torch.tanh(nn.functional.linear(h, self.log_sd_weight) / SWING)
        mean = correction + nn.functional.linear(skip, self.skip_weight, self.mean_bias)
        log_sd = FLOOR + nn.functional.softplus(self.log_sd_bias - FLOOR) + swing
        if not self.has_shape:
            return HeadOutput(mean, log_sd, correction, swing)
        bend = nn.functional.linear(h, self.shape_weight)
        return HeadOutput(mean, log_sd, correction, swing, bend + self.shape_bias, bend)


class RecurrentNetwork(nn.Module):
    """A stack of recurrent layers with a head.

    Args:
        cell: a word of `_LAYERS`.
        input_size: d, numbers that the first layer sees at a step.
        hidden: H, units of a layer.
        layers: layers in the stack.
        skip_size: k, numbers that the head sees beside the hidden state.
        dim: p, columns that are predicted.
        output: a word of `nn.outputs.OUTPUTS`.
        size: what the output counts, such as symbols.
        time_aware: whether the state decays over gaps in time.

    Batches are padded at the end: every output depends on its own and earlier steps only, so the caller leaves the padded ones out.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden: int,
        layers: int,
        skip_size: int,
        dim: int,
        output: str = "gaussian",
        size: int = 1,
        time_aware: bool = False,
    ) -> None:
        super().__init__()
        self.output, self.time_aware = OUTPUTS[output](dim, size), time_aware
        self.rnn = layer(cell, input_size, hidden, layers, time_aware)
        self.head = Head(hidden, skip_size, self.output.widths)

    def forward(self, x: Tensor, skip: Tensor, gaps: Tensor | None = None) -> HeadOutput:
        """The head's output, (batch, time, size), for x (batch, time, d), skip (batch, time, k) and gaps (batch, time)."""
        return self.run(x, skip, None, gaps)[0]

    def run(self, x: Tensor, skip: Tensor, state: Any, gaps: Tensor | None = None) -> tuple[HeadOutput, Any]:
        """`forward` from a state, None for zeros, and the state after the last step."""
        h, end = self.rnn(x, state, elapsed=gaps) if self.time_aware else self.rnn(x, state)
        return self.head(h, skip), end

    def nll(self, said: HeadOutput, y: Tensor, weight: Tensor) -> Tensor:
        """Σ −log density of the entries of y (batch, time, p) whose weight is 1; where it is 0, y must still be finite."""
        if self.output.name == "gaussian":
            return gaussian_nll(said, y, weight)
        return -self.output.log_density(_MATHS, said.law, y, weight).sum()

    def departure(self, said: HeadOutput, weight: Tensor) -> Tensor:
        """How far the network departs from where it started; see `departure`."""
        return departure(said, weight, self.output.sharpness(_MATHS, said.law).detach())

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
        decays = [name.startswith("weight_") or name in READERS for name, _ in named]
        return [
            {"params": [p for (_, p), d in zip(named, decays, strict=True) if d], "weight_decay": weight_decay},
            {"params": [p for (_, p), d in zip(named, decays, strict=True) if not d], "weight_decay": 0.0},
        ]


def gaussian_nll(output: HeadOutput, y: Tensor, weight: Tensor) -> Tensor:
    """Σ weight · [½ ln 2π + log sd + ½ ((y − mean)/sd)²]; where the weight is 0, y must still be finite."""
    z = (y - output.mean) * torch.exp(-output.log_sd)
    return (weight * (0.5 * math.log(2 * math.pi) + output.log_sd + 0.5 * z**2)).sum()


def departure(output: HeadOutput, weight: Tensor, sharpness: Tensor | None = None) -> Tensor:
    """Σ weight · [5 (correction · sharpness)² + 10 swing² + 5 bend²]: how far the network departs from what it is with a silent state.

    Divided by the steps of training data it is the negative log of a normal prior on these functions, which keeps a few dozen
    steps from persuading the network that it predicts far better than it does. The sharpness is 1/sd for normal laws (and if not given),
    in general the root of the location's Fisher information; it is not pushed.
    """
    scale = torch.exp(-output.log_sd.detach()) if sharpness is None else sharpness
    relative = output.correction * scale
    if not output.swing.shape[-1]:
        total = (_spread_over(weight, relative) * (5.0 * relative**2)).sum()
    else:
        total = (weight * (5.0 * relative**2 + 10.0 * output.swing**2)).sum()
    if output.bend is None:
        return total
    return total + (weight.amax(dim=-1, keepdim=True) * (5.0 * output.bend**2)).sum()


def _spread_over(weight: Tensor, like: Tensor) -> Tensor:
    """The weight of a column for each of its numbers."""
    return weight.repeat_interleave(like.shape[-1] // weight.shape[-1], dim=-1)
