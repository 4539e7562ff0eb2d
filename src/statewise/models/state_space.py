"""A linear-Gaussian state-space model with matrices that are given, or estimated from sequences."""

from __future__ import annotations

import time as clocks
from dataclasses import replace
from typing import Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, NumericalError
from statewise._core.seed import generator
from statewise.fitting.em import EMResult
from statewise.fitting.linear_gaussian_em import fit_em, refuse_indefinite
from statewise.fitting.linear_gaussian_mle import Problem, fit_mle
from statewise.inference import filtering
from statewise.inference.subspace import subspace_system
from statewise.inference.system import System
from statewise.inference.varying import Clock, Continuous, Steps, discretised
from statewise.models.base import Trainable
from statewise.models.linear_gaussian import LinearGaussian, refuse_unobserved
from statewise.models.state_space_form import LETTERS, TIME_UNITS, checked_system, clock, in_time, with_future
from statewise.models.stream import Stream
from statewise.results.fit import FitResult
from statewise.results.marginals import GaussianMarginals
from statewise.sequences.build import as_sequences
from statewise.sequences.scaling import refuse_tiny
from statewise.sequences.sequences import Sequences

_MATRIX, _VECTOR = checks.Array(2, in_time=True), checks.Array(1, in_time=True)
_START = ("initial_mean", "initial_cov")


