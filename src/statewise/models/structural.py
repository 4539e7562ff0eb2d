"""Structural time-series models: level, trend, season, cycle and noise, each with its own variance."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.fitting import structural as fitting
from statewise.fitting.structural import Problem
from statewise.inference.filtering import run_filter
from statewise.inference.smoothing import smooth
from statewise.inference.structural import PERIOD, RHO, TREND, Form, component_moments, structural_system
from statewise.inference.system import System
from statewise.models.base import Trainable
from statewise.models.by_column import ColumnFit, joint_result, one_column
from statewise.models.linear_gaussian import LinearGaussian
from statewise.models.standard_errors import HasStandardErrors, Part, estimates_of
from statewise.results.components import Components
from statewise.results.estimates import Estimates
from statewise.results.fit import FitResult
from statewise.sequences.scaling import refuse_tiny, standardise, standardise_inputs
from statewise.sequences.sequences import Sequences

_COMPONENTS = ("level", "trend", "seasonal", "cycle", "irregular")
_VARIANCE = "variance:"


class _Fitted(ColumnFit[Problem]):
    """The maximum of one column, and its parameters in the data's units."""

    def in_units(self, point: np.ndarray) -> fitting.Column:
        """The parameters at a point, in the data's units."""
        column = fitting.unpack(self.problem, point)
        scale = float(self.scaling.scale[0])
        weights = scale * column.weights / self.inputs.scale
        mean = 0.0
        if not self.problem.form.level:
            mean = float(self.scaling.mean[0]) + scale * column.mean - float(weights @ self.inputs.mean)
        return fitting.Column({k: scale**2 * v for k, v in column.variances.items()}, column.dynamics, weights, mean)


