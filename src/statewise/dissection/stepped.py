"""Any function step(x, state) -> state of torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.dissection.systems import System

_MOST_NUMBERS = 1 << 22  # of Jacobians held at once


class SteppedSystem(System):
    """A recurrence that is known by its step alone; its Jacobians come from autograd, a row at a time for many places at once.

    Args:
        step: takes x (M, d) and s (M, n), float64 tensors, and returns the next s (M, n); row m depends on row m only.
        inputs: (B, T, d).
        lengths: (B,).
        initial: (B, n).
        label: what to call it.
        readout_size: numbers of the state, the first ones, that are put out; default all.
    """

    def __init__(
        self,
        step: Callable[[Tensor, Tensor], Tensor],
        inputs: np.ndarray,
        lengths: np.ndarray,
        initial: np.ndarray,
        label: str = "layer 0",
        readout_size: int | None = None,
    ) -> None:
        self.function, self.label = step, label
        self.inputs, self.lengths = inputs, lengths
        self._readout_size = readout_size
        self.states = np.empty((len(lengths), inputs.shape[1] + 1, initial.shape[1]))
        self.states[:, 0] = initial
        self._replay()
        self._held: dict[str, tuple[int, np.ndarray]] = {}

    def _replay(self) -> None:
        x = torch.from_numpy(np.ascontiguousarray(self.inputs))
        state = torch.from_numpy(self.states[:, 0].copy())
        with torch.no_grad():
            for t in range(self.steps):
                state = self._judged(self.function(x[:, t], state), state)
                self.states[:, t + 1] = state.numpy()

    @staticmethod
    def _judged(after: Any, before: Tensor) -> Tensor:
        if not isinstance(after, Tensor) or after.shape != before.shape:
            shown = tuple(after.shape) if isinstance(after, Tensor) else checks.shown(after)
            raise InputError(
                f"`model` returned {shown} from a state of shape {tuple(before.shape)}; a step returns the next state, a tensor of that shape"
            )
        return after

    @property
    def readout_size(self) -> int:
        return self.size if self._readout_size is None else self._readout_size

    def step(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = self.function(torch.from_numpy(x), torch.from_numpy(state)).numpy()
        return found

    def jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self._derivative(x, state, by_input=False)

    def input_jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self._derivative(x, state, by_input=True)

    def _derivative(self, x: np.ndarray, state: np.ndarray, by_input: bool) -> np.ndarray:
        """(M, n, n) or (M, n, d): row i of all places from one backward pass through Σ over places of output i."""
        given = torch.from_numpy(np.ascontiguousarray(x)).requires_grad_(by_input)
        before = torch.from_numpy(np.ascontiguousarray(state)).requires_grad_(not by_input)
        wanted = given if by_input else before
        with torch.enable_grad():
            after = self.function(given, before)
        result = np.zeros((len(x), after.shape[1], wanted.shape[1]))
        if not after.requires_grad or not wanted.shape[1]:
            return result
        for i in range(after.shape[1]):
            (row,) = torch.autograd.grad(after[:, i].sum(), wanted, retain_graph=True, allow_unused=True)
            if row is not None:
                result[:, i] = row.numpy()
        return result

    @cached_property
    def _chunk(self) -> int:
        return int(np.clip(_MOST_NUMBERS // (self.batch * self.size**2), 1, 4096))

    def _matrices(self, kind: str, t: int) -> np.ndarray:
        """(B, n, ·) of step t; those of its chunk are computed together."""
        start = t - t % self._chunk
        if self._held.get(kind, (-1,))[0] != start:
            times = slice(start, start + self._chunk)
            x, before = self.inputs[:, times], self.states[:, :-1][:, times]
            count = before.shape[0] * before.shape[1]  # not −1: there may be no inputs
            flat = self._derivative(x.reshape(count, x.shape[2]), before.reshape(count, self.size), kind == "input")
            self._held[kind] = start, flat.reshape(*before.shape[:2], *flat.shape[1:])
        return self._held[kind][1][:, t - start]

    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return self._matrices("state", t) @ tangents

    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return cotangents @ self._matrices("state", t)

    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return self._matrices("input", t) @ tangents

    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return cotangents @ self._matrices("input", t)

    def jacobian(self, t: int) -> np.ndarray:
        return self._matrices("state", t)

    def rows(self, which: np.ndarray) -> Self:
        found = super().rows(which)
        found._held = {}
        return found
