"""The components that a structural model sees in a series."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise._core.errors import InputError
from statewise.results.base import Result, new_figure, row_index

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Components(Result):
    """Each component of each column, given the whole sequence: y = level + seasonal + cycle + regression + irregular.

    Attributes:
        names: of the components: level, trend (the slope, which is no summand of y), seasonal, cycle, regression, irregular, as far as they are
            there. The regression is mean + D u.
        mean: (rows, p, k) means, in the data's units.
        variance: (rows, p, k) variances given the parameters.
        columns: of the data.
        lengths, ids, times: as in the sequences.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    variance: np.ndarray
    columns: tuple[str, ...]
    lengths: np.ndarray
    ids: tuple[Hashable, ...]
    times: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"Components({', '.join(self.names)}; {len(self.mean)} rows, {len(self.columns)} columns)"

    def __getitem__(self, name: str) -> np.ndarray:
        """(rows, p) the mean of one component."""
        if name not in self.names:
            raise InputError(f"there is no component {name!r}; the model has {', '.join(self.names)}")
        return np.asarray(self.mean[..., self.names.index(name)])

    def to_frame(self) -> pd.DataFrame:
        """One row for each step; columns NAME and NAME_sd, after COLUMN_ where the data have several columns."""
        import pandas as pd

        table = row_index(self.lengths, self.ids, self.times)
        for j, column in enumerate(self.columns):
            prefix = f"{column}_" if len(self.columns) > 1 else ""
            for k, name in enumerate(self.names):
                table[f"{prefix}{name}"] = self.mean[:, j, k]
                table[f"{prefix}{name}_sd"] = np.sqrt(self.variance[:, j, k])
        return pd.DataFrame(table)

    def plot(self) -> Figure:
        """The first sequence and column: a panel for each component, with two standard deviations."""
        figure, axes = new_figure(len(self.names))
        steps = np.arange(self.lengths[0])
        for k, (name, axis) in enumerate(zip(self.names, axes, strict=True)):
            mean, sd = self.mean[steps, 0, k], np.sqrt(self.variance[steps, 0, k])
            axis.plot(steps, mean)
            axis.fill_between(steps, mean - 2 * sd, mean + 2 * sd, alpha=0.2)
            axis.set_ylabel(name)
        return figure
