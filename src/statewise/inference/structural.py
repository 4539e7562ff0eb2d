"""The state-space form of structural time-series models (Harvey 1989, ch. 4; Durbin & Koopman 2012, §3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from statewise.inference.smoothing import Gradient
from statewise.inference.system import System, system


def component_names(level: bool, trend: bool, seasonal: int | None) -> list[str]:
    """The disturbances, in the order of their variances: level, trend, seasonal (as far as they are there), irregular."""
    there = [("level", level or trend), ("trend", trend), ("seasonal", seasonal is not None), ("irregular", True)]
    return [name for name, present in there if present]


def structural_system(
    variances: Mapping[str, np.ndarray],
    mean: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray | None,
    *,
    trend: bool,
    seasonal: int | None,
) -> System:
    """Block-diagonal over columns; each block is level (and slope), then seasonal − 1 states, with a diffuse start.

    level[t+1] = level[t] + slope[t] + ξ,  slope[t+1] = slope[t] + ζ,  Σ_{j<s} season[t−j] = ω,  y[t] = level + season + D u + ε.

    Args:
        variances: component -> (p,) variances of its disturbance.
        mean: (p,) a constant, for models without a level.
        weights: (p, u) D.
        start: (n,) mean of the first state; it matters only for `sample`, since the start is diffuse.
    """
    p = len(mean)
    transition, loading, names = _one_column("level" in variances, trend, seasonal)
    n = len(transition)
    A = np.kron(np.eye(p), transition)
    C = np.kron(np.eye(p), loading[None])
    Q = np.diag(np.concatenate([[variances[name][j] if name else 0.0 for name in names] for j in range(p)]))
    R = np.diag(variances["irregular"])
    m0 = np.zeros(n * p) if start is None else start
    zero = np.zeros((n * p, n * p))
    return system(A, C, Q, R, m0, zero, Pinf=np.eye(n * p), d=mean, D=weights)


def variance_gradient(gradient: Gradient, names: list[str], *, trend: bool, seasonal: int | None) -> np.ndarray:
    """Gradient of one column's log-likelihood in its variances, in the order of `names`, from that in Q and R."""
    driven = _one_column("level" in names, trend, seasonal)[2]
    return np.array([gradient.R[0, 0] if n == "irregular" else gradient.Q.diagonal()[driven.index(n)] for n in names])


def _one_column(level: bool, trend: bool, seasonal: int | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Transition, loading and, for each state, the name of the disturbance that drives it ('' for none)."""
    blocks, loading, names = [], [], []
    if level:
        blocks.append(np.array([[1.0, 1.0], [0.0, 1.0]]) if trend else np.eye(1))
        loading += [1.0, 0.0] if trend else [1.0]
        names += ["level", "trend"] if trend else ["level"]
    if seasonal is not None:
        season = np.eye(seasonal - 1, k=-1)
        season[0] = -1.0
        blocks.append(season)
        loading += [1.0] + [0.0] * (seasonal - 2)
        names += ["seasonal"] + [""] * (seasonal - 2)
    size = sum(len(block) for block in blocks)
    transition, at = np.zeros((size, size)), 0
    for block in blocks:
        transition[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    return transition, np.array(loading), names
