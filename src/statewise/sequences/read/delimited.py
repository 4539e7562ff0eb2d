"""CSV and TSV files: a header line, then one row a step."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from statewise._core.errors import DataError
from statewise.sequences.read.files import decoded
from statewise.sequences.table import Table, parse_numbers

_DELIMITERS = ",;\t"


def read_table(file: Path) -> Table:
    """The columns of a delimited file as lists of cells, with the line of each row."""
    text = decoded(file)
    tabs = file.suffix.lower() in (".tsv", ".tab")
    rows = _rows(file, text, "\t" if tabs else _delimiter(file, text))
    header_line, header = next(rows, (1, [""]))
    names = _named(file, header_line, [name.strip() for name in header])
    lines, cells = [], []
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{file}, line {line}: it has {len(row)} cells but the header has {len(header)}; give every line the "
                "same number (put cells that contain the delimiter in double quotes)"
            )
        lines.append(line)
        cells.append(row)
    if not cells:
        raise DataError(f"{file}: there is a header but no rows; add data below line {header_line}")
    columns = {name: list(column) for name, column in zip(names, zip(*cells, strict=True), strict=True)}
    return Table(_without_unnamed(columns, header), source=str(file), lines=lines, unit="line")


def _rows(file: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line on which it starts; blank lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line, width = 1, 0
    try:
        for row in reader:
            blank = not row or (len(row) == 1 and not row[0].strip() and width != 1)
            if not blank:
                width = width or len(row)
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{file}, line {line}: the quotes do not match ({error}); close or double them") from None


def _delimiter(file: Path, text: str) -> str:
    """The delimiter that cuts the first line into the most cells."""

    def cells(delimiter: str) -> int:
        try:
            return len(next(_rows(file, text, delimiter), (1, []))[1])
        except DataError:  # the quotes only match with another delimiter
            return 0

    return max(_DELIMITERS, key=cells)


def _named(file: Path, line: int, header: list[str]) -> list[str]:
    """Column names from the header: unnamed columns get a number, and a header of numbers is no header."""
    if parse_numbers(header)[1] is None and any(header):
        raise DataError(
            f"{file}, line {line}: the first line has numbers, not column names; add a header line such as time,y"
        )
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{file}, line {line}: there are two columns called {twice!r}; rename one")
    return [name or f"column {position + 1}" for position, name in enumerate(header)]


def _without_unnamed(columns: dict[str, list[str]], header: list[str]) -> dict[str, list[str]]:
    """The columns less unnamed ones that are empty, and less an unnamed first one that counts the rows."""
    kept = {}
    for position, ((name, cells), title) in enumerate(zip(columns.items(), header, strict=True)):
        counts = position == 0 and all(cell == str(row) for row, cell in enumerate(cells))
        if title.strip() or (any(cells) and not counts):
            kept[name] = cells
    return kept
