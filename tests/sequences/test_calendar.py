"""Times, spacing, seasons and the future. Oracles: pandas' date offsets and Python's datetime; the Gregorian calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statewise import InputError, Sequences
from statewise.sequences.calendar import Spacing, future_times, guess_season, parse_times, spacing, time_text

SEASONS = {  # pandas frequency -> steps in a season
    "5min": 288,
    "15min": 96,
    "30min": 48,
    "h": 24,
    "2h": 12,
    "6h": 4,
    "12h": 2,
    "D": 7,
    "B": 5,
    "W-SAT": 52,
    "2W": 26,
    "28D": 13,
    "MS": 12,
    "ME": 12,
    "BME": 12,
    "2MS": 6,
    "QS": 4,
    "QE": 4,
    "BQE": 4,
    "4MS": 3,
    "6ME": 2,
    "YS": None,
    "YE": None,
    "5YS": None,
    "36h": None,
    "50min": None,
    "min": None,
    "s": None,
}
GAPS = [5, 6, 17, 40]


def grid(frequency: str, periods: int = 60) -> np.ndarray:
    return pd.date_range("2000-01-31 00:00", periods=periods, freq=frequency).to_numpy().astype("datetime64[us]")


@pytest.mark.parametrize("frequency", SEASONS)
def test_season_of_each_spacing_also_with_missing_steps(frequency):
    times = grid(frequency)
    assert guess_season(times) == SEASONS[frequency]
    assert guess_season(np.delete(times, GAPS)) == SEASONS[frequency]


def test_season_needs_a_calendar_and_three_times():
    assert guess_season(None) is None
    assert guess_season(np.arange(50.0)) is None
    assert guess_season(grid("MS", 2)) is None
    assert guess_season(grid("MS", 3)) == 12


def test_leap_years_and_any_day_of_the_month():
    assert guess_season(np.array([f"{y}-02-{29 if y % 4 == 0 else 28}" for y in range(1990, 2010)], "M8[us]")) is None
    for day in (1, 15, 28, 30, 31):
        times = [(pd.Timestamp(2000, 1, day) + pd.DateOffset(months=k)).replace(hour=6) for k in range(30)]
        assert guess_season(np.array(times, "M8[us]")) == 12, day


def test_irregular_times_have_no_season():
    steps = np.random.default_rng(0).exponential(36.0, 100)
    assert guess_season(np.datetime64("2000-01-01", "us") + (np.cumsum(steps) * 3.6e9).astype("m8[us]")) is None
    assert guess_season(np.array(["2000-01-01", "2000-01-02", "2000-01-04", "2000-01-08"], "M8[us]")) is None
    assert guess_season(np.array(["2000-01-01", "2000-06-01", "2001-01-01", "2001-12-01"], "M8[us]")) is None


def test_jitter_of_a_clock_does_not_hide_the_hour():
    jitter = np.random.default_rng(0).integers(-30_000_000, 30_000_000, 200).astype("m8[us]")
    assert guess_season(grid("h", 200) + jitter) == 24


def test_a_change_to_summer_time_does_not_hide_the_hour():
    local = pd.date_range("2024-03-25", periods=200, freq="h", tz="Europe/Berlin").tz_localize(None).to_numpy()
    assert guess_season(local.astype("M8[us]")) == 24


EXACT = ["15min", "h", "D", "B", "W-SAT", "MS", "ME", "2MS", "QS", "QE", "6ME", "YS", "YE", "36h", "s"]


@pytest.mark.parametrize("gaps", [[], GAPS])
@pytest.mark.parametrize("frequency", EXACT)
def test_future_goes_on_as_pandas_would(frequency, gaps):
    times = grid(frequency, 68)
    seen = np.delete(times[:60], gaps)
    seqs = Sequences.from_arrays([np.arange(len(seen))], times=[seen])
    np.testing.assert_array_equal(future_times(seqs, 8), times[None, 60:])


def test_future_keeps_the_day_and_the_hour():
    times = [["2023-10-30T06:30", "2023-11-30T06:30", "2023-12-30T06:30", "2024-01-30T06:30"]]
    future = future_times(Sequences.from_arrays([range(4)], times=times), 2)
    assert [time_text(t) for t in future[0]] == ["2024-02-29T06:30:00", "2024-03-30T06:30:00"]


def test_future_of_each_sequence_starts_at_its_own_end():
    seqs = Sequences.from_arrays(
        [range(3), range(4), [0]],
        times=[
            ["2020-01", "2020-02", "2020-03"],
            ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"],
            ["2021-01-01"],
        ],
    )
    future = future_times(seqs, 1)
    assert future.shape == (3, 1)
    assert [time_text(t) for t in future[:, 0]] == ["2020-04-01", "2020-01-05", "2021-01-02"]


def test_future_of_numbers_and_of_nothing():
    seqs = Sequences.from_arrays([range(4), range(2), [0]], times=[[0, 0.5, 1, 5], [10, 20], [7]])
    assert future_times(seqs, 2).tolist() == [[5.5, 6.0], [30.0, 40.0], [7.5, 8.0]]
    assert future_times(Sequences.from_arrays([[1], [2]], times=[[3], [4]]), 2).tolist() == [[4, 5], [5, 6]]
    assert future_times(Sequences.from_arrays([range(3)]), 2) is None
    assert future_times(Sequences.from_arrays([[1]], times=[["2020-01-01"]]), 2) is None
    with pytest.raises(InputError, match="`steps` is 0"):
        future_times(seqs, 0)


@given(st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)), st.sampled_from(sorted(SEASONS)), st.integers(2, 30))
def test_future_is_after_the_end_and_increasing(start, frequency, size):
    times = pd.date_range(start, periods=size, freq=frequency).to_numpy().astype("M8[us]")
    future = future_times(Sequences.from_arrays([range(size)], times=[times]), 5)[0]
    assert future[0] > times[-1]
    assert (np.diff(future).astype(int) > 0).all()


def test_spacing_says_what_it_found():
    assert spacing(grid("ME")) == Spacing(months=1)
    assert spacing(grid("B")) == Spacing(micros=86_400_000_000, weekend=True)
    assert spacing(np.arange(3.0)) is None
    assert spacing(grid("ME")[:1]) is None
    assert not spacing(np.array(["2000-01-01", "2000-01-02", "2000-03-04", "2000-03-08"], "M8[us]")).regular


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1949-01", "1949-12"], ["1949-01-01", "1949-12-01"]),
        (["1959Q1", "1959Q4"], ["1959-01-01", "1959-10-01"]),
        (["1959-Q2", "1959 q3"], ["1959-04-01", "1959-07-01"]),
        (["2020-01-05", "2020-1-6"], ["2020-01-05", "2020-01-06"]),
        (["2020/01/05", "2020/1/6"], ["2020-01-05", "2020-01-06"]),
        (["2020-01-05 18:30", "2020-01-05T18:30:15.25"], ["2020-01-05T18:30", "2020-01-05T18:30:15.250"]),
        (["2020-01-05T18:30:15.123456789"], ["2020-01-05T18:30:15.123456"]),
        (["2020-01-05T18:30Z", "2020-01-05 18:30:00+02:00"], ["2020-01-05T18:30", "2020-01-05T16:30"]),
        (["2020-01-05 00:30+0100", "2020-01-05 00:30 UTC"], ["2020-01-04T23:30", "2020-01-05T00:30"]),
        ([date(2020, 1, 5)], ["2020-01-05"]),
        ([datetime(2020, 1, 5, 6, tzinfo=UTC)], ["2020-01-05T06:00"]),
        ([datetime(2020, 1, 5, 6, tzinfo=timezone(timedelta(hours=-5)))], ["2020-01-05T11:00"]),
        (np.array(["2020-01-05"], "M8[ns]"), ["2020-01-05"]),
        (pd.date_range("2020-01-05", periods=2, freq="D"), ["2020-01-05", "2020-01-06"]),
        (pd.period_range("1959Q1", periods=2, freq="Q"), ["1959-01-01", "1959-04-01"]),
        ([" 2020-01-05 "], ["2020-01-05"]),
    ],
)
def test_dates_that_are_understood(cells, expected):
    times = parse_times(cells)
    assert times.dtype == "datetime64[us]"
    np.testing.assert_array_equal(times, np.array(expected, "M8[us]"))


def test_numbers_stay_numbers_unless_they_are_certainly_dates():
    assert parse_times([1700, 1701]).tolist() == [1700.0, 1701.0]
    assert parse_times([1700, 1701], "year").tolist() == [1700.0, 1701.0]
    assert parse_times(["0.5", "2"]).tolist() == [0.5, 2.0]
    years = parse_times([1700, 1701], "Year", guess=True)
    np.testing.assert_array_equal(years, np.array(["1700", "1701"], "M8[us]"))
    assert parse_times([1700, 1701], "t", guess=True).dtype == np.float64
    assert parse_times([1700.5, 1701], "year", guess=True).dtype == np.float64
    assert parse_times([17, 18], "year", guess=True).dtype == np.float64
    days = parse_times(["20200131", "20200201"], "t", guess=True)
    np.testing.assert_array_equal(days, np.array(["2020-01-31", "2020-02-01"], "M8[us]"))
    assert parse_times([20200131, 20200132], "t", guess=True).dtype == np.float64


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["2020-01", "31/12/2020"],
            "`when`[1] is '31/12/2020', not a time that can be read; write dates as 2020-12-31",
        ),
        (["2020-13"], "`when`[0] is '2020-13', not a time"),
        (["2021-02-29"], "`when`[0] is '2021-02-29', not a time"),
        (["2020-01-01", "2021-02-29"], "`when`[1] is '2021-02-29', not a time"),
        (["soon"], "`when`[0] is 'soon'"),
        (["now"], "`when`[0] is 'now'"),
        (["2020-01", ""], "`when`[1] is missing; every row needs a time"),
        (["2020-01", None], "`when`[1] is missing"),
        ([1.0, np.nan], "`when`[1] is missing"),
        ([1.0, np.inf], "`when`[1] is infinite"),
        (["0000Q1"], "`when`[0] is '0000Q1', not a time"),
        (["0001-01-01T00:00+05:00"], "`when`[0] is '0001-01-01T00:00+05:00', not a time"),
        (["1", "nan"], "`when`[1] is missing"),
        (np.array(["2020", "NaT"], "M8[us]"), "`when`[1] is missing"),
        (["2020-01-01T00:00Z", "2020-01-01T00:00"], "`when`[1] is '2020-01-01T00:00': some times have a zone"),
        ([True, False], "`when` has type bool"),
        (np.array([1j]), "`when` has type complex128"),
        ([[1, 2]], "`when` has shape (1, 2)"),
    ],
)
def test_times_that_are_refused(cells, message):
    with pytest.raises(InputError) as caught:
        parse_times(cells, "when")
    assert message in str(caught.value)


@given(st.lists(st.datetimes(datetime(1000, 1, 1), datetime(2999, 12, 31)), min_size=1, max_size=5))
def test_iso_text_reads_back(moments):
    """Oracle: Python's own isoformat."""
    exact = np.array(moments, "M8[us]")
    np.testing.assert_array_equal(parse_times([moment.isoformat() for moment in moments]), exact)
    np.testing.assert_array_equal(parse_times([moment.isoformat(" ") + "Z" for moment in moments]), exact)
    days = [moment.date() for moment in moments]
    np.testing.assert_array_equal(parse_times([day.strftime("%Y/%m/%d") for day in days]), np.array(days, "M8[us]"))
    east = timezone(timedelta(hours=5, minutes=30))
    shifted = [moment.replace(tzinfo=UTC).astimezone(east).isoformat() for moment in moments]
    np.testing.assert_array_equal(parse_times(shifted), exact)


def test_time_text_is_short():
    for text in ("2020-01-05", "2020-01-05T18:30:00", "2020-01-05T18:30:15.250000"):
        assert time_text(np.datetime64(text, "us")) == text
    assert time_text(2.5) == "2.5"
