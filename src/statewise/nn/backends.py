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


def torch_is_faster(
    kind: str, dtype: torch.dtype, rows: int, batch: int, inputs: int, hidden: int, ragged: bool
) -> bool:
    """Whether torch's own layer is at least as fast on a plain layer of this size; measured at two threads, see benchmarks/layers.py."""
    if kind == "lstm" and dtype == torch.float32 and not ragged:
        return batch * hidden > 128
    return hidden > 128 or inputs > 256
