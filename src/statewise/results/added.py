"""What a network added to the classical model that it started from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise.results.base import Result, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Added(Result):
    """Log density of the network less that of its classical start, per step, on some sequences.

    Attributes:
        nats: the mean over steps.
        standard_error: of that mean, with the autocorrelation of the differences taken into account (Newey & West 1987, lags up to T^(1/3)).
        steps: steps with an observation.
        differences: (steps,) what was added at each.
        changed: whether the network differs from its start at all.
    """

    nats: float
    standard_error: float
    steps: int
    differences: np.ndarray
    changed: bool

    @classmethod
    def of(cls, differences: np.ndarray, changed: bool) -> Added:
        """From the differences of the steps, in order."""
        count = len(differences)
        mean = float(differences.mean()) if count else 0.0
        return cls(mean, standard_error(differences), count, differences, changed)

    @property
    def is_nothing(self) -> bool:
        """Whether the network added nothing: it is its start, or the gain is within two standard errors of zero or below it."""
        return not self.changed or self.nats <= 2 * self.standard_error

    def __str__(self) -> str:
        if not self.changed:
            return "nothing: the network is its classical start"
        text = f"{self.nats:+.4f} ± {self.standard_error:.4f} nats per step".replace("-", "−")
        return f"nothing that can be told from chance ({text})" if self.is_nothing else text

    def to_frame(self) -> pd.DataFrame:
        """One row: nats, standard_error, steps."""
        import pandas as pd

        return pd.DataFrame([{"nats": self.nats, "standard_error": self.standard_error, "steps": self.steps}])

    def plot(self) -> Figure:
        """What was added up to each step."""
        figure, axes = new_figure(1)
        axes[0].plot(np.arange(1, self.steps + 1), np.cumsum(self.differences))
        axes[0].set_xlabel("step")
        axes[0].set_ylabel("nats added")
        return figure


def standard_error(differences: np.ndarray) -> float:
    """Of the mean, with Bartlett weights on the autocovariances up to lag T^(1/3); inf for fewer than 2 steps."""
    count = len(differences)
    if count < 2:
        return float("inf")
    rest = differences - differences.mean()
    lags = int(count ** (1 / 3))
    total = float(rest @ rest)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(rest[lag:] @ rest[:-lag])
    return float(np.sqrt(max(total, 0.0)) / count)
