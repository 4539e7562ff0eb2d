"""Structural time-series models: level, trend, season and noise, each with its own variance."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise._core.outcome import Outcome
from statewise.fitting.mle import Maximum, maximise, with_differences
from statewise.inference.filtering import filter_status, run_filter
from statewise.inference.smoothing import log_prob_gradient
from statewise.inference.structural import component_names, structural_system, variance_gradient
from statewise.inference.system import System
from statewise.models.base import Trainable
from statewise.models.linear_gaussian import LinearGaussian
from statewise.results.fit import FitResult
from statewise.sequences.scaling import standardise
from statewise.sequences.sequences import Sequences

_FLOOR = -25.0  # log variance, relative to the data's variance, that stands for a variance of zero
_CEILING = 8.0


class Structural(LinearGaussian, Trainable):
    """y[t] = level[t] + season[t] + D u[t] + ε[t] with a random-walk level, a random-walk slope and a changing season.

    level[t+1] = level[t] + slope[t] + ξ[t],  slope[t+1] = slope[t] + ζ[t],  season[t+1] = −Σ_{j=0}^{s−2} season[t−j] + ω[t].
    Every column has its own components and variances; columns are independent. The start is exactly diffuse; `sample` starts where
    the first training sequence ended.

    Args:
        level: a local level.
        trend: a local linear trend (includes a level).
        seasonal: steps in a season, from 2; True takes the sequences' own `season`; None or False for no season.

    Attributes after `fit`: variances, a dict component -> (p,); input_weights (p, u).

    Source: Harvey, *Forecasting, Structural Time Series Models and the Kalman Filter* (1989), ch. 2 and 4.

    Example:
        >>> model = Structural(level=True, trend=True, seasonal=12).fit(sw.datasets.load("airline"))
        >>> sorted(model.variances)
        ['irregular', 'level', 'seasonal', 'trend']
    """

    kind = "structural"
    options = {"level": checks.Flag(), "trend": checks.Flag(), "seasonal": checks.Period()}

    def __init__(self, level: bool = True, trend: bool = False, seasonal: int | bool | None = None) -> None:
        super().__init__(level=level, trend=trend, seasonal=seasonal)
        if not (level or trend or seasonal):
            raise InputError("`level`, `trend` and `seasonal` are all off; switch on at least one component")

    @property
    def label(self) -> str:
        own = self._options
        words = [name for name in ("level", "trend") if own[name]]
        if own["seasonal"]:
            words.append("season" if own["seasonal"] is True else f"season {own['seasonal']}")
        return ", ".join(words)

    def fit(self, data: Any, max_iter: int = 300, tol: float = 1e-6) -> Self:
        """Maximum likelihood of the variances (and of D), exact diffuse, each column by itself, in place.

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
        season = self._season(seqs)
        names = component_names(self._options["level"], self._options["trend"], season)
        columns = [_one(seqs, j) for j in range(seqs.dim)]
        found = [self._fit_column(column, names, season, max_iter, tol) for column in columns]
        parameters = {f"variance:{name}": np.array([f[1][i] for f in found]) for i, name in enumerate(names)}
        parameters["input_weights"] = np.stack([f[2] for f in found])
        parameters["mean"] = np.array([f[3] for f in found])
        parameters["seasonal"] = np.array([season or 0])
        self._learn_schema(seqs)
        self._set_parameters(parameters)
        last = run_filter(self.system, seqs[:1], store=False)
        self._set_parameters(parameters | {"start": last.mean_next[0]})
        self.fit_result = self._result(seqs, names, [f[0] for f in found], begun)
        return self

    def _season(self, seqs: Sequences) -> int | None:
        wanted = self._options["seasonal"]
        if wanted is True:
            if seqs.season is None or seqs.season < 2:
                raise InputError(
                    "`seasonal` is True but the sequences have no known season; pass the number of steps, such as seasonal=12"
                )
            return seqs.season
        return wanted or None

    def _fit_column(
        self, seqs: Sequences, names: list[str], season: int | None, max_iter: int, tol: float
    ) -> tuple[Maximum, np.ndarray, np.ndarray, float]:
        """(maximum, variances, input weights, mean) of one column, in original units."""
        states = (season or 1) + 1
        observed = np.add.reduceat(~np.isnan(seqs.values[:, 0]), seqs.offsets[:-1], dtype=np.int64)
        if np.maximum(observed - states, 0).sum() <= len(names):
            raise InputError(
                f"column {seqs.columns[0]!r} has at most {observed.max()} observed entries in a sequence, too few for {states} states and "
                f"{len(names)} variances; pass longer sequences or switch off a component"
            )
        if not np.nanmax(seqs.values) > np.nanmin(seqs.values):
            raise InputError(
                f"column {seqs.columns[0]!r} does not vary; there is no noise to estimate: leave the column out"
            )
        scaled, scaling = standardise(seqs)
        u, centre, spread = _scaled_inputs(seqs)
        if u is not None:
            scaled = scaled.replace(inputs=u)
        width = len(spread)
        with_mean = "level" not in names

        def unknown(point: np.ndarray) -> System:
            return self._column_system(point, names, season, width, with_mean)

        def objective(point: np.ndarray) -> float:
            past, status = filter_status(unknown(point), scaled, store=False)
            return -np.inf if status.any() else float(past.log_prob.sum())

        differences = with_differences(objective)

        def with_gradient(point: np.ndarray) -> tuple[float, np.ndarray] | None:
            sys = unknown(point)
            found = log_prob_gradient(sys, scaled)
            if found is None:
                return differences(point)
            value, gradient = found
            logs = point[: len(names)]
            noise = variance_gradient(gradient, names, trend=self._options["trend"], seasonal=season)
            free = (logs > _FLOOR) & (logs < _CEILING)
            rest = [gradient.D[0], gradient.d[:with_mean]]
            return value, np.concatenate([np.where(free, noise * _variances(logs), 0.0), *rest])

        starts = [np.concatenate([start, np.zeros(width + with_mean)]) for start in _starts(names)]
        starts = sorted(starts, key=objective)[-2:]
        found = maximise(with_gradient, starts, scaled.rows, max_iter, tol)
        logs, weights, mean = _split(found.point, len(names), width)
        scale = float(scaling.scale[0])
        weights = scale * weights / spread
        level = float(scaling.mean[0]) + scale * mean - float(weights @ centre) if with_mean else 0.0
        return found, scale**2 * _variances(logs), weights, level

    def _column_system(
        self, point: np.ndarray, names: list[str], season: int | None, width: int, with_mean: bool
    ) -> System:
        logs, weights, mean = _split(point, len(names), width)
        variances = {name: value[None] for name, value in zip(names, _variances(logs), strict=True)}
        return structural_system(
            variances,
            np.array([mean if with_mean else 0.0]),
            weights[None],
            None,
            trend=self._options["trend"],
            seasonal=season,
        )

    def _result(self, seqs: Sequences, names: list[str], found: list[Maximum], begun: float) -> FitResult:
        notes = [
            f"the variance of the {name} of {column!r} is zero at the maximum: that component is fixed"
            for j, column in enumerate(seqs.columns)
            for i, name in enumerate(names)
            if found[j].point[i] <= _FLOOR / 2
        ]
        worst = next((m.outcome for m in found if not m.outcome.ok), Outcome.CONVERGED)
        log_prob = float(self.log_prob(seqs).sum())
        steps = int((~np.isnan(seqs.values)).any(axis=1).sum())
        details = {"gradient_norm": max(m.gradient_norm for m in found)}
        return FitResult(worst, log_prob, steps, found[0].trace, time.perf_counter() - begun, tuple(notes), details)

    def _build_system(self) -> System:
        own = self.parameters
        season = int(own["seasonal"][0]) or None
        return structural_system(
            self.variances,
            own["mean"],
            own["input_weights"],
            own.get("start"),
            trend=self._options["trend"],
            seasonal=season,
        )

    @property
    def variances(self) -> dict[str, np.ndarray]:
        """Component -> (p,) variance of its disturbance, in the data's unit squared."""
        prefix = "variance:"
        return {name[len(prefix) :]: value for name, value in self.parameters.items() if name.startswith(prefix)}

    @property
    def input_weights(self) -> np.ndarray:
        """(p, u) D."""
        return self.parameters["input_weights"]

    @property
    def n_parameters(self) -> int:
        """Variances, entries of D, and the mean where there is no level; the diffuse start is not counted."""
        means = 0 if "level" in self.variances else self.parameters["mean"].size
        return sum(value.size for value in self.variances.values()) + self.input_weights.size + means


