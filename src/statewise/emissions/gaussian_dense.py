"""Normal laws with correlated columns: likelihood and M step; missing entries are integrated out exactly.

Rows are taken together by which entries they miss. With o the observed and m the missing entries of a pattern, the
likelihood is that of N(μ_o, Σ_oo); the M step replaces what is missing by its law given the rest in each state, mean
μ_m + B (y_o − μ_o) and covariance Σ_mm − B Σ_om, B = Σ_mo Σ_oo⁻¹ (Little & Rubin, *Statistical Analysis with Missing
Data*, 3rd ed. (2019), §11.2).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from statewise.emissions.gaussian_diagonal import NO_WEIGHT, Estimate
from statewise.kernels import _chunks, gaussian


def patterns(values: np.ndarray) -> Iterator[tuple[np.ndarray | slice, np.ndarray]]:
    """(rows, observed (p,)) for each pattern of missing entries; rows in which nothing was observed are left out."""
    missing = np.isnan(values)
    if not missing.any():
        yield slice(None), np.ones(values.shape[1], dtype=bool)
        return
    _, first, which = np.unique(_numbered(missing), return_index=True, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(which.reshape(-1)))[:-1])
    for row, group in zip(first, groups, strict=True):
        observed = ~missing[row]
        if observed.any():
            yield group, observed


def _numbered(missing: np.ndarray) -> np.ndarray:
    """One number for each row (rows,), equal where the same entries are missing; 31 columns at a time."""
    number = np.zeros(len(missing), dtype=np.int64)
    for start in range(0, missing.shape[1], 31):
        block = missing[:, start : start + 31]
        if start:
            number = np.unique(number, return_inverse=True)[1].reshape(-1) << 31
        number = number + block @ (1 << np.arange(block.shape[1], dtype=np.int64))
    return number


def log_likelihood(values: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """(rows, K) log N(y_o; μ_o, Σ_oo), o the observed entries of the row; 0 where there is none."""
    if not np.isnan(values).any():
        return _complete_rows(values, means, covariances)
    table = np.zeros((len(values), len(means)))
    for rows, o in patterns(values):
        seen = np.ascontiguousarray(values[rows][:, o])
        table[rows] = _complete_rows(seen, means[:, o], covariances[:, o][:, :, o])
    return table


def _complete_rows(values: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    K, p = means.shape
    root = np.linalg.cholesky(covariances)
    whitener = np.ascontiguousarray(np.moveaxis(np.linalg.solve(root, np.broadcast_to(np.eye(p), root.shape)), 0, -1))
    constant = -0.5 * p * np.log(2 * np.pi) - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    m, table = np.ascontiguousarray(means.T), np.empty((len(values), K))

    def work(chunk: int, first: int, last: int) -> None:
        gaussian.whitened_table(values, m, whitener, constant, first, last, table)

    _chunks.share(work, _chunks.by_row(len(values)), float(values.size * K * (p + 1)))
    return table


def moments(
    values: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Σ w (K,), E Σ w (y − μ) (K, p) and E Σ w (y − μ)(y − μ)ᵀ (K, p, p), expectations over the missing entries."""
    K, p = means.shape
    s0, s1, s2 = np.zeros(K), np.zeros((K, p)), np.zeros((K, p, p))
    for rows, o in patterns(values):
        add = _complete_moments if o.all() else _partial_moments
        b0, b1, b2 = add(values[rows], weights[rows], means, covariances, o)
        s0, s1, s2 = s0 + b0, s1 + b1, s2 + b2
    return s0, s1, s2


def _complete_moments(
    values: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, o: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    K, p = means.shape
    bounds = _chunks.by_row(len(values))
    chunks = len(bounds) - 1
    s0, s1, s2 = np.zeros((chunks, K)), np.zeros((chunks, p, K)), np.zeros((chunks, p, p, K))
    m = np.ascontiguousarray(means.T)

    def work(c: int, first: int, last: int) -> None:
        gaussian.full_moments(values, weights, m, first, last, s0[c], s1[c], s2[c])

    _chunks.share(work, bounds, 2.0 * values.size * K * (p + 1))
    lower = np.moveaxis(s2.sum(axis=0), -1, 0)
    return s0.sum(axis=0), s1.sum(axis=0).T, lower + np.swapaxes(np.tril(lower, -1), 1, 2)


def _partial_moments(
    values: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, o: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    K, p = means.shape
    total, s1, s2 = weights.sum(axis=0), np.empty((K, p)), np.empty((K, p, p))
    gaps = np.empty((len(values), p))
    for k in range(K):
        seen, across = covariances[k][np.ix_(o, o)], covariances[k][np.ix_(o, ~o)]
        gain = np.linalg.solve(seen, across)
        gaps[:, o] = values[:, o] - means[k, o]
        gaps[:, ~o] = gaps[:, o] @ gain
        s1[k] = weights[:, k] @ gaps
        s2[k] = (weights[:, k, None] * gaps).T @ gaps
        s2[k][np.ix_(~o, ~o)] += total[k] * (covariances[k][np.ix_(~o, ~o)] - across.T @ gain)
    return total, s1, s2


def m_step(
    values: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    floor: np.ndarray,
    tied: bool,
) -> Estimate:
    """Weighted means and covariances (K, p, p), or one (p, p) if `tied`, not below diag(`floor`) in any direction."""
    s0, s1, s2 = moments(values, weights, means, covariances)
    known = s0 > NO_WEIGHT
    mass = np.where(known, s0, 1.0)
    shift = np.where(known[:, None], s1 / mass[:, None], 0.0)
    about_means = s2 / mass[:, None, None] - shift[:, :, None] * shift[:, None, :]
    if tied:
        share = np.where(known, s0, 0.0) / np.where(known, s0, 0.0).sum()
        found = (share[:, None, None] * about_means).sum(axis=0)
    else:
        found = np.where(known[:, None, None], about_means, covariances)
    lifted, low = lift(found, floor)
    held = tuple(int(k) for k in np.flatnonzero(low))
    return Estimate(means + shift, lifted, held)


def lift(covariances: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The covariances Σ that maximise −log|Σ| − tr(Σ⁻¹ S) under Σ ⪰ diag(floor), and whether that differs from S.

    In units of the floor: the eigenvalues of S below 1 become 1 (a trace of products is least when eigenvectors are
    shared, and each eigenvalue's term rises up to the sample's own value and falls beyond).
    """
    unit = np.sqrt(floor)[:, None] * np.sqrt(floor)
    values, vectors = np.linalg.eigh(covariances / unit)
    low = values[..., 0] < 1.0
    lifted = (vectors * np.maximum(values, 1.0)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    lifted = 0.5 * (lifted + np.swapaxes(lifted, -1, -2)) * unit
    return np.where(low[..., None, None], lifted, covariances), low
