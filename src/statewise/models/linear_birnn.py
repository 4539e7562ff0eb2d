"""A bidirectional linear RNN that is a fixed-interval smoother; made by `convert`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch

from statewise._core.errors import InputError
from statewise.inference import steady
from statewise.inference.system import system
from statewise.models.base import Model
from statewise.nn.linear_birnn import LinearBiRNNModule
from statewise.results.fit import Memory
from statewise.results.states import GaussianStates


class LinearBiRNN(Model):
    """x̂[t] from a forward linear RNN, a backward one and a merge with a −y skip; made by ``convert(model, to="birnn")``.

    ``.module`` is the torch network: trainable, float64. It says what the whole sequence says of each step, so it can smooth, and has no
    density to score or forecast with. Missing entries are allowed: the gains follow from which are missing.

    Source: theory §10 of the documentation (guide/bridges); Fraser & Potter, IEEE Trans. Automatic Control 14 (1969).
    """

    kind = "linear-birnn"
    options = {}

    def __init__(self) -> None:
        super().__init__()
        self._module: LinearBiRNNModule | None = None

    @classmethod
    def from_weights(
        cls, weights: dict[str, np.ndarray], precision: np.ndarray | None, schema: dict[str, Any] | None
    ) -> Self:
        """From the module's weights, and the precision of a diffuse start."""
        model = cls()
        model._module = LinearBiRNNModule(weights, precision)
        model._schema = None if schema is None else dict(schema)
        model._parameters = model._weights()
        return model

    def clone(self) -> Self:
        """A copy with weights of its own."""
        copy = type(self)()
        if self.is_fitted:
            copy._restore({name: weight.copy() for name, weight in self._weights().items()}, self._schema)
        return copy

    def _weights(self) -> dict[str, np.ndarray]:
        return {name: weight.detach().numpy() for name, weight in self.module.state_dict().items()}

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        self._module = LinearBiRNNModule(parameters, parameters.get("initial_precision"))
        self._schema = schema
        self._parameters = self._weights()

    @property
    def module(self) -> LinearBiRNNModule:
        """The torch network."""
        if self._module is None:
            raise InputError("this LinearBiRNN has no network; make one with convert(model, to='birnn')")
        return self._module

    @property
    def label(self) -> str:
        p, n = self.parameters["observation"].shape
        return f"states={n}, dim={p}"

    @property
    def n_parameters(self) -> int:
        """Weights of the network."""
        return sum(weight.numel() for weight in self.module.parameters())

    def smooth(self, data: Any) -> GaussianStates:
        """Mean and covariance of the state at each step given the whole sequence, from the network."""
        seqs = self._receive(data)
        if seqs.dim != len(self.module.observation):
            raise InputError(
                f"the sequences have {seqs.dim} columns but the network reads {len(self.module.observation)}"
            )
        means, covs = [], []
        with torch.no_grad():
            for one in seqs:
                u = None if one.inputs is None else torch.tensor(one.inputs)[None]
                mean, cov = self.module(torch.tensor(one.values)[None], u)
                means.append(mean[0].numpy())
                covs.append(cov[0].numpy())
        return GaussianStates(np.concatenate(means), np.concatenate(covs), seqs.lengths, seqs.ids, seqs.times)

    def memory(self, data: Any = None) -> Memory:
        """Half-lives of either direction, from the eigenvalues of A − K C and of A; `data` is not needed."""
        own = self._weights()
        n, noise = len(own["transition"]), own["noise_root"] @ own["noise_root"].T
        start = own["initial_root"] @ own["initial_root"].T
        return steady.memory(
            system(
                own["transition"], own["observation"], noise[:n, :n], noise[n:, n:], own["initial_mean"], start, S=noise[:n, n:]
            )
        )  # fmt: skip
