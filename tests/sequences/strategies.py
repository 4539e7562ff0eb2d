"""Hypothesis strategies for `Sequences`, shared by the tests of every layer."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from statewise.sequences.sequences import Sequences

NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)
TIMES = ("none", "number", "date")


@st.composite
def sequences(
    draw: st.DrawFn,
    most: int = 4,
    longest: int = 7,
    shortest: int = 1,
    numbers: st.SearchStrategy[float] = NUMBERS,
    times: tuple[str, ...] = TIMES,
    missing: bool = True,
    extras: bool = True,
) -> Sequences:
    """Ragged sequences of 1–3 columns with any mix of missing values, times, inputs, labels and names.

    Args:
        most, longest, shortest: bounds on the number of sequences and on their lengths.
        numbers: the observed values.
        times: kinds of times to choose from.
        missing: whether values may be missing; the first row is always observed.
        extras: whether there may be inputs, labels and names.
    """
    lengths = draw(st.lists(st.integers(shortest, longest), min_size=1, max_size=most))
    rows, dim = sum(lengths), draw(st.integers(1, 3))
    values = draw(hnp.arrays(np.float64, (rows, dim), elements=numbers))
    if missing:
        gone = draw(hnp.arrays(np.bool_, (rows, dim)))
        gone[0] = False
        values[gone] = np.nan
    fields: dict[str, Any] = {"times": draw(_times(lengths, draw(st.sampled_from(times))))}
    if extras:
        fields |= draw(_extras(lengths, dim))
    return Sequences(values=values, lengths=np.array(lengths), **fields)


@st.composite
def _times(draw: st.DrawFn, lengths: list[int], kind: str) -> np.ndarray | None:
    """Increasing in each sequence; whole steps, so that sequences often share times."""
    if kind == "none":
        return None
    parts = []
    for length in lengths:
        steps = draw(st.lists(st.integers(1, 3), min_size=length, max_size=length))
        parts.append(draw(st.integers(-5, 5)) + np.cumsum(steps))
    whole = np.concatenate(parts)
    if kind == "number":
        return whole * 0.5
    return np.datetime64("2000-01-31", "us") + whole * np.timedelta64(draw(st.sampled_from([1, 24, 168])), "h")


@st.composite
def _extras(draw: st.DrawFn, lengths: list[int], dim: int) -> dict[str, Any]:
    rows, count = sum(lengths), len(lengths)
    fields: dict[str, Any] = {}
    width = draw(st.integers(0, 2))
    if width:
        fields["inputs"] = draw(hnp.arrays(np.float64, (rows, width), elements=NUMBERS))
    labels = draw(st.sampled_from(["none", "step", "sequence"]))
    if labels != "none":
        size = rows if labels == "step" else count
        fields["labels"] = np.array(draw(st.lists(st.sampled_from("abc"), min_size=size, max_size=size)))
    if draw(st.booleans()):
        ids = draw(st.lists(st.text("abz é", min_size=1, max_size=3), min_size=count, max_size=count, unique=True))
        fields["ids"] = tuple(f"s{name}" for name in ids)
    if draw(st.booleans()):
        fields["columns"] = ("gdp", "a,b", 'say "ü"')[:dim]
    fields["season"] = draw(st.sampled_from([None, 1, 4, 12]))
    return fields


def aligned() -> st.SearchStrategy[Sequences]:
    """Sequences that lie on one grid of whole times, each with its own start, end and gaps."""
    return st.lists(
        st.lists(st.integers(0, 25), min_size=1, max_size=15, unique=True).map(sorted), min_size=1, max_size=4
    ).map(_on_grid)


def _on_grid(grids: list[list[int]]) -> Sequences:
    rows = sum(map(len, grids))
    return Sequences.from_arrays(np.split(np.arange(float(rows)), np.cumsum(list(map(len, grids)))[:-1]), times=grids)
