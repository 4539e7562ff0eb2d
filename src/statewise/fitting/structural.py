"""Maximum likelihood of structural models, a column at a time, by BFGS on the exact gradient.

The vector of free parameters holds the logarithm of each free variance (of a damped component, of its stationary law), the logit of each
damping and of the place of the cycle's frequency between its bounds, the weights of the inputs, and the mean where there is no level. Data
are to be standardised.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.special import expit, logit

from statewise.fitting.mle import Maximum, Objective, maximise, with_differences
from statewise.inference.filtering import filter_status, is_degenerate
from statewise.inference.smoothing import log_prob_gradient
from statewise.inference.structural import PERIOD, RHO, TREND, Form, structural_gradient, structural_system
from statewise.inference.system import System, with_finite_part
from statewise.sequences.sequences import Sequences

_FLOOR, _CEILING = -30.0, 8.0  # of a log variance, relative to the data's
_STEEPEST = 12.0  # largest logit that is told apart from infinity
_SMALL = -5.0  # log variance below which it is asked whether zero does as well
_CREEPING = 4.0  # logit above which it is asked whether the bound does as well
_WORSE = 1e-3  # nats that a variance of zero may cost, where the likelihood rises towards it
_ROUGH = 1e-4  # gradient per step at which a search ends before variances of zero are tried: on the way to zero it would take many steps more
_LONG = 20  # states from which differences of the likelihood are cheaper than its gradient
_STEP = 1e-4  # of these: a rounding error of 1e-9 makes one of 1e-5 in the gradient, 1e-7 per step of a hundred
_FOLLOWED = 2  # searches that are followed to the end, the best after a few iterations; with a cycle one more, of long states one


@dataclass(frozen=True)
class Problem:
    """What is estimated: the components, which variances are held at zero, bounds of the cycle's period, the number of inputs."""

    form: Form
    fixed: frozenset[str]
    bounds: tuple[float, float]
    width: int

    @property
    def free(self) -> list[str]:
        """Names of the variances that are estimated."""
        return [name for name in self.form.disturbances if name not in self.fixed]

    @property
    def cuts(self) -> list[int]:
        """Where log variances, transition, weights and mean end."""
        sizes = [len(self.free), len(self.form.dynamics), self.width, not self.form.level]
        return list(itertools.accumulate(sizes))


@dataclass(frozen=True)
class Column:
    """Parameters of a column: variances of its disturbances, parameters of its transition, weights (u,) of the inputs, mean."""

    variances: dict[str, float]
    dynamics: dict[str, float]
    weights: np.ndarray
    mean: float

    def system(self, form: Form) -> System:
        """The state-space form."""
        variances = {name: np.array([value]) for name, value in self.variances.items()}
        dynamics = {name: np.array([value]) for name, value in self.dynamics.items()}
        return structural_system(form, variances, dynamics, np.array([self.mean]), self.weights[None])


def unpack(problem: Problem, point: np.ndarray) -> Column:
    """The parameters at a vector of free ones."""
    logs, steep, weights, mean = np.split(point, problem.cuts[:3])
    form = problem.form
    dynamics = {}
    for name, x in zip(form.dynamics, steep, strict=True):
        share = float(expit(np.clip(x, -_STEEPEST, _STEEPEST)))
        if name == PERIOD:
            low, high = problem.bounds
            share = 1.0 / (1.0 / high + share * (1.0 / low - 1.0 / high))
        dynamics[name] = share
    values = np.where(logs <= _FLOOR, 0.0, np.exp(np.clip(logs, _FLOOR, _CEILING)))
    variances = dict.fromkeys(form.disturbances, 0.0) | dict(zip(problem.free, values.tolist(), strict=True))
    for name, by in form.damping.items():
        variances[name] *= 1.0 - dynamics[by] ** 2
    return Column(variances, dynamics, weights, float(mean[0]) if mean.size else 0.0)


def pack(problem: Problem, column: Column) -> np.ndarray:
    """The inverse of `unpack`; a variance of zero is far below the floor."""
    form = problem.form
    variances = dict(column.variances)
    for name, by in form.damping.items():
        variances[name] /= 1.0 - column.dynamics[by] ** 2
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log([variances[name] for name in problem.free]), _FLOOR - 1.0)
    steep = []
    for name in form.dynamics:
        share = column.dynamics[name]
        if name == PERIOD:
            low, high = problem.bounds
            share = (1.0 / share - 1.0 / high) / (1.0 / low - 1.0 / high)
        steep.append(float(np.clip(logit(np.clip(share, 0.0, 1.0)), -_STEEPEST, _STEEPEST)))
    return np.concatenate([logs, steep, column.weights, np.full(int(not form.level), column.mean)])


