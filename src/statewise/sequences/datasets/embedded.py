"""Reading a data set's figures, which lie in the package as CSV, with the package's own reader."""

from __future__ import annotations

from importlib import resources

from statewise.sequences.read import read
from statewise.sequences.sequences import Sequences


def embedded(name: str, season: int | None = None) -> Sequences:
    """The sequences of ``data/<name>.csv``; `season` where the spacing of the times does not tell it."""
    with resources.as_file(resources.files(__package__) / "data" / f"{name}.csv") as path:
        return read(path, season=season)
