"""Systems that change with time: matrices with a leading time axis, and continuous time seen at irregular intervals.

Continuous time: dx = (F x + B u + b) dt + dW with Cov(dW) = Q dt, seen as y = C x + D u + d + v at the times of the rows. Over a gap Δ, with
the input held at its value at the beginning, that is the discrete system with
    A = exp(F Δ),  b(Δ) = J b,  B(Δ) = J B,  J = ∫₀^Δ exp(F s) ds,  Q(Δ) = ∫₀^Δ exp(F s) Q exp(F' s) ds
(Särkkä & Solin, *Applied Stochastic Differential Equations*, 2019, §6.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg

from statewise._core.errors import InputError
from statewise.inference.smoothing import Gradient, with_stationary_start
from statewise.inference.system import AXES, System, stationary_start
from statewise.sequences.sequences import Sequences

_TERMS = 22  # of the Taylor series
_SMALL = 1.0  # ‖F‖ Δ up to which they are exact to rounding
_DIGITS = 12  # gaps that agree to these are one gap


def in_time(sys: System, letter: str) -> bool:
    """Whether a part of the system has a leading time axis."""
    part: np.ndarray = getattr(sys, letter)
    return part.ndim > AXES[letter]


def stacked(sys: System, which: np.ndarray, count: int) -> System:
    """Every part with a leading axis of `count`, and `which` of them belongs to each row."""
    parts: dict[str, Any] = {}
    for letter, axes in AXES.items():
        part = getattr(sys, letter)
        shape = (count, *part.shape[part.ndim - axes :])
        parts[letter] = np.ascontiguousarray(np.broadcast_to(part, shape))
    return replace(sys, which=np.ascontiguousarray(which), **parts)


def by_step(sys: System, seqs: Sequences) -> System:
    """The system whose parts with a time axis (T, …) hold for steps 1 … T of each sequence.

    Raises:
        InputError: a sequence is longer than T.
    """
    count = next(len(getattr(sys, letter)) for letter in AXES if in_time(sys, letter))
    longest = int(np.argmax(seqs.lengths))
    if seqs.lengths[longest] > count:
        raise InputError(
            f"sequence {seqs.ids[longest]!r} has {seqs.lengths[longest]} steps (those of a forecast included), and the matrices of the model are "
            f"given for {count}; pass matrices for as many steps"
        )
    which = np.concatenate([np.arange(length) for length in seqs.lengths])
    return stacked(sys, which, count)


def gaps_of(seqs: Sequences, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """The distinct gaps (G,) and for each row which of them follows it; a sequence's last row repeats the gap before it, or has 1."""
    gaps = np.ones(seqs.rows)
    if seqs.times is not None:
        times = seqs.times
        if np.issubdtype(times.dtype, np.datetime64):
            times = (times - times.min()) / np.timedelta64(1, unit)  # type: ignore[call-overload]  # the unit is one of a few letters
        gaps[:-1] = np.diff(times.astype(np.float64))
        last = seqs.offsets[1:] - 1
        gaps[last] = np.where(seqs.lengths > 1, gaps[last - 1], 1.0)
    scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(gaps)))
    _, first, which = np.unique(np.round(gaps * scale) / scale, return_index=True, return_inverse=True)
    return gaps[first], which


def discretised(sys: System, gaps: np.ndarray) -> dict[str, Any]:
    """A, Q (G, n, n), b (G, n) and B (G, n, u) of the continuous system F = sys.A, Q = sys.Q, b, B over each of the gaps (G,)."""
    A, J, Q = flow(np, sys.A, sys.Q, gaps)
    return {"A": A, "Q": Q, "b": J @ sys.b, "B": J @ sys.B}


def flow(xp: Any, F: Any, Q: Any, gaps: np.ndarray) -> tuple[Any, Any, Any]:
    """exp(F Δ), J(Δ) and Q(Δ), each (G, n, n), by Taylor series over Δ/2ᵏ and k doublings. `xp` is NumPy or torch, and F and Q are its arrays.

    With h = Δ/2ᵏ: A = Σ hⁱ/i! Fⁱ, J = Σ hⁱ⁺¹/(i+1)! Fⁱ, Q(h) = Σ hⁱ⁺¹/(i+1)! Lⁱ(Q), L(X) = F X + X F'; and A(2h) = A A, J(2h) = J + A J,
    Q(2h) = Q + A Q A'.
    """
    n, count = F.shape[0], len(gaps)
    size = np.linalg.norm(F.tolist(), 1)
    doublings = np.maximum(0, np.ceil(np.log2(np.maximum(size * gaps / _SMALL, 1e-300)))).astype(int)
    h = gaps / 2.0**doublings
    powers, spreads = [xp.eye(n, dtype=F.dtype)], [Q]
    for _ in range(_TERMS):
        powers.append(F @ powers[-1])
        spreads.append(F @ spreads[-1] + spreads[-1] @ F.T)
    factorials = np.array([math.factorial(i) for i in range(_TERMS + 2)], dtype=float)
    weights = h[:, None] ** np.arange(_TERMS + 2) / factorials
    head, tail = xp.asarray(weights[:, :-1]), xp.asarray(weights[:, 1:])
    stack, noise = xp.stack(powers).reshape(_TERMS + 1, n * n), xp.stack(spreads).reshape(_TERMS + 1, n * n)
    A, J, Qs = ((w @ terms).reshape(count, n, n) for w, terms in ((head, stack), (tail, stack), (tail, noise)))
    for step in range(int(doublings.max(initial=0))):
        more = xp.asarray((doublings > step).astype(float))[:, None, None]
        Qs = Qs + more * (A @ Qs @ A.swapaxes(1, 2))
        J = J + more * (A @ J)
        A = A + more * (A @ A - A)
    return A, J, 0.5 * (Qs + Qs.swapaxes(1, 2))


