"""One label a sequence."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

from statewise._core import checks
from statewise.models.labeller import Labeller


class Classifier(Labeller):
    """Labels whole sequences: P(label | y[1 … T]).

    ::

        h = recurrent layers of [y[t], observed[t], u[t]], forwards, or forwards and backwards side by side
        P(label = k) = softmax(W r + b)[k],   r = the states after the last step read, or their mean over the steps

    Args:
        cell, hidden, layers, bidirectional, embedding, dropout, class_weight, time_aware: as of `Tagger`.
        pooling: 'last', the state after the last step (backwards: after the first); or 'mean', for long sequences whose label shows
            somewhere in them.

    Labels are any words or whole numbers, one a sequence in `Sequences.labels`; None, NaN and empty text say that it is not known.

    Example:
        >>> arrays = [[0.1, 0.3, 0.2], [0.3, 0.1], [2.1, 1.9, 2.2], [1.8, 2.0]] * 4
        >>> seqs = Sequences.from_arrays(arrays, labels=["low", "low", "high", "high"] * 4)
        >>> model = Classifier(hidden=4).fit(seqs, epochs=30, lr=0.05)
        >>> model.decode([2.0, 2.1]).labels.tolist(), model.score(seqs).accuracy
        (['high'], 1.0)
    """

    kind = "classifier"
    options = Labeller.options | {"pooling": checks.Choice(("last", "mean"))}
    per: ClassVar[str] = "sequence"

    def __init__(
        self,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 1,
        bidirectional: bool = False,
        embedding: int | None = None,
        dropout: float = 0.0,
        class_weight: Any = None,
        pooling: str = "last",
        time_aware: bool = False,
    ) -> None:
        super().__init__(
            cell=cell,
            hidden=hidden,
            layers=layers,
            bidirectional=bidirectional,
            embedding=embedding,
            dropout=dropout,
            class_weight=class_weight,
            time_aware=time_aware,
            pooling=pooling,
        )

    @property
    def _pooling(self) -> str | None:
        return str(self._options["pooling"])

    def fit(
        self,
        data: Any,
        epochs: int = 100,
        lr: float = 0.01,
        batch: int | None = None,
        patience: int = 15,
        validation: float = 0.15,
        seed: int | None = 0,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Maximise the labels' probability by gradient descent with early stopping, in place.

        Arguments as of `Tagger.fit`. A `validation` share of each label's sequences is held out; where every label has too few of them,
        nothing is, and a note says so.
        """
        given = {
            "epochs": epochs,
            "lr": lr,
            "batch": batch,
            "patience": patience,
            "validation": validation,
            "window": None,
            "seed": seed,
            "checkpoint": checkpoint,
        }
        return self._fit(data, given)
