"""What is dissected: recurrences along the trajectories that data drove them through."""

from __future__ import annotations

import abc
import copy
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

Precision = type[np.float32] | type[np.float64]


class System(abc.ABC):
    """One recurrence s[t] = F(x[t], s[t−1]) for B sequences of up to T steps, and its Jacobians J[t] = ∂s[t]/∂s[t−1] with x[t] held.

    Steps are counted from 0: step t takes `states[:, t]` to `states[:, t + 1]` under `inputs[:, t]`. Sequences that are shorter
    than T are padded at their end; what happens after `lengths` means nothing.

    Attributes:
        label: where it sits in the network, such as 'layer 0'.
        inputs: (B, T, d).
        states: (B, T + 1, n), everything that is carried: (h, c) for an LSTM.
        lengths: (B,).
    """

    label: str
    inputs: np.ndarray
    states: np.ndarray
    lengths: np.ndarray
    steps_anywhere: ClassVar[bool] = True  # False where only Jacobians along the trajectories are known

    @property
    def batch(self) -> int:
        """B."""
        return len(self.lengths)

    @property
    def steps(self) -> int:
        """T, the longest sequence."""
        return self.states.shape[1] - 1

    @property
    def size(self) -> int:
        """n, numbers carried."""
        return self.states.shape[2]

    @property
    def dtype(self) -> np.dtype:
        return self.states.dtype

    @property
    def readout_size(self) -> int:
        """Numbers of the state that are passed on: the first ones, unless `spread` says otherwise."""
        return self.size

    @cached_property
    def mask(self) -> np.ndarray:
        """(B, T) whether a step is one of the sequence's own."""
        return np.arange(self.steps) < self.lengths[:, None]

    @property
    def parts(self) -> tuple[System, ...]:
        """The layers of a stack, from the bottom; itself for one layer. Their spectra together are the stack's."""
        return (self,)

    @abc.abstractmethod
    def step(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(M, n) F(x, s) at any places: x (M, d), s (M, n)."""

    def advance(self, t: int, state: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        """(B, n) where step t takes the sequences from `state` (B, n), under the inputs x (B, d) in place of their own."""
        return self.step_at(np.arange(self.batch), np.full(self.batch, t), state, x)

    @abc.abstractmethod
    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        """(B, n, k) J[t] V, for tangents V (B, n, k) of the state before step t."""

    @abc.abstractmethod
    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        """(B, r, n) V J[t], for cotangents V (B, r, n) of the state after step t."""

    @abc.abstractmethod
    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        """(B, n, k) ∂s[t]/∂x[t] V, for tangents V (B, d, k) of the input of step t."""

    @abc.abstractmethod
    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        """(B, r, d) V ∂s[t]/∂x[t]."""

    @abc.abstractmethod
    def jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(M, n, n) ∂F/∂s at any places: x (M, d), s (M, n)."""

    @abc.abstractmethod
    def input_jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(M, n, d) ∂F/∂x at any places."""

    def step_at(self, b: np.ndarray, t: np.ndarray, state: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        """(M, n) what step t of sequence b, for b (M,) and t (M,), makes of any states (M, n); x (M, d) in place of its own input."""
        return self.step(self.inputs[b, t] if x is None else x, state)

    def linear(self) -> tuple[np.ndarray, np.ndarray] | None:
        """A (n, n) and B (n, d) of a recurrence that is s ← A s + B x + c wherever it is; None of others."""
        return None

    def jacobian(self, t: int) -> np.ndarray:
        """(B, n, n) J[t]."""
        identity = np.broadcast_to(np.eye(self.size, dtype=self.dtype), (self.batch, self.size, self.size))
        return self.push(t, identity)

    def direct(self, t: int) -> np.ndarray | None:
        """(B, n, n) D[t], the part of J[t] that goes from unit to the same unit without a weight; None where the parts are not known."""
        return None

    def readout(self, states: np.ndarray) -> np.ndarray:
        """(…, readout_size) what is read out of states (…, n)."""
        return states[..., : self.readout_size]

    def pull_direct(self, t: int, cotangents: np.ndarray) -> np.ndarray | None:
        """(B, r, n) V D[t], for cotangents V (B, r, n) of the state after step t; None where the parts are not known."""
        found = self.direct(t)
        return None if found is None else cotangents @ found

    def spread(self, cotangents: np.ndarray) -> np.ndarray:
        """(…, n) cotangents of the state from those of what is read out, (…, readout_size)."""
        rest = np.zeros((*cotangents.shape[:-1], self.size - cotangents.shape[-1]), cotangents.dtype)
        return np.concatenate([cotangents, rest], axis=-1)

    def at(self, precision: Precision) -> System:
        """Itself with its numbers in float32 or float64."""
        return self

    def rows(self, which: np.ndarray) -> Self:
        """The same for some of its sequences, by their indices; a system with more of its own by sequence adds it."""
        found = copy.copy(self)
        found.inputs, found.states, found.lengths = self.inputs[which], self.states[which], self.lengths[which]
        for name in list(found.__dict__):
            if isinstance(getattr(type(self), name, None), cached_property):
                del found.__dict__[name]
        return found


class JacobianSystem(System):
    """Given matrices, one a step: nothing else is known of the recurrence."""

    steps_anywhere = False

    def __init__(self, matrices: np.ndarray, label: str = "matrices") -> None:
        """matrices: (B, T, n, n), J[t] at [:, t]."""
        batch, steps, size = matrices.shape[:3]
        self.label, self.matrices = label, matrices
        self.inputs = np.zeros((batch, steps, 0), matrices.dtype)
        self.states = np.zeros((batch, steps + 1, size), matrices.dtype)
        self.lengths = np.full(batch, steps)

    def rows(self, which: np.ndarray) -> Self:
        found = super().rows(which)
        found.matrices = self.matrices[which]
        return found

    def step(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        raise NotImplementedError("given matrices have no step")

    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return self.matrices[:, t] @ tangents

    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return cotangents @ self.matrices[:, t]

    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return np.zeros((self.batch, self.size, tangents.shape[2]), self.dtype)

    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return np.zeros((*cotangents.shape[:2], 0), self.dtype)

    def jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        raise NotImplementedError("given matrices have no step")

    def input_jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        raise NotImplementedError("given matrices have no step")


class Stack(System):
    """Layers, each driven by the one below: block lower-triangular Jacobians. The state is the layers' side by side, from the bottom."""

    def __init__(self, layers: Sequence[System], label: str) -> None:
        self.label, self.layers = label, tuple(layers)
        self.inputs, self.lengths = layers[0].inputs, layers[0].lengths
        self.states = np.concatenate([layer.states for layer in layers], axis=2)
        ends = np.cumsum([layer.size for layer in layers])
        self._slices = [slice(end - layer.size, end) for end, layer in zip(ends, layers, strict=True)]

    @property
    def parts(self) -> tuple[System, ...]:
        return self.layers

    @property
    def readout_size(self) -> int:
        return self.layers[-1].readout_size

    def step(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        after = []
        for layer, own in zip(self.layers, self._slices, strict=True):
            after.append(layer.step(x, state[:, own]))
            x = after[-1][:, : layer.readout_size]
        return np.concatenate(after, axis=1)

    def step_at(self, b: np.ndarray, t: np.ndarray, state: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        after = []
        for layer, own in zip(self.layers, self._slices, strict=True):
            after.append(layer.step_at(b, t, state[:, own], x))
            x = after[-1][:, : layer.readout_size]
        return np.concatenate(after, axis=1)

    def linear(self) -> tuple[np.ndarray, np.ndarray] | None:
        if any(layer.linear() is None for layer in self.layers):
            return None
        by_state, by_input = self._derivatives(self.inputs[:1, 0], self.states[:1, 0])
        return by_state[0], by_input[0]

    def advance(self, t: int, state: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        after: list[np.ndarray] = []
        for layer, own in zip(self.layers, self._slices, strict=True):
            after.append(layer.advance(t, state[:, own], x))
            x = after[-1][:, : layer.readout_size]
        return np.concatenate(after, axis=1)

    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        found: list[np.ndarray] = []
        below: np.ndarray | None = None
        for layer, own in zip(self.layers, self._slices, strict=True):
            after = layer.push(t, tangents[:, own])
            found.append(after if below is None else after + layer.push_input(t, below))
            below = found[-1][:, : layer.readout_size]
        return np.concatenate(found, axis=1)

    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        totals, _ = self.totals(t, cotangents)
        found = [layer.pull(t, total) for layer, total in zip(self.layers, totals, strict=True)]
        return np.concatenate(found, axis=2)

    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        found = []
        for layer in self.layers:
            found.append(layer.push_input(t, tangents))
            tangents = found[-1][:, : layer.readout_size]
        return np.concatenate(found, axis=1)

    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return self.totals(t, cotangents)[1]

    def totals(self, t: int, cotangents: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Each layer's cotangents with what comes down from the layers above within the step, and what leaves at the bottom."""
        totals: list[np.ndarray] = []
        down: np.ndarray | None = None
        for layer, own in zip(reversed(self.layers), reversed(self._slices), strict=True):
            total = cotangents[:, :, own] if down is None else cotangents[:, :, own] + layer.spread(down)
            totals.insert(0, total)
            down = layer.pull_input(t, total)
        assert down is not None
        return totals, down

    def jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self._derivatives(x, state)[0]

    def input_jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self._derivatives(x, state)[1]

    def _derivatives(self, x: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M, n, n) and (M, n, d): what each layer's new state owes to every old state and to the input."""
        count, given = x.shape
        by_state, by_input = np.zeros((count, self.size, self.size)), np.zeros((count, self.size, given))
        below = np.zeros((count, given, self.size)), np.broadcast_to(np.eye(given), (count, given, given))
        for layer, own in zip(self.layers, self._slices, strict=True):
            passed = layer.input_jacobian_at(x, state[:, own])
            by_state[:, own], by_input[:, own] = passed @ below[0], passed @ below[1]
            by_state[:, own, own] += layer.jacobian_at(x, state[:, own])
            x = layer.step(x, state[:, own])[:, : layer.readout_size]
            read = slice(own.start, own.start + layer.readout_size)
            below = by_state[:, read], by_input[:, read]
        return by_state, by_input

    def direct(self, t: int) -> np.ndarray | None:
        found = [layer.direct(t) for layer in self.layers]
        if any(each is None for each in found):
            return None
        result = np.zeros((self.batch, self.size, self.size), self.dtype)
        for own, each in zip(self._slices, found, strict=True):
            result[:, own, own] = each
        return result

    def readout(self, states: np.ndarray) -> np.ndarray:
        return self.layers[-1].readout(states[..., self._slices[-1]])

    def spread(self, cotangents: np.ndarray) -> np.ndarray:
        top = self.layers[-1].spread(cotangents)
        rest = np.zeros((*top.shape[:-1], self.size - top.shape[-1]), top.dtype)
        return np.concatenate([rest, top], axis=-1)

    def at(self, precision: Precision) -> System:
        return Stack([layer.at(precision) for layer in self.layers], self.label)

    def rows(self, which: np.ndarray) -> Self:
        found = super().rows(which)
        found.layers = tuple(layer.rows(which) for layer in self.layers)
        return found
