"""Reading files: tables, NPZ, text, and the formats of languages, molecules, archives and wards. One file a format."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from statewise._core import checks
from statewise._core.errors import DataError, InputError
from statewise.sequences.read import conllu, delimited, fasta, npz, parquet, physionet, text, uea
from statewise.sequences.read.files import unsupported
from statewise.sequences.read.npz import write_npz
from statewise.sequences.sequences import Sequences
from statewise.sequences.table import Table, assemble

__all__ = ["read", "write_npz"]

_TABLES: dict[str, Callable[[Path], Table]] = {
    ".csv": delimited.read_table,
    ".tsv": delimited.read_table,
    ".tab": delimited.read_table,
    ".parquet": parquet.read_table,
    ".pq": parquet.read_table,
}
_WHOLE: dict[str, Callable[[Path], Sequences]] = {
    ".npz": npz.read_npz,
    ".txt": text.read_text,
    ".conllu": conllu.read_conllu,
    ".conll": conllu.read_conllu,
    ".fasta": fasta.read_fasta,
    ".fa": fasta.read_fasta,
    ".faa": fasta.read_fasta,
    ".fna": fasta.read_fasta,
    ".ts": uea.read_ts,
}


def read(
    path: str | os.PathLike[str],
    values: Sequence[str] | str | None = None,
    *,
    time: str | bool | None = None,
    id: str | None = None,
    inputs: Sequence[str] | str | None = None,
    label: str | None = None,
    sort: bool = False,
    season: int | None = None,
) -> Sequences:
    """Sequences from a file.

    The suffix tells the format: .csv, .tsv, .tab (a header line; comma, semicolon or tab; UTF-8), .parquet, .pq (extra
    `parquet`), .npz (as `write_npz` writes it, or with arrays `values` and, optionally, `lengths`, `inputs`, `times`,
    `labels`), .txt (one sequence of characters, as codes with `symbols`), .conllu, .conll (sentences, a tag a word), .fasta, .fa,
    .faa, .fna (letters, with or without labels), .ts (the UEA and UCR archives, a class a case). A folder, or a .txt file, of records of the
    PhysioNet Challenge 2012 is read as such. A table is wide (one sequence, a column each)
    or long (several sequences, told apart by `id`).

    Args:
        path: the file.
        values: the columns to model. Default: all numeric columns that have no other part; a file with the columns
            unique_id, ds and y (and no `values`, `time` or `id` given) is read as that: id, time and value.
        time: the column of times; False for none. Default: the first column without another part that holds dates or is
            called date, time, ds, timestamp or year; the very first one also if it is called month, day, t or the like (a
            year with a quarter or month column beside it is read together with it). Dates are ISO dates, months
            (1949-01), quarters (1959Q1) or years; times with a zone
            are converted to UTC.
        id: the column that tells sequences apart.
        inputs: exogenous columns, complete.
        label: a column with one label a row.
        sort: sort each sequence by time; otherwise unsorted times are an error.
        season: steps in a season; default: guessed from the times (see `statewise.sequences.calendar.guess_season`); 1
            for none.

    Missing values are empty cells and NA, N/A, NaN, NaT, None, null or a point, in any case of letters. An unnamed
    column is ignored if it is empty, or if it is the first and only counts the rows.

    Raises:
        DataError: naming the file, the line (as an editor counts), the column and the fix.
        InputError: an argument is wrong.
        MissingDependencyError: a Parquet file, and pyarrow is not installed.

    Example:
        >>> seqs = read("series.csv", values=["gdp"], time="date", id="country")  # doctest: +SKIP
    """
    file = Path(checks.File().check("path", path))
    suffix = file.suffix.lower()
    if file.is_dir() or (suffix == ".txt" and file.is_file() and physionet.is_record(file)):
        _refuse_columns(file, values=values, time=time, id=id, inputs=inputs, label=label)
        return physionet.read_records(file)
    if suffix in _TABLES:
        seqs = assemble(_TABLES[suffix](file), values, time, id, inputs, label, sort, season)
    elif suffix in _WHOLE:
        _refuse_columns(file, values=values, time=time, id=id, inputs=inputs, label=label)
        seqs = _WHOLE[suffix](file)
        seqs = seqs if season is None else seqs.replace(season=season)
    else:
        raise unsupported(file, [*_TABLES, *_WHOLE])
    if seqs.rows == 1 and suffix in (*_TABLES, ".txt"):
        raise DataError(f"{file}: there is only one row of data; a sequence needs at least two steps")
    return seqs


def _refuse_columns(file: Path, **given: Any) -> None:
    """Arguments that pick columns make no sense for a file without named columns."""
    named = [name for name, value in given.items() if value is not None]
    if named:
        fix = "rename a table to .csv or .tsv" if file.suffix.lower() == ".txt" else "its arrays have their parts"
        raise InputError(f"`{named[0]}` picks a column, but {file} has no named columns; leave it out ({fix})")
