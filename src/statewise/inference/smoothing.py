"""The backward pass over every sequence: smoothed states, and the exact gradient of the log-likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from statewise._core.errors import NumericalError
from statewise.inference.filtering import Filtering, filter_status
from statewise.inference.system import System, square_root, without_offsets
from statewise.kernels import smoother
from statewise.kernels._chunks import by_sequence, share
from statewise.sequences.sequences import Sequences


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
    y, _ = without_offsets(sys, seqs)
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
    W = square_root(sys.Pinf)
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
