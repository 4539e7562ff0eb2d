"""The backward pass over every sequence: smoothed states and noise, and the exact gradient of the log-likelihood.

A diffuse start x[1] = m0 + W δ + … is handled by generalised least squares: the response of the predictions to δ gives its score and
information, and with them δ̂ and its covariance Δ (de Jong, Annals of Statistics 19 (1991)); see `statewise.kernels.smoother`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from statewise._core.errors import InputError, NumericalError
from statewise.inference.filtering import (
    Filtering,
    filter_status,
    is_degenerate,
    square_root_status,
    warn_of_square_root,
)
from statewise.inference.modal import Modal, modal
from statewise.inference.system import System, alone, square_root, stationary_start, weighted, without_offsets
from statewise.kernels import gradient, respond, smoother, varying
from statewise.kernels import square_root as factored
from statewise.kernels._chunks import by_sequence, share
from statewise.kernels._memory import hold
from statewise.kernels.known import LOST
from statewise.sequences.sequences import Sequences

_NO_VARIANCE = "smoothing failed: an observation has no variance given the others; add observation_noise, or give initial_mean and initial_cov"


@dataclass(frozen=True)
class Gradient:
    """Gradient of the log-likelihood in each part of the `System`, in that part's shape; Q, R and P0 as if all their entries were free."""

    A: np.ndarray
    C: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    S: np.ndarray
    b: np.ndarray
    d: np.ndarray
    B: np.ndarray
    D: np.ndarray
    m0: np.ndarray
    P0: np.ndarray


@dataclass(frozen=True)
class Noise:
    """Moments of the noise given all observations: state_mean (rows, n) of w, observation_mean (rows, p) of v, and cov of (w, v)."""

    state_mean: np.ndarray
    observation_mean: np.ndarray
    cov: np.ndarray


@dataclass(frozen=True)
class _Forward:
    """Predictions at δ̂ given δ, `response` (rows, n, d) to δ times a root of Δ, and the log-likelihood of each sequence.

    `cov` is filled up to and including the first row of a steady state, step `steady_from` of its sequence. `lost`: an innovation variance has lost
    more than half of its digits.
    """

    mean: np.ndarray
    cov: np.ndarray
    response: np.ndarray
    log_prob: np.ndarray
    steady_from: np.ndarray
    lost: bool = False


@dataclass(frozen=True)
class _Backward:
    mean: np.ndarray
    cov: np.ndarray
    lag_cov: np.ndarray
    errors: np.ndarray
    shocks: np.ndarray
    information: np.ndarray
    failed: bool
    lost: bool


@dataclass(frozen=True)
class _Scores:
    """r₀ (N, n) and N₀ (N, n, n) of each sequence, the gradients in A, C, Q, R, S, b and d, and where there are inputs e and r of each row."""

    r: np.ndarray
    N: np.ndarray
    sums: list[np.ndarray]
    errors: np.ndarray
    shocks: np.ndarray


def _forward(sys: System, seqs: Sequences, settle: bool = True) -> _Forward | None:
    """None where an innovation covariance is singular; `settle` as in `run_filter`.

    Raises:
        NumericalError: a sequence does not identify the diffuse start.
    """
    hold()
    known = replace(sys, Pinf=np.zeros_like(sys.Pinf))
    past, status = filter_status(known, seqs, store=True, settle=settle, filtered=False)
    totals = np.add.reduceat(past.log_prob, seqs.offsets[:-1])
    if not sys.Pinf.any():
        return (
            None
            if is_degenerate(status)
            else _Forward(
                past.mean_pred,
                past.cov_pred,
                np.empty((seqs.rows, sys.n, 0)),
                totals,
                past.steady_from,
                bool(status.any()),
            )
        )
    W = square_root(sys.Pinf)
    if is_degenerate(status):
        # An observation without variance given δ. A finite part added to a diffuse start changes nothing, and gives it one.
        known = replace(known, P0=known.P0 + (W * _natural_sizes(known, W)) @ W.T)
        past, status = filter_status(known, seqs, store=True, settle=settle, filtered=False)
        if is_degenerate(status):
            return None
        totals = np.add.reduceat(past.log_prob, seqs.offsets[:-1])
    return _with_diffuse(known, seqs, past, W, totals)


