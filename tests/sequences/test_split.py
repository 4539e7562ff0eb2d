"""`split` and `rolling`. Oracles: a partition of the rows, and brute force over each sequence's own rows."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statewise import InputError, Sequences
from tests.sequences.strategies import aligned, sequences

MONTHS = [f"{year}-{month:02}" for year in (2020, 2021) for month in range(1, 13)]


def marked(seqs: Sequences) -> Sequences:
    """The same sequences with every row's value its own number, so that rows can be followed."""
    return seqs.replace(values=np.arange(float(seqs.rows)), columns=())


def rows(seqs: Sequences) -> dict:
    """id -> the numbers of its rows."""
    return {name: array.ravel().tolist() for name, array in zip(seqs.ids, seqs.arrays(), strict=True)}


@given(sequences(shortest=2), st.floats(0.01, 0.99), st.sampled_from(["time", "sequence"]))
def test_split_partitions_the_rows_and_does_not_leak(seqs, fraction, by):
    seqs = marked(seqs)
    try:
        earlier, later = seqs.split(fraction, by=by)
    except InputError:
        assert len(seqs) == 1 if by == "sequence" else len(np.unique(seqs.times)) == 1
        return
    before, after = rows(earlier), rows(later)
    assert {name: before.get(name, []) + after.get(name, []) for name in seqs.ids} == rows(seqs)
    if by == "sequence":
        assert earlier.ids + later.ids == seqs.ids
    elif seqs.times is not None:
        assert earlier.times.max() < later.times.min()
    else:
        assert earlier.ids == later.ids == seqs.ids


def test_split_without_times_cuts_each_at_its_own_fraction():
    seqs = Sequences.from_arrays([range(10), range(5), range(2), [0]])
    earlier, later = seqs.split(0.8)
    assert rows(earlier) == {0: [*range(8)], 1: [0, 1, 2, 3], 2: [0], 3: [0]}
    assert rows(later) == {0: [8, 9], 1: [4], 2: [1]}


def test_split_with_times_has_one_cut_for_all():
    seqs = Sequences.from_arrays([range(10), range(10)], times=[range(10), range(5, 15)])
    earlier, later = seqs.split(0.5)
    assert (earlier.times.max(), later.times.min()) == (6.0, 7.0)
    assert rows(earlier) == {0: [*range(7)], 1: [0, 1]}


@pytest.mark.parametrize("date", ["2021", "2021-01", "2021Q1", 2021, np.datetime64("2021-01-01"), "2021-01-01T00:00Z"])
def test_split_at_a_date_starts_the_later_part_there(date):
    seqs = Sequences.from_arrays([range(24)], times=[MONTHS])
    earlier, later = seqs.split(date=date)
    assert (earlier.rows, later.rows) == (12, 12)
    assert later.times[0] == np.datetime64("2021-01-01")


def test_split_at_a_number():
    earlier, later = Sequences.from_arrays([range(4)], times=[[0, 0.5, 2, 3]]).split(date=1)
    assert (earlier.rows, later.rows) == (2, 2)


def test_split_by_sequence_holds_out_the_last():
    earlier, later = Sequences.from_arrays([[1], [2], [3], [4]], ids=list("abcd")).split(0.7, by="sequence")
    assert (earlier.ids, later.ids) == (("a", "b", "c"), ("d",))


