"""`read` of CSV and TSV files. Oracles: pandas' own writer, and hand-written files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sequences.strategies import sequences

import statewise as sw
from statewise import DataError, InputError
from statewise.sequences.build import to_frame


@pytest.fixture
def write(tmp_path):
    def _write(content: str | bytes, name: str = "series.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return _write


WIDE = "date,gdp,cons\n2020-01-31,1.5,10\n2020-02-29,,20\n2020-03-31,3.5,NA\n"


def test_a_wide_file(write):
    seqs = sw.read(write(WIDE))
    assert (seqs.columns, seqs.lengths.tolist(), seqs.season) == (("gdp", "cons"), [3], 12)
    np.testing.assert_array_equal(seqs.values, [[1.5, 10], [np.nan, 20], [3.5, np.nan]])
    assert seqs.times.astype("M8[D]").astype(str).tolist() == ["2020-01-31", "2020-02-29", "2020-03-31"]


def test_a_long_file_and_every_argument(write):
    text = "country,year,gdp,oil,state\nNL,2001,3,0.3,b\nBE,2000,1,0.1,a\nNL,2000,2,0.2,a\nBE,2001,4,0.4,b\n"
    seqs = sw.read(write(text), ["gdp"], time="year", id="country", inputs=["oil"], label="state", sort=True, season=5)
    assert (seqs.ids, seqs.columns, seqs.input_columns) == (("NL", "BE"), ("gdp",), ("oil",))
    assert (seqs.values.ravel().tolist(), seqs.inputs.ravel().tolist()) == ([2, 3, 1, 4], [0.2, 0.3, 0.1, 0.4])
    assert (seqs.labels.tolist(), seqs.season) == (["a", "b", "a", "b"], 5)
    assert seqs.times[0] == np.datetime64("2000-01-01")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", WIDE),
        ("a.CSV", WIDE),
        ("a.csv", WIDE.replace(",", ";")),
        ("a.csv", WIDE.replace(",", "\t")),
        ("a.tsv", WIDE.replace(",", "\t")),
        ("a.tab", WIDE.replace(",", "\t")),
        ("a.csv", b"\xef\xbb\xbf" + WIDE.encode()),
        ("a.csv", WIDE.replace("\n", "\r\n")),
        ("a.csv", WIDE.rstrip("\n")),
        ("a.csv", "\n  \n" + WIDE.replace("\n", "\n\n") + "\n\n"),
        ("a.csv", '"date";"gdp";"cons"\n' + WIDE.split("\n", 1)[1].replace(",", ";")),
        ("a.csv", WIDE.replace("1.5", '"1.5"').replace("gdp", " gdp ")),
        ("a.csv", WIDE.replace("NA", ".")),
        ("a.csv", WIDE.replace("NA", " nan ")),
        ("a.csv", WIDE.replace("NA", "NULL")),
        ("a.csv", WIDE.replace("NA", "N/A")),
        ("a.csv", ",".join(["date", "gdp", "cons", ""]) + "\n" + WIDE.split("\n", 1)[1].replace("\n", ",\n")),
        ("a.csv", "".join(f"{n},{line}\n" for n, line in zip(["", 0, 1, 2], WIDE.splitlines(), strict=True))),
        ("a.csv", WIDE.replace("-31", "-31T00:00+00:00").replace("-29", "-29T00:00Z")),
    ],
)
def test_dialects_that_say_the_same(write, name, content):
    assert sw.read(write(content, name)).equals(sw.read(write(WIDE, "reference.csv")))


def test_ids_keep_what_makes_them_distinct(write):
    assert sw.read(write("k,y\n007,1\n7,2\n"), "y", id="k").ids == ("007", "7")
    assert sw.read(write("k,y\n12,1\n7,2\n"), "y", id="k").ids == (12, 7)
    assert sw.read(write("k,y\nNA,1\nZA,2\n"), "y", id="k").ids == ("NA", "ZA")


def test_a_single_column_may_have_gaps(write):
    assert sw.read(write('y\n1\n""\n3\n')).values.ravel().tolist()[::2] == [1, 3]
    assert sw.read(write("y\n1\n \n3\n")).n_missing == 1


def test_text_columns_are_left_out_and_cells_may_span_lines(write):
    seqs = sw.read(write('note,y\n"two\nlines",1\n"a, b",2\n'))
    assert (seqs.columns, seqs.values.ravel().tolist()) == (("y",), [1, 2])


def test_nixtla_names(write):
    seqs = sw.read(write("unique_id,ds,y,x\na,2020-01-01,1,5\na,2020-01-02,2,5\nb,2020-01-01,3,5\n"))
    assert (seqs.ids, seqs.columns, seqs.lengths.tolist()) == (("a", "b"), ("y",), [2, 1])


def test_path_may_be_text(write):
    path = write(WIDE)
    assert sw.read(str(path)).equals(sw.read(path))


BAD = {
    "empty": ("", {}, ["series.csv: the file is empty"]),
    "blank": ("\n \n", {}, ["series.csv: the file is empty"]),
    "quotes only": ('""\n', {}, ["series.csv: there is a header but no rows"]),
    "only a mark": (b"\xef\xbb\xbf", {}, ["series.csv: the file is empty"]),
    "header only": ("date,y\n", {}, ["series.csv: there is a header but no rows; add data below line 1"]),
    "no header": ("1,2\n3,4\n", {}, ["series.csv, line 1: the first line has numbers, not column names"]),
    "one row": ("date,y\n2020-01,1\n", {}, ["series.csv: there is only one row of data"]),
    "missing column": (
        "gdp,y\n1,2\n3,4\n",
        {"values": ["gpd"]},
        ["series.csv has no column 'gpd'", "`values`", "'gdp'?"],
    ),
    "text": (
        "t,y\n1,2\n2,two\n3,4\n",
        {},
        ["series.csv, line 3, column 'y': 'two' is not a number", "correct the cell"],
    ),
    "text asked for": ("t,y\n1,a\n2,b\n", {"values": "y"}, ["line 2, column 'y': 'a' is not a number"]),
    "decimal comma": (
        "t;y\n1;1,5\n2;2,5\n",
        {"values": "y"},
        ["line 2, column 'y': '1,5' is not a number", "decimal point"],
    ),
    "underscore": ("t,y\n1,2\n2,1_000\n3,4\n", {}, ["line 3, column 'y': '1_000' is not a number"]),
    "after two-line cells": ('n,y\n"a\nb",2\n"c\nd",x\ne,3\n', {"values": "y"}, ["line 4, column 'y': 'x'"]),
    "all missing": ("t,y,z\n1,2,\n2,3,NA\n", {}, ["series.csv, column 'z': every cell is missing", "`values`"]),
    "duplicate time": (
        "t,y\n1,2\n\n1,3\n",
        {"time": "t"},
        ["line 4: the time 1 is there twice (first in line 2)", "`id`"],
    ),
    "duplicate in id": (
        "k,t,y\na,2020-01-01,1\nb,2020-01-01,2\na,2020-01-01,3\n",
        {"id": "k"},
        ["line 4: the time 2020-01-01 is there twice for id 'a' (first in line 2); keep one row a time"],
    ),
    "unsorted": (
        "t,y\n2020-01-02,1\n2020-01-01,2\n",
        {},
        ["line 3: the times are not sorted, 2020-01-02 is followed by 2020-01-01; pass sort=True"],
    ),
    "not a date": (
        "date,y\n2020-01-05,1\n31/12/2020,2\n",
        {},
        ["line 3, column 'date': the time is '31/12/2020'", "2020-12-31"],
    ),
    "no time": ("date,y\n2020-01-05,1\n,2\n", {}, ["line 3, column 'date': the time is missing"]),
    "infinite": ("t,y\n1,2\n2,-inf\n", {}, ["series.csv, line 3, column 'y': the number is infinite"]),
    "too large": ("t,y\n1,2\n2,1e400\n", {}, ["series.csv, line 3, column 'y': the number is infinite"]),
    "missing input": (
        "t,y,u\n1,2,3\n2,3,\n",
        {"values": "y", "inputs": "u"},
        ["line 3, column 'u': the input is missing"],
    ),
    "missing id": ("k,y\na,1\n,2\n", {"id": "k", "values": "y"}, ["line 3, column 'k': the cell is empty"]),
    "missing label": ("k,y\na,1\n,2\n", {"label": "k", "values": "y"}, ["line 3, column 'k': the cell is empty"]),
    "latin-1": (
        "t,ort\n1,Zürich\n2,3\n".encode("latin-1"),
        {},
        ["series.csv, line 2: the byte 0xfc is not UTF-8 (it may be Latin-1); save the whole file as UTF-8"],
    ),
    "mixed": (
        "t,ort\n1,Zürich\n".encode() + "2,Köln\n3,Bonn\n".encode("latin-1"),
        {},
        ["series.csv, line 3: the byte 0xf6 is not UTF-8 (other lines are, so encodings are mixed)"],
    ),
    "mixed after a mark": (
        b"\xef\xbb\xbf" + "t,ort\n1,Zürich\n".encode() + "2,Köln\n".encode("latin-1"),
        {},
        ["series.csv, line 3: the byte 0xf6"],
    ),
    "wrong in line 1": ("ö,y\n1,2\n".encode("latin-1"), {}, ["series.csv, line 1: the byte 0xf6"]),
    "utf-16": ("t,y\n1,2\n".encode("utf-16"), {}, ["series.csv: this is UTF-16, not UTF-8 text"]),
    "excel": (b"PK\x03\x04rest", {}, ["series.csv: this is a zip or Excel file"]),
    "binary": (b"t,y\n1,\x00\n", {}, ["series.csv, line 2: there is a NUL byte"]),
    "duplicate names": (
        "t,y,y\n1,2,3\n2,3,4\n",
        {},
        ["series.csv, line 1: there are two columns called 'y'; rename one"],
    ),
    "short line": ("t,y\n1,2\n\n2\n3,4\n", {}, ["series.csv, line 4: it has 1 cells but the header has 2"]),
    "long line": ("t,y\n1,2\n2,3,4\n", {}, ["series.csv, line 3: it has 3 cells but the header has 2"]),
    "open quote": ('t,y\n1,2\n2,"3\n', {}, ["series.csv, line 3: the quotes do not match"]),
    "no numbers": (
        "a,b\nx,y\nz,w\n",
        {},
        ["series.csv has no numeric column left for `values`; its columns are 'a', 'b'"],
    ),
    "sort what": ("y,z\n1,2\n3,4\n", {"sort": True}, ["`sort` is True but there is no time to sort by"]),
    "bad season": ("y,z\n1,2\n3,4\n", {"season": "long"}, ["`season` is 'long'"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_say_where_and_what_to_do(write, case):
    content, arguments, messages = BAD[case]
    path = write(content)
    with pytest.raises(InputError) as caught:
        sw.read(path, **arguments)
    text = str(caught.value)
    assert all(message in text for message in messages), text
    if not case.startswith(("sort", "bad season")):
        assert isinstance(caught.value, DataError)
        assert str(path) in text


def test_paths_that_cannot_be_read(tmp_path, write):
    write(WIDE)
    for path, message in [
        (tmp_path / "serie.csv", f"serie.csv: there is no such file; did you mean '{tmp_path}/series.csv'?"),
        (tmp_path / "other.csv", "other.csv: there is no such file; check the name and the folder"),
        (
            tmp_path / "nowhere" / "a.csv",
            f"there is no such file; the folder '{tmp_path}/nowhere' does not exist either",
        ),
        (tmp_path / "serie.xlsx", "serie.xlsx: there is no such file; did you mean"),
        (tmp_path, "this is a folder; pass a file in it"),
        (write(b"x", "book.xlsx"), "the suffix '.xlsx' is not supported; convert it to one of .csv, .tsv"),
        (write(b"x", "README"), "files without a suffix are not supported"),
    ]:
        with pytest.raises(DataError) as caught:
            sw.read(path)
        assert message in str(caught.value)
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(DataError, match=r"folder.csv: this is a folder"):
        sw.read(folder)
    with pytest.raises(InputError, match="`path` is 3; pass the name of a file"):
        sw.read(3)


@given(sequences(longest=6), st.sampled_from([",", ";", "\t"]))
def test_csv_write_and_read_round_trip(tmp_path_factory, seqs, delimiter):
    """What pandas writes reads back exactly: every digit, every gap, every name."""
    if seqs.rows == 1:
        return
    folder = tmp_path_factory.mktemp("csv")
    to_frame(seqs).to_csv(folder / "a.csv", index=False, sep=delimiter)
    back = sw.read(
        folder / "a.csv",
        list(seqs.columns),
        id="id",
        time=None if seqs.times is None else "time",
        inputs=list(seqs.input_columns),
        label=None if seqs.labels is None else "label",
        season=1,
    )
    per_step = seqs.labels if seqs.labels_per != "sequence" else np.repeat(seqs.labels, seqs.lengths)
    assert back.equals(seqs.replace(labels=per_step, season=1))
