"""What `predict` returns."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise.results.base import Result, new_figure, row_index

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from statewise.sequences.sequences import Sequences


@dataclass(frozen=True)
class Predicted(Result):
    """One-step-ahead predictions: what the model expected at each step, knowing only the steps before.

    Attributes:
        mean: (rows, p) predictive means.
        variance: (rows, p) predictive variances; inf where the start is diffuse.
        residuals: (rows, p) standardised residuals, standard normal if the model is right; NaN where the observation
            is missing or the start diffuse.
        lengths, ids, columns, times: as in the sequences.
    """

    mean: np.ndarray
    variance: np.ndarray
    residuals: np.ndarray
    lengths: np.ndarray
    ids: tuple[Hashable, ...]
    columns: tuple[str, ...]
    times: np.ndarray | None = None

    @classmethod
    def gaussian(cls, seqs: Sequences, mean: np.ndarray, variance: np.ndarray) -> Predicted:
        """Predictions whose residual is (y − mean) / sd."""
        known = np.isfinite(variance) & (variance > 0)
        sd = np.sqrt(np.where(known, variance, 1.0))
        residuals = np.where(known, (seqs.values - mean) / sd, np.nan)
        return cls(mean, variance, residuals, seqs.lengths, seqs.ids, seqs.columns, seqs.times)

    def to_frame(self) -> pd.DataFrame:
        """One row for each step; columns mean_<column>, sd_<column>, residual_<column>."""
        import pandas as pd

        table = row_index(self.lengths, self.ids, self.times)
        for k, column in enumerate(self.columns):
            table[f"mean_{column}"] = self.mean[:, k]
            table[f"sd_{column}"] = np.sqrt(self.variance[:, k])
            table[f"residual_{column}"] = self.residuals[:, k]
        return pd.DataFrame(table)

    def plot(self) -> Figure:
        """Standardised residuals of the first sequence, one panel a column."""
        figure, axes = new_figure(len(self.columns))
        for k, axis in enumerate(axes):
            axis.plot(self.residuals[: self.lengths[0], k], marker=".", linewidth=0.6)
            axis.axhline(0, color="black", linewidth=0.6)
            axis.set_ylabel(f"residual of {self.columns[k]}")
        return figure
