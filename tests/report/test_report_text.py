"""The text twins. Oracle: the comparison's own numbers, and the width of a terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests.report import fakes

from statewise.report import ranking
from statewise.report.text import aligned, comparison_table, comparison_text, report_text
from statewise.results.fit import Memory

NAMES = ["VARMA(p=2, q=1)", "Recurrent(cell='gru', hidden=32)", "Naive", "SeasonalNaive(12)"]


@pytest.fixture(scope="module")
def comparison():
    return fakes.compared(fakes.yearly(), NAMES, failed="HMM(states=4)")


def printed(comparison, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(comparison_table(comparison))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminals_table_is_never_cut(comparison, width):
    text = printed(comparison, width)
    assert "…" not in text
    for row in ranking.ranking(comparison).rows:
        for key, cell in row.cells.items():
            assert key in ("p_value", "memory") or cell in text
    assert "HMM(states=4) failed: window 1: the sequences have 5 steps" in text


def test_names_are_not_markup():
    comparison = fakes.compared(fakes.yearly(), ["[red]A[/red]", "[/]", "Naive", "SeasonalNaive(1)"])
    assert "[red]A[/red]" in printed(comparison, 120)


def test_the_plain_table_has_every_cell(comparison):
    lines = comparison_text(comparison).splitlines()
    assert re.split(r"\s{2,}", lines[0])[:3] == ["model", "log score", "difference ± SE"]
    first = next(line for line in lines if line.startswith("VARMA"))
    assert first.split()[:4] == ["VARMA(p=2,", "q=1)", "(best)", "-4.512"]
    assert "(baseline)" in next(line for line in lines if line.startswith("Naive"))
    assert "HMM(states=4) (failed)" in lines


def test_columns_have_the_digits_that_tell_models_apart(comparison):
    rows = {row.name: row for row in ranking.ranking(comparison).rows}
    best = rows["VARMA(p=2, q=1)"]
    assert best.cells["log_score"] == "-4.512"
    assert best.cells["crps"] == "12.35"
    assert best.cells["mase"] == "0.876"
    assert best.cells["difference"] == best.cells["p_value"] == "–"
    assert rows["Naive"].cells["difference"] == "0.600 ± 0.220"
    assert best.leads == {"log_score", "crps", "rmse", "mase"}
    assert best.is_best and not rows["Naive"].is_best
    assert rows["HMM(states=4)"].marks == "failed"


def test_a_memory_that_ends_says_so(comparison):
    ends = Memory(0.0, 0.0, "eigenvalues", ends_after=9)
    scores = (replace(comparison.scores[0], memory=ends), replace(comparison.scores[1], memory=None))
    rows = ranking.ranking(replace(comparison, scores=scores)).rows
    assert [row.cells["memory"] for row in rows] == ["last 9", "–"]


def test_aligned_wraps_names_and_keeps_columns():
    text = aligned(["name", "n"], [["a " * 30, "1"], ["b", "-22"]])
    lines = text.splitlines()
    assert len({line.rfind(end) for line, end in ((lines[0], "n"), (lines[2], "1"))}) == 1
    assert len(lines) == 5
    assert lines[-1].split() == ["b", "-22"]


def test_the_whole_report(comparison):
    seqs = fakes.yearly()
    model = fakes.Persistence(NAMES[0])
    text = report_text("sunspots", seqs, comparison, model, model.forecast(seqs, 3), ("a note",), Path("runs/sunspots"))
    for part in (
        "sunspots\n========",
        comparison.verdict[:40],
        "From, to: 1800 to 1919",
        "The comparison",
        "lower 80 %",
        "Ljung–Box",
        "statewise forecast runs/sunspots --steps 3",
        "- a note",
    ):
        assert part in text
    assert text.endswith("\n") and not text.endswith("\n\n")


def test_a_long_forecast_is_cut_and_says_so(comparison):
    seqs = fakes.panel()
    model = fakes.Persistence(NAMES[0])
    text = report_text("p", seqs, fakes.compared(seqs, NAMES), model, model.forecast(seqs, 50), (), Path("runs/p"))
    assert "… and 90 more rows in forecast.csv" in text


def test_without_a_forecast(comparison):
    seqs = fakes.yearly()
    text = report_text("s", seqs, comparison, fakes.Persistence(NAMES[0]), None, (), Path("runs/s"))
    assert "There is none; the notes say why." in text
