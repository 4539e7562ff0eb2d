"""A network and the classical model that it started from, whatever the kind of that model."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import numpy as np

from statewise.inference.classical_gaussian import Scaling
from statewise.inference.recurrent import states as unit_states
from statewise.models.started_training import Table
from statewise.nn.classical_start import StartedNetwork
from statewise.results.added import Added
from statewise.results.marginals import Marginals
from statewise.results.predicted import Predicted
from statewise.sequences.sequences import Sequences

SCALING = ("mean", "scale", "input_mean", "input_scale")


class Part(abc.ABC):
    """A network and the classical model that it started from."""

    network: StartedNetwork
    scaling: Scaling
    cell: str

    @abc.abstractmethod
    def rows(self, seqs: Sequences, group: np.ndarray) -> dict[str, np.ndarray]:
        """What the network sees, packed over rows."""

    @abc.abstractmethod
    def start_log_prob(self, seqs: Sequences, group: np.ndarray) -> np.ndarray:
        """(rows,) the classical model's log densities."""

    @abc.abstractmethod
    def predict(self, seqs: Sequences, group: np.ndarray) -> Predicted:
        """One-step-ahead predictions."""

    @abc.abstractmethod
    def exact_forecast(self, seqs: Sequences, group: np.ndarray, steps: int, inputs: np.ndarray | None) -> Marginals:
        """The classical model's forecast."""

    @abc.abstractmethod
    def paths(
        self,
        seqs: Sequences,
        group: np.ndarray,
        steps: int,
        inputs: np.ndarray | None,
        count: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """(count, N, steps, p) simulated continuations."""

    @abc.abstractmethod
    def draws(self, length: int, count: int, inputs: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        """(count, length, p) sequences from the start on."""

    def classical_arrays(self) -> dict[str, np.ndarray]:
        """What the classical model needs beside its option, by name."""
        return {}

    def log_prob(self, seqs: Sequences, group: np.ndarray) -> np.ndarray:
        """(rows,) log densities."""
        return Table(self.rows(seqs, group), seqs).log_prob(self.network)

    def added(self, seqs: Sequences, group: np.ndarray) -> Added:
        """What the network adds to the classical model."""
        seen = (~np.isnan(seqs.values)).any(axis=1)
        differences = (self.log_prob(seqs, group) - self.start_log_prob(seqs, group))[seen]
        return Added.of(differences, not self.network.is_start())

    def arrays(self) -> dict[str, np.ndarray]:
        """All parameters by name."""
        scaling = {f"scaling_{name}": getattr(self.scaling, name) for name in SCALING}
        return self.network.arrays() | self.classical_arrays() | scaling

    @property
    def n_trained(self) -> int:
        """Weights that training moves."""
        own = sum(p.numel() for p in self.network.parameters())
        return own - (sum(p.numel() for p in self.network.path.parameters()) if self.network.frozen else 0)

    def _units(self, rows: Mapping[str, np.ndarray], seqs: Sequences) -> list[np.ndarray]:
        """For each layer, (N, ·) the state after the last step of each sequence."""
        own = {k.removeprefix("rnn."): a for k, a in self.network.arrays().items() if k.startswith("rnn.")}
        return [layer[seqs.offsets[1:] - 1] for layer in unit_states(self.cell, own, rows["x"], seqs.lengths)]

    def _rested(self, count: int) -> list[np.ndarray]:
        """For each layer, the state of units that have seen nothing, (count, ·)."""
        rnn = self.network.rnn
        width = rnn.hidden_size * (2 if self.cell == "lstm" else 1)
        return [np.zeros((count, width)) for _ in range(rnn.num_layers)]


def many(row: np.ndarray, count: int) -> np.ndarray:
    """`count` copies of a row."""
    return np.repeat(row[None], count, axis=0)