class Structural(HasStandardErrors, LinearGaussian, Trainable):
    """y[t] = level[t] + season[t] + cycle[t] + D u[t] + ε[t], where each part moves as fast as its variance says.

    level[t+1] = level[t] + slope[t] + ξ[t],  slope[t+1] = φ slope[t] + ζ[t],  season[t+1] = −Σ_{j=0}^{s−2} season[t−j] + ω[t],
    (cycle, cycle*)[t+1] = ρ [[cos λ, sin λ], [−sin λ, cos λ]] (cycle, cycle*)[t] + (κ, κ*)[t],  λ = 2π / period.
    Every column has its own components and variances; columns are independent. Level, undamped slope, season and undamped cycle start exactly
    diffuse; a damped slope or cycle in its stationary law. `sample` starts where the first training sequence ended.

    Args:
        level: a local level.
        trend: True for a local linear trend, φ = 1; "damped" to estimate φ between 0 and 1. Both include a level.
        seasonal: steps in a season, from 2; True takes the sequences' own `season`; None or False for no season.
        seasonal_form: "dummy", as above, or "trigonometric": a sum of cycles of the periods s, s/2, …, all moved by one variance.
        harmonics: how many of these, from 1 to s/2, which is the default; fewer make a smooth season.
        cycle: a stochastic cycle, or bounds (low, high) of its period in steps, low > 2. True takes 1.5 seasons, or 3 steps without a season, to
            half of the longest sequence.
        damped_cycle: whether ρ is estimated between 0 and 1; it is 1 if not.
        fixed: names of components whose variance is held at zero, so that they do not change over time: fixed=("trend",) is a constant slope,
            fixed=("level",) with a trend a smooth one, fixed=("seasonal",) a season that repeats exactly.

    Attributes after `fit`: variances, a dict component -> (p,); trend_damping, cycle_damping, cycle_period (p,) where they are estimated;
    input_weights (p, u). `components` gives each part with its variance.

    Source: Harvey, *Forecasting, Structural Time Series Models and the Kalman Filter* (1989), ch. 2 and 4.

    Example:
        >>> model = Structural(level=True, trend=True, seasonal=12).fit(sw.datasets.load("airline"))
        >>> sorted(model.variances)
        ['irregular', 'level', 'seasonal', 'trend']
    """

    kind = "structural"
    options = {
        "level": checks.Flag(),
        "trend": checks.FlagOr(checks.Choice(("damped",)), "'damped'"),
        "seasonal": checks.Period(),
        "seasonal_form": checks.Choice(("dummy", "trigonometric")),
        "harmonics": checks.Optional(checks.Integer(1, 5_000)),
        "cycle": checks.FlagOr(
            checks.Tuple(checks.Real(2.0, open_low=True), 2), "two bounds of its period, such as (20, 60)"
        ),
        "damped_cycle": checks.Flag(),
        "fixed": checks.Tuple(checks.Choice(_COMPONENTS)),
    }
    _unlisted = frozenset({"start", "seasonal"})

    def __init__(
        self,
        level: bool = True,
        trend: bool | str = False,
        seasonal: int | bool | None = None,
        seasonal_form: str = "dummy",
        harmonics: int | None = None,
        cycle: bool | tuple[float, float] = False,
        damped_cycle: bool = True,
        fixed: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            level=level, trend=trend, seasonal=seasonal, seasonal_form=seasonal_form, harmonics=harmonics, cycle=cycle,
            damped_cycle=damped_cycle, fixed=fixed,
        )  # fmt: skip
        self._training: tuple[_Fitted, ...] = ()
        own = self._options
        if not (level or trend or seasonal or cycle):
            raise InputError("`level`, `trend`, `seasonal` and `cycle` are all off; switch on at least one component")
        if harmonics is not None and (seasonal_form == "dummy" or not seasonal):
            raise InputError(
                "`harmonics` is of a trigonometric season; pass seasonal and seasonal_form='trigonometric' too"
            )
        if isinstance(own["cycle"], tuple) and not own["cycle"][0] < own["cycle"][1]:
            raise InputError(f"`cycle` is {own['cycle']}; pass the lower bound of the period first")
        there = self._form(own["seasonal"] if own["seasonal"] is not True else 2).disturbances
        absent = [name for name in own["fixed"] if name not in there]
        if absent:
            raise InputError(f"`fixed` names {absent[0]!r}, which the model does not have; it has {', '.join(there)}")
        if set(own["fixed"]) == set(there):
            raise InputError("`fixed` names every component, so that there is no noise to estimate; leave one out")

    @property
    def label(self) -> str:
        own = self._options
        trend = {True: ["trend"], False: []}.get(own["trend"], ["damped trend"])
        words = ["level"] * own["level"] + trend
        if own["seasonal"]:
            words.append("season" if own["seasonal"] is True else f"season {own['seasonal']}")
            if own["seasonal_form"] == "trigonometric":
                words[-1] += " trigonometric" if own["harmonics"] is None else f" of {own['harmonics']} harmonics"
        if own["cycle"]:
            bounds = "" if own["cycle"] is True else " of {:g} to {:g}".format(*own["cycle"])
            words.append(("cycle" if own["damped_cycle"] else "undamped cycle") + bounds)
        return ", ".join(words) + (f", fixed {' and '.join(own['fixed'])}" if own["fixed"] else "")

    def fit(self, data: Any, max_iter: int = 300, tol: float = 1e-6) -> Self:
        """Maximum likelihood of the variances, damping, period and D, each column by itself, in place.

        A variance is set to zero where the likelihood is no lower without it, and `fit_result.notes` says so.

        Args:
            data: sequences; missing entries are allowed.
            max_iter: quasi-Newton iterations of each search, from 1.
            tol: largest gradient entry per step of the standardised data at convergence.

        Raises:
            InputError: too few observations, a column without variation, or `seasonal=True` and the sequences have no known season.
        """
        begun = time.perf_counter()
        max_iter = checks.Integer(1).check("max_iter", max_iter)
        tol = checks.Real(0.0, 1.0, open_low=True).check("tol", tol)
        self._schema = None
        seqs = self._receive(data)
        refuse_tiny(seqs)
        season = self._season(seqs)
        form = self._form(season)
        width = 0 if seqs.inputs is None else seqs.inputs.shape[1]
        problem = Problem(form, frozenset(self._options["fixed"]), self._period_bounds(seqs, season), width)
        fitted = tuple(_fit_column(one_column(seqs, j), problem, max_iter, tol) for j in range(seqs.dim))
        found = [each.in_units(each.maximum.point) for each in fitted]
        parameters = {_VARIANCE + name: np.array([f.variances[name] for f in found]) for name in form.disturbances}
        parameters |= {name: np.array([f.dynamics[name] for f in found]) for name in form.dynamics}
        parameters["input_weights"] = np.stack([f.weights for f in found])
        parameters["mean"] = np.array([f.mean for f in found])
        parameters["seasonal"] = np.array([season or 0])
        self._learn_schema(seqs)
        self._set_parameters(parameters)
        last = run_filter(self.system, seqs[:1], store=False)
        self._set_parameters(parameters | {"start": last.mean_next[0] * self.system.Pinf.diagonal()})
        self._training = fitted
        self.fit_result = self._result(seqs, fitted, begun)
        return self

    def components(self, data: Any) -> Components:
        """Level, slope, season, cycle, regression and irregular of each column, with variances, given the whole of each sequence.

        The irregular is y less the others; where y is missing its mean is 0, and its variance that of the noise.

        Example:
            >>> model = sw.Structural(trend=True, seasonal=12).fit(sw.datasets.load("airline"))
            >>> model.components(sw.datasets.load("airline")).names
            ('level', 'trend', 'seasonal', 'irregular')
        """
        seqs = self._receive(data)
        sys, form = self.system, self._form(self._learnt_season)
        found = component_moments(form, sys.p, *smooth(sys, seqs))
        signal, spread = found.pop("signal")
        offset = np.broadcast_to(sys.d, seqs.values.shape)
        if seqs.inputs is not None or not form.level:
            offset = offset + (0.0 if seqs.inputs is None else seqs.inputs @ sys.D.T)
            found["regression"] = (offset, np.zeros(offset.shape))
        gone = np.isnan(seqs.values)
        noise = np.broadcast_to(sys.R.diagonal(), gone.shape)
        found["irregular"] = (np.where(gone, 0.0, seqs.values - signal - offset), np.where(gone, noise, spread))
        mean, variance = (np.stack([pair[i] for pair in found.values()], axis=-1) for i in (0, 1))
        return Components(tuple(found), mean, variance, seqs.columns, seqs.lengths, seqs.ids, seqs.times)

    def _form(self, season: int | None) -> Form:
        own = self._options
        trend = "damped" if own["trend"] == "damped" else "free" if own["trend"] else ""
        cycle = ("damped" if own["damped_cycle"] else "free") if own["cycle"] else ""
        harmonics = 0
        if season and own["seasonal_form"] == "trigonometric":
            harmonics = own["harmonics"] or season // 2
            if harmonics > season // 2:
                raise InputError(f"`harmonics` is {harmonics}; a season of {season} steps has at most {season // 2}")
        return Form(own["level"] or bool(trend), trend, season or None, harmonics, cycle)

    def _season(self, seqs: Sequences) -> int | None:
        wanted = self._options["seasonal"]
        if wanted is True:
            if seqs.season is None or seqs.season < 2:
                raise InputError(
                    "`seasonal` is True but the sequences have no known season; pass the number of steps, such as seasonal=12"
                )
            return seqs.season
        return wanted or None

    def _period_bounds(self, seqs: Sequences, season: int | None) -> tuple[float, float]:
        wanted = self._options["cycle"]
        if isinstance(wanted, tuple):
            return wanted
        low, high = 1.5 * season if season else 3.0, 0.5 * float(seqs.lengths.max())
        if wanted and not low < high:
            raise InputError(
                f"`cycle` is True but the longest sequence has {2 * high:g} steps, too few for a period of {low:g} or more; "
                "pass bounds of the period, or longer sequences"
            )
        return low, high

    def _result(self, seqs: Sequences, fitted: tuple[_Fitted, ...], begun: float) -> FitResult:
        notes: list[str] = []
        for each, column in zip(fitted, seqs.columns, strict=True):
            notes += _notes(each, column, self._options["fixed"])
        return joint_result(fitted, seqs, float(self.log_prob(seqs).sum()), begun, notes)

    def _estimate(self) -> Estimates | None:
        if not self._training:
            return None
        several = len(self._training) > 1
        inputs = self._schema["input_columns"] if self._schema else []
        return estimates_of([_part(each, self._options["fixed"], inputs, several) for each in self._training])

    def _build_system(self) -> System:
        own = self.parameters
        form = self._form(self._learnt_season)
        dynamics = {name: own[name] for name in form.dynamics}
        return structural_system(form, self.variances, dynamics, own["mean"], own["input_weights"], own.get("start"))

    @property
    def _learnt_season(self) -> int | None:
        return int(self.parameters["seasonal"][0]) or None

    @property
    def variances(self) -> dict[str, np.ndarray]:
        """Component -> (p,) variance of its disturbance, in the data's unit squared."""
        return {name[len(_VARIANCE) :]: value for name, value in self.parameters.items() if name.startswith(_VARIANCE)}

    @property
    def trend_damping(self) -> np.ndarray | None:
        """(p,) φ of a damped trend."""
        return self.parameters.get(TREND)

    @property
    def cycle_damping(self) -> np.ndarray | None:
        """(p,) ρ of a damped cycle."""
        return self.parameters.get(RHO)

    @property
    def cycle_period(self) -> np.ndarray | None:
        """(p,) period of the cycle, in steps."""
        return self.parameters.get(PERIOD)

    @property
    def input_weights(self) -> np.ndarray:
        """(p, u) D."""
        return self.parameters["input_weights"]

    @property
    def n_parameters(self) -> int:
        """Variances that are not held at zero, damping, period, entries of D, and the mean where there is no level; the start is not counted."""
        form = self._form(self._learnt_season)
        each = len(form.disturbances) - len(set(self._options["fixed"])) + len(form.dynamics) + (not form.level)
        return each * len(self.parameters["mean"]) + self.input_weights.size


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _fit_column(seqs: Sequences, problem: Problem, max_iter: int, tol: float) -> _Fitted:
    states, variances = problem.form.states, len(problem.free)
    observed = np.add.reduceat(~np.isnan(seqs.values[:, 0]), seqs.offsets[:-1], dtype=np.int64)
    if np.maximum(observed - states, 0).sum() <= variances:
        raise InputError(
            f"column {seqs.columns[0]!r} has at most {observed.max()} observed entries in a sequence, too few for "
            f"{_count(states, 'state')} and {_count(variances, 'variance')}; pass longer sequences or switch off a component"
        )
    if not np.nanmax(seqs.values) > np.nanmin(seqs.values):
        raise InputError(
            f"column {seqs.columns[0]!r} does not vary; there is no noise to estimate: leave the column out"
        )
    scaled, scaling = standardise(seqs)
    scaled, inputs = standardise_inputs(scaled)
    problem, found = fitting.search(problem, scaled, max_iter, tol)
    return _Fitted(problem, scaled, scaling, inputs, found)


