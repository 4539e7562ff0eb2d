"""The linear RNN in innovations form, as a torch module."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from statewise.nn.backends import obstacle
from statewise.nn.batch import judge_batch
from statewise.ops.linear_rnn import linear_rnn, unrolled


class LinearRNNModule(nn.Module):
    """h[t+1] = A h[t] + K[t] (y[t] − ŷ[t]) + B u[t] + b,  ŷ[t] = C h[t] + D u[t] + d,  y[t] − ŷ[t] ~ N(0, F[t]).

    The recurrent weight is A − K C and the input weight K. K and F are schedules over the first L steps whose last entry
    serves for all later steps, so that L = 1 is a plain RNN with constant weights. All parameters are trainable and float64.

    Args:
        A (n, n), C (p, n), b (n,), d (p,), B (n, u), D (p, u): the system.
        gain: K, (L, n, p).
        innovation_cov: F, (L, p, p); stored as its Cholesky factor `innovation_chol`.
        h0: (n,) the first state.

    `forward(y, u=None)` takes (N, T, p) observations, NaN where missing, and (N, T, u) inputs and returns the predictions ŷ (N, T, p)
    and the state after the last step (N, n). `log_prob` gives (N, T) nats. With missing entries the gain depends on which are missing: the
    law that the weights give complete sequences is then filtered exactly, by `filtered`.
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
        judge_batch(y, len(self.observation), u)
        if torch.isnan(y).any():
            expected, _, h, _ = self.filtered(y, u)
            return expected, h
        weights = (self.transition, self.observation, self.gain, self.initial_state)
        at_state, at_observation = self._offsets(y, u)
        given = (y, at_state, at_observation, *weights)
        compiled = y.dtype == torch.float64 and not obstacle(list(given))
        return linear_rnn(*given) if compiled else unrolled(*given)

    def filtered(self, y: Tensor, u: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predictions (N, T, p) and their covariances (N, T, p, p), and the state's mean (N, n) and covariance (N, n, n) after the last step.

        The Kalman filter of h[t+1] = A h[t] + K[t] e[t] + …, y[t] = C h[t] + e[t] + …, e[t] ~ N(0, F[t]) with h[1] known: on complete data its
        gain is K[t] and h has no variance; a missing entry leaves some, which later observations take away again.
        """
        judge_batch(y, len(self.observation), u)
        A, C = self.transition, self.observation
        roots = self.innovation_roots(y.shape[1])
        at_state, at_observation = (part.expand(*y.shape[:2], -1) for part in self._offsets(y, u))
        h = self.initial_state.expand(len(y), -1)
        P = y.new_zeros(len(y), *A.shape)
        last = self.gain.shape[0] - 1
        means, covs = [], []
        for t in range(y.shape[1]):
            F, K = roots[t] @ roots[t].T, self.gain[min(t, last)]
            seen = (~torch.isnan(y[:, t])).to(y)
            expected, cov = h @ C.T + at_observation[:, t], C @ P @ C.T + F
            means.append(expected)
            covs.append(cov)
            own = seen[:, :, None] * cov * seen[:, None, :] + torch.diag_embed(1 - seen)
            cross = (A @ P @ C.T + K @ F) * seen[:, None, :]
            gain = torch.linalg.solve(own, cross.mT).mT
            error = torch.where(seen > 0, y[:, t] - expected, 0.0)
            h = h @ A.T + at_state[:, t] + (gain @ error[..., None])[..., 0]
            # with K = gain on complete rows, so that nothing but zero is left there
            mine, rest = seen[:, :, None] * C, K - gain * seen[:, None, :]
            closed = A - gain @ mine
            P = closed @ P @ closed.mT + rest @ F @ rest.mT
        return torch.stack(means, dim=1), torch.stack(covs, dim=1), h, P

    def _offsets(self, y: Tensor, u: Tensor | None) -> tuple[Tensor, Tensor]:
        """What intercepts and inputs add to the state (N, T, n) and to the observation (N, T, p); (n,) and (p,) without inputs."""
        if u is None:
            return self.state_intercept, self.observation_intercept
        at_state = self.state_intercept + u @ self.input_to_state.T
        return at_state, self.observation_intercept + u @ self.input_to_observation.T

    def innovation_roots(self, length: int) -> Tensor:
        """(length, p, p) Cholesky factors of F[t]."""
        last = self.innovation_chol.shape[0] - 1
        return torch.tril(self.innovation_chol)[torch.arange(length).clamp(max=last)]

    def log_prob(self, y: Tensor, u: Tensor | None = None) -> Tensor:
        """(N, T) log density of each step given the steps before it."""
        if torch.isnan(y).any():
            return self._log_prob_of_observed(y, u)
        expected, _ = self(y, u)
        roots = self.innovation_roots(y.shape[1])
        whitened = torch.linalg.solve_triangular(roots, (y - expected).unsqueeze(-1), upper=False).squeeze(-1)
        logdet = torch.log(torch.diagonal(roots, dim1=-2, dim2=-1)).sum(-1)
        return -0.5 * (whitened**2).sum(-1) - logdet - 0.5 * y.shape[2] * float(np.log(2 * np.pi))

    def _log_prob_of_observed(self, y: Tensor, u: Tensor | None) -> Tensor:
        expected, cov, _, _ = self.filtered(y, u)
        seen = (~torch.isnan(y)).to(y)
        root = torch.linalg.cholesky(seen[..., None] * cov * seen[..., None, :] + torch.diag_embed(1 - seen))
        error = torch.where(seen > 0, y - expected, 0.0)
        whitened = torch.linalg.solve_triangular(root, error.unsqueeze(-1), upper=False).squeeze(-1)
        logdet = torch.log(torch.diagonal(root, dim1=-2, dim2=-1)).sum(-1)
        return -0.5 * (whitened**2).sum(-1) - logdet - 0.5 * seen.sum(-1) * float(np.log(2 * np.pi))


def _parameter(array: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.tensor(array, dtype=torch.float64))
