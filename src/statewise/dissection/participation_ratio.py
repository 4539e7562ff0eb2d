"""How many dimensions the states fill."""

from __future__ import annotations

import numpy as np

from statewise._core import checks
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.memory_capacity import capacity_site
from statewise.dissection.panels import Panel, Points
from statewise.dissection.subject import Subject
from statewise.dissection.systems import System

SOURCE = "Gao et al. 2017 (bioRxiv 214262); Rajan, Abbott & Sompolinsky 2010"
_BLOCKS = 10


def participation_ratio(subject: Subject, *, warmup: int | None = None) -> Diagnostic:
    """PR = (Σ λ)² / Σ λ², λ the eigenvalues of the states' covariance: 1 if they lie on a line, n if they fill all directions alike.

    The plain estimate is too small, N T / (N + T) for T independent isotropic states. Here the numerator and the denominator are means
    over pairs of blocks of tr S_a tr S_b and tr S_a S_b, S_a the covariance of block a: products of estimates that do not share their
    errors.

    Args:
        warmup: steps at the beginning of every sequence that are left out; default a tenth of the sequences, 100 at most.

    Returns:
        value: the corrected ratio, from 1 to n. interval: ± 2 standard errors, by leaving out a block at a time. Data: `raw` (without the
        correction), `eigenvalues` of the covariance, `samples` T, `states` n, `layers` (corrected, by name).
    """
    name = "participation_ratio"
    system = capacity_site(subject).system
    if not np.any(system.states):
        return refused(name, "there are no states, only Jacobians", SOURCE)
    turning = min(system.steps // 10, 100) if warmup is None else checks.Integer(0).check("warmup", warmup)
    blocks = _blocks(system, turning)
    samples = sum(map(len, blocks))
    if len(blocks) < _BLOCKS or samples < 2 * _BLOCKS:
        return refused(
            name,
            f"there are {samples} states, too few for {_BLOCKS} blocks; pass longer sequences or more of them",
            SOURCE,
        )
    every = np.concatenate(blocks)
    values = np.linalg.eigvalsh(np.cov(every.T, ddof=0).reshape(system.size, system.size))[::-1]
    total = float(values.sum())
    if total <= 1e-24 * max(1.0, float(np.abs(every).max())) ** 2:
        return refused(name, "the states do not move", SOURCE)
    ratio, error = _corrected(blocks)
    raw = float(total**2 / (values**2).sum())
    reason = _doubt(samples, system.size, ratio, error)
    value = float(np.clip(ratio, 1.0, system.size))
    data = {
        "raw": raw,
        "corrected": ratio,
        "standard_error": error,
        "eigenvalues": values,
        "samples": samples,
        "states": system.size,
        "layers": {part.label: _of_layer(part, turning) for part in system.parts},
    }
    index = np.arange(1, len(values) + 1)
    shown = values > 1e-16 * values[0]
    return Diagnostic(
        name,
        value,
        (float(np.clip(ratio - 2 * error, 1.0, system.size)), float(np.clip(ratio + 2 * error, 1.0, system.size))),
        Status.NOT_CONVERGED if reason else Status.CONVERGED,
        reason,
        f"The states fill {value:.3g} of {system.size} dimensions (participation ratio).",
        SOURCE,
        data,
        (
            Panel(
                "Variance of the states",
                "principal component",
                "share of the variance",
                (Points(index[shown], values[shown] / total, "eigenvalues"),),
                y_log=True,
            ),
        ),
    )


def _blocks(system: System, warmup: int) -> list[np.ndarray]:
    """States of whole sequences, or of pieces of them, in at least ten groups where there are enough."""
    pieces = -(-_BLOCKS // system.batch)
    groups: list[np.ndarray] = []
    for b, length in enumerate(system.lengths.tolist()):
        own = system.states[b, 1 + min(warmup, length - 1) : length + 1].astype(np.float64)
        groups += [piece for piece in np.array_split(own, pieces) if len(piece)]
    if len(groups) <= 2 * _BLOCKS:
        return groups
    order = np.array_split(np.arange(len(groups)), _BLOCKS)  # many sequences: some of them together
    return [np.concatenate([groups[i] for i in some]) for some in order]


def _corrected(blocks: list[np.ndarray]) -> tuple[float, float]:
    """The ratio of the means over pairs of different blocks, and its standard error by leaving out each block."""
    centre = np.concatenate(blocks).mean(axis=0)
    weights = np.array([len(block) for block in blocks], dtype=float)
    centred = [block - centre for block in blocks]
    covariances = np.stack([c.T @ c / len(c) for c in centred])
    traces = np.trace(covariances, axis1=1, axis2=2)
    together = np.tensordot(covariances, covariances, axes=([1, 2], [1, 2]))
    pairs = np.outer(weights, weights)
    np.fill_diagonal(pairs, 0.0)

    def ratio(kept: np.ndarray) -> float:
        own = pairs[np.ix_(kept, kept)]
        top = (own * np.outer(traces[kept], traces[kept])).sum()
        return float(top / (own * together[np.ix_(kept, kept)]).sum())

    count = len(blocks)
    every = np.arange(count)
    each = np.array([ratio(np.delete(every, k)) for k in range(count)])
    error = float(np.sqrt((count - 1) / count * ((each - each.mean()) ** 2).sum()))
    return ratio(every), error


def _of_layer(part: System, warmup: int) -> float:
    return float(np.clip(_corrected(_blocks(part, warmup))[0], 1.0, part.size))


def _doubt(samples: int, size: int, ratio: float, error: float) -> str:
    if samples < 2 * size:
        return f"there are {samples} states of {size} numbers, and the correction needs twice as many; pass longer sequences"
    if error > 0.1 * ratio:
        return f"the standard error is {error:.2g}, above a tenth of the ratio; pass longer sequences"
    return ""
