"""Arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

import csv
from typing import Annotated

import typer

from statewise._core.errors import InputError

_READING = "Reading a file"

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="An embedded data set (see `statewise datasets`) or a file: csv, parquet, npz, txt."
    ),
]
Values = Annotated[
    str | None,
    typer.Option(metavar="COLUMNS", help="The columns to model, such as gdp,cons.", rich_help_panel=_READING),
]
Time = Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of times.", rich_help_panel=_READING)]
NoTime = Annotated[bool, typer.Option("--no-time", help="No column holds times.", rich_help_panel=_READING)]
Id = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The column that says which sequence a row is of.", rich_help_panel=_READING),
]
Inputs = Annotated[
    str | None, typer.Option(metavar="COLUMNS", help="Columns that are given, not modelled.", rich_help_panel=_READING)
]
Sort = Annotated[bool, typer.Option("--sort", help="Sort the rows by time first.", rich_help_panel=_READING)]
Season = Annotated[
    int | None,
    typer.Option(
        metavar="STEPS", help="Steps in a season, such as 12 for months; guessed from the times if it can be."
    ),
]
Level = Annotated[str, typer.Option(metavar="PERCENT", help="Levels of the intervals, in per cent.")]
Seed = Annotated[int, typer.Option(help="Makes random starts reproducible.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a run of the same name instead of taking the next number.")
]


def names(option: str, text: str | None) -> list[str] | None:
    """The names in ``a,b,c``, as in a row of a csv file: a name that has a comma stands in double quotes."""
    if text is None:
        return None
    found = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    if not found or not all(found):
        raise InputError(f"{option} is {text!r}, which has an empty name; pass names separated by commas")
    return found


def levels(text: str) -> tuple[float, ...]:
    """The levels in ``80,95``, in per cent and sorted."""
    from statewise._core import checks

    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--level is {text!r}; pass percentages separated by commas, such as 80,95") from None
    return checks.levels(given)
