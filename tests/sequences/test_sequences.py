"""`Sequences`. Oracle: plain Python lists of arrays, one a sequence."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statewise import InputError, Sequences
from tests.sequences.strategies import sequences

RAGGED = Sequences(
    values=[[1.0, 10.0], [2.0, np.nan], [3.0, 30.0], [4.0, 40.0], [5.0, 50.0], [6.0, 60.0]],
    lengths=[3, 1, 2],
    inputs=np.arange(6.0),
    times=[0, 1, 2, 0, 5, 9],
    labels=["a", "b", "c"],
    ids=("x", "y", "z"),
    columns=("gdp", "cons"),
    season=4,
)


def parts(seqs: Sequences) -> list[list]:
    """Every field of every sequence as a plain list: the oracle's form."""
    result = []
    for i, (start, stop) in enumerate(zip(seqs.offsets[:-1], seqs.offsets[1:], strict=True)):
        labels = None
        if seqs.labels is not None:
            labels = seqs.labels[start:stop].tolist() if seqs.labels_per == "step" else seqs.labels[i]
        result.append(
            [
                seqs.ids[i],
                np.nan_to_num(seqs.values[start:stop], nan=-7.5).tolist(),
                None if seqs.inputs is None else seqs.inputs[start:stop].tolist(),
                None if seqs.times is None else seqs.times[start:stop].tolist(),
                labels,
            ]
        )
    return result


def without_step_labels(items: list[list]) -> list[list]:
    """Sequences of one step cannot say whether a label is the step's or the sequence's."""
    return [
        [*item[:4], item[4] if isinstance(item[4], str | None) or len(item[4]) > 1 else item[4][0]] for item in items
    ]


def test_sizes_names_and_missing():
    assert (len(RAGGED), RAGGED.rows, RAGGED.dim) == (3, 6, 2)
    assert RAGGED.offsets.tolist() == [0, 3, 4, 6]
    assert (RAGGED.n_missing, RAGGED.n_observed) == (1, 11)
    assert RAGGED.labels_per == "sequence"
    assert RAGGED.input_columns == ("u1",)
    assert repr(RAGGED) == "<Sequences: 3 sequences × 1–3 steps × 2 (gdp, cons), 1 missing, 1 inputs>"


def test_names_have_defaults():
    assert Sequences([1.0, 2.0], [2]).columns == ("y",)
    assert Sequences(np.zeros((2, 3)), [2]).columns == ("y1", "y2", "y3")
    assert Sequences([1.0, 2.0], [1, 1]).ids == (0, 1)
    assert Sequences([1.0], [1], columns="price").columns == ("price",)


def test_numpy_names_become_plain():
    assert [type(name) for name in Sequences([1.0, 2.0], [1, 1], ids=np.array([7, 9])).ids] == [int, int]


def test_times_may_be_text_or_python_dates():
    from datetime import date

    for times in (
        ["1959Q1", "1959Q2"],
        [date(1959, 1, 1), date(1959, 4, 1)],
        np.array(["1959-01", "1959-04"], "M8[M]"),
    ):
        seqs = Sequences([1.0, 2.0], [2], times=times)
        assert seqs.times.dtype == "datetime64[us]"
        assert seqs.times.astype("M8[M]").astype(str).tolist() == ["1959-01", "1959-04"]


@given(sequences())
def test_packing_and_unpacking_is_the_identity(seqs):
    again = Sequences.from_arrays(
        seqs.arrays(),
        inputs=None if seqs.inputs is None else np.split(seqs.inputs, seqs.offsets[1:-1]),
        times=None if seqs.times is None else np.split(seqs.times, seqs.offsets[1:-1]),
        labels=None
        if seqs.labels is None
        else seqs.labels.tolist()
        if seqs.labels_per == "sequence"
        else np.split(seqs.labels, seqs.offsets[1:-1]),
        ids=seqs.ids,
        columns=seqs.columns,
        input_columns=seqs.input_columns,
        season=seqs.season,
    )
    assert again.replace(season=seqs.season).equals(seqs)


@given(sequences(), st.data())
def test_indexing_equals_indexing_a_list(seqs, data):
    items = parts(seqs)
    position = data.draw(st.integers(-len(seqs), len(seqs) - 1))
    assert without_step_labels(parts(seqs[position])) == without_step_labels([items[position]])
    cut = data.draw(st.slices(len(seqs)))
    if items[cut]:
        assert without_step_labels(parts(seqs[cut])) == without_step_labels(items[cut])
    chosen = data.draw(st.lists(st.integers(0, len(seqs) - 1), min_size=1, unique=True))
    assert without_step_labels(parts(seqs[chosen])) == without_step_labels([items[i] for i in chosen])
    mask = np.isin(np.arange(len(seqs)), chosen)
    assert without_step_labels(parts(seqs[mask])) == without_step_labels([items[i] for i in np.flatnonzero(mask)])
    assert [one.ids for one in seqs] == [(name,) for name in seqs.ids]


