"""The models that are tried where the user names none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from statewise._core import checks
from statewise.models.base import Density
from statewise.sequences.sequences import Sequences

NAMES = ("varma", "structural", "arima", "hmm", "gru", "lstm", "rnn")
DEFAULT = ("varma", "structural", "hmm", "gru")
_MAX_ORDER = 12
_MOST_COLUMNS = (
    6  # for the default VARMA(2, 1): with more its 3 k² coefficients take minutes at every origin, and AIC rejects them
)


def candidates(past: Sequences, season: int | None = None, names: Sequence[str] | None = None) -> list[Density]:
    """Unfitted models for the data.

    Args:
        past: the sequences *before the first origin* of the backtest: orders are chosen from them, so later steps must not be there.
        season: steps in a season; default the sequences' own.
        names: any of 'varma' (an autoregression whose order AIC chooses and, up to six columns, VARMA(2, 1)),
            'structural', 'arima' (the airline model (0, 1, 1)(0, 1, 1) with a season, and else (1, 1, 1)), 'hmm', 'gru', 'lstm', 'rnn'.
    """
    rule = checks.Choice(NAMES)
    chosen = [rule.check("models", name) for name in (DEFAULT if names is None else names)]
    period = past.season if season is None else season
    return [model for name in dict.fromkeys(chosen) for model in _models(name, past, period)]


def _models(name: str, past: Sequences, season: int | None) -> list[Density]:
    if name == "varma":
        from statewise.models.varma import VARMA

        mixed = [VARMA(p=2, q=1)] if past.dim <= _MOST_COLUMNS else []
        return [VARMA(p=autoregressive_order(past)), *mixed]
    if name == "structural":
        from statewise.models.structural import Structural

        return [Structural(trend=True, seasonal=season if season is not None and season >= 2 else None)]
    if name == "arima":
        from statewise.models.arima import ARIMA

        seasonal = season is not None and season >= 2
        return [ARIMA((0, 1, 1), (0, 1, 1), period=season)] if seasonal else [ARIMA((1, 1, 1))]
    if name == "hmm":
        from statewise.models.hmm import HMM

        return [HMM(states=4, covariance="full" if past.dim > 1 else "diag")]
    from statewise.models.recurrent import Recurrent

    return [Recurrent(cell=name, hidden=32)]


def autoregressive_order(past: Sequences, max_order: int = _MAX_ORDER) -> int:
    """The order from 1 whose least-squares autoregression has the lowest AIC, on the same rows for every order.

    Steps with a missing entry among themselves or their lags are left out.
    """
    longest = int(past.lengths.max())
    k = past.dim
    top = max(1, min(max_order, longest // (3 * k + 1) - 1))
    best, chosen = np.inf, 1
    series = past.arrays()
    for order in range(1, top + 1):
        rows = [_lagged(y, order, top) for y in series if len(y) > top]
        if not rows:
            return 1
        table = np.concatenate(rows)
        table = table[~np.isnan(table).any(axis=1)]
        Y, X = table[:, :k], np.hstack([np.ones((len(table), 1)), table[:, k:]])
        if len(table) <= X.shape[1] + k:
            break
        residuals = Y - X @ np.linalg.lstsq(X, Y, rcond=None)[0]
        sign, logdet = np.linalg.slogdet(residuals.T @ residuals / len(table))
        aic = len(table) * logdet + 2 * k * k * order if sign > 0 else np.inf
        if aic < best:
            best, chosen = aic, order
    return chosen


def _lagged(y: np.ndarray, order: int, skip: int) -> np.ndarray:
    """Rows [y[t], y[t−1], …, y[t−order]] for t ≥ skip."""
    return np.hstack([y[skip - lag : len(y) - lag] for lag in range(order + 1)])
