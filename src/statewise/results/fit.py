"""What a fit leaves behind, and what a model says of its memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise._core.outcome import Outcome
from statewise.results.base import Result, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FitResult(Result):
    """How a fit went.

    Attributes:
        outcome: why it stopped; ``outcome.value`` is the sentence, with the remedy if it went wrong.
        log_prob: log-likelihood of the training data at the parameters kept, in nats.
        n_steps: steps of the training data with at least one observed entry.
        trace: (iterations,) the objective after each iteration: log-likelihood for maximum likelihood and EM,
            validation score per step for gradient training.
        seconds: wall time.
        notes: anything a careful user should know (a variance at zero, restarts that disagreed).
        details: further numbers by name, such as the gradient norm.
    """

    outcome: Outcome
    log_prob: float
    n_steps: int
    trace: np.ndarray
    seconds: float
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """True only when it converged."""
        return self.outcome.ok

    @property
    def reason(self) -> str:
        """Why it stopped, in a sentence."""
        return self.outcome.value

    @property
    def iterations(self) -> int:
        return len(self.trace)

    def aic(self, parameters: int) -> float:
        """Akaike's criterion 2k − 2 log L, k the number of free parameters."""
        return 2 * parameters - 2 * self.log_prob

    def bic(self, parameters: int) -> float:
        """Schwarz's criterion k ln(steps) − 2 log L."""
        return parameters * float(np.log(self.n_steps)) - 2 * self.log_prob

    def hqic(self, parameters: int) -> float:
        """Hannan and Quinn's criterion 2k ln ln(steps) − 2 log L (JRSS B 41 (1979)); needs 2 steps or more."""
        return 2 * parameters * float(np.log(np.log(self.n_steps))) - 2 * self.log_prob

    def to_frame(self) -> pd.DataFrame:
        """The trace: iteration, objective."""
        import pandas as pd

        return pd.DataFrame({"iteration": np.arange(1, len(self.trace) + 1), "objective": self.trace})

    def plot(self) -> Figure:
        """The objective against the iteration; of a network the validation and the training score, and the epoch that was kept."""
        figure, axes = new_figure(1)
        learning = "training_trace" in self.details
        axes[0].plot(np.arange(1, len(self.trace) + 1), self.trace, label="validation" if learning else "objective")
        if learning:
            training = self.details["training_trace"]
            axes[0].plot(np.arange(1, len(training) + 1), training, label="training")
            axes[0].axvline(self.details["best_epoch"], color="0.6", linewidth=0.8, label="kept")
            axes[0].legend()
        axes[0].set_xlabel("iteration")
        axes[0].set_ylabel("objective")
        return figure


@dataclass(frozen=True)
class Memory(Result):
    """How long a model remembers.

    Attributes:
        half_life: steps until half of an observation's influence on the prediction is gone: ln 2 / −ln ρ; 0 when the
            influence ends at once, inf when it never fades.
        rate: ρ, the factor by which the influence shrinks per step in the long run.
        method: 'eigenvalues' (of the predictor's closed loop, exact) or 'gradient' (of the state along data,
            estimated).
        process_half_life: the same for the process itself, from the eigenvalues of its transition; None where the
            model has no separate process.
        ends_after: steps after which nothing of an observation is left at all, as in a pure autoregression; else None.
    """

    half_life: float
    rate: float
    method: str
    process_half_life: float | None = None
    ends_after: int | None = None

    @property
    def brief(self) -> str:
        """The length of the memory in a few words, for a table."""
        if self.ends_after is not None:
            return f"the last {self.ends_after} steps" if self.ends_after > 1 else "the last step"
        return _steps(self.half_life)

    def __str__(self) -> str:
        if self.ends_after is not None:
            text = f"the predictor looks back over {self.brief} and no further (from the {self.method})"
        else:
            text = f"the predictor's memory has a half-life of {self.brief} (from the {self.method})"
        if self.process_half_life is not None:
            text += f"; a shock to the process itself has a half-life of {_steps(self.process_half_life)}"
        return text

    def to_frame(self) -> pd.DataFrame:
        """One row: the attributes."""
        import pandas as pd

        return pd.DataFrame([vars(self)])

    def plot(self) -> Figure:
        """Influence of an observation against its age."""
        figure, axes = new_figure(1)
        horizon = 4 * self.half_life if 0 < self.half_life < 1e6 else 20.0
        lags = np.linspace(0, max(horizon, 4.0))
        axes[0].plot(lags, self.rate**lags if self.ends_after is None else lags <= self.ends_after)
        axes[0].set_xlabel("steps back")
        axes[0].set_ylabel("influence")
        return figure


def half_life(rate: float) -> float:
    """ln 2 / −ln(rate) in steps: 0 for rate 0, inf for rate ≥ 1 (theory: h[t] = s h[t−1] gives 6.578813 at s = .9)."""
    if rate <= 0:
        return 0.0
    if rate >= 1:
        return float("inf")
    return float(np.log(2) / -np.log(rate))


def _steps(value: float) -> str:
    if np.isinf(value):
        return "infinitely many steps (it never fades)"
    return f"{value:.3g} steps"
