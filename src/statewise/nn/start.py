"""Where training begins: the linear autoregression that the skip can express, by ridge regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PENALTIES = (1.0, 10.0, 100.0)
_SMALLEST_SD = 1e-3  # of a standardised column


@dataclass(frozen=True)
class LinearStart:
    """y[t] ~ N(weight · skip[t] + bias, exp(log_sd)²), column by column: weight (p, k), bias (p,), log_sd (p,)."""

    weight: np.ndarray
    bias: np.ndarray
    log_sd: np.ndarray

    def score(self, skip: np.ndarray, values: np.ndarray) -> float:
        """Mean log density of the observed entries; −inf if there are none."""
        z = (values - skip @ self.weight.T - self.bias) / np.exp(self.log_sd)
        density = -0.5 * np.log(2 * np.pi) - self.log_sd - 0.5 * z**2
        return float(np.nanmean(density)) if np.isfinite(density).any() else -np.inf


def linear_start(skip: np.ndarray, values: np.ndarray, training: np.ndarray, validation: np.ndarray) -> LinearStart:
    """Ridge regression of standardised values on the skip features over the training rows.

    min Σ (y − w·k − b)² + λ |w|², with the λ of 1, 10 and 100 that scores best on the validation rows (1 if there are none).
    The variance is the residual sum of squares over the degrees of freedom left, n − tr[X (X'X + λI)⁻¹ X'] − 1.

    Args:
        skip: (rows, k); values: (rows, p), NaN where missing.
        training, validation: (rows,) booleans.
    """
    starts = [_ridge(skip[training], values[training], penalty) for penalty in _PENALTIES]
    scores = [start.score(skip[validation], values[validation]) for start in starts]
    return starts[int(np.argmax(scores))]


def _ridge(skip: np.ndarray, values: np.ndarray, penalty: float) -> LinearStart:
    size = skip.shape[1]
    weights, biases, log_sds = np.zeros((values.shape[1], size)), np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for k, y in enumerate(values.T):
        seen = ~np.isnan(y)
        if not seen.any():
            continue
        centre, middle = skip[seen].mean(axis=0), y[seen].mean()
        x = skip[seen] - centre
        gram = x.T @ x
        inverse = np.linalg.inv(gram + penalty * np.eye(size))
        weights[k] = inverse @ (x.T @ (y[seen] - middle))
        biases[k] = middle - centre @ weights[k]
        rest = y[seen] - skip[seen] @ weights[k] - biases[k]
        left = max(len(rest) - float(np.trace(inverse @ gram)) - 1, 1.0)
        log_sds[k] = np.log(max(float(np.sqrt(rest @ rest / left)), _SMALLEST_SD))
    return LinearStart(weights, biases, log_sds)
