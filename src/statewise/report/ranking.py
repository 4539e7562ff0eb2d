"""The comparison's table as text cells: the one source of the page's table, the terminal's and the plain one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from statewise.report.numbers import ABSENT, decimals, fixed, number, p_value, percent
from statewise.results.comparison import Comparison, Score

LEGEND = (
    "Log score: mean predictive log density per step in nats, higher is better. Difference: log score of the best "
    "model minus this one's, ± its standard error; p: of no difference, two-sided (Diebold–Mariano). CRPS and RMSE are "
    "in the data's unit and MASE is relative to the in-sample seasonal naive error; lower is better. Cover: share of "
    "actual values inside the interval, in per cent; it should be near the level. Memory, of the last window's fit: steps until half of an "
    "observation's influence on the prediction is gone, or 'last 9' where nothing before the last 9 steps counts. Fit: "
    "wall time of all fits in seconds."
)
_FIGURES = {"crps": 4, "rmse": 4, "mase": 3}


@dataclass(frozen=True)
class Row:
    """One model: its name, the texts of its cells by column key, and its marks."""

    name: str
    cells: dict[str, str]
    is_best: bool
    is_baseline: bool
    failure: str | None
    leads: frozenset[str]

    @property
    def marks(self) -> str:
        """'best', 'baseline', 'failed', joined by commas."""
        marks = (("best", self.is_best), ("baseline", self.is_baseline), ("failed", self.failure is not None))
        return ", ".join(word for word, holds in marks if holds)


@dataclass(frozen=True)
class Ranking:
    """Columns (key -> heading) and rows of the comparison's table; failed models come last and have no cells."""

    headings: dict[str, str]
    rows: tuple[Row, ...]


def ranking(comparison: Comparison) -> Ranking:
    """The table of a comparison as text, best log score first."""
    scored = [score for score in comparison.scores if score.failure is None]
    levels = sorted({level for score in scored for level in score.coverage})
    columns = _columns(scored, levels)
    leaders = {key: _leader(key, scored) for key in ("log_score", "crps", "rmse", "mase")}
    rows = [
        Row(
            name=score.name,
            cells={} if score.failure is not None else {key: text(score) for key, (_, text) in columns.items()},
            is_best=score.failure is None and score is comparison.best,
            is_baseline=score.is_baseline,
            failure=score.failure,
            leads=frozenset(key for key, leader in leaders.items() if leader == score.name),
        )
        for score in comparison.scores
    ]
    return Ranking({key: heading for key, (heading, _) in columns.items()}, tuple(rows))


def _columns(scored: list[Score], levels: list[float]) -> dict[str, tuple[str, Callable[[Score], str]]]:
    places = _places([score.log_score for score in scored])
    metric = {key: _places([getattr(score, key) for score in scored], figures) for key, figures in _FIGURES.items()}
    columns: dict[str, tuple[str, Callable[[Score], str]]] = {
        "log_score": ("log score", lambda score: fixed(score.log_score, places)),
        "difference": ("difference ± SE", lambda score: _difference(score, places)),
        "p_value": (
            "p",
            lambda score: ABSENT if _leads(score) else p_value(score.p_value).removeprefix("p ").removeprefix("= "),
        ),
        "crps": ("CRPS", lambda score: fixed(score.crps, metric["crps"])),
        "rmse": ("RMSE", lambda score: fixed(score.rmse, metric["rmse"])),
        "mase": ("MASE", lambda score: fixed(score.mase, metric["mase"])),
    }
    for level in levels:
        columns[f"coverage_{level:g}"] = (f"cover {level:g} %", _coverage(level))
    return columns | {
        "memory": ("memory", _memory),
        "fit_seconds": ("fit s", lambda score: _seconds(score.fit_seconds)),
        "parameters": ("parameters", lambda score: f"{score.n_parameters}"),
    }


def _coverage(level: float) -> Callable[[Score], str]:
    return lambda score: percent(score.coverage.get(level, math.nan))


def _difference(score: Score, places: int) -> str:
    """'0.120 ± 0.043', or an en dash for the best model."""
    return ABSENT if _leads(score) else f"{fixed(score.difference, places)} ± {fixed(score.difference_se, places)}"


def _leads(score: Score) -> bool:
    return score.difference == 0 and score.difference_se == 0


def _memory(score: Score) -> str:
    """The memory's half-life in steps, ∞ where it never fades; 'last 9' where only the last 9 steps count at all."""
    if score.memory is None:
        return ABSENT
    ends = score.memory.ends_after
    return number(score.memory.half_life, 3) if ends is None else f"last {ends}"


def _seconds(seconds: float) -> str:
    """Seconds with two decimals at most, and none from a hundred on."""
    return fixed(seconds, 2 if seconds < 10 else 1 if seconds < 100 else 0)


def spoken(table: Ranking) -> list[str]:
    """Each row as a sentence, for readers who cannot scan a table."""
    return [_sentence(row, place) for place, row in enumerate(table.rows, start=1)]


def _sentence(row: Row, place: int) -> str:
    name = f"{row.name} (baseline)" if row.is_baseline else row.name
    if row.failure is not None:
        return f"{name}: could not be scored. {row.failure}"
    cells = row.cells
    behind = "the best" if row.is_best else f"{cells['difference']} behind the best, p {cells['p_value']}"
    shares = [
        f"{share} % of the actual values in the {key.removeprefix('coverage_')} % interval"
        for key, share in cells.items()
        if key.startswith("coverage_")
    ]
    return (
        f"{place}. {name}: log score {cells['log_score']} nats per step ({behind}), CRPS {cells['crps']}, "
        f"RMSE {cells['rmse']}, MASE {cells['mase']}, {', '.join(shares)}; memory: "
        f"{cells['memory']} steps, fits took {cells['fit_seconds']} s, parameters: {cells['parameters']}."
    )


def _places(values: list[float], figures: int = 4) -> int:
    """Decimals for one column: so many figures of its smallest size, but of no size far below the middle one."""
    sizes = np.abs([value for value in values if math.isfinite(value)])
    return decimals(np.array([0.0, max(sizes.min(), np.median(sizes) / 30)]), figures) if sizes.size else 3


def _leader(key: str, scored: list[Score]) -> str | None:
    sign = -1.0 if key == "log_score" else 1.0
    finite = [score for score in scored if math.isfinite(getattr(score, key))]
    return min(finite, key=lambda score: sign * getattr(score, key)).name if finite else None
