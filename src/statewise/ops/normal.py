"""Log densities of normal laws with independent columns as one differentiable operation, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise._core.errors import InputError
from statewise.kernels import _chunks, gaussian

_LOG_2PI = float(np.log(2 * np.pi))


def normal_table(y: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """(rows, K) Σ over observed entries of −½ (log 2π + v + (y − μ)² e⁻ᵛ), with gradients for μ and v.

    Args:
        y: (rows, p) float64 on the CPU, NaN where missing; it gets no gradient.
        means, log_variances: (K, p) μ and v.

    Raises:
        InputError: shapes that do not fit.
    """
    if y.ndim != 2 or means.shape != log_variances.shape or means.shape[1] != y.shape[1]:
        shapes = ", ".join(str(tuple(part.shape)) for part in (y, means, log_variances))
        raise InputError(f"`y`, `means` and `log_variances` have shapes {shapes}; pass (rows, p), (K, p) and (K, p)")
    result: Tensor = _Table.apply(y, means, log_variances)
    return result


def _differentiable_backward(
    y: Tensor, means: Tensor, log_variances: Tensor, upstream: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients as a graph of torch operations, for second derivatives."""
    seen = ~torch.isnan(y)[:, None, :]
    gap = torch.where(seen, y[:, None, :] - means, 0.0)
    weight = torch.where(seen, upstream[..., None], 0.0)
    precision = torch.exp(-log_variances)
    return (weight * gap).sum(dim=0) * precision, 0.5 * (weight * (gap * gap * precision - 1)).sum(dim=0)


class _Table(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
        ctx.save_for_backward(y, means, log_variances)
        values = np.ascontiguousarray(y.detach().numpy())
        m, log_variance = (np.ascontiguousarray(part.detach().numpy().T) for part in (means, log_variances))
        half, constant = 0.5 * np.exp(-log_variance), -0.5 * (_LOG_2PI + log_variance)
        table = np.empty((len(values), m.shape[1]))

        def work(_: int, first: int, last: int) -> None:
            gaussian.diagonal_table(values, m, half, constant, first, last, table)

        _chunks.share(work, _chunks.by_row(len(values)), 2.0 * values.size * m.shape[1])
        return torch.from_numpy(table)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        y, means, log_variances = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, *_differentiable_backward(y, means, log_variances, upstream)
        y, means, log_variances = (tensor.detach() for tensor in (y, means, log_variances))
        values, weights = (np.ascontiguousarray(part.numpy()) for part in (y, upstream))
        centres, bounds = np.ascontiguousarray(means.numpy().T), _chunks.by_row(len(values))
        sums = np.zeros((3, len(bounds) - 1, *centres.shape))

        def work(chunk: int, first: int, last: int) -> None:
            gaussian.diagonal_moments(values, weights, centres, first, last, *sums[:, chunk])

        _chunks.share(work, bounds, 6.0 * values.size * len(means))
        count, first, second = (torch.from_numpy(part.T) for part in sums.sum(axis=1))
        precision = torch.exp(-log_variances)
        return None, first * precision, 0.5 * (second * precision - count)
