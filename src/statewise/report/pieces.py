"""Forecasts cut into pieces, one a sequence and origin, with their intervals worked out once for all uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise.report import series
from statewise.results.comparison import Comparison, WindowForecast
from statewise.results.forecast import Forecast
from statewise.sequences.sequences import Sequences


@dataclass(frozen=True)
class Piece:
    """One sequence's forecast from one origin; `steps` of them have an actual step, or all where nothing came yet.

    Attributes:
        index: position of the sequence.
        window: number of the window from 0, or None beyond the data.
        origin: the step of the sequence at which the piece starts.
        x: (steps,) times, or step numbers where there are none.
        mean: (steps, p).
        ends: level in per cent -> (lower, upper), each (steps, p).
        actual: (steps, p) the actual values, or None beyond the data.
    """

    index: int
    window: int | None
    origin: int
    x: np.ndarray
    mean: np.ndarray
    ends: dict[float, tuple[np.ndarray, np.ndarray]]
    actual: np.ndarray | None

    @property
    def steps(self) -> int:
        return len(self.x)


def future_pieces(seqs: Sequences, forecast: Forecast) -> list[Piece]:
    """The forecast beyond the data, one piece a sequence."""
    return _cut(seqs, forecast, None, seqs.lengths[_rows(seqs, forecast)], None)


def backtest_pieces(seqs: Sequences, comparison: Comparison) -> dict[str, list[Piece]]:
    """Model name -> its pieces, oldest window first; models that failed have none."""
    failed = {score.name for score in comparison.scores if score.failure is not None}
    names = [score.name for score in comparison.scores if score.name not in failed]
    return {name: [piece for window in comparison.forecasts[name] for piece in _window(seqs, window)] for name in names}


def _window(seqs: Sequences, window: WindowForecast) -> list[Piece]:
    return _cut(seqs, window.forecast, window.window, window.origins, window.actual)


def _cut(
    seqs: Sequences, forecast: Forecast, number: int | None, origins: np.ndarray, actual: np.ndarray | None
) -> list[Piece]:
    mean = forecast.mean
    ends = {level: forecast.interval(level) for level in forecast.level}
    pieces = []
    for row, index in enumerate(_rows(seqs, forecast)):
        origin, steps = int(origins[row]), forecast.steps
        if actual is not None:
            steps = min(steps, int(seqs.lengths[index]) - origin)
        x = np.arange(origin, origin + steps) if forecast.times is None else forecast.times[row, :steps]
        pieces.append(
            Piece(
                index=index,
                window=number,
                origin=origin,
                x=x,
                mean=mean[row, :steps],
                ends={level: (lower[row, :steps], upper[row, :steps]) for level, (lower, upper) in ends.items()},
                actual=None if actual is None else actual[row, :steps],
            )
        )
    return pieces


def _rows(seqs: Sequences, forecast: Forecast) -> list[int]:
    """The position in `seqs` of each of the forecast's sequences."""
    where = {name: position for position, name in enumerate(seqs.ids)}
    return [where[name] for name in forecast.ids]


def drawn_sequences(seqs: Sequences, pieces: list[Piece], limit: int) -> list[int]:
    """Positions of the first sequences that have a piece, at most `limit`."""
    return sorted({piece.index for piece in pieces})[:limit]


def before(seqs: Sequences, pieces: list[Piece], index: int, context: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, values) of one sequence from `context` steps before its first piece to its end."""
    first = min((piece.origin for piece in pieces if piece.index == index), default=int(seqs.lengths[index]))
    start = max(0, first - context)
    return series.axis(seqs, index)[start:], seqs.arrays()[index][start:]
