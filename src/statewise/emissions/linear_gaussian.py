"""Regressions that switch: y given state k is N(intercepts[k] + coefficients[k]ᵀ x, Σ[k]), x earlier rows and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.emissions import gaussian_dense
from statewise.emissions.base import Emission, moved
from statewise.emissions.gaussian import GaussianEmission, fit_variance, normal_scores
from statewise.emissions.gaussian_diagonal import NO_WEIGHT
from statewise.emissions.rows import Rows
from statewise.results.marginals import MixtureMarginals

_NEGLIGIBLE = 1e-10  # directions of the regressors with less variance than this share count as collinear


class RegressionEmission(Emission):
    """y[t] = c[s] + B[s]ᵀ u[t] + e[t], e ~ N(0, Σ[s]), u the inputs; with `order` r also Σ_l Φ[s, l] y[t − l], l = 1 … r.

    Args:
        intercepts: (K, p).
        coefficients: (K, m, p), its m rows for the p columns of lag 1, then those of lag 2, … r, then the u inputs.
        covariances: of e: "diag" (K, p) or "full" (K, p, p).
        lag_fills: (p,) what stands for an earlier row that is not there (before the first step of a sequence) or
            missing: the column's mean over the data. The density is that of the rows given these values, not a marginal
            over them: exact wherever the r rows before were observed.
        order: r, from 0.
        min_variance: as in `GaussianEmission`.
        floor: (p,) the resulting variances.
        held: states whose last M step met the floor.
    """

    kind: ClassVar[str] = "regression"
    parameter_names: ClassVar[tuple[str, ...]] = ("intercepts", "coefficients", "covariances", "lag_fills")
    option_names: ClassVar[tuple[str, ...]] = ("covariance", "min_variance", "order")
    needs_spread: ClassVar[bool] = True
    uses_inputs: ClassVar[bool] = True
    usual_order: ClassVar[int] = 0

    def __init__(
        self,
        intercepts: np.ndarray,
        coefficients: np.ndarray,
        covariances: np.ndarray,
        lag_fills: np.ndarray,
        covariance: str = "diag",
        order: int = 0,
        min_variance: float = 1e-6,
        floor: np.ndarray | None = None,
        held: tuple[int, ...] = (),
    ) -> None:
        self._intercepts = intercepts
        self._coefficients = coefficients
        self._noise = GaussianEmission(np.zeros_like(intercepts), covariances, covariance, min_variance)
        self._lag_fills = lag_fills
        self._covariance = covariance
        self._order = order
        self._min_variance = min_variance
        self._floor = floor
        self._held = held

    @classmethod
    def given(cls, parameters: Mapping[str, Any], states: int, **options: Any) -> Self:
        options = cls._judged(options)
        intercepts = np.asarray(parameters["intercepts"])
        intercepts = checks.array(
            "intercepts", intercepts[:, None] if intercepts.ndim == 1 else intercepts, (states, None)
        )
        p = intercepts.shape[1]
        coefficients = np.asarray(parameters["coefficients"])
        if coefficients.ndim == 1:
            coefficients = coefficients[:, None, None]
        elif coefficients.ndim == 2 and p == 1:
            coefficients = coefficients[:, :, None]
        coefficients = checks.array("coefficients", coefficients, (states, None, p))
        if coefficients.shape[1] < options["order"] * p:
            raise InputError(
                f"`coefficients` has {coefficients.shape[1]} rows a state; order {options['order']} with {p} columns needs "
                f"{options['order'] * p}, and one more for each input"
            )
        noise = GaussianEmission.given(
            {"means": np.zeros((states, p)), "covariances": parameters["covariances"]},
            states,
            covariance=options["covariance"],
        )
        fills = checks.array("lag_fills", parameters.get("lag_fills", np.zeros(p)), (p,))
        return cls(intercepts, coefficients, noise.parameters["covariances"], fills, **options)

    @classmethod
    def _judged(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        order = options.get("order")
        judged = {
            "covariance": options.get("covariance", "diag"),
            "order": cls.usual_order if order is None else order,
            "min_variance": options.get("min_variance", 1e-6),
        }
        if judged["covariance"] not in ("diag", "full"):
            raise InputError(
                f"`covariance` is {judged['covariance']!r}, which emission {cls.kind!r} does not have; pass 'diag' or 'full'"
            )
        if cls.usual_order and judged["order"] < 1:
            raise InputError(
                "`order` is 0; an autoregression looks back at least 1 step: pass 1, or emission='regression'"
            )
        return judged

    @classmethod
    def pooled(cls, rows: Rows, states: int, **options: Any) -> Self:
        judged = cls._judged(options)
        variance, p = fit_variance(rows), rows.dim
        inputs = 0 if rows.inputs is None else rows.inputs.shape[1]
        m = judged["order"] * p + inputs
        if not m:
            raise InputError(
                "emission 'regression' needs inputs and the sequences have none; pass `inputs`, or use 'gaussian'"
            )
        fills = np.nanmean(rows.values, axis=0)
        spread = (
            np.tile(variance, (states, 1))
            if judged["covariance"] == "diag"
            else np.tile(np.diag(variance), (states, 1, 1))
        )
        start = cls(np.tile(fills, (states, 1)), np.zeros((states, m, p)), spread, fills, **judged).prepared(rows)
        return start.m_step(rows, np.full((len(rows), states), 1.0 / states))

    def prepared(self, rows: Rows) -> Self:
        return self._with(floor=self._min_variance * fit_variance(rows))

    def replaced(self, parameters: Mapping[str, Any]) -> Self:
        if not parameters:
            return self
        options = {"covariance": self._covariance, "order": self._order, "min_variance": self._min_variance}
        made = self.given(self.parameters | dict(parameters), self.states, **options)
        if made._coefficients.shape != self._coefficients.shape:
            raise InputError(
                f"the coefficients have shape {made._coefficients.shape}; the data ask for {self._coefficients.shape}"
            )
        return made._with(floor=self._floor)

    def _with(self, **changes: Any) -> Self:
        fields = ("intercepts", "coefficients", "lag_fills", "covariance", "order", "min_variance", "floor", "held")
        now = {name: getattr(self, f"_{name}") for name in fields}
        return type(self)(**(now | {"covariances": self._noise.parameters["covariances"]} | changes))

    # --- sizes and parameters -----------------------------------------------------------------------------------------

    @property
    def states(self) -> int:
        return self._intercepts.shape[0]

    @property
    def dim(self) -> int:
        return self._intercepts.shape[1]

    @property
    def n_inputs(self) -> int:
        return self._coefficients.shape[1] - self._order * self.dim

    @property
    def look_back(self) -> int:
        return self._order

    @property
    def n_parameters(self) -> int:
        return (
            self._coefficients.size + self._noise.n_parameters
        )  # the noise counts its p zero means for the intercepts

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        return {
            "intercepts": self._intercepts,
            "coefficients": self._coefficients,
            "covariances": self._noise.parameters["covariances"],
            "lag_fills": self._lag_fills,
        }

    def domain(self, name: str) -> str:
        if name == "covariances":
            return self._noise.domain(name)
        return "fixed" if name == "lag_fills" else "plain"

    @property
    def means(self) -> np.ndarray:
        """(K, p) the mean where every earlier row is at `lag_fills` and every input at 0."""
        lags = self._coefficients[:, : self._order * self.dim]
        return self._intercepts + np.einsum("m,kmp->kp", np.tile(self._lag_fills, self._order), lags)

    @property
    def variances(self) -> np.ndarray:
        """(K, p) of the noise e."""
        return self._noise.variances

    @property
    def notes(self) -> tuple[str, ...]:
        return self._noise._with(held=self._held).notes

    def reordered(self, order: np.ndarray) -> Self:
        held = moved(self._held, order)
        return self._with(
            intercepts=self._intercepts[order],
            coefficients=self._coefficients[order],
            covariances=self._noise.parameters["covariances"][order],
            held=held,
        )

    # --- likelihood and M step ----------------------------------------------------------------------------------------

    def _regressors(self, rows: Rows) -> np.ndarray:
        """(rows, m)."""
        parts = [rows.lags(self._order, self._lag_fills)] if self._order else []
        parts += [] if rows.inputs is None else [rows.inputs]
        x = np.concatenate(parts, axis=1) if parts else np.empty((len(rows), 0))
        want = self._coefficients.shape[1]
        if x.shape[1] != want:
            raise InputError(
                f"the rows have {0 if rows.inputs is None else rows.inputs.shape[1]} inputs but the model was made for "
                f"{want - self._order * self.dim}; pass the same inputs"
            )
        return x

    def _expected(self, rows: Rows) -> np.ndarray:
        """(rows, K, p) means of the rows."""
        return self._intercepts + np.einsum("tm,kmp->tkp", self._regressors(rows), self._coefficients)

    def log_likelihood(self, rows: Rows) -> np.ndarray:
        expected = self._expected(rows)
        table = np.empty((len(rows), self.states))
        for k in range(self.states):
            left = Rows(np.ascontiguousarray(rows.values - expected[:, k]), rows.lengths)
            table[:, k] = self._noise.reordered(np.array([k])).log_likelihood(left)[:, 0]
        return table

    def m_step(self, rows: Rows, weights: np.ndarray) -> Self:
        """Weighted least squares, column by column for "diag"; for "full" missing entries have their law given the rest."""
        if self._floor is None:
            return self.prepared(rows).m_step(rows, weights)
        x = np.concatenate([np.ones((len(rows), 1)), self._regressors(rows)], axis=1)
        best = np.concatenate([self._intercepts[:, None], self._coefficients], axis=1)
        covariances, held = self._noise.parameters["covariances"].copy(), []
        for k in range(self.states):
            step = _step_by_column if self._covariance == "diag" else _step_jointly
            best[k], covariances[k], low = step(rows, x, weights[:, k], best[k], covariances[k], self._floor)
            held += [k] * bool(low)
        return self._with(intercepts=best[:, 0], coefficients=best[:, 1:], covariances=covariances, held=tuple(held))

    # --- laws ---------------------------------------------------------------------------------------------------------

    def sample(
        self,
        paths: np.ndarray,
        rng: np.random.Generator,
        inputs: np.ndarray | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        (count, steps), r, p = paths.shape, self._order, self.dim
        drawn = np.empty((count, r + steps, p))
        drawn[:, :r] = self._lag_fills
        if before is not None and r:
            last = before[:, -r:]
            drawn[:, r - last.shape[1] : r] = np.where(np.isnan(last), self._lag_fills, last)
        noise = self._noise.sample(paths, rng)
        for t in range(steps):
            lags = [drawn[:, r + t - lag] for lag in range(1, r + 1)]
            x = np.concatenate([*lags, *([] if inputs is None else [inputs[:, t]])], axis=1)
            state = paths[:, t]
            drawn[:, r + t] = (
                self._intercepts[state] + np.einsum("nm,nmp->np", x, self._coefficients[state]) + noise[:, t]
            )
        return drawn[:, r:]

    def marginals(self, weights: np.ndarray, rows: Rows | None = None) -> MixtureMarginals:
        assert rows is not None
        lead, shape = weights.shape[:-1], (*weights.shape[:-1], self.dim, self.states)
        expected = np.swapaxes(self._expected(rows), 1, 2).reshape(shape)
        shares = np.broadcast_to(weights.reshape(*lead, 1, self.states), shape)
        return MixtureMarginals(shares, expected, np.broadcast_to(self.variances.T, shape))

    def residuals(self, rows: Rows, weights: np.ndarray) -> np.ndarray:
        return normal_scores(rows, weights, np.swapaxes(self._expected(rows), 1, 2), self.variances.T)

    def points(self, rows: Rows) -> np.ndarray:
        both = np.concatenate([np.nan_to_num(rows.values - self._lag_fills), self._regressors(rows)], axis=1)
        sd = both.std(axis=0)
        return np.asarray((both - both.mean(axis=0)) / np.where(sd > 0, sd, 1.0))


class AutoregressiveEmission(RegressionEmission):
    """`RegressionEmission` with `order` 1 unless given: an AR-HMM; inputs enter too where the sequences have some.

    Source: Hamilton, Econometrica 57 (1989), with switching coefficients.
    """

    kind: ClassVar[str] = "autoregressive"
    usual_order: ClassVar[int] = 1


def _step_by_column(
    rows: Rows, x: np.ndarray, w: np.ndarray, best: np.ndarray, variances: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    best, variances = best.copy(), variances.copy()
    low = False
    for d in range(rows.dim):
        seen = rows.seen[:, d]
        total = w[seen].sum()
        if total <= NO_WEIGHT:
            continue
        y, xs, ws = rows.values[seen, d], x[seen], w[seen]
        best[:, d] = _least_squares(xs, y[:, None], ws, best[:, [d]])[:, 0]
        found = float(ws @ (y - xs @ best[:, d]) ** 2 / total)
        low |= found < floor[d]
        variances[d] = max(found, floor[d])
    return best, variances, low


def _step_jointly(
    rows: Rows, x: np.ndarray, w: np.ndarray, best: np.ndarray, covariance: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Missing entries are replaced by their mean given the observed ones, and their covariance is added."""
    w = w * rows.seen.any(axis=1)
    if w.sum() <= NO_WEIGHT:
        return best, covariance, False
    y, extra = x @ best, np.zeros_like(covariance)
    gaps = rows.values - y
    for where, o in gaussian_dense.patterns(rows.values):
        if o.all():
            y[where] = rows.values[where]
            continue
        gain = np.linalg.solve(covariance[np.ix_(o, o)], covariance[np.ix_(o, ~o)])
        block = gaps[where][:, o]
        filled = y[where]
        filled[:, ~o] += block @ gain
        filled[:, o] += block
        y[where] = filled
        extra[np.ix_(~o, ~o)] += w[where].sum() * (covariance[np.ix_(~o, ~o)] - covariance[np.ix_(~o, o)] @ gain)
    best = _least_squares(x, y, w, best)
    left = y - x @ best
    found = ((w[:, None] * left).T @ left + extra) / w.sum()
    lifted, low = gaussian_dense.lift((found + found.T)[None] / 2, floor)
    return best, lifted[0], bool(low[0])


def _least_squares(x: np.ndarray, y: np.ndarray, w: np.ndarray, now: np.ndarray) -> np.ndarray:
    """The b nearest to `now` that minimises Σ w |y − xᵀ b|²: what collinear regressors leave open stays as it is."""
    unit = np.sqrt(w @ x**2)
    unit = np.where(unit > 0, unit, 1.0)
    scaled = x / unit
    gram = (w[:, None] * scaled).T @ scaled
    values, vectors = np.linalg.eigh(gram)
    used = values > _NEGLIGIBLE * values[-1]
    right = vectors.T @ ((w[:, None] * scaled).T @ (y - x @ now))
    change = vectors @ np.where(used[:, None], right / np.where(used, values, 1.0)[:, None], 0.0)
    return np.asarray(now + change / unit[:, None])
