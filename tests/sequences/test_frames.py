"""`from_frame` and `to_frame`. Oracles: pandas itself, and polars and pyarrow as each other's twins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statewise import DataError, InputError, Sequences
from statewise.sequences.build import as_sequences, from_frame, to_frame
from tests.sequences.strategies import sequences

LONG = pd.DataFrame(
    {
        "country": ["NL", "BE", "NL", "BE", "NL"],
        "quarter": ["2020Q1", "2020Q1", "2020Q2", "2020Q2", "2020Q3"],
        "gdp": [1.0, 10.0, 2.0, np.nan, 3.0],
        "cons": pd.array([4, 5, None, 7, 8], dtype="Int64"),
        "oil": [0.1, 0.2, 0.3, 0.4, 0.5],
        "state": ["low", "low", "high", "high", "high"],
    }
)


def test_a_long_frame_is_grouped_by_id_in_order_of_appearance():
    seqs = from_frame(LONG, ["gdp", "cons"], time="quarter", id="country", inputs="oil", label="state")
    assert (seqs.ids, seqs.lengths.tolist(), seqs.columns) == (("NL", "BE"), [3, 2], ("gdp", "cons"))
    np.testing.assert_array_equal(seqs.values, [[1, 4], [2, np.nan], [3, 8], [10, 5], [np.nan, 7]])
    assert seqs.inputs.ravel().tolist() == [0.1, 0.3, 0.5, 0.2, 0.4]
    assert seqs.labels.tolist() == ["low", "high", "high", "low", "high"]
    assert seqs.times.astype("M8[M]").astype(str).tolist() == ["2020-01", "2020-04", "2020-07", "2020-01", "2020-04"]
    assert seqs.season == 4


def test_values_default_to_all_numeric_columns_without_a_part():
    assert from_frame(LONG, id="country").columns == ("gdp", "cons", "oil")
    assert from_frame(LONG, id="country", inputs=["oil"]).columns == ("gdp", "cons")
    flags = pd.DataFrame({"y": [1.0, 2.0], "holiday": [True, False]})
    assert from_frame(flags).columns == ("y",)
    assert from_frame(flags, "y", inputs="holiday").inputs.ravel().tolist() == [1.0, 0.0]
    assert from_frame(pl.from_pandas(flags), "y", inputs="holiday").inputs.ravel().tolist() == [1.0, 0.0]


def test_the_names_of_nixtla_are_understood():
    frame = pd.DataFrame({"ds": ["2020-01", "2020-02"] * 2, "unique_id": list("aabb"), "y": range(4), "x": range(4)})
    seqs = from_frame(frame)
    assert (seqs.ids, seqs.columns, seqs.lengths.tolist()) == (("a", "b"), ("y",), [2, 2])
    assert seqs.times.dtype == "datetime64[us]"
    assert from_frame(frame, inputs="x").input_columns == ("x",)
    assert from_frame(frame, values=["y", "x"], id="unique_id").columns == ("y", "x")


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.date_range("2020-01-31", periods=3, freq="ME"), ["2020-01-31", "2020-02-29", "2020-03-31"]),
        (pd.period_range("2020Q1", periods=3, freq="Q"), ["2020-01-01", "2020-04-01", "2020-07-01"]),
        (
            pd.date_range("2020", periods=3, freq="D", tz="Asia/Tokyo"),
            ["2019-12-31T15", "2020-01-01T15", "2020-01-02T15"],
        ),
    ],
)
def test_a_pandas_index_of_times_is_used(index, expected):
    frame = pd.DataFrame({"date": [5.0, 6.0, 7.0], "y": [1.0, 2.0, 3.0]}, index=index)
    for seqs in (from_frame(frame), from_frame(frame["y"]), as_sequences(frame)):
        np.testing.assert_array_equal(seqs.times, np.array(expected, "M8[us]"))
    assert from_frame(frame).columns == ("date", "y")
    assert from_frame(frame, time="date").times.tolist() == [5.0, 6.0, 7.0]
    assert from_frame(frame, time=False).times is None


def test_the_first_column_that_looks_like_a_time_is_taken():
    dates = ["2020-01-01", "2020-01-02"]
    for column in (dates, pd.to_datetime(dates), pd.PeriodIndex(dates, freq="D"), pd.to_datetime(dates).date):
        seqs = from_frame(pd.DataFrame({"when": column, "y": [1.0, 2.0]}))
        np.testing.assert_array_equal(seqs.times, np.array(dates, "M8[us]"))
    assert from_frame(pd.DataFrame({"Year": [1871, 1872], "y": [1.0, 2.0]})).columns == ("y",)
    assert from_frame(pd.DataFrame({"y": [1.0, 2.0], "year": [1871, 1872]})).columns == ("y",)
    panel = pd.DataFrame({"country": ["a", "a"], "when": dates, "y": [1.0, 2.0], "month": [3, 9]})
    assert from_frame(panel).columns == ("y", "month")
    np.testing.assert_array_equal(from_frame(panel).times, np.array(dates, "M8[us]"))
    assert from_frame(pd.DataFrame({"y": [1.0, 2.0], "month": [9, 3]})).times is None
    assert from_frame(pd.DataFrame({"k": ["a", "b"], "t": [3, 4], "y": [1.0, 2.0]}), id="k").times.tolist() == [3, 4]


def test_a_year_is_read_together_with_its_quarter_or_month():
    for part, season in (("quarter", 4), ("Month", 12)):
        frame = pd.DataFrame({"year": [2020, 2020, 2020, 2021], part: [1, 2, 3, 1], "y": range(4)})
        seqs = from_frame(frame)
        months = [0, 3, 6, 12] if part == "quarter" else [0, 1, 2, 12]
        assert (seqs.times.astype("M8[M]").astype(int) - 600).tolist() == months
        assert (seqs.columns, seqs.season) == (("y",), season)
    wrong = pd.DataFrame({"year": [2020, 2020], "quarter": [1, 5], "y": [1.0, 2.0]})
    with pytest.raises(DataError, match="row 1, column 'quarter': 5 is not a whole number from 1 to 4"):
        from_frame(wrong)


def test_series_and_names_that_are_no_text():
    assert from_frame(pd.Series([1.0, 2.0])).columns == ("y",)
    assert from_frame(pd.Series([1.0, 2.0], name="gdp")).columns == ("gdp",)
    assert from_frame(pl.Series("gdp", [1.0, None])).n_missing == 1
    assert from_frame(pd.DataFrame(np.zeros((2, 2)))).columns == ("0", "1")


def test_ids_that_differ_stay_apart():
    large = [2**53, 2**53 + 1, 2**63 - 1]
    for frame in (pd.DataFrame({"k": large, "y": [1.0, 2.0, 3.0]}), pl.DataFrame({"k": large, "y": [1.0, 2.0, 3.0]})):
        assert from_frame(frame, "y", id="k").ids == tuple(large)
    nullable = pd.DataFrame({"k": pd.array(large, dtype="Int64"), "y": [1.0, 2.0, 3.0]})
    assert from_frame(nullable, "y", id="k").ids == tuple(large)
    assert from_frame(pd.DataFrame({"k": [0.5, 0.7], "y": [1.0, 2.0]}), "y", id="k").ids == (0.5, 0.7)
    assert from_frame(pd.DataFrame({"k": [1.0, 2.0], "y": [1.0, 2.0]}), "y", id="k").ids == (1, 2)


def test_sort_puts_each_sequence_in_order():
    shuffled = LONG.sample(frac=1.0, random_state=3)
    arguments = {"values": ["gdp"], "time": "quarter", "id": "country", "inputs": "oil", "label": "state", "sort": True}
    ordered = from_frame(shuffled, **arguments)
    assert ordered[[ordered.ids.index("NL"), ordered.ids.index("BE")]].equals(from_frame(LONG, **arguments))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Wide frames with a column of each kind that is read."""
    rows = draw(st.integers(1, 6))

    def column(elements):
        return draw(st.lists(elements, min_size=rows, max_size=rows))

    return pd.DataFrame(
        {
            "when": pd.date_range("2020", periods=rows, freq=draw(st.sampled_from(["D", "h"]))),
            "first": [0.5, *column(st.none() | st.floats(-1e9, 1e9))[1:]],
            "second": pd.array([1, *column(st.none() | st.integers(-9, 9))[1:]], dtype="Int64"),
            "flag": column(st.booleans()),
            "state": column(st.sampled_from(["x", "y"])),
            "key": column(st.sampled_from(["u", "v"])),
        }
    )


