"""The squared error that a linear predictor reaches where a module's outputs are predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.dissection.packing import inside
from statewise.dissection.subject import Subject

_LAGS = (0, 1, 3, 10, 20)  # of which the best is taken
_RIDGE = 1e-6
_FOLDS = 5


@dataclass(frozen=True)
class LinearFloor:
    """Mean squared errors, the per cent of the module's above the floor's with its standard error, and what the outputs predict."""

    own: float
    floor: float
    above: tuple[float, float]
    what: str
    lags: int


def linear_floor(subject: Subject, targets: Any) -> LinearFloor | str:
    """The module beside ridge regressions of its targets on the last inputs, cross-fitted over sequences; or why there is none."""
    output, inputs, lengths = (subject.details.get(key) for key in ("output", "inputs", "lengths"))
    if output is None or inputs is None or lengths is None:
        return "what was opened puts out no predictions; pass a module, and `targets` for what it should put out"
    if targets is None:
        if output.shape != inputs.shape or output.shape[1] < 2:
            return (
                "a bare module has no density, and its output does not have the shape of its input, so it does not predict the next step; pass "
                "`targets` in the layout of its output"
            )
        y, output, x, mask = inputs[:, 1:], output[:, :-1], inputs[:, :-1], inside(lengths)[:, 1:]
        what = "the outputs as predictions of the next inputs"
    else:
        y = _batch_first(targets, output.shape, subject)
        if y is None:
            return f"`targets` has shape {np.shape(targets)}, and the output has {output.shape} (batch first); pass one target a number"
        x, mask, what = inputs, inside(lengths)[:, : output.shape[1]], "the outputs as predictions of the targets"
    if len(y) < 2:
        return "there is one sequence only, and a floor that is judged on the sequence it was fitted to says nothing; pass several"
    own = _by_sequence(output - y, mask)
    tried = {
        lags: _by_sequence(_cross_fitted(_lagged(x, lags), y, mask) - y, mask) for lags in _LAGS if lags <= x.shape[1]
    }
    lags, floor = min(tried.items(), key=lambda item: float(item[1].sum()))
    steps = mask.sum()
    if not floor.sum() > 0:
        return "a linear predictor makes no error at all"
    ratio = own.sum() / floor.sum()
    deviation = own - ratio * floor
    error = np.sqrt((deviation**2).sum() * len(own) / (len(own) - 1)) / floor.sum() if len(own) >= 5 else np.nan
    return LinearFloor(
        float(own.sum() / steps), float(floor.sum() / steps), (float(100 * (ratio - 1)), float(100 * error)), what, lags
    )


def _by_sequence(rest: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(B,) sums of squares."""
    found: np.ndarray = np.where(mask, (rest**2).sum(axis=2), 0.0).sum(axis=1)
    return found


def _batch_first(targets: Any, shape: tuple[int, ...], subject: Subject) -> np.ndarray | None:
    given = np.asarray(targets, dtype=np.float64)
    if given.ndim == 2:
        given = given[:, :, None]
    padded = subject.details.get("padded")
    if given.shape == shape:
        return given
    turned = None if padded is None else given.transpose(1, 0, 2)
    return turned if turned is not None and turned.shape == shape else None


def _lagged(x: np.ndarray, lags: int) -> np.ndarray:
    """(B, T, lags · d + lags + 1) the last inputs, zeros before the beginning, whether they were there, and 1."""
    batch, steps, d = x.shape
    found = np.zeros((batch, steps, lags * d + lags + 1))
    found[..., -1] = 1.0
    for k in range(lags):
        found[:, k:, k * d : (k + 1) * d] = x[:, : steps - k]
        found[:, k:, lags * d + k] = 1.0
    return found


def _cross_fitted(features: np.ndarray, y: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(B, T, p) predictions of each sequence from a regression on the others, in five folds."""
    found = np.zeros_like(y)
    for fold in np.array_split(np.arange(len(y)), min(_FOLDS, len(y))):
        others = np.setdiff1d(np.arange(len(y)), fold)
        rows, values = features[others][mask[others]], y[others][mask[others]]
        gram = rows.T @ rows
        penalty = _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        found[fold] = features[fold] @ np.linalg.solve(gram + penalty, rows.T @ values)
    return found
