"""Impulse responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise.results.base import Result, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ImpulseResponse(Result):
    """What a shock does to every column over the steps after it.

    Attributes:
        response: (steps + 1, k, k); [h, i, j] is the change of column i, h steps after a shock to column j, in the data's units.
        lower, upper: bounds of the same shape, pointwise; NaN without standard errors.
        level: of the bounds, in per cent.
        orthogonal: whether the shocks are the Cholesky factor's (one standard deviation each), or one unit of each innovation.
        columns: the data's columns.
    """

    response: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    level: float
    orthogonal: bool
    columns: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row a step, shock and column: step, shock, column, response, lower, upper."""
        import pandas as pd

        steps, k, _ = self.response.shape
        step, column, shock = (each.ravel() for each in np.indices((steps, k, k)))
        names = np.array(self.columns, dtype=object)
        return pd.DataFrame(
            {
                "step": step,
                "shock": names[shock],
                "column": names[column],
                "response": self.response.ravel(),
                "lower": self.lower.ravel(),
                "upper": self.upper.ravel(),
            }
        )

    def plot(self) -> Figure:
        """One panel a column, one line with its band a shock."""
        figure, axes = new_figure(len(self.columns))
        steps = np.arange(len(self.response))
        for i, (axis, column) in enumerate(zip(axes, self.columns, strict=True)):
            for j, shock in enumerate(self.columns):
                line = axis.plot(steps, self.response[:, i, j], label=f"shock to {shock}")[0]
                axis.fill_between(steps, self.lower[:, i, j], self.upper[:, i, j], alpha=0.15, color=line.get_color())
            axis.axhline(0.0, color="0.7", linewidth=0.8)
            axis.set_ylabel(column)
            axis.legend(fontsize="small")
        axes[-1].set_xlabel("steps after the shock")
        return figure
