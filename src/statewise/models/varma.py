"""Vector autoregressive moving-average models, by exact Gaussian maximum likelihood."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import ndtri

from statewise._core import checks
from statewise._core.errors import InputError, NotFittedError
from statewise._core.seed import generator
from statewise.fitting.information import delta_method, observed_information
from statewise.fitting.mle import Maximum, maximise
from statewise.inference import varma as algebra
from statewise.inference.system import System
from statewise.inference.varma import VarmaParameters
from statewise.inference.varma_objective import VarmaObjective
from statewise.models.base import Trainable
from statewise.models.linear_gaussian import LinearGaussian, refuse_dependence
from statewise.models.standard_errors import HasStandardErrors
from statewise.results.estimates import Estimates
from statewise.results.fit import FitResult
from statewise.results.impulse import ImpulseResponse
from statewise.sequences.scaling import Scaling, refuse_tiny, standardise, standardise_inputs
from statewise.sequences.sequences import Sequences

_FOLLOWED = 2  # searches of several columns that are followed to the end; half of the restarts if that is more


@dataclass(frozen=True)
class _Training:
    """What a fit was made on: the standardised sequences, how they were standardised, and the parameters on that scale."""

    seqs: Sequences
    scaling: Scaling
    inputs: Scaling
    par: VarmaParameters


class VARMA(HasStandardErrors, LinearGaussian, Trainable):
    """y[t] − μ[t] = Σᵢ Φᵢ (y[t−i] − μ[t−i]) + e[t] + Σⱼ Θⱼ e[t−j],  e ~ N(0, Σ),  μ[t] = mean + D u[t].

    Args:
        p: autoregressive order, from 0.
        q: moving-average order, from 0.
        trend: 'c' for a mean, 'n' for none.

    Sequences of any length and number are pooled in one likelihood; missing entries are integrated out; inputs enter as a regression
    with VARMA errors. The start is stationary, and so is the fitted process; its moving-average part is invertible.

    Attributes after `fit`: ar (p, k, k), ma (q, k, k), mean (k,), intercept (k,) = (I − ΣΦᵢ) mean, input_weights (k, u), innovation_cov (k, k).
    For k > 1 with p, q > 0 different parameters can give one process, so single coefficients may not be identified while the
    likelihood and forecasts are (Lütkepohl 2005, §12.1).

    Example:
        >>> model = VARMA(p=1, q=1).fit(seqs)
        >>> model.forecast(seqs, steps=4).mean.shape
        (1, 4, 1)
    """

    kind = "varma"
    options = {"p": checks.Integer(0, 100), "q": checks.Integer(0, 100), "trend": checks.Choice(("c", "n"))}

    def __init__(self, p: int = 1, q: int = 0, trend: str = "c") -> None:
        super().__init__(p=p, q=q, trend=trend)
        self._training: _Training | None = None

    @property
    def label(self) -> str:
        options = self._options
        return f"p={options['p']}, q={options['q']}" + ("" if options["trend"] == "c" else ", trend='n'")

    def fit(self, data: Any, max_iter: int = 500, tol: float = 1e-6, restarts: int = 2, seed: int | None = 0) -> Self:
        """Exact maximum likelihood, in place.

        Args:
            data: sequences.
            max_iter: quasi-Newton iterations of each search, from 1.
            tol: largest gradient entry per step of the standardised data at convergence.
            restarts: random searches beside those from Hannan–Rissanen, a pure autoregression and white noise. They are made only with
                q > 0: a pure autoregression has a single maximum in practice. With one column all are followed to the end; with more, where a
                search takes longer, the consistent one from Hannan–Rissanen and the best of the others after a few iterations: two, or half of
                `restarts` if that is more. The maxima that they reach are in ``fit_result.details["starts"]`` (on the standardised scale), and
                a note says so when they disagree.
            seed: for the restarts.

        Raises:
            InputError: too few observations for the number of parameters, a column without variation, or columns that are linearly dependent.
        """
        begun = time.perf_counter()
        max_iter = checks.Integer(1).check("max_iter", max_iter)
        restarts = checks.Integer(0, 1000).check("restarts", restarts)
        seed = checks.Optional(checks.Integer()).check("seed", seed)
        tol = checks.Real(0.0, 1.0, open_low=True).check("tol", tol)
        self._schema = None
        seqs = self._receive(data)
        refuse_tiny(seqs)
        scaled, scaling, input_scaling, shape = self._prepare(seqs)
        found = self._search(scaled, shape, max_iter, tol, restarts, seed)
        self._learn_schema(seqs)
        par = algebra.make_invertible(algebra.unpack(found.point, shape, self._options["trend"]))
        self._set_parameters(_in_original_units(par, scaling, input_scaling))
        self._training = _Training(scaled, scaling, input_scaling, par)
        self.fit_result = self._result(seqs, found, begun)
        return self

    def _prepare(self, seqs: Sequences) -> tuple[Sequences, Scaling, Scaling, tuple[int, int, int, int]]:
        p, q = self._options["p"], self._options["q"]
        width = 0 if seqs.inputs is None else seqs.inputs.shape[1]
        k = seqs.dim
        free = k * k * (p + q) + k * (1 + width) + k * (k + 1) // 2
        if seqs.n_observed <= free:
            raise InputError(
                f"VARMA(p={p}, q={q}) on {k} columns has {free} parameters but there are only {seqs.n_observed} observed entries; lower p or q"
            )
        for column, values in zip(seqs.columns, seqs.values.T, strict=True):
            if not np.nanmax(values, initial=-np.inf) > np.nanmin(values, initial=np.inf):
                raise InputError(f"column {column!r} does not vary; a VARMA needs variation: leave the column out")
        scaled, scaling = standardise(seqs)
        if self._options["trend"] == "n":
            scaling = Scaling(np.zeros(k), scaling.scale)
            scaled = scaling.apply(seqs)
        whole = scaled.values[~np.isnan(scaled.values).any(axis=1)]
        if len(whole) > k:
            refuse_dependence(whole.T @ whole / len(whole), seqs.columns)
        scaled, input_scaling = standardise_inputs(scaled, centre=self._options["trend"] == "c")
        return scaled, scaling, input_scaling, (k, p, q, width)

    def _search(
        self,
        scaled: Sequences,
        shape: tuple[int, int, int, int],
        max_iter: int,
        tol: float,
        restarts: int,
        seed: int | None,
    ) -> Maximum:
        k, p, q, _ = shape
        trend = self._options["trend"]

        objective = VarmaObjective(scaled, shape, trend)
        first = algebra.start_parameters(scaled, p, q, trend)
        starts = [algebra.pack(first, trend)]
        if q:
            plain = algebra.start_parameters(scaled, p, 0, trend)
            starts.append(
                algebra.pack(
                    VarmaParameters(plain.ar, np.zeros((q, k, k)), plain.mean, plain.weights, plain.cov), trend
                )
            )
            white = np.cov(np.nan_to_num(scaled.values), rowvar=False).reshape(k, k) + 1e-6 * np.eye(k)
            starts.append(
                algebra.pack(VarmaParameters(0 * first.ar, 0 * first.ma, first.mean, first.weights, white), trend)
            )
            rng = generator(seed)
            for i in range(restarts):
                near = starts[0] + 0.2 * rng.standard_normal(starts[0].size)
                far = algebra.pack(algebra.random_parameters(first, rng), trend)
                starts.append(far if i % 2 else near)
        kept = None if k == 1 else max(_FOLLOWED, restarts // 2)
        return maximise(objective, starts, scaled.rows, max_iter, tol, objective.inverse_information, kept=kept)

    def _result(self, seqs: Sequences, found: Maximum, begun: float) -> FitResult:
        notes = []
        spread = np.nanstd(seqs.values, axis=0)
        if np.linalg.eigvalsh(self.innovation_cov / np.outer(spread, spread))[0] < 1e-8:
            notes.append(
                "the innovation covariance is almost singular: a column is a linear combination of others and of the past, so that the "
                "likelihood has no maximum; leave it out"
            )
        process = float(np.abs(np.linalg.eigvals(self.system.A)).max())
        if process > 0.999:
            notes.append(
                f"the process has a root of modulus {process:.5f}, close to a unit root; consider differencing the data"
            )
        if self._options["q"] and self.memory().rate > 0.999:
            notes.append(
                "the moving-average part has a root on the unit circle at the maximum; its innovations are recovered only slowly"
            )
        agreeing = sum(value > found.log_prob - 0.01 for value in found.others)
        if agreeing < 2 <= len(found.others):
            notes.append(
                f"the likelihood has several maxima: only {agreeing} of {len(found.others)} searches reached the best one; raise `restarts`"
            )
        steps = seqs.n_observed_steps
        log_prob = float(self.log_prob(seqs).sum())
        details = {"gradient_norm": found.gradient_norm, "starts": list(found.others)}
        return FitResult(
            found.outcome, log_prob, steps, found.trace, time.perf_counter() - begun, tuple(notes), details
        )

    def _estimate(self) -> Estimates | None:
        known = self._training
        if known is None:
            return None
        trend = self._options["trend"]
        k, p, q = len(known.par.mean), len(known.par.ar), len(known.par.ma)
        shape = (k, p, q, known.par.weights.shape[1])
        point = algebra.pack(known.par, trend)
        information = observed_information(VarmaObjective(known.seqs, shape, trend), point)

        def natural(at: np.ndarray) -> np.ndarray:
            par = algebra.unpack(at, shape, trend)
            return _flat(_in_original_units(par, known.scaling, known.inputs), trend)

        notes: tuple[str, ...] = (
            () if np.isfinite(information.condition) else ("the information matrix is not positive definite",)
        )
        names = _names(known.seqs, p, q, trend)
        covariance = delta_method(natural, point, information.covariance)
        if self.memory().rate > 0.999:
            notes += ("a moving-average root is on the unit circle, where estimates are not asymptotically normal",)
        return Estimates(names, natural(point), covariance, information.condition, information.step, notes)

    def impulse_response(self, steps: int = 20, orthogonal: bool = False, level: float = 95) -> ImpulseResponse:
        """Ψ[h] in y[t] − μ[t] = Σ Ψ[h] e[t−h], with pointwise bands by the delta method.

        Args:
            steps: steps after the shock, from 0.
            orthogonal: shocks of Ψ[h] P, P P' = Σ lower triangular, that depend on the order of the columns; else one unit of each innovation.
            level: of the bands, in per cent, between 0 and 100. They are NaN where there are no standard errors.

        Source: Lütkepohl (2005), §11.3 and, for the bands, §3.7.

        Example:
            >>> VARMA(p=1).fit(seqs).impulse_response(steps=8).response.shape
            (9, 1, 1)
        """
        steps = checks.counted("steps", steps, self.mean.size**2 * (self.n_parameters + 1), low=0)
        orthogonal = checks.Flag().check("orthogonal", orthogonal)
        level = checks.levels(level)[0]
        own = self._parameters_in_letters()
        k, p, q = len(own.mean), len(own.ar), len(own.ma)
        before = own.mean.size * (self._options["trend"] == "c") + own.weights.size
        sizes = [before, p * k * k, q * k * k]

        def response(point: np.ndarray) -> np.ndarray:
            _, ar, ma, lower = np.split(point, np.cumsum(sizes))
            cov = np.zeros((k, k))
            cov[np.tril_indices(k)] = lower
            cov = cov + np.tril(cov, -1).T
            psi = algebra.responses(ar.reshape(p, k, k), ma.reshape(q, k, k), steps)
            return np.ravel(psi @ np.linalg.cholesky(cov) if orthogonal else psi)

        shape = (steps + 1, k, k)
        point = _flat(self.parameters, self._options["trend"])
        middle = response(point)
        try:
            covariance = self.standard_errors().covariance
            units = np.abs(point) + np.sqrt(
                np.diag(covariance)
            )  # differences in proportion to each parameter's own size
            natural = delta_method(lambda z: response(z * units), point / units, covariance / units[:, None] / units)
            with np.errstate(invalid="ignore"):
                half = float(ndtri(0.5 + level / 200)) * np.sqrt(np.diag(natural))
        except NotFittedError:
            half = np.full(middle.size, np.nan)
        names = tuple(self._schema["columns"]) if self._schema else tuple(f"y{i + 1}" for i in range(k))
        bounds = ((middle - half).reshape(shape), (middle + half).reshape(shape))
        return ImpulseResponse(middle.reshape(shape), *bounds, level, orthogonal, names)

    @property
    def _fitted_lags(self) -> int:
        return int(self._options["p"] + self._options["q"])

    def _build_system(self) -> System:
        par = self._parameters_in_letters()
        sys = algebra.innovations_system(par)
        if sys is None:
            raise InputError("the autoregressive part is not stationary; refit the model")
        return sys

    def _parameters_in_letters(self) -> VarmaParameters:
        own = self.parameters
        return VarmaParameters(own["ar"], own["ma"], own["mean"], own["input_weights"], own["innovation_cov"])

    @property
    def ar(self) -> np.ndarray:
        """(p, k, k) Φ₁ … Φₚ."""
        return self.parameters["ar"]

    @property
    def ma(self) -> np.ndarray:
        """(q, k, k) Θ₁ … Θ_q."""
        return self.parameters["ma"]

    @property
    def mean(self) -> np.ndarray:
        """(k,) the mean of y where the inputs are zero."""
        return self.parameters["mean"]

    @property
    def intercept(self) -> np.ndarray:
        """(k,) (I − Σ Φᵢ) mean."""
        return self.mean - self.ar.sum(axis=0) @ self.mean

    @property
    def innovation_cov(self) -> np.ndarray:
        """(k, k) Σ."""
        return self.parameters["innovation_cov"]

    @property
    def n_parameters(self) -> int:
        """Entries of Φ, Θ, the mean, D and the lower half of Σ."""
        own = self.parameters
        k = len(own["mean"])
        means = k if self._options["trend"] == "c" else 0
        return own["ar"].size + own["ma"].size + means + own["input_weights"].size + k * (k + 1) // 2


def _in_original_units(par: VarmaParameters, scaling: Scaling, inputs: Scaling) -> dict[str, np.ndarray]:
    s = scaling.scale
    weights = s[:, None] * par.weights / inputs.scale
    return {
        "ar": par.ar * s[:, None] / s,
        "ma": par.ma * s[:, None] / s,
        "mean": scaling.mean + s * par.mean - weights @ inputs.mean,
        "input_weights": weights,
        "innovation_cov": par.cov * np.outer(s, s),
    }


def _flat(own: dict[str, np.ndarray], trend: str) -> np.ndarray:
    """The free parameters in the order of `_names`."""
    lower = np.tril_indices(len(own["mean"]))
    mean = own["mean"] if trend == "c" else np.zeros(0)
    parts = [mean, own["input_weights"], own["ar"], own["ma"], own["innovation_cov"][lower]]
    return np.concatenate([np.ravel(part) for part in parts])


def _names(seqs: Sequences, p: int, q: int, trend: str) -> tuple[str, ...]:
    columns, inputs = seqs.columns, seqs.input_columns if seqs.inputs is not None else ()
    names = [f"mean {y}" for y in columns] if trend == "c" else []
    names += [f"{y} on {u}" for y in columns for u in inputs]
    names += [f"ar{i + 1} {y} on {x}" for i in range(p) for y in columns for x in columns]
    names += [f"ma{j + 1} {y} on {x}" for j in range(q) for y in columns for x in columns]
    return (*names, *(f"cov {columns[i]}, {columns[j]}" for i, j in zip(*np.tril_indices(len(columns)), strict=True)))
