"""ARIMA models with a season, by exact maximum likelihood of the levels."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.fitting import arima as fitting
from statewise.fitting.arima import Problem
from statewise.inference import arima as algebra
from statewise.inference.arima import ArimaParameters, Orders
from statewise.inference.filtering import run_filter
from statewise.inference.system import System
from statewise.models.base import Trainable
from statewise.models.by_column import ColumnFit, joint_result, one_column
from statewise.models.linear_gaussian import LinearGaussian
from statewise.models.standard_errors import HasStandardErrors, Part, estimates_of
from statewise.results.estimates import Estimates
from statewise.results.fit import FitResult
from statewise.sequences.scaling import Scaling, refuse_tiny
from statewise.sequences.sequences import Sequences

_LAGS = ("ar", "ma", "seasonal_ar", "seasonal_ma")
_NEAR_UNIT = 0.999


class _Fitted(ColumnFit[Problem]):
    """The maximum of one column, and its parameters in the data's units."""

    def in_units(self, point: np.ndarray) -> ArimaParameters:
        """The parameters at a point, in the data's units."""
        own, scale = fitting.unpack(self.problem, point), float(self.scaling.scale[0])
        weights = scale * own.weights / self.inputs.scale
        mean = scale * own.mean
        if not self.problem.orders.lost:
            mean += float(self.scaling.mean[0]) - float(weights @ self.inputs.mean)
        lags = (own.ar, own.ma, own.seasonal_ar, own.seasonal_ma)
        return ArimaParameters(*lags, mean if self.problem.mean else 0.0, weights, scale**2 * own.var)


