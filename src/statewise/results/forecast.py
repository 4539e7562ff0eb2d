"""What `forecast` returns."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise._core import checks
from statewise.results.base import Result, new_figure
from statewise.results.marginals import Marginals

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Forecast(Result):
    """Predictive distributions of the next steps of each sequence.

    Attributes:
        marginals: one distribution for each (sequence, step, column), in the data's units.
        level: the interval levels in per cent, such as (80, 95).
        ids: (N,) names of the sequences.
        columns: (p,) names of the columns.
        times: (N, steps) times of the steps, or None.
    """

    marginals: Marginals
    level: tuple[float, ...]
    ids: tuple[Hashable, ...]
    columns: tuple[str, ...]
    times: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """(N, steps, p) predictive means."""
        return self.marginals.mean

    @property
    def variance(self) -> np.ndarray:
        """(N, steps, p) predictive variances."""
        return self.marginals.variance

    @property
    def steps(self) -> int:
        return self.mean.shape[1]

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """(lower, upper), each (N, steps, p): the central interval that holds `level` per cent."""
        (share,) = checks.levels(level)
        tail = (1 - share / 100) / 2
        return self.marginals.quantile(tail), self.marginals.quantile(1 - tail)

    @property
    def lower(self) -> dict[float, np.ndarray]:
        """The lower end of the interval, by level."""
        return {level: self.interval(level)[0] for level in self.level}

    @property
    def upper(self) -> dict[float, np.ndarray]:
        """The upper end of the interval, by level."""
        return {level: self.interval(level)[1] for level in self.level}

    def to_frame(self) -> pd.DataFrame:
        """One row for each (id, step, column): mean, sd and interval ends such as lower_80, upper_80."""
        import pandas as pd

        count, steps, dim = self.mean.shape
        table = {
            "id": np.repeat(np.array(self.ids, dtype=object), steps * dim),
            "step": np.tile(np.repeat(np.arange(1, steps + 1), dim), count),
        }
        if self.times is not None:
            table["time"] = np.repeat(self.times.reshape(-1), dim)
        table["column"] = np.tile(np.array(self.columns, dtype=object), count * steps)
        table["mean"] = self.mean.reshape(-1)
        table["sd"] = np.sqrt(self.variance).reshape(-1)
        for level in self.level:
            lower, upper = self.interval(level)
            table[f"lower_{level:g}"] = lower.reshape(-1)
            table[f"upper_{level:g}"] = upper.reshape(-1)
        return pd.DataFrame(table)

    def plot(self) -> Figure:
        """The first sequence: mean and intervals, one panel a column."""
        figure, axes = new_figure(len(self.columns))
        x = np.arange(1, self.steps + 1) if self.times is None else self.times[0]
        for k, axis in enumerate(axes):
            axis.plot(x, self.mean[0, :, k], label="mean")
            for level in self.level:
                lower, upper = self.interval(level)
                axis.fill_between(x, lower[0, :, k], upper[0, :, k], alpha=0.2, label=f"{level:g} %")
            axis.set_ylabel(self.columns[k])
        axes[0].legend()
        return figure
