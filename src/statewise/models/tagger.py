"""One label a step."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

from statewise.models.labeller import Labeller
from statewise.results.labels import LabelProbs


class Tagger(Labeller):
    """Labels every step of a sequence: P(label[t] | y[1 … t]), or with both directions P(label[t] | y[1 … T]).

    ::

        h = recurrent layers of [y[t], observed[t], u[t]], forwards, or forwards and backwards side by side
        P(label[t] = k) = softmax(W h[t] + b)[k]

    Args:
        cell: 'gru', 'lstm' or 'rnn', in torch's form; 'diagonal', the minimal GRU.
        hidden: units of a layer and direction, from 1.
        layers: layers stacked, from 1.
        bidirectional: whether a label may depend on later steps too (Schuster & Paliwal 1997).
        embedding: numbers that a symbol becomes. The values are then codes 0, 1, 2, …, as they are where the sequences have `symbols`; without
            it, symbols enter as indicators.
        dropout: share of the numbers between layers and before the labels that is left out in training.
        class_weight: None; 'balanced', each label as heavy as any other; or a mapping from labels to weights.
        time_aware: the state fades by exp(−Δt / τ) over the time Δt between two steps (backwards: to the step after), τ trained for each unit.

    Labels are any words or whole numbers, one a step in `Sequences.labels`. None, NaN and empty text say that a step has none: it is seen
    and not scored. Missing values enter as 0, their mean, and a flag. `log_prob` is that of the labels given the values: not a density of
    the sequence, so that a Tagger has no forecast and no place in `compare`.

    Example:
        >>> labels = [["low", "low", "high", "high", "low", "high"]] * 8
        >>> seqs = Sequences.from_arrays([[0.1, 0.0, 2.0, 2.1, 0.2, 1.9]] * 8, labels=labels)
        >>> Tagger(hidden=4).fit(seqs, epochs=30, lr=0.05).decode([0.0, 2.2]).labels.tolist()
        ['low', 'high']
    """

    kind = "tagger"
    per: ClassVar[str] = "step"

    def __init__(
        self,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 1,
        bidirectional: bool = False,
        embedding: int | None = None,
        dropout: float = 0.0,
        class_weight: Any = None,
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
        )

    def fit(
        self,
        data: Any,
        epochs: int = 100,
        lr: float = 0.01,
        batch: int | None = None,
        patience: int = 15,
        validation: float = 0.15,
        window: int | None = None,
        seed: int | None = 0,
        unlabelled: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Maximise the labels' probability by gradient descent with early stopping, in place.

        Args:
            data: sequences with one label a step.
            epochs: passes over the training part at most, from 1.
            lr: learning rate of AdamW in the first epoch; it falls to zero along a cosine.
            batch: sequences (or windows) in a batch, of similar length; default an eighth of all, but 8 to 64.
            patience: epochs without a better validation score before stopping.
            validation: share of the sequences, drawn by chance, that is held out whole to say when to stop; of fewer than five sequences the
                end of each is held out, and read on its own.
            window: longer sequences are trained in windows of so many steps, after up to half as many that are only seen; None: whole.
            seed: the same seed gives the same model to the last bit on the same machine; None draws one.
            unlabelled: a label that also says that none is known, such as −1.
            checkpoint: a file from which an interrupted fit goes on exactly; see `Recurrent.fit`.

        `fit_result.trace` is the validation score after each epoch, nats per label weighted by `class_weight`; `fit_result.log_prob` is the
        log probability of all known labels at the parameters kept, unweighted.
        """
        given = {
            "epochs": epochs,
            "lr": lr,
            "batch": batch,
            "patience": patience,
            "validation": validation,
            "window": window,
            "seed": seed,
            "checkpoint": checkpoint,
        }
        self._fit(data, given, unlabelled)
        assert self._schema is not None
        self._schema["unlabelled"] = unlabelled
        return self

    def filter(self, data: Any) -> LabelProbs:
        """P(label[t] | y[1 … t]): probabilities given past and present; only where the network runs forwards alone."""
        self._only(False, "filter", "both directions")
        return self.predict(data)

    def smooth(self, data: Any) -> LabelProbs:
        """P(label[t] | y[1 … T]): probabilities given the whole sequence; only with both directions."""
        self._only(True, "smooth", "one direction")
        return self.predict(data)
