"""The torch module behind `Tagger` and `Classifier`: recurrent layers, one or both ways, and the logits of labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from statewise.nn.network import layer


class Labeller(nn.Module):
    """Logits of K labels for each step, or for each sequence.

    Args:
        cell, hidden, layers, bidirectional: of the recurrent layers.
        input_size: d, numbers at a step. With an embedding the first `symbols` of them are indicators.
        labels: K.
        embedding: numbers that a symbol becomes, or None where the layers see the indicators themselves.
        symbols: indicators of symbols at a step.
        dropout: share of the numbers between layers and before the labels that is left out in training.
        time_aware: whether the state fades over gaps in time.
        pooling: None for a label a step; 'last' reads the forward layer's last state and the backward layer's first, 'mean' the mean state.
    """

    def __init__(
        self,
        cell: str,
        hidden: int,
        layers: int,
        bidirectional: bool,
        input_size: int,
        labels: int,
        embedding: int | None = None,
        symbols: int = 0,
        dropout: float = 0.0,
        pooling: str | None = None,
        time_aware: bool = False,
    ) -> None:
        super().__init__()
        self.hidden, self.bidirectional, self.symbols, self.pooling = hidden, bidirectional, symbols, pooling
        self.embedding_weight = None if embedding is None else nn.Parameter(torch.randn(embedding, symbols))
        seen = input_size if embedding is None else input_size - symbols + embedding
        more: dict[str, Any] = {"bidirectional": bidirectional, "dropout": dropout if layers > 1 else 0.0}
        self.rnn = layer(cell, seen, hidden, layers, time_aware, **more)
        self.dropout = nn.Dropout(dropout)
        self.label_weight = nn.Parameter(torch.zeros(labels, hidden * (1 + bidirectional)))
        self.label_bias = nn.Parameter(torch.zeros(labels))

    def forward(self, x: Tensor, lengths: Tensor, gaps: Tensor | None = None) -> Tensor:
        """(batch, time, K), or (batch, K), for x (batch, time, d) and gaps (batch, time) padded at the end and lengths (batch,)."""
        if self.embedding_weight is not None:
            embedded = nn.functional.linear(x[..., : self.symbols], self.embedding_weight)
            x = torch.cat([embedded, x[..., self.symbols :]], dim=-1)
        if self.bidirectional:
            pack = partial(pack_padded_sequence, lengths=lengths, batch_first=True, enforce_sorted=False)
            timed = {} if gaps is None else {"elapsed": pack(gaps).data}
            h, _ = pad_packed_sequence(self.rnn(pack(x), **timed)[0], batch_first=True)
        else:
            h, _ = self.rnn(x, **({} if gaps is None else {"elapsed": gaps}))
        return nn.functional.linear(self.dropout(self._pooled(h, lengths)), self.label_weight, self.label_bias)

    def _pooled(self, h: Tensor, lengths: Tensor) -> Tensor:
        if self.pooling is None:
            return h
        if self.pooling == "mean":
            inside = torch.arange(h.shape[1]) < lengths[:, None]
            return (h * inside[..., None]).sum(dim=1) / lengths[:, None]
        last = h[torch.arange(len(h)), lengths - 1, : self.hidden]
        return torch.cat([last, h[:, 0, self.hidden :]], dim=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters as float64 arrays; the layers' under torch's names."""
        return {name.removeprefix("rnn."): p.detach().double().numpy().copy() for name, p in self.named_parameters()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take those parameters that `arrays` has."""
        with torch.no_grad():
            for name, p in self.named_parameters():
                if name.removeprefix("rnn.") in arrays:
                    p.copy_(torch.from_numpy(np.array(arrays[name.removeprefix("rnn.")], dtype=np.float64)))

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameters for the optimiser: matrices decay, biases do not."""
        matrices = [p for p in self.parameters() if p.ndim > 1]
        rest = [p for p in self.parameters() if p.ndim == 1]
        return [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
