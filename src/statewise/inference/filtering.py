"""The Kalman filter of every sequence, and its forecasts and simulations: functions of (system, sequences)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from statewise._core.errors import InputError, PrecisionWarning
from statewise._core.outcome import Outcome
from statewise.inference.modal import modal
from statewise.inference.system import System, alone, square_root, weighted, without_offsets
from statewise.kernels import kalman, varying
from statewise.kernels import square_root as factored
from statewise.kernels._chunks import by_sequence, share
from statewise.kernels.diffuse import DIFFUSE_TOLERANCE
from statewise.kernels.known import DEGENERATE
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
    if sys.form == "square_root":
        result, status = square_root_status(sys, seqs, store)
    else:
        result, status = filter_status(sys, seqs, store, settle)
        if status.any() and sys.form == "auto" and sys.which is None:
            result, status = square_root_status(sys, seqs, store)
            if not is_degenerate(status):
                warn_of_square_root()
    if is_degenerate(status):
        Outcome.NOT_POSITIVE_DEFINITE.check()
    return result


def is_degenerate(status: np.ndarray) -> bool:
    """Whether an observation of some sequence had no variance, from the status that a pass left."""
    return bool((status == DEGENERATE).any())


def warn_of_square_root() -> None:
    """Say that the square-root form was used."""
    warnings.warn(
        "an observation is known from the others to within rounding, which the covariance form would lose digits by; the slower square-root form was "
        "used (form='square_root' asks for it without this warning, form='covariance' keeps to the fast one)",
        PrecisionWarning,
        stacklevel=2,
    )


def log_prob_steps(sys: System, seqs: Sequences) -> np.ndarray:
    """(rows,) the log density of each step given those before it.

    Raises:
        NumericalError: as `run_filter`.
    """
    turned = modal(sys, seqs.rows) if np.isnan(seqs.values).any() else None
    sys = sys if turned is None else turned.system
    return run_filter(sys, seqs, store=False).log_prob


def filter_status(
    sys: System, seqs: Sequences, store: bool, settle: bool = True, filtered: bool = True
) -> tuple[Filtering, np.ndarray]:
    """As `run_filter`, but in covariance form, with the status of each sequence in place of an exception (DEGENERATE, LOST or 0).

    Without `filtered` there are no moments given the present observation, and `cov_pred` holds no rows after the first of a steady state.
    """
    out, status = _room(sys, seqs, store, filtered), np.zeros(len(seqs), np.int64)
    y, offset = without_offsets(sys, seqs.values, seqs.inputs)
    offsets, which, matrices = seqs.offsets, sys.which, (sys.A, sys.C, sys.Q, sys.R, sys.S)
    start = (out.mean_next, out.cov_next, out.diffuse_next, out.reach_next)
    moments = (out.mean_pred, out.cov_pred, out.mean_filt, out.cov_filt, out.diffuse, out.diffuse_filt)

    def work(_: int, first: int, last: int) -> None:
        if which is None:
            kalman.filter_packed(
                first,
                last,
                y,
                offsets,
                offset,
                *matrices,
                *start,
                out.log_prob,
                store,
                *moments,
                status,
                settle,
                out.steady_from,
            )
        else:
            varying.filter_runs(
                first, last, y, offsets, which, offset, *matrices, *start, out.log_prob, store, *moments, status, settle
            )

    share(work, by_sequence(offsets), 20.0 * seqs.rows * sys.n**2)
    return out, status


def square_root_status(
    sys: System, seqs: Sequences, store: bool, roots: np.ndarray | None = None
) -> tuple[Filtering, np.ndarray]:
    """As `filter_status`, in square-root form; fills roots (rows, n, n), factors of the predictions' covariances, if given.

    Raises:
        InputError: the system changes from row to row.
    """
    if sys.which is not None:
        raise InputError("form='square_root' is for matrices that hold at every step; leave `form` out")
    out, status = _room(sys, seqs, store), np.zeros(len(seqs), np.int64)
    y, offset = without_offsets(sys, seqs.values, seqs.inputs)
    offsets, matrices = seqs.offsets, (sys.A, sys.C, sys.Q, sys.R, sys.S)
    start = (out.mean_next, out.cov_next, out.diffuse_next, out.reach_next)
    moments = (out.mean_pred, out.cov_pred, out.mean_filt, out.cov_filt, out.diffuse, out.diffuse_filt)
    kept = np.empty((0, sys.n, sys.n)) if roots is None else roots

    def work(_: int, first: int, last: int) -> None:
        factored.filter_packed(
            first, last, y, offsets, offset, *matrices, *start, out.log_prob, store, *moments, status, kept
        )

    share(work, by_sequence(offsets), 100.0 * seqs.rows * sys.n**2)
    return out, status


def _room(sys: System, seqs: Sequences, store: bool, filtered: bool = True) -> Filtering:
    """What a pass is to fill: `*_next` at the start of each sequence, `steady_from` at its length, and no rows of what is not wanted."""
    rows, count, n, p = seqs.rows, len(seqs), sys.n, sys.p
    kept, kept_filt = rows * store, rows * (store and filtered)
    W = square_root(sys.Pinf)
    m, P, diffuse_next, reach = (np.repeat(start[None], count, axis=0) for start in (sys.m0, sys.P0, W, W))
    return Filtering(
        np.empty(rows), np.empty((kept, n)), np.empty((kept, n, n)), np.empty((kept_filt, n)), np.empty((kept_filt, n, n)),
        np.zeros((kept, p), np.bool_), np.zeros((kept, n), np.bool_), m, P, diffuse_next, reach, seqs.lengths.copy(),
    )  # fmt: skip


def observation_moments(
    sys: System, mean: np.ndarray, cov: np.ndarray, inputs: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Means (…, p) and variances (…, p) of y given the state's mean (…, n) and covariance (…, n, n).

    Of a system that changes from row to row, (rows, …) moments of all of its rows.
    """
    C = sys.rows("C")
    y_mean = weighted(C, mean) + sys.rows("d")
    if inputs is not None and sys.D.shape[-1]:
        y_mean = y_mean + weighted(sys.rows("D"), inputs)
    y_var = np.einsum("...pi,...ij,...pj->...p", C, cov, C) + np.diagonal(sys.rows("R"), axis1=-2, axis2=-1)
    return y_mean, y_var


