"""The text twin of each figure: a table that says in numbers what the figure shows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from statewise.report import series
from statewise.report.numbers import count, decimals, fixed, p_value, percent
from statewise.report.pieces import Piece
from statewise.report.residuals import ResidualChecks
from statewise.sequences.sequences import Sequences

MAX_ROWS = 300
STRETCHES = 40


@dataclass(frozen=True)
class Table:
    """Headings, rows of text, and a note on what was left out. `texts` leading columns are words, the rest numbers."""

    caption: str
    headings: list[str]
    rows: list[list[str]]
    texts: int = 1
    note: str = ""


def data_table(seqs: Sequences) -> Table:
    """The drawn values, step by step; for long data the mean, lowest and highest of equal stretches."""
    drawn = seqs[: series.MAX_SEQUENCES]
    dim = min(seqs.dim, series.MAX_COLUMNS)
    if drawn.rows > MAX_ROWS:
        return _stretches(drawn, drawn.values[:, :dim], list(seqs.columns[:dim]), "The data in stretches")
    places = [decimals(seqs.values[:, k]) for k in range(dim)]
    rows = []
    for i, values in enumerate(drawn.arrays()):
        for when, entries in zip(series.texts(seqs, series.axis(drawn, i)), values[:, :dim], strict=True):
            rows.append(named(seqs, i) + [when] + [fixed(float(v), d) for v, d in zip(entries, places, strict=True)])
    return Table(
        "The data", [*id_heading(seqs), series.axis_name(seqs), *seqs.columns[:dim]], rows, 1 + len(id_heading(seqs))
    )


def residual_table(seqs: Sequences, residuals: np.ndarray, checks: list[ResidualChecks]) -> Table:
    """Mean, lowest and highest residual of equal stretches."""
    drawn = seqs[: series.MAX_SEQUENCES]
    kept = [seqs.columns.index(check.column) for check in checks]
    names = [check.column for check in checks]
    return _stretches(drawn, residuals[: drawn.rows, kept], names, "Standardised residuals in stretches", 10, 2)


def _stretches(
    drawn: Sequences,
    values: np.ndarray,
    columns: list[str],
    caption: str,
    pieces: int = STRETCHES,
    places: int | None = None,
) -> Table:
    rows = []
    each = max(2, pieces // len(drawn))
    for i in range(len(drawn)):
        start, stop = drawn.offsets[i], drawn.offsets[i + 1]
        when = series.texts(drawn, series.axis(drawn, i))
        edges = np.unique(np.linspace(0, stop - start, each + 1).astype(int))
        for a, b in itertools.pairwise(edges):
            for k, column in enumerate(columns):
                part = values[start + a : start + b, k]
                digits = decimals(values[:, k]) if places is None else places
                span = when[a] if b == a + 1 else f"{when[a]} to {when[b - 1]}"
                rows.append([*named(drawn, i), span, column, *_extent(part, digits)])
    head = [*id_heading(drawn), series.axis_name(drawn), "column", "values", "mean", "lowest", "highest"]
    return Table(caption, head, rows, 2 + len(id_heading(drawn)))


def _extent(part: np.ndarray, digits: int) -> list[str]:
    known = part[np.isfinite(part)]
    ends = (known.mean(), known.min(), known.max()) if known.size else (np.nan,) * 3
    return [f"{known.size}", *(fixed(float(value), digits) for value in ends)]


def backtest_table(seqs: Sequences, pieces: list[Piece], name: str, sequences: list[int]) -> Table:
    """Each window's forecasts of one model with the actual values."""
    drawn = [piece for piece in pieces if piece.index in sequences]
    rows = [
        [f"{(piece.window or 0) + 1}", *row]
        for piece in sorted(drawn, key=lambda piece: piece.index)
        for row in _piece_rows(seqs, piece)
    ]
    head = ["window", *id_heading(seqs), series.axis_name(seqs), "column", "actual", "mean", *_interval_heads(pieces)]
    return capped(Table(f"Forecasts of {name} and the actual values", head, rows, 3 + len(id_heading(seqs))))


