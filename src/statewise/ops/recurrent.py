"""RNN, GRU and LSTM layers as differentiable operations: tensors in, kernels on arrays, tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise.kernels import _memory, _threads, _weights
from statewise.kernels import recurrence as kernels
from statewise.kernels._lanes import BLOCK_BYTES
from statewise.kernels._norm import Norm
from statewise.kernels._steps import Carry, Walk
from statewise.ops.recurrent_steps import Inside, unrolled

_WORTH_SHARING = 8e6  # multiplications in a shard, a third of a millisecond with their gradients
_ROWS, _SHARDS = 4, 16  # sequences in a shard at least, the rows of a product in registers; shards at most


@dataclass(frozen=True)
class Rows:
    """Which rows of a packed array belong to which step.

    Attributes:
        sizes: (T,) int64, the sequences alive at each step; never rising, as in torch's PackedSequence.
        reverse: whether the layer reads from the last step to the first.
    """

    sizes: np.ndarray
    reverse: bool = False
    _walks: dict[int, list[tuple[Walk, int]]] = field(default_factory=dict)

    @cached_property
    def offsets(self) -> np.ndarray:
        """(T,) the first row of each step."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    @staticmethod
    @lru_cache(maxsize=64)
    def full(steps: int, batch: int, reverse: bool = False) -> Rows:
        """Sequences that are all of the same length."""
        return Rows(np.full(steps, batch), reverse)

    def walks(self, count: int) -> list[tuple[Walk, int]]:
        """At most `count` ranges of sequences with about the same number of rows, and the row behind each one's own.

        They depend on the sequences alone, not on the threads, so that sums over them are the same number everywhere.
        """
        if count not in self._walks:
            self._walks[count] = self._parted(count)
        return self._walks[count]

    def _parted(self, count: int) -> list[tuple[Walk, int]]:
        batch = int(self.sizes[0])
        alive = np.bincount(self.sizes, minlength=batch + 1)[::-1].cumsum()[::-1][1:]  # (B,) steps of each sequence
        ends = alive.cumsum()
        bounds = np.searchsorted(ends, ends[-1] * np.arange(1, count) / count) + 1
        bounds = np.unique(np.concatenate([[0], np.round(bounds / _ROWS).astype(np.int64) * _ROWS, [batch]]))
        behind = np.concatenate([[0], ends])
        return [
            (Walk(self.sizes, self.offsets, int(behind[a]), int(a), int(b), self.reverse), int(behind[b]))
            for a, b in pairwise(bounds.clip(0, batch))
        ]


@dataclass(frozen=True)
class _Blocks:
    """Blocks of columns in the kernels' matrices, and which of them each of torch's gates fills: where it meets the input, and the state."""

    count: int
    into: np.ndarray
    onto: np.ndarray


_PLAIN = _Blocks(1, np.array([0]), np.array([0]))
BLOCKS = {
    "tanh": _PLAIN,
    "relu": _PLAIN,
    "gru": _Blocks(4, np.array([1, 2, 0]), np.array([1, 2, 3])),
    "lstm": _Blocks(4, np.arange(4), np.arange(4)),
}
NUMBERS = {"tanh": kernels.TANH, "relu": kernels.RELU, "gru": kernels.GRU, "lstm": kernels.LSTM}
_SAVED = {"tanh": 1, "relu": 1, "gru": 4, "lstm": 6}  # blocks that the backward pass reads