def test_labels_and_inputs_follow_their_rows():
    seqs = Sequences.from_arrays([range(4)], inputs=[range(4)], labels=[list("abcd")], times=[range(4)])
    _, later = seqs.split(0.5)
    assert (later.labels.tolist(), later.inputs.ravel().tolist()) == (["c", "d"], [2.0, 3.0])
    whole = Sequences.from_arrays([range(4), range(4)], labels=["up", "down"])
    assert whole.split(0.5)[1].labels.tolist() == ["up", "down"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`split` needs a fraction or a date, and not both; pass for example fraction=0.8"),
        ({"fraction": 0.5, "date": "2020-05"}, "and not both"),
        ({"fraction": 0.0}, "`fraction` is 0"),
        ({"fraction": 1.0}, "`fraction` is 1.0, which leaves nothing for the later part"),
        ({"fraction": 1.5}, "`fraction` is 1.5"),
        ({"fraction": "half"}, "`fraction` is 'half'"),
        ({"fraction": 0.5, "by": "row"}, "`by` is 'row'; pass one of 'time', 'sequence'"),
        ({"date": "2019-01"}, "which leaves no row in the earlier part (times go from 2020-01-01 to 2021-12-01)"),
        ({"date": "2031-01"}, "which leaves no row in the later part"),
        ({"date": "next year"}, "'next year', not a time"),
        ({"date": 7}, "`date` is 7 but the times are dates"),
        ({"date": "2020-05", "by": "sequence"}, "`by` is 'sequence', which has no date"),
        ({"fraction": 0.5, "by": "sequence"}, "there is 1 sequence, so none can be held out"),
    ],
)
def test_split_refuses(arguments, message):
    with pytest.raises(InputError) as caught:
        Sequences.from_arrays([range(24)], times=[MONTHS]).split(**arguments)
    assert message in str(caught.value)


def test_split_refuses_what_the_data_cannot_give():
    for seqs, arguments, message in [
        (Sequences.from_arrays([range(4)]), {"date": 1}, "`date` is 1 but the sequences have no times"),
        (Sequences.from_arrays([[1], [2]]), {"fraction": 0.5}, "leaves no row in the later part; choose"),
        (Sequences.from_arrays([[1], [2]], times=[[3], [3]]), {"fraction": 0.5}, "(times go from 3 to 3)"),
        (
            Sequences.from_arrays([[1, 2]], times=[[3, 4]]),
            {"date": "2020-01"},
            "`date` is '2020-01'; pass a finite number",
        ),
    ]:
        with pytest.raises(InputError) as caught:
            seqs.split(**arguments)
        assert message in str(caught.value)


# --- rolling ----------------------------------------------------------------------------------------------------------


def check_window(seqs: Sequences, window, horizon: int) -> None:
    """What every window must be, whatever its origin."""
    full, past, future = rows(seqs), rows(window.past), rows(window.future)
    assert set(future) <= set(past)
    assert len(window.origins) == len(window.future)
    for name, origin in zip(window.future.ids, window.origins, strict=True):
        assert past[name] == full[name][:origin]
        assert future[name] == full[name][origin : origin + horizon]
        assert future[name]
    for name in set(past) - set(future):
        assert past[name] == full[name]
    if seqs.times is not None:
        assert window.past.times.max() < window.future.times.min()


@given(
    sequences(most=3, longest=12, shortest=4, times=("none",)), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)
)
def test_rolling_without_times_counts_back_from_each_end(seqs, horizon, windows, stride):
    seqs = marked(seqs)
    if horizon + stride * (windows - 1) + 1 > seqs.lengths.max():
        with pytest.raises(InputError, match="windows of horizon"):
            seqs.rolling(horizon, windows, stride)
        return
    found = seqs.rolling(horizon, windows, stride)
    assert [window.index for window in found] == list(range(windows))
    for window in found:
        check_window(seqs, window, horizon)
        back = horizon + stride * (windows - 1 - window.index)
        reachable = {
            name: int(length) - back for name, length in zip(seqs.ids, seqs.lengths, strict=True) if length > back
        }
        assert dict(zip(window.future.ids, window.origins.tolist(), strict=True)) == reachable
        assert window.past.ids == window.future.ids
    assert all(
        array[-1] == full[-1] for array, full in zip(found[-1].future.arrays(), seqs.arrays(), strict=True)
    ) or any(length <= horizon for length in seqs.lengths)


@given(aligned(), st.integers(1, 4), st.integers(1, 4), st.none() | st.integers(1, 3))
def test_rolling_with_times_never_shows_the_future(seqs, horizon, windows, stride):
    seqs = marked(seqs)
    grid = sorted(set(seqs.times.tolist()))
    try:
        found = seqs.rolling(horizon, windows, stride)
    except InputError as error:
        text = str(error)
        assert "distinct times" in text or "on both sides of the origin" in text
        assert ("distinct times" in text) == (horizon + (stride or horizon) * (windows - 1) + 1 > len(grid))
        return
    for window in found:
        check_window(seqs, window, horizon)
        origin = grid[len(grid) - horizon - (stride or horizon) * (windows - 1 - window.index)]
        assert window.past.times.max() < origin <= window.future.times.min()
        for name, array, times in zip(seqs.ids, seqs.arrays(), np.split(seqs.times, seqs.offsets[1:-1]), strict=True):
            before = array[times < origin].ravel().tolist()
            assert rows(window.past).get(name, []) == before


