"""The report as plain text, for terminals, for people who cannot see the figures, and for the file report.txt."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from statewise.models.base import Density
from statewise.report import facts, pieces, ranking, residuals, series, states, twins
from statewise.report.numbers import count
from statewise.report.ranking import Row
from statewise.results.comparison import Comparison
from statewise.results.forecast import Forecast
from statewise.sequences.sequences import Sequences

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 100
NAME_WIDTH = 34
MAX_ROWS = 60


def comparison_table(comparison: Comparison) -> Table:
    """The comparison for a terminal: best model first and bold, baselines marked, failed models last with the reason.

    It fits 80 columns: the p values and the memories are in the plain text and in the report.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = ranking.ranking(comparison)
    kept = [key for key in table.headings if key not in ("p_value", "memory")]
    below = _failures(table.rows) or None
    shown = Table(box=SIMPLE_HEAD, show_edge=False, padding=0, caption=below, caption_justify="left")
    shown.add_column(Text("model"), overflow="fold", min_width=12, vertical="bottom")
    for key in kept:
        shown.add_column(Text(_stacked(table.headings[key])), justify="right", no_wrap=True)
    for row in table.rows:
        cells = [row.cells.get(key, "") for key in kept]
        shown.add_row(
            *map(Text, [_marked(row), *cells]), style="bold" if row.is_best else "dim" if row.failure else None
        )
    return shown


def _stacked(heading: str) -> str:
    """A heading on two lines where it has two words."""
    return "params" if heading == "parameters" else heading.replace(" ", "\n", 1)


def comparison_text(comparison: Comparison) -> str:
    """The same table in aligned columns, with the meaning of each."""
    table = ranking.ranking(comparison)
    rows = [[_marked(row), *(row.cells.get(key, "") for key in table.headings)] for row in table.rows]
    parts = [aligned(["model", *table.headings.values()], rows), _failures(table.rows), _filled(ranking.LEGEND)]
    return "\n\n".join(part for part in parts if part)


def report_text(
    title: str,
    seqs: Sequences,
    comparison: Comparison,
    model: Density,
    forecast: Forecast | None,
    notes: tuple[str, ...],
    folder: Path,
) -> str:
    """The whole report without figures."""
    steps = comparison.horizon if forecast is None else forecast.steps
    driven = forecast is None
    sections = [
        ("", _filled(comparison.verdict)),
        ("Key facts", "\n".join(_filled(f"{name}: {value}") for name, value in facts.facts(seqs, comparison, model))),
        ("The comparison", comparison_text(comparison)),
        ("The forecast beyond the data", _forecast(seqs, forecast)),
        *_states(seqs, model),
        (f"What {model.name} leaves unexplained", _residuals(seqs, comparison, model)),
        ("The model", model.summary()),
        (
            "Use it",
            "\n".join([*facts.python_lines(folder, steps, driven), "", facts.shell_line(folder, steps, driven)]),
        ),
        ("Notes", "\n".join(_filled(f"- {note}", "  ") for note in facts.all_notes(comparison, model, notes))),
    ]
    head = [title, "=" * min(len(title), WIDTH), ""]
    body = [
        line for name, text in sections for line in ([name, "-" * min(len(name), WIDTH)] if name else []) + [text, ""]
    ]
    return "\n".join(head + body).rstrip() + "\n"


def aligned(headings: list[str], rows: list[list[str]], texts: int = 1) -> str:
    """Columns of text, the first `texts` to the left and the rest to the right; long names are wrapped."""
    cells = [
        [textwrap.wrap(cell, NAME_WIDTH) or [""] if k < texts else [cell] for k, cell in enumerate(row)] for row in rows
    ]
    widths = [max([len(head), *(len(line) for row in cells for line in row[k])]) for k, head in enumerate(headings)]
    lines = [_joined(headings, widths, texts), _joined(["-" * width for width in widths], widths, texts)]
    for row in cells:
        for n in range(max(map(len, row))):
            lines.append(_joined([cell[n] if n < len(cell) else "" for cell in row], widths, texts))
    return "\n".join(lines)


def _joined(cells: list[str], widths: list[int], texts: int) -> str:
    padded = [
        cell.ljust(width) if k < texts else cell.rjust(width)
        for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _marked(row: Row) -> str:
    return f"{row.name} ({row.marks})" if row.marks else row.name


def _failures(rows: tuple[Row, ...]) -> str:
    return "\n".join(_filled(f"{row.name} failed: {row.failure}", "  ") for row in rows if row.failure is not None)


def _forecast(seqs: Sequences, forecast: Forecast | None) -> str:
    if forecast is None:
        return "There is none; the notes say why."
    found = pieces.future_pieces(seqs, forecast)
    table = twins.future_table(seqs, found, pieces.drawn_sequences(seqs, found, series.MAX_SEQUENCES))
    text = aligned(table.headings, table.rows[:MAX_ROWS], table.texts)
    left_out = len(seqs) * forecast.steps * seqs.dim - min(len(table.rows), MAX_ROWS)
    return text + (f"\n… and {count(left_out, 'more row')} in forecast.csv" if left_out else "")


def _states(seqs: Sequences, model: Density) -> list[tuple[str, str]]:
    """The section on hidden states, of a model that has some."""
    found = states.States.of(model, seqs)
    if found is None:
        return []
    return [(f"The states of {model.name}", "\n".join(_filled(line, "  ") for line in states.spoken(found)))]


def _residuals(seqs: Sequences, comparison: Comparison, model: Density) -> str:
    left = model.predict(seqs).residuals
    parts = []
    for k, name in enumerate(seqs.columns[: series.MAX_COLUMNS]):
        check = residuals.check_residuals(name, left[:, k], seqs.lengths, comparison.season)
        said = ["Too few residuals to check, or all the same."] if check is None else list(check.sentences.values())
        parts.append(_filled(f"{name}: {' '.join(said)}", "  "))
    return "\n".join(parts)


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent)
