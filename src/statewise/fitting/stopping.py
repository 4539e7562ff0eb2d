"""When to stop training, and which parameters to keep."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class EarlyStopping(Generic[T]):
    """Keeps the best state seen, and says stop after `patience` epochs without a better score.

    Args:
        patience: epochs without improvement that are endured, from 1.
        min_improvement: how much better a score must be to count.

    Source: Prechelt, *Early stopping — but when?* (1998), the criterion UP with strips of one epoch.

    Example:
        >>> stopping = EarlyStopping(patience=2)
        >>> [stopping.update(score, epoch, lambda: None) for epoch, score in enumerate([1.0, 2.0, 1.5, 1.9])]
        [False, False, False, True]
        >>> stopping.best_score, stopping.best_epoch
        (2.0, 1)
    """

    def __init__(self, patience: int, min_improvement: float = 0.0) -> None:
        self.patience = patience
        self.min_improvement = min_improvement
        self.best_score = -math.inf
        self.best_epoch: int | None = None
        self.best: T | None = None

    def update(self, score: float, epoch: int, snapshot: Callable[[], T]) -> bool:
        """Note the score after `epoch`, keep `snapshot()` if it is the best so far, and return whether to stop.

        A score that is NaN never counts as better.
        """
        if self.best_epoch is None or score > self.best_score + self.min_improvement:
            if not math.isnan(score):
                self.best_score, self.best_epoch, self.best = score, epoch, snapshot()
            return False
        return epoch - self.best_epoch >= self.patience
