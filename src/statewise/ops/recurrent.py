"""RNN, GRU and LSTM layers as differentiable operations: tensors in, kernels on arrays, tensors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise.kernels import _threads, _weights, elman, gru, lstm
from statewise.kernels._lanes import BLOCK_BYTES
from statewise.ops.recurrent_steps import unrolled

_WORTH_SHARING = 4e6  # multiplications in a layer, from which two threads beat one


@dataclass(frozen=True)
class Rows:
    """Which rows of a packed array belong to which step.

    Attributes:
        sizes: (T,) int64, the sequences alive at each step; never rising, as in torch's PackedSequence.
        reverse: whether the layer reads from the last step to the first.
    """

    sizes: np.ndarray
    reverse: bool = False

    @cached_property
    def offsets(self) -> np.ndarray:
        """(T,) the first row of each step."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    @staticmethod
    @lru_cache(maxsize=64)
    def full(steps: int, batch: int, reverse: bool = False) -> Rows:
        """Sequences that are all of the same length."""
        return Rows(np.full(steps, batch), reverse)

    def shards(self, count: int) -> list[tuple[int, int]]:
        """At most `count` ranges of sequences with about the same number of rows."""
        batch = int(self.sizes[0])
        count = min(count, batch)
        if count == 1:
            return [(0, batch)]
        if self.sizes[-1] == batch:
            bounds = np.arange(count + 1) * batch // count
        else:
            rows = np.cumsum(np.bincount(self.sizes, minlength=batch + 1)[::-1])[::-1][
                1:
            ].cumsum()  # by the end of each sequence
            inner = np.searchsorted(rows, rows[-1] * np.arange(1, count) / count) + 1
            bounds = np.concatenate([[0], inner, [batch]])
        return [(int(a), int(b)) for a, b in pairwise(bounds) if b > a]


@dataclass(frozen=True)
class _Blocks:
    """Blocks of columns in the kernels' matrices, and which of them each of torch's gates fills: where it meets the input, and the state."""

    count: int
    into: np.ndarray
    onto: np.ndarray


_PLAIN = _Blocks(1, np.array([0]), np.array([0]))
_BLOCKS = {
    "tanh": _PLAIN,
    "relu": _PLAIN,
    "gru": _Blocks(4, np.array([1, 2, 0]), np.array([1, 2, 3])),
    "lstm": _Blocks(4, np.arange(4), np.arange(4)),
}
_SAVED = {"tanh": 1, "relu": 1, "gru": 4, "lstm": 6}  # blocks that the backward pass reads


