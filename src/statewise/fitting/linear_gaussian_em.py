"""Expectation maximisation of a linear-Gaussian system, pooled over sequences, missing entries treated exactly.

Sources: Shumway & Stoffer, J. Time Series Analysis 3 (1982); Ghahramani & Hinton, Univ. Toronto CRG-TR-96-2 (1996). Both steps are
regressions: of x[t+1] on z[t] = (x[t], u[t], 1) with weights (A, B, b) and noise Q, and of y[t] on z[t] with weights (C, D, d) and noise R.
Where some entries of y[t] are missing, they are hidden variables like the state: given z[t] and the entries that are seen,
y_m = Θ_m z + R_mo R_oo⁻¹ (y_o − Θ_o z) + error with covariance R_mm − R_mo R_oo⁻¹ R_om, Θ = (C, D, d). A row without any entry says nothing
of the observation and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from statewise._core.errors import NumericalError
from statewise.fitting.em import EMResult, em
from statewise.inference.filtering import run_filter
from statewise.inference.smoothing import smooth_with_lag_one
from statewise.inference.system import System
from statewise.sequences.sequences import Sequences


@dataclass(frozen=True)
class Moments:
    """Sums over rows of E[target target'], E[target z'] and E[z z'] of one regression, and how many rows there are."""

    tt: np.ndarray
    tz: np.ndarray
    zz: np.ndarray
    count: int


@dataclass(frozen=True)
class Statistics:
    """Expected statistics: both regressions, and the smoothed start of each sequence, mean (N, n) and cov (N, n, n)."""

    state: Moments
    observation: Moments
    start_mean: np.ndarray
    start_cov: np.ndarray


def fit_em(sys: System, seqs: Sequences, free: frozenset[str], max_iter: int, tol: float) -> EMResult[System]:
    """EM from `sys`, whose S is zero, over the letters in `free` (of A, B, b, Q, C, D, d, R, m0, P0); the rest is kept.

    Raises:
        NumericalError: the smoother fails at some iterate, or the likelihood fell.
    """
    n_steps = seqs.n_observed_steps
    return em(
        sys,
        lambda at: e_step(at, seqs),
        lambda at, statistics: m_step(at, statistics, free),
        n_steps=n_steps,
        max_iter=max_iter,
        tol=tol,
    )


def e_step(sys: System, seqs: Sequences) -> tuple[float, Statistics]:
    """Log-likelihood at `sys` and the expected statistics given the data."""
    log_prob = float(run_filter(sys, seqs, store=False).log_prob.sum())
    mean, cov, lag_cov = smooth_with_lag_one(sys, seqs)
    first = seqs.offsets[:-1]
    z = _regressors(sys, seqs, mean)
    return log_prob, Statistics(
        _state_moments(seqs, mean, cov, lag_cov, z), _observation_moments(sys, seqs, cov, z), mean[first], cov[first]
    )


def _regressors(sys: System, seqs: Sequences, mean: np.ndarray) -> np.ndarray:
    """(rows, n + u + 1) E[z]."""
    u = np.zeros((seqs.rows, sys.B.shape[1])) if seqs.inputs is None else seqs.inputs[:, : sys.B.shape[1]]
    return np.hstack([mean, u, np.ones((seqs.rows, 1))])


def _state_moments(seqs: Sequences, mean: np.ndarray, cov: np.ndarray, lag_cov: np.ndarray, z: np.ndarray) -> Moments:
    n = mean.shape[1]
    now = np.ones(seqs.rows, bool)
    now[seqs.offsets[1:] - 1] = False
    now = np.flatnonzero(now)
    after = now + 1
    tz, zz = mean[after].T @ z[now], z[now].T @ z[now]
    tz[:, :n] += lag_cov[now].sum(axis=0)
    zz[:n, :n] += cov[now].sum(axis=0)
    return Moments(mean[after].T @ mean[after] + cov[after].sum(axis=0), tz, zz, len(now))


def _observation_moments(sys: System, seqs: Sequences, cov: np.ndarray, z: np.ndarray) -> Moments:
    p, n = sys.C.shape
    weights = np.hstack([sys.C, sys.D, sys.d[:, None]])
    tt, tz, zz, count = np.zeros((p, p)), np.zeros((p, z.shape[1])), np.zeros((z.shape[1], z.shape[1])), 0
    patterns, which = np.unique(~np.isnan(seqs.values), axis=0, return_inverse=True)
    for k, seen in enumerate(patterns):
        if not seen.any():
            continue
        rows = np.flatnonzero(which.ravel() == k)
        gone, own = ~seen, z[rows]
        own_zz = own.T @ own
        own_zz[:n, :n] += cov[rows].sum(axis=0)
        # y = given + M z + error: `given` is y_o and its share in y_m.
        given, M, error = np.zeros((len(rows), p)), np.zeros_like(weights), np.zeros((p, p))
        given[:, seen] = seqs.values[np.ix_(rows, seen)]
        if gone.any():
            share = sys.R[np.ix_(gone, seen)] @ np.linalg.pinv(sys.R[np.ix_(seen, seen)], hermitian=True)
            given[:, gone] = given[:, seen] @ share.T
            M[gone] = weights[gone] - share @ weights[seen]
            error[np.ix_(gone, gone)] = sys.R[np.ix_(gone, gone)] - share @ sys.R[np.ix_(seen, gone)]
        cross = given.T @ own
        tt += given.T @ given + cross @ M.T + M @ cross.T + M @ own_zz @ M.T + len(rows) * error
        tz += cross + M @ own_zz
        zz += own_zz
        count += len(rows)
    return Moments(tt, tz, zz, count)


def m_step(sys: System, statistics: Statistics, free: frozenset[str]) -> System:
    """The maximum of the expected log-likelihood over the letters in `free`, the others as in `sys`."""
    A, B, b, Q = _regress(statistics.state, (sys.A, sys.B, sys.b, sys.Q), [letter in free for letter in "ABbQ"])
    C, D, d, R = _regress(statistics.observation, (sys.C, sys.D, sys.d, sys.R), [letter in free for letter in "CDdR"])
    m0 = statistics.start_mean.mean(axis=0) if "m0" in free else sys.m0
    apart = statistics.start_mean - m0
    P0 = sys.P0
    if "P0" in free:
        P0 = statistics.start_cov.mean(axis=0) + apart.T @ apart / len(apart)
        P0 = (P0 + P0.T) / 2
    return replace(sys, A=A, B=B, b=b, Q=Q, C=C, D=D, d=d, R=R, m0=m0, P0=P0)


def _regress(moments: Moments, now: tuple[Any, ...], free: list[bool]) -> tuple[np.ndarray, ...]:
    """The blocks of weights that are free given those that are not, then the noise covariance of what is left."""
    first, second, constant, noise = now
    weights = np.hstack([first, second, constant[:, None]])
    n, u = first.shape[1], second.shape[1]
    columns = np.repeat(free[:3], [n, u, 1])
    if columns.any() and moments.count:
        rest = moments.tz[:, columns] - weights[:, ~columns] @ moments.zz[np.ix_(~columns, columns)]
        own = moments.zz[np.ix_(columns, columns)]
        units = np.sqrt(np.diag(own))
        units = np.where(units > 0, units, 1.0)
        weights[:, columns] = np.linalg.lstsq(own / units[:, None] / units, (rest / units).T, rcond=1e-14)[0].T / units
    if free[3] and moments.count:
        product = weights @ moments.tz.T
        noise = (moments.tt - product - product.T + weights @ moments.zz @ weights.T) / moments.count
        noise = (noise + noise.T) / 2
    parts = (weights[:, :n], weights[:, n : n + u], weights[:, -1])
    return *(np.ascontiguousarray(part) for part in parts), noise


def refuse_indefinite(sys: System) -> None:
    """Raise `NumericalError` if rounding made a covariance indefinite, which happens only where a variance has run to zero."""
    for name, cov in (("state_noise", sys.Q), ("observation_noise", sys.R), ("initial_cov", sys.P0)):
        if not np.isfinite(cov).all() or np.linalg.eigvalsh(cov)[0] < -1e-9 * max(float(np.abs(cov).max()), 1e-300):
            raise NumericalError(
                f"the estimate of `{name}` ran to a singular matrix; keep it with fix=('{name}',), or fit fewer states"
            )
