"""What `compare` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise.results.base import Result, new_figure
from statewise.results.fit import Memory
from statewise.results.forecast import Forecast

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Score:
    """One row of the table: a model's average over all windows, sequences and columns.

    Attributes:
        name: the model's name in the table.
        kind: its kind, such as 'varma'.
        is_baseline: whether it is one of the two naive forecasts that are always there.
        log_score: predictive log density per step, in nats; higher is better.
        crps, rmse: in the data's unit; mase: relative to the in-sample seasonal naive error; lower is better.
        coverage: level in per cent -> share of actual values inside the interval, in per cent.
        fit_seconds: wall time of all fits together.
        n_parameters: free parameters.
        difference: log score of the best model minus this one's, in nats per step; 0 for the best.
        difference_se: its standard error, robust to autocorrelation (Diebold & Mariano 1995).
        p_value: two-sided, of no difference.
        memory: what the model, fitted at the last origin, says of its memory.
        failure: why the model could not be scored, or None.
    """

    name: str
    kind: str
    is_baseline: bool
    log_score: float
    crps: float
    rmse: float
    mase: float
    coverage: dict[float, float]
    fit_seconds: float
    n_parameters: int
    difference: float = 0.0
    difference_se: float = 0.0
    p_value: float = 1.0
    memory: Memory | None = None
    failure: str | None = None


@dataclass(frozen=True)
class WindowForecast:
    """One model's forecast from one origin, with what came.

    Attributes:
        window: number of the window, from 0 (oldest).
        forecast: the predictive distributions; its ids are the sequences that have a future in this window.
        actual: (N, steps, p) what was observed; NaN where missing or after the end of a sequence.
        origins: (N,) the step in each sequence at which its future starts.
        log_score: (N, steps) log density of each step given the steps before it; NaN after the end of a sequence.
    """

    window: int
    forecast: Forecast
    actual: np.ndarray
    origins: np.ndarray
    log_score: np.ndarray


@dataclass(frozen=True)
class Comparison(Result):
    """A rolling-origin comparison of models in one unit.

    Attributes:
        scores: one row a model, best log score first, models that failed last.
        forecasts: model name -> its forecasts, oldest window first.
        horizon: steps ahead in each window.
        windows: number of origins.
        season: steps in a season, as used by the seasonal naive forecast and MASE.
        columns: names of the columns.
        verdict: which model to use and by how much, in a sentence.
        notes: what a careful reader should know (a leak with ``refit=False``, failures, a guessed season).
    """

    scores: tuple[Score, ...]
    forecasts: dict[str, tuple[WindowForecast, ...]]
    horizon: int
    windows: int
    season: int
    columns: tuple[str, ...]
    verdict: str
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Score:
        """The model with the best log score."""
        return self.scores[0]

    def to_frame(self) -> pd.DataFrame:
        """One row a model."""
        import pandas as pd

        rows = []
        for score in self.scores:
            row = {
                "model": score.name,
                "log_score": score.log_score,
                "crps": score.crps,
                "rmse": score.rmse,
                "mase": score.mase,
            }
            row |= {f"coverage_{level:g}": share for level, share in score.coverage.items()}
            row |= {
                "fit_seconds": score.fit_seconds,
                "parameters": score.n_parameters,
                "difference": score.difference,
                "difference_se": score.difference_se,
                "p_value": score.p_value,
                "half_life": np.nan if score.memory is None else score.memory.half_life,
                "failure": score.failure,
            }
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(self) -> Figure:
        """Log score per step of each model, with the standard error of its distance from the best."""
        figure, axes = new_figure(1)
        shown = [score for score in self.scores if score.failure is None][::-1]
        axes[0].errorbar(
            [score.log_score for score in shown],
            range(len(shown)),
            xerr=[score.difference_se for score in shown],
            fmt="o",
        )
        axes[0].set_yticks(range(len(shown)), [score.name for score in shown])
        axes[0].set_xlabel("log score per step (nats)")
        return figure

    def __str__(self) -> str:
        table = self.to_frame().drop(columns=["failure", "p_value"])
        return table.to_string(index=False, float_format=lambda value: f"{value:.4g}") + f"\n\n{self.verdict}"
