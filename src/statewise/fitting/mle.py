"""Maximum likelihood by quasi-Newton steps: a function of an objective, ignorant of models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from statewise._core.outcome import Outcome

_INFEASIBLE = 1e3  # per step; far above any log-likelihood per step of standardised data, and finite so that a line search can back away
_SCREENED = 4  # iterations after which starts are compared
_FLAT = 1e-4  # gradient per step and parameter below which a stuck line search stands at an optimum


@dataclass(frozen=True)
class Maximum:
    """The best point found: its log-likelihood, how the search ended, the objective after each iteration, the largest gradient entry."""

    point: np.ndarray
    log_prob: float
    outcome: Outcome
    trace: np.ndarray
    gradient_norm: float
    others: tuple[float, ...] = ()
    curvature: np.ndarray | None = None  # the search's estimate of the inverse Hessian per step


Objective = Callable[[np.ndarray], tuple[float, np.ndarray] | None]


def maximise(
    objective: Objective,
    starts: Sequence[np.ndarray],
    steps: int,
    max_iter: int = 500,
    tol: float = 1e-6,
    covariance: Callable[[np.ndarray], np.ndarray] | None = None,
    kept: int | None = None,
) -> Maximum:
    """The best local maximum reached from the given starts by BFGS.

    Args:
        objective: log-likelihood (nats) and gradient at a parameter vector; None where the parameters are not allowed.
        starts: points to start from.
        steps: steps in the data: the search works on the objective per step, so that `tol` does not depend on the data's length.
        max_iter: iterations of each search.
        tol: largest entry of the gradient per step at which a search has converged.
        covariance: the estimate's approximate covariance near a start; its inverse is the curvature that the search starts with.
        kept: if given, all starts are followed for a few iterations only, and this many of them to the end: the first, and the best of the others.
    """
    if kept is None or len(starts) <= kept:
        found = [
            _search(objective, start, steps, max_iter, tol, _curvature(covariance, start, steps)) for start in starts
        ]
    else:
        first = min(_SCREENED, max_iter)
        tried = [_search(objective, start, steps, first, tol, _curvature(covariance, start, steps)) for start in starts]
        tried[1:] = sorted(tried[1:], key=lambda m: -m.log_prob)
        found = [_go_on(objective, each, steps, max_iter, tol) for each in tried[:kept]]
        found += [each for each in tried[kept:] if each.outcome.ok]
    best = max(found, key=lambda m: m.log_prob)
    return replace(best, others=tuple(m.log_prob for m in found))


def _curvature(
    covariance: Callable[[np.ndarray], np.ndarray] | None, start: np.ndarray, steps: int
) -> np.ndarray | None:
    return None if covariance is None else steps * covariance(start)


def _go_on(objective: Objective, begun: Maximum, steps: int, max_iter: int, tol: float) -> Maximum:
    if begun.outcome is not Outcome.MAX_ITER:
        return begun
    return _continued(objective, begun, steps, max_iter, tol, begun.curvature)


def _continued(
    objective: Objective, begun: Maximum, steps: int, max_iter: int, tol: float, curvature: np.ndarray | None
) -> Maximum:
    left = max_iter - len(begun.trace)
    if left < 1:
        return begun
    found = _search(objective, begun.point, steps, left, tol, curvature)
    return replace(found, trace=np.concatenate([begun.trace, found.trace]))


def with_differences(value: Callable[[np.ndarray], float], step: float = 1e-5) -> Objective:
    """An objective whose gradient is taken by central differences, for the few-parameter models that have no analytic one.

    Where one neighbour is not allowed (its value is −inf) the difference is one-sided, and where both are not it is 0.
    """

    def objective(point: np.ndarray) -> tuple[float, np.ndarray] | None:
        here = value(point)
        if not np.isfinite(here):
            return None
        gradient = np.zeros(point.size)
        for i in range(point.size):
            shift = np.zeros(point.size)
            shift[i] = step
            sides = [(at, side) for at in (1, -1) if np.isfinite(side := value(point + at * shift))]
            if sides:
                (high, up), (low, down) = sides[0], sides[1] if len(sides) == 2 else (0, here)
                gradient[i] = (up - down) / (step * (high - low))
        return here, gradient

    return objective


def _search(
    objective: Objective,
    start: np.ndarray,
    steps: int,
    max_iter: int,
    tol: float,
    curvature: np.ndarray | None = None,
) -> Maximum:
    """BFGS from one start; where a line search fails under a given curvature, which may be what misled it, it goes on without."""
    if not start.size:
        found = objective(start)
        value = -np.inf if found is None else found[0]
        return Maximum(start, value, Outcome.CLOSED_FORM, np.array([value]), 0.0)
    trace: list[float] = []

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        found = objective(point)
        if found is None:
            return _INFEASIBLE, np.zeros(point.size)
        return -found[0] / steps, -found[1] / steps

    def record(intermediate_result: OptimizeResult) -> None:
        trace.append(-steps * float(intermediate_result.fun))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = minimize(
            loss,
            start,
            method="BFGS",
            jac=True,
            callback=record,
            options={"maxiter": max_iter, "gtol": tol, "hess_inv0": curvature},
        )
    gradient = float(np.abs(found.jac).max())
    if not found.fun < _INFEASIBLE:
        return Maximum(start, -np.inf, Outcome.NOT_FINITE, np.array(trace), gradient)
    if found.success or (found.status == 2 and gradient < _FLAT):
        outcome = Outcome.CONVERGED
    else:
        outcome = Outcome.MAX_ITER if found.status == 1 else Outcome.LINE_SEARCH
    value = -steps * float(found.fun)
    inverse = (found.hess_inv + found.hess_inv.T) / 2
    maximum = Maximum(found.x, value, outcome, np.array(trace or [value]), gradient, curvature=inverse)
    misled = outcome is Outcome.LINE_SEARCH and curvature is not None
    return _continued(objective, maximum, steps, max_iter, tol, None) if misled else maximum
