"""Two dissections side by side: of two checkpoints, of two models, of one before and after a remedy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.dissection import registry
from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.dissection import Dissection

if TYPE_CHECKING:
    import pandas as pd

_FIRST = {"lyapunov": "λ₁"}  # arrays whose first entry stands for them, and what it is called; others have their median


@dataclass(frozen=True)
class Row:
    """One number in both.

    Attributes:
        name: of the analysis.
        title: for people.
        first, second: the values.
        first_interval, second_interval: where there are some.
        verdict: whether they differ by more than their intervals.
    """

    name: str
    title: str
    first: float
    first_interval: tuple[float, float] | None
    second: float
    second_interval: tuple[float, float] | None
    verdict: str


class Comparison:
    """What two dissections found, number by number.

    Attributes:
        first, second: the dissections.
        rows: the numbers that both have.
    """

    def __init__(self, first: Dissection, second: Dissection) -> None:
        self.first, self.second = first, second
        self.rows = tuple(
            row
            for name in registry.names()
            if name in first.computed and name in second.computed
            for row in _rows(name, first, second)
        )

    def __repr__(self) -> str:
        return f"Comparison({self.first.subject.name}, {self.second.subject.name}; {len(self.rows)} numbers)"

    def to_frame(self) -> pd.DataFrame:
        """One row a number, with the ends of the intervals."""
        import pandas as pd

        nothing = (np.nan, np.nan)
        return pd.DataFrame(
            [
                {
                    "diagnostic": row.name,
                    "number": row.title,
                    "first": row.first,
                    "first_low": (row.first_interval or nothing)[0],
                    "first_high": (row.first_interval or nothing)[1],
                    "second": row.second,
                    "second_low": (row.second_interval or nothing)[0],
                    "second_high": (row.second_interval or nothing)[1],
                    "verdict": row.verdict,
                }
                for row in self.rows
            ]
        )

    def summary(self) -> str:
        """One line a number."""
        return "\n".join(
            f"{row.title}: {_text(row.first, row.first_interval)} → {_text(row.second, row.second_interval)} ({row.verdict})"
            for row in self.rows
        )

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write both to one HTML file, A beside B, and return its path."""
        return self.first.report(path, other=self.second)


def compare(first: Dissection, second: Dissection) -> Comparison:
    """Two dissections side by side; only what has been computed in both is compared.

    Args:
        first, second: what `dissect` returned, such as for two checkpoints on the same batch.

    Raises:
        InputError: an argument is no dissection.
    """
    for name, each in (("first", first), ("second", second)):
        if not isinstance(each, Dissection):
            raise InputError(f"`{name}` is {checks.shown(each)}; pass what `dissect` returned")
    return Comparison(first, second)


def _rows(name: str, first: Dissection, second: Dissection) -> list[Row]:
    both = [d.computed[name] for d in (first, second)]
    if any(each.status is Status.REFUSED for each in both) or any(np.ndim(each.value) > 1 for each in both):
        return []
    ends = [_number(each) for each in both]
    if any(value is None for value, _ in ends):
        return []
    (a, a_interval), (b, b_interval) = ends
    assert a is not None
    assert b is not None
    title = registry.analysis(name).title
    if np.ndim(both[0].value):
        title = f"{title}, {_FIRST.get(name, 'median')}"
    return [Row(name, title, a, a_interval, b, b_interval, _difference(a, a_interval, b, b_interval))]


def _number(each: Diagnostic) -> tuple[float | None, tuple[float, float] | None]:
    """The value with its interval, or what stands for an array."""
    values = np.atleast_1d(np.asarray(each.value))
    if values.dtype.kind not in "fiu" or not values.size:
        return None, None
    if np.ndim(each.value) and each.name not in _FIRST:
        return float(np.median(values)), None
    if each.interval is None:
        return float(values[0]), None
    low, high = (float(np.atleast_1d(end)[0]) for end in each.interval)
    return float(values[0]), (low, high)


def _difference(
    a: float, a_interval: tuple[float, float] | None, b: float, b_interval: tuple[float, float] | None
) -> str:
    if a == b:
        return "the same"
    said = "higher" if b > a else "lower"
    if a_interval is None or b_interval is None or np.isnan([*a_interval, *b_interval]).any():
        return f"{said}, without an interval to judge by"
    apart = a_interval[1] < b_interval[0] or b_interval[1] < a_interval[0]
    return said if apart else f"{said}, within the intervals"


def _text(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.3g}" + ("" if interval is None else f" [{interval[0]:.3g}, {interval[1]:.3g}]")
