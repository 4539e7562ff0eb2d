"""Hand-made sequences, comparisons and a model whose every answer is known, for the tests of the report."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from statewise._core.outcome import Outcome
from statewise.models.base import Density
from statewise.results.comparison import Comparison, Score, WindowForecast
from statewise.results.fit import FitResult, Memory
from statewise.results.forecast import Forecast
from statewise.results.marginals import GaussianMarginals
from statewise.results.predicted import Predicted
from statewise.sequences.calendar import future_times
from statewise.sequences.sequences import Sequences


class Persistence(Density):
    """A random walk: the forecast of every step is the last observed value, its variance grows with the steps ahead."""

    kind: ClassVar[str] = "persistence"
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, label: str = "Persistence()") -> None:
        super().__init__()
        self._label = label
        self._parameters = {"variance": np.ones(1)}
        self.fit_result = FitResult(
            Outcome.MAX_ITER, -123.4, 50, np.array([-130.0, -123.4]), 0.5, ("a note of the fit",)
        )

    @property
    def name(self) -> str:
        return self._label

    @property
    def n_parameters(self) -> int:
        return 1

    def memory(self, data: Any = None) -> Memory:
        return Memory(0.0, 0.0, "eigenvalues", float("inf"))

    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        return np.zeros(seqs.rows)

    def predict(self, data: Sequences) -> Predicted:
        previous = np.vstack([np.full((1, data.dim), np.nan), data.values[:-1]])
        previous[data.offsets[:-1]] = np.nan
        return Predicted.gaussian(data, previous, np.where(np.isnan(previous), np.inf, 1.0))

    def forecast(
        self, data: Any, steps: int = 12, level: Any = (80, 95), inputs: Any = None, seed: int | None = 0
    ) -> Forecast:
        return persistence(data, steps, tuple(level))

    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        return Sequences.from_arrays([np.zeros(length)] * count)


def persistence(seqs: Sequences, steps: int, level: tuple[float, ...] = (80, 95), scale: float = 1.0) -> Forecast:
    """The last observed value with variance scale² · steps ahead, scaled by each column's own differences."""
    last = np.stack([_last(values) for values in seqs.arrays()])
    mean = np.repeat(last[:, None, :], steps, axis=1)
    spread = np.nanvar(np.diff(seqs.values, axis=0), axis=0) * scale**2
    variance = np.arange(1, steps + 1)[None, :, None] * np.where(spread > 0, spread, 1.0) * np.ones_like(mean)
    return Forecast(GaussianMarginals(mean, variance), level, seqs.ids, seqs.columns, future_times(seqs, steps))


def _last(values: np.ndarray) -> np.ndarray:
    return np.array([column[np.isfinite(column)][-1] for column in values.T])


def compared(
    seqs: Sequences, names: list[str], horizon: int = 6, windows: int = 3, failed: str | None = None
) -> Comparison:
    """A comparison whose scores are made up and whose forecasts are `persistence` with a spread of each model's own."""
    cuts = seqs.rolling(horizon, windows)
    forecasts = {
        name: tuple(
            _window(
                cut.index,
                cut.past[[cut.past.ids.index(i) for i in cut.future.ids]],
                cut.future,
                cut.origins,
                horizon,
                j,
            )
            for cut in cuts
        )
        for j, name in enumerate(names)
    }
    scores = [
        Score(
            name=name,
            kind="fake",
            is_baseline=j >= len(names) - 2,
            log_score=-4.5123 - 0.3 * j,
            crps=12.3456 + 2 * j,
            rmse=23.456 + 3 * j,
            mase=0.8765 + 0.1 * j,
            coverage={80: 81.25 - j, 95: 93.75 + j / 2},
            fit_seconds=3.21 * 10 ** (j / 2),
            n_parameters=7 + 100 * j,
            difference=0.3 * j,
            difference_se=0.11 * j,
            p_value=1.0 if j == 0 else 0.2 / j**3,
            memory=Memory(5.5 + j, 0.88, "eigenvalues"),
        )
        for j, name in enumerate(names)
    ]
    if failed is not None:
        nan = float("nan")
        reason = "window 1: the sequences have 5 steps, too few for 12 parameters; pass a smaller `p`"
        scores.append(
            Score(failed, "fake", False, nan, nan, nan, nan, {80: nan, 95: nan}, nan, 0, nan, nan, nan, None, reason)
        )
    verdict = f"Use {names[0]}: −4.512 nats per step over {horizon} steps ahead, 0.300 ± 0.110 better than {names[1]}."
    return Comparison(
        tuple(scores),
        forecasts,
        horizon,
        windows,
        seqs.season or 1,
        seqs.columns,
        verdict,
        ("a note of the comparison",),
    )


def _window(
    index: int, past: Sequences, future: Sequences, origins: np.ndarray, horizon: int, j: int
) -> WindowForecast:
    actual = np.full((len(future), horizon, future.dim), np.nan)
    for i, values in enumerate(future.arrays()):
        actual[i, : len(values)] = values
    score = np.where(np.isnan(actual).all(axis=2), np.nan, -4.5 - 0.3 * j)
    return WindowForecast(index, persistence(past, horizon, scale=1 + j / 3), actual, origins, score)


def yearly(steps: int = 120) -> Sequences:
    """One column, one value a year, with an eleven-year swing."""
    t = np.arange(steps)
    noise = np.random.default_rng(0).normal(size=steps)
    values = 60 + 50 * np.sin(2 * np.pi * t / 11) + 8 * noise
    times = (1800 - 1970 + t).astype("datetime64[Y]").astype("datetime64[us]")
    return Sequences(values, [steps], times=times, columns=("sunspots",))


def quarterly() -> Sequences:
    """Three columns of different sizes, quarterly."""
    rng = np.random.default_rng(1)
    steps = 160
    walks = np.cumsum(rng.normal(0.5, 1.0, size=(steps, 3)), axis=0) * [1000.0, 1.0, 0.001] + [90000.0, 0.0, 0.02]
    times = (4 * 3 * np.arange(steps) // 4 - 120).astype("datetime64[M]").astype("datetime64[us]")
    return Sequences(walks, [steps], times=times, columns=("gdp", "inflation", "unemployment rate"), season=4)


def panel() -> Sequences:
    """Three sequences of different lengths without times."""
    rng = np.random.default_rng(2)
    return Sequences.from_arrays(
        [np.cumsum(rng.normal(size=n)) for n in (40, 60, 80)], ids=["north", "south", "east"], columns=["load"]
    )


def gappy() -> Sequences:
    """Monthly values with gaps and lonely observations."""
    rng = np.random.default_rng(3)
    steps = 180
    values = 10 + np.sin(np.arange(steps) * 2 * np.pi / 12) + 0.3 * rng.normal(size=steps)
    values[20:45] = np.nan
    values[30] = 10.0
    values[rng.random(steps) < 0.1] = np.nan
    values[-1] = 10.5
    times = (np.arange(steps) + 240).astype("datetime64[M]").astype("datetime64[us]")
    return Sequences(values, [steps], times=times, columns=("co2",), season=12)