def _notes(fitted: _Fitted, column: str, held: tuple[str, ...]) -> list[str]:
    """What is at the boundary of the parameter space."""
    problem, point = fitted.problem, fitted.maximum.point
    notes = []
    for name in problem.form.disturbances:
        if name in problem.fixed and name not in held:
            gone = name in problem.form.damping
            effect = "the component is not there" if gone else "that component is fixed"
            notes.append(f"the variance of the {name} of {column!r} is zero at the maximum: {effect}")
    for name in fitting.at_bounds(problem, point):
        value = fitting.unpack(problem, point).dynamics[name]
        notes.append(f"the {name.replace('_', ' ')} of {column!r} is at a bound of what is allowed, {value:.4g}")
    return notes


def _part(fitted: _Fitted, held: tuple[str, ...], inputs: list[str], several: bool) -> Part:
    problem, point, form = fitted.problem, fitted.maximum.point, fitted.problem.form
    column = fitted.seqs.columns[0]
    suffix = f" of {column}" if several else ""
    shown = [name for name in form.disturbances if name not in held]
    bound = [*fitting.at_bounds(problem, point), *fitting.without_effect(problem)]
    names = [f"variance of {name}{suffix}" for name in shown] + [
        name.replace("_", " ") + suffix for name in form.dynamics
    ]
    names += [f"{column} on {name}" for name in inputs] + [f"mean {column}"] * (not form.level)

    def natural(at: np.ndarray) -> np.ndarray:
        own = fitted.in_units(at)
        rest = [own.weights, np.full(int(not form.level), own.mean)]
        return np.concatenate([[own.variances[n] for n in shown], [own.dynamics[n] for n in form.dynamics], *rest])

    inside = np.ones(point.size, np.bool_)
    inside[len(problem.free) : len(problem.free) + len(form.dynamics)] = [name not in bound for name in form.dynamics]
    known = np.ones(len(names), np.bool_)
    unsure = [name in problem.fixed or form.damping.get(name) in bound for name in shown]
    known[: len(shown) + len(form.dynamics)] = ~np.array([*unsure, *(name in bound for name in form.dynamics)])
    return Part(names, fitting.objective(problem, fitted.seqs), point, inside, natural, known)
