"""Windows: every step is scored once, and nothing else. Oracle: counting, on random cases."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from statewise.nn.windows import cut_windows


@st.composite
def cases(draw):
    lengths = np.array(draw(st.lists(st.integers(1, 30), min_size=1, max_size=5)))
    stop = np.array([draw(st.integers(0, int(n))) for n in lengths])
    start = np.array([draw(st.integers(0, int(n))) for n in stop])
    return lengths, start, stop, draw(st.integers(1, 9)), draw(st.integers(0, 9))


@given(cases())
def test_every_step_in_range_is_scored_exactly_once(case):
    lengths, start, stop, size, warm_up = case
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    windows = cut_windows(offsets, start, stop, size, warm_up, np.ones(offsets[-1], dtype=bool))
    scored = np.zeros(offsets[-1], dtype=int)
    for batch in windows.batches(np.arange(len(windows)), 3):
        rows, mask = windows.gather(batch)
        np.add.at(scored, rows[mask], 1)
        assert rows.shape[1] <= size + warm_up
    wanted = np.concatenate(
        [(np.arange(n) >= a) & (np.arange(n) < b) for n, a, b in zip(lengths, start, stop, strict=True)]
    )
    np.testing.assert_array_equal(scored, wanted.astype(int))


@given(cases())
def test_a_window_is_consecutive_rows_of_one_sequence_with_all_the_warm_up_there_is(case):
    lengths, start, stop, size, warm_up = case
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    windows = cut_windows(offsets, start, stop, size, warm_up, np.ones(offsets[-1], dtype=bool))
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    for k in range(len(windows)):
        rows, mask = windows.gather(np.array([k]))
        assert (np.diff(rows[0]) == 1).all()
        assert len(set(sequence[rows[0]])) == 1
        first_scored = rows[0, mask[0].argmax()] - offsets[sequence[rows[0, 0]]]
        assert mask[0].argmax() == min(warm_up, first_scored)


def test_padding_repeats_the_last_row_and_is_not_scored():
    windows = cut_windows(np.array([0, 5, 7]), np.zeros(2, int), np.array([5, 2]), 10, 0, np.ones(7, dtype=bool))
    rows, scored = windows.gather(np.array([0, 1]))
    assert rows.tolist() == [[0, 1, 2, 3, 4], [5, 6, 6, 6, 6]]
    assert scored[1].tolist() == [True, True, False, False, False]


def test_windows_with_nothing_to_score_are_left_out():
    counts = np.array([True, False, False, True])
    windows = cut_windows(np.array([0, 4]), np.array([0]), np.array([4]), 1, 2, counts)
    assert windows.first.tolist() == [0, 1]
    assert windows.warm_up.tolist() == [0, 2]
