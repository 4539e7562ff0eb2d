"""Maximum likelihood for a linear-Gaussian system, any of its matrices free, by BFGS on the exact gradient.

Covariances move through a triangular factor, Q = L L', so that they stay positive semi-definite; with S free the two noises have one factor in
common. A stationary start follows A, Q and b
(see `Clock.through_start`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from statewise.fitting.mle import Maximum, maximise
from statewise.inference.smoothing import Gradient, log_prob_gradient
from statewise.inference.system import System, in_basis, square_root
from statewise.inference.varying import Clock
from statewise.sequences.sequences import Sequences

COVARIANCES = ("Q", "R", "P0")


@dataclass(frozen=True)
class Problem:
    """What is estimated: the free letters of a system, from where it stands, whether its start is the stationary law, and its clock."""

    sys: System
    free: tuple[str, ...]
    stationary: bool
    clock: Clock = field(default_factory=Clock)


def fit_mle(problem: Problem, seqs: Sequences, max_iter: int, tol: float) -> tuple[System, Maximum]:
    """The system at the maximum, in the data's units, and how the search went, its log-likelihood in the data's units too."""
    states, columns = _units(problem.sys, seqs)
    scaled = replace(problem, sys=_in_units(problem.sys, 1.0 / states, 1.0 / columns))
    data = seqs.replace(values=seqs.values / columns)

    def objective(point: np.ndarray) -> tuple[float, np.ndarray] | None:
        sys = unpack(scaled, point)
        if sys is None:
            return None
        found = log_prob_gradient(problem.clock.at(sys, data), data)
        if found is None or not np.isfinite(found[0]):
            return None
        value, gradient = found[0], problem.clock.back(sys, data, found[1])
        total = problem.clock.through_start(sys, gradient) if problem.stationary else gradient
        return None if total is None else (value, _gradient(scaled, point, total))

    found = maximise(objective, [pack(scaled)], seqs.rows, max_iter, tol)
    best = unpack(scaled, found.point)
    assert best is not None
    shift = float((~np.isnan(seqs.values)).sum(axis=0) @ np.log(columns))
    found = replace(found, log_prob=found.log_prob - shift, trace=found.trace - shift)
    return _in_units(best, states, columns), found


def pack(problem: Problem) -> np.ndarray:
    """The parameter vector: every free matrix, of a covariance the lower triangle of a factor."""
    return np.concatenate(
        [_lower_part(_factor(part)) if covariance else part.ravel() for part, covariance in _parts(problem)]
    )


def unpack(problem: Problem, point: np.ndarray) -> System | None:
    """The system at a parameter vector; None if it is to be stationary and is not."""
    sys, n, at = problem.sys, problem.sys.n, 0
    new: dict[str, Any] = {}
    for name, size in _layout(problem):
        if name == "noise":
            factor, at = _from_lower(point, at, size)
            cov = factor @ factor.T
            new |= {"Q": cov[:n, :n].copy(), "S": cov[:n, n:].copy(), "R": cov[n:, n:].copy()}
        elif name in COVARIANCES:
            factor, at = _from_lower(point, at, size)
            new[name] = factor @ factor.T
        else:
            shape = getattr(sys, name).shape
            count = int(np.prod(shape))
            new[name], at = point[at : at + count].reshape(shape), at + count
    sys = replace(sys, **new)
    if problem.stationary:
        start = problem.clock.stationary_start(sys)
        if start is None:
            return None
        sys = replace(sys, m0=start[0], P0=start[1])
    return sys


def _layout(problem: Problem) -> list[tuple[str, int]]:
    """Names and sizes of the free blocks; Q, R and S together are the block 'noise'."""
    sys, free = problem.sys, problem.free
    joint = "S" in free
    names = [name for name in free if not (joint and name in ("Q", "R", "S"))]
    return [(name, len(getattr(sys, name))) for name in names] + ([("noise", sys.n + sys.p)] if joint else [])


def _parts(problem: Problem) -> list[tuple[np.ndarray, bool]]:
    sys = problem.sys
    return [
        (sys.noise if name == "noise" else getattr(sys, name), name in (*COVARIANCES, "noise"))
        for name, _ in _layout(problem)
    ]


def _gradient(problem: Problem, point: np.ndarray, g: Gradient) -> np.ndarray:
    parts = vars(g) | {"noise": np.block([[g.Q, 0.5 * g.S], [0.5 * g.S.T, g.R]])}
    pieces, at = [], 0
    for name, size in _layout(problem):
        G = parts[name]
        if name in (*COVARIANCES, "noise"):
            factor, at = _from_lower(point, at, size)
            pieces.append(_lower_part((G + G.T) @ factor))
        else:
            pieces.append(G.ravel())
            at += G.size
    return np.concatenate(pieces)


def _factor(cov: np.ndarray) -> np.ndarray:
    """Lower-triangular L with L L' = cov, for a covariance of any rank."""
    root = square_root(cov)
    lower = np.zeros(cov.shape)
    if root.shape[1]:
        triangle = np.linalg.qr(root.T)[1].T
        lower[:, : triangle.shape[1]] = triangle
    return lower


def _lower_part(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(matrix[np.tril_indices(len(matrix))])


def _from_lower(point: np.ndarray, at: int, size: int) -> tuple[np.ndarray, int]:
    factor, count = np.zeros((size, size)), size * (size + 1) // 2
    factor[np.tril_indices(size)] = point[at : at + count]
    return factor, at + count


def _units(sys: System, seqs: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of the states, by the noise that moves them, and of the columns, by their standard deviations."""
    states = np.sqrt(np.diagonal(sys.Q, axis1=-2, axis2=-1).reshape(-1, sys.n).mean(axis=0) + np.diag(sys.P0))
    columns = np.nanstd(seqs.values, axis=0)
    return np.where(states > 0, states, 1.0), np.where(columns > 0, columns, 1.0)


def _in_units(sys: System, s: np.ndarray, c: np.ndarray) -> System:
    """The system of s x and c y, entry by entry."""
    sys = in_basis(sys, np.diag(1.0 / s), np.diag(s))
    rows = c[:, None]
    return replace(sys, C=rows * sys.C, R=rows * sys.R * c, S=sys.S * c, d=c * sys.d, D=rows * sys.D)