def value_at(problem: Problem, seqs: Sequences, point: np.ndarray) -> float:
    """Log-likelihood at a point; −inf where an observation has no variance."""
    past, status = filter_status(unpack(problem, point).system(problem.form), seqs, store=False)
    return -np.inf if is_degenerate(status) else float(past.log_prob.sum())


def objective(problem: Problem, seqs: Sequences) -> Objective:
    """point -> (log-likelihood, gradient), or None where an observation has no variance."""
    form, count = problem.form, len(problem.free)

    differences = with_differences(partial(value_at, problem, seqs), _STEP)
    if form.states >= _LONG and 4 * problem.cuts[-1] < form.states:
        return differences

    def with_gradient(point: np.ndarray) -> tuple[float, np.ndarray] | None:
        column = unpack(problem, point)
        found = log_prob_gradient(with_finite_part(column.system(form)), seqs)
        if found is None:
            return differences(point)
        total, g = found
        by_variance, by_dynamics = structural_gradient(form, g, column.variances, column.dynamics)
        for name, by in form.damping.items():  # with the stationary variance held
            by_dynamics[by] -= (
                by_variance[name]
                * column.variances[name]
                * 2.0
                * column.dynamics[by]
                / (1.0 - column.dynamics[by] ** 2)
            )
        logs = point[:count]
        alive = (logs > _FLOOR) & (logs < _CEILING)
        noise = [by_variance[name] * column.variances[name] for name in problem.free]
        turned = [by_dynamics[name] * _slope(problem, name, column.dynamics[name]) for name in form.dynamics]
        inside = np.abs(point[count : count + len(turned)]) < _STEEPEST
        pieces = [np.where(alive, noise, 0.0), np.where(inside, turned, 0.0), g.D[0], g.d[: not form.level]]
        return total, np.concatenate(pieces)

    return with_gradient


def _slope(problem: Problem, name: str, value: float) -> float:
    """Derivative of a parameter of the transition in its logit."""
    if name != PERIOD:
        return value * (1.0 - value)
    low, high = problem.bounds
    reach = 1.0 / low - 1.0 / high
    share = min(max((1.0 / value - 1.0 / high) / reach, 0.0), 1.0)
    return -(value**2) * reach * share * (1.0 - share)


def search(problem: Problem, seqs: Sequences, max_iter: int, tol: float) -> tuple[Problem, Maximum]:
    """The best maximum from several starts; variances that are zero there are fixed in the problem returned."""
    target, rough = objective(problem, seqs), max(tol, _ROUGH)
    starts = [pack(problem, column) for column in _starts(problem, _log_moves(seqs, problem.form))]
    kept = _FOLLOWED + bool(problem.form.cycle)
    if problem.form.states >= _LONG:
        starts, kept = sorted(starts, key=lambda start: value_at(problem, seqs, start))[-2:], 1
    found = maximise(target, starts, seqs.rows, max_iter, rough, kept=kept)
    problem, found = _to_boundary(problem, seqs, found, max_iter, rough)
    found = _climb_on(objective(problem, seqs), seqs, found, found.point, max_iter, tol)
    return _to_boundary(problem, seqs, found, max_iter, tol)


def _to_boundary(
    problem: Problem, seqs: Sequences, found: Maximum, max_iter: int, tol: float
) -> tuple[Problem, Maximum]:
    problem, found = _without_idle(problem, seqs, found, max_iter, tol)
    return problem, _to_bounds(problem, seqs, found, max_iter, tol)


def _without_idle(
    problem: Problem, seqs: Sequences, found: Maximum, max_iter: int, tol: float
) -> tuple[Problem, Maximum]:
    """Set the variances to zero that the likelihood is no worse without, the smallest first, and climb on with the others."""
    while len(problem.free) > 1 and np.isfinite(found.log_prob):
        logs = found.point[: len(problem.free)]
        least = int(np.argmin(logs))
        if logs[least] > _SMALL:
            break
        less = replace(problem, fixed=problem.fixed | {problem.free[least]})
        point = np.delete(found.point, least)
        here = objective(less, seqs)(point)
        if here is None or here[0] < found.log_prob - _WORSE:
            break
        fewer = None if found.curvature is None else np.delete(np.delete(found.curvature, least, 0), least, 1)
        again = _climb_on(objective(less, seqs), seqs, replace(found, curvature=fewer), point, max_iter, tol)
        if again.log_prob < found.log_prob - 0.1 * _WORSE:
            break
        problem, found = less, again
    return problem, found


