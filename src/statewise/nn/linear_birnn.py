"""The bidirectional linear RNN that a fixed-interval smoother is, as a torch module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

NAMES = (
    "transition", "observation", "state_intercept", "observation_intercept", "input_to_state", "input_to_observation", "noise_root",
    "initial_mean", "initial_root",
)  # fmt: skip


class _Step(NamedTuple):
    """One step of a batch: y ~ C x + N(0, R), x' = A x + drive + N(0, Q), with the noises made independent of each other."""

    C: Tensor
    R: Tensor
    informed: Tensor  # C' R⁻¹, the weight of the −y skip
    y: Tensor
    A: Tensor
    Q: Tensor
    drive: Tensor


class LinearBiRNNModule(nn.Module):
    """Forward F, backward B and a merge with a −y skip: the two-filter form of the smoother, exact at both ends.

    ::

        F[t] = (I − K C)(A F[t−1] + b) + K y[t]                        the filter, K its gain at t
        B[t] = A' (I + Ω Q)⁻¹ (B[t+1] − Ω b) + C' R⁻¹ y[t]             the information that y[t … T] has on the state, Ω its precision
        x̂[t] = M F[t] + M P B[t] − M P C' R⁻¹ y[t],   M = (I + P Ω⁻)⁻¹  both have seen y[t], so one of them is taken back

    The gains K and the precisions Ω follow from the weights and from which entries are missing; P is the filter's covariance. With
    correlated noise A, b and Q stand for A − S R⁻¹ C, b + S R⁻¹ y and Q − S R⁻¹ S'. With a diffuse start F carries information, too.

    Args:
        weights: arrays by the names in `NAMES`: noise_root (n + p, n + p) has Cov(w, v) = root rootᵀ, initial_root (n, n) the start's covariance.
        initial_precision: (n, n) the precision of a start that is diffuse, singular where nothing is known; None of a known start.

    `forward(y, u=None)` takes (N, T, p) observations, NaN where missing, and gives the smoothed means (N, T, n) and covariances
    (N, T, n, n). All weights are trainable and float64.
    """

    transition: Tensor
    observation: Tensor
    state_intercept: Tensor
    observation_intercept: Tensor
    input_to_state: Tensor
    input_to_observation: Tensor
    noise_root: Tensor
    initial_mean: Tensor
    initial_root: Tensor
    initial_precision: Tensor | None

    def __init__(self, weights: dict[str, np.ndarray], initial_precision: np.ndarray | None = None) -> None:
        super().__init__()
        for name in NAMES:
            setattr(self, name, nn.Parameter(torch.tensor(weights[name], dtype=torch.float64)))
        precision = None if initial_precision is None else torch.tensor(initial_precision)
        self.register_buffer("initial_precision", precision)

    def forward(self, y: Tensor, u: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps = self._steps(y, u)
        ahead = self._backward(steps)
        run = self._from_covariance if self.initial_precision is None else self._from_information
        means, covs = run(steps, ahead)
        return torch.stack(means, dim=1), torch.stack(covs, dim=1)

    def _steps(self, y: Tensor, u: Tensor | None) -> list[_Step]:
        """What each step says and does. A missing entry is one without weight: no row of C, unit noise, nothing shared."""
        n, A, C = len(self.transition), self.transition, self.observation
        noise = self.noise_root @ self.noise_root.T
        rest, drive = y - self.observation_intercept, self.state_intercept.expand(*y.shape[:2], n)
        if u is not None:
            rest = rest - u @ self.input_to_observation.T
            drive = drive + u @ self.input_to_state.T
        found = []
        for t in range(y.shape[1]):
            seen = (~torch.isnan(rest[:, t])).to(y)
            own = seen[:, :, None] * C
            R = seen[:, :, None] * noise[n:, n:] * seen[:, None, :] + torch.diag_embed(1 - seen)
            inverse = torch.linalg.inv(R)
            shared = (noise[:n, n:] * seen[:, None, :]) @ inverse
            value = torch.where(seen > 0, rest[:, t], 0.0)
            Q = noise[:n, :n] - shared @ R @ shared.mT
            found.append(
                _Step(own, R, own.mT @ inverse, value, A - shared @ own, Q, drive[:, t] + _times(shared, value))
            )
        return found

    def _backward(self, steps: Sequence[_Step]) -> list[tuple[Tensor, Tensor]]:
        """For each step, the precision Ω⁻ and the vector B⁻ that the steps after it give, B = B⁻ + C' R⁻¹ y."""
        first, size = steps[-1], len(self.transition)
        zero = first.y.new_zeros(len(first.y), size)
        found = [(torch.diag_embed(zero), zero)]
        for here, after in zip(reversed(steps[:-1]), reversed(steps[1:]), strict=True):
            precision = found[-1][0] + after.informed @ after.C
            vector = found[-1][1] + _times(after.informed, after.y)
            spread = torch.eye(size, dtype=zero.dtype) + precision @ here.Q
            both = torch.cat([precision @ here.A, (vector - _times(precision, here.drive))[..., None]], dim=-1)
            moved = here.A.mT @ torch.linalg.solve(spread, both)
            found.append((_symmetric(moved[..., :-1]), moved[..., -1]))
        return found[::-1]

    def _from_covariance(
        self, steps: Sequence[_Step], ahead: Sequence[tuple[Tensor, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The forward direction as a Kalman filter, merged at each step."""
        batch, eye = len(steps[0].y), torch.eye(len(self.transition), dtype=torch.float64)
        a = self.initial_mean.expand(batch, -1)
        P = (self.initial_root @ self.initial_root.T).expand(batch, -1, -1)
        means, covs = [], []
        for step, (precision, vector) in zip(steps, ahead, strict=True):
            spread = P @ step.C.mT
            gain = torch.linalg.solve(step.C @ spread + step.R, spread.mT).mT
            F = a + _times(gain, step.y - _times(step.C, a))
            kept = eye - gain @ step.C
            P = kept @ P @ kept.mT + gain @ step.R @ gain.mT
            B = vector + _times(step.informed, step.y)
            merge = torch.linalg.inv(eye + P @ precision)
            back = B - _times(step.informed, step.y)  # the −y skip
            means.append(_times(merge, F + _times(P, back)))
            covs.append(_symmetric(merge @ P))
            a, P = _times(step.A, F) + step.drive, _symmetric(step.A @ P @ step.A.mT + step.Q)
        return means, covs

    def _from_information(
        self, steps: Sequence[_Step], ahead: Sequence[tuple[Tensor, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The forward direction as an information filter, which can begin with no information at all."""
        batch, eye = len(steps[0].y), torch.eye(len(self.transition), dtype=torch.float64)
        assert self.initial_precision is not None
        precision = self.initial_precision.expand(batch, -1, -1)
        vector = _times(precision, self.initial_mean.expand(batch, -1))
        means, covs = [], []
        for step, (other, other_vector) in zip(steps, ahead, strict=True):
            precision = precision + step.informed @ step.C
            vector = vector + _times(step.informed, step.y)
            cov = torch.linalg.inv(precision + other)
            means.append(_times(cov, vector + other_vector))
            covs.append(_symmetric(cov))
            moved = torch.linalg.solve(step.A.mT, torch.cat([precision, vector[..., None]], dim=-1))
            along = _symmetric(torch.linalg.solve(step.A.mT, moved[..., :-1].mT))
            spread = eye + along @ step.Q
            both = torch.cat([along, (moved[..., -1] + _times(along, step.drive))[..., None]], dim=-1)
            found = torch.linalg.solve(spread, both)
            precision, vector = _symmetric(found[..., :-1]), found[..., -1]
        return means, covs


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2
