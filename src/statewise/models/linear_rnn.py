"""A linear RNN that is a state-space model in innovations form; made by `convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from statewise._core import checks
from statewise._core.errors import InputError
from statewise._core.seed import generator
from statewise.inference.steady import closed_loop_memory
from statewise.inference.system import System
from statewise.models.base import Density
from statewise.nn.linear_rnn import LinearRNNModule
from statewise.results.fit import Memory
from statewise.results.forecast import Forecast
from statewise.results.marginals import GaussianMarginals
from statewise.results.predicted import Predicted
from statewise.sequences.calendar import future_times
from statewise.sequences.sequences import Sequences

if TYPE_CHECKING:
    from torch import Tensor

# constructor argument of the module -> its name among the parameters
_ARGUMENTS = {
    "A": "transition",
    "C": "observation",
    "b": "state_intercept",
    "d": "observation_intercept",
    "B": "input_to_state",
    "D": "input_to_observation",
    "gain": "gain",
    "innovation_chol": "innovation_chol",
    "h0": "initial_state",
}


class LinearRNN(Density):
    """h[t+1] = (A − K[t] C) h[t] + K[t] y[t] + …,  ŷ[t] = C h[t] + …: the Kalman filter as a recurrent network.

    Made by ``convert(model, to="rnn")``. ``.module`` is the torch network: trainable, float64; its verbs here always use its present
    weights, so training it changes what they say. Missing entries are integrated out: the gain then depends on which are missing, and
    the law that the network gives complete sequences is filtered exactly.

    Source: theory §1 and §9 of the documentation (guide/bridges).
    """

    kind = "linear-rnn"
    options = {}

    def __init__(self) -> None:
        super().__init__()
        self._module: LinearRNNModule | None = None

    @classmethod
    def from_schedule(
        cls, sys: System, gain: np.ndarray, innovation_cov: np.ndarray, schema: dict[str, Any] | None = None
    ) -> Self:
        """From a system with its gains (L, n, p) and innovation covariances (L, p, p)."""
        model = cls()
        width = max(sys.B.shape[1], sys.D.shape[1])  # inputs may enter by one way only, and the other is then empty
        B, D = (M if M.shape[1] else np.zeros((len(M), width)) for M in (sys.B, sys.D))
        arrays = (sys.A, sys.C, sys.b, sys.d, B, D, gain, np.linalg.cholesky(innovation_cov), sys.m0)
        model._module = LinearRNNModule(*arrays)
        model._schema = schema
        model._parameters = model._weights()
        return model

    def clone(self) -> Self:
        """A copy with weights of its own (there are no options from which an unfitted one could be made)."""
        copy = type(self)()
        if self.is_fitted:
            copy._restore({name: weight.copy() for name, weight in self._weights().items()}, self._schema)
        return copy

    def _weights(self) -> dict[str, np.ndarray]:
        return {name: weight.detach().numpy() for name, weight in self.module.state_dict().items()}

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        self._module = LinearRNNModule(**{argument: parameters[name] for argument, name in _ARGUMENTS.items()})
        self._schema = schema
        self._parameters = self._weights()

    @property
    def module(self) -> LinearRNNModule:
        """The torch network."""
        if self._module is None:
            _ = self.parameters
            raise InputError("this LinearRNN has no network; make one with convert(model, to='rnn')")
        return self._module

    @property
    def label(self) -> str:
        gain = self.parameters["gain"]
        return f"states={gain.shape[1]}, dim={gain.shape[2]}, gain={'exact' if len(gain) > 1 else 'steady'}"

    @property
    def n_parameters(self) -> int:
        """Weights of the network."""
        return sum(weight.numel() for weight in self.module.parameters())

    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        with torch.no_grad():
            parts = [self.module.log_prob(y, u)[0].numpy() for y, u in self._tensors(seqs)]
        return np.concatenate(parts)

    def predict(self, data: Any) -> Predicted:
        """One-step-ahead means, variances and standardised residuals."""
        seqs = self._receive(data)
        means, variances = [], []
        with torch.no_grad():
            for y, u in self._tensors(seqs):
                if torch.isnan(y).any():
                    mean, cov, _, _ = self.module.filtered(y, u)
                    means.append(mean[0].numpy())
                    variances.append(torch.diagonal(cov[0], dim1=-2, dim2=-1).numpy())
                    continue
                means.append(self.module(y, u)[0][0].numpy())
                roots = self.module.innovation_roots(y.shape[1])
                variances.append((roots**2).sum(-1).numpy())
        return Predicted.gaussian(seqs, np.concatenate(means), np.concatenate(variances))

    def forecast(
        self, data: Any, steps: int = 12, level: Any = (80, 95), inputs: Any = None, seed: int | None = 0
    ) -> Forecast:
        """Gaussian predictive distributions: the network fed with its own predictions, and their innovations' variances added up."""
        seqs = self._receive(data)
        steps = self._steps_ahead(steps, len(seqs))
        future = self._future_inputs(inputs, len(seqs), steps)
        own = self._weights()
        A, C, K, roots = own["transition"], own["observation"], own["gain"], np.tril(own["innovation_chol"])
        h, V = self._ends(seqs)
        mean, var = np.empty((len(seqs), steps, len(C))), np.empty((len(seqs), steps, len(C)))
        for step in range(steps):
            at = np.minimum(seqs.lengths + step, len(K) - 1)
            F = roots[at] @ roots[at].transpose(0, 2, 1)
            mean[:, step] = h @ C.T + own["observation_intercept"]
            var[:, step] = np.einsum("pi,nij,pj->np", C, V, C) + np.einsum("npp->np", F)
            h = h @ A.T + own["state_intercept"]
            if future is not None:
                mean[:, step] += future[:, step] @ own["input_to_observation"].T
                h = h + future[:, step] @ own["input_to_state"].T
            V = A @ V @ A.T + K[at] @ F @ K[at].transpose(0, 2, 1)
        times = future_times(seqs, steps)
        return Forecast(GaussianMarginals(mean, var), checks.levels(level), seqs.ids, seqs.columns, times)

    def _ends(self, seqs: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """Mean (N, n) and covariance (N, n, n) of the state after the last step of each sequence; zero where all was observed."""
        means, covs, n = [], [], len(self.module.initial_state)
        with torch.no_grad():
            for y, u in self._tensors(seqs):
                if torch.isnan(y).any():
                    _, _, h, P = self.module.filtered(y, u)
                    means.append(h.numpy())
                    covs.append(P.numpy())
                    continue
                means.append(self.module(y, u)[1].numpy())
                covs.append(np.zeros((1, n, n)))
        return np.concatenate(means), np.concatenate(covs)

    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        """`count` sequences of `length` steps: each step is the prediction plus an innovation drawn from N(0, F[t])."""
        length, count = self._draws(length, count)
        given = self._future_inputs(inputs, count, length)
        own, rng = self._weights(), generator(seed)
        C, K, roots = own["observation"], own["gain"], np.tril(own["innovation_chol"])
        h = np.repeat(own["initial_state"][None], count, axis=0)
        y = np.empty((count, length, len(C)))
        for t in range(length):
            at = min(t, len(K) - 1)
            e = rng.standard_normal((count, len(C))) @ roots[at].T
            y[:, t] = h @ C.T + own["observation_intercept"] + e
            h = h @ own["transition"].T + own["state_intercept"] + e @ K[at].T
            if given is not None:
                y[:, t] += given[:, t] @ own["input_to_observation"].T
                h = h + given[:, t] @ own["input_to_state"].T
        return self._drawn(y, given)

    def memory(self, data: Any = None) -> Memory:
        """Half-lives from the eigenvalues of the recurrent weight A − K C and of A; `data` is not needed."""
        own = self._weights()
        root = np.tril(own["innovation_chol"][-1])
        return closed_loop_memory(own["transition"], own["observation"], own["gain"][-1], root @ root.T)

    def _tensors(self, seqs: Sequences) -> list[tuple[Tensor, Tensor | None]]:
        """(1, T, p) values and (1, T, u) inputs of each sequence."""
        if seqs.dim != self.module.observation.shape[0]:
            raise InputError(
                f"the sequences have {seqs.dim} columns but the network predicts {self.module.observation.shape[0]}"
            )
        values = [torch.tensor(y)[None] for y in seqs.arrays()]
        if seqs.inputs is None:
            return [(y, None) for y in values]
        inputs = np.split(seqs.inputs, seqs.offsets[1:-1])
        return [(y, torch.tensor(u)[None]) for y, u in zip(values, inputs, strict=True)]
