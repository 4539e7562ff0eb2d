"""Expectation maximisation: a loop that knows no model.

Source: Dempster, Laird & Rubin, J. R. Statist. Soc. B 39 (1977). Each step cannot lower the likelihood (their theorem 1);
the loop holds the caller's steps to that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from statewise._core.errors import NumericalError
from statewise._core.outcome import Outcome

P = TypeVar("P")
S = TypeVar("S")

_ROUNDING = 1e-9  # a fall of the log-likelihood by this share of its size is rounding


@dataclass(frozen=True, eq=False)
class EMResult(Generic[P]):
    """Where EM ended.

    Attributes:
        parameters: the best found.
        log_prob: their log-likelihood, in nats.
        trace: (iterations,) log-likelihood after each iteration.
        start_log_prob: log-likelihood before the first one.
        outcome: CONVERGED, MAX_ITER, or why the start was of no use: IMPOSSIBLE or NOT_FINITE.
        judge: where the last M step has no log-likelihood yet, computes the result with it; `parameters` are those of that
            step, and `log_prob` and `trace` end before it. Else None.
    """

    parameters: P
    log_prob: float
    trace: np.ndarray
    start_log_prob: float
    outcome: Outcome
    judge: Callable[[], EMResult[P]] | None = None

    def judged(self) -> EMResult[P]:
        """The result with the log-likelihood of its parameters."""
        return self if self.judge is None else self.judge()


def em(
    start: P,
    e_step: Callable[[P], tuple[float, S]],
    m_step: Callable[[P, S], P],
    *,
    n_steps: int,
    max_iter: int,
    tol: float,
    score: Callable[[P], float] | None = None,
    waits: Callable[[P], bool] = lambda parameters: False,
    on_iteration: Callable[[], None] = lambda: None,
) -> EMResult[P]:
    """Alternate the two steps until an iteration gains less than `tol` nats per step of data.

    Args:
        start: parameters to begin with, never changed.
        e_step: parameters -> (log-likelihood in nats, expected statistics).
        m_step: (parameters, statistics) -> new parameters whose expected log-likelihood is at least as high.
        n_steps: steps of data, for the tolerance.
        max_iter: iterations, each one M step and one E step.
        tol: nats per step of data.
        score: parameters -> the same log-likelihood without the statistics, which the last iteration has no use for.
        waits: whether the score of the last iteration's parameters is left to `EMResult.judge`: only where it is sure to be
            finite and no lower than before, since the parameters are kept without it.
        on_iteration: called after each iteration.

    Raises:
        NumericalError: the log-likelihood fell by more than rounding: the M step is not a maximum.
    """
    parameters = start
    log_prob, statistics = e_step(parameters)
    began = log_prob
    trace: list[float] = []
    outcome = _usable(log_prob)
    while outcome is None and len(trace) < max_iter:
        candidate = m_step(parameters, statistics)
        if score is not None and len(trace) + 1 == max_iter:
            before = EMResult(candidate, log_prob, np.array(trace), began, Outcome.MAX_ITER)
            if waits(candidate):
                on_iteration()
                return replace(before, judge=partial(_judged, before, score, n_steps, tol))
            gained = score(candidate)
        else:
            gained, statistics = e_step(candidate)
        outcome = _usable(gained)
        if outcome is not None:
            break
        _hold_to_rising(log_prob, gained, n_steps, len(trace) + 1)
        outcome = _ended(gained - log_prob, tol * n_steps)
        parameters, log_prob = candidate, gained
        trace.append(log_prob)
        on_iteration()
    return EMResult(parameters, log_prob, np.array(trace), began, outcome or Outcome.MAX_ITER)


def _judged(before: EMResult[P], score: Callable[[P], float], n_steps: int, tol: float) -> EMResult[P]:
    """The result of which `before` lacks the last log-likelihood."""
    gained = score(before.parameters)
    if not np.isfinite(gained):
        raise NumericalError(
            f"EM's last parameters have the log-likelihood {gained:g}; please report this with the data"
        )
    _hold_to_rising(before.log_prob, gained, n_steps, len(before.trace) + 1)
    outcome = _ended(gained - before.log_prob, tol * n_steps) or Outcome.MAX_ITER
    return replace(before, log_prob=gained, trace=np.append(before.trace, gained), outcome=outcome)


def _ended(gain: float, least: float) -> Outcome | None:
    """Whether so small a gain ends the iterations."""
    return Outcome.CONVERGED if gain < least else None


def _usable(log_prob: float) -> Outcome | None:
    """None for a finite log-likelihood, else what is wrong with it."""
    if log_prob == -np.inf:
        return Outcome.IMPOSSIBLE
    return None if np.isfinite(log_prob) else Outcome.NOT_FINITE


def _hold_to_rising(before: float, after: float, n_steps: int, iteration: int) -> None:
    if after < before - _ROUNDING * max(abs(before), n_steps):
        raise NumericalError(
            f"EM lowered the log-likelihood from {before:.10g} to {after:.10g} nats in iteration {iteration}, which an exact "
            "M step cannot do; please report this with the data"
        )
