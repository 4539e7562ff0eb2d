"""The linear RNN in innovations form as one differentiable operation: tensors in, kernels on arrays, tensors out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise.kernels import _chunks
from statewise.kernels import linear_rnn as kernel
from statewise.kernels._lanes import BLOCK_BYTES
from statewise.ops.beliefs import by_step, shards

_LANES = BLOCK_BYTES // 8


def linear_rnn(
    y: Tensor, at_state: Tensor, at_observation: Tensor, A: Tensor, C: Tensor, gain: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """ŷ[t] = C h[t] + o[t],  h[t+1] = A h[t] + s[t] + K[t] (y[t] − ŷ[t]) by compiled recursions; differentiable.

    Args:
        y: (N, T, p) without missing entries; float64 on the CPU, as all others.
        at_state, at_observation: s (N, T, n) and o (N, T, p), or (n,) and (p,), the same at every step.
        A: (n, n). C: (p, n).
        gain: (L, n, p), the last for all later steps.
        start: (n,) h[1].

    Returns:
        ŷ (N, T, p) and the state after the last step (N, n). Second derivatives are computed step by step in torch operations.
    """
    result: Any = _LinearRNN.apply(y, at_state, at_observation, A, C, gain, start)
    return result


def unrolled(
    y: Tensor, at_state: Tensor, at_observation: Tensor, A: Tensor, C: Tensor, gain: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """`linear_rnn` in plain torch operations, one step at a time."""
    N, T, _ = y.shape
    s, o = at_state.expand(N, T, -1).unbind(1), at_observation.expand(N, T, -1).unbind(1)
    h, found = start.expand(N, -1), []
    for t, y_t in enumerate(y.unbind(1)):
        found.append(h @ C.T + o[t])
        h = h @ A.T + (y_t - found[-1]) @ gain[min(t, len(gain) - 1)].T + s[t]
    return torch.stack(found, dim=1), h


class _LinearRNN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Any:
        y, s, o, A, C, gain, start = (tensor.detach().numpy() for tensor in tensors)
        (N, T, p), n, length = y.shape, len(A), min(len(gain), y.shape[1])
        width_n, width_p = _padded(n), _padded(p)
        both = np.concatenate([_wide(A.T, width_n), _wide(C.T, width_p)], axis=1)
        gains = _wide(gain[:length].swapaxes(1, 2).reshape(length * p, n), width_n)
        at_state, at_observation = (
            _wide(part[None] if part.ndim == 1 else by_step(part), w) for part, w in ((s, width_n), (o, width_p))
        )
        states, errors = np.empty(((T + 1) * N, width_n)), np.empty((T * N, width_p))
        states[:N] = _wide(start[None], width_n)
        expected, work, values = np.empty((T * N, p)), np.empty((N, 2 * width_n + width_p)), by_step(y)

        def run(_: int, first: int, last: int) -> None:
            kernel.forward(
                values, at_state, at_observation, both, gains, n, p, T, first, last, work, states, expected, errors
            )

        _chunks.share(run, *shards(N, N * T * (n + p) * n))
        ctx.save_for_backward(*tensors)
        ctx.states, ctx.errors, ctx.length = states, errors, length
        return _by_sequence(expected, N), torch.from_numpy(states[T * N :, :n].copy())

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        if torch.is_grad_enabled():
            return _differentiable_backward(ctx, upstream)
        y, s, o, A, C, gain, _ = ctx.saved_tensors
        (N, T, p), n, length = y.shape, len(A), ctx.length
        d_states, d_errors = np.empty(ctx.states.shape), np.empty(ctx.errors.shape)
        d_states[T * N :] = _wide(upstream[1].detach().numpy(), d_states.shape[1])
        d_expected, work = np.empty(d_errors.shape), np.empty((N, 2 * d_states.shape[1]))
        both = _wide(torch.cat([A, C]).detach().numpy(), d_states.shape[1])
        gains = _wide(gain[:length].detach().numpy().reshape(length * n, p), d_errors.shape[1])
        given = by_step(upstream[0].detach().numpy())

        def run(_: int, first: int, last: int) -> None:
            kernel.backward(given, both, gains, n, p, T, first, last, work, d_states, d_expected, d_errors)

        _chunks.share(run, *shards(N, 2 * N * T * (n + p) * n))
        h, moved, seen = ctx.states[: T * N, :n], d_states[N:, :n], d_expected[:, :p]
        d_gain = np.zeros(gain.shape)
        d_gain[:length] = _gain_gradient(moved, ctx.errors[:, :p], N, length)
        found = (
            _by_sequence(d_errors[:, :p], N),
            _offset_gradient(moved, s, N),
            _offset_gradient(seen, o, N),
            torch.from_numpy(moved.T @ h),
            torch.from_numpy(seen.T @ h),
            torch.from_numpy(d_gain),
            torch.from_numpy(d_states[:N, :n].sum(axis=0)),
        )
        return tuple(g if want else None for g, want in zip(found, ctx.needs_input_grad, strict=True))


def _gain_gradient(moved: np.ndarray, errors: np.ndarray, count: int, length: int) -> np.ndarray:
    """(L, n, p) Σ h̄[t+1] e[t]ᵀ over the sequences, and over the steps that share a gain."""
    early = (length - 1) * count
    found = np.empty((length, moved.shape[1], errors.shape[1]))
    shape = (length - 1, count, -1)
    found[:-1] = moved[:early].reshape(shape).swapaxes(1, 2) @ errors[:early].reshape(shape) if early else 0.0
    found[-1] = moved[early:].T @ errors[early:]
    return found


def _offset_gradient(rows: np.ndarray, offset: Tensor, count: int) -> Tensor:
    return torch.from_numpy(rows.sum(axis=0)) if offset.ndim == 1 else _by_sequence(rows, count)


def _differentiable_backward(ctx: Any, upstream: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """The gradients as a graph of torch operations, for second derivatives."""
    given = ctx.saved_tensors
    wanted = [tensor for tensor, want in zip(given, ctx.needs_input_grad, strict=True) if want]
    found = iter(torch.autograd.grad(unrolled(*given), wanted, upstream, create_graph=True, allow_unused=True))
    return tuple(next(found) if want else None for want in ctx.needs_input_grad)


def _by_sequence(rows: np.ndarray, count: int) -> Tensor:
    """(N, T, ·) view of rows (T N, ·)."""
    return torch.from_numpy(rows.reshape(-1, count, rows.shape[1]).swapaxes(0, 1))


def _padded(count: int) -> int:
    return -(-count // _LANES) * _LANES


def _wide(rows: np.ndarray, columns: int) -> np.ndarray:
    """The rows with zeros up to `columns`."""
    found = np.zeros((len(rows), columns))
    found[:, : rows.shape[1]] = rows
    return found
