"""From the word SOURCE to sequences: an embedded data set, or a file."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from statewise._core.errors import InputError
from statewise.cli.options import names

if TYPE_CHECKING:
    from statewise.sequences.sequences import Sequences


@dataclass(frozen=True)
class Reading:
    """How to read a file: the options of `statewise.read`, with the names that the command line gives them."""

    values: list[str] | None = None
    time: str | bool | None = None
    id: str | None = None
    inputs: list[str] | None = None
    sort: bool = False
    season: int | None = None

    @classmethod
    def parsed(
        cls,
        values: str | None,
        time: str | None,
        no_time: bool,
        id: str | None,
        inputs: str | None,
        sort: bool,
        season: int | None,
    ) -> Reading:
        """From the texts of the options."""
        if no_time and time is not None:
            raise InputError("--time and --no-time contradict each other; pass one of them")
        when = False if no_time else time
        return cls(names("--values", values), when, id, names("--inputs", inputs), sort, season)


def load(source: str, reading: Reading) -> Sequences:
    """The sequences of an embedded data set or of a file; for a file that has the name of a data set, write ./name.

    Raises:
        InputError: there is neither, or an option does not apply.
        DataError: the file is unreadable.
    """
    from statewise.sequences import datasets

    known = datasets.names()
    if source in known:
        return _embedded(source, reading)
    if not Path(source).exists() and not Path(source).suffix and Path(source).name == source:
        near = difflib.get_close_matches(source, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the data sets are {', '.join(known)}"
        raise InputError(f"{source!r} is neither a file here nor an embedded data set; {hint}")
    from statewise.sequences.read import read

    return read(
        source,
        values=reading.values,
        time=reading.time,
        id=reading.id,
        inputs=reading.inputs,
        sort=reading.sort,
        season=reading.season,
    )


def _embedded(name: str, reading: Reading) -> Sequences:
    """A data set, with the chosen columns and season; the other options are about files."""
    from statewise.sequences import datasets

    foreign = {
        "--no-time" if reading.time is False else "--time": reading.time,
        "--id": reading.id,
        "--inputs": reading.inputs,
        "--sort": reading.sort or None,
    }
    given = [option for option, value in foreign.items() if value is not None]
    if given:
        raise InputError(
            f"{given[0]} is for files, and {name!r} is an embedded data set; leave it out, or pass ./{name} for a file"
        )
    seqs = datasets.load(name)
    if reading.values is not None:
        missing = [column for column in reading.values if column not in seqs.columns]
        if missing:
            raise InputError(f"{name!r} has no column {missing[0]!r}; its columns are {', '.join(seqs.columns)}")
        picked = [seqs.columns.index(column) for column in reading.values]
        seqs = seqs.replace(values=seqs.values[:, picked], columns=tuple(reading.values))
    return seqs if reading.season is None else seqs.replace(season=reading.season)


def title(source: str) -> str:
    """A short name for the data: the data set's, or the file's without folder and suffix."""
    return Path(source).stem or source


def describe(name: str, seqs: Sequences) -> str:
    """One line about the data: sequences, steps, columns, from when to when, what is missing, the season."""
    import numpy as np

    from statewise.report import series

    shortest, longest = int(seqs.lengths.min()), int(seqs.lengths.max())
    steps = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    shown = ", ".join(seqs.columns[:6]) + (f" and {seqs.dim - 6} more" if seqs.dim > 6 else "")
    parts = [
        "1 sequence" if len(seqs) == 1 else f"{len(seqs)} sequences",
        f"{steps} steps" + (" each" if len(seqs) > 1 and shortest == longest else ""),
        f"{'column' if seqs.dim == 1 else 'columns'} {shown}",
    ]
    if seqs.times is not None:
        first, last = series.texts(seqs, np.array([seqs.times.min(), seqs.times.max()]))
        parts.append(f"{first} to {last}")
    if seqs.inputs is not None:
        parts.append(f"given {', '.join(seqs.input_columns)}")
    if seqs.n_missing:
        parts.append(f"{seqs.n_missing} of {seqs.values.size} values missing")
    if seqs.season is not None and seqs.season > 1:
        parts.append(f"season of {seqs.season} steps")
    return f"{name}: " + ", ".join(parts)
