"""Recurrences that are affine in the state, with matrices that are the same at many steps or change with them."""

from __future__ import annotations

from typing import Self

import numpy as np

from statewise.dissection.systems import Precision, System


class AffineSystem(System):
    """s[t] = A[t] s[t−1] + B[t] x[t] + c[t].

    Args:
        transition: (M, n, n), the different A there are.
        into: (M, n, d), the B that goes with each.
        which: (B, T) the one of step t.
        inputs: (B, T, d).
        lengths: (B,).
        initial: (B, n).
        offset: (B, T, n) c; None for zeros.
        label: where it sits.
        read: (r, n), what is read out as r numbers; None for the state itself.
        states: (B, T + 1, n), if they have been computed before.
    """

    def __init__(
        self,
        transition: np.ndarray,
        into: np.ndarray,
        which: np.ndarray,
        inputs: np.ndarray,
        lengths: np.ndarray,
        initial: np.ndarray,
        offset: np.ndarray | None = None,
        label: str = "layer 0",
        read: np.ndarray | None = None,
        states: np.ndarray | None = None,
    ) -> None:
        self.transition, self.into, self.which = transition, into, which
        self.inputs, self.lengths, self.label, self.read = inputs, lengths, label, read
        self.offset = np.zeros((*which.shape, transition.shape[1]), inputs.dtype) if offset is None else offset
        self.states = self._replay(initial) if states is None else states

    def _replay(self, initial: np.ndarray) -> np.ndarray:
        batch, steps = self.which.shape
        states = np.empty((batch, steps + 1, self.transition.shape[1]), self.inputs.dtype)
        states[:, 0] = initial
        for t in range(steps):
            states[:, t + 1] = self._moved(self.which[:, t], self.inputs[:, t], states[:, t]) + self.offset[:, t]
        return states

    def _moved(self, which: np.ndarray, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(M, n) A s + B x, each row with its own matrices."""
        moved: np.ndarray = (self.transition[which] @ state[..., None] + self.into[which] @ x[..., None])[..., 0]
        return moved

    @property
    def readout_size(self) -> int:
        return self.size if self.read is None else len(self.read)

    @property
    def usual(self) -> int:
        """The matrices that most steps have: those of a filter that has settled, where nothing is missing."""
        return int(np.bincount(self.which[self.mask]).argmax())

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """A (n, n) and B (n, d) of most steps."""
        return self.transition[self.usual], self.into[self.usual]

    def step(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """With the matrices of most steps, and the mean of their offsets."""
        A, B = self.linear()
        return state @ A.T + x @ B.T + self.offset[self.mask & (self.which == self.usual)].mean(axis=0)

    def step_at(self, b: np.ndarray, t: np.ndarray, state: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        return self._moved(self.which[b, t], self.inputs[b, t] if x is None else x, state) + self.offset[b, t]

    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return self.transition[self.which[:, t]] @ tangents

    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return cotangents @ self.transition[self.which[:, t]]

    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return self.into[self.which[:, t]] @ tangents

    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return cotangents @ self.into[self.which[:, t]]

    def jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return np.repeat(self.linear()[0][None], len(state), axis=0)

    def input_jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return np.repeat(self.linear()[1][None], len(state), axis=0)

    def jacobian(self, t: int) -> np.ndarray:
        return self.transition[self.which[:, t]]

    def readout(self, states: np.ndarray) -> np.ndarray:
        return super().readout(states) if self.read is None else states @ self.read.T.astype(states.dtype)

    def spread(self, cotangents: np.ndarray) -> np.ndarray:
        return super().spread(cotangents) if self.read is None else cotangents @ self.read.astype(cotangents.dtype)

    def rows(self, which: np.ndarray) -> Self:
        found = super().rows(which)
        found.which, found.offset = self.which[which], self.offset[which]
        return found

    def at(self, precision: Precision) -> AffineSystem:
        if self.dtype == precision:
            return self
        moved = (each.astype(precision) for each in (self.transition, self.into, self.inputs, self.states, self.offset))
        transition, into, inputs, states, offset = moved
        return AffineSystem(
            transition, into, self.which, inputs, self.lengths, states[:, 0], offset, self.label, self.read, states
        )
