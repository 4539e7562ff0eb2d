"""A number and its gradient, computed on arrays, as one differentiable operation on tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

ValueAndGradient = Callable[[Sequence[np.ndarray]], tuple[float, Sequence[np.ndarray]]]


class _Scalar(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: ValueAndGradient, *tensors: torch.Tensor) -> torch.Tensor:
        arrays = [np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float64) for tensor in tensors]
        value, gradients = function(arrays)
        pairs = zip(tensors, gradients, strict=True)
        ctx.save_for_backward(
            *(torch.as_tensor(gradient, dtype=tensor.dtype, device=tensor.device) for tensor, gradient in pairs)
        )
        return tensors[0].new_tensor(value)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        return (None, *(upstream[0] * gradient for gradient in ctx.saved_tensors))


def scalar(function: ValueAndGradient, *tensors: torch.Tensor) -> torch.Tensor:
    """The value f(a₁, …) of tensors, differentiable once: `function` takes float64 arrays and returns f and ∂f/∂aᵢ of the same shapes.

    The computation runs on the CPU in float64; the result has the first tensor's dtype and device.
    """
    result: torch.Tensor = _Scalar.apply(function, *tensors)
    return result
