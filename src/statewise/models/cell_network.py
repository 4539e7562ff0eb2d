"""Gated networks with weights that `convert` worked out: filters of one input a unit, and predictors that embed a linear RNN."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch

from statewise._core import checks
from statewise._core.errors import InputError, UnsupportedError
from statewise.inference.steady import spectral_radius
from statewise.models.base import Model
from statewise.nn.scaled_cell import ScaledCell
from statewise.results.fit import Memory, half_life
from statewise.results.predicted import Predicted
from statewise.sequences.sequences import Sequences


class CellNetwork(Model):
    """torch.nn.RNN, GRU or LSTM at a small amplitude with a linear readout; ``.module`` is the torch network: trainable, float64."""

    kind = "cell-network"
    options: ClassVar[dict[str, checks.Option]] = {"cell": checks.Choice(("rnn", "gru", "lstm"))}

    def __init__(self, cell: str = "lstm") -> None:
        super().__init__(cell=cell)
        self._module: ScaledCell | None = None

    @classmethod
    def from_arrays(cls, cell: str, arrays: dict[str, np.ndarray], schema: dict[str, Any] | None = None) -> Self:
        """From the weights that `ScaledCell` takes, and what a subclass needs beside them."""
        model = cls(cell)
        model._restore(arrays, None if schema is None else dict(schema))
        return model

    def clone(self) -> Self:
        """A copy with weights of its own."""
        copy = type(self)(self._options["cell"])
        if self._module is not None:
            copy._restore(self.parameters, self._schema)
        return copy

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        super()._restore({name: np.array(array) for name, array in parameters.items()}, schema)
        self._module = ScaledCell(self._options["cell"], parameters)

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The present weights by name."""
        return super().parameters if self._module is None else super().parameters | self.module.arrays()

    @property
    def module(self) -> ScaledCell:
        """The torch network."""
        if self._module is None:
            raise InputError(f"this {type(self).__name__} has no network; make one with convert(model, to=...)")
        return self._module

    @property
    def label(self) -> str:
        return f"cell={self._options['cell']!r}"

    @property
    def n_parameters(self) -> int:
        """Weights of the network."""
        return sum(p.numel() for p in self.module.parameters())

    def respond(self, x: Any) -> np.ndarray:
        """(T, out) the outputs for inputs x (T, d); (T,) serves all inputs alike."""
        given = checks.signal("x", x, self.module.rnn.input_size)
        with torch.no_grad():
            return np.asarray(self.module(torch.tensor(given)[None])[0][0].numpy())

    def memory(self, data: Any = None) -> Memory:
        """From the cell's Jacobian at rest: the spectral radius of ∂s[t]/∂s[t−1] at zero input and state."""
        from statewise.cells import CELLS

        cell, own = CELLS[self._options["cell"]], self.module.arrays()
        state = np.zeros(cell.state_size(own))
        rate = spectral_radius(cell.jacobian(own, np.zeros(own["weight_ih_l0"].shape[1]), state))
        return Memory(half_life(rate), rate, "gradient")


class LSTMNetwork(CellNetwork):
    """Leaky integrators as an LSTM with held gates."""

    kind = "lstm-network"


class GRUNetwork(CellNetwork):
    """Leaky integrators as a GRU with held gates."""

    kind = "gru-network"


class EmbeddedRNN(CellNetwork):
    """A tanh RNN, GRU or LSTM that embeds a linear RNN at a small scale ε: its predictions differ by a share of O(ε²).

    Made by ``convert(model, to="tanh-rnn" | "gru" | "lstm", scale=ε)``; y and u are its inputs, ŷ of the next step its output.
    """

    kind = "embedded-rnn"

    def _predicted(self, seqs: Sequences) -> np.ndarray:
        if seqs.n_missing:
            raise UnsupportedError(
                f"the sequences have {seqs.n_missing} missing entries, and this network reads complete ones; use the state-space form"
            )
        first, own = self.parameters["first_prediction"], []
        D = self.parameters["input_to_observation"]
        for one in seqs:
            u = np.zeros((one.rows, D.shape[1])) if one.inputs is None else one.inputs
            after = self.respond(np.hstack([one.values, u]))
            own.append(np.vstack([first, after[:-1]]) + u @ D.T)
        return np.concatenate(own)

    def predict(self, data: Any) -> Predicted:
        """One-step-ahead means, variances and standardised residuals."""
        seqs = self._receive(data)
        mean = self._predicted(seqs)
        cov = self.parameters["innovation_cov"]
        return Predicted.gaussian(seqs, mean, np.broadcast_to(np.diag(cov), mean.shape))

    def log_prob(self, data: Any, per_step: bool = False) -> np.ndarray:
        """Log density in nats under innovations N(0, F), (N,) or packed (rows,)."""
        per_step = checks.Flag().check("per_step", per_step)
        seqs = self._receive(data)
        root = np.linalg.cholesky(self.parameters["innovation_cov"])
        z = np.linalg.solve(root, (seqs.values - self._predicted(seqs)).T)
        constant = np.log(np.diag(root)).sum() + 0.5 * len(root) * np.log(2 * np.pi)
        steps = -0.5 * (z * z).sum(axis=0) - constant
        return steps if per_step else np.add.reduceat(steps, seqs.offsets[:-1])
