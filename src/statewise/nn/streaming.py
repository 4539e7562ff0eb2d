"""Streaming: one step of a layer at a time, with NumPy arrays or tensors, in microseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.kernels import streaming


class Stepper:
    """A layer's weights as arrays that share torch's memory, and the walk through its stack."""

    def __init__(self, kind: str, weights: list[list[Tensor]], pointers: list[int]) -> None:
        self.kind, self.pointers = kind, pointers
        self.layers = [_arrays(names) for names in weights]
        self.dtype = self.layers[0][0].dtype
        self.inputs, self.units = self.layers[0][0].shape[1], self.layers[0][1].shape[1]

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """(y, state) after `x`; both are what `x` is, arrays or tensors, alone or in a batch."""
        as_tensor = isinstance(x, Tensor)
        given = x.detach().numpy() if as_tensor else x
        if (
            type(given) is not np.ndarray
            or given.dtype != self.dtype
            or given.ndim not in (1, 2)
            or given.shape[-1] != self.inputs
        ):
            raise InputError(
                f"`x` is {checks.shown(given)}; pass {self.inputs} numbers of {self.dtype}, or a batch of them"
            )
        single = given.ndim == 1
        given = np.ascontiguousarray(given[None] if single else given)
        shape = (len(self.layers), len(given), self.units)
        pair = self.kind == "lstm"
        if state is None:
            first = [np.zeros(shape, self.dtype)] * (1 + pair)
        else:
            first = [self._state(part, shape) for part in (state if pair else (state,))]
        last = [np.empty(shape, self.dtype) for _ in first]
        for layer, weights in enumerate(self.layers):
            given = self._advance(given, [part[layer] for part in first], weights, [part[layer] for part in last])
        output = given[0] if single else given
        ends = [part[:, 0] for part in last] if single else last
        if as_tensor:
            output, ends = torch.from_numpy(output.copy()), [torch.from_numpy(end) for end in ends]
        else:
            output = output.copy()
        return output, tuple(ends) if pair else ends[0]

    def _advance(
        self, x: np.ndarray, first: list[np.ndarray], weights: list[np.ndarray], last: list[np.ndarray]
    ) -> np.ndarray:
        if self.kind == "gru":
            streaming.gru(x, first[0], *weights, last[0])
        elif self.kind == "lstm":
            streaming.lstm(x, first[0], first[1], *weights, last[0], last[1])
        else:
            streaming.elman(x, first[0], *weights, last[0], self.kind == "relu")
        return last[0]

    def _state(self, part: Any, shape: tuple[int, ...]) -> np.ndarray:
        """One part of the state, (L, H) or (L, B, H), as a contiguous (L, B, H)."""
        array = part.detach().numpy() if isinstance(part, Tensor) else part
        if type(array) is not np.ndarray or array.dtype != self.dtype or array.size != shape[0] * shape[1] * shape[2]:
            raise InputError(
                f"`state` is {checks.shown(part)}; pass what the step before returned, of shape {shape} without or with the batch"
            )
        return np.ascontiguousarray(array).reshape(shape)


def _arrays(weights: list[Tensor]) -> list[np.ndarray]:
    """weight_ih, weight_hh, bias_ih, bias_hh; the biases (1, rows), of no columns if there are none."""
    arrays = [weight.detach().numpy() for weight in weights]
    if len(arrays) == 2:
        return [*arrays, *[np.zeros((1, 0), arrays[0].dtype)] * 2]
    return [*arrays[:2], *(bias[None] for bias in arrays[2:])]