@given(aligned(), st.integers(1, 3), st.integers(1, 3))
def test_a_change_in_the_future_leaves_the_past_alone(seqs, horizon, windows):
    try:
        found = seqs.rolling(horizon, windows)
    except InputError:
        return
    for window in found:
        cut = window.future.times.min()
        changed = seqs.replace(values=np.where(seqs.times[:, None] >= cut, -1e6, seqs.values))
        assert changed.rolling(horizon, windows)[window.index].past.equals(window.past)


def test_rolling_of_one_sequence_by_hand():
    first, second, last = Sequences.from_arrays([range(10)]).rolling(horizon=2, windows=3)
    assert [w.origins.tolist() for w in (first, second, last)] == [[4], [6], [8]]
    assert rows(first.past) == {0: [0, 1, 2, 3]}
    assert [rows(w.future)[0] for w in (first, second, last)] == [[4, 5], [6, 7], [8, 9]]
    assert [w.origins.tolist() for w in Sequences.from_arrays([range(10)]).rolling(3, 3, stride=1)] == [[5], [6], [7]]


def test_rolling_on_a_common_grid_by_hand():
    """a ends early, b starts late: each is only where it has rows before the origin."""
    seqs = Sequences.from_arrays([range(4), range(3), range(8)], times=[range(4), [5, 6, 7], range(8)], ids=list("abc"))
    early, late = seqs.rolling(horizon=2, windows=2)
    assert (early.past.ids, early.future.ids, early.origins.tolist()) == (("a", "c"), ("c",), [4])
    assert (late.past.ids, late.future.ids, late.origins.tolist()) == (("a", "b", "c"), ("b", "c"), [1, 6])


def test_rolling_says_what_would_fit():
    seqs = Sequences.from_arrays([range(48)])
    with pytest.raises(InputError) as caught:
        seqs.rolling(horizon=12, windows=5)
    text = str(caught.value)
    assert "5 windows of horizon 12 (stride 12) need 61 steps" in text
    assert "the longest sequence has 48 steps; use `windows` up to 3 or `horizon` up to 9" in text
    assert len(seqs.rolling(12, 3)) == 3
    assert len(seqs.rolling(9, 5)) == 5
    for horizon, windows in [(12, 4), (10, 5)]:
        with pytest.raises(InputError):
            seqs.rolling(horizon, windows)


@given(st.integers(1, 40), st.integers(1, 15), st.integers(1, 8), st.integers(1, 5))
def test_the_advice_is_true(length, horizon, windows, stride):
    """Whatever the message says would fit does, and one more does not."""
    seqs = Sequences.from_arrays([range(length)])
    try:
        seqs.rolling(horizon, windows, stride)
        return
    except InputError as error:
        text = str(error)
    same = None if stride == horizon else stride
    for name, other in (("windows", {"horizon": horizon}), ("horizon", {"windows": windows})):
        fitting = re.search(f"`{name}` up to (\\d+)", text)
        if fitting:
            seqs.rolling(**other, **{name: int(fitting[1])}, stride=same)
            with pytest.raises(InputError):
                seqs.rolling(**other, **{name: int(fitting[1]) + 1}, stride=same)


@pytest.mark.parametrize(
    ("arguments", "name"), [((0, 1), "horizon"), ((1, 0), "windows"), ((1, 1, 0), "stride"), ((1.5, 1), "horizon")]
)
def test_rolling_refuses(arguments, name):
    with pytest.raises(InputError, match=f"`{name}` is"):
        Sequences.from_arrays([range(9)]).rolling(*arguments)


def test_rolling_needs_an_overlap():
    seqs = Sequences.from_arrays([range(3), range(3)], times=[[0, 1, 2], [5, 6, 7]])
    with pytest.raises(InputError, match="no sequence has steps on both sides of the origin of window 0"):
        seqs.rolling(horizon=3, windows=1)
