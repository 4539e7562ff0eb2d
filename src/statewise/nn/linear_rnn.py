"""The linear RNN in innovations form, as a torch module."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from statewise.kernels import linear_rnn


class LinearRNNModule(nn.Module):
    """h[t+1] = A h[t] + K[t] (y[t] − ŷ[t]) + B u[t] + b,  ŷ[t] = C h[t] + D u[t] + d,  y[t] − ŷ[t] ~ N(0, F[t]).

    The recurrent weight is A − K C and the input weight K. K and F are schedules over the first L steps whose last entry
    serves for all later steps, so that L = 1 is a plain RNN with constant weights. All parameters are trainable and float64.

    Args:
        A (n, n), C (p, n), b (n,), d (p,), B (n, u), D (p, u): the system.
        gain: K, (L, n, p).
        innovation_cov: F, (L, p, p); stored as its Cholesky factor `innovation_chol`.
        h0: (n,) the first state.

    `forward(y, u=None)` takes (N, T, p) complete observations and (N, T, u) inputs and returns the predictions ŷ (N, T, p) and
    the state after the last step (N, n). `log_prob` gives (N, T) nats.
    """

    def __init__(
        self,
        A: np.ndarray,
        C: np.ndarray,
        b: np.ndarray,
        d: np.ndarray,
        B: np.ndarray,
        D: np.ndarray,
        gain: np.ndarray,
        innovation_chol: np.ndarray,
        h0: np.ndarray,
    ) -> None:
        super().__init__()
        self.transition = _parameter(A)
        self.observation = _parameter(C)
        self.state_intercept = _parameter(b)
        self.observation_intercept = _parameter(d)
        self.input_to_state = _parameter(B)
        self.input_to_observation = _parameter(D)
        self.gain = _parameter(gain)
        self.innovation_chol = _parameter(innovation_chol)
        self.initial_state = _parameter(h0)

    def forward(self, y: Tensor, u: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not torch.is_grad_enabled() and y.device.type == "cpu":
            return self._compiled(y, u)
        h = self.initial_state.expand(y.shape[0], -1)
        last = self.gain.shape[0] - 1
        predictions = []
        inputs = [None] * y.shape[1] if u is None else list(u.unbind(1))
        for t, (y_t, u_t) in enumerate(zip(y.unbind(1), inputs, strict=True)):
            expected = h @ self.observation.T + self.observation_intercept
            move: Tensor = self.state_intercept
            if u_t is not None:
                expected = expected + u_t @ self.input_to_observation.T
                move = move + u_t @ self.input_to_state.T
            predictions.append(expected)
            h = h @ self.transition.T + (y_t - expected) @ self.gain[min(t, last)].T + move
        return torch.stack(predictions, dim=1), h

    def _compiled(self, y: Tensor, u: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same numbers without gradients, from the compiled recursion."""
        at_state = self.state_intercept.expand(*y.shape[:2], -1)
        at_observation = self.observation_intercept.expand(*y.shape[:2], -1)
        if u is not None:
            at_state = at_state + u @ self.input_to_state.T
            at_observation = at_observation + u @ self.input_to_observation.T
        h = np.repeat(self.initial_state.numpy()[None], len(y), axis=0)
        expected = np.empty(at_observation.shape)
        parts = (y, at_state, at_observation, self.transition, self.observation, self.gain)
        values, s, o, A, C, gain = (np.array(part.numpy(), dtype=np.float64) for part in parts)
        linear_rnn.run(values, s, o, A, C, gain, h, np.empty(h.shape[1]), expected)
        return torch.from_numpy(expected), torch.from_numpy(h)

    def innovation_roots(self, length: int) -> Tensor:
        """(length, p, p) Cholesky factors of F[t]."""
        last = self.innovation_chol.shape[0] - 1
        return torch.tril(self.innovation_chol)[torch.arange(length).clamp(max=last)]

    def log_prob(self, y: Tensor, u: Tensor | None = None) -> Tensor:
        """(N, T) log density of each step given the steps before it."""
        expected, _ = self(y, u)
        roots = self.innovation_roots(y.shape[1])
        whitened = torch.linalg.solve_triangular(roots, (y - expected).unsqueeze(-1), upper=False).squeeze(-1)
        logdet = torch.log(torch.diagonal(roots, dim1=-2, dim2=-1)).sum(-1)
        return -0.5 * (whitened**2).sum(-1) - logdet - 0.5 * y.shape[2] * float(np.log(2 * np.pi))


def _parameter(array: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.tensor(array, dtype=torch.float64))
