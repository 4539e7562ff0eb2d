"""The embedded data. Oracle: the figures of statsmodels 0.15, from which they were written; for airline, published sums."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
import statsmodels.api as sm

import statewise as sw
from statewise import DataError, InputError
from statewise.sequences.datasets import Description, stdlib_code

SHAPES = {  # name -> sequences, rows, columns, missing, season, first and last time
    "airline": (1, 144, 1, 0, 12, "1949-01-01", "1960-12-01"),
    "co2": (1, 2284, 1, 59, 52, "1958-03-29", "2001-12-29"),
    "nile": (1, 100, 1, 0, None, "1871-01-01", "1970-01-01"),
    "sunspots": (1, 309, 1, 0, 11, "1700-01-01", "2008-01-01"),
    "us_macro": (1, 203, 12, 0, 4, "1959-01-01", "2009-07-01"),
}


def test_names_are_sorted_and_complete():
    assert sw.datasets.names() == sorted([*SHAPES, "stdlib-code"])


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_times(name):
    seqs = sw.datasets.load(name)
    sequences, rows, dim, missing, season, first, last = SHAPES[name]
    assert (len(seqs), seqs.rows, seqs.dim, seqs.n_missing, seqs.season) == (sequences, rows, dim, missing, season)
    assert seqs.times.dtype == "datetime64[us]"
    assert [str(t.astype("M8[D]")) for t in seqs.times[[0, -1]]] == [first, last]


@pytest.mark.parametrize(
    ("name", "module", "columns"),
    [
        ("sunspots", sm.datasets.sunspots, ["SUNACTIVITY"]),
        ("nile", sm.datasets.nile, ["volume"]),
        ("us_macro", sm.datasets.macrodata, None),
        ("co2", sm.datasets.co2, ["co2"]),
    ],
)
def test_figures_are_those_of_statsmodels(name, module, columns):
    frame = module.load_pandas().data
    columns = columns or list(frame.columns[2:])
    seqs = sw.datasets.load(name)
    np.testing.assert_array_equal(seqs.values, frame[columns].to_numpy())
    if name == "us_macro":
        assert seqs.columns == tuple(columns)
        np.testing.assert_array_equal(seqs.times.astype("M8[Y]").astype(int) + 1970, frame["year"])
        np.testing.assert_array_equal(seqs.times.astype("M8[M]").astype(int) % 12 // 3 + 1, frame["quarter"])
    if name == "co2":
        np.testing.assert_array_equal(seqs.times, frame.index.to_numpy().astype("M8[us]"))
    if name in ("nile", "sunspots"):
        np.testing.assert_array_equal(seqs.times.astype("M8[Y]").astype(int) + 1970, frame.iloc[:, 0])


def test_airline_by_its_ends_and_sums():
    """Series G of Box and Jenkins: the first year, the last month, and the yearly sums of the published table."""
    passengers = sw.datasets.load("airline").values.ravel()
    assert passengers[:12].tolist() == [112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118]
    assert passengers[-1] == 432
    sums = [1520, 1676, 2042, 2364, 2700, 2867, 3408, 3939, 4421, 4572, 5140, 5714]
    assert passengers.reshape(12, 12).sum(axis=1).tolist() == sums


@pytest.mark.parametrize("name", [*SHAPES, "stdlib-code"])
def test_descriptions_are_complete(name):
    about = sw.datasets.describe(name)
    seqs = sw.datasets.load(name)
    assert isinstance(about, Description)
    assert all(len(text) > 5 for text in (about.title, about.source, about.licence, about.units))
    assert (about.name, about.rows, about.sequences, about.columns) == (name, seqs.rows, len(seqs), seqs.columns)
    assert (about.season, about.missing) == (seqs.season, seqs.n_missing)
    module = importlib.import_module(f"statewise.sequences.datasets.{name.replace('-', '_')}")
    documented = module.__doc__.split("Columns: ")[1]
    assert all(column in documented for column in seqs.columns)


@pytest.mark.parametrize(
    ("name", "hint"), [("sunspot", "did you mean 'sunspots'?"), ("gold", "there are 'airline', 'co2'"), (3, "3")]
)
def test_unknown_names_are_refused(name, hint):
    for function in (sw.datasets.load, sw.datasets.describe):
        with pytest.raises(InputError) as caught:
            function(name)
        assert "which is no data set" in str(caught.value)
        assert hint in str(caught.value)


def test_stdlib_code_is_this_pythons_own_text():
    seqs = sw.datasets.load("stdlib-code")
    assert 100_000 < seqs.rows <= stdlib_code.LIMIT
    assert seqs.symbols == tuple(sorted(seqs.symbols))
    for name in (seqs.ids[0], seqs.ids[-1]):
        module = importlib.import_module(name) if name in sys.modules or name == "abc" else None
        one = seqs[seqs.ids.index(name)]
        text = "".join(one.symbols[int(code)] for code in one.values[:, 0])
        compile(text, name, "exec")
        if module is not None:
            import inspect

            assert text == inspect.getsource(module)
    assert stdlib_code.load().equals(seqs)
    assert stdlib_code.load(limit=60_000).rows <= 60_000


def test_stdlib_code_without_sources_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(DataError, match="no source files of its standard library"):
        sw.datasets.load("stdlib-code")


def test_loading_needs_no_frame_library_and_is_quick():
    """In a fresh interpreter: neither pandas nor torch nor statsmodels is imported, and co2 takes far less than 0.3 s."""
    code = (
        "import statewise as sw, sys, time; sw.datasets; start = time.perf_counter(); sw.datasets.load('co2');"
        "print(time.perf_counter() - start, {'pandas', 'torch', 'statsmodels', 'narwhals'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, modules = output.split(" ", 1)
    assert modules.strip() == "set()"
    assert float(seconds) < 0.3