@given(sequences(), st.data())
def test_steps_equal_slicing_each_array(seqs, data):
    start, stop = (data.draw(st.none() | st.integers(-8, 8)) for _ in range(2))
    expected = [(name, array[start:stop]) for name, array in zip(seqs.ids, seqs.arrays(), strict=True)]
    expected = [(name, array) for name, array in expected if len(array)]
    if not expected:
        with pytest.raises(InputError, match="no sequence has a step left"):
            seqs.steps(start, stop)
        return
    taken = seqs.steps(start, stop)
    assert taken.ids == tuple(name for name, _ in expected)
    assert all(np.array_equal(a, b, equal_nan=True) for a, (_, b) in zip(taken.arrays(), expected, strict=True))


@given(sequences())
def test_arrays_are_read_only_and_inputs_untouched(seqs):
    for array in (seqs.values, seqs.lengths, seqs.inputs, seqs.times, seqs.labels, *seqs.arrays()):
        assert array is None or not array.flags.writeable
    given_values = np.array(seqs.values)
    taken = Sequences(given_values, seqs.lengths)
    given_values[:] = -1.0
    assert np.array_equal(taken.values, seqs.values, equal_nan=True)
    with pytest.raises(AttributeError):
        seqs.values = given_values


@given(sequences())
def test_copies_are_equal_and_read_only(seqs):
    for twin in (copy.deepcopy(seqs), pickle.loads(pickle.dumps(seqs)), seqs.replace()):
        assert twin.equals(seqs)
        assert not twin.values.flags.writeable


def test_equals_sees_every_field():
    changes = {
        "values": RAGGED.values + 1,
        "lengths": [1, 2, 3],
        "inputs": RAGGED.inputs + 1,
        "times": RAGGED.times * 2,
        "labels": ["a", "b", "d"],
        "ids": ("x", "y", "w"),
        "columns": ("gdp", "c"),
        "input_columns": ("oil",),
        "symbols": ("a",),
        "season": 12,
    }
    assert RAGGED.equals(copy.deepcopy(RAGGED))
    assert not [name for name, value in changes.items() if RAGGED.equals(RAGGED.replace(**{name: value}))]


BAD = [
    ({"values": [1.0, np.inf, 2.0]}, "`values` has 1 infinite"),
    ({"values": ["a", "b", "c"]}, "`values`"),
    ({"values": np.zeros((0, 2))}, "at least one row"),
    ({"lengths": [2, 2]}, "`lengths` sums to 4 but `values` has 3 rows; pass lengths that sum to 3"),
    ({"lengths": [3, 0]}, "`lengths` has the entry 0"),
    ({"lengths": [1.5, 1.5]}, "`lengths` has the entry 1.5"),
    ({"lengths": ["x"]}, "`lengths` is"),
    ({"lengths": 3}, "one number a sequence"),
    ({"inputs": [1.0, np.nan, 2.0]}, "`inputs` is NaN at row 1, column 0; inputs cannot be missing"),
    ({"inputs": [1.0, 2.0]}, "`inputs` has shape"),
    ({"times": [1, 2]}, "`times` has shape (2,); pass one time a row, shape (3,)"),
    ({"times": [0, 2, 1]}, "`times` does not increase from row 1 (2) to row 2 (1)"),
    ({"times": [0, 1, 1]}, "from row 1 (1) to row 2 (1)"),
    ({"times": ["2020-01", "soon", "2020-03"]}, "`times`[1] is 'soon', not a time"),
    ({"times": [0.0, np.nan, 1.0]}, "`times`[1] is missing"),
    ({"times": np.array([0, 1, 2], "m8[s]")}, "`times` are durations"),
    ({"labels": ["a", "b"]}, "`labels` has shape (2,); pass one a step (3,) or one a sequence (1,)"),
    ({"ids": ("a", "b")}, "`ids` has 2 names; pass 1"),
    ({"lengths": [1, 2], "ids": ("a", "a")}, "`ids` has 'a' twice"),
    ({"ids": ([],)}, "`ids`"),
    ({"columns": ("a", "b")}, "`columns` has 2 names; pass 1"),
    ({"season": 0}, "`season` is 0"),
    ({"season": 1.5}, "`season` is 1.5"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_fields_are_refused(change, message):
    with pytest.raises(InputError) as caught:
        Sequences(**({"values": [1.0, 2.0, 3.0], "lengths": [3]} | change))
    assert message in str(caught.value)


def test_bad_positions_are_refused():
    for which, error, message in [
        (3, IndexError, "there is no sequence 3; positions go from 0 to 2"),
        (-4, IndexError, "there is no sequence -4"),
        ([0, -9], IndexError, "there is no sequence -9"),
        ("x", InputError, "picked by position"),
        (1.0, InputError, "picked by position"),
        ([], InputError, "the selection is empty"),
        (slice(0, 0), InputError, "the selection is empty"),
        (np.array([True, False]), InputError, "the mask has 2 entries"),
        (np.zeros(3, bool), InputError, "the selection is empty"),
    ]:
        with pytest.raises(error) as caught:
            RAGGED[which]
        assert message in str(caught.value)
