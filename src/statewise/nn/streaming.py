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

_KERNELS: dict[str, Any] = {
    "tanh": streaming.tanh_step,
    "relu": streaming.relu_step,
    "gru": streaming.gru_step,
    "lstm": streaming.lstm_step,
}


class Stepper:
    """A layer's weights as arrays that share torch's memory, and one call of a kernel for a step through its stack.

    A step takes a few microseconds, most of them to hand objects over: hence checks in the order of their cost, nothing converted that need
    not be, and weights as a table of addresses.
    """

    def __init__(self, kind: str, weights: list[list[Tensor]], pointers: list[int]) -> None:
        self.pointers, self.kernel, self.pair = pointers, _KERNELS[kind], kind == "lstm"
        self.inputs, self.units = weights[0][0].shape[1], weights[0][1].shape[1]
        self.layers = [_arrays(kind, given) for given in weights]  # what the table points at
        self.table = np.array(
            [_row(given[0].shape[1], arrays) for given, arrays in zip(weights, self.layers, strict=True)]
        )
        self.dtype, self.torch_dtype = self.layers[0][0].dtype, weights[0][0].dtype
        self.alone = self._shapes(())

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """(y, state) after `x`; both are what `x` is, arrays or tensors, alone or in a batch."""
        if isinstance(x, Tensor):
            return self._tensors(x, state)
        dtype = self.dtype
        if type(x) is not np.ndarray or (x.dtype is not dtype and x.dtype != dtype):
            raise self._refused(x)
        taken, output, shape, space = self.alone if x.ndim == 1 else self._shapes(x.shape[:1])
        if x.shape != taken:
            raise self._refused(x)
        if not x.flags.c_contiguous:
            x = np.ascontiguousarray(x)
        if state is None:
            zero = np.zeros(shape, dtype)
            state = (zero, zero) if self.pair else zero
        y, new = np.empty(output, dtype), np.empty(space, dtype)
        if self.pair:
            h, c = self._two(state)
            if type(h) is not np.ndarray or h.dtype is not dtype or h.shape != shape or not h.flags.c_contiguous:
                h = self._judged(h, shape)
            if type(c) is not np.ndarray or c.dtype is not dtype or c.shape != shape or not c.flags.c_contiguous:
                c = self._judged(c, shape)
            self.kernel(x, h, c, new, y, self.table)
            return y, (new[0], new[1])
        h = state
        if type(h) is not np.ndarray or h.dtype is not dtype or h.shape != shape or not h.flags.c_contiguous:
            h = self._judged(h, shape)
        self.kernel(x, h, new, y, self.table)
        return y, new

    def _tensors(self, x: Tensor, state: Any) -> tuple[Any, Any]:
        """By the addresses of the tensors where they are plain ones; else as arrays."""
        taken, output, shape, space = self.alone if x.dim() == 1 else self._shapes(x.shape[:1])
        parts = self._two(state) if self.pair and state is not None else (state,)
        given = self._address(x, taken)
        places = [self._address(part, shape) for part in parts]
        if given and all(places):
            y, new = np.empty(output, self.dtype), np.empty(space, self.dtype)
            self.kernel(given, *places, new, y, self.table)
        else:
            arrays = [part.detach().numpy() if isinstance(part, Tensor) else part for part in parts]
            first = tuple(arrays) if len(arrays) > 1 else arrays[0]
            y, new = self.step(x.detach().numpy(), first)
        wrap = torch.from_numpy
        return wrap(y), (wrap(new[0]), wrap(new[1])) if self.pair else wrap(new)

    def _address(self, part: Any, shape: tuple[int, ...]) -> int:
        """Where a tensor's numbers lie, or 0 if it is not a plain one of this shape."""
        if (
            type(part) is Tensor
            and part.dtype is self.torch_dtype
            and part.shape == shape
            and part.is_contiguous()
            and part.is_cpu
            and not part.is_neg()
        ):
            return part.data_ptr()
        return 0

    def _shapes(self, batch: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Of x, y, the state, and the array that the new state is written to."""
        shape = (len(self.layers), *batch, self.units)
        return (*batch, self.inputs), (*batch, self.units), shape, (2, *shape) if self.pair else shape

    def _refused(self, x: Any) -> InputError:
        return InputError(f"`x` is {checks.shown(x)}; pass {self.inputs} numbers of {self.dtype}, or a batch of them")

    def _two(self, state: Any) -> Any:
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            raise InputError(f"`state` is {checks.shown(state)}; pass the pair (h, c) that the step before returned")
        return state

    def _judged(self, part: Any, shape: tuple[int, ...]) -> np.ndarray:
        """One part of the state, contiguous."""
        part = part.detach().numpy() if isinstance(part, Tensor) else part
        if type(part) is not np.ndarray or part.dtype != self.dtype or part.shape != shape:
            raise InputError(
                f"`state` is {checks.shown(part)}; pass what the step before returned, of shape {shape} and {self.dtype}"
            )
        return np.ascontiguousarray(part)


def _arrays(kind: str, weights: list[Tensor]) -> tuple[np.ndarray, ...]:
    """What `kernels.streaming` reads of a layer: the parameters, each as one row, seen, packed and blocks."""
    w_ih, w_hh, *biases = (weight.detach().numpy() for weight in weights)
    none = np.zeros((1, 0), w_ih.dtype)
    source = (w_ih.reshape(1, -1), w_hh.reshape(1, -1), *([bias.reshape(1, -1) for bias in biases] or [none, none]))
    padded = padded_width(w_hh.shape[1], w_ih.dtype)
    packed = np.zeros((w_ih.shape[1] + 1 + padded, BLOCKS[kind].count * padded), w_ih.dtype)
    seen = np.full((1, sum(part.size for part in source)), np.nan, w_ih.dtype)
    return (*source, seen, packed, np.stack([BLOCKS[kind].into, BLOCKS[kind].onto]))


def _row(inputs: int, arrays: tuple[np.ndarray, ...]) -> list[int]:
    """A layer's row of the table."""
    return [inputs, arrays[2].size, arrays[-1].shape[1], *(array.ctypes.data for array in arrays)]