def sampled(sys: System, seqs: Sequences, unit: str) -> System:
    """The discrete system of a continuous one at the times of the sequences' rows."""
    gaps, which = gaps_of(seqs, unit)
    return stacked(replace(sys, **discretised(sys, gaps)), which, len(gaps))


def continuous_stationary_start(F: np.ndarray, Q: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean −F⁻¹ b and covariance P of F P + P F' + Q = 0; None where F has an eigenvalue whose real part is not negative."""
    if len(F) and np.linalg.eigvals(F).real.max() >= 0.0:
        return None
    P = scipy.linalg.solve_continuous_lyapunov(F, -Q)
    return -np.linalg.solve(F, b), 0.5 * (P + P.T)


class Clock:
    """How a system that is given once acts on the rows of sequences, and how gradients come back: here, the same system in every row."""

    def at(self, sys: System, seqs: Sequences) -> System:
        """The system of the rows of `seqs`."""
        return sys

    def back(self, sys: System, seqs: Sequences, g: Gradient) -> Gradient:
        """The gradient in the parts of `sys`, from that in those of ``at(sys, seqs)``."""
        return g

    def stationary_start(self, sys: System) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and covariance of the stationary law; None where there is none."""
        return stationary_start(sys.A, sys.Q, sys.b)

    def through_start(self, sys: System, g: Gradient) -> Gradient | None:
        """The gradient where the start is the stationary law and moves with the other parts."""
        return with_stationary_start(sys, g)


class Steps(Clock):
    """Parts with a leading time axis: step t of every sequence has the t-th."""

    def at(self, sys: System, seqs: Sequences) -> System:
        return by_step(sys, seqs)

    def back(self, sys: System, seqs: Sequences, g: Gradient) -> Gradient:
        return _summed(sys, g)

    def stationary_start(self, sys: System) -> tuple[np.ndarray, np.ndarray] | None:
        return None if any(in_time(sys, letter) for letter in "AQb") else super().stationary_start(sys)


@dataclass(frozen=True)
class Continuous(Clock):
    """The continuous system, seen at the times of the rows; dates count in `unit`s, a letter of NumPy's."""

    unit: str

    def at(self, sys: System, seqs: Sequences) -> System:
        return sampled(sys, seqs, self.unit)

    def back(self, sys: System, seqs: Sequences, g: Gradient) -> Gradient:
        import torch

        gaps, _ = gaps_of(seqs, self.unit)
        F, Q = (torch.tensor(part, requires_grad=True) for part in (sys.A, sys.Q))
        A, J, Qs = flow(torch, F, Q, gaps)
        in_J = g.b[:, :, None] * sys.b + g.B @ sys.B.T
        torch.autograd.backward(
            (A, J, Qs), tuple(torch.tensor(each) for each in (g.A, in_J, 0.5 * (g.Q + g.Q.swapaxes(1, 2))))
        )
        turned = J.detach().numpy().swapaxes(1, 2)
        b, B = (turned @ g.b[:, :, None]).sum(axis=0)[:, 0], (turned @ g.B).sum(axis=0)
        assert F.grad is not None and Q.grad is not None
        return replace(
            _summed(sys, replace(g, A=sys.A, Q=sys.Q, b=sys.b, B=sys.B)), A=F.grad.numpy(), Q=Q.grad.numpy(), b=b, B=B
        )

    def stationary_start(self, sys: System) -> tuple[np.ndarray, np.ndarray] | None:
        return continuous_stationary_start(sys.A, sys.Q, sys.b)

    def through_start(self, sys: System, g: Gradient) -> Gradient | None:
        """From F P0 + P0 F' + Q = 0 and m0 = −F⁻¹ b.

        With F' X + X F + ∂/∂P0 = 0 and λ = −F'⁻¹ ∂/∂m0, ∂/∂Q gains X, ∂/∂b gains λ and ∂/∂F gains 2 X P0 + λ m0'.
        """
        adjoint = continuous_stationary_start(sys.A.T, 0.5 * (g.P0 + g.P0.T), g.m0)
        if adjoint is None:
            return None
        back, X = adjoint
        return replace(g, A=g.A + 2.0 * X @ sys.P0 + np.outer(back, sys.m0), Q=g.Q + X, b=g.b + back)


def _summed(sys: System, g: Gradient) -> Gradient:
    """The gradient in the parts of `sys` that have no time axis is the sum over their copies."""
    return replace(
        g,
        **{
            letter: getattr(g, letter).sum(axis=0)
            for letter in AXES
            if getattr(g, letter).ndim > getattr(sys, letter).ndim
        },
    )
