"""Cells with weights, of torch's kinds: trajectories by replaying the weights through our own equations, and fast Jacobian products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Self

import numpy as np

from statewise.cells import Cell, Linearised
from statewise.dissection.systems import Precision, System
from statewise.kernels.jacobian import recurrent_block

_CHUNK = 64
_MOST_NUMBERS = 1 << 24  # of steps taken apart that are kept
MANY_ROWS = 24  # cotangents from which it pays to form the columns of J[t] that belong to h


class GatedSystem(System):
    """A cell of `statewise.cells` with its weights.

    Args:
        cell: the equations.
        params: the weights of one layer and direction, under the names that the cell reads.
        inputs: (B, T, d).
        lengths: (B,).
        initial: (B, n); None for zeros.
        label: where it sits.
        decay: (B, T, n) factors of the state between two steps, for a cell whose state fades with time; None for none.
        states: (B, T + 1, n), if they have been computed before.
    """

    def __init__(
        self,
        cell: Cell,
        params: Mapping[str, np.ndarray],
        inputs: np.ndarray,
        lengths: np.ndarray,
        initial: np.ndarray | None = None,
        label: str = "layer 0",
        decay: np.ndarray | None = None,
        states: np.ndarray | None = None,
    ) -> None:
        self.cell, self.params, self.label, self.decay = cell, dict(params), label, decay
        self.inputs, self.lengths = inputs, lengths
        self.weight = np.ascontiguousarray(cell.recurrent_weight(self.params))
        self.states = self._replay(initial) if states is None else states
        self._chunks: dict[int, Linearised] = {}

    def _replay(self, initial: np.ndarray | None) -> np.ndarray:
        batch, steps = self.inputs.shape[:2]
        states = np.zeros((batch, steps + 1, self.cell.state_size(self.params)), self.inputs.dtype)
        if initial is not None:
            states[:, 0] = initial
        for t in range(steps):
            before = states[:, t] if self.decay is None else states[:, t] * self.decay[:, t]
            states[:, t + 1] = self.cell.step(self.params, self.inputs[:, t], before)
        return states

    def _linearised(self, times: slice) -> Linearised:
        before = self.states[:, :-1][:, times]
        if self.decay is not None:
            before = before * self.decay[:, times]
        return self.linearised_at(self.inputs[:, times], before)

    def linearised_at(self, x: np.ndarray, state: np.ndarray) -> Linearised:
        """The cell taken apart anywhere: x (…, d), and s (…, n) when the step begins, after any decay."""
        return self.cell.linearise(self.params, x, state)

    def chunks(self) -> Iterator[tuple[slice, Linearised]]:
        """All steps taken apart, a few dozen at a time."""
        for start in range(0, self.steps, _CHUNK):
            yield slice(start, min(start + _CHUNK, self.steps)), self._chunk_at(start)

    def _chunk_at(self, start: int) -> Linearised:
        """A few dozen steps taken apart; as many such chunks are kept as memory allows."""
        if start not in self._chunks:
            numbers = self.batch * _CHUNK * self.size * 8  # about, in a chunk
            if (len(self._chunks) + 1) * numbers > _MOST_NUMBERS:
                self._chunks.clear()
            self._chunks[start] = self._linearised(slice(start, start + _CHUNK))
        return self._chunks[start]

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.size // self.cell.carried

    @property
    def readout_size(self) -> int:
        return self.hidden_size

    @cached_property
    def usual_decay(self) -> np.ndarray:
        """(n,) the geometric mean of the decay between two steps, which holds wherever a step is not one of the trajectories'."""
        if self.decay is None:
            return np.ones(self.size, self.dtype)
        found: np.ndarray = np.exp(np.log(self.decay[self.mask]).mean(axis=0))
        return found

    def step(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self.cell.step(self.params, x, state * self.usual_decay)

    def advance(self, t: int, state: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        before = state if self.decay is None else state * self.decay[:, t]
        return self.cell.step(self.params, self.inputs[:, t] if x is None else x, before)

    def step_at(self, b: np.ndarray, t: np.ndarray, state: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        before = state if self.decay is None else state * self.decay[b, t]
        return self.cell.step(self.params, self.inputs[b, t] if x is None else x, before)

    def linear(self) -> tuple[np.ndarray, np.ndarray] | None:
        if self.cell.name != "linear" or self.decay is not None:
            return None
        return self.weight, self.params["weight_ih_l0"]

    def jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self.cell.jacobian(self.params, x, state * self.usual_decay) * self.usual_decay

    def input_jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        parts = self.cell.linearise(self.params, x, state * self.usual_decay)
        weight = self.params["weight_ih_l0"].reshape(-1, self.hidden_size, x.shape[-1])
        return np.einsum("nmgh,ghd->nmhd", parts.driven, weight).reshape(len(x), self.size, -1)

    @cached_property
    def gates(self) -> dict[str, np.ndarray]:
        """Activations (B, T, H) by name along the trajectories."""
        return self._linearised(slice(None)).gates

    def parts_at(self, t: int) -> Linearised:
        """Step t taken apart, with the leading axis B; computed for a few dozen steps at a time."""
        start = t - t % _CHUNK
        found, k = self._chunk_at(start), t - start
        return Linearised({}, found.direct[:, k], found.recurrent[:, k], found.driven[:, k])

    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        parts, H = self.parts_at(t), self.hidden_size
        if self.decay is not None:
            tangents = tangents * self.decay[:, t, :, None]
        found = gathered(parts.recurrent, applied(self.weight, tangents[:, :H]))
        blocks = np.reshape(tangents, (self.batch, -1, H, tangents.shape[2]))
        for i, j in filled(parts.direct):
            found[:, i * H : (i + 1) * H] += parts.direct[:, i, j, :, None] * blocks[:, j]
        return found

    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return gathered(self.parts_at(t).driven, applied(self.params["weight_ih_l0"], tangents))

    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        parts, H = self.parts_at(t), self.hidden_size
        result = np.empty_like(cotangents)
        if cotangents.shape[1] >= MANY_ROWS:
            np.matmul(cotangents, recurrent_block(parts.recurrent, self.weight), out=result[:, :, :H])
        else:
            result[:, :, :H] = scattered(parts.recurrent, cotangents) @ self.weight
        result[:, :, H:] = 0
        for i, j in filled(parts.direct):
            result[:, :, j * H : (j + 1) * H] += cotangents[:, :, i * H : (i + 1) * H] * parts.direct[:, None, i, j]
        return result if self.decay is None else result * self.decay[:, t, None]

    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return scattered(self.parts_at(t).driven, cotangents) @ self.params["weight_ih_l0"]

    def jacobian(self, t: int) -> np.ndarray:
        parts, H = self.parts_at(t), self.hidden_size
        result = np.zeros((self.batch, self.size, self.size), self.dtype)
        result[:, :, :H] = recurrent_block(parts.recurrent, self.weight)
        self._add_diagonals(parts.direct, result)
        return result if self.decay is None else result * self.decay[:, t, None]

    def direct(self, t: int) -> np.ndarray:
        result = np.zeros((self.batch, self.size, self.size), self.dtype)
        self._add_diagonals(self.parts_at(t).direct, result)
        return result if self.decay is None else result * self.decay[:, t, None]

    def _add_diagonals(self, direct: np.ndarray, result: np.ndarray) -> None:
        H, units = self.hidden_size, np.arange(self.hidden_size)
        for i, j in filled(direct):
            result[:, i * H + units, j * H + units] += direct[:, i, j]

    def pull_direct(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        direct, H = self.parts_at(t).direct, self.hidden_size
        result = np.zeros_like(cotangents)
        for i, j in filled(direct):
            result[:, :, j * H : (j + 1) * H] += cotangents[:, :, i * H : (i + 1) * H] * direct[:, None, i, j]
        return result if self.decay is None else result * self.decay[:, t, None]

    def at(self, precision: Precision) -> GatedSystem:
        if self.dtype == precision:
            return self
        params = {name: array.astype(precision) for name, array in self.params.items()}
        inputs, states = self.inputs.astype(precision), self.states.astype(precision)
        decay = None if self.decay is None else self.decay.astype(precision)
        return type(self)(self.cell, params, inputs, self.lengths, None, self.label, decay, states)

    def rows(self, which: np.ndarray) -> Self:
        found = super().rows(which)
        found.decay, found._chunks = None if self.decay is None else self.decay[which], {}
        return found


def filled(direct: np.ndarray) -> list[tuple[int, int]]:
    """The blocks (i, j) of direct (B, m, m, H) that are not zero."""
    used = direct.any(axis=(0, 3))
    return [(int(i), int(j)) for i, j in np.argwhere(used)]


def applied(weight: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """(B, G·H, k) W V for tangents V (B, m, k), in one product for all B."""
    batch, size, k = tangents.shape
    beside = np.ascontiguousarray(tangents.transpose(1, 0, 2)).reshape(size, batch * k)
    return (weight @ beside).reshape(len(weight), batch, k).transpose(1, 0, 2)


def gathered(coefficients: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """(B, m·H, k): block i is Σ over gates of diag(coefficients[:, i, g]) sums[:, g], for sums (B, G·H, k)."""
    batch, carried, gates, H = coefficients.shape
    by_gate = sums.reshape(batch, gates, H, sums.shape[2])
    found = np.einsum("bmgh,bghk->bmhk", coefficients, by_gate)
    return found.reshape(batch, carried * H, sums.shape[2])


def scattered(coefficients: np.ndarray, cotangents: np.ndarray) -> np.ndarray:
    """(B, r, G·H): for gate g, Σ over blocks of cotangents[:, :, block i] · coefficients[:, i, g]."""
    batch, carried, gates, H = coefficients.shape
    by_block = cotangents.reshape(batch, cotangents.shape[1], carried, H)
    found = np.einsum("brmh,bmgh->brgh", by_block, coefficients)
    return found.reshape(batch, cotangents.shape[1], gates * H)
