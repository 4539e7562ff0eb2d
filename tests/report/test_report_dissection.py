"""The report of a dissection. Oracles: the HTML parser's view of the page, the diagnostics' own numbers, invariance under hostile names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys

import numpy as np
import pytest
import torch
from tests.dissection.networks import forgetful, inputs, linear, positive
from tests.report.test_report_html import HOSTILE, Page

import statewise as sw
from statewise.dissection import registry
from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.panels import Band, Heatmap, Histogram, Line, Panel, Points, Rule
from statewise.report import panels
from statewise.report.dissection import dissection_page


@pytest.fixture(scope="module")
def dissections():
    return sw.dissect(forgetful(), inputs(), needs=40), sw.dissect(linear(0.9), positive(), needs=40)


@pytest.fixture(scope="module")
def alone(dissections):
    return Page(dissection_page(dissections[0]))


@pytest.fixture(scope="module")
def both(dissections):
    return Page(dissection_page(*dissections))


def test_the_pages_are_well_formed(alone, both):
    for page in (alone, both):
        assert page.open == []
        ids = [value for _, name, value in page.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        referred = [value for _, name, value in page.attributes if name == "aria-labelledby"]
        assert referred and set(referred) <= set(ids)


def test_nothing_is_loaded_and_only_our_scripts_run(alone):
    links = [value for _, name, value in alone.attributes if name in ("src", "href", "srcset", "data", "action")]
    assert [link for link in links if not link.startswith(("data:", "#"))] == []
    policy = next(value for _, name, value in alone.attributes if name == "content" and "script-src" in value)
    assert "default-src 'none'" in policy
    executable = [text for attrs, text in alone.scripts if attrs.get("type") != "application/json"]
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in executable}
    sources = re.search("script-src ([^;]*)", policy)
    assert sources is not None
    assert {f"'sha256-{digest}'" for digest in digests} == set(sources[1].split())


def test_verdict_trouble_and_remedies_are_on_top(dissections, alone):
    text = alone.text
    d = dissections[0]
    assert text.index("suggested: chrono") < text.index("Gradient flow")
    for finding in d.findings:
        assert finding.text in text
    for suggestion in d.suggestions:
        assert suggestion.text in text
    assert "sw.dissection.apply(d.suggestions[1], model)" in text


def test_every_analysis_has_a_section(dissections, alone):
    headings = {value for _, name, value in alone.attributes if name == "id"}
    told_elsewhere = {"gradient_half_life"}
    assert {f"h-{name}" for name in registry.names()} - headings == {f"h-{name}" for name in told_elsewhere}
    for each in dissections[0]:
        assert " ".join(each.meaning.replace("-", "−").split())[:20] in alone.text.replace("-", "−")


def test_a_new_analysis_shows_unasked(dissections, monkeypatch):
    """A line in the registry and a diagnostic are enough."""
    made = Diagnostic(
        "planted",
        np.array([1.5]),
        None,
        Status.NOT_CONVERGED,
        "it was planted",
        "A planted meaning.",
        "Nobody 1900",
        panels=(Panel("Planted panel", "here", "there", (Line(np.arange(3), np.arange(3.0), "a line"),)),),
    )
    monkeypatch.setattr(
        sys.modules["statewise.dissection.gradient_flow"], "planted", lambda subject: made, raising=False
    )
    monkeypatch.setitem(registry._FILES, "planted", ("gradient_flow", "A planted title", False))
    page = Page(dissection_page(dissections[0]))
    del dissections[0]._found["planted"]
    for words in (
        "A planted title",
        "A planted meaning.",
        "it was planted",
        "Nobody 1900",
        "Planted panel",
        "a line",
        "1.500",
    ):
        assert words in page.text
    assert page.figures["planted"]["panels"][0]["traces"][""][0]["y"] == [0.0, 1.0, 2.0]


def test_the_matrix_and_the_curves_have_the_diagnostics_numbers(dissections, alone):
    flow = dissections[0].gradient_flow
    matrix, curves = alone.figures["gradient_flow"]["panels"]
    z = np.array(matrix["traces"][""][0]["z"], dtype=float)
    np.testing.assert_allclose(z, np.log10(flow.value), rtol=1e-3, atol=1e-3)
    drawn = np.array(curves["traces"][""][1]["y"], dtype=float)
    known = ~np.isnan(drawn)
    np.testing.assert_allclose(drawn[known], flow.data["curve"][known], rtol=1e-3)
    assert len(curves["traces"][""]) == 4  # band, mean, fit, λ₁
    rate = np.array(curves["traces"][""][3]["y"], dtype=float)
    known = ~np.isnan(rate)
    slope = np.diff(np.log(rate[known]))
    np.testing.assert_allclose(slope, dissections[0].lyapunov.value[0], rtol=2e-2)


def test_a_row_can_be_selected_and_is_that_rows_curve(dissections, alone):
    options = [value for tag, name, value in alone.attributes if tag == "option" and name == "value"]
    assert {"all", "r30"} <= set(options)
    matrix, curves = alone.figures["gradient_flow"]["panels"]
    (row,) = curves["traces"]["r30"]
    G = dissections[0].gradient_flow.value
    expected = G[30, 30::-1] / G[30, 30]
    got = np.array(row["y"], dtype=float)
    np.testing.assert_allclose(got[~np.isnan(got)], expected[~np.isnan(got)], rtol=1e-3)
    assert matrix["traces"]["r30"][0]["y"][:2] == [29.5, 29.5]


def test_two_dissections_stand_side_by_side(dissections, both):
    text = both.text
    assert "A against B" in text
    lines = [row for row in both.rows if row and row[0] == "Gradient half-life"]
    assert lines[0][3] == "higher"
    assert "6.58" in lines[0][2]  # ln 2 / −ln .9
    drawn = both.figures["lyapunov"]["panels"]
    assert len(drawn) == 4
    assert drawn[0]["layout"]["yaxis"]["range"] == drawn[1]["layout"]["yaxis"]["range"]
    shades = [panel["traces"][""][0] for panel in both.figures["gradient_flow"]["panels"][:2]]
    assert shades[0]["zmin"] == shades[1]["zmin"] and shades[0]["zmax"] == shades[1]["zmax"]


def test_what_does_not_go_with_a_network_is_said(monkeypatch):
    d = sw.dissect(np.tile(0.5 * np.eye(3), (100, 1, 1)))
    page = Page(dissection_page(d))
    assert "there is no loss to follow back" in page.text
    assert page.open == []


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_change_no_structure(hostile):
    """Layers of a module are named by whoever wrote it."""

    def page(name):
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.add_module(name.replace(".", ""), forgetful(2, 4))
                self.own = next(self.children())

            def forward(self, x):
                return self.own(x)[0]

        Net.__name__ = name
        return dissection_page(sw.dissect(Net(), inputs(8, 40), needs=30, layer=name.replace(".", "")))

    text = page(hostile)
    assert Page(text).shape == Page(page("harmless".ljust(len(hostile), "x")[: len(hostile)])).shape
    blob = text[text.index('id="figures">') + len('id="figures">') :]
    assert not set("<>&\u2028\u2029") & set(blob[: blob.index("</script>")])


def test_the_file_is_written_and_named(dissections, tmp_path):
    path = dissections[0].report(tmp_path / "deep" / "d.html")
    assert path.stat().st_size < 6_000_000
    assert Page(path.read_text(encoding="utf-8")).open == []
    again = sw.dissection.compare(*dissections).report(tmp_path / "both.html")
    assert "A against B" in again.read_text(encoding="utf-8")


# --- panels -----------------------------------------------------------------------------------------------------------


def test_every_kind_of_layer_is_drawn():
    x = np.arange(4.0)
    panel = Panel(
        "all",
        "x",
        "y",
        (
            Line(x, np.array([1.0, np.nan, np.inf, 2.0]), "solid"),
            Line(x, x, "dashed", dashed=True),
            Band(x, x - 1, x + 1, "band"),
            Points(x, x, "points", error=np.ones(4), texts=("<b>", "%{x}", "c", "d")),
            Histogram(np.array([0.0, 1.0, 2.0]), np.array([3, 1]), "counts"),
            Rule(2.0, "x", "rule"),
        ),
    )
    made = panels.drawing(panel)
    assert [trace["type"] for trace in made.traces] == ["scatter"] * 5
    assert made.traces[0]["y"] == [1.0, None, None, 2.0]
    assert made.traces[2]["x"] == [0.0, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 0.0]
    assert made.traces[3]["error_y"]["array"] == [1.0] * 4
    assert made.traces[3]["text"][:2] == ["&lt;b&gt;", "&#37;&#123;x}"]
    assert made.traces[4]["y"] == [0.0, 3.0, 3.0, 1.0, 1.0, 0.0]
    assert made.shapes[0]["x0"] == made.shapes[0]["x1"] == 2.0
    assert [text for _, text in made.legend] == ["solid", "dashed", "band", "points", "counts", "rule"]
    json.dumps([made.traces, made.shapes], allow_nan=False)


def test_axes_are_as_the_panel_says():
    layout = panels.layout(Panel("t", "lag", "y", (), x_log=True, y_log=True))
    assert layout["xaxis"]["type"] == layout["yaxis"]["type"] == "log"
    assert panels.layout(Panel("t", "x", "y", (), square=True))["yaxis"]["scaleanchor"] == "x"


def test_what_a_logarithmic_axis_cannot_show_is_left_out():
    panel = Panel(
        "t", "x", "y", (Rule(0.0, "y"), Rule(np.inf, "x"), Band(np.arange(3), np.zeros(3), np.ones(3))), y_log=True
    )
    made = panels.drawing(panel)
    assert made.shapes == []
    assert made.traces[0]["y"] == []


def test_large_heat_maps_are_thinned_and_keep_their_corners():
    values = np.arange(400.0 * 300).reshape(400, 300)
    made = panels.drawing(Panel("t", "x", "y", (Heatmap(np.arange(300), np.arange(400), values),)))
    (trace,) = made.traces
    assert len(trace["z"]) == len(trace["z"][0]) == panels.MOST_CELLS
    assert trace["z"][0][0] == 0.0
    assert trace["z"][-1][-1] == pytest.approx(400 * 300 - 1, rel=1e-3)


def test_points_of_a_histogram_on_a_logarithmic_axis_stay_outlines():
    made = panels.drawing(
        Panel("t", "x", "y", (Histogram(np.array([1.0, 10.0, 100.0]), np.array([2, 5])),), x_log=True)
    )
    assert made.traces[0]["x"] == [1.0, 1.0, 10.0, 10.0, 100.0, 100.0]
