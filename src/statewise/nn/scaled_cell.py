"""torch.nn.RNN, GRU or LSTM that works at a small amplitude, with a linear readout that undoes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

_LAYERS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class ScaledCell(nn.Module):
    """h[t] = cell(x[t], h[t−1]),  out[t] = W h[t] + b, in float64; the scale is in the weights: small into the cell, large out of it.

    Args:
        cell: 'rnn' (tanh), 'gru' or 'lstm'.
        arrays: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 in torch's order of gates, readout (out, H), readout_bias (out,), and the
            state before the first step, initial_state (H,); an LSTM has initial_cell (H,), too.

    `forward(x)` takes (N, T, d) and gives the outputs (N, T, out) and the states h (N, T, H).
    """

    readout: Tensor
    readout_bias: Tensor
    initial_state: Tensor
    initial_cell: Tensor

    def __init__(self, cell: str, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        size, width = arrays["initial_state"].shape[0], arrays["weight_ih_l0"].shape[1]
        self.rnn = _LAYERS[cell](width, size, batch_first=True).double()
        with torch.no_grad():
            for name, p in self.rnn.named_parameters():
                p.copy_(torch.tensor(arrays[name]))
        rest = ["readout", "readout_bias", "initial_state", *(["initial_cell"] if cell == "lstm" else [])]
        for name in rest:
            setattr(self, name, nn.Parameter(torch.tensor(arrays[name], dtype=torch.float64)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        begin = self.initial_state.expand(1, len(x), -1).contiguous()
        if isinstance(self.rnn, nn.LSTM):
            h, _ = self.rnn(x, (begin, self.initial_cell.expand(1, len(x), -1).contiguous()))
        else:
            h, _ = self.rnn(x, begin)
        return h @ self.readout.T + self.readout_bias, h

    def arrays(self) -> dict[str, np.ndarray]:
        """All weights by the names that the constructor takes."""
        return {name.removeprefix("rnn."): p.detach().numpy() for name, p in self.named_parameters()}