class StateSpace(LinearGaussian, Trainable):
    """x[t+1] = A x[t] + B u[t] + b + w[t],  y[t] = C x[t] + D u[t] + d + v[t],  t = 1 … T.

    Matrices may change with the step: one with a leading axis of length T, such as a transition of shape (T, n, n), gives A[1] … A[T], for all
    sequences alike, and a forecast needs those of the steps ahead too. Or time is continuous, and the rows are seen at irregular times:
    dx = (A x + B u + b) dt + dW, Cov(dW) = Q dt, with inputs held from one row to the next (see `statewise.inference.varying`).

    Args:
        transition: A, (n, n).
        observation: C, (p, n).
        state_noise: Q = Cov(w), (n, n).
        observation_noise: R = Cov(v), (p, p).
        noise_cross: S = Cov(w[t], v[t]), (n, p); zero unless given.
        initial_mean, initial_cov: mean (n,) and covariance (n, n) of x[1] before y[1] is seen.
        initial: 'known' (the two above), 'stationary' (the law that the transition leaves unchanged), or 'diffuse' (no knowledge at all,
            treated exactly, of the states that have no variance in `initial_cov`, if that is given; their `initial_mean` is only where
            `sample` starts), or 'estimated' (`fit` estimates the two above, beginning
            with what is given, or else with the stationary law). Default: known if `initial_mean` is given, else stationary,
            else, where there is a unit root, diffuse.
        state_intercept, observation_intercept: b (n,), d (p,).
        input_to_state, input_to_observation: B (n, u), D (p, u).
        time: 'discrete', or 'continuous' for a transition that is the rate of change of x per unit of time, and a state_noise that is variance per
            unit of time. The gaps are those of the sequences' times, or 1 where they have none.
        time_unit: of dates, 'second', 'minute', 'hour', 'day' or 'week'; times that are numbers are taken as they are.
        form: how the filter carries covariances. 'covariance' is the fast one; 'square_root' keeps its digits where some combination of
            observations is known far better than others, and takes several times longer; 'auto' takes the second where the first would lose
            more than half of its digits, with a `PrecisionWarning`.

    Raises:
        InputError: a shape does not match, a covariance is not positive semi-definite, or the start asked for does not exist.

    The likelihood with a diffuse start includes −½ log 2π for each observation that settles it (Durbin & Koopman 2012, §7.2.2).

    Example:
        >>> model = StateSpace(transition=[[1.0]], observation=[[1.0]], state_noise=[[1469.178]],
        ...                    observation_noise=[[15098.53]], initial="diffuse")
        >>> float(model.log_prob(sw.datasets.load("nile"))[0])  # doctest: +ELLIPSIS
        -633.4645...
    """

    kind = "state-space"
    options = {
        "transition": _MATRIX,
        "observation": _MATRIX,
        "state_noise": _MATRIX,
        "observation_noise": _MATRIX,
        "noise_cross": checks.Optional(_MATRIX),
        "initial_mean": checks.Optional(checks.Array(1)),
        "initial_cov": checks.Optional(checks.Array(2)),
        "initial": checks.Optional(checks.Choice(("known", "stationary", "diffuse", "estimated"))),
        "state_intercept": checks.Optional(_VECTOR),
        "observation_intercept": checks.Optional(_VECTOR),
        "input_to_state": checks.Optional(_MATRIX),
        "input_to_observation": checks.Optional(_MATRIX),
        "time": checks.Choice(("discrete", "continuous")),
        "time_unit": checks.Choice(tuple(TIME_UNITS)),
        "form": checks.Choice(("auto", "covariance", "square_root")),
    }

    def __init__(
        self,
        transition: Any,
        observation: Any,
        state_noise: Any,
        observation_noise: Any,
        noise_cross: Any = None,
        initial_mean: Any = None,
        initial_cov: Any = None,
        initial: str | None = None,
        state_intercept: Any = None,
        observation_intercept: Any = None,
        input_to_state: Any = None,
        input_to_observation: Any = None,
        time: str = "discrete",
        time_unit: str = "day",
        form: str = "auto",
    ) -> None:
        super().__init__(
            transition=transition,
            observation=observation,
            state_noise=state_noise,
            observation_noise=observation_noise,
            noise_cross=noise_cross,
            initial_mean=initial_mean,
            initial_cov=initial_cov,
            initial=initial,
            state_intercept=state_intercept,
            observation_intercept=observation_intercept,
            input_to_state=input_to_state,
            input_to_observation=input_to_observation,
            time=time,
            time_unit=time_unit,
            form=form,
        )
        self._system = self._build_system()
        self._parameters = {name: value for name, value in self._options.items() if isinstance(value, np.ndarray)}
        p, u = self._system.p, self._system.D.shape[-1]
        self._schema = {
            "columns": ["y"] if p == 1 else [f"y{j + 1}" for j in range(p)],
            "input_columns": [f"u{j + 1}" for j in range(u)],
            "season": None,
        }

    @classmethod
    def from_system(cls, system: System) -> StateSpace:
        """The model of an `inference.linear_gaussian.System`, diffuse where that one is."""
        initial = "diffuse" if system.Pinf.any() else "known"
        model = cls(
            system.A, system.C, system.Q, system.R, system.S, system.m0, system.P0, initial,
            system.b, system.d, system.B if system.B.shape[1] else None, system.D if system.D.shape[1] else None,
        )  # fmt: skip
        model._system = system
        return model

    @property
    def label(self) -> str:
        return f"states={self._given.n}, dim={self._given.p}"

    @classmethod
    def random(cls, states: int = 2, dim: int = 1, seed: int | None = None) -> StateSpace:
        """A stable model drawn at random: eigenvalues of the transition of modulus .5 to .95, noise of about unit size.

        Its start is the stationary law, and is estimated with the rest by `fit`.

        Args:
            states: n, from 1.
            dim: p, from 1.
            seed: of the draw.

        Example:
            >>> sw.StateSpace.random(states=4, dim=2, seed=0)
            StateSpace(states=4, dim=2)
        """
        n, p = checks.Integer(1).check("states", states), checks.Integer(1).check("dim", dim)
        rng = generator(seed)
        A = _turning(rng, n)
        root = rng.standard_normal((n, n)) / np.sqrt(n)
        return cls(
            A, rng.standard_normal((p, n)), root @ root.T + 0.1 * np.eye(n), np.diag(rng.uniform(0.2, 1.0, p)),
            initial="estimated",
        )  # fmt: skip

    @classmethod
    def subspace(cls, data: Any, states: int, lags: int | None = None, noise_cross: bool = True) -> StateSpace:
        """A model estimated by canonical correlations of the past with the future: no search, and so a start for `fit`.

        Its start is the stationary law and its matrices are in the data's units. Missing entries are allowed.

        Args:
            data: sequences without inputs, pooled.
            states: n, from 1 to lags times the columns.
            lags: steps of past and of future; by default 10, or what the data's length allows.
            noise_cross: whether to keep Cov(w, v), which `fit` needs method='mle' for; without it the model begins a little further from
                the maximum.

        Raises:
            InputError: too many states, or a series too short for them.

        Source: Larimore, IEEE Conference on Decision and Control (1990); see `statewise.inference.subspace`.

        Example:
            >>> model = sw.StateSpace.subspace(sw.datasets.load("sunspots"), states=2)
            >>> model.fit(sw.datasets.load("sunspots"), method="mle").fit_result.outcome.ok
            True
        """
        seqs = as_sequences(data)
        if seqs.inputs is not None:
            raise InputError(
                "the sequences have inputs, which a subspace start has no place for; pass sequences without them"
            )
        states = checks.Integer(1).check("states", states)
        noise_cross = checks.Flag().check("noise_cross", noise_cross)
        longest = int(seqs.lengths.max()) // 3
        lags = checks.Integer(1).check(
            "lags", max(1, min(max(10, -(-states // seqs.dim)), longest)) if lags is None else lags
        )
        if states > lags * seqs.dim or 2 * lags >= seqs.lengths.max():
            raise InputError(
                f"`states` is {states} with {lags} lags of {seqs.dim} columns and {seqs.lengths.max()} steps; pass states of at "
                "most lags times columns, and lags of less than half of the steps"
            )
        sys = subspace_system(seqs, states, lags)
        S = sys.S if noise_cross else None
        model = cls(
            sys.A,
            sys.C,
            sys.Q,
            sys.R,
            S,
            initial="stationary" if noise_cross else "estimated",
            observation_intercept=sys.d,
        )
        model._learn_schema(seqs)
        return model

    def fit(self, data: Any, method: str = "em", fix: Any = (), max_iter: int | None = None, tol: float = 1e-6) -> Self:
        """Maximum likelihood from the present matrices, in place, pooled over all sequences.

        Estimated are the matrices that the model has and `fix` does not name, without those that change with the step; intercepts and input
        weights that were never given stay zero. With initial='estimated' so are initial_mean and initial_cov. Where all matrices are free
        only the law of y is identified: any change of the state's basis fits as well.

        Expectation maximisation never lets the likelihood fall, and is slow close to the maximum; BFGS on the exact gradient is fast there,
        and takes a stationary start, noise_cross, matrices that change and continuous time too. Both find a local maximum: start more than once.

        Args:
            data: sequences; any entry may be missing.
            method: "em", or "mle" for BFGS.
            fix: names of matrices to keep as they are, such as ("observation", "state_noise").
            max_iter: iterations, from 1; 200 for "em" and 500 for "mle" unless given.
            tol: for "em", gain in nats per step of data below which it has converged: a small gain is not proof of a maximum. For "mle", the
                largest entry of the gradient per step, in units of the data's standard deviations.

        Raises:
            InputError: `fix` names no matrix of the model, or for "em" the model has noise_cross or a stationary start, which have no closed
                M step.
            NumericalError: the data leave a variance at zero or do not identify a diffuse start.

        Source: Shumway & Stoffer, J. Time Series Analysis 3 (1982).

        Example:
            >>> model = sw.StateSpace([[1.0]], [[1.0]], [[1000.0]], [[10000.0]], initial="diffuse")
            >>> model = model.fit(sw.datasets.load("nile"), fix=("transition", "observation"), max_iter=500, tol=1e-8)
            >>> round(model.fit_result.log_prob, 2)
            -633.46
        """
        begun = clocks.perf_counter()
        method = checks.Choice(("em", "mle")).check("method", method)
        max_iter = checks.Integer(1).check(
            "max_iter", (200 if method == "em" else 500) if max_iter is None else max_iter
        )
        tol = checks.Real(0.0, 1.0, open_low=True).check("tol", tol)
        names = self._free_names(fix, method)
        seqs = self._receive(data)
        refuse_tiny(seqs)
        refuse_unobserved(seqs)
        sys = self._given
        details: dict[str, float] = {}
        if method == "em":
            found = fit_em(sys, seqs, frozenset(LETTERS[name] for name in names), max_iter, tol)
        else:
            found, details["gradient_norm"] = self._climb(seqs, names, max_iter, tol)
        if not np.isfinite(found.log_prob):
            raise NumericalError(f"fitting failed at the start: {found.outcome.value}")
        refuse_indefinite(found.parameters)
        new = {name: getattr(found.parameters, LETTERS[name]) for name in names}
        self._learn_schema(seqs)
        if self._options["initial"] == "estimated":  # one that `fix` keeps too: it is not to follow the new transition
            new = {"initial_mean": found.parameters.m0, "initial_cov": found.parameters.P0} | new
        elif self._options["initial"] is None and sys.Pinf.any():
            self._options["initial"] = "diffuse"  # what it was fitted with, whatever the new transition allows
        self._parameters = self.parameters | new
        self._system = found.parameters
        count = sum(_entries(name, self._parameters[name]) for name in names)
        self.fit_result = _result(seqs, found, count, clocks.perf_counter() - begun, details)
        return self

    @property
    def _stationary(self) -> bool:
        """Whether the start is the stationary law, so that it follows the other matrices."""
        free = self._options["initial"] not in ("estimated", "diffuse") and self._options["initial_mean"] is None
        return free and not self._given.Pinf.any()

    def _climb(self, seqs: Sequences, names: list[str], max_iter: int, tol: float) -> tuple[EMResult[System], float]:
        start = float(self._log_prob_steps(seqs).sum())
        problem = Problem(self._given, tuple(LETTERS[name] for name in names), self._stationary, self._clock)
        sys, found = fit_mle(problem, seqs, max_iter, tol)
        return EMResult(sys, found.log_prob, found.trace, start, found.outcome), found.gradient_norm

    def _free_names(self, fix: Any, method: str) -> list[str]:
        """Names of the matrices to estimate."""
        estimated = self._options["initial"] == "estimated"
        if method == "em" and type(self._clock) is not Clock:
            raise InputError(
                "EM is for matrices that hold at every step and not for this model in time; pass method='mle'"
            )
        if method == "em" and self._given.S.any():
            raise InputError(
                "`noise_cross` is not zero and EM has no closed M step for it; pass method='mle', or leave `noise_cross` out"
            )
        if method == "em" and self._stationary:
            raise InputError(
                "the start is stationary, and EM has no closed M step for that; pass method='mle', or make the model with initial='estimated' or "
                "'diffuse', or with initial_mean and initial_cov"
            )
        own = [name for name in LETTERS if name not in _START and self._options[name] is not None]
        own = [name for name in own if method == "mle" or name != "noise_cross"]
        own = [name for name in own if not in_time(name, self._options[name])]
        own += _START if estimated else ()
        fixed = (fix,) if isinstance(fix, str) else tuple(checks.listed("fix", fix, f"names out of {', '.join(own)}"))
        for name in fixed:
            if not isinstance(name, str) or name not in own:
                raise InputError(f"`fix` has {checks.shown(name)}; pass names out of {', '.join(own)}")
        free = [name for name in own if name not in fixed]
        if "noise_cross" in free and not {"state_noise", "observation_noise"} <= set(free):
            raise InputError(
                "`fix` keeps a noise covariance and frees `noise_cross`; pass fix=('state_noise', 'observation_noise', 'noise_cross')"
            )
        if not free:
            raise InputError("`fix` leaves nothing to estimate; leave a name out of it")
        return free

    def _build_system(self) -> System:
        given = self._options | (self._parameters or {})
        self._clock = clock(given)
        return checked_system(given, self._clock)

    @property
    def _given(self) -> System:
        """The system as given: with a time axis, or in continuous time, where the model is."""
        if self._system is None:
            self._system = self._build_system()
        return self._system

    @property
    def system(self) -> System:
        """The state-space form, in letters (see `statewise.inference.linear_gaussian.System`); of a continuous model that over a gap of 1.

        Raises:
            InputError: matrices change with the step, so that there is no one system.
        """
        if isinstance(self._clock, Steps):
            raise InputError(
                "the matrices of this model change from step to step, and what was asked for needs a model whose matrices do not; "
                "make one with sw.StateSpace of the matrices of one step"
            )
        given = self._given
        if not isinstance(self._clock, Continuous):
            return given
        parts = discretised(given, np.ones(1))
        return replace(given, **{letter: part[0] for letter, part in parts.items()})

    def _system_for(self, seqs: Sequences) -> System:
        return self._clock.at(self._given, seqs)

    def _system_of_steps(self, length: int) -> System:
        rows = np.full((length, self._given.p), np.nan)
        return self._clock.at(self._given, Sequences(rows, np.array([length])))

    def _ahead(self, seqs: Sequences, steps: int, inputs: np.ndarray | None) -> GaussianMarginals:
        if type(self._clock) is Clock:
            return super()._ahead(seqs, steps, inputs)
        longer = with_future(seqs, steps, inputs)
        return filtering.forecast_rows(self._system_for(longer), longer, steps)

    def stream(self, state: bytes | None = None) -> Stream:
        """As `LinearGaussian.stream`; a continuous model has no steps to stream by, and is refused."""
        if isinstance(self._clock, Continuous):
            raise InputError(
                "a stream goes by steps, and this model is in continuous time; filter the sequence again as it grows"
            )
        return super().stream(state)

    @property
    def n_parameters(self) -> int:
        """Entries that the last fit estimated, a covariance's counted once; 0 while every matrix is as given."""
        return 0 if self.fit_result is None else int(self.fit_result.details["free_entries"])


def _entries(name: str, value: np.ndarray) -> int:
    n = len(value)
    return n * (n + 1) // 2 if name in ("state_noise", "observation_noise", "initial_cov") else value.size


def _result(seqs: Sequences, found: EMResult[System], count: int, seconds: float, more: dict[str, float]) -> FitResult:
    steps = seqs.n_observed_steps
    details = {"free_entries": count, "start_log_prob": found.start_log_prob} | more
    return FitResult(found.outcome, found.log_prob, steps, found.trace, seconds, (), details)


def _turning(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, n) blocks that turn and shrink by .5 to .95, in a random orthonormal basis."""
    A = np.zeros((n, n))
    for i in range(0, n - 1, 2):
        size, angle = rng.uniform(0.5, 0.95), rng.uniform(0.0, np.pi)
        A[i : i + 2, i : i + 2] = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if n % 2:
        A[-1, -1] = rng.uniform(0.5, 0.95)
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return np.asarray(basis @ A @ basis.T)
