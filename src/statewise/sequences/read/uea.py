"""The .ts format of the UEA and UCR archives: one case a line, columns between colons, one class a case."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from statewise._core.errors import DataError
from statewise.sequences.read.files import decoded
from statewise.sequences.sequences import Sequences


def read_ts(file: Path) -> Sequences:
    """One sequence a case, p columns, and its class as label (Bagnall et al. 2018, the UEA multivariate archive; Löning et al. 2019).

    After a head of lines `@name value`, `@data` begins the cases: columns separated by `:`, values by `,`, `?` or NaN where missing, and the
    class last if the head says `@classLabel true`. Cases may differ in length; the columns of one may not, but for missing ends.

    Raises:
        DataError: naming the line that does not fit.
    """
    labelled, first, lines = _head(file)
    values, labels = [], []
    for number, line in enumerate(lines, start=first):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        columns = line.strip().split(":")
        if labelled:
            labels.append(columns.pop().strip())
        values.append(_case(columns, file, number))
        if values[-1].shape[1] != values[0].shape[1]:
            raise DataError(
                f"{file}, line {number}: this case has {values[-1].shape[1]} columns and the first {values[0].shape[1]}; give all the same number"
            )
    if not values:
        raise DataError(f"{file}: there is no case after @data")
    return Sequences(
        values=np.concatenate(values),
        lengths=np.array([len(case) for case in values]),
        labels=np.array(labels) if labelled else None,
    )


def _head(file: Path) -> tuple[bool, int, list[str]]:
    """Whether cases end with a class, the number of the first line after @data, and the lines from there."""
    lines = decoded(file).splitlines()
    labelled = False
    for number, line in enumerate(lines, start=1):
        words = line.strip().lower().split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "@data":
            return labelled, number + 1, lines[number:]
        if not words[0].startswith("@"):
            raise DataError(
                f"{file}, line {number}: the head has a line that does not start with @; cases come after @data"
            )
        if words[0] == "@timestamps" and words[1:2] == ["true"]:
            raise DataError(
                f"{file}, line {number}: time stamps in a .ts file are not read; write the series as a long CSV"
            )
        if words[0] in ("@classlabel", "@targetlabel"):
            labelled = words[1:2] == ["true"]
    raise DataError(f"{file}: there is no line @data; a .ts file has a head, @data, and a case a line")


def _case(columns: list[str], file: Path, number: int) -> np.ndarray:
    """(T, p), with NaN where a column is missing or ends before the longest."""
    try:
        parsed = [
            [np.nan if cell.strip() in ("?", "") else float(cell) for cell in column.split(",")] for column in columns
        ]
    except ValueError as error:
        raise DataError(
            f"{file}, line {number}: {error}; a case is numbers with commas between them, and colons between columns"
        ) from None
    longest = max((len(column) for column in parsed), default=0)
    if not longest:
        raise DataError(f"{file}, line {number}: the case has no values")
    return np.array([column + [np.nan] * (longest - len(column)) for column in parsed]).T
