"""`as_sequences` and `from_arrays`. Oracle: NumPy's own concatenation, and the messages that the arguments deserve."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given

from statewise import InputError, Sequences
from statewise.sequences.build import as_sequences, from_arrays
from tests.sequences.strategies import sequences


@given(sequences())
def test_sequences_pass_through(seqs):
    assert as_sequences(seqs) is seqs


@pytest.mark.parametrize(
    ("data", "lengths", "values"),
    [
        (np.array([1, 2, 3]), [3], [[1], [2], [3]]),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), [2], [[1, 2], [3, 4]]),
        ([1, 2.5, np.float32(3)], [3], [[1], [2.5], [3]]),
        ([1.0, None, 3.0], [3], [[1], [np.nan], [3]]),
        ([[1, 2], [3, 4]], [2], [[1, 2], [3, 4]]),
        (((1, 2), (3, 4)), [2], [[1, 2], [3, 4]]),
        ([np.array([1.0]), np.array([2.0, 3.0])], [1, 2], [[1], [2], [3]]),
        ((np.ones((2, 2)), np.zeros((1, 2))), [2, 1], [[1, 1], [1, 1], [0, 0]]),
        ([np.array([1.0]), [2.0, 3.0]], [1, 2], [[1], [2], [3]]),
        (np.ma.array([1.0, 2.0], mask=[False, True]), [2], [[1], [np.nan]]),
    ],
)
def test_what_counts_as_sequences(data, lengths, values):
    seqs = as_sequences(data)
    assert seqs.lengths.tolist() == lengths
    np.testing.assert_array_equal(seqs.values, np.array(values, dtype=float))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("series.csv", "`data` is 'series.csv'; pass `Sequences`, a (T,) or (T, p) array"),
        ("series.csv", "`statewise.read` reads files"),
        (3.0, "`data` is 3.0; pass"),
        (None, "`data` is None; pass"),
        ({"a": [1]}, "`data` is {'a': [1]}; pass"),
        ([], "`data` is empty"),
        (["1", "2"], "`data` contains '1', which is not a number"),
        ([[1, 2], [3]], "lists of different lengths; for several sequences use Sequences.from_arrays(data)"),
        ([[1, 2], 3], "lists of different lengths"),
        (np.zeros((2, 3, 4)), "`data` has shape (2, 3, 4); for several sequences of equal length pass list(data)"),
        (np.array(["a"]), "`arrays`[0] is an array of shape (1,), which is not an array of numbers"),
        (np.array([1 + 2j]), "which is not an array of numbers"),
        (np.array(3.0), "`data` is an array of shape ()"),
    ],
)
def test_anything_else_is_refused(data, message):
    with pytest.raises(InputError) as caught:
        as_sequences(data)
    assert message in str(caught.value)


def test_from_arrays_takes_every_field():
    seqs = from_arrays(
        [[1.0, 2.0], np.array([[3]])],
        inputs=[[7, 8], [9]],
        times=[["2020-01", "2020-02"], ["2020-01"]],
        labels=["up", "down"],
        ids=["a", "b"],
        columns="y",
        input_columns=["oil"],
        season=12,
    )
    assert seqs.values.ravel().tolist() == [1, 2, 3]
    assert seqs.inputs.ravel().tolist() == [7, 8, 9]
    assert seqs.times.astype("M8[M]").astype(str).tolist() == ["2020-01", "2020-02", "2020-01"]
    assert (seqs.labels.tolist(), seqs.labels_per) == (["up", "down"], "sequence")
    assert (seqs.ids, seqs.columns, seqs.input_columns, seqs.season) == (("a", "b"), ("y",), ("oil",), 12)
    assert from_arrays([[1, 2], [3]], labels=[["a", "b"], ["c"]]).labels.tolist() == ["a", "b", "c"]


def test_season_is_guessed_from_the_longest_sequence_unless_given():
    months = [f"2020-{m:02}" for m in range(1, 7)]
    assert from_arrays([[1.0], np.arange(6)], times=[["2020-01"], months]).season == 12
    assert from_arrays([np.arange(6)], times=[months], season=1).season == 1
    assert from_arrays([np.arange(6)], times=[range(6)]).season is None


ONE, TWO = [1.0, 2.0], [[1.0, 1.0], [2.0, 2.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arrays": []}, "`arrays` is empty"),
        ({"arrays": 5}, "`arrays` is 5; pass a list with one array a sequence"),
        ({"arrays": [ONE, ONE, ONE, TWO]}, "`arrays`[3] has 2 columns but the others have 1"),
        ({"arrays": [ONE, TWO]}, "`arrays`[1] has 2 columns but `arrays`[0] has 1"),
        ({"arrays": [ONE, []]}, "`arrays`[1] has shape (0,)"),
        ({"arrays": [1.0, 2.0]}, "`arrays`[0] has shape (); pass shape (T,) or (T, p); for a single sequence pass it"),
        ({"arrays": [np.zeros((1, 1, 1))]}, "`arrays`[0] has shape (1, 1, 1)"),
        ({"arrays": [ONE, ["a"]]}, "`arrays`[1] is ['a'], which is not an array of numbers"),
        ({"arrays": [ONE, [[1], [2, 3]]]}, "`arrays`[1] is [[1], [2, 3]], which is not an array of numbers"),
        ({"arrays": [ONE, [0.0, np.inf]]}, "`arrays`[1] is infinite at step 1"),
        ({"arrays": [ONE, ONE], "inputs": [ONE]}, "`inputs` has 1 entries but `arrays` has 2"),
        ({"arrays": [ONE, ONE], "inputs": [ONE, [1.0]]}, "`inputs`[1] has 1 rows but `arrays`[1] has 2"),
        ({"arrays": [ONE], "inputs": [[1.0, np.nan]]}, "`inputs` is NaN at row 1"),
        ({"arrays": [ONE, ONE], "times": [[0, 1], [0]]}, "`times`[1] has 1 rows but `arrays`[1] has 2"),
        ({"arrays": [ONE, ONE], "times": [[0, 1], [1, 0]]}, "`times`[1] does not increase at step 1"),
        (
            {"arrays": [ONE, ONE], "times": [[0, 1], ["2020", "2021-05"]]},
            "`times`[0] are numbers but `times`[1] are dates",
        ),
        ({"arrays": [ONE, ONE], "times": [[0, 1], [0, "x"]]}, "`times`[1][1] is 'x'"),
        ({"arrays": [ONE, ONE], "labels": ["a"]}, "`labels` has 1 entries"),
        ({"arrays": [ONE, ONE], "labels": [["a", "b"], "c"]}, "`labels`[1] is one label but others are one a step"),
        ({"arrays": [ONE, ONE], "labels": [["a", "b"], ["c"]]}, "`labels`[1] has 1 rows"),
        ({"arrays": [ONE], "columns": ["a", "b"]}, "`columns` has 2 names; pass 1"),
    ],
)
def test_errors_name_the_sequence(arguments, message):
    with pytest.raises(InputError) as caught:
        from_arrays(**arguments)
    assert message in str(caught.value)


def test_inputs_are_not_changed():
    array, masked = np.array([1, 2, 3]), np.ma.array([1.0, 2.0], mask=[False, True])
    from_arrays([array, masked])
    assert array.tolist() == [1, 2, 3]
    assert (array.flags.writeable, masked.mask.tolist(), masked.data.tolist()) == (True, [False, True], [1.0, 2.0])


def test_a_thousand_short_arrays_take_milliseconds():
    """20 ms on a quiet machine; the best of five, and a factor of five for a busy one."""
    arrays = [np.ones((10, 2)) for _ in range(1000)]
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        from_arrays(arrays)
        best = min(best, time.perf_counter() - start)
    assert best < 0.1
    assert len(Sequences.from_arrays(arrays)) == 1000