def _with_diffuse(sys: System, seqs: Sequences, past: Filtering, W: np.ndarray, totals: np.ndarray) -> _Forward | None:
    count, d = len(seqs), W.shape[1]
    response, score, information = np.zeros((seqs.rows, sys.n, d)), np.zeros((count, d)), np.zeros((count, d, d))
    status = np.zeros(count, np.int64)
    y, _ = without_offsets(sys, seqs.values, seqs.inputs)
    results = (past.mean_pred, past.cov_pred, W, response, score, information, status)
    if sys.which is None:
        respond.respond_packed(0, count, y, seqs.offsets, past.steady_from, sys.A, sys.C, sys.R, sys.S, *results)
    else:
        varying.respond_runs(0, count, y, seqs.offsets, sys.which, sys.A, sys.C, sys.R, sys.S, *results)
    if status.any():
        return None
    mean = past.mean_pred.copy()
    for i in range(count):
        rows = slice(seqs.offsets[i], seqs.offsets[i + 1])
        delta, root, log_det = _estimate(score[i], information[i], str(seqs.ids[i]), int(seqs.lengths[i]))
        mean[rows] += response[rows] @ delta
        response[rows] = response[rows] @ root
        totals[i] += 0.5 * (score[i] @ delta - log_det)
    return _Forward(mean, past.cov_pred, response, totals, past.steady_from)


