"""Where training begins: the linear autoregression that the skip can express, by ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
_SMALLEST_SD = 1e-3  # of a standardised column


@dataclass(frozen=True)
class LinearStart:
    """y[t] ~ N(weight · skip[t] + bias, exp(log_sd)²), column by column: weight (p, k), bias (p,), log_sd (p,)."""

    weight: np.ndarray
    bias: np.ndarray
    log_sd: np.ndarray

    def score(self, skip: np.ndarray, values: np.ndarray) -> np.ndarray:
        """(p,) mean log density of each column's observed entries; −inf where there are none."""
        z = (values - skip @ self.weight.T - self.bias) / np.exp(self.log_sd)
        density = -0.5 * np.log(2 * np.pi) - self.log_sd - 0.5 * z**2
        seen = ~np.isnan(density)
        total = np.where(seen, density, 0.0).sum(axis=0)
        return np.where(seen.any(axis=0), total / np.maximum(seen.sum(axis=0), 1), -np.inf)


def linear_start(
    skip: np.ndarray, values: np.ndarray, training: np.ndarray, validation: np.ndarray, centres: Sequence[np.ndarray]
) -> LinearStart:
    """Ridge regression of standardised values on the skip features over the training rows, each column by itself.

    min Σ (y − w·k − b)² + λ |w − w₀|². Of all pairs of a centre w₀ and a λ of 1, 10, 100 and 1000 the one that scores best on the
    validation rows is taken, the first pair if there are none. The variance is the residual sum of squares over the
    degrees of freedom left, n − tr[X (X'X + λI)⁻¹ X'] − 1.

    Args:
        skip: (rows, k); values: (rows, p), NaN where missing.
        training, validation: (rows,) booleans.
        centres: weights (p, k) that are right where the data say nothing, such as zero or a random walk.
    """
    designs: dict[bytes, _Design] = {}
    best, best_score = None, np.full(values.shape[1], -np.inf)
    for centre in centres:
        for penalty in _PENALTIES:
            start = _ridge(skip[training], values[training], centre, penalty, designs)
            score = start.score(skip[validation], values[validation])
            if best is None:
                best, best_score = start, score
            better = score > best_score
            best = LinearStart(
                np.where(better[:, None], start.weight, best.weight),
                np.where(better, start.bias, best.bias),
                np.where(better, start.log_sd, best.log_sd),
            )
            best_score = np.maximum(score, best_score)
    assert best is not None
    return best


class _Design:
    """The rows at which a column was observed: centred features x and the spectrum of x'x, for any penalty."""

    def __init__(self, rows: np.ndarray) -> None:
        self.middle = rows.mean(axis=0)
        self.x = rows - self.middle
        spectrum, self.basis = np.linalg.eigh(self.x.T @ self.x)
        self.spectrum = np.maximum(spectrum, 0.0)

    def solve(self, target: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
        """(x'x + λI)⁻¹ x' target, and the trace of x (x'x + λI)⁻¹ x'."""
        shrunk = (self.basis.T @ (self.x.T @ target)) / (self.spectrum + penalty)
        return self.basis @ shrunk, float((self.spectrum / (self.spectrum + penalty)).sum())


def _ridge(
    skip: np.ndarray, values: np.ndarray, centre: np.ndarray, penalty: float, designs: dict[bytes, _Design]
) -> LinearStart:
    """One centre and one penalty for all columns; columns that are missing at the same rows share a design."""
    start = LinearStart(centre.copy(), np.zeros(len(centre)), np.zeros(len(centre)))
    for k, y in enumerate(values.T):
        seen = ~np.isnan(y)
        if not seen.any():
            continue
        pattern = seen.tobytes()
        if pattern not in designs:
            designs[pattern] = _Design(skip[seen])
        design = designs[pattern]
        rest = y[seen] - skip[seen] @ centre[k]
        change, freedom = design.solve(rest - rest.mean(), penalty)
        start.weight[k] += change
        start.bias[k] = rest.mean() - design.middle @ change
        rest = rest - skip[seen] @ change - start.bias[k]
        variance = float(rest @ rest) / max(len(rest) - freedom - 1, 1.0)
        start.log_sd[k] = np.log(max(np.sqrt(variance), _SMALLEST_SD))
    return start