def padded_width(count: int, dtype: np.dtype) -> int:
    """The least multiple of the width of a block that is not below `count`."""
    lanes = BLOCK_BYTES // dtype.itemsize
    return -(-count // lanes) * lanes


def recurrence(
    kind: str,
    x: Tensor,
    rows: Rows,
    h: Tensor,
    c: Tensor | None,
    weights: Sequence[Tensor | None],
    log_decay: Tensor | None = None,
    mask: Tensor | None = None,
    inside: Inside | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One layer in one direction on the CPU, by the numba kernels.

    Args:
        kind: "tanh", "relu", "gru" or "lstm".
        x: (R, d) inputs, packed by `rows`; float32 or float64, as all others. Where weight_ih is None, (R, G H): what the gates receive.
        h, c: (B, H) the first state, sequences in the order of `rows`; c for the LSTM only.
        weights: weight_ih, weight_hh, bias_ih, bias_hh of torch's shapes; weight_ih and the biases may be None.
        log_decay: (R, H) logarithm of what the carried state is multiplied by before each step.
        mask: (B, H) constant factors of the state where it enters the product with weight_hh.
        inside: a layer norm of the sums that the units receive, and of an LSTM's cell. The biases are None then; so is weight_ih of a GRU
            or LSTM, whose norm is of the sums from the state alone.

    Returns:
        Outputs (R, H), the last h (B, H) and, for the LSTM, the last c. Twice differentiable: the second derivative is computed
        step by step in torch operations.
    """
    result: Any = _Recurrence.apply(kind, rows, mask, x, h, c, log_decay, *weights, *(inside or (None,) * 4))
    return result if kind == "lstm" else (*result, None)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kind: str, rows: Rows, mask: Tensor | None, *tensors: Any) -> Any:
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
    x, h, c, log_decay, *rest = ctx.saved_tensors
    weights, inside = rest[:4], None if rest[4] is None else Inside(*rest[4:])
    outputs: Any = unrolled(
        ctx.kind, x, ctx.rows.sizes.tolist(), ctx.rows.reverse, h, c, weights, log_decay, ctx.mask, inside
    )
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
        w_ih: Tensor | None,
        w_hh: Tensor,
        b_ih: Tensor | None,
        b_hh: Tensor | None,
        *inside: Tensor | None,
    ) -> None:
        self.kind, self.rows, self.blocks = kind, rows, BLOCKS[kind]
        given = _array(x)
        self.dtype, self.count, self.units = given.dtype, len(given), w_hh.shape[1]
        self.padded = padded_width(self.units, self.dtype)
        self.x = given if w_ih is not None else np.empty((self.count, 0), self.dtype)
        self.inputs = self.x.shape[1]
        self.state = self._padded(h.detach().numpy())
        self.cell = None if c is None else self._padded(c.detach().numpy())
        decay = None if log_decay is None else self._padded(np.exp(log_decay.detach().numpy()))
        factors = None if mask is None else self._padded(mask.detach().numpy())
        self.weight, self.back, self.aside = self._weights(w_ih, w_hh, b_ih, b_hh)
        operand = _memory.empty((self.count, self.inputs + 1 + self.padded), self.dtype)
        kept, place = (operand, self.inputs + 1) if mask is None else (self._rows(self.padded), 0)
        self.carry = Carry(operand, kept, place, decay, factors)
        self.norm = None if inside[0] is None else self._norm(None if w_ih is not None else given, *inside)
        self.saved = self._rows(_SAVED[kind] * self.padded)
        work = float(operand.size) * self.weight.shape[1]
        most = max(1, min(int(work / _WORTH_SHARING), len(self.state) // _ROWS, _SHARDS))
        self.walks = rows.walks(2 ** (most.bit_length() - 1))  # an even share for two, four, … threads

    def _rows(self, columns: int) -> np.ndarray:
        return _memory.empty((self.count, columns), self.dtype)

    def _padded(self, array: np.ndarray) -> np.ndarray:
        """A copy with zeros up to the padded width."""
        if array.shape[1] == self.padded:
            return np.array(array, self.dtype, order="C")
        result = np.zeros((len(array), self.padded), self.dtype)
        result[:, : self.units] = array
        return result

    def _gates(self, array: Tensor) -> np.ndarray:
        """(G H,) as (G Hp,)."""
        return self._padded(array.detach().numpy().reshape(-1, self.units)).reshape(-1)

    def _norm(self, given: np.ndarray | None, *inside: Any) -> Norm:
        gain, shift, cell_gain, cell_shift = inside
        gates = np.stack([self._gates(part) for part in (gain, shift, torch.ones_like(gain))])
        column, block = (self.blocks.count - len(self.blocks.into)) * self.padded, BLOCK_BYTES // self.dtype.itemsize
        cell = cell_normed = None
        if cell_gain is not None:
            parts = (cell_gain, cell_shift, torch.ones_like(cell_gain))
            cell, cell_normed = np.stack([self._gates(part) for part in parts]), self._rows(self.padded + block)
        normed = self._rows(gates.shape[1] + block)
        return Norm(gates, normed, column, given, self.blocks.into, self.units, cell, cell_normed)

    def _weights(self, *given: Tensor | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """torch's parameters as the kernels read them."""
        w_ih, w_hh, b_ih, b_hh = (np.zeros(0, self.dtype) if w is None else _array(w) for w in given)
        w_ih = w_ih.reshape(len(w_hh), -1)
        columns = self.blocks.count * self.padded
        weight = np.zeros((self.inputs + 1 + self.padded, columns), self.dtype)
        back = np.zeros((len(self.blocks.into) * self.padded, self.padded), self.dtype)
        aside = np.zeros((columns, padded_width(self.inputs, self.dtype)), self.dtype)
        _weights.pack_forward(w_ih, w_hh, b_ih, b_hh, self.blocks.into, self.blocks.onto, weight)
        _weights.pack_backward(w_ih, w_hh, self.blocks.into, back, aside)
        return weight, back, aside

    def forward(self) -> tuple[Tensor, ...]:
        output = self._rows(self.units)
        given = (
            NUMBERS[self.kind],
            self.x,
            self.carry,
            self.norm,
            self.weight,
            self.saved,
            self.state,
            self.cell,
            output,
        )
        _threads.share(lambda part: kernels.forward(*given, part[0]), self.walks, torch.get_num_threads())
        del self.x
        states = (self.state,) if self.cell is None else (self.state, self.cell)
        return torch.from_numpy(output), *(torch.from_numpy(state[:, : self.units].copy()) for state in states)

    def backward(self, upstream: Sequence[Tensor], wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        arrays = [_array(tensor) for tensor in upstream]
        gradient, work = self._padded(arrays[1]), np.empty_like(self.state)
        d_cell = self._padded(arrays[2]) if self.kind == "lstm" else None
        outside = self.norm is not None and self.norm.given is not None
        d_x = self._rows(self.inputs) if wanted[0] and not outside else None
        d_given = np.empty(self.norm.given.shape, self.dtype) if self.norm is not None and outside else None
        d_log_decay = None if self.carry.decay is None else self._rows(self.padded)
        sums = [self._sums(None if table is None else table[:2]) for table in self._tables()]
        d_weight = self._sums(self.weight if any(wanted[4:8]) else None)
        fixed: tuple[Any, ...] = (
            NUMBERS[self.kind],
            arrays[0],
            self.carry,
            self.norm,
            (self.blocks.into, self.blocks.onto),
        )
        fixed += (self.back, self.aside, self.saved, gradient, d_cell)

        backward: Any = kernels.backward  # whose arguments are too many to be told apart

        def retrace(part: Any) -> None:
            number, (walk, end) = part
            chunk = kernels.CHUNK + walk.last - walk.first
            d_gates, narrow = (np.empty((chunk, n), self.dtype) for n in (self.weight.shape[1], self.aside.shape[1]))
            own = [None if stack is None else stack[number] for stack in (d_weight, *sums)]
            found = kernels.Found(d_x, own[0], d_log_decay, d_given, *own[1:])
            backward(*fixed, d_gates, work, narrow, found, walk, end)

        _threads.share(retrace, list(enumerate(self.walks)), torch.get_num_threads())
        states = [
            None if a is None else torch.from_numpy(a[:, : self.units].copy()) for a in (gradient, d_cell, d_log_decay)
        ]
        weights = (None,) * 4 if d_weight is None else self._unpacked(d_weight.sum(0))
        inputs = d_given if outside else d_x
        return None if inputs is None else torch.from_numpy(inputs), *states, *weights, *self._norm_gradients(*sums)

    def _tables(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        return (None, None) if self.norm is None else (self.norm.gates, self.norm.cell)

    def _sums(self, like: np.ndarray | None) -> np.ndarray | None:
        """Zeros to which each shard adds its own."""
        if like is None:
            return None
        result = _memory.empty((len(self.walks), *like.shape), self.dtype)
        result.fill(0)
        return result

    def _unpacked(self, total: np.ndarray) -> tuple[Tensor, ...]:
        rows = len(self.blocks.into) * self.units
        found = [np.empty(shape, self.dtype) for shape in ((rows, self.inputs), (rows, self.units), (rows,), (rows,))]
        _weights.unpack(total, self.blocks.into, self.blocks.onto, *found)
        return tuple(torch.from_numpy(array) for array in found)

    def _norm_gradients(self, *sums: np.ndarray | None) -> list[Tensor | None]:
        """Of the gains and shifts of gates and cell."""
        found: list[Tensor | None] = []
        for stack in sums:
            if stack is None:
                found += [None, None]
            else:
                table = stack.sum(0).reshape(2, -1, self.padded)[:, :, : self.units]
                found += [torch.from_numpy(row.reshape(-1)) for row in table]
        return found


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