def _to_bounds(problem: Problem, seqs: Sequences, found: Maximum, max_iter: int, tol: float) -> Maximum:
    """Move dampings and a period that creep towards a bound all the way, where the likelihood is no worse there, and climb on with the others."""
    target, first = objective(problem, seqs), len(problem.free)
    for i in range(first, first + len(problem.form.dynamics)):
        if abs(found.point[i]) < _CREEPING or not np.isfinite(found.log_prob):
            continue
        point = found.point.copy()
        point[i] = np.copysign(_STEEPEST, point[i])
        here = target(point)
        if here is None or here[0] < found.log_prob - _WORSE:
            continue
        again = _climb_on(target, seqs, replace(found, curvature=None), point, max_iter, tol)
        if again.log_prob >= found.log_prob - 0.1 * _WORSE:
            found = again
    return found


def _climb_on(
    target: Objective, seqs: Sequences, begun: Maximum, point: np.ndarray, max_iter: int, tol: float
) -> Maximum:
    """A search from a point with the curvature that an earlier one has learnt, its trace after that one's."""
    known = begun.curvature
    covariance = None if known is None else lambda _: known / seqs.rows
    found = maximise(target, [point], seqs.rows, max_iter, tol, covariance)
    return replace(found, trace=np.concatenate([begun.trace, found.trace]), others=begun.others)


def slopes_at_zero(problem: Problem, seqs: Sequences, point: np.ndarray) -> dict[str, float]:
    """Derivative of the log-likelihood in each variance that is held at zero; at a maximum on the boundary none is above zero."""
    column = unpack(problem, point)
    found = log_prob_gradient(with_finite_part(column.system(problem.form)), seqs)
    if found is None:
        return {}
    by_variance, _ = structural_gradient(problem.form, found[1], column.variances, column.dynamics)
    return {name: by_variance[name] for name in problem.form.disturbances if name in problem.fixed}


def at_bounds(problem: Problem, point: np.ndarray) -> list[str]:
    """Names of the parameters of the transition that are at a bound."""
    first = len(problem.free)
    steep = point[first : first + len(problem.form.dynamics)]
    return [name for name, x in zip(problem.form.dynamics, steep, strict=True) if abs(x) >= _STEEPEST]


def without_effect(problem: Problem) -> list[str]:
    """Names of the parameters of the transition of damped components that a variance of zero takes away."""
    gone = [name for name in problem.form.damping if name in problem.fixed]
    return [name for name in problem.form.dynamics if name.split("_")[0] in gone]


def _log_moves(seqs: Sequences, form: Form) -> float:
    """The logarithm of half the variance of the data's changes from step to step, a level and a season apart; 0 without either.

    A series that wanders far has noise that is small beside its own variance: searches that start from shares of the latter end elsewhere.
    """
    changes = [np.asarray(y[:, 0]) for y in seqs.arrays()]
    for lag in [1] * form.level + [form.seasonal or 0] * bool(form.seasonal):
        changes = [y[lag:] - y[:-lag] for y in changes]
    known = np.concatenate(changes)
    known = known[~np.isnan(known)]
    if not (form.level or form.seasonal) or len(known) < 3 or not known.std() > 0:
        return 0.0
    return float(np.clip(np.log(known.var() / 2.0), _FLOOR / 2, 0.0))


def _starts(problem: Problem, moves: float) -> list[Column]:
    """Variances relative to that of the changes: noise-dominated, level-dominated, even, a smooth trend; with a cycle, of three periods each.

    A cycle's is between that of the changes and the data's own.

    Args:
        problem: what is estimated.
        moves: logarithm of the changes' variance (see `_log_moves`), that the data's own is 1.
    """
    form = problem.form
    guesses = [
        {"level": -3.0, "trend": -8.0, "seasonal": -6.0, "cycle": -4.0, "irregular": -1.0},
        {"level": -1.0, "trend": -6.0, "seasonal": -4.0, "cycle": -1.0, "irregular": -4.0},
        {"level": -4.0, "trend": -4.0, "seasonal": -4.0, "cycle": -2.0, "irregular": -4.0},
    ]
    if form.trend:
        guesses.append({"level": -12.0, "trend": -6.0, "seasonal": -6.0, "cycle": -3.0, "irregular": -0.5})
    low, high = problem.bounds
    periods = np.exp(np.log(low) + np.log(high / low) * np.array([0.25, 0.5, 0.75])) if form.cycle else [1.0]
    columns = []
    for guess, period in itertools.product(guesses, periods):
        dynamics = {name: {TREND: 0.9, RHO: 0.9, PERIOD: float(period)}[name] for name in form.dynamics}
        logs = {name: guess[name] + moves * (0.5 if name == "cycle" else 1.0) for name in form.disturbances}
        variances = {name: 0.0 if name in problem.fixed else float(np.exp(logs[name])) for name in form.disturbances}
        for name, by in form.damping.items():
            variances[name] *= 1.0 - dynamics[by] ** 2
        columns.append(Column(variances, dynamics, np.zeros(problem.width), 0.0))
    return columns
