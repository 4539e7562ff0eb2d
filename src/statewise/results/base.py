"""The contract of every result."""

from __future__ import annotations

import abc
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Result(abc.ABC):
    """A frozen set of arrays that can be turned into a table or a picture."""

    @abc.abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """The result as a long pandas table, one row a step."""

    @abc.abstractmethod
    def plot(self) -> Figure:
        """The result as a matplotlib figure (nothing is shown or saved)."""


def new_figure(panels: int = 1) -> tuple[Figure, list[Any]]:
    """A figure with stacked panels, made without touching pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.6 * panels), layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False)
    return figure, list(axes[:, 0])


def row_index(lengths: np.ndarray, ids: tuple[Hashable, ...], times: np.ndarray | None) -> dict[str, Any]:
    """The columns that place each packed row: id, step, and time where there is one."""
    steps = np.concatenate([np.arange(length) for length in lengths])
    index: dict[str, Any] = {"id": np.repeat(np.array(ids, dtype=object), lengths), "step": steps}
    if times is not None:
        index["time"] = times
    return index
