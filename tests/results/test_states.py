"""Pictures and tables of discrete states. Oracle: paths and probabilities written by hand."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise.results.states import Decoded, DiscreteStates

LENGTHS, IDS = np.array([5, 2]), ("a", "b")
PATH = np.array([0, 0, 2, 2, 0, 1, 1])
DECODED = Decoded(PATH, np.zeros(2), LENGTHS, IDS)
SMOOTHED = DiscreteStates(np.eye(3)[PATH] * 0.7 + 0.1, LENGTHS, IDS)
SEQS = sw.Sequences.from_arrays([np.arange(10.0).reshape(5, 2), np.zeros((2, 2))], columns=["one", "two"])


def test_columns_carry_the_numbers_of_the_states():
    table = SMOOTHED.to_frame()
    assert list(table.columns) == ["id", "step", "prob_0", "prob_1", "prob_2"]
    assert table.loc[2, "prob_2"] == pytest.approx(0.8)
    assert DECODED.to_frame()["state"].tolist() == PATH.tolist()


def test_a_decoded_path_is_drawn_as_bands_behind_the_values():
    """Each band covers its stretches from half a step before to half a step after, and nothing of the other state's."""
    axes = DECODED.plot(SEQS).axes
    assert len(axes) == 3
    assert [axis.get_ylabel() for axis in axes] == ["one", "two", "state"]
    for axis, values in zip(axes[:2], SEQS.values[:5].T, strict=True):
        np.testing.assert_array_equal(axis.lines[0].get_ydata(), values)
        bands = {band.get_label(): band for band in axis.collections}
        assert sorted(bands) == ["state 0", "state 2"]
        spans = {
            name: [(p.vertices[:, 0].min(), p.vertices[:, 0].max()) for p in b.get_paths()] for name, b in bands.items()
        }
        assert spans == {"state 0": [(-0.5, 1.5), (3.5, 4.5)], "state 2": [(1.5, 3.5)]}


def test_smoothed_probabilities_take_the_place_of_the_steps():
    axes = DECODED.plot(SEQS, SMOOTHED).axes
    assert axes[-1].get_ylabel() == "probability"
    assert len(axes[-1].collections) == 3
    assert axes[-1].get_ylim() == (0.0, 1.0)
    assert len(DECODED.plot().axes) == 1
    assert len(DECODED.plot(smoothed=SMOOTHED).axes[0].collections) == 3
    assert [text.get_text() for text in SMOOTHED.plot().axes[0].get_legend().get_texts()] == [
        "state 0",
        "state 1",
        "state 2",
    ]
