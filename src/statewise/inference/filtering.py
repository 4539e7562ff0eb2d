"""The Kalman filter of every sequence, and its forecasts and simulations: functions of (system, sequences)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from statewise._core.errors import InputError
from statewise._core.outcome import Outcome
from statewise.inference.modal import LEAST_ROWS, modal
from statewise.inference.system import System, square_root, without_offsets
from statewise.kernels import kalman
from statewise.kernels._chunks import by_sequence, share
from statewise.results.marginals import GaussianMarginals
from statewise.sequences.sequences import Sequences


@dataclass(frozen=True)
class Filtering:
    """What one pass of the filter leaves, packed over rows; `*_next` is the prediction after the last step of each sequence.

    `diffuse_next` (N, n, d) is a factor of its diffuse covariance, zero where the start is settled, and `reach_next` the size of the terms
    that it is the remainder of (see `statewise.kernels.kalman`). `steady_from` (N,) is the step of each sequence from which `cov_pred` and
    `cov_filt` are constant to its end; its length where they do not settle.
    """

    log_prob: np.ndarray
    mean_pred: np.ndarray
    cov_pred: np.ndarray
    mean_filt: np.ndarray
    cov_filt: np.ndarray
    diffuse: np.ndarray
    diffuse_filt: np.ndarray
    mean_next: np.ndarray
    cov_next: np.ndarray
    diffuse_next: np.ndarray
    reach_next: np.ndarray
    steady_from: np.ndarray


def run_filter(sys: System, seqs: Sequences, store: bool = True, settle: bool = True) -> Filtering:
    """Kalman filter of every sequence. ``store=False`` keeps only the log-likelihoods and the last prediction, in O(n²) memory.

    With `settle`, a covariance that has come within about 1e-11 of its steady state is held there while rows are complete.

    Raises:
        NumericalError: an observation had no variance at all given the past (`Outcome.NOT_POSITIVE_DEFINITE`).
    """
    result, status = filter_status(sys, seqs, store, settle)
    if status.any():
        Outcome.NOT_POSITIVE_DEFINITE.check()
    return result


def log_prob_steps(sys: System, seqs: Sequences) -> np.ndarray:
    """(rows,) the log density of each step given those before it.

    Raises:
        NumericalError: as `run_filter`.
    """
    if seqs.rows >= LEAST_ROWS and np.isnan(seqs.values).any():
        sys = modal(sys) or sys
    return run_filter(sys, seqs, store=False).log_prob


def filter_status(
    sys: System, seqs: Sequences, store: bool, settle: bool = True, filtered: bool = True
) -> tuple[Filtering, np.ndarray]:
    """As `run_filter`, but with the status of each sequence in place of an exception (2: degenerate).

    Without `filtered` there are no moments given the present observation, and `cov_pred` holds no rows after the first of a steady state.
    """
    rows, count, n, p = seqs.rows, len(seqs), sys.n, sys.p
    kept = rows if store else 0
    log_prob, status, steady_from = np.empty(rows), np.zeros(count, np.int64), np.zeros(count, np.int64)
    mean_pred, cov_pred = np.empty((kept, n)), np.empty((kept, n, n))
    kept_filt = kept if filtered else 0
    mean_filt, cov_filt = np.empty((kept_filt, n)), np.empty((kept_filt, n, n))
    diffuse, diffuse_filt = np.zeros((kept, p), np.bool_), np.zeros((kept, n), np.bool_)
    W = square_root(sys.Pinf)
    m, P, diffuse_next, reach = (np.repeat(start[None], count, axis=0) for start in (sys.m0, sys.P0, W, W))
    y, offset = without_offsets(sys, seqs.values, seqs.inputs)
    offsets = seqs.offsets

    def work(_: int, first: int, last: int) -> None:
        kalman.filter_packed(
            first, last, y, offsets, offset, sys.A, sys.C, sys.Q, sys.R, sys.S, m, P, diffuse_next, reach,
            log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt, diffuse, diffuse_filt, status,
            settle, steady_from,
        )  # fmt: skip

    share(work, by_sequence(offsets), 20.0 * rows * n * n)
    filtering = Filtering(
        log_prob,
        mean_pred,
        cov_pred,
        mean_filt,
        cov_filt,
        diffuse,
        diffuse_filt,
        m,
        P,
        diffuse_next,
        reach,
        steady_from,
    )
    return filtering, status


def observation_moments(
    sys: System, mean: np.ndarray, cov: np.ndarray, inputs: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Means (…, p) and variances (…, p) of y given the state's mean (…, n) and covariance (…, n, n)."""
    y_mean = mean @ sys.C.T + sys.d
    if inputs is not None and sys.D.shape[1]:
        y_mean = y_mean + inputs @ sys.D.T
    y_var = np.einsum("pi,...ij,pj->...p", sys.C, cov, sys.C) + np.diag(sys.R)
    return y_mean, y_var


