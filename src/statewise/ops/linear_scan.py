"""The diagonal linear recurrence as a differentiable operation on tensors: a fused loop on the CPU, a parallel scan elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise._core.errors import InputError
from statewise.kernels import _memory
from statewise.kernels import linear_scan as kernels

_FUSED = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.complex64: np.complex64,
    torch.complex128: np.complex128,
}


def linear_scan(
    a: Tensor, b: Tensor, initial: Tensor | None = None, lengths: Tensor | None = None, batch_first: bool = False
) -> Tensor:
    """h[t] = a[t] h[t−1] + b[t], entry by entry, for t = 1 … T, from h[0] = `initial`; real or complex.

    Args:
        a: (T, B, H), or (B, T, H) if batch_first; or (H,), the same at every step of every sequence.
        b: (T, B, H), or (B, T, H) if batch_first.
        initial: (B, H); zeros unless given.
        lengths: (B,) whole numbers from 0 to T; steps from a sequence's length on are neither read nor counted, and h is 0 there.
        batch_first: the order of the first two axes.

    Returns h, of b's shape, differentiable in a, b and initial as often as you like. On a CPU in single or double precision it is
    one sequential loop near the bandwidth of memory. On other devices and in other precisions it is a parallel scan:
    neighbouring steps combine to (a₂a₁, a₂b₁ + b₂), pairs to fours and so on, ~2 log₂ T rounds and 2T combinations.

    Raises:
        InputError: shapes, devices or lengths do not fit.

    Source: Blelloch, *Prefix sums and their applications* (1990), §1.4.1.

    Example:
        >>> import torch
        >>> h = linear_scan(torch.full((1,), 0.5), torch.ones(4, 1, 1))
        >>> h.flatten().tolist()
        [1.0, 1.5, 1.75, 1.875]
    """
    ends = _check(a, b, initial, lengths, batch_first)
    kind = torch.promote_types(a.dtype, b.dtype)
    if initial is None:
        initial = b.new_zeros(b.shape[0 if batch_first else 1], b.shape[2], dtype=kind)
    kind = torch.promote_types(kind, initial.dtype)
    result: Tensor = _LinearScan.apply(a.to(kind), b.to(kind), initial.to(kind), ends, batch_first)
    return result


def _check(a: Tensor, b: Tensor, initial: Tensor | None, lengths: Tensor | None, batch_first: bool) -> Tensor | None:
    axes = "(batch, time, hidden)" if batch_first else "(time, batch, hidden)"
    if b.ndim != 3 or b.shape[1 if batch_first else 0] == 0:
        raise InputError(f"`b` has shape {tuple(b.shape)}; pass {axes} with at least one step")
    if a.shape not in (b.shape, b.shape[2:]):
        raise InputError(f"`a` has shape {tuple(a.shape)}; pass {tuple(b.shape)} like `b`, or {tuple(b.shape[2:])}")
    count, steps = (b.shape[0], b.shape[1]) if batch_first else (b.shape[1], b.shape[0])
    if initial is not None and initial.shape != (count, b.shape[2]):
        raise InputError(f"`initial` has shape {tuple(initial.shape)}; pass (batch, hidden) = {(count, b.shape[2])}")
    if not b.dtype.is_floating_point and not b.dtype.is_complex:
        raise InputError(f"`b` has the type {b.dtype}; pass real or complex numbers")
    if a.device != b.device or (initial is not None and initial.device != b.device):
        raise InputError(f"`a` or `initial` is not on `b`'s device, {b.device}; move it there")
    return None if lengths is None else check_lengths(lengths, count, steps).to(b.device)


def check_lengths(lengths: Any, count: int, steps: int) -> Tensor:
    """`lengths` as an int64 tensor (count,) of numbers from 0 to `steps`."""
    result = torch.as_tensor(lengths)
    if result.dtype.is_floating_point or result.dtype.is_complex or result.shape != (count,):
        raise InputError(
            f"`lengths` has shape {tuple(result.shape)} and type {result.dtype}; pass {count} whole numbers"
        )
    result = result.to(torch.int64)
    if count and not 0 <= int(result.min()) <= int(result.max()) <= steps:
        raise InputError(f"`lengths` has {int(result.min())} to {int(result.max())}; pass numbers from 0 to {steps}")
    return result


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, initial: Tensor, lengths: Tensor | None, batch_first: bool) -> Tensor:
        if _is_fused(b):
            h = _empty(b.shape, b.dtype)
            kernels.scan(_array(a), _array(b), _array(initial), _array(lengths), batch_first, h.numpy())
        else:
            h = _parallel(a, b, initial, lengths, batch_first)
        ctx.save_for_backward(a, initial, h, lengths)
        ctx.batch_first = batch_first
        return h

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (g,) = upstream
        a, initial, h, lengths = ctx.saved_tensors
        if torch.is_grad_enabled() or not _is_fused(h):
            gradients = _gradient(a, initial, h, lengths, ctx.batch_first, g)
        else:
            gradients = _fused_gradient(a, initial, h, lengths, ctx.batch_first, g)
        return (*gradients, None, None)


def _is_fused(b: Tensor) -> bool:
    return b.device.type == "cpu" and b.dtype in _FUSED


def _empty(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(_memory.empty(shape, _FUSED[dtype]))


def _array(tensor: Tensor | None) -> Any:
    """Contiguous, and without a conjugation that is still due."""
    return None if tensor is None else tensor.detach().resolve_conj().contiguous().numpy()


def _fused_gradient(
    a: Tensor, initial: Tensor, h: Tensor, lengths: Tensor | None, batch_first: bool, g: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    dinitial = torch.zeros(initial.shape, dtype=h.dtype)
    da = torch.zeros_like(dinitial) if a.ndim == 1 else _empty(a.shape, h.dtype)
    db = _empty(h.shape, h.dtype)
    given = (_array(a), _array(initial), _array(lengths), batch_first, _array(h), _array(g))
    kernels.scan_gradient(*given, da.numpy(), db.numpy(), dinitial.numpy())
    return da.sum(0) if a.ndim == 1 else da, db, dinitial


def _gradient(
    a: Tensor, initial: Tensor, h: Tensor, lengths: Tensor | None, batch_first: bool, g: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by operations that have gradients themselves: the recurrence backwards is the recurrence on flipped steps."""
    axis, steps = (1, h.shape[1]) if batch_first else (0, h.shape[0])
    follows = a.conj()
    if a.ndim == 3:
        follows = follows.narrow(axis, 1, steps - 1)
        follows = torch.cat([follows, torch.zeros_like(h.detach().narrow(axis, 0, 1))], dim=axis)
    if lengths is not None:
        g = zeros_beyond(g, lengths, batch_first)
        follows = zeros_beyond(follows, lengths - 1, batch_first) if a.ndim == 3 else follows
    flipped = follows.flip(axis) if a.ndim == 3 else follows
    d = linear_scan(flipped, g.flip(axis), batch_first=batch_first).flip(axis)
    before = torch.cat([initial.unsqueeze(axis), h.narrow(axis, 0, steps - 1)], dim=axis)
    da = d * before.conj()
    first = a.conj() if a.ndim == 1 else a.conj().select(axis, 0)
    dinitial = first * d.select(axis, 0)
    if lengths is not None:  # what was not read may be NaN
        da = zeros_beyond(da, lengths, batch_first)
        dinitial = torch.where((lengths > 0)[:, None], dinitial, torch.zeros_like(dinitial))
    return da.sum((0, 1)) if a.ndim == 1 else da, d, dinitial