@given(frames(), st.sampled_from([{}, {"id": "key"}, {"id": "key", "label": "state", "inputs": ["flag"]}]))
def test_polars_and_pyarrow_read_as_pandas_does(frame, arguments):
    reference = from_frame(frame, **arguments)
    before = frame.copy()
    for twin in (pl.from_pandas(frame), pl.from_pandas(frame).to_arrow()):
        assert from_frame(twin, **arguments).equals(reference)
    pd.testing.assert_frame_equal(frame, before)


def test_polars_times_with_a_zone_become_utc():
    times = pd.date_range("2020", periods=3, freq="D", tz="Asia/Tokyo")
    frame = pd.DataFrame({"when": times, "y": [1.0, 2.0, 3.0]})
    assert from_frame(pl.from_pandas(frame)).equals(from_frame(frame))
    assert from_frame(frame).times[0] == np.datetime64("2019-12-31T15")


@given(sequences())
def test_to_frame_and_back(seqs):
    """A frame holds labels one a row and no season."""
    per_step = seqs.labels if seqs.labels_per != "sequence" else np.repeat(seqs.labels, seqs.lengths)
    back = from_frame(
        to_frame(seqs),
        list(seqs.columns),
        id="id",
        time=None if seqs.times is None else "time",
        inputs=list(seqs.input_columns),
        label=None if seqs.labels is None else "label",
        season=1,
    )
    assert back.equals(seqs.replace(labels=per_step, season=1))