class ARIMA(HasStandardErrors, LinearGaussian, Trainable):
    """φ(L) Φ(Lˢ) ((1 − L)ᵈ (1 − Lˢ)ᴰ n[t] − μ) = θ(L) Θ(Lˢ) e[t],  y[t] = n[t] + D u[t],  e ~ N(0, σ²).

    φ(L) = 1 − φ₁L − … − φₚLᵖ and θ(L) = 1 + θ₁L + … + θ_q L^q, Φ and Θ alike in Lˢ. Every column has its own coefficients; columns are
    independent. Sequences of any length and number are pooled in one likelihood; missing entries are integrated out; inputs enter as a
    regression with ARIMA errors.

    The likelihood is that of the levels y. Differences start in their stationary law, and the d + s D levels before the first are exactly diffuse, so
    no step is dropped. For complete data it is the likelihood of the differenced series less ½ log 2π for each of the first d + s D steps; that of
    the differences alone, which many programs print, is ``fit_result.details["log_prob_of_differences"]``.

    Args:
        order: (p, d, q).
        seasonal_order: (P, D, Q).
        period: steps in a season, from 2; default the sequences' own `season`.
        trend: 'c' for a mean μ of the differences (a drift, where d + D is 1), 'n' for none; default 'c' without differencing and else 'n'.

    Attributes after `fit`: ar (k, p), ma (k, q), seasonal_ar (k, P), seasonal_ma (k, Q), mean (k,) = μ, input_weights (k, u), innovation_var (k,)
    for k columns. The fitted process is stationary after differencing, and its moving average invertible.

    Source: Box, Jenkins & Reinsel, *Time Series Analysis* (4th ed. 2008), §9.1.4; Durbin & Koopman (2012), §3.4, on the state-space form.

    Example:
        >>> import numpy as np
        >>> airline = sw.datasets.load("airline")
        >>> seqs = airline.replace(values=np.log(airline.values))
        >>> model = sw.ARIMA(order=(0, 1, 1), seasonal_order=(0, 1, 1), period=12).fit(seqs)
        >>> model.ma.round(4).tolist(), model.seasonal_ma.round(4).tolist()
        ([[-0.4018]], [[-0.5569]])
    """

    kind = "arima"
    options = {
        "order": checks.Tuple(checks.Integer(0, 100), 3),
        "seasonal_order": checks.Tuple(checks.Integer(0, 20), 3),
        "period": checks.Optional(checks.Integer(2, 10_000)),
        "trend": checks.Optional(checks.Choice(("c", "n"))),
    }
    _unlisted = frozenset({"start", "period"})

    def __init__(
        self,
        order: tuple[int, int, int] = (1, 0, 0),
        seasonal_order: tuple[int, int, int] = (0, 0, 0),
        period: int | None = None,
        trend: str | None = None,
    ) -> None:
        super().__init__(order=order, seasonal_order=seasonal_order, period=period, trend=trend)
        self._training: tuple[_Fitted, ...] = ()

    @property
    def label(self) -> str:
        own = self._options
        words = [str(own["order"])]
        if any(own["seasonal_order"]):
            words += [str(own["seasonal_order"])] + ([f"period={own['period']}"] if own["period"] else [])
        return ", ".join(words + ([f"trend={own['trend']!r}"] if own["trend"] else []))

    def fit(self, data: Any, max_iter: int = 300, tol: float = 1e-6, restarts: int = 8, seed: int | None = 0) -> Self:
        """Exact maximum likelihood, each column by itself, in place.

        Args:
            data: sequences; missing entries are allowed.
            max_iter: quasi-Newton iterations of each search, from 1.
            tol: largest gradient entry per step of the standardised data at convergence.
            restarts: random searches beside those from Hannan–Rissanen, a pure autoregression and white noise; made only for models with
                autoregressive and moving-average terms, whose likelihood has several maxima: with roots that all but cancel there is often a
                better one. All are followed to the end; with a season or missing entries, where a search takes longer, two after a few
                iterations. The maxima that they reach are in ``fit_result.details["starts"]``.
            seed: for the restarts.

        Raises:
            InputError: too few observations, differences without variation, an input without variation after differencing, or a seasonal
                order and no known period.
        """
        begun = time.perf_counter()
        max_iter = checks.Integer(1).check("max_iter", max_iter)
        restarts = checks.Integer(0, 1000).check("restarts", restarts)
        seed = checks.Optional(checks.Integer()).check("seed", seed)
        tol = checks.Real(0.0, 1.0, open_low=True).check("tol", tol)
        self._schema = None
        seqs = self._receive(data)
        refuse_tiny(seqs)
        orders = self._orders(seqs.season)
        width = 0 if seqs.inputs is None else seqs.inputs.shape[1]
        problem = Problem(orders, self._has_mean, width)
        fitted = []
        for j in range(seqs.dim):
            scaled, scaling, inputs = _prepare(one_column(seqs, j), problem)
            maximum = fitting.search(problem, scaled, max_iter, tol, restarts, seed)
            fitted.append(_Fitted(problem, scaled, scaling, inputs, maximum))
        found = [each.in_units(each.maximum.point) for each in fitted]
        parameters = {name: np.stack([getattr(par, name) for par in found]) for name in _LAGS}
        parameters["mean"] = np.array([par.mean for par in found])
        parameters["input_weights"] = np.stack([par.weights for par in found])
        parameters["innovation_var"] = np.array([par.var for par in found])
        parameters["period"] = np.array([orders.period])
        self._learn_schema(seqs)
        self._set_parameters(parameters | {"start": np.zeros((len(found), orders.lost))})
        last = run_filter(self.system, seqs[:1], store=False)
        ends = last.mean_next[0][self.system.Pinf.diagonal() > 0].reshape(len(found), orders.lost)
        self._set_parameters(parameters | {"start": ends})
        self._training = tuple(fitted)
        self.fit_result = self._result(seqs, begun)
        return self

    def _orders(self, season: int | None) -> Orders:
        p, d, q = self._options["order"]
        P, D, Q = self._options["seasonal_order"]
        if not any((P, D, Q)):
            return Orders(p, d, q)
        period = self._options["period"] or season
        if period is None or period < 2:
            raise InputError(
                f"`seasonal_order` is {(P, D, Q)} but the sequences have no known season; pass the number of steps, such as period=12"
            )
        return Orders(p, d, q, P, D, Q, period)

    @property
    def _has_mean(self) -> bool:
        own = self._options
        return bool((own["trend"] or ("n" if own["order"][1] + own["seasonal_order"][1] else "c")) == "c")

    def _result(self, seqs: Sequences, begun: float) -> FitResult:
        log_prob = float(self.log_prob(seqs).sum())
        notes = [note for j, column in enumerate(seqs.columns) for note in self._notes(j, column)]
        more: dict[str, Any] = {"starts": list(self._training[0].maximum.others)}
        if not np.isnan(seqs.values).any():
            settling = int(np.minimum(seqs.lengths, self._known_orders.lost).sum()) * seqs.dim
            more["log_prob_of_differences"] = log_prob + 0.5 * settling * float(np.log(2.0 * np.pi))
        return joint_result(self._training, seqs, log_prob, begun, notes, **more)

    def _notes(self, j: int, column: str) -> list[str]:
        """Unit roots, and searches that disagree."""
        notes, own = [], self.parameters
        for name in ("ar", "seasonal_ar"):
            root = float(np.abs(algebra.inverse_roots(-own[name][j])).max(initial=0.0))
            if root > _NEAR_UNIT:
                notes.append(
                    f"the {_said(name)} part of {column!r} has a root of modulus {root:.5f}, close to a unit root; consider differencing once more"
                )
        notes += [
            f"the {_said(name)} part of {column!r} has a root on the unit circle at the maximum: the data may be differenced once too often"
            for name in _unit_roots(own, j)
        ]
        others = self._training[j].maximum.others
        agreeing = sum(value > max(others) - 0.01 for value in others)
        if agreeing < 2 <= len(others):
            notes.append(
                f"the likelihood of {column!r} has several maxima: only {agreeing} of {len(others)} searches reached the best one; raise `restarts`"
            )
        return notes

    def _estimate(self) -> Estimates | None:
        if not self._training:
            return None
        inputs = self._schema["input_columns"] if self._schema else []
        return estimates_of([self._part(j, inputs) for j in range(len(self._training))])

    def _part(self, j: int, inputs: list[str]) -> Part:
        fitted, own = self._training[j], self.parameters
        problem, point = fitted.problem, fitted.maximum.point
        column = fitted.seqs.columns[0]
        suffix = f" of {column}" if len(self._training) > 1 else ""
        stuck = _unit_roots(own, j)
        names = [f"mean {column}"] * problem.mean + [f"{column} on {name}" for name in inputs]
        known = [True] * len(names)
        for name in _LAGS:
            count = own[name].shape[1]
            names += [f"{name.replace('_', ' ')}{i + 1}{suffix}" for i in range(count)]
            known += [name not in stuck] * count
        names.append(f"innovation variance{suffix}")

        def natural(at: np.ndarray) -> np.ndarray:
            par = fitted.in_units(at)
            lags = [getattr(par, name) for name in _LAGS]
            return np.concatenate([np.full(int(problem.mean), par.mean), par.weights, *lags, [par.var]])

        # The point has the lags in the order φ, θ, Φ, Θ, as here.
        inside = np.array([*known, True])
        return Part(names, fitting.ArimaObjective(problem, fitted.seqs), point, inside, natural, inside)

    def _build_system(self) -> System:
        own, orders = self.parameters, self._known_orders
        systems = []
        for j, mean in enumerate(own["mean"]):
            ar, ma, seasonal_ar, seasonal_ma = (own[name][j] for name in _LAGS)
            var = float(own["innovation_var"][j])
            par = ArimaParameters(ar, ma, seasonal_ar, seasonal_ma, float(mean), own["input_weights"][j], var)
            sys = algebra.arima_system(orders, par, own["start"][j])
            if sys is None:
                raise InputError("the autoregressive part is not stationary; refit the model")
            systems.append(sys)
        return algebra.joined(systems)

    @property
    def _known_orders(self) -> Orders:
        return self._orders(int(self.parameters["period"][0]))

    @property
    def _fitted_lags(self) -> int:
        p, _, q = self._options["order"]
        P, _, Q = self._options["seasonal_order"]
        return int(p + q + P + Q)

    @property
    def ar(self) -> np.ndarray:
        """(k, p) φ."""
        return self.parameters["ar"]

    @property
    def ma(self) -> np.ndarray:
        """(k, q) θ."""
        return self.parameters["ma"]

    @property
    def seasonal_ar(self) -> np.ndarray:
        """(k, P) Φ."""
        return self.parameters["seasonal_ar"]

    @property
    def seasonal_ma(self) -> np.ndarray:
        """(k, Q) Θ."""
        return self.parameters["seasonal_ma"]

    @property
    def mean(self) -> np.ndarray:
        """(k,) μ, the mean of the differences where the inputs are zero; without differencing that of y."""
        return self.parameters["mean"]

    @property
    def input_weights(self) -> np.ndarray:
        """(k, u) D."""
        return self.parameters["input_weights"]

    @property
    def innovation_var(self) -> np.ndarray:
        """(k,) σ², in the data's unit squared."""
        return self.parameters["innovation_var"]

    @property
    def n_parameters(self) -> int:
        """φ, θ, Φ, Θ, μ, D and σ² of each column; the diffuse start is not counted."""
        own = self.parameters
        k = len(own["mean"])
        return sum(own[name].size for name in _LAGS) + own["input_weights"].size + k * (1 + self._has_mean)