def _one(seqs: Sequences, column: int) -> Sequences:
    return seqs.replace(values=seqs.values[:, column : column + 1], columns=(seqs.columns[column],))


def _split(point: np.ndarray, components: int, width: int) -> tuple[np.ndarray, np.ndarray, float]:
    logs, weights, rest = np.split(point, [components, components + width])
    return logs, weights, float(rest[0]) if rest.size else 0.0


def _variances(logs: np.ndarray) -> np.ndarray:
    values = np.exp(np.clip(logs, _FLOOR, _CEILING))
    return np.where(logs <= _FLOOR, 0.0, values)


def _starts(names: list[str]) -> list[np.ndarray]:
    """Logarithms of the variances, relative to the data's: noise-dominated, level-dominated, and even."""
    guesses = (
        {"level": -3.0, "trend": -8.0, "seasonal": -6.0, "irregular": -1.0},
        {"level": -1.0, "trend": -6.0, "seasonal": -4.0, "irregular": -4.0},
        {"level": -4.0, "trend": -4.0, "seasonal": -4.0, "irregular": -4.0},
    )
    return [np.array([guess[name] for name in names]) for guess in guesses]


def _scaled_inputs(seqs: Sequences) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    if seqs.inputs is None:
        return None, np.zeros(0), np.ones(0)
    spread = seqs.inputs.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    centre = seqs.inputs.mean(axis=0)
    return (seqs.inputs - centre) / spread, centre, spread