def recurrence(
    kind: str,
    x: Tensor,
    rows: Rows,
    h: Tensor,
    c: Tensor | None,
    weights: Sequence[Tensor | None],
    log_decay: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One layer in one direction on the CPU, by the numba kernels.

    Args:
        kind: "tanh", "relu", "gru" or "lstm".
        x: (R, d) inputs, packed by `rows`; float32 or float64, as all others.
        h, c: (B, H) the first state, sequences in the order of `rows`; c for the LSTM only.
        weights: weight_ih, weight_hh, bias_ih, bias_hh of torch's shapes; the biases may be None.
        log_decay: (R, H) logarithm of what the carried state is multiplied by before each step.
        mask: (B, H) constant factors of the state where it enters the product with weight_hh.

    Returns:
        Outputs (R, H), the last h (B, H) and, for the LSTM, the last c. Twice differentiable: the second derivative is computed
        step by step in torch operations.
    """
    result: Any = _Recurrence.apply(kind, rows, mask, x, h, c, log_decay, *weights)
    return result if kind == "lstm" else (*result, None)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kind: str, rows: Rows, mask: Tensor | None, *tensors: Tensor | None) -> Any:
        run = _Run(kind, rows, mask, *tensors)
        ctx.run, ctx.kind, ctx.rows, ctx.mask = run, kind, rows, mask
        ctx.save_for_backward(*tensors)
        return run.forward()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        wanted = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled():
            return (None, None, None, *_differentiable_backward(ctx, wanted, upstream))
        gradients = ctx.run.backward(upstream, wanted)
        return (None, None, None, *(g if want else None for g, want in zip(gradients, wanted, strict=True)))


def _differentiable_backward(ctx: Any, wanted: Sequence[bool], upstream: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients as a graph of torch operations, for second derivatives."""
    x, h, c, log_decay, *weights = ctx.saved_tensors
    outputs = unrolled(ctx.kind, x, ctx.rows.sizes.tolist(), ctx.rows.reverse, h, c, weights, log_decay, ctx.mask)
    inputs = [tensor for tensor, want in zip(ctx.saved_tensors, wanted, strict=True) if want]
    outputs = outputs if ctx.kind == "lstm" else outputs[:2]
    found = iter(torch.autograd.grad(outputs, inputs, upstream, create_graph=True, allow_unused=True))
    return [next(found) if want else None for want in wanted]


class _Run:
    """The arrays of one forward pass, kept for its backward pass."""

    def __init__(
        self,
        kind: str,
        rows: Rows,
        mask: Tensor | None,
        x: Tensor,
        h: Tensor,
        c: Tensor | None,
        log_decay: Tensor | None,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None,
        b_hh: Tensor | None,
    ) -> None:
        self.kind, self.rows, self.blocks = kind, rows, _BLOCKS[kind]
        self.x = x.detach().contiguous().numpy()
        self.count, self.inputs = self.x.shape
        self.units = w_hh.shape[1]
        self.lanes = BLOCK_BYTES // self.x.itemsize
        self.padded = -(-self.units // self.lanes) * self.lanes
        self.dtype = self.x.dtype
        self.state = self._padded(h.detach().numpy())
        self.cell = None if c is None else self._padded(c.detach().numpy())
        self.decay = None if log_decay is None else self._padded(np.exp(log_decay.detach().numpy()))
        self.mask = None if mask is None else self._padded(mask.detach().numpy())
        self.weight, self.back, self.aside = self._weights(w_ih, w_hh, b_ih, b_hh)
        width = self.inputs + 1 + self.padded
        self.operand = np.empty((self.count, width), self.dtype)
        self.kept, self.place = (self.operand, self.inputs + 1) if mask is None else (self._empty(1), 0)
        self.saved = self._empty(_SAVED[kind])
        threads = torch.get_num_threads() if float(self.count) * width * self.weight.shape[1] > _WORTH_SHARING else 1
        self.shards = rows.shards(threads)

    def _empty(self, blocks: int) -> np.ndarray:
        return np.empty((self.count, blocks * self.padded), self.dtype)

    def _padded(self, array: np.ndarray) -> np.ndarray:
        """A copy with zeros up to the padded width."""
        result = np.zeros((len(array), self.padded), self.dtype)
        result[:, : self.units] = array
        return result

    def _weights(self, *given: Tensor | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """torch's parameters as the kernels read them."""
        arrays = [np.zeros(0, self.dtype) if w is None else w.detach().contiguous().numpy() for w in given]
        columns = self.blocks.count * self.padded
        weight = np.zeros((self.inputs + 1 + self.padded, columns), self.dtype)
        back = np.zeros((len(self.blocks.into) * self.padded, self.padded), self.dtype)
        aside = np.zeros((columns, -(-self.inputs // self.lanes) * self.lanes), self.dtype)
        _weights.pack(*arrays, self.blocks.into, self.blocks.onto, weight, back, aside)
        return weight, back, aside

    def _share(self, work: Callable[[int, int], None]) -> None:
        """Call ``work(first, last)`` for every shard of the sequences, the last one in this thread."""
        _in_threads(work, self.shards)

    def _share_range(self, count: int, work: Callable[[int, int], None]) -> None:
        """Call ``work(first, last)`` for as many parts of 0 … count as there are shards."""
        bounds = [count * k // len(self.shards) for k in range(len(self.shards) + 1)]
        _in_threads(work, [(a, b) for a, b in pairwise(bounds) if b > a])

    def forward(self) -> tuple[Tensor, ...]:
        output = np.empty((self.count, self.units), self.dtype)
        start = (
            self.x,
            self.operand,
            self.kept,
            self.place,
            self.decay,
            self.mask,
            self.weight,
            self.saved,
            self.state,
        )
        walk = (output, self.rows.sizes, self.rows.offsets)
        reverse = self.rows.reverse
        if self.kind == "gru":
            self._share(lambda first, last: gru.forward(*start, *walk, first, last, reverse))
        elif self.kind == "lstm":
            self._share(lambda first, last: lstm.forward(*start, self.cell, *walk, first, last, reverse))
        else:
            rectified = self.kind == "relu"
            self._share(lambda first, last: elman.forward(*start, *walk, first, last, reverse, rectified))
        del self.x
        states = (self.state,) if self.cell is None else (self.state, self.cell)
        return torch.from_numpy(output), *(torch.from_numpy(state[:, : self.units].copy()) for state in states)

    def backward(self, upstream: Sequence[Tensor], wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        given = [tensor.detach().contiguous().numpy() for tensor in upstream]
        gradient, work = self._padded(given[1]), np.zeros_like(self.state)
        d_gates = self._empty(self.blocks.count)
        d_log_decay = None if self.decay is None else self._empty(1)
        d_cell = self._padded(given[2]) if self.kind == "lstm" else None
        start = (given[0], self.kept, self.place, self.decay, self.mask, self.back, self.saved, gradient)
        walk = (work, d_gates, d_log_decay, self.rows.sizes, self.rows.offsets)
        reverse = self.rows.reverse
        if self.kind == "gru":
            self._share(lambda first, last: gru.backward(*start, *walk, first, last, reverse))
        elif self.kind == "lstm":
            self._share(lambda first, last: lstm.backward(*start, d_cell, *walk, first, last, reverse))
        else:
            rectified = self.kind == "relu"
            self._share(lambda first, last: elman.backward(*start, *walk, first, last, reverse, rectified))
        own = [
            None if a is None else torch.from_numpy(a[:, : self.units].copy()) for a in (gradient, d_cell, d_log_decay)
        ]
        d_x = self._input_gradient(d_gates) if wanted[0] else None
        return d_x, *own, *(self._weight_gradients(d_gates) if any(wanted[4:]) else (None,) * 4)

    def _input_gradient(self, d_gates: np.ndarray) -> Tensor:
        meeting = len(self.blocks.into) * self.padded
        d_x = np.empty((self.count, self.inputs), self.dtype)
        self._share_range(
            self.count,
            lambda first, last: _weights.input_gradient(
                d_gates, self.aside, meeting, np.empty((4, self.aside.shape[1]), self.dtype), d_x, first, last
            ),
        )
        return torch.from_numpy(d_x)

    def _weight_gradients(self, d_gates: np.ndarray) -> tuple[Tensor, ...]:
        both, (into, onto) = np.zeros_like(self.weight), (self.blocks.into, self.blocks.onto)
        self._share_range(
            self.blocks.count,
            lambda first, last: _weights.weight_gradient(
                self.operand, d_gates, self.inputs, into, onto, both, first, last
            ),
        )
        rows = len(into) * self.units
        found = [np.empty(shape, self.dtype) for shape in ((rows, self.inputs), (rows, self.units), (rows,), (rows,))]
        _weights.unpack(both, into, onto, *found)
        return tuple(torch.from_numpy(array) for array in found)


def _in_threads(work: Callable[[int, int], None], parts: list[tuple[int, int]]) -> None:
    jobs = [_threads.pool().submit(work, *part) for part in parts[:-1]]
    if parts:
        work(*parts[-1])
    for job in jobs:
        job.result()
