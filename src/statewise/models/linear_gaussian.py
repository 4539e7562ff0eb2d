"""What all linear-Gaussian models share: every verb is inference on their state-space form."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise._core.seed import generator
from statewise.inference import filling, filtering, simulation, smoothing, steady
from statewise.inference.system import System
from statewise.models.base import Density, HasGaussianStates
from statewise.models.stream import Stream
from statewise.results.diagnosis import Diagnosis, diagnosis
from statewise.results.fit import Memory
from statewise.results.forecast import Forecast
from statewise.results.marginals import GaussianMarginals
from statewise.results.predicted import Predicted
from statewise.results.states import GaussianStates
from statewise.sequences.calendar import future_times
from statewise.sequences.sequences import Sequences


def refuse_unobserved(seqs: Sequences) -> None:
    """Refuse to fit to a column of which nothing is known."""
    empty = np.isnan(seqs.values).all(axis=0)
    if empty.any():
        raise InputError(
            f"column {seqs.columns[int(empty.argmax())]!r} has no observed entry; leave it out of the values"
        )


class LinearGaussian(Density, HasGaussianStates):
    """A model with a state-space form x[t+1] = A x[t] + …, y[t] = C x[t] + …; a subclass says what that form is."""

    @abc.abstractmethod
    def _build_system(self) -> System:
        """The state-space form of the present parameters."""

    @property
    def system(self) -> System:
        """The state-space form, in letters (see `statewise.inference.linear_gaussian.System`)."""
        if self._system is None:
            _ = self.parameters
            self._system = self._build_system()
        return self._system

    _system: System | None = None

    def _set_parameters(self, parameters: dict[str, np.ndarray]) -> None:
        self._parameters = parameters
        self._system = None

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        super()._restore(parameters, schema)
        self._system = None

    def _system_for(self, seqs: Sequences) -> System:
        """The system of the rows of `seqs`."""
        return self.system

    def _system_of_steps(self, length: int) -> System:
        """The system of the rows of one sequence of `length` steps, at the times 0, 1, …"""
        return self.system

    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        return filtering.log_prob_steps(self._system_for(seqs), seqs)

    def predict(self, data: Any) -> Predicted:
        """One-step-ahead means, variances and standardised residuals, from the Kalman filter.

        While a diffuse start is not settled there is no prediction: the mean and the residual are NaN and the variance is inf.
        """
        seqs = self._receive(data)
        sys = self._system_for(seqs)
        past = filtering.run_filter(sys, seqs)
        mean, var = filtering.observation_moments(sys, past.mean_pred, past.cov_pred, seqs.inputs)
        return Predicted.gaussian(seqs, np.where(past.diffuse, np.nan, mean), np.where(past.diffuse, np.inf, var))

    def filter(self, data: Any) -> GaussianStates:
        """Mean and covariance of x[t] given y[1 … t].

        A state that a diffuse start has not settled yet has mean NaN, variance inf and covariances NaN.
        """
        seqs = self._receive(data)
        past = filtering.run_filter(self._system_for(seqs), seqs)
        unknown = past.diffuse_filt
        cov = np.where(unknown[:, :, None] | unknown[:, None, :], np.nan, past.cov_filt)
        states = np.arange(cov.shape[1])
        cov[:, states, states] = np.where(unknown, np.inf, past.cov_filt[:, states, states])
        return GaussianStates(np.where(unknown, np.nan, past.mean_filt), cov, seqs.lengths, seqs.ids, seqs.times)

    def smooth(self, data: Any) -> GaussianStates:
        """Mean and covariance of x[t] given the whole sequence, and of the entries of y that are missing."""
        seqs = self._receive(data)
        sys = self._system_for(seqs)
        mean, cov = smoothing.smooth(sys, seqs)
        values = filling.entry_moments(sys, seqs, mean, cov)
        return GaussianStates(mean, cov, seqs.lengths, seqs.ids, seqs.times, *values)

    def sample_states(self, data: Any, count: int = 1, seed: int | None = None) -> np.ndarray:
        """(count, rows, n) draws of all the states of each sequence, jointly, given all of its observations.

        Their mean and covariance are those of `smooth`; unlike it, a draw is a whole path, for anything that depends on several steps at once.
        Rows are packed as in `Sequences`. Source: Durbin & Koopman, Biometrika 89 (2002).

        Args:
            data: sequences; missing entries are allowed.
            count: draws, at least 1.
            seed: of the draws.
        """
        seqs = self._receive(data)
        count = checks.counted("count", count, seqs.rows * self._system_for(seqs).n)
        return simulation.simulate_states(self._system_for(seqs), seqs, count, generator(seed))

    def forecast(
        self, data: Any, steps: int = 12, level: Any = (80, 95), inputs: Any = None, seed: int | None = 0
    ) -> Forecast:
        """Gaussian predictive distributions of the next `steps` steps, exact given the parameters.

        Args:
            data: sequences to forecast from; missing entries are allowed.
            steps: steps ahead, at least 1.
            level: interval levels in per cent.
            inputs: future inputs (N, steps, u) or (steps, u), for a model with inputs.
            seed: unused, the distributions are exact; there so that all models take the same arguments.
        """
        seqs = self._receive(data)
        steps = self._steps_ahead(steps, len(seqs))
        future = self._future_inputs(inputs, len(seqs), steps)
        marginals = self._ahead(seqs, steps, future)
        return Forecast(marginals, checks.levels(level), seqs.ids, seqs.columns, future_times(seqs, steps))

    def _ahead(self, seqs: Sequences, steps: int, inputs: np.ndarray | None) -> GaussianMarginals:
        return filtering.forecast(self.system, seqs, steps, inputs)

    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        """`count` sequences of `length` steps; a fitted model with a diffuse start begins where its first training sequence ended."""
        length, count = self._draws(length, count)
        given = self._future_inputs(inputs, count, length)
        y = filtering.sample(self._system_of_steps(length), length, count, generator(seed), given)
        return self._drawn(y, given)

    @property
    def _fitted_lags(self) -> int:
        """Lag coefficients that a fit estimates, for the degrees of freedom of `diagnose`."""
        return 0

    def diagnose(self, data: Any, lags: int = 10) -> Diagnosis:
        """Ljung–Box, Jarque–Bera and heteroscedasticity tests of the standardised one-step residuals, a column at a time.

        Args:
            data: sequences; residuals of all of them are pooled.
            lags: of the Ljung–Box test, from 1; a VARMA(p, q) takes p + q from its degrees of freedom.
        """
        seqs = self._receive(data)
        lags = checks.Integer(1).check("lags", lags)
        return diagnosis(self.predict(seqs).residuals, seqs.lengths, seqs.columns, lags, self._fitted_lags)

    def stream(self, state: bytes | None = None) -> Stream:
        """Filter a sequence as it arrives, a step at a time; `state` is what an earlier stream's `to_bytes` gave."""
        return Stream(self, state)

    def memory(self, data: Any = None) -> Memory:
        """Half-lives from the eigenvalues of the steady predictor A − K C and of the process A; `data` is not needed."""
        return steady.memory(self.system)


def refuse_dependence(cov: np.ndarray, columns: tuple[str, ...]) -> None:
    """Raise `InputError` if a covariance says that some columns are exact linear combinations of each other."""
    size = np.sqrt(np.diag(cov))
    values, vectors = np.linalg.eigh(cov / size[:, None] / size)
    if values[0] < 1e-12:
        involved = [name for name, weight in zip(columns, vectors[:, 0], strict=True) if abs(weight) > 1e-3]
        raise InputError(
            f"the columns {', '.join(map(repr, involved))} are linearly dependent, or have fewer complete rows than columns; leave one of them out"
        )
