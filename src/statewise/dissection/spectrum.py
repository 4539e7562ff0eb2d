"""Sums of ln |R_ii| along trajectories: what the exponents, their errors and all that follows from them are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise._core import checks
from statewise._core.seed import generator
from statewise.dissection.subject import Subject
from statewise.dissection.systems import System

_WORST_CONDITION = 1e6  # of the block of tangents between two QRs
_MOST_STEPS = 32
_BLOCKS = 20
_CHECKED = 1024  # numbers of the states of the first sequences, which a second trajectory follows


@dataclass(frozen=True)
class Spectrum:
    """The leading exponents of one system, in nats a step.

    Attributes:
        increments: (B, T', k) ln |R_ii| of the steps counted, spread evenly over the steps between two QRs; NaN beyond a sequence's end.
        warmup: steps that the tangents took before counting.
    """

    increments: np.ndarray
    warmup: int


def spectra(subject: Subject, exponents: int, warmup: int | None, seed: int | None) -> dict[str, Spectrum]:
    """The leading exponents of every layer by its name, computed once for a subject."""
    found: dict[str, Spectrum] = subject.remembered(
        ("spectra", exponents, warmup, seed),
        lambda: {name: spectrum(system, exponents, warmup, seed) for name, system in subject.layers},
    )
    return found


def spectrum(system: System, exponents: int, warmup: int | None = None, seed: int | None = 0) -> Spectrum:
    """Leading exponents of one system along its trajectories, step by step."""
    system = system.at(np.float64)
    k = min(exponents, system.size)
    turning = turning_steps(system, warmup)
    draw = generator(seed).standard_normal((system.batch, system.size, k))
    Q = np.linalg.qr(draw)[0]
    increments = np.full((system.batch, system.steps - turning, k), np.nan)
    stops = np.unique(np.append(system.lengths, turning))  # no block reaches beyond the end of a sequence
    t, stride = 0, 4
    while t < system.steps:
        ahead = min(stride, int(stops[np.searchsorted(stops, t, side="right")]) - t)
        moved = Q
        for each in range(t, t + ahead):
            moved = system.push(each, moved)
        new, growth = _orthogonalised(moved)
        worst = _condition(growth[system.mask[:, t]])
        if worst > _WORST_CONDITION and ahead > 1:
            stride = max(1, ahead // 2)
            continue
        if t >= turning:
            increments[:, t - turning : t - turning + ahead] = (_logs(growth, system.size) / ahead)[:, None]
        Q, t = new, t + ahead
        if worst < _WORST_CONDITION**0.4 and ahead == stride:
            stride = min(2 * stride, _MOST_STEPS)
    increments[~system.mask[:, turning:]] = np.nan
    return Spectrum(increments, turning)


def growths(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, n, k) orthonormal columns in place of a block's, and (B, k) ln |R_ii|."""
    new, growth = _orthogonalised(block)
    return new, _logs(growth, block.shape[1])


def _orthogonalised(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    new, R = np.linalg.qr(block)
    return new, np.abs(np.diagonal(R, axis1=1, axis2=2))


def turning_steps(system: System, warmup: int | None) -> int:
    """Steps that tangents are given to turn before anything is counted."""
    turning = min(system.steps // 10, 100) if warmup is None else checks.Integer(0).check("warmup", warmup)
    return min(turning, int(system.lengths.min()) - 1)


def _condition(growth: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = np.max(growth.max(axis=1) / growth.min(axis=1))
    return float(worst) if np.isfinite(worst) else np.inf


def _logs(growth: np.ndarray, size: int) -> np.ndarray:
    """ln |R_ii|; −inf where the direction is lost in the rounding of the largest."""
    floor = 8 * size * np.finfo(np.float64).eps * growth.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return np.where(growth > floor, np.log(growth), -np.inf)


def means(found: Spectrum) -> np.ndarray:
    """(k,) over all steps of all sequences."""
    return _mean(found.increments.reshape(-1, found.increments.shape[2]))


def drift(found: Spectrum) -> np.ndarray:
    """(k,) how far the means moved between half and all of the steps; NaN for exponents of −inf."""
    half = means(Spectrum(found.increments[:, : max(1, found.increments.shape[1] // 2)], found.warmup))
    with np.errstate(invalid="ignore"):
        return np.abs(means(found) - half)


def block_means(found: Spectrum) -> np.ndarray:
    """(blocks, k) means over at least 20 blocks of steps, from the single sequences or pieces of them; fewer where there are too few steps."""
    batch, steps, k = found.increments.shape
    pieces = -(-_BLOCKS // batch)
    if steps < pieces:
        return np.zeros((0, k))
    blocks = np.concatenate([_mean(part, axis=1) for part in np.array_split(found.increments, pieces, axis=1)])
    return np.asarray(blocks[~np.isnan(blocks).any(axis=1)])


def standard_errors(found: Spectrum) -> np.ndarray:
    """(k,) sd / √blocks of the block means; NaN where there are too few steps."""
    blocks = block_means(found)
    if len(blocks) < 2:
        return np.full(blocks.shape[1], np.nan)
    with np.errstate(invalid="ignore"):
        error = np.std(blocks, axis=0, ddof=1) / np.sqrt(len(blocks))
    return np.where(np.isneginf(blocks).any(axis=0), 0.0, error)


def by_sequence(found: Spectrum) -> np.ndarray:
    """(B, k) finite-time exponents of each sequence."""
    return _mean(found.increments, axis=1)


def history(found: Spectrum) -> np.ndarray:
    """(T', k) running means, over the sequences that are still going."""
    each = _mean(found.increments, axis=0)
    return np.asarray(np.cumsum(each, axis=0) / np.arange(1, len(each) + 1)[:, None])


def _mean(increments: np.ndarray, axis: int = 0) -> np.ndarray:
    """The mean of what is there; NaN where nothing is."""
    there = ~np.isnan(increments)
    count = there.sum(axis=axis)
    total = np.where(there, increments, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mean_log_det(system: System, warmup: int) -> float:
    """The mean of ln |det J[t]| over the steps counted."""
    system = system.at(np.float64)
    total, count = 0.0, 0
    for t in range(warmup, system.steps):
        logs = np.linalg.slogdet(system.jacobian(t))[1][system.mask[:, t]]
        total, count = total + float(logs.sum()), count + logs.size
    return total / count


def two_trajectories(system: System, warmup: int, seed: int | None) -> float:
    """The rate at which a second trajectory, put back to a distance of 1e-7 after every step, parts from the first, in nats a step.

    It uses steps and no Jacobians, and so checks both the Jacobians and the top exponent; large networks on their first sequences only. NaN
    where there is no step to take.
    """
    if not system.steps_anywhere:
        return float("nan")
    system = system.at(np.float64)
    if system.batch * system.size > _CHECKED:
        system = system.rows(np.arange(max(1, _CHECKED // system.size)))
    distance = 1e-7 * max(1.0, float(np.abs(system.states).max()))
    draw = generator(seed).standard_normal((system.batch, system.size))
    offset = distance * draw / np.linalg.norm(draw, axis=1, keepdims=True)
    logs = np.full((system.batch, system.steps), np.nan)
    for t in range(system.steps):
        parted = system.advance(t, system.states[:, t] + offset) - system.states[:, t + 1]
        length = np.linalg.norm(parted, axis=1, keepdims=True)
        with np.errstate(divide="ignore"):
            logs[:, t] = np.log(length[:, 0] / distance)
        offset = np.where(length > 0, distance * parted / np.where(length > 0, length, 1.0), offset)
    logs[~system.mask] = np.nan
    return float(_mean(logs[:, warmup:].reshape(-1)))
