"""States that a held input leaves where they are: the search, for the analyses that linearise around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise._core.seed import generator
from statewise.dissection.systems import System

EXACT = 1e-18  # of q, relative to 1 + ‖s‖²: rounding
_ROUNDS = 150
_SAME, _SAME_SLOW = 1e-4, 5e-2  # relative distance
MOST = 64  # points kept


@dataclass(frozen=True)
class Equilibria:
    """Points of one system under one held input, the exact ones first and then by q.

    Attributes:
        states: (P, n).
        q: (P,) ½‖F(s, x) − s‖².
        exact: (P,) whether q is no more than rounding.
        arrived: (P,) starts that ended there.
        jacobians: (P, n, n).
        x: (d,) the input that was held.
        starts: how many there were.
    """

    states: np.ndarray
    q: np.ndarray
    exact: np.ndarray
    arrived: np.ndarray
    jacobians: np.ndarray
    x: np.ndarray
    starts: int


def equilibria(system: System, x: np.ndarray | None, starts: int | None, slow: float, seed: int | None) -> Equilibria:
    """Minima of q from many states of the trajectories; `x` (d,) is held, by default the mean input."""
    system = system.at(np.float64)
    held = system.inputs[system.mask].mean(axis=0) if x is None else np.asarray(x, dtype=float)
    count = (64 if system.size <= 128 else 12) if starts is None else starts
    visited = system.states[:, 1:][system.mask]
    begin = visited[generator(seed).choice(len(visited), count, replace=len(visited) < count)]
    scale = float(np.sqrt(np.mean(visited**2))) * np.sqrt(system.size)
    begin = begin + 0.05 * scale / np.sqrt(system.size) * generator(seed).standard_normal(begin.shape)
    found, q = minimise(system, held, np.concatenate([begin, np.zeros((1, system.size))]))
    exact = q <= EXACT * (1 + np.sum(found**2, axis=1))
    kept = np.isfinite(q) & (exact | (q <= slow))
    found, q, exact = found[kept], q[kept], exact[kept]
    order = np.lexsort((q, ~exact))
    chosen, arrived = _distinct(found[order], exact[order], scale)
    points = found[order][chosen]
    inputs = np.tile(held, (len(points), 1))
    J = system.jacobian_at(inputs, points) if len(points) else np.zeros((0, system.size, system.size))
    return Equilibria(points, q[order][chosen], exact[order][chosen], arrived, J, held, count + 1)


def minimise(system: System, x: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, n) and (M,): from each state downhill in q = ½‖F(s, x) − s‖², by Levenberg–Marquardt with a damping for each.

    ::

        (AᵀA + μI) δ = −Aᵀ r,    r = F(s, x) − s,  A = ∂F/∂s − I
    """
    states, identity = states.copy(), np.eye(states.shape[1])
    inputs = np.tile(x, (len(states), 1))
    residual = system.step(inputs, states) - states
    q, damping = 0.5 * np.sum(residual**2, axis=1), np.full(len(states), 1e-3)
    going = np.isfinite(q) & (q > 0)
    for _ in range(_ROUNDS):
        at = np.flatnonzero(going)
        if not at.size:
            break
        A = system.jacobian_at(inputs[at], states[at]) - identity
        turned = A.transpose(0, 2, 1)
        normal = turned @ A + damping[at, None, None] * identity
        step = -np.linalg.solve(normal, turned @ residual[at, :, None])[..., 0]
        trial = states[at] + step
        left = system.step(inputs[at], trial) - trial
        new = 0.5 * np.sum(left**2, axis=1)
        better = new < q[at]
        little = better & (new > (1 - 1e-10) * q[at])
        won = at[better]
        states[won], residual[won], q[won] = trial[better], left[better], new[better]
        damping[at] = np.where(better, np.maximum(damping[at] * 0.1, 1e-15), damping[at] * 10)
        stopped = little | (damping[at] > 1e10) | (q[at] == 0)
        going[at[stopped]] = False
    return states, q


def _distinct(states: np.ndarray, exact: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the points that are not the same as an earlier one, and how many were the same as each."""
    chosen: list[int] = []
    arrived: list[int] = []
    for i, state in enumerate(states):
        distance = np.linalg.norm(states[chosen] - state, axis=1) if chosen else np.zeros(0)
        size = max(float(np.linalg.norm(state)), scale * (1e-3 if exact[i] else 1.0))
        near = np.flatnonzero(distance <= (_SAME if exact[i] else _SAME_SLOW) * size + 1e-12)
        if near.size:
            arrived[int(near[0])] += 1
        elif len(chosen) < MOST:
            chosen.append(i)
            arrived.append(1)
    return np.array(chosen, dtype=int), np.array(arrived, dtype=int)
