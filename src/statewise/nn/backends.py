"""Which recurrent layers the numba kernels compute, and which are left to torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PRECISIONS = (torch.float32, torch.float64)


def obstacle(tensors: list[Tensor]) -> str:
    """Why the kernels cannot compute with these tensors here and now, or ""."""
    first = tensors[0]
    for tensor in tensors:
        if type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter:
            return f"{type(tensor).__name__} is not a plain tensor"
        if tensor.device.type != "cpu":
            return f"on {tensor.device.type} torch's layer runs"
        if tensor.dtype not in PRECISIONS:
            return f"the kernels know float32 and float64, not {tensor.dtype}"
        if tensor.dtype != first.dtype:
            return f"the layer has {tensor.dtype} and its input {first.dtype}"
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.jit.is_scripting():
        return "torch is tracing the layer"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if _transformed() or _forward_mode():
        return "a function transform or forward-mode differentiation is under way"
    return "" if first.numel() else "the input is empty"


def _transformed() -> bool:
    inside: Any = getattr(torch._C, "_are_functorch_transforms_active", None)
    return bool(inside is not None and inside())


def _forward_mode() -> bool:
    return torch.autograd.forward_ad._current_level >= 0


def torch_is_faster(kind: str, dtype: torch.dtype, steps: int, batch: int, hidden: int, ragged: bool) -> bool:
    """Whether torch's own layer is at least as fast on a plain layer of this size, as benchmarks/layers.py measured on two cores.

    torch has a fused LSTM (oneDNN) for float32 that loses only where a step is too small to be shared among its threads, or ragged. Its RNN
    and GRU, and its ragged LSTM, go step by step; there the kernels lose to its larger matrix products, and to its shorter way in for a few
    steps.
    """
    if steps < 4:
        return True
    if ragged:
        return hidden > 640
    if kind == "lstm" and dtype == torch.float32:
        return batch * hidden > (512 if hidden <= 32 else 64)
    return hidden > 288
