"""Training by stochastic gradients: a loop over batches that knows no model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from statewise._core.outcome import Outcome
from statewise._core.progress import progress
from statewise.fitting.checkpoint import Checkpoint
from statewise.fitting.stopping import EarlyStopping
from statewise.nn.seeding import seeded

B = TypeVar("B")
State = dict[str, torch.Tensor]


# One call for all parameters: for small networks most of an update is calls. On the CPU from torch 2.4 on.
_FUSED = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 4)


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
        failure: where the loss, the gradient or the score stopped being finite and what helps, or None.
        losses: (epochs done,) mean of the objective over the batches of each epoch.
    """

    outcome: Outcome
    trace: np.ndarray
    start_score: float
    best_score: float
    best_epoch: int
    failure: str | None = None
    losses: np.ndarray = field(default_factory=lambda: np.empty(0))


class Carried:
    """What an objective carries from batch to batch, such as the state of a sequence that is cut into chunks. This one carries nothing."""

    def tensors(self) -> list[torch.Tensor]:
        """Everything that a checkpoint must keep."""
        return []

    def restore(self, tensors: list[torch.Tensor]) -> None:
        """Take what `tensors` gave."""


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
    checkpoint: Checkpoint | None = None,
    carried: Carried | None = None,
    explain: Callable[[B], str] | None = None,
    watch: Callable[[B, torch.Tensor], None] | None = None,
    draws: bool = True,
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
        checkpoint: a file that is written on the way. If it is there, training goes on from it, and ends with the parameters, to the last
            bit, of a run that was never interrupted.
        carried: what the objective carries from batch to batch.
        explain: batch -> where in it something is not finite, and what helps; asked once, when that has happened.
        watch: told of every batch and its loss, when the gradients are there and before they are clipped or anything is updated; a loss that
            is not finite has none. It must leave the module as it is.
        draws: whether the module or the objective draws without a generator, such as for dropout. torch has one state for all threads, so
            that such runs wait for each other; others run side by side.

    A loss, gradient or score that is NaN or infinite ends training at once with the outcome NOT_FINITE.
    """
    lent = seeded(seed) if draws else nullcontext()
    with lent, progress(label, settings.epochs) as advance:
        run = Run(module, objective, score, settings, groups, carried or Carried(), checkpoint, explain, watch, draws)
        return run.loop(batches, torch.Generator().manual_seed(seed), advance)


class Run:
    """One training run: the optimiser, the stopping rule, the trace, and where it stands.

    Attributes:
        epoch, position: the epoch under way, from 1, and the batches of it that are done.
        epoch_draws: state of the batches' generator at the beginning of the epoch.
        loss_sum: of the objective over those batches.
        finished: the name of the outcome, once it is settled.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        objective: Callable[[Any], torch.Tensor],
        score: Callable[[], float],
        settings: Settings,
        groups: list[dict[str, Any]] | None,
        carried: Carried,
        checkpoint: Checkpoint | None,
        explain: Callable[[Any], str] | None,
        watch: Callable[[Any, torch.Tensor], None] | None,
        draws: bool,
    ) -> None:
        self.carried, self.checkpoint, self.explain, self.watch = carried, checkpoint, explain, watch
        self.module, self.objective, self.score, self.settings = module, objective, score, settings
        kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        given = list(module.parameters()) if groups is None else groups
        self.optimiser = kinds[settings.optimiser](given, lr=settings.lr, eps=settings.epsilon, fused=_FUSED)
        self.stopping: EarlyStopping[State] = EarlyStopping(settings.patience, settings.min_improvement)
        self.trace: list[float] = []
        self.losses: list[float] = []
        self.epoch, self.position, self.loss_sum, self.start_score = 0, 0, 0.0, -math.inf
        self.epoch_draws = torch.empty(0, dtype=torch.uint8)
        self.finished: str | None = None
        self.draws = draws

    def loop(
        self,
        batches: Callable[[torch.Generator], Iterable[Any]],
        generator: torch.Generator,
        advance: Callable[..., None],
    ) -> Training:
        failure = None
        if self.checkpoint is None or not self.checkpoint.read_into(self):
            self.start_score = self.validate()
            self.stopping.update(self.start_score if math.isfinite(self.start_score) else -math.inf, 0, self.snapshot)
            self.begin(1, generator)
        advance(self.epoch - 1)
        while self.finished is None:
            generator.set_state(self.epoch_draws)
            failure = self.one_epoch(batches(generator))
            if failure is not None:
                self.finished = Outcome.NOT_FINITE.name
                break  # nothing is written: what was, is better
            advance()
            if self.stopping.update(self.trace[-1], self.epoch, self.snapshot):
                self.finished = Outcome.EARLY_STOPPED.name
            elif self.epoch == self.settings.epochs:
                self.finished = Outcome.MAX_EPOCHS.name
            else:
                self.begin(self.epoch + 1, generator)
            self.write(self.finished is not None)
        best, best_epoch = self.stopping.best, self.stopping.best_epoch
        assert best is not None and best_epoch is not None
        self.module.load_state_dict(best)
        return Training(
            Outcome[self.finished],
            np.array(self.trace),
            self.start_score,
            self.stopping.best_score,
            best_epoch,
            failure,
            np.array(self.losses),
        )

    def begin(self, epoch: int, generator: torch.Generator) -> None:
        """Stand at the beginning of an epoch."""
        self.epoch, self.position, self.loss_sum = epoch, 0, 0.0
        self.epoch_draws = generator.get_state()

    def write(self, always: bool = False) -> None:
        if self.checkpoint is not None:
            self.checkpoint.write(self, always)

    def one_epoch(self, batches: Iterable[Any]) -> str | None:
        """The rest of the epoch under way and its score; returns what stopped being finite, if anything."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(self.epoch)
        done = self.position
        for position, batch in enumerate(batches, start=1):
            if position <= done:
                continue
            wrong = self.update(batch)
            if wrong is not None:
                place = f"the {wrong} became NaN or infinite at epoch {self.epoch}, batch {position}"
                return place if self.explain is None else f"{place}: {self.explain(batch)}"
            self.position = position
            self.write()
        score = self.validate()
        if not math.isfinite(score):
            return f"the validation score became NaN or infinite at epoch {self.epoch}"
        self.trace.append(score)
        self.losses.append(self.loss_sum / max(self.position, 1))
        return None

    def update(self, batch: Any) -> str | None:
        """One step of the optimiser; returns what is not finite, before it can do harm."""
        self.optimiser.zero_grad()
        loss = self.objective(batch)
        finite = bool(torch.isfinite(loss))
        if finite:
            loss.backward()
        if self.watch is not None:
            self.watch(batch, loss.detach())
        if not finite:
            return "loss"
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.clip)
        if not torch.isfinite(norm):
            return "gradient"
        self.optimiser.step()
        self.loss_sum += float(loss.detach())
        return None

    def validate(self) -> float:
        self.module.eval()
        with torch.no_grad():
            score = self.score()
        self.module.train()
        return score

    def snapshot(self) -> State:
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}
