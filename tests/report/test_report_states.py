"""The report's section on hidden states. Oracles: a path written by hand, the models' own answers, and the page's structure."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from tests.report import fakes

import statewise as sw
from statewise.report import states
from statewise.report.html import report_page
from statewise.report.states import States


def by_hand():
    """Two sequences, paths 0 0 1 1 1 and 2 2 0, certain but for the first step."""
    seqs = sw.Sequences.from_arrays(
        [np.array([1.0, 3.0, 10.0, 11.0, 12.0]), np.array([20.0, np.nan, 2.0])], ids=["a", "b"]
    )
    path = np.array([0, 0, 1, 1, 1, 2, 2, 0])
    probs = np.eye(3)[path]
    probs[0] = [0.5, 0.5, 0.0]
    return States(seqs, path, probs)


def test_the_stretches_are_those_of_the_path():
    table = states.stretch_table(by_hand())
    assert table.headings == ["sequence", "from", "to", "state", "steps", "mean probability"]
    assert table.rows == [
        ["a", "0", "1", "state 0", "2", "0.75"],
        ["a", "2", "4", "state 1", "3", "1.00"],
        ["b", "0", "1", "state 2", "2", "1.00"],
        ["b", "2", "2", "state 0", "1", "1.00"],
    ]


def test_the_states_in_numbers_are_weighted_by_their_probabilities():
    """State 0: steps of weight .5, 1 and 1 out of 8, values 1, 3 and 2: mean 2.2; two stretches of 3 steps in all."""
    table = states.state_table(by_hand())
    row = dict(zip(table.headings, table.rows[0], strict=True))
    assert row["share of steps"] == "31.2 %"
    assert (row["stretches"], row["mean length"]) == ("2", "1.5")
    assert float(row["mean of y"]) == pytest.approx(2.2, abs=0.051)
    assert "state 1" in states.spoken(by_hand())[1]


def test_bands_cover_each_step_once_and_only_in_its_state():
    drawn = by_hand()
    panel = states.part(drawn)["drawn"][0]
    for i, key in enumerate(("s0", "s1")):
        bands = [trace for trace in panel.traces[key] if trace.get("fill") == "toself"]
        path = drawn.path[drawn.seqs.offsets[i] : drawn.seqs.offsets[i + 1]]
        for step, state in enumerate(path):
            inside = []
            for trace in bands:
                corners = np.array([x for x in trace["x"] if x is not None]).reshape(-1, 5)
                inside += [trace["fillcolor"]] * int(((corners[:, 0] < step) & (step < corners[:, 2])).sum())
            assert inside == [f"@state-{state}"]


def test_long_paths_are_drawn_in_pieces_and_that_is_said():
    path = np.tile([0, 0, 1], 1000)
    seqs = sw.Sequences.from_arrays([path.astype(float)])
    found = states.part(States(seqs, path, np.eye(2)[path]))
    bands = [trace for trace in found["drawn"][0].traces["s0"] if trace.get("fill") == "toself"]
    assert sum(len(trace["x"]) for trace in bands) <= 6 * states.MAX_BANDS
    assert any("commonest state" in remark for remark in found["remarks"])


def test_the_stacked_probabilities_are_those_of_smooth():
    seqs = sw.datasets.load("nile")
    model = sw.HMM(states=2).fit(seqs, restarts=1)
    found = States.of(model, seqs)
    traces = states.part(found)["drawn"][-1].traces["s0"]
    np.testing.assert_allclose(np.array([trace["y"] for trace in traces]).T, model.smooth(seqs).probs, atol=1e-4)
    assert np.array_equal(found.path, model.decode(seqs).path)


def test_the_page_has_the_section_for_an_hmm_and_not_for_others(tmp_path):
    seqs = sw.datasets.load("nile")
    model = sw.HMM(states=9, emission="student-t").fit(seqs, restarts=1, max_iter=3)
    comparison = fakes.compared(seqs, [model.name, "Naive"])
    page = report_page("nile", seqs, comparison, model, model.forecast(seqs, 6), (), tmp_path)
    assert f"The states of {model.name}".replace("'", "&#39;") in page
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL).group(1))
    assert len(figures["states"]["panels"]) == 2
    assert page.count('data-figure="states"') == 2
    style = page[: page.index("</style>")]
    for name in set(re.findall(r"@(state-\d)", json.dumps(figures["states"]))):
        assert style.count(f"--{name}:") == 2  # light and dark
        assert f".swatch.{name} " in style
    other = fakes.Persistence()
    plain = report_page("nile", seqs, fakes.compared(seqs, [other.name, "Naive"]), other, None, (), tmp_path)
    assert 'data-figure="states"' not in plain


@pytest.mark.parametrize("times", [None, np.datetime64("2001-03") + np.arange(8), np.arange(8) * 0.5])
def test_edges_are_half_way_between_the_steps(times):
    x = np.arange(8) if times is None else times
    edges = states._edges(x)
    assert len(edges) == 9
    middle = (x[1:].astype("datetime64[s]") if x.dtype.kind == "M" else x[1:]) > edges[1:-1]
    assert middle.all()
    assert (edges[:-1] < x).all() and (edges[1:] > x).all()
    assert len(states._edges(x[:1])) == 2
