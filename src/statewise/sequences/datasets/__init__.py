"""Data sets that come with the package. One file a set; its docstring has source, licence, units and columns."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from types import ModuleType

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.sequences.datasets import airline, co2, nile, stdlib_code, sunspots, us_macro
from statewise.sequences.sequences import Sequences

__all__ = ["Description", "describe", "load", "names"]

_SETS: dict[str, ModuleType] = {
    "airline": airline,
    "co2": co2,
    "nile": nile,
    "stdlib-code": stdlib_code,
    "sunspots": sunspots,
    "us_macro": us_macro,
}


@dataclass(frozen=True)
class Description:
    """What a data set is.

    Args:
        name: what `load` takes.
        title: one line.
        source, licence, units: texts.
        sequences, rows, missing: how many sequences, steps in all, and missing entries.
        columns: names of the values.
        season: steps in a season, or None.
    """

    name: str
    title: str
    source: str
    licence: str
    units: str
    sequences: int
    rows: int
    missing: int
    columns: tuple[str, ...]
    season: int | None


def names() -> list[str]:
    """The names that `load` takes, sorted."""
    return sorted(_SETS)


def load(name: str) -> Sequences:
    """The data set called `name`.

    Raises:
        InputError: there is none of that name; the message suggests one.

    Example:
        >>> load("nile")
        <Sequences: 1 sequence × 100 steps × 1 (volume)>
    """
    seqs: Sequences = _module(name).load()
    return seqs


def describe(name: str) -> Description:
    """Title, source, licence and sizes of the data set called `name`."""
    about = _sections(_module(name).__doc__ or "")
    seqs = load(name)
    return Description(
        name=name,
        title=about.get("title", ""),
        source=about.get("source", ""),
        licence=about.get("licence", ""),
        units=about.get("units", ""),
        sequences=len(seqs),
        rows=seqs.rows,
        missing=seqs.n_missing,
        columns=seqs.columns,
        season=seqs.season,
    )


def _module(name: str) -> ModuleType:
    if isinstance(name, str) and name in _SETS:
        return _SETS[name]
    near = difflib.get_close_matches(str(name), _SETS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, names()))}"
    raise InputError(f"`name` is {checks.shown(name)}, which is no data set; {hint}")


def _sections(text: str) -> dict[str, str]:
    """The first line of a docstring as title, and its paragraphs "Word: text" by the word in lower case."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    pairs = [paragraph.partition(": ") for paragraph in paragraphs[1:]]
    return {"title": paragraphs[0].rstrip(".")} | {word.lower(): rest for word, colon, rest in pairs if colon}
