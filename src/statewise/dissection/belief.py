"""The forward recursion of a hidden Markov model: as a network on its beliefs, and unnormalised."""

from __future__ import annotations

from typing import Self

import numpy as np

from statewise.dissection.spectrum import Spectrum, growths
from statewise.dissection.systems import System


class BeliefSystem(System):
    """f[t+1] = Pᵀ softmax(x[t] + log f[t]): the softmax network of a hidden Markov model, its state the belief about the next state.

    The input x[t] is the evidence, the log-likelihood of y[t] in each state. What is impossible counts as missing.

    ::

        J[t] = Pᵀ (diag(g) − (g ∘ f) gᵀ),   g = b / Σ b f,  b = exp x

    Args:
        evidence: (B, T, K).
        transition: (K, K) P, or (B, T, K, K) one for each step.
        initial: (K,) or (B, K), π.
        lengths: (B,).
    """

    def __init__(
        self,
        evidence: np.ndarray,
        transition: np.ndarray,
        initial: np.ndarray,
        lengths: np.ndarray,
        label: str = "beliefs",
        states: np.ndarray | None = None,
    ) -> None:
        self.inputs, self.transition, self.lengths, self.label = evidence, transition, lengths, label
        self.states = self._replay(initial) if states is None else states

    def _replay(self, initial: np.ndarray) -> np.ndarray:
        batch, steps, K = self.inputs.shape
        states = np.empty((batch, steps + 1, K), self.inputs.dtype)
        states[:, 0] = initial
        for t in range(steps):
            states[:, t + 1] = self._moved(self._move(t), self.inputs[:, t], states[:, t])
        return states

    def _move(self, t: int) -> np.ndarray:
        """(K, K) or (B, K, K) P of step t."""
        return self.transition if self.transition.ndim == 2 else self.transition[:, t]

    @staticmethod
    def _moved(move: np.ndarray, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        moved: np.ndarray = ((weights(x, state)[0] * state)[..., None, :] @ move)[..., 0, :]
        return moved

    def _at(self, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(B, K) f and g, and P, at step t."""
        f = self.states[:, t]
        return f, weights(self.inputs[:, t], f)[0], np.swapaxes(self._move(t), -1, -2)

    def step(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        move = self.transition if self.transition.ndim == 2 else self.transition[self.mask].mean(axis=0)
        return self._moved(move, x, state)

    def step_at(self, b: np.ndarray, t: np.ndarray, state: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        move = self.transition if self.transition.ndim == 2 else self.transition[b, t]
        return self._moved(move, self.inputs[b, t] if x is None else x, state)

    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        f, g, back = self._at(t)
        share = g[:, None] @ tangents
        return back @ (g[:, :, None] * tangents - (g * f)[:, :, None] * share)

    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        f, g, back = self._at(t)
        moved = cotangents @ back
        return g[:, None] * (moved - (moved @ (g * f)[:, :, None]))

    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        f, g, back = self._at(t)
        share = (g * f)[:, None] @ tangents
        return back @ ((g * f)[:, :, None] * (tangents - share))

    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        f, g, back = self._at(t)
        moved = cotangents @ back
        return (g * f)[:, None] * (moved - (moved @ (g * f)[:, :, None]))

    def jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self._single(x, state).jacobian(0)

    def input_jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        single = self._single(x, state)
        return single.push_input(0, np.broadcast_to(np.eye(self.size), (len(x), self.size, self.size)))

    def _single(self, x: np.ndarray, state: np.ndarray) -> BeliefSystem:
        move = self.transition if self.transition.ndim == 2 else self.transition[self.mask].mean(axis=0)
        return BeliefSystem(x[:, None], move, state, np.ones(len(x), int), self.label)

    def at(self, precision: type[np.float32] | type[np.float64]) -> BeliefSystem:
        if self.dtype == precision:
            return self
        evidence, transition, states = (each.astype(precision) for each in (self.inputs, self.transition, self.states))
        return BeliefSystem(evidence, transition, states[:, 0], self.lengths, self.label, states)

    def rows(self, which: np.ndarray) -> Self:
        found = super().rows(which)
        found.transition = self.transition if self.transition.ndim == 2 else self.transition[which]
        return found

    def log_densities(self) -> np.ndarray:
        """(B, T) log p(y[t] | y[… t−1]); −inf where a step is impossible."""
        return weights(self.inputs, self.states[:, :-1])[1]

    def forward_spectrum(self, exponents: int, seed: int | None = 0) -> Spectrum:
        """Exponents of the unnormalised recursion f ← Pᵀ (b ∘ f), started at π.

        The first tangent is the recursion's own vector, measured in the 1-norm: it grows by p(y[t] | past) in step t, so that λ₁ is the
        log-likelihood per step exactly. The others are by QR.
        """
        k = min(exponents, self.size)
        rng = np.random.default_rng(seed)
        block = rng.standard_normal((self.batch, self.size, k))
        block[:, :, 0] = self.states[:, 0]
        Q = np.linalg.qr(block)[0]
        logs = self.log_densities()
        increments = np.full((self.batch, self.steps, k), np.nan)
        for t in range(self.steps):
            _, g, back = self._at(t)
            Q, growth = growths(back @ (g[:, :, None] * Q))
            increments[:, t] = growth + np.where(np.isfinite(logs[:, t]), logs[:, t], 0.0)[:, None]
        increments[:, :, 0] = logs
        increments[~self.mask] = np.nan
        return Spectrum(increments, 0)


def weights(x: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(…, K) g = b / Σ b f with b = exp x, and (…) ln Σ b f; g is 1 where every state with a belief is impossible."""
    top = np.max(np.where(f > 0, x, -np.inf), axis=-1, keepdims=True)
    possible = np.isfinite(top)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        b = np.exp(np.minimum(x - np.where(possible, top, 0.0), 600.0))
        total = (b * f).sum(axis=-1, keepdims=True)
        g = np.where(possible, b / total, 1.0)
        log = np.where(possible, top + np.log(total), -np.inf)[..., 0]
    return g, log
