"""The report of a comparison: one HTML file that opens without a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from statewise._core.files import write_atomically
from statewise.models.base import Density
from statewise.report import facts, figures, pieces, ranking, residuals, series, states, twins
from statewise.report.figures import Panel
from statewise.report.numbers import count, typographic
from statewise.report.pieces import Piece
from statewise.report.rendering import as_script, render
from statewise.results.comparison import Comparison
from statewise.results.forecast import Forecast
from statewise.sequences.sequences import Sequences

MAX_CHOICES = 8
MAX_NUMBERS = 150_000


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    seqs: Sequences,
    comparison: Comparison,
    model: Density,
    forecast: Forecast | None,
    notes: tuple[str, ...] = (),
) -> Path:
    """Write the report of a comparison to the HTML file `path` and return its path.

    Args:
        path: the file; an existing one is replaced.
        title: names the data in the headline.
        seqs: the data.
        comparison: what `compare` returned for them.
        model: the winner, fitted to all of the data.
        forecast: its forecast from the end of the data, or None where it cannot be made (future inputs are unknown).
        notes: sentences that a careful reader should see.

    The page says how to load the model from the folder `model` beside the file, which `write_run` puts there.
    """
    page = report_page(title, seqs, comparison, model, forecast, notes, folder=Path(path).parent)
    return write_atomically(path, page)


def report_page(
    title: str,
    seqs: Sequences,
    comparison: Comparison,
    model: Density,
    forecast: Forecast | None,
    notes: tuple[str, ...],
    folder: Path,
) -> str:
    """The page as text; `folder` is where the run can be found."""
    tested = pieces.backtest_pieces(seqs, comparison)
    backtest = _backtest(seqs, comparison, tested, model.name if model.name in tested else comparison.best.name)
    future = _future(seqs, forecast)
    data = _data(seqs)
    left_over = _residuals(seqs, comparison, model)
    steps = comparison.horizon if forecast is None else forecast.steps
    drawings = {"data": data, "backtest": backtest, "future": future, "residuals": left_over}
    hidden = _states(seqs, model)
    if hidden is not None:
        drawings["states"] = hidden
    versions = facts.versions()
    return render(
        "page.html",
        ("page.js",),
        title=title,
        verdict=comparison.verdict,
        facts=facts.facts(seqs, comparison, model),
        data=data,
        ranking=_ranking(comparison),
        backtest=backtest,
        future=future,
        states=hidden,
        residuals=left_over,
        model=model.name,
        summary=model.summary().split("\n"),
        python=facts.python_lines(folder, steps, driven=forecast is None),
        shell=facts.shell_line(folder, steps, driven=forecast is None),
        notes=facts.all_notes(comparison, model, notes),
        version=versions["statewise"],
        footer=" · ".join([*(f"{name} {version}" for name, version in versions.items()), f"written {facts.now()}"]),
        figures=as_script(
            {
                name: {
                    "panels": [{"traces": panel.traces, "layout": panel.layout} for panel in part["drawn"]],
                    "model": part.get("first_model", ""),
                    "sequence": part.get("first_sequence", ""),
                }
                for name, part in drawings.items()
            }
        ),
    )


def _data(seqs: Sequences) -> dict[str, Any]:
    panels = figures.data_panels(seqs)
    return {
        "remarks": facts.drawn_remarks(seqs),
        "legend": _sequence_legend(seqs),
        "panels": _captioned(panels),
        "drawn": panels,
        "table": twins.data_table(seqs),
    }


def _sequence_legend(seqs: Sequences) -> list[tuple[str, str]]:
    """One entry a drawn sequence, where there are several."""
    if len(seqs) == 1:
        return []
    return [(f"series-{n + 1}", str(name)) for n, name in enumerate(seqs.ids[: series.MAX_SEQUENCES])]


def _ranking(comparison: Comparison) -> dict[str, Any]:
    table = ranking.ranking(comparison)
    return {
        "remarks": [
            f"Every model was scored on the same {count(comparison.windows, 'window')} of "
            f"{count(comparison.horizon, 'step')}; best log score first."
        ],
        "table": table,
        "sentences": ranking.spoken(table),
        "legend": ranking.LEGEND,
    }


def _backtest(seqs: Sequences, comparison: Comparison, tested: dict[str, list[Piece]], winner: str) -> dict[str, Any]:
    names = sorted(tested, key=lambda name: name != winner)
    every = [piece for found in tested.values() for piece in found]
    if not every:
        return {"remarks": ["No model could be scored, so there are no forecasts to show."], "panels": [], "drawn": []}
    drawn = pieces.drawn_sequences(seqs, every, _affordable(every, min(seqs.dim, series.MAX_COLUMNS)))
    context = max(2 * comparison.horizon, 2 * comparison.season, 20)
    panels = figures.backtest_panels(seqs, [tested[name] for name in names], drawn, context)
    windows = sorted({piece.window for piece in every if piece.window is not None})
    return {
        "remarks": _left_out(seqs, drawn),
        "panels": _captioned(panels),
        "drawn": panels,
        "models": [(f"m{j}", _named(name, comparison)) for j, name in enumerate(names)],
        "sequences": [(f"s{i}", str(seqs.ids[i])) for i in drawn],
        "windows": [("all", "all"), *((str(w), f"{w + 1} of {len(windows)}") for w in windows)],
        "legend": _fan_legend("actual", every[0]),
        "tables": [(f"m{j}", twins.backtest_table(seqs, tested[name], name, drawn)) for j, name in enumerate(names)],
        "first_model": "m0",
        "first_sequence": f"s{drawn[0]}",
    }


def _named(name: str, comparison: Comparison) -> str:
    """A model's name with its mark, for the list of choices."""
    score = next(score for score in comparison.scores if score.name == name)
    mark = "best" if score is comparison.best else "baseline" if score.is_baseline else ""
    return f"{name} ({mark})" if mark else name