def _prepare(seqs: Sequences, problem: Problem) -> tuple[Sequences, Scaling, Scaling]:
    """One column in units of its differences' standard deviation, its inputs in units of theirs."""
    orders, column = problem.orders, seqs.columns[0]
    free = problem.cuts[-1]
    seen = np.add.reduceat(~np.isnan(seqs.values[:, 0]), seqs.offsets[:-1], dtype=np.int64)
    if np.maximum(seen - orders.lost, 0).sum() <= free:
        raise InputError(
            f"column {column!r} has {seen.sum()} observed entries, too few for {free} parameters"
            + (f" after differencing, which takes {orders.lost} of each sequence" if orders.lost else "")
            + "; lower an order or pass longer sequences"
        )
    differences = fitting.difference(seqs, orders)
    spread = _spread(differences.values)[0]
    if np.isnan(differences.values).all():  # gaps everywhere: the levels set the scale
        spread = _spread(seqs.values)[0]
    if not spread > 0:
        what = "differences of column" if orders.lost else "column"
        raise InputError(f"the {what} {column!r} do not vary; there is no noise to estimate: leave the column out")
    centred = problem.mean or orders.lost
    scaling = Scaling(np.nanmean(seqs.values, axis=0) if centred else np.zeros(1), np.array([spread]))
    scaled, inputs = scaling.apply(seqs), Scaling(np.zeros(0), np.ones(0))
    if seqs.inputs is not None and differences.inputs is not None:
        scale = _spread(differences.inputs) if problem.mean or orders.lost else np.sqrt((seqs.inputs**2).mean(axis=0))
        for name, size in zip(seqs.input_columns, scale, strict=True):
            if not size > 0:
                raise InputError(
                    f"the input {name!r} does not vary{' after differencing' * bool(orders.lost)}; leave it out"
                )
        inputs = Scaling(seqs.inputs.mean(axis=0) if centred else np.zeros(len(scale)), scale)
        scaled = scaled.replace(inputs=(seqs.inputs - inputs.mean) / inputs.scale)
    return scaled, scaling, inputs


def _spread(table: np.ndarray) -> np.ndarray:
    """Standard deviations of the columns, zero where that is rounding."""
    seen = ~np.isnan(table)
    count = np.maximum(seen.sum(axis=0), 1)
    middle = np.where(seen, table, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(seen, table - middle, 0.0) ** 2).sum(axis=0) / count)
    return np.where(spread > 1e-13 * np.nanmax(np.abs(table), axis=0, initial=0.0), spread, 0.0)


def _unit_roots(own: dict[str, np.ndarray], j: int) -> list[str]:
    """Which moving-average parts of a column have a root on the unit circle."""
    near = 1.0 - fitting.UNIT
    return [
        name for name in ("ma", "seasonal_ma") if np.abs(algebra.inverse_roots(own[name][j])).max(initial=0.0) > near
    ]


def _said(name: str) -> str:
    words = {"ar": "autoregressive", "ma": "moving-average"}
    return ("seasonal " if name.startswith("seasonal") else "") + words[name[-2:]]