def forecast(sys: System, seqs: Sequences, steps: int, inputs: np.ndarray | None) -> GaussianMarginals:
    """Predictive means and variances (N, steps, p) after the end of each sequence; `inputs` is (N, steps, u) or None.

    Raises:
        InputError: a sequence is too short to settle a diffuse start, so that its forecast has no variance.
    """
    past = run_filter(sys, seqs, store=False)
    names = tuple(
        f"sequence {name!r} has too few observations ({length} steps)"
        for name, length in zip(seqs.ids, seqs.lengths, strict=True)
    )
    return GaussianMarginals(
        *ahead(sys, past.mean_next, past.cov_next, past.diffuse_next, past.reach_next, steps, inputs, names)
    )


def ahead(
    sys: System,
    m: np.ndarray,
    P: np.ndarray,
    W: np.ndarray,
    reach: np.ndarray,
    steps: int,
    inputs: np.ndarray | None,
    names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances (N, steps, p) of the observations from the predictions of the next state that the filter left; `names` begins the errors.

    Raises:
        InputError: a diffuse start is not settled.
    """
    mean, var = np.empty((len(m), steps, sys.p)), np.empty((len(m), steps, sys.p))
    for h in range(steps):
        _refuse_diffuse(sys, names, W, reach)
        u = None if inputs is None else inputs[:, h]
        mean[:, h], var[:, h] = observation_moments(sys, m, P, u)
        m = m @ sys.A.T + sys.b
        if u is not None and sys.B.shape[1]:
            m = m + u @ sys.B.T
        P = sys.A @ P @ sys.A.T + sys.Q
        W, reach = sys.A @ W, sys.A @ reach
    return mean, var


def _refuse_diffuse(sys: System, names: Sequence[str], W: np.ndarray, reach: np.ndarray) -> None:
    """Raise if an observation that is predicted with the diffuse factors W (N, n, d) has infinite variance."""
    part = np.linalg.norm(sys.C @ W, axis=-1)
    unsettled = (part > kalman.DIFFUSE_TOLERANCE * (np.linalg.norm(reach, axis=-1) @ np.abs(sys.C).T)).any(axis=-1)
    if unsettled.any():
        first = int(np.argmax(unsettled))
        raise InputError(
            f"{names[first]} to settle the diffuse start of {sys.n} "
            "states; pass a longer sequence, or a model with a known start"
        )


def simulate(
    sys: System, length: int, count: int, rng: np.random.Generator, inputs: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the states (count, length, n) and observations (count, length, p), started from N(m0, P0); `inputs` is (count, length, u) or None."""
    root, start = square_root(sys.noise), square_root(sys.P0)
    x, y = np.empty((count, length, sys.n)), np.empty((count, length, sys.p))
    now = sys.m0 + rng.standard_normal((count, start.shape[1])) @ start.T
    for t in range(length):
        e = rng.standard_normal((count, root.shape[1])) @ root.T
        u = None if inputs is None else inputs[:, t]
        x[:, t] = now
        y[:, t] = now @ sys.C.T + sys.d + e[:, sys.n :] + (0 if u is None else u @ sys.D.T)
        now = now @ sys.A.T + sys.b + e[:, : sys.n] + (0 if u is None else u @ sys.B.T)
    return x, y


def sample(
    sys: System, length: int, count: int, rng: np.random.Generator, inputs: np.ndarray | None = None
) -> np.ndarray:
    """(count, length, p) observations drawn from the model; arguments as in `simulate`."""
    return simulate(sys, length, count, rng, inputs)[1]
