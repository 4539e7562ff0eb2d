"""What every analysis returns."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise.dissection.panels import Panel, draw
from statewise.results.base import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Status(enum.Enum):
    """How far a value can be trusted."""

    CONVERGED = "converged"
    NOT_CONVERGED = "not converged"
    REFUSED = "refused"


@dataclass(frozen=True)
class Diagnostic(Result):
    """One thing found out about a network.

    Attributes:
        name: of the analysis.
        value: a number or an array; NaN, or an array of them, where it was refused.
        interval: (low, high), of the shape of `value`, or None where there is none; the meaning says of which kind.
        status: converged, not converged or refused.
        reason: why it is not converged or refused, and what to do about it; empty otherwise.
        meaning: one sentence for a reader who does not know the method.
        data: the numbers behind the pictures, by name.
        panels: the pictures, as data.
        source: who defined it.
    """

    name: str
    value: Any
    interval: tuple[Any, Any] | None
    status: Status
    reason: str
    meaning: str
    source: str
    data: Mapping[str, Any] = field(default_factory=dict)
    panels: tuple[Panel, ...] = ()

    def __float__(self) -> float:
        return float(self.value)

    def __repr__(self) -> str:
        return (
            f"Diagnostic({self.name}: {self.meaning}{f' [{self.status.value}: {self.reason}]' if self.reason else ''})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, in types that JSON has; an infinite or undefined number is a string."""
        return {
            "name": self.name,
            "value": plain(self.value),
            "interval": None if self.interval is None else [plain(end) for end in self.interval],
            "status": self.status.value,
            "reason": self.reason,
            "meaning": self.meaning,
            "source": self.source,
            "data": {name: plain(value) for name, value in self.data.items()},
        }

    def to_frame(self) -> pd.DataFrame:
        """The value and its interval, one row an entry of it."""
        import pandas as pd

        value = np.atleast_1d(np.asarray(self.value))
        index = pd.MultiIndex.from_tuples(list(np.ndindex(value.shape))) if value.ndim > 1 else None
        low, high = (np.full(value.shape, np.nan),) * 2 if self.interval is None else map(np.atleast_1d, self.interval)
        columns = {"value": value, "low": low, "high": high}
        frame = pd.DataFrame({name: np.broadcast_to(array, value.shape).ravel() for name, array in columns.items()})
        if index is not None:
            frame.index = index
        frame.insert(0, "diagnostic", self.name)
        return frame

    def plot(self) -> Figure:
        """The pictures, one under the other, as a matplotlib figure."""
        from matplotlib.figure import Figure

        count = max(1, len(self.panels))
        figure = Figure(figsize=(8, 3.2 * count), layout="constrained")
        axes = figure.subplots(count, 1, squeeze=False)[:, 0]
        for axis, panel in zip(axes, self.panels, strict=False):
            draw(axis, panel)
        if not self.panels:
            axes[0].text(0.5, 0.5, self.meaning, ha="center", va="center", wrap=True)
            axes[0].set_axis_off()
        return figure


def refused(name: str, reason: str, source: str, value: Any = np.nan) -> Diagnostic:
    """A value that would not mean what it says; `reason` says why, and what would help."""
    return Diagnostic(name, value, None, Status.REFUSED, reason, f"Not computed: {reason}.", source)


def plain(value: Any) -> Any:
    """A number, array, string, or nest of them in types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, complex):
        return [plain(value.real), plain(value.imag)]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
