"""Streaming: one step of a layer at a time, with NumPy arrays or tensors, in microseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.kernels import streaming
from statewise.ops.recurrent import BLOCKS, padded_width


class Stepper:
    """A layer's weights as arrays that share torch's memory, and the walk through its stack."""

    def __init__(self, kind: str, weights: list[list[Tensor]], pointers: list[int]) -> None:
        self.kind, self.pointers = kind, pointers
        self.inputs, self.units = weights[0][0].shape[1], weights[0][1].shape[1]
        self.layers = [_arrays(kind, given) for given in weights]
        self.dtype = self.layers[0][0].dtype
        self.single = (len(self.layers), self.units)
        self.kernel: Any = {"gru": streaming.gru_step, "lstm": streaming.lstm_step}.get(kind, streaming.elman_step)
        self.more = (kind == "relu",) if kind in ("tanh", "relu") else ()

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """(y, state) after `x`; both are what `x` is, arrays or tensors, alone or in a batch."""
        if isinstance(x, Tensor):
            if isinstance(state, tuple):
                state = tuple(part.detach().numpy() if isinstance(part, Tensor) else part for part in state)
            elif isinstance(state, Tensor):
                state = state.detach().numpy()
            y, state = self.step(x.detach().numpy(), state)
            return torch.from_numpy(y), tuple(map(torch.from_numpy, state)) if type(
                state
            ) is tuple else torch.from_numpy(state)
        if type(x) is not np.ndarray or x.dtype != self.dtype or x.ndim not in (1, 2) or x.shape[-1] != self.inputs:
            raise InputError(
                f"`x` is {checks.shown(x)}; pass {self.inputs} numbers of {self.dtype}, or a batch of them"
            )
        single = x.ndim == 1
        shape = self.single if single else (self.single[0], len(x), self.units)
        if state is None:
            zero = np.zeros(shape, self.dtype)
            state = (zero, zero) if self.kind == "lstm" else zero
        if self.kind == "lstm":
            h, c = (self._judged(part, shape) for part in state)
            new, new_c = np.empty(shape, self.dtype), np.empty(shape, self.dtype)
            y = self._walk(x, single, (h, c), (new, new_c))
            return y, (new, new_c)
        new = np.empty(shape, self.dtype)
        return self._walk(x, single, (self._judged(state, shape),), (new,)), new

    def _walk(
        self, x: np.ndarray, single: bool, first: tuple[np.ndarray, ...], last: tuple[np.ndarray, ...]
    ) -> np.ndarray:
        """Through the layers; the states are (L, H), or (L, B, H)."""
        given = np.ascontiguousarray(x[None] if single else x)
        if len(self.layers) == 1 and single:
            self.kernel(given, *first, *last, *self.layers[0], *self.more)
            return last[0][0].copy()
        for index, weights in enumerate(self.layers):
            states = [part[index : index + 1] if single else part[index] for part in (*first, *last)]
            self.kernel(given, *states, *weights, *self.more)
            given = states[len(first)]
        return (given[0] if single else given).copy()

    def _judged(self, part: Any, shape: tuple[int, ...]) -> np.ndarray:
        """One part of the state, contiguous."""
        part = part.detach().numpy() if isinstance(part, Tensor) else part
        if type(part) is not np.ndarray or part.dtype != self.dtype or part.shape != shape:
            raise InputError(
                f"`state` is {checks.shown(part)}; pass what the step before returned, of shape {shape} and {self.dtype}"
            )
        return part if part.flags.c_contiguous else np.ascontiguousarray(part)


def _arrays(kind: str, weights: list[Tensor]) -> tuple[np.ndarray, ...]:
    """What `kernels.streaming` calls source, seen, packed and blocks."""
    blocks = BLOCKS[kind]
    w_ih, w_hh, *biases = (weight.detach().numpy() for weight in weights)
    none = np.zeros((1, 0), w_ih.dtype)
    source = (w_ih.reshape(1, -1), w_hh.reshape(1, -1), *([bias[None] for bias in biases] or [none, none]))
    padded = padded_width(w_hh.shape[1], w_ih.dtype)
    packed = np.zeros((w_ih.shape[1] + 1 + padded, blocks.count * padded), w_ih.dtype)
    seen = np.full((1, sum(part.size for part in source)), np.nan, w_ih.dtype)
    return (*source, seen, packed, np.stack([blocks.into, blocks.onto]))
