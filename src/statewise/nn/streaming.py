"""Streaming: one step of a layer at a time, with NumPy arrays or tensors, in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.kernels import streaming
from statewise.kernels._jit import entry
from statewise.ops.recurrent import BLOCKS, NUMBERS, padded_width


class Stepper:
    """A layer's weights as arrays that share torch's memory, and one call of a kernel for a step through its stack.

    A step takes a microsecond or two, most of it to hand objects over and to look at them. So `fast` does arrays, one at a time, that need no
    conversion, and has all it needs at hand without a look-up; it returns None for anything else, which is for `step`. Neither is of use
    any more once a parameter lies elsewhere than when the stepper was made: `fast` finds that out, and for `step` there is `is_fresh`.
    """

    def __init__(self, kind: str, weights: list[list[Tensor]]) -> None:
        self.pair = kind == "lstm"
        self.inputs, self.units, self.depth = weights[0][0].shape[1], weights[0][1].shape[1], len(weights)
        self.layers = [_arrays(kind, given) for given in weights]  # what the table points at
        self.table = np.array(
            [_row(kind, given[0].shape[1], arrays) for given, arrays in zip(weights, self.layers, strict=True)]
        )
        self.dtype, self.torch_dtype = self.layers[0][0].dtype, weights[0][0].dtype
        self._places = [weight.data_ptr for given in weights for weight in given]
        self._pointers = [place() for place in self._places]
        self.fast = self._fast()

    @property
    def is_fresh(self) -> bool:
        """Whether all parameters lie where they lay."""
        return [place() for place in self._places] == self._pointers

    def _fast(self) -> Callable[[Any, Any], Any]:
        table, dtype, array, empty = self.table, self.dtype, np.ndarray, np.empty
        taken, output, shape, space = self._shapes(())
        four = [(self._places * 4)[k] for k in range(4)]  # without biases there are two for each layer, seen twice
        (a, b, c, d), (at_a, at_b, at_c, at_d) = four, [place() for place in four]
        x, h, y, new = (np.zeros(sizes, dtype) for sizes in (taken, shape, output, space))
        states = (h, h) if self.pair else (h,)
        kernel = streaming.pair_step if self.pair else streaming.step
        step, more, tensors = (
            entry(kernel, x, *states, new, y, table),
            len(self._places) > 4,
            self._fast_tensors(kernel),
        )

        def single(x: Any, h: Any) -> Any:
            if (
                type(x) is array is type(h)
                and x.shape == taken
                and h.shape == shape
                and x.dtype is dtype is h.dtype
                and a() == at_a
                and b() == at_b
                and c() == at_c
                and d() == at_d
                and (not more or self.is_fresh)
            ):
                y, new = empty(output, dtype), empty(space, dtype)
                return (y, new) if step(x, h, new, y, table) else None
            return tensors(x, (h,)) if type(x) is Tensor else None

        def double(x: Any, state: Any) -> Any:
            if type(state) is not tuple or len(state) != 2:
                return None
            h, m = state
            if (
                type(x) is array is type(h) is type(m)
                and x.shape == taken
                and h.shape == shape == m.shape
                and x.dtype is dtype is h.dtype is m.dtype
                and a() == at_a
                and b() == at_b
                and c() == at_c
                and d() == at_d
                and (not more or self.is_fresh)
            ):
                y, new = empty(output, dtype), empty(space, dtype)
                return (y, (new[0], new[1])) if step(x, h, m, new, y, table) else None
            return tensors(x, state) if type(x) is Tensor else None

        return double if self.pair else single

    def _fast_tensors(self, kernel: Any) -> Callable[[Tensor, tuple[Any, ...]], Any]:
        """`fast` for tensors, by their addresses, if they are plain ones."""
        table, dtype, kind, empty, wrap, pair = (
            self.table,
            self.dtype,
            self.torch_dtype,
            np.empty,
            torch.from_numpy,
            self.pair,
        )
        taken, output, shape, space = self._shapes(())
        made = [np.zeros(sizes, dtype) for sizes in (shape, output, space)]
        place = made[0].ctypes.data
        step = entry(kernel, place, *(place,) * (1 + pair), made[2], made[1], table)

        def address(part: Any, size: tuple[int, ...]) -> int:
            """Where a tensor's numbers lie, or 0."""
            if (
                type(part) is Tensor
                and part.dtype is kind
                and part.shape == size
                and part.is_contiguous()
                and part.is_cpu
                and not part.is_neg()
            ):
                return part.data_ptr()
            return 0

        def tensors(x: Tensor, parts: tuple[Any, ...]) -> Any:
            given, h = address(x, taken), address(parts[0], shape)
            if not (given and h and self.is_fresh):
                return None
            y, new = empty(output, dtype), empty(space, dtype)
            if not pair:
                step(given, h, new, y, table)
                return wrap(y), wrap(new)
            c = address(parts[1], shape)
            if not c:
                return None
            step(given, h, c, new, y, table)
            return wrap(y), (wrap(new[0]), wrap(new[1]))

        return tensors

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """(y, state) after `x`, arrays or tensors, alone or in a batch; both are what `x` is."""
        if isinstance(x, Tensor):
            return self._tensors(x, state)
        if type(x) is not np.ndarray or x.dtype != self.dtype:
            raise self._refused(x)
        taken, output, shape, space = self._shapes(x.shape[:-1])
        if x.ndim > 2 or x.shape != taken:
            raise self._refused(x)
        if state is None:
            parts = [np.zeros(shape, self.dtype)] * (2 if self.pair else 1)
        else:
            parts = [self._judged(part, shape) for part in (self._two(state) if self.pair else (state,))]
        return self._run(np.ascontiguousarray(x), parts, output, space)

    def _run(self, x: Any, parts: Sequence[Any], output: Any, space: Any) -> tuple[Any, Any]:
        y, new = np.empty(output, self.dtype), np.empty(space, self.dtype)
        kernel: Any = streaming.pair_step if self.pair else streaming.step
        kernel(x, *parts, new, y, self.table)
        return y, (new[0], new[1]) if self.pair else new

    def _tensors(self, x: Tensor, state: Any) -> tuple[Any, Any]:
        """As arrays, and back."""
        parts = self._two(state) if self.pair and state is not None else (state,)
        arrays = [part.detach().numpy() if isinstance(part, Tensor) else part for part in parts]
        y, after = self.step(x.detach().numpy(), tuple(arrays) if len(arrays) > 1 else arrays[0])
        wrap = torch.from_numpy
        return wrap(y), (wrap(after[0]), wrap(after[1])) if self.pair else wrap(after)

    def _shapes(self, batch: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Of x, y, the state, and the array that the new state is written to."""
        shape = (self.depth, *batch, self.units)
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
    """What `kernels.streaming` reads of a layer: the parameters, its scratch, and the places of the gates."""
    w_ih, w_hh, *biases = (weight.detach().numpy() for weight in weights)
    none = np.zeros((1, 0), w_ih.dtype)
    padded = padded_width(w_hh.shape[1], w_ih.dtype)
    scratch = [np.zeros((1, blocks * padded), w_ih.dtype) for blocks in (streaming.BLOCKS, 1, 1, 1)]
    return w_ih, w_hh, *(biases or (none, none)), *scratch, np.stack([BLOCKS[kind].into, BLOCKS[kind].onto])


def _row(kind: str, inputs: int, arrays: tuple[np.ndarray, ...]) -> list[int]:
    """A layer's row of the table."""
    return [inputs, arrays[2].size, arrays[-1].shape[1], *(array.ctypes.data for array in arrays), NUMBERS[kind]]
