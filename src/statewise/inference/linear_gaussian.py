"""Inference in linear-Gaussian state-space models: pure functions of (system, sequences).

The table of words (public) and letters (here) is in DESIGN: transition A, observation C, state_noise Q, observation_noise R,
noise_cross S, state_intercept b, observation_intercept d, input_to_state B, input_to_observation D.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from statewise._core.errors import InputError, NumericalError
from statewise._core.outcome import Outcome
from statewise.kernels import kalman, smoother
from statewise.kernels._chunks import by_sequence, share
from statewise.kernels._threads import over_sequences
from statewise.results.fit import Memory, half_life
from statewise.results.marginals import GaussianMarginals
from statewise.sequences.sequences import Sequences


@dataclass(frozen=True)
class System:
    """x[t+1] = A x[t] + B u[t] + b + w[t],  y[t] = C x[t] + D u[t] + d + v[t],  Cov(w, v) = [[Q, S], [S', R]].

    x[1] ~ N(m0, P0 + κ Pinf), κ → ∞: Pinf is zero unless the start is diffuse. Shapes: A (n, n), C (p, n), Q (n, n), R (p, p),
    S (n, p), b (n,), d (p,), B (n, u), D (p, u), m0 (n,), P0 and Pinf (n, n).
    """

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
    Pinf: np.ndarray

    @property
    def n(self) -> int:
        return self.A.shape[0]

    @property
    def p(self) -> int:
        return self.C.shape[0]


def system(
    A: np.ndarray,
    C: np.ndarray,
    Q: np.ndarray,
    R: np.ndarray,
    m0: np.ndarray,
    P0: np.ndarray,
    *,
    Pinf: np.ndarray | None = None,
    S: np.ndarray | None = None,
    b: np.ndarray | None = None,
    d: np.ndarray | None = None,
    B: np.ndarray | None = None,
    D: np.ndarray | None = None,
) -> System:
    """A `System` with zeros for what is not given."""
    n, p = A.shape[0], C.shape[0]
    u = next((M.shape[1] for M in (B, D) if M is not None), 0)
    return System(
        A,
        C,
        Q,
        R,
        np.zeros((n, p)) if S is None else S,
        np.zeros(n) if b is None else b,
        np.zeros(p) if d is None else d,
        np.zeros((n, u)) if B is None else B,
        np.zeros((p, u)) if D is None else D,
        m0,
        P0,
        np.zeros((n, n)) if Pinf is None else Pinf,
    )


@dataclass(frozen=True)
class Filtering:
    """What one pass of the filter leaves, packed over rows; `*_next` is the prediction after the last step of each sequence.

    `diffuse_next` (N, n, d) is a factor of its diffuse covariance, zero where the start is settled, and `reach_next` the size of the terms
    that it is the remainder of (see `statewise.kernels.kalman`).
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


def stationary_start(A: np.ndarray, Q: np.ndarray, b: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean (I − A)⁻¹ b and covariance P = A P A' + Q of the stationary law; None if A has a root on or outside the unit circle."""
    n = A.shape[0]
    if n and np.abs(np.linalg.eigvals(A)).max() >= 1.0:
        return None
    P, power, work, step = np.empty((4, n, n))
    if not kalman.stationary_covariance(np.ascontiguousarray(A), np.ascontiguousarray(Q), P, power, work, step):
        return None
    mean = np.zeros(n) if b is None else np.linalg.solve(np.eye(n) - A, b)
    return mean, P


def run_filter(sys: System, seqs: Sequences, store: bool = True) -> Filtering:
    """Kalman filter of every sequence. ``store=False`` keeps only the log-likelihoods and the last prediction, in O(n²) memory.

    Raises:
        NumericalError: an observation had no variance at all given the past (`Outcome.NOT_POSITIVE_DEFINITE`).
    """
    result, status = filter_status(sys, seqs, store)
    if status.any():
        Outcome.NOT_POSITIVE_DEFINITE.check()
    return result


def filter_status(sys: System, seqs: Sequences, store: bool) -> tuple[Filtering, np.ndarray]:
    """As `run_filter`, but with the status of each sequence in place of an exception (2: degenerate)."""
    rows, count, n, p = seqs.rows, len(seqs), sys.n, sys.p
    kept = rows if store else 0
    log_prob, status = np.empty(rows), np.zeros(count, np.int64)
    mean_pred, cov_pred = np.empty((kept, n)), np.empty((kept, n, n))
    mean_filt, cov_filt = np.empty((kept, n)), np.empty((kept, n, n))
    diffuse, diffuse_filt = np.zeros((kept, p), np.bool_), np.zeros((kept, n), np.bool_)
    W = _square_root(sys.Pinf)
    m, P, diffuse_next, reach = (np.repeat(start[None], count, axis=0) for start in (sys.m0, sys.P0, W, W))
    y, offset = _offsets(sys, seqs)
    offsets = seqs.offsets

    def work(first: int, last: int) -> None:
        kalman.filter_packed(
            first, last, y, offsets, offset, sys.A, sys.C, sys.Q, sys.R, sys.S, m, P, diffuse_next, reach,
            log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt, diffuse, diffuse_filt, status,
        )  # fmt: skip

    over_sequences(work, offsets, n * n)
    filtering = Filtering(
        log_prob, mean_pred, cov_pred, mean_filt, cov_filt, diffuse, diffuse_filt, m, P, diffuse_next, reach
    )
    return filtering, status


@dataclass(frozen=True)
class Gradient:
    """Gradient of the log-likelihood in each matrix of the `System`; Q, R and P0 as if all their entries were free."""

    A: np.ndarray
    C: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    S: np.ndarray
    b: np.ndarray
    d: np.ndarray
    D: np.ndarray
    m0: np.ndarray
    P0: np.ndarray


@dataclass(frozen=True)
class _Backward:
    mean: np.ndarray
    cov: np.ndarray
    r: np.ndarray
    N: np.ndarray
    sums: list[np.ndarray]
    errors: np.ndarray
    status: np.ndarray


def _backward(sys: System, seqs: Sequences, past: Filtering, states: bool, gradient: bool) -> _Backward:
    count, n, p, rows = len(seqs), sys.n, sys.p, seqs.rows
    kept = rows if states else 0
    mean, cov = np.empty((kept, n)), np.empty((kept, n, n))
    r, N, status = np.zeros((count, n)), np.zeros((count, n, n)), np.zeros(count, np.int64)
    errors = np.zeros((rows if gradient else 0, p))
    shapes = ((n, n), (p, n), (n, n), (p, p), (n, p), (n,))
    y, _ = _offsets(sys, seqs)
    offsets = seqs.offsets
    bounds = by_sequence(offsets)
    sums = [np.zeros((len(bounds) - 1, *shape)) for shape in shapes]

    def work(chunk: int, first: int, last: int) -> None:
        gA, gC, gQ, gR, gS, gb = (each[chunk] for each in sums)
        smoother.backward_packed(
            first, last, y, offsets, sys.A, sys.C, sys.R, sys.S, past.mean_pred, past.cov_pred, r, N,
            states, mean, cov, gradient, gA, gC, gQ, gR, gS, gb, errors, status,
        )  # fmt: skip

    share(work, bounds, 20.0 * rows * n * n)
    return _Backward(mean, cov, r, N, [each.sum(axis=0) for each in sums], errors, status)


def log_prob_gradient(sys: System, seqs: Sequences) -> tuple[float, Gradient] | None:
    """Log-likelihood of all sequences and its exact gradient, by one forward and one backward pass.

    For systems without a diffuse start. None where an innovation covariance is singular.
    """
    past, status = filter_status(sys, seqs, store=True)
    if status.any():
        return None
    back = _backward(sys, seqs, past, states=False, gradient=True)
    if back.status.any():
        return None
    gA, gC, gQ, gR, gS, gb = back.sums
    gD = np.zeros_like(sys.D) if seqs.inputs is None else back.errors.T @ seqs.inputs
    gP0 = 0.5 * (back.r.T @ back.r - back.N.sum(axis=0))
    gradient = Gradient(gA, gC, gQ, gR, gS, gb, back.errors.sum(axis=0), gD, back.r.sum(axis=0), gP0)
    return float(past.log_prob.sum()), gradient


def smooth(sys: System, seqs: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Mean (rows, n) and covariance (rows, n, n) of the state given the whole sequence.

    The diffuse part δ of the first state, x[1] = m0 + W δ + …, is estimated by generalised least squares from r₀ and N₀ of the backward pass, since
    W' N₀ W is its information (de Jong, Annals of Statistics 19 (1991)).

    Raises:
        NumericalError: an innovation covariance is singular, or the data do not identify a diffuse start.
    """
    if not sys.Pinf.any():
        back = _known_smooth(sys, seqs)
        return back.mean, back.cov
    parts = [_diffuse_smooth(sys, seq) for seq in seqs]
    return np.concatenate([mean for mean, _ in parts]), np.concatenate([cov for _, cov in parts])


def _known_smooth(sys: System, seqs: Sequences) -> _Backward:
    past, status = filter_status(replace(sys, Pinf=np.zeros_like(sys.Pinf)), seqs, store=True)
    back = _backward(sys, seqs, past, states=True, gradient=False) if not status.any() else None
    if back is None or back.status.any():
        raise NumericalError(
            "smoothing failed: an observation has no variance given the others; add observation_noise, or give initial_mean and initial_cov"
        )
    return back


def _diffuse_smooth(sys: System, seq: Sequences) -> tuple[np.ndarray, np.ndarray]:
    W = _square_root(sys.Pinf)
    if filter_status(replace(sys, Pinf=np.zeros_like(sys.Pinf)), seq, store=False)[1].any():
        # An observation without variance given δ. A finite part added to a diffuse start changes nothing, and gives it one.
        sys = replace(sys, P0=sys.P0 + (W * _natural_sizes(sys, W)) @ W.T)
    first = _known_smooth(sys, seq)
    information = W.T @ first.N[0] @ W
    units = np.sqrt(np.diag(information))
    known = units.all() and np.linalg.cond(information / units[:, None] / units) < 1e14
    if not known:
        raise NumericalError(
            f"smoothing failed: the {seq.lengths[0]} steps of sequence {seq.ids[0]!r} do not identify its diffuse start; pass a longer sequence"
        )
    delta_cov = np.linalg.inv(information / units[:, None] / units) / units[:, None] / units
    delta = delta_cov @ (W.T @ first.r[0])
    fitted = _known_smooth(replace(sys, m0=sys.m0 + W @ delta), seq)
    quiet = replace(sys, b=np.zeros_like(sys.b), d=np.zeros_like(sys.d), B=np.zeros_like(sys.B), D=np.zeros_like(sys.D))
    silent = seq.replace(values=np.where(np.isnan(seq.values), np.nan, 0.0))
    spread = np.stack([_known_smooth(replace(quiet, m0=w), silent).mean for w in W.T], axis=-1)
    return fitted.mean, fitted.cov + spread @ delta_cov @ spread.transpose(0, 2, 1)


def _natural_sizes(sys: System, W: np.ndarray) -> np.ndarray:
    """(k,) the variance that n or more steps of noise put into each direction of the diffuse factor W (n, k), by doubling."""
    power, total = sys.A, sys.Q
    for _ in range(sys.n.bit_length()):
        total = total + power @ total @ power.T
        power = power @ power
    along = np.linalg.pinv(W)
    sizes = np.einsum("ka,ab,kb->k", along, total, along)
    return np.where(sizes > 0, sizes, max(float(sizes.max()), float(np.abs(sys.R).max())) or 1.0)


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
    m, P, W, reach = past.mean_next, past.cov_next, past.diffuse_next, past.reach_next
    mean, var = np.empty((len(seqs), steps, sys.p)), np.empty((len(seqs), steps, sys.p))
    for h in range(steps):
        _refuse_diffuse(sys, seqs, W, reach)
        u = None if inputs is None else inputs[:, h]
        mean[:, h], var[:, h] = observation_moments(sys, m, P, u)
        m = m @ sys.A.T + sys.b
        if u is not None and sys.B.shape[1]:
            m = m + u @ sys.B.T
        P = sys.A @ P @ sys.A.T + sys.Q
        W, reach = sys.A @ W, sys.A @ reach
    return GaussianMarginals(mean, var)


def _refuse_diffuse(sys: System, seqs: Sequences, W: np.ndarray, reach: np.ndarray) -> None:
    """Raise if an observation that is predicted with the diffuse factors W (N, n, d) has infinite variance."""
    part = np.linalg.norm(sys.C @ W, axis=-1)
    unsettled = (part > kalman.DIFFUSE_TOLERANCE * (np.linalg.norm(reach, axis=-1) @ np.abs(sys.C).T)).any(axis=-1)
    if unsettled.any():
        first = int(np.argmax(unsettled))
        raise InputError(
            f"sequence {seqs.ids[first]!r} has too few observations ({seqs.lengths[first]} steps) to settle the diffuse start of {sys.n} "
            "states; pass a longer sequence, or a model with a known start"
        )


def sample(
    sys: System, length: int, count: int, rng: np.random.Generator, inputs: np.ndarray | None = None
) -> np.ndarray:
    """(count, length, p) draws from the model, started from N(m0, P0); `inputs` is (count, length, u) or None."""
    noise = np.block([[sys.Q, sys.S], [sys.S.T, sys.R]])
    root = _square_root(noise)
    start = _square_root(sys.P0)
    x = sys.m0 + rng.standard_normal((count, start.shape[1])) @ start.T
    y = np.empty((count, length, sys.p))
    for t in range(length):
        e = rng.standard_normal((count, root.shape[1])) @ root.T
        u = None if inputs is None else inputs[:, t]
        y[:, t] = x @ sys.C.T + sys.d + e[:, sys.n :] + (0 if u is None else u @ sys.D.T)
        x = x @ sys.A.T + sys.b + e[:, : sys.n] + (0 if u is None else u @ sys.B.T)
    return y


def predictor_gain(sys: System, max_iter: int = 100_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """The steady gain K = (A P C' + S) F⁻¹, the innovation covariance F, the state covariance P, and whether they settled.

    The filter's own recursion is iterated. A diffuse part starts as a large finite covariance, which is forgotten by the time the gain is
    steady. With a root of A − K C on the unit circle the recursion settles like 1/t only, and the last of `max_iter` iterates is returned.
    """
    scale = max(float(np.abs(part).max(initial=0.0)) for part in (sys.P0, sys.Q, sys.R))
    P = sys.P0 + 1e6 * scale * sys.Pinf
    settled = settle(sys, P, max_iter) < max_iter
    F = sys.C @ P @ sys.C.T + sys.R
    units = np.sqrt(np.where(np.diag(F) > 0, np.diag(F), 1.0))
    cross = (sys.A @ P @ sys.C.T + sys.S) / units
    K = np.linalg.lstsq(F / units[:, None] / units, cross.T, rcond=1e-14)[0].T / units
    return K, F, P, settled


def settle(sys: System, P: np.ndarray, max_iter: int) -> int:
    """Iterate the covariance P of the prediction in place, on complete data, until it is steady; the number of steps that took."""
    floor = 1e-4 * np.diag(sys.P0)
    return int(kalman.steady_covariance(sys.A, sys.C, sys.Q, sys.R, sys.S, P, floor, max_iter))


def memory(sys: System) -> Memory:
    """Half-lives from the spectral radii of A − K C (the predictor) and A (the process)."""
    K, F, _, settled = predictor_gain(sys, max_iter=20_000)
    return closed_loop_memory(sys.A, sys.C, K, F, settled)


def closed_loop_memory(A: np.ndarray, C: np.ndarray, K: np.ndarray, F: np.ndarray, settled: bool = True) -> Memory:
    """The memory of the predictor h[t+1] = (A − K C) h[t] + K y[t]; it never fades where the gain does not settle.

    The weight of the observation k + 1 steps back is C (A − K C)ᵏ K, here in units of the innovations' standard deviations (from their
    covariance F). Where all weights from the n-th on vanish, as for an autoregression, the memory ends after the last that does not.
    """
    closed, process = A - K @ C, half_life(spectral_radius(A))
    n, scale = len(A), np.sqrt(np.diag(F))
    weights, response = np.empty(2 * n), K
    for lag in range(2 * n):
        weights[lag] = np.abs((C @ response) * scale / scale[:, None]).max(initial=0.0)
        response = closed @ response
    counts = weights > 1e-10 * weights.max(initial=0.0)
    if not counts[n:].any():
        return Memory(0.0, 0.0, "eigenvalues", process, int(np.flatnonzero(counts).max(initial=-1)) + 1)
    rate = spectral_radius(closed) if settled else 1.0
    return Memory(half_life(rate), rate, "eigenvalues", process)


def spectral_radius(matrix: np.ndarray) -> float:
    """Largest modulus of an eigenvalue; within 1e-7 of 1 it is a unit root."""
    radius = float(np.abs(np.linalg.eigvals(matrix)).max(initial=0.0))
    return 1.0 if abs(radius - 1.0) < 1e-7 else radius


def _offsets(sys: System, seqs: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Observations less D u + d, and the state offsets B u + b as (rows, n) or (1, n)."""
    y, offset = seqs.values, sys.b[None]
    if sys.d.any():
        y = y - sys.d
    if seqs.inputs is not None and sys.D.shape[1]:
        y = y - seqs.inputs @ sys.D.T
    if seqs.inputs is not None and sys.B.shape[1] and sys.B.any():
        offset = seqs.inputs @ sys.B.T + sys.b
    y = y.view()
    y.setflags(write=False)  # always: numba compiles a kernel anew for writable arrays
    return y, offset


def _square_root(cov: np.ndarray) -> np.ndarray:
    """(n, k) factor F with F F' = cov, for a positive semi-definite matrix whose correlation matrix has rank k."""
    if not cov.size:
        return np.zeros_like(cov)
    units = np.sqrt(np.diag(cov))
    units = np.where(units > 0, units, 1.0)
    values, vectors = np.linalg.eigh(cov / units[:, None] / units)
    kept = values > 1e-14 * max(values[-1], 0.0)
    return np.ascontiguousarray(units[:, None] * vectors[:, kept] * np.sqrt(values[kept]))