def future_table(seqs: Sequences, pieces: list[Piece], sequences: list[int]) -> Table:
    """The forecast beyond the data."""
    rows = [row for piece in pieces if piece.index in sequences for row in _piece_rows(seqs, piece)]
    head = [*id_heading(seqs), series.axis_name(seqs), "column", "mean", *_interval_heads(pieces)]
    return capped(Table("The forecast beyond the data", head, rows, 2 + len(id_heading(seqs))))


def _piece_rows(seqs: Sequences, piece: Piece) -> list[list[str]]:
    """Place, actual value where there is one, mean and interval ends, for each step and drawn column."""
    came = [] if piece.actual is None else [piece.actual]
    arrays = [*came, piece.mean, *(end for pair in piece.ends.values() for end in pair)]
    places = [decimals(seqs.values[:, k]) for k in range(min(seqs.dim, series.MAX_COLUMNS))]
    return [
        [*named(seqs, piece.index), when, seqs.columns[k], *(fixed(float(array[h, k]), digits) for array in arrays)]
        for h, when in enumerate(series.texts(seqs, piece.x))
        for k, digits in enumerate(places)
    ]


def check_table(checks: list[ResidualChecks]) -> Table:
    """The tests' numbers, one row a column."""
    head = [
        "column",
        "residuals",
        "mean",
        "sd",
        "outside ±1.96",
        "Ljung–Box Q",
        "lags",
        "p",
        "skewness",
        "excess kurtosis",
        "Jarque–Bera p",
    ]
    rows = [
        [
            check.column,
            f"{check.n}",
            fixed(check.mean, 2),
            fixed(check.sd, 2),
            f"{percent(100 * check.outside)} %",
            fixed(check.portmanteau, 1),
            f"{check.portmanteau_lags}",
            _p(check.portmanteau_p),
            fixed(check.skewness, 2),
            fixed(check.excess_kurtosis, 2),
            _p(check.normality_p),
        ]
        for check in checks
    ]
    return Table("The residual checks in numbers", head, rows)


def correlation_table(checks: list[ResidualChecks]) -> Table:
    """Autocorrelations by lag, one column a column; those outside the bounds are starred."""
    longest = max((len(check.autocorrelation) for check in checks), default=0)
    rows = [[f"{lag}", *(_starred(check, lag) for check in checks)] for lag in range(1, longest + 1)]
    bounds = ", ".join(f"±{check.bound:.3f}" for check in checks)
    return Table(
        "Autocorrelation by lag",
        ["lag", *(check.column for check in checks)],
        rows,
        note=f"* outside the bounds {bounds}",
    )


def quantile_table(checks: list[ResidualChecks]) -> Table:
    """A few quantiles of the residuals beside those of the normal law."""
    shares = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    normal = ("-2.33", "-1.64", "-0.67", "0.00", "0.67", "1.64", "2.33")
    rows = [
        [f"{100 * share:g} %", expected, *(fixed(float(np.quantile(check.quantiles, share)), 2) for check in checks)]
        for share, expected in zip(shares, normal, strict=True)
    ]
    return Table("Quantiles", ["quantile", "normal law", *(check.column for check in checks)], rows)


def _p(value: float) -> str:
    return p_value(value).removeprefix("p ").removeprefix("= ")


def _starred(check: ResidualChecks, lag: int) -> str:
    if lag > len(check.autocorrelation):
        return ""
    value = float(check.autocorrelation[lag - 1])
    return fixed(value, 3) + ("*" if abs(value) > check.bound else "")


def _interval_heads(pieces: list[Piece]) -> list[str]:
    levels = pieces[0].ends if pieces else {}
    return [f"{end} {level:g} %" for level in levels for end in ("lower", "upper")]


def id_heading(seqs: Sequences) -> list[str]:
    return ["sequence"] if len(seqs) > 1 else []


def named(seqs: Sequences, index: int) -> list[str]:
    return [str(seqs.ids[index])] if len(seqs) > 1 else []


def capped(table: Table) -> Table:
    if len(table.rows) <= MAX_ROWS:
        return table
    note = f"The first {MAX_ROWS} of {count(len(table.rows), 'row')}."
    return Table(table.caption, table.headings, table.rows[:MAX_ROWS], table.texts, note)
