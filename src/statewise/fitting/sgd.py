"""Training by stochastic gradients: a loop over batches that knows no model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from statewise._core.outcome import Outcome
from statewise._core.progress import progress
from statewise.fitting.stopping import EarlyStopping

B = TypeVar("B")
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        epochs: passes over the batches, at most.
        lr: learning rate of the first epoch.
        patience: epochs without a better score before stopping.
        clip: the gradient is shortened to this norm (Pascanu, Mikolov & Bengio 2013).
        schedule: 'cosine' lowers the rate towards zero at the last epoch (Loshchilov & Hutter 2017), 'constant' keeps it.
        optimiser: 'adamw' (Loshchilov & Hutter 2019) or 'adam' (Kingma & Ba 2015).
        min_improvement: how much better a score must be to count.
        epsilon: added to the root of the second moment. Gradients well below it barely move a parameter; were it nearly 0, Adam would blow
            rounding errors up to full steps wherever the true gradient is 0, as at a start that is already an optimum.
    """

    epochs: int
    lr: float
    patience: int
    clip: float = 1.0
    schedule: str = "cosine"
    optimiser: str = "adamw"
    min_improvement: float = 1e-4
    epsilon: float = 1e-5

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        if self.schedule == "constant":
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs))


@dataclass(frozen=True)
class Training:
    """How training went; the module holds the parameters with the best score.

    Attributes:
        outcome: EARLY_STOPPED, MAX_EPOCHS or NOT_FINITE.
        trace: (epochs done,) score after each epoch.
        start_score: score before the first one.
        best_score, best_epoch: of the parameters kept; epoch 0 is the start.
        failure: where the loss, the gradient or the score stopped being finite, or None.
    """

    outcome: Outcome
    trace: np.ndarray
    start_score: float
    best_score: float
    best_epoch: int
    failure: str | None = None


def train(
    module: torch.nn.Module,
    batches: Callable[[torch.Generator], Iterable[B]],
    objective: Callable[[B], torch.Tensor],
    score: Callable[[], float],
    settings: Settings,
    *,
    seed: int,
    groups: list[dict[str, Any]] | None = None,
    label: str = "training",
) -> Training:
    """Minimise an objective over batches, and keep the parameters with the best score.

    Args:
        module: what is trained, in place; it ends with the best parameters.
        batches: generator -> the batches of one epoch. It must draw from this generator only.
        objective: batch -> scalar loss.
        score: -> the validation score, higher is better; called without gradients, in evaluation mode.
        settings: how to train.
        seed: the same seed on the same machine gives the same parameters to the last bit. torch's global random state is left as it was.
        groups: the optimiser's parameter groups; default all parameters alike.
        label: text of the progress bar.

    A loss, gradient or score that is NaN or infinite ends training at once with the outcome NOT_FINITE.
    """
    with torch.random.fork_rng(devices=[]), progress(label, settings.epochs) as advance:
        torch.default_generator.manual_seed(seed)
        run = _Run(module, objective, score, settings, groups)
        return run.loop(batches, torch.Generator().manual_seed(seed), advance)


class _Run:
    """One training run: the optimiser, the stopping rule and the trace."""

    def __init__(
        self,
        module: torch.nn.Module,
        objective: Callable[[Any], torch.Tensor],
        score: Callable[[], float],
        settings: Settings,
        groups: list[dict[str, Any]] | None,
    ) -> None:
        self.module, self.objective, self.score, self.settings = module, objective, score, settings
        kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        given = list(module.parameters()) if groups is None else groups
        self.optimiser = kinds[settings.optimiser](given, lr=settings.lr, eps=settings.epsilon)
        self.stopping: EarlyStopping[State] = EarlyStopping(settings.patience, settings.min_improvement)
        self.trace: list[float] = []

    def loop(
        self,
        batches: Callable[[torch.Generator], Iterable[Any]],
        generator: torch.Generator,
        advance: Callable[..., None],
    ) -> Training:
        start = self.validate()
        self.stopping.update(start if math.isfinite(start) else -math.inf, 0, self.snapshot)
        outcome, failure = Outcome.MAX_EPOCHS, None
        for epoch in range(1, self.settings.epochs + 1):
            failure = self.epoch(epoch, batches(generator))
            if failure is not None:
                outcome = Outcome.NOT_FINITE
                break
            advance()
            if self.stopping.update(self.trace[-1], epoch, self.snapshot):
                outcome = Outcome.EARLY_STOPPED
                break
        best, best_epoch = self.stopping.best, self.stopping.best_epoch
        assert best is not None and best_epoch is not None
        self.module.load_state_dict(best)
        return Training(outcome, np.array(self.trace), start, self.stopping.best_score, best_epoch, failure)

    def epoch(self, number: int, batches: Iterable[Any]) -> str | None:
        """One pass and its score; returns what stopped being finite, if anything."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(number)
        for position, batch in enumerate(batches, start=1):
            wrong = self.update(batch)
            if wrong is not None:
                return f"the {wrong} became NaN or infinite at epoch {number}, batch {position}"
        score = self.validate()
        if not math.isfinite(score):
            return f"the validation score became NaN or infinite at epoch {number}"
        self.trace.append(score)
        return None

    def update(self, batch: Any) -> str | None:
        """One step of the optimiser; returns what is not finite, before it can do harm."""
        self.optimiser.zero_grad()
        loss = self.objective(batch)
        if not torch.isfinite(loss):
            return "loss"
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.clip)
        if not torch.isfinite(norm):
            return "gradient"
        self.optimiser.step()
        return None

    def validate(self) -> float:
        self.module.eval()
        with torch.no_grad():
            score = self.score()
        self.module.train()
        return score

    def snapshot(self) -> State:
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}
