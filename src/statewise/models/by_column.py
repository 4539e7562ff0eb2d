"""Fits of independent columns, one at a time: what `Structural` and `ARIMA` share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from statewise._core.outcome import Outcome
from statewise.fitting.mle import Maximum
from statewise.results.fit import FitResult
from statewise.sequences.scaling import Scaling
from statewise.sequences.sequences import Sequences

P = TypeVar("P")


@dataclass(frozen=True)
class ColumnFit(Generic[P]):
    """The maximum of one column: what was estimated, from which standardised data, and how these were standardised."""

    problem: P
    seqs: Sequences
    scaling: Scaling
    inputs: Scaling
    maximum: Maximum


def one_column(seqs: Sequences, column: int) -> Sequences:
    """The sequences of one column alone, with all inputs."""
    return seqs.replace(values=seqs.values[:, column : column + 1], columns=(seqs.columns[column],))


def joint_result(
    fits: Sequence[ColumnFit[Any]], seqs: Sequences, log_prob: float, begun: float, notes: Sequence[str], **more: Any
) -> FitResult:
    """How the fit of all columns ended: as the worst of them; `more` goes to its details."""
    found = [each.maximum for each in fits]
    worst = next((m.outcome for m in found if not m.outcome.ok), Outcome.CONVERGED)
    details = {"gradient_norm": max(m.gradient_norm for m in found)} | more
    seconds = time.perf_counter() - begun
    return FitResult(worst, log_prob, seqs.n_observed_steps, found[0].trace, seconds, tuple(notes), details)