def _estimate(
    score: np.ndarray, information: np.ndarray, name: str, length: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """δ̂, a root of its covariance, and log |information|."""
    units = np.sqrt(np.diag(information))
    if units.all() and np.isfinite(units).all():
        values, vectors = np.linalg.eigh(information / units[:, None] / units)
        if values[0] > 1e-14 * values[-1]:
            root = vectors / np.sqrt(values) / units[:, None]
            return root @ (root.T @ score), root, float(np.log(values).sum() + 2.0 * np.log(units).sum())
    raise NumericalError(
        f"smoothing failed: the {length} steps of sequence {name!r} do not identify its diffuse start; pass a longer sequence"
    )


def _backward(
    sys: System, seqs: Sequences, past: _Forward, *, states: bool = False, lags: bool = False, noise: bool = False
) -> _Backward:
    count, n, p, rows = len(seqs), sys.n, sys.p, seqs.rows
    mean, cov = np.empty((rows * states, n)), np.empty((rows * states, n, n))
    lag_cov = np.zeros((rows * lags, n, n))
    r, N, status = np.zeros((count, n)), np.zeros((count, n, n)), np.zeros(count, np.int64)
    errors, shocks = np.zeros((rows * noise, p)), np.zeros((rows * noise, n))
    information = np.zeros((rows * noise, n + p, n + p))
    y, _ = without_offsets(sys, seqs.values, seqs.inputs)
    offsets, matrices = seqs.offsets, (sys.A, sys.C, sys.Q, sys.R, sys.S)
    results = (past.mean, past.cov, past.response, r, N, mean, cov, lag_cov, errors, shocks, information, status)

    def work(_: int, first: int, last: int) -> None:
        if sys.which is None:
            smoother.backward_packed(first, last, y, offsets, past.steady_from, *matrices, *results)
        else:
            varying.backward_runs(first, last, y, offsets, sys.which, *matrices, *results)

    share(work, by_sequence(offsets), 20.0 * rows * n * n)
    lost = bool((status == LOST).any())
    return _Backward(mean, cov, lag_cov, errors, shocks, information, is_degenerate(status), lost)


def _scores(sys: System, seqs: Sequences, past: _Forward) -> _Scores | None:
    """None where an innovation covariance is singular."""
    count, n, p, rows = len(seqs), sys.n, sys.p, seqs.rows
    r, N, status = np.zeros((count, n)), np.zeros((count, n, n)), np.zeros(count, np.int64)
    errors, shocks = np.zeros((rows * (sys.D.shape[-1] > 0), p)), np.zeros((rows * (sys.B.shape[-1] > 0), n))
    y, _ = without_offsets(sys, seqs.values, seqs.inputs)
    offsets, matrices = seqs.offsets, (sys.A, sys.C, sys.Q, sys.R, sys.S)
    bounds = by_sequence(offsets)
    sums = [np.zeros((len(bounds) - 1, *getattr(sys, letter).shape)) for letter in "ACQRSbd"]

    def work(chunk: int, first: int, last: int) -> None:
        own = (past.mean, past.cov, past.response, r, N, *(each[chunk] for each in sums), errors, shocks, status)
        if sys.which is None:
            gradient.gradient_packed(first, last, y, offsets, past.steady_from, *matrices, *own)
        else:
            varying.gradient_runs(first, last, y, offsets, sys.which, *matrices, *own)

    share(work, bounds, 20.0 * rows * n * n)
    return None if is_degenerate(status) else _Scores(r, N, [each.sum(axis=0) for each in sums], errors, shocks)


def log_prob_gradient(sys: System, seqs: Sequences) -> tuple[float, Gradient] | None:
    """Log-likelihood of all sequences, diffuse where the start is, and its exact gradient, by one forward and one backward pass.

    With a diffuse start the gradient in m0 is along the directions that are known, and that in P0 holds given a diffuse start.
    None where an innovation covariance is singular, or a sequence does not identify its diffuse start.
    """
    turned = modal(sys, seqs.rows) if np.isnan(seqs.values).any() else None
    if turned is None:
        return _gradient_here(sys, seqs)
    found = _gradient_here(turned.system, seqs)
    return None if found is None else (found[0], _turned_back(found[1], turned))


def _turned_back(g: Gradient, to: Modal) -> Gradient:
    """The gradient in the matrices of x from that in those of z, x = T z."""
    T, inverse = to.T, to.inverse
    across = inverse.T
    return Gradient(
        across @ g.A @ T.T, g.C @ T.T, across @ g.Q @ inverse, g.R, across @ g.S, across @ g.b, g.d, across @ g.B, g.D,
        across @ g.m0, across @ g.P0 @ inverse,
    )  # fmt: skip


def _gradient_here(sys: System, seqs: Sequences) -> tuple[float, Gradient] | None:
    try:
        past = _forward(sys, seqs)
    except NumericalError:
        return None
    back = None if past is None else _scores(sys, seqs, past)
    if past is None or back is None:
        return None
    gA, gC, gQ, gR, gS, gb, gd = back.sums
    gB, gD = _with_inputs(sys.B, back.shocks, seqs, sys.which), _with_inputs(sys.D, back.errors, seqs, sys.which)
    # The response of r₀ to δ is −N₀ W.
    spread = back.N @ past.response[seqs.offsets[:-1]]
    gP0 = 0.5 * (back.r.T @ back.r - back.N.sum(axis=0) + (spread @ spread.transpose(0, 2, 1)).sum(axis=0))
    found = Gradient(gA, gC, gQ, gR, gS, gb, gd, gB, gD, back.r.sum(axis=0), gP0)
    return float(past.log_prob.sum()), found


def _with_inputs(weights: np.ndarray, errors: np.ndarray, seqs: Sequences, which: np.ndarray | None) -> np.ndarray:
    """The gradient in the weights (…, k, u) of the inputs, Σ e u', from the errors (rows, k)."""
    if seqs.inputs is None or not weights.shape[-1]:
        return np.zeros_like(weights)
    if which is None:
        return errors.T @ seqs.inputs
    return _by_group(which, errors[:, :, None] * seqs.inputs[:, None, :], len(weights))


def _by_group(which: np.ndarray, rows: np.ndarray, groups: int) -> np.ndarray:
    """(groups, …) the sum of the rows of each group."""
    total = np.zeros((groups, *rows.shape[1:]))
    np.add.at(total, which, rows)
    return total


def with_stationary_start(sys: System, g: Gradient) -> Gradient | None:
    """The gradient where the start is the stationary law of A, Q and b and moves with them; None if rounding leaves no such law.

    From P0 = A P0 A' + Q and m0 = (I − A)⁻¹ b: with X = A' X A + ∂/∂P0 and λ = (I − A')⁻¹ ∂/∂m0, ∂/∂Q gains X, ∂/∂b gains λ and ∂/∂A gains
    2 X A P0 + λ m0'.
    """
    adjoint = stationary_start(sys.A.T, 0.5 * (g.P0 + g.P0.T), g.m0)
    if adjoint is None:
        return None
    back, X = adjoint
    return replace(g, A=g.A + 2.0 * X @ sys.A @ sys.P0 + np.outer(back, sys.m0), Q=g.Q + X, b=g.b + back)


def smooth(sys: System, seqs: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Mean (rows, n) and covariance (rows, n, n) of the state given the whole sequence.

    Raises:
        NumericalError: an innovation covariance is singular, or the data do not identify a diffuse start.
    """
    if sys.form == "square_root":
        return _smooth_square_root(sys, seqs)
    past = _forward(sys, seqs)
    back = None if past is None else _backward(sys, seqs, past, states=True)
    lost = past is None or back is None or back.failed or past.lost or back.lost
    if lost and sys.form == "auto" and sys.which is None and not sys.Pinf.any():
        found = _smooth_square_root(sys, seqs)
        warn_of_square_root()
        return found
    back = _checked(back)
    return back.mean, back.cov


def _smooth_square_root(sys: System, seqs: Sequences) -> tuple[np.ndarray, np.ndarray]:
    if sys.Pinf.any():
        raise InputError(
            "the square-root smoother needs a start that is not diffuse; pass `initial_mean` and `initial_cov`"
        )
    roots = np.empty((seqs.rows, sys.n, sys.n))
    past, status = square_root_status(sys, seqs, True, roots)
    if is_degenerate(status):
        raise NumericalError(_NO_VARIANCE)
    y, _ = without_offsets(sys, seqs.values, seqs.inputs)
    mean, cov = np.empty((seqs.rows, sys.n)), np.empty(roots.shape)
    factored.smooth_packed(
        0, len(seqs), y, seqs.offsets, sys.A, sys.C, sys.Q, sys.R, sys.S, past.mean_pred, roots, mean, cov
    )
    return mean, cov


def smooth_with_lag_one(sys: System, seqs: Sequences) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `smooth`, and lag_cov (rows, n, n) with lag_cov[t] = Cov(x[t+1], x[t] | Y), zero in the last row of each sequence.

    Cov(x[t+1], x[t] | Y) = (I − P[t+1] N[t]) L[t] P[t] (Durbin & Koopman 2012, §4.7), plus what a diffuse start adds.

    Raises:
        NumericalError: as `smooth`.
    """
    back = _smoothed(sys, seqs, states=True, lags=True)
    return back.mean, back.cov, back.lag_cov


def smooth_noise(sys: System, seqs: Sequences) -> Noise:
    """Mean and covariance of the noise (w[t], v[t]) of each row given the whole sequence.

    With G = Cov(w, v) and u = (r, e) of the backward pass, the mean is G u and the covariance G − G Cov(u) G (Durbin & Koopman 2012, §4.5).

    Raises:
        NumericalError: as `smooth`.
    """
    back = _smoothed(sys, seqs, noise=True)
    G = sys.rows("noise")
    mean = weighted(np.swapaxes(G, -1, -2), np.hstack([back.shocks, back.errors]))
    return Noise(mean[:, : sys.n], mean[:, sys.n :], G - G @ back.information @ G)


def _smoothed(
    sys: System, seqs: Sequences, *, states: bool = False, lags: bool = False, noise: bool = False
) -> _Backward:
    past = _forward(sys, seqs)
    return _checked(None if past is None else _backward(sys, seqs, past, states=states, lags=lags, noise=noise))


def _checked(back: _Backward | None) -> _Backward:
    if back is None or back.failed:
        raise NumericalError(_NO_VARIANCE)
    return back


def _natural_sizes(sys: System, W: np.ndarray) -> np.ndarray:
    """(k,) the variance that n or more steps of noise put into each direction of the diffuse factor W (n, k), by doubling."""
    sys = sys if sys.which is None else alone(sys, 0)
    power, total = sys.A, sys.Q
    for _ in range(sys.n.bit_length()):
        total = total + power @ total @ power.T
        power = power @ power
    along = np.linalg.pinv(W)
    sizes = np.einsum("ka,ab,kb->k", along, total, along)
    return np.where(sizes > 0, sizes, max(float(sizes.max()), float(np.abs(sys.R).max())) or 1.0)