def _future(seqs: Sequences, forecast: Forecast | None) -> dict[str, Any]:
    if forecast is None:
        return {"remarks": ["There is no forecast beyond the data; the notes say why."], "panels": [], "drawn": []}
    found = pieces.future_pieces(seqs, forecast)
    drawn = pieces.drawn_sequences(seqs, found, MAX_CHOICES)
    panels = figures.future_panels(seqs, found, drawn)
    return {
        "remarks": _left_out(seqs, drawn),
        "panels": _captioned(panels),
        "drawn": panels,
        "sequences": [(f"s{i}", str(seqs.ids[i])) for i in drawn],
        "legend": _fan_legend("the data", found[0]),
        "table": twins.future_table(seqs, found, drawn),
        "first_sequence": f"s{drawn[0]}",
    }


def _residuals(seqs: Sequences, comparison: Comparison, model: Density) -> dict[str, Any]:
    left = model.predict(seqs).residuals
    names = seqs.columns[: series.MAX_COLUMNS]
    found = [
        residuals.check_residuals(name, left[:, k], seqs.lengths, comparison.season) for k, name in enumerate(names)
    ]
    checks = [check for check in found if check is not None]
    skipped = [name for name, check in zip(names, found, strict=True) if check is None]
    remarks = ["One-step-ahead residuals, standardised: independent standard normal numbers if the model is right."]
    if skipped:
        remarks.append(f"Too few residuals to check, or all the same: {', '.join(skipped)}.")
    rows = figures.residual_panels(seqs, left, checks)
    drawn = [panel for row in rows for panel in row]
    columns = [
        {"name": check.column, "panels": _captioned(row, list(check.sentences.values()), 3 * n)}
        for n, (check, row) in enumerate(zip(checks, rows, strict=True))
    ]
    tables = [
        twins.check_table(checks),
        twins.residual_table(seqs, left, checks),
        twins.correlation_table(checks),
        twins.quantile_table(checks),
    ]
    legend = [("bound", "95 % bounds ±1.96 and ±1.96/√n; the line of the normal law"), *_sequence_legend(seqs)]
    return {
        "remarks": remarks,
        "legend": legend if checks else [],
        "columns": columns,
        "named": seqs.dim > 1 or seqs.columns != ("y",),
        "drawn": drawn,
        "tables": tables if checks else [],
    }


def _states(seqs: Sequences, model: Density) -> dict[str, Any] | None:
    found = states.States.of(model, seqs)
    if found is None:
        return None
    shown = states.part(found)
    return shown | {"panels": _captioned(shown["drawn"])}


def _captioned(panels: list[Panel], readings: list[str] | None = None, first: int = 0) -> list[dict[str, Any]]:
    """What the template needs of each panel."""
    said = readings or [""] * len(panels)
    return [
        {
            "heading": panel.heading,
            "label": panel.label,
            "named": panel.heading != "y",
            "reading": text,
            "place": first + n,
        }
        for n, (panel, text) in enumerate(zip(panels, said, strict=True))
    ]


def _fan_legend(line: str, piece: Piece) -> list[tuple[str, str]]:
    levels = sorted(piece.ends)
    bands = [
        ("band" if level == levels[-1] else "band-inner", typographic(f"{level:g} % interval")) for level in levels
    ]
    return [("line", line), ("forecast", "forecast (mean)"), *bands]


def _left_out(seqs: Sequences, drawn: list[int]) -> list[str]:
    return [f"{len(drawn)} of {len(seqs):,} sequences can be chosen here."] if len(drawn) < len(seqs) else []


def _affordable(every: list[Piece], dim: int) -> int:
    """How many sequences can be drawn before the page grows by more than `MAX_NUMBERS` numbers."""
    each: dict[int, int] = {}
    for piece in every:
        each[piece.index] = each.get(piece.index, 0) + piece.steps * dim * (2 + 4 * len(piece.ends))
    return max(1, min(MAX_CHOICES, MAX_NUMBERS // max(each.values())))
