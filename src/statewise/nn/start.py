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

    def score(self, skip: np.ndarray, values: np.ndarray) -> float:
        """Log density of the observed entries; 0 if there are none."""
        z = (values - skip @ self.weight.T - self.bias) / np.exp(self.log_sd)
        return float(np.nansum(-0.5 * np.log(2 * np.pi) - self.log_sd - 0.5 * z**2))


def linear_start(
    skip: np.ndarray, values: np.ndarray, training: np.ndarray, validation: np.ndarray, centres: Sequence[np.ndarray]
) -> LinearStart:
    """Ridge regression of standardised values on the skip features over the training rows.

    min Σ (y − w·k − b)² + λ |w − w₀|². Of all pairs of a centre w₀ and a λ of 1, 10, 100 and 1000 the one that scores best on the
    validation rows, all columns together, is taken: the first pair if there are none. The variance is the residual sum of
    squares over the degrees of freedom left, n − tr[X (X'X + λI)⁻¹ X'] − 1.

    Args:
        skip: (rows, k); values: (rows, p), NaN where missing.
        training, validation: (rows,) booleans.
        centres: weights (p, k) that are right where the data say nothing, such as zero or a random walk.
    """
    x, y = skip[training], values[training]
    seen = ~np.isnan(y)
    designs = {mask.tobytes(): _Design(x[mask]) for mask in seen.T if mask.any()}
    starts = [_ridge(x, y, centre, penalty, designs) for centre in centres for penalty in _PENALTIES]
    return max(starts, key=lambda start: start.score(skip[validation], values[validation]))


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
        design = designs[seen.tobytes()]
        rest = y[seen] - skip[seen] @ centre[k]
        change, freedom = design.solve(rest - rest.mean(), penalty)
        start.weight[k] += change
        start.bias[k] = rest.mean() - design.middle @ change
        rest = rest - skip[seen] @ change - start.bias[k]
        variance = float(rest @ rest) / max(len(rest) - freedom - 1, 1.0)
        start.log_sd[k] = np.log(max(np.sqrt(variance), _SMALLEST_SD))
    return start
