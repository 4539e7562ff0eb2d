"""What a recipe finds: scores beside a baseline, sentences, and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from statewise.dissection.panels import Panel


@dataclass(frozen=True)
class Score:
    """One model's number.

    Attributes:
        model: its name.
        measure: what the number is, with its unit.
        value: the number.
        error: its standard error, None where there is none.
        source: 'computed' here, or where it was published.
    """

    model: str
    measure: str
    value: float
    error: float | None = None
    source: str = "computed"


@dataclass(frozen=True)
class Finding:
    """What a recipe finds.

    Attributes:
        title: of the task.
        data: what was used, and how it was split.
        scores: the models' and the baselines'.
        said: what the classical model knew, what recurrence added, and how long the memory is.
        panels: the picture that a person of the field would look at.
        goal: (measure, 'below' or 'above', bound) of the best of our models; None on synthetic data.
    """

    title: str
    data: str
    scores: tuple[Score, ...]
    said: tuple[str, ...]
    panels: tuple[Panel, ...] = ()
    goal: tuple[str, Literal["below", "above"], float] | None = None

    def value(self, model: str, measure: str | None = None) -> float:
        """The number of a model: the first, or that of a measure."""
        return next(s.value for s in self.scores if s.model == model and measure in (None, s.measure))

    @property
    def reached(self) -> bool | None:
        """Whether one of our models reached the goal."""
        if self.goal is None:
            return None
        measure, side, bound = self.goal
        ours = [s.value for s in self.scores if s.measure == measure and s.source == "computed"]
        return min(ours) <= bound if side == "below" else max(ours) >= bound

    def to_frame(self) -> pd.DataFrame:
        """One row a score."""
        return pd.DataFrame([vars(score) for score in self.scores])

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, in types that JSON has."""
        return {
            "title": self.title,
            "data": self.data,
            "scores": [vars(score) for score in self.scores],
            "said": list(self.said),
            "goal": None if self.goal is None else list(self.goal),
            "reached": self.reached,
        }
