"""Every kind of bad input ends with exit code 2 and one line that names the file and the fix. Oracle: the list of the
kinds; for each, what the line must contain."""

from __future__ import annotations

import re

import numpy as np
import pytest

ROWS = [f"2000-{month:02}-01,{value}" for month, value in zip(range(1, 13), np.sin(np.arange(12)) + 2, strict=True)]


def table(*rows: str, header: str = "date,y") -> bytes:
    return "\n".join([header, *(rows or ROWS)]).encode() + b"\n"


def planted(row: int, text: str) -> bytes:
    """The good table with one row replaced."""
    return table(*ROWS[:row], text, *ROWS[row + 1 :])


BAD = {
    "empty file": (b"", [], "empty"),
    "only blanks": (b" \n\n", [], "empty"),
    "header alone": (b"date,y\n", [], "no rows; add data"),
    "no header": (b"1,2\n3,4\n5,6\n", [], "add a header line"),
    "missing column": (table(), ["--values", "z"], "z"),
    "missing time column": (table(), ["--time", "when"], "when"),
    "text in a numeric column": (planted(4, "2000-05-01,about three"), ["--values", "y"], "about three"),
    "a column that is all missing": (table(*(row.split(",")[0] + "," for row in ROWS)), ["--values", "y"], "y"),
    "duplicate timestamps": (planted(4, "2000-04-01,2.5"), [], "2000-04-01"),
    "unsorted times": (planted(4, "1999-04-01,2.5"), [], "pass --sort"),
    "infinity": (planted(4, "2000-05-01,inf"), ["--values", "y"], "inf"),
    "one row": (table(ROWS[0]), [], "only one row"),
    "mixed encodings": (
        planted(4, "2000-05-01,2.5").replace(b"date", "dâte".encode()) + b"2001-01-01,\xe92\n",
        [],
        "UTF-8",
    ),
    "binary": (b"PK\x03\x04" + bytes(100), [], "zip"),
    "ragged rows": (planted(4, "2000-05-01,2.5,9"), [], "cells"),
    "missing input": (
        table(*(f"{row},{'' if k == 3 else k}" for k, row in enumerate(ROWS)), header="date,y,u"),
        ["--values", "y", "--inputs", "u"],
        "u",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_content_is_told_in_one_line(cli, tmp_path, kind):
    content, options, hint = BAD[kind]
    file = tmp_path / "series.csv"
    file.write_bytes(content)
    ran = cli("compare", file.name, *options, "--models", "varma", "--horizon", 2, "--windows", 2)
    refused(ran, tmp_path, "series.csv", hint)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("serie.csv", "no such file.*series.csv"), ("nowhere/a.csv", "no such file"), ("series.xyz", "xyz")],
)
def test_a_missing_or_foreign_file_is_told_in_one_line(cli, tmp_path, name, hint):
    (tmp_path / "series.csv").write_bytes(table())
    if name == "series.xyz":
        (tmp_path / name).write_bytes(table())
    refused(cli("compare", name), tmp_path, name, hint)


def test_a_folder_is_no_file(cli, tmp_path):
    (tmp_path / "series.csv").mkdir()
    refused(cli("compare", "series.csv"), tmp_path, "series.csv", "folder")


def test_too_few_rows_for_the_windows(cli, tmp_path):
    (tmp_path / "series.csv").write_bytes(table())
    ran = cli("compare", "series.csv", "--horizon", 12)
    refused(ran, tmp_path, "horizon", "use --horizon up to 2")


def test_sorting_is_what_the_message_offers(cli, tmp_path):
    """The fix that the error names works."""
    (tmp_path / "series.csv").write_bytes(table(*ROWS[6:], *ROWS[:6]))
    refused(cli("compare", "series.csv"), tmp_path, "series.csv", "sort")
    ran = cli("fit", "series.csv", "--model", "naive", "--sort")
    assert ran.code == 0, ran.err
    assert "2000-01 to 2000-12" in ran.out


def refused(ran, folder, name, hint):
    """Exit code 2, one error line with the name and the fix, no traceback, no run."""
    lines = ran.err.splitlines()
    assert ran.code == 2, (ran.code, ran.err)
    assert len(lines) == 1 and lines[0].startswith("error: ")
    assert name in lines[0]
    assert re.search(hint, lines[0]), lines[0]
    assert "Traceback" not in ran.out + ran.err
    assert not (folder / "runs").exists()
