"""Figures and their text twins. Oracle: plotly's own validation of every trace and layout; properties of what is drawn."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from tests.report import fakes

from statewise.report import figures, pieces, residuals, series, twins
from statewise.sequences.sequences import Sequences

NAMES = ["A()", "B()", "Naive", "SeasonalNaive(1)"]
DATA = {"yearly": fakes.yearly, "quarterly": fakes.quarterly, "panel": fakes.panel, "gappy": fakes.gappy}


def every_panel(seqs: Sequences, horizon: int = 6) -> list[figures.Panel]:
    comparison = fakes.compared(seqs, NAMES, horizon=horizon)
    tested = list(pieces.backtest_pieces(seqs, comparison).values())
    future = pieces.future_pieces(seqs, fakes.persistence(seqs, horizon))
    left = fakes.Persistence().predict(seqs).residuals
    checks = [residuals.check_residuals(name, left[:, k], seqs.lengths) for k, name in enumerate(seqs.columns)]
    rows = figures.residual_panels(seqs, left, [check for check in checks if check is not None])
    return [
        *figures.data_panels(seqs),
        *figures.backtest_panels(seqs, tested, [0], 20),
        *figures.future_panels(seqs, future, [0]),
        *(panel for row in rows for panel in row),
    ]


def painted(value: Any) -> Any:
    """The figure with every colour token replaced by a colour, so that plotly can judge the rest."""
    return json.loads(re.sub(r'"@[a-z0-9-]+"', '"#123456"', json.dumps(value, allow_nan=False)))


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("horizon", [1, 6])
def test_plotly_accepts_every_figure(name, horizon):
    for panel in every_panel(DATA[name](), horizon):
        for traces in panel.traces.values():
            assert traces
            go.Figure(painted(traces), painted(panel.layout))


def test_plotly_judges_these_figures():
    """The validation above can fail."""
    with pytest.raises(ValueError, match="line"):
        go.Figure([{"type": "scatter", "line": {"no-such-thing": 1}}])


def test_every_colour_is_in_the_style_sheet():
    from importlib import resources

    css = resources.files("statewise.report").joinpath("page", "page.css").read_text(encoding="utf-8")
    used = set(re.findall(r'"@([a-z0-9-]+)"', json.dumps([[p.traces, p.layout] for p in every_panel(fakes.panel())])))
    assert used >= {"ink", "forecast", "band", "series-1"}
    for name in used:
        assert css.count(f"--{name}:") == 2, f"{name} needs a light and a dark value"


def test_a_band_encloses_its_interval():
    seqs = fakes.yearly()
    forecast = fakes.persistence(seqs, 5, level=(80,))
    (panel,) = figures.future_panels(seqs, pieces.future_pieces(seqs, forecast), [0])
    band, mean = panel.traces["s0"][:2]
    lower, upper = forecast.interval(80)
    np.testing.assert_allclose(band["y"], np.r_[lower[0, :, 0], upper[0, ::-1, 0]], atol=1e-2)
    np.testing.assert_allclose(mean["y"], forecast.mean[0, :, 0], atol=1e-2)
    assert mean["x"][0] == "1920-01-01"


def test_one_step_ahead_is_a_bar_not_an_empty_area():
    seqs = fakes.yearly()
    (panel,) = figures.future_panels(seqs, pieces.future_pieces(seqs, fakes.persistence(seqs, 1)), [0])
    bar = panel.traces["s0"][0]
    assert "fill" not in bar
    assert len(bar["x"]) == 2 and bar["y"][0] < bar["y"][1]


def test_a_window_at_the_end_of_a_sequence_is_cut():
    """Only steps that exist have an actual value: a sequence that ends inside a window gets a shorter fan."""
    times = np.array([1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6], dtype=float)
    seqs = Sequences(np.arange(14.0) ** 1.5, [8, 6], times=times)
    comparison = fakes.compared(seqs, NAMES, horizon=4, windows=1)
    found = pieces.backtest_pieces(seqs, comparison)["A()"]
    assert [(piece.index, piece.origin, piece.steps) for piece in found] == [(0, 4, 4), (1, 4, 2)]
    np.testing.assert_array_equal(found[1].x, [5.0, 6.0])
    np.testing.assert_array_equal(found[1].actual[:, 0], seqs.arrays()[1][4:, 0])


@pytest.mark.parametrize("size", [10, 3000, 3001, 50_000])
def test_thinning_keeps_ends_extremes_and_gaps(size):
    values = np.random.default_rng(0).normal(size=size)
    values[size // 3] = 99.0
    values[size // 2] = -99.0
    values[2 * size // 3 : 2 * size // 3 + 2] = np.nan
    kept = series.thinned(values)
    assert kept[0] == 0 and kept[-1] == size - 1
    assert {size // 3, size // 2} <= set(kept.tolist())
    assert np.isnan(values[kept]).any()
    assert len(kept) <= 1.5 * series.MAX_POINTS + 2
    assert (np.diff(kept) > 0).all()


def test_dots_are_thinned_evenly():
    values = np.random.default_rng(0).normal(size=30_000)
    kept = series.scattered(values)
    assert np.abs(values).argmax() in kept
    assert len(kept) <= 1.05 * series.MAX_POINTS
    assert abs(np.abs(values[kept]).mean() - np.abs(values).mean()) < 0.2


def test_lonely_observations_are_dots():
    seqs = fakes.gappy()
    (panel,) = figures.data_panels(seqs)
    line, dots = panel.traces[""]
    alone = series.isolated(seqs.values[:, 0])
    assert alone[30] and not alone[0]
    assert line["mode"] == "lines" and dots["mode"] == "markers"
    assert len(dots["x"]) == alone.sum()


def test_label_text_leaves_nothing_for_plotly_to_read():
    hostile = "<a href='x'>%{y} $x^2$</a>&<b>"
    text = figures.label_text(hostile)
    assert not set("<>%{$") & set(text)
    assert html.unescape(text) == hostile


def test_twins_have_the_numbers():
    seqs = fakes.panel()
    forecast = fakes.persistence(seqs, 2)
    table = twins.future_table(seqs, pieces.future_pieces(seqs, forecast), [0, 1, 2])
    assert table.headings == [
        "sequence",
        "step",
        "column",
        "mean",
        "lower 80 %",
        "upper 80 %",
        "lower 95 %",
        "upper 95 %",
    ]
    assert [row[:3] for row in table.rows[:3]] == [
        ["north", "40", "load"],
        ["north", "41", "load"],
        ["south", "60", "load"],
    ]
    shown = np.array([[float(cell) for cell in row[3:]] for row in table.rows])
    expected = np.stack(
        [array.reshape(-1) for array in (forecast.mean, *forecast.interval(80), *forecast.interval(95))], axis=1
    )
    np.testing.assert_allclose(shown, expected, atol=0.0006)


def test_the_backtest_twin_starts_with_the_first_window():
    seqs = fakes.quarterly()
    comparison = fakes.compared(seqs, NAMES, horizon=4, windows=2)
    found = pieces.backtest_pieces(seqs, comparison)
    table = twins.backtest_table(seqs, found["A()"], "A()", [0])
    assert table.headings[:5] == ["window", "date", "column", "actual", "mean"]
    assert [row[:3] for row in table.rows[:4]] == [
        ["1", "1998-01", "gdp"],
        ["1", "1998-01", "inflation"],
        ["1", "1998-01", "unemployment rate"],
        ["1", "1998-04", "gdp"],
    ]
    assert float(table.rows[0][3]) == pytest.approx(seqs.values[-8, 0], abs=0.6)
    assert len(table.rows) == 2 * 4 * 3


def test_long_data_become_stretches():
    seqs = Sequences(np.arange(1000.0), [1000])
    table = twins.data_table(seqs)
    assert len(table.rows) == twins.STRETCHES
    assert table.rows[0] == ["0 to 24", "y", "25", "12.0", "0.0", "24.0"]


def test_a_long_twin_says_what_it_leaves_out():
    seqs = fakes.yearly()
    table = twins.future_table(seqs, pieces.future_pieces(seqs, fakes.persistence(seqs, 500)), [0])
    assert len(table.rows) == twins.MAX_ROWS
    assert table.note == "The first 300 of 500 rows."