def zeros_beyond(tensor: Tensor, lengths: Tensor, batch_first: bool) -> Tensor:
    """0 from each sequence's length on."""
    steps = torch.arange(tensor.shape[1 if batch_first else 0], device=tensor.device)
    seen = steps[None, :] < lengths[:, None] if batch_first else steps[:, None] < lengths[None, :]
    return torch.where(seen[..., None], tensor, torch.zeros_like(tensor))


def _parallel(a: Tensor, b: Tensor, initial: Tensor, lengths: Tensor | None, batch_first: bool) -> Tensor:
    """The parallel scan, by the contract of `linear_scan`."""
    if lengths is not None:
        a = zeros_beyond(a, lengths, batch_first) if a.ndim == 3 else a
        b = zeros_beyond(b, lengths, batch_first)
    a = a.expand(1, 1, -1) if a.ndim == 1 else a
    if batch_first:
        a, b = a.transpose(0, 1), b.transpose(0, 1)
    first = a[0] * initial
    b = b.clone()
    b[0] += first if lengths is None else torch.where((lengths > 0)[:, None], first, torch.zeros_like(first))
    h = _combine(a, b)
    if batch_first:
        h = h.transpose(0, 1)
    return (h if lengths is None else zeros_beyond(h, lengths, batch_first)).contiguous()


def _combine(a: Tensor, b: Tensor) -> Tensor:
    """h (T, …) with h[0] = b[0]: pairs of steps are single steps of a scan of half the length; a may have one step for all."""
    steps = b.shape[0]
    if steps == 1:
        return b
    last = steps - 1
    early, late, even = (a, a, a) if a.shape[0] == 1 else (a[0:last:2], a[1::2], a[2::2])
    odd = _combine(late * early, late * b[0:last:2] + b[1::2])
    h = torch.empty_like(b)
    h[0] = b[0]
    h[1::2] = odd
    h[2::2] = even * odd[: (steps - 1) // 2] + b[2::2]
    return h
