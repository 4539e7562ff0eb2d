"""`read` of Parquet, NPZ and text files. Oracles: exact round trips, and pandas' own Parquet writer."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from tests.sequences.strategies import sequences

import statewise as sw
from statewise import DataError, InputError, Sequences
from statewise.sequences.read import write_npz

FRAME = pd.DataFrame({"k": list("aab"), "when": pd.date_range("2020", periods=3), "y": [1.0, np.nan, 3.0]})


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_parquet_reads_as_the_frame_does(tmp_path):
    FRAME.to_parquet(tmp_path / "a.parquet")
    assert sw.read(tmp_path / "a.parquet", id="k").equals(Sequences.from_frame(FRAME, id="k"))
    FRAME.drop(columns="k").set_index("when").to_parquet(tmp_path / "b.pq")
    assert sw.read(tmp_path / "b.pq").equals(Sequences.from_frame(FRAME.drop(columns="k")))


def test_parquet_errors_name_the_file_and_the_row(tmp_path):
    def refused(frame: pd.DataFrame, **arguments) -> str:
        frame.to_parquet(tmp_path / "a.parquet")
        with pytest.raises(DataError) as caught:
            sw.read(tmp_path / "a.parquet", **arguments)
        return str(caught.value)

    assert f"{tmp_path}/a.parquet, row 2, column 'y': the number is infinite" in refused(FRAME.assign(y=[1, np.inf, 2]))
    assert "a.parquet, row 3: the time 2020-01-01 is there twice (first in row 1)" in refused(
        FRAME.assign(when=FRAME.when[[0, 1, 0]].values), values="y", time="when"
    )
    assert "a.parquet: there are 0 rows" in refused(FRAME[:0])
    assert "a.parquet: there is only one row" in refused(FRAME[:1])
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a.parquet: this is not a valid Parquet file \(.*\); write it again"):
        sw.read(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"b.parquet: there is no such file"):
        sw.read(tmp_path / "b.parquet")


def test_parquet_without_pyarrow_says_how_to_install_it(tmp_path, monkeypatch):
    FRAME.to_parquet(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(sw.MissingDependencyError, match=r"pip install 'statewise\[parquet\]'"):
        sw.read(tmp_path / "a.parquet")


# --- NPZ --------------------------------------------------------------------------------------------------------------


@given(sequences())
def test_npz_round_trip_is_exact(tmp_path_factory, seqs):
    path = write_npz(seqs, tmp_path_factory.mktemp("npz") / "a.npz")
    assert sw.read(path).equals(seqs)


def test_npz_keeps_odd_names_and_symbols(tmp_path):
    seqs = Sequences(
        [0.0, 1.0, 2.0], [2, 1], ids=(None, 2.5), columns=("a\0",), symbols=("\0", "\n", "é"), labels=[1, 2]
    )
    assert sw.read(write_npz(seqs, tmp_path / "a.npz")).equals(seqs)
    assert sw.read(tmp_path / "a.npz", season=7).season == 7


def test_npz_takes_plain_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", values=np.arange(5.0))
    assert sw.read(tmp_path / "a.npz").lengths.tolist() == [5]
    np.savez(tmp_path / "a.npz", values=np.arange(5.0), lengths=[2, 3], times=[1, 2, 1, 2, 3])
    assert sw.read(tmp_path / "a.npz").lengths.tolist() == [2, 3]


def test_npz_replaces_a_file_or_leaves_it(tmp_path, monkeypatch):
    path = write_npz(Sequences([1.0], [1]), tmp_path / "a.npz")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_npz(Sequences([2.0], [1]), path)
    monkeypatch.undo()
    assert sw.read(path).values.item() == 1.0
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def _npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _named(**names) -> np.ndarray:
    return np.frombuffer(json.dumps(names).encode(), np.uint8)


GOOD = {"values": np.zeros(2)}
PLAIN = io.BytesIO()
np.save(PLAIN, np.zeros(2))
BAD = {
    "no zip": (b"not a zip file", "this is not a valid .npz file"),
    "truncated": (_npz(**GOOD)[:-30], "this is not a valid .npz file"),
    "damaged": (_npz(**GOOD).replace(b"NUMPY", b"BUMPY"), "this is not a valid .npz file"),
    "npy": (PLAIN.getvalue(), "it is a single .npy array"),
    "objects": (_npz(values=np.array([{}], dtype=object)), "this is not a valid .npz file of plain arrays"),
    "no values": (_npz(x=np.zeros(2)), "there is no array 'values' among 'x'; save it under that name"),
    "unknown": (_npz(**GOOD, x=np.zeros(2)), "the array 'x' has no part in sequences"),
    "lengths": (_npz(**GOOD, lengths=[3]), "a.npz: `lengths` sums to 3 but `values` has 2 rows"),
    "infinite": (_npz(values=np.array([1.0, np.inf])), "a.npz: `values` has 1 infinite"),
    "newer": (_npz(**GOOD, names=_named(format=2)), "written in format 2, and this version reads up to 1; upgrade"),
    "no format": (_npz(**GOOD, names=_named(ids=[0])), "the names in it are damaged"),
    "no names": (_npz(**GOOD, names=_named(format=1)), "the names in it are damaged"),
    "no json": (_npz(**GOOD, names=np.zeros(3, np.uint8)), "the names in it are damaged"),
    "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_npz_files(tmp_path, case):
    content, message = BAD[case]
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        sw.read(tmp_path / "a.npz")
    assert f"{tmp_path}/a.npz" in str(caught.value)
    assert message in str(caught.value)


def test_write_npz_refuses_what_it_could_not_read_back(tmp_path):
    seqs = Sequences([1.0], [1])
    for wrong, name, message in [
        (seqs, "a.csv", "give it the suffix .npz"),
        (seqs.replace(ids=((1, 2),)), "a.npz", "`ids` has (1, 2), which a file cannot hold exactly"),
        (seqs.replace(labels=np.array([{1}], dtype=object)), "a.npz", "`labels` are objects"),
    ]:
        with pytest.raises(InputError) as caught:
            write_npz(wrong, tmp_path / name)
        assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "fix"), [("a.npz", "its arrays have their parts"), ("a.txt", "rename a table to .csv or .tsv")]
)
@pytest.mark.parametrize("argument", ["values", "time", "id", "inputs", "label"])
def test_files_without_columns_take_no_column_names(tmp_path, name, fix, argument):
    (tmp_path / name).write_bytes(b"ab")
    with pytest.raises(InputError, match=f"`{argument}` picks a column.*{fix}"):
        sw.read(tmp_path / name, **{argument: "y"})


# --- text -------------------------------------------------------------------------------------------------------------


def test_text_is_one_sequence_of_codes(tmp_path):
    text = "héllo\r\nwörld 𝄞\n"
    (tmp_path / "a.txt").write_bytes(text.encode())
    seqs = sw.read(tmp_path / "a.txt")
    assert seqs.symbols == tuple(sorted(set(text)))
    assert "".join(seqs.symbols[int(code)] for code in seqs.values[:, 0]) == text
    assert (len(seqs), seqs.columns, seqs.times) == (1, ("character",), None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.txt: the file is empty"),
        (b"x", "a.txt: there is only one row of data"),
        ("ü\nü".encode() + b"\n\xfc", "a.txt, line 3: the byte 0xfc is not UTF-8 (other lines are"),
    ],
)
def test_bad_text_files(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        sw.read(tmp_path / "a.txt")
    assert message in str(caught.value)