def test_to_frame_renames_what_would_collide():
    seqs = Sequences([[1.0, 2.0]], [1], inputs=[3.0], times=[4.0], columns=("id", "time"), input_columns=("id",))
    frame = to_frame(seqs)
    assert frame.columns.tolist() == ["id_", "time_", "id", "time", "id__"]
    assert frame.iloc[0].tolist() == [0, 4.0, 1.0, 2.0, 3.0]


def _with(**columns) -> pd.DataFrame:
    return pd.DataFrame({"t": [1, 2, 3], "y": [1.0, 2.0, 3.0]} | columns)


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (_with(), {"values": "gpd"}, "the frame has no column 'gpd' (asked for as `values`); its columns are 't', 'y'"),
        (_with(gdp=1.0), {"values": "gpd"}, "did you mean 'gdp'?"),
        (_with(), {"id": 7}, "has no column 7 (asked for as `id`)"),
        (_with(y=["1", "two", "3"]), {"values": "y"}, "the frame, row 1, column 'y': 'two' is not a number"),
        (_with(y=[1.0, np.inf, 2.0]), {}, "the frame, row 1, column 'y': the number is infinite"),
        (_with(y=np.nan), {}, "the frame, column 'y': every cell is missing"),
        (_with(u=[1.0, np.nan, 2.0]), {"values": "y", "inputs": "u"}, "row 1, column 'u': the input is missing"),
        (
            _with(t=[1, 1, 2]),
            {},
            "the frame, row 1: the time 1 is there twice (first in row 0); keep one row a time, or",
        ),
        (_with(t=[1, 1, 2]), {}, "('t' was taken for the time; pass time=False if it is not)"),
        (_with(t=[1, 3, 2]), {"time": "t"}, "row 2: the times are not sorted, 3 is followed by 2; pass sort=True"),
        (
            _with(t=[1, 1, 1], k=list("aba")),
            {"time": "t", "id": "k"},
            "row 2: the time 1 is there twice for id 'a' (first in row 0)",
        ),
        (_with(t=[2, 1, 1], k=list("aba")), {"time": "t", "id": "k"}, "row 2: the times of id 'a' are not sorted"),
        (_with(t=["2020-01", None, "2020-03"]), {}, "row 1, column 't': the time is missing"),
        (_with(t=["2020-01", "x", "2020-03"]), {}, "row 1, column 't': the time is 'x', not a time"),
        (_with(k=["a", None, "b"]), {"id": "k"}, "row 1, column 'k': the cell is empty; every row needs one"),
        (_with(), {"values": ["y", "y"]}, "column 'y' is in `values` and again in `values`"),
        (_with(), {"values": "y", "id": "y"}, "column 'y' is in `values` and again in `id`"),
        (_with(), {"id": ["t", "y"]}, "`id` is 't', 'y'; pass one column"),
        (_with(), {"sort": 1}, "`sort` is 1; pass True or False"),
        (_with(), {"time": False, "sort": True}, "`sort` is True but there is no time"),
        (pd.DataFrame({"a": ["x", "y"]}), {}, "the frame has no numeric column left for `values`; its columns are 'a'"),
        (_with(), {"values": "y", "season": 0}, "`season` is 0"),
        (_with(d=pd.date_range("2020", periods=3)), {"values": "d"}, "column 'd' has dates, not numbers"),
        (pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), {}, "the frame has the column 'a' twice; rename one"),
        (pd.DataFrame({"a": []}), {}, "the frame has 0 rows and 1 columns"),
        (_with().set_index(["t", "y"]), {}, "the frame has 3 rows and 0 columns"),
        (_with(k=1.0).set_index(["t", "y"]), {}, "the frame has an index of several levels; call .reset_index()"),
        (pl.DataFrame({"a": [1.0]}).lazy(), {}, "`frame` is a lazy frame; call .collect() first"),
        ([1.0], {}, "`frame` is [1.0]; pass a pandas, polars or pyarrow frame"),
    ],
)
def test_wrong_frames_are_refused(frame, arguments, message):
    with pytest.raises(InputError) as caught:
        from_frame(frame, **arguments)
    assert message in str(caught.value)
