"""What models that label steps or sequences return."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise.results.base import Result, new_figure, row_index

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LabelProbs(Result):
    """Probabilities of the K labels of each step, or of each sequence.

    Attributes:
        probs: (rows, K), or (N, K) for one label a sequence; each row sums to 1.
        classes: (K,) the labels.
        lengths: steps of each sequence; (N,) ones where there is one label a sequence.
        ids, times: as in the sequences.
    """

    probs: np.ndarray
    classes: np.ndarray
    lengths: np.ndarray
    ids: tuple[Hashable, ...]
    times: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row for each step (or sequence); columns prob_<label>."""
        import pandas as pd

        table = row_index(self.lengths, self.ids, self.times)
        return pd.DataFrame(table | {f"prob_{name}": self.probs[:, k] for k, name in enumerate(self.classes)})

    def plot(self) -> Figure:
        """Stacked probabilities: of the steps of the first sequence, or of all sequences where each has one label."""
        figure, axes = new_figure(1)
        shown = self.probs if (self.lengths == 1).all() else self.probs[: self.lengths[0]]
        if len(shown) == 1:
            axes[0].bar([str(name) for name in self.classes], shown[0])
            return figure
        axes[0].stackplot(np.arange(len(shown)), shown.T, labels=[str(name) for name in self.classes])
        axes[0].legend()
        return figure


@dataclass(frozen=True)
class DecodedLabels(Result):
    """The most probable label of each step, or of each sequence.

    Attributes:
        labels: (rows,) or (N,), in the words of the training data.
        log_prob: the log probability of each, in nats.
        lengths, ids, times: as in `LabelProbs`.
    """

    labels: np.ndarray
    log_prob: np.ndarray
    lengths: np.ndarray
    ids: tuple[Hashable, ...]
    times: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row for each step (or sequence): label and log_prob."""
        import pandas as pd

        table = row_index(self.lengths, self.ids, self.times)
        return pd.DataFrame(table | {"label": self.labels, "log_prob": self.log_prob})

    def plot(self) -> Figure:
        """The labels of the first sequence, or of all sequences where each has one label."""
        figure, axes = new_figure(1)
        shown = self.labels if (self.lengths == 1).all() else self.labels[: self.lengths[0]]
        names, codes = np.unique(shown, return_inverse=True)
        axes[0].step(np.arange(len(codes)), codes, where="mid")
        axes[0].set_yticks(np.arange(len(names)), [str(name) for name in names])
        return figure


@dataclass(frozen=True)
class LabelScores(Result):
    """How well labels were found.

    Attributes:
        classes: (K,) the labels.
        confusion: (K, K) counts; row: the true label, column: the decoded one.
        log_loss: mean −log probability of the true label, in nats.
    """

    classes: np.ndarray
    confusion: np.ndarray
    log_loss: float

    @property
    def count(self) -> int:
        """Labels that were known."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of the labels that were found."""
        return float(np.trace(self.confusion) / self.count)

    @property
    def recall(self) -> np.ndarray:
        """(K,) share of each true label that was found; NaN where it does not occur."""
        return _shares(np.diagonal(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """(K,) share of each decoded label that was right; NaN where it was never decoded."""
        return _shares(np.diagonal(self.confusion), self.confusion.sum(axis=0))

    @property
    def f1(self) -> np.ndarray:
        """(K,) 2 TP / (2 TP + FP + FN); NaN where the label neither occurs nor was decoded."""
        return _shares(2 * np.diagonal(self.confusion), self.confusion.sum(axis=0) + self.confusion.sum(axis=1))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the labels that occur."""
        return float(np.nanmean(self.recall))

    def to_frame(self) -> pd.DataFrame:
        """One row for each label: count, recall, precision, f1."""
        import pandas as pd

        return pd.DataFrame(
            {
                "label": self.classes,
                "count": self.confusion.sum(axis=1),
                "recall": self.recall,
                "precision": self.precision,
                "f1": self.f1,
            }
        )

    def plot(self) -> Figure:
        """The confusion matrix, as shares of each true label."""
        figure, axes = new_figure(1)
        axes[0].imshow(_shares(self.confusion, self.confusion.sum(axis=1, keepdims=True)), vmin=0, vmax=1)
        names = [str(name) for name in self.classes]
        axes[0].set_xticks(np.arange(len(names)), names)
        axes[0].set_yticks(np.arange(len(names)), names)
        axes[0].set_xlabel("decoded")
        axes[0].set_ylabel("true")
        return figure


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