def forecast(sys: System, seqs: Sequences, steps: int, inputs: np.ndarray | None) -> GaussianMarginals:
    """Predictive means and variances (N, steps, p) after the end of each sequence; `inputs` is (N, steps, u) or None.

    Raises:
        InputError: a sequence is too short to settle a diffuse start, so that its forecast has no variance.
    """
    past = run_filter(sys, seqs, store=False)
    names = tuple(_too_few(name, length) for name, length in zip(seqs.ids, seqs.lengths, strict=True))
    return GaussianMarginals(
        *ahead(sys, past.mean_next, past.cov_next, past.diffuse_next, past.reach_next, steps, inputs, names)
    )


def forecast_rows(sys: System, seqs: Sequences, steps: int) -> GaussianMarginals:
    """As `forecast`, of a system that changes, for sequences whose last `steps` rows are the missing future."""
    past = run_filter(sys, seqs)
    mean, var = observation_moments(sys, past.mean_pred, past.cov_pred, seqs.inputs)
    rows = np.concatenate([np.arange(stop - steps, stop) for stop in seqs.offsets[1:]])
    unsettled = past.diffuse[rows].any(axis=1)
    if unsettled.any():
        first = int(np.argmax(unsettled)) // steps
        raise InputError(_unsettled(_too_few(seqs.ids[first], int(seqs.lengths[first]) - steps), sys.n))
    shape = (len(seqs), steps, sys.p)
    return GaussianMarginals(mean[rows].reshape(shape), var[rows].reshape(shape))


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
    unsettled = (part > DIFFUSE_TOLERANCE * (np.linalg.norm(reach, axis=-1) @ np.abs(sys.C).T)).any(axis=-1)
    if unsettled.any():
        first = int(np.argmax(unsettled))
        raise InputError(_unsettled(names[first], sys.n))


def _too_few(name: object, length: int) -> str:
    return f"sequence {name!r} has too few observations ({length} steps)"


def _unsettled(begin: str, states: int) -> str:
    return (
        f"{begin} to settle the diffuse start of {states} states; pass a longer sequence, or a model with a known start"
    )


def simulate(
    sys: System, length: int, count: int, rng: np.random.Generator, inputs: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the states (count, length, n) and observations (count, length, p), started from N(m0, P0); `inputs` is (count, length, u) or None.

    A system that changes from row to row is drawn from for its first `length` rows.
    """
    start, now_at = square_root(sys.P0), None
    x, y = np.empty((count, length, sys.n)), np.empty((count, length, sys.p))
    now = sys.m0 + rng.standard_normal((count, start.shape[1])) @ start.T
    for t in range(length):
        at = 0 if sys.which is None else int(sys.which[t])
        if at != now_at:
            now_at, part = at, sys if sys.which is None else alone(sys, at)
            root = square_root(part.noise)
        e = rng.standard_normal((count, root.shape[1])) @ root.T
        u = None if inputs is None else inputs[:, t]
        x[:, t] = now
        y[:, t] = now @ part.C.T + part.d + e[:, sys.n :] + (0 if u is None else u @ part.D.T)
        now = now @ part.A.T + part.b + e[:, : sys.n] + (0 if u is None else u @ part.B.T)
    return x, y


def sample(
    sys: System, length: int, count: int, rng: np.random.Generator, inputs: np.ndarray | None = None
) -> np.ndarray:
    """(count, length, p) observations drawn from the model; arguments as in `simulate`."""
    return simulate(sys, length, count, rng, inputs)[1]
