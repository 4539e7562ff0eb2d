"""The tables of a run as CSV and JSON texts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from statewise.report import pieces
from statewise.report.numbers import plain
from statewise.results.comparison import Comparison, Score
from statewise.results.forecast import Forecast
from statewise.sequences.sequences import Sequences


def csv(frame: pd.DataFrame) -> str:
    """A frame as CSV: dates alone where all times are at midnight, numbers in full."""
    return frame.to_csv(index=False, lineterminator="\n")


def forecast_csv(forecast: Forecast) -> str:
    """One row for each sequence, step and column of the forecast beyond the data."""
    return csv(forecast.to_frame())


def comparison_csv(comparison: Comparison) -> str:
    """One row a model."""
    return csv(comparison.to_frame())


def backtest_csv(seqs: Sequences, comparison: Comparison) -> str:
    """All forecasts of the backtest beside the actual values.

    Columns: model, window, id, step, time, column, mean, the ends of the intervals, actual. `window` counts from 1,
    oldest first; `step` counts the steps ahead of the origin, from 1.
    """
    found = pieces.backtest_pieces(seqs, comparison)
    frames = [_frame(seqs, name, piece) for name, parts in found.items() for piece in parts]
    return csv(pd.concat(frames, ignore_index=True)) if frames else "model,window,id,step,column,mean,actual\n"


def _frame(seqs: Sequences, name: str, piece: pieces.Piece) -> pd.DataFrame:
    assert piece.window is not None and piece.actual is not None
    table: dict[str, Any] = {
        "model": name,
        "window": piece.window + 1,
        "id": seqs.ids[piece.index],
        "step": np.repeat(np.arange(1, piece.steps + 1), seqs.dim),
    }
    if seqs.times is not None:
        table["time"] = np.repeat(piece.x, seqs.dim)
    table["column"] = np.tile(np.array(seqs.columns, dtype=object), piece.steps)
    table["mean"] = piece.mean.reshape(-1)
    for level, (lower, upper) in piece.ends.items():
        table[f"lower_{level:g}"] = lower.reshape(-1)
        table[f"upper_{level:g}"] = upper.reshape(-1)
    table["actual"] = piece.actual.reshape(-1)
    return pd.DataFrame(table)


def comparison_json(comparison: Comparison) -> str:
    """The comparison for machines; NaN and infinities are null."""
    document = {
        "verdict": comparison.verdict,
        "best": comparison.best.name,
        "horizon": comparison.horizon,
        "windows": comparison.windows,
        "season": comparison.season,
        "columns": comparison.columns,
        "models": [_score(score) for score in comparison.scores],
        "notes": comparison.notes,
    }
    return as_json(document)


def as_json(document: Any) -> str:
    """A document as readable JSON that ends in a line end."""
    return json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _score(score: Score) -> dict[str, Any]:
    memory = None if score.memory is None else vars(score.memory) | {"text": str(score.memory)}
    coverage = {f"{level:g}": share for level, share in score.coverage.items()}
    return vars(score) | {"coverage": coverage, "memory": memory}
