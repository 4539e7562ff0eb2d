"""The beliefs of a hidden Markov model over a batch as one differentiable operation: the softmax RNN, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise.kernels import _chunks, _memory
from statewise.kernels import beliefs as kernel
from statewise.kernels._lanes import BLOCK_BYTES

_LANES = BLOCK_BYTES // 8
_DENSE = 1e-200  # with no transition rarer than this, a state lost to underflow cannot matter
_LARGE = 100_000  # entries of a table, from which on the time to get memory is felt
_WORTH_SHARING = 4e6  # multiplications, from which two threads beat one


@dataclass(frozen=True, eq=False)
class Beliefs:
    """What a forward pass found; rows are steps, and within a step the sequences.

    Attributes:
        shape: N, T, K.
        belief: (T N, Kp) P(s[t] | y[1 … t]); columns from K on are 0.
        predicted: (T N, Kp) P(s[t] | y[1 … t − 1]), if it was asked for.
        tops, totals: (T N,) the largest log-likelihood of each row, and the sum of its products over that.
        ratio: (T N, Kp) for the backward pass.
    """

    shape: tuple[int, int, int]
    belief: np.ndarray
    predicted: np.ndarray | None
    tops: np.ndarray
    totals: np.ndarray
    ratio: np.ndarray

    def by_sequence(self, rows: np.ndarray) -> np.ndarray:
        """(N, T, K) view of a matrix of rows; (N, T) of one number a row."""
        N, T, K = self.shape
        return rows.reshape(T, N, *rows.shape[1:]).swapaxes(0, 1)[..., :K] if rows.ndim == 2 else rows.reshape(T, N).T

    @property
    def steps(self) -> np.ndarray:
        """(N, T) log density of each step given the steps before it."""
        return self.by_sequence(self.tops + np.log(self.totals))


def run(
    initial: np.ndarray,
    transition: np.ndarray,
    table: np.ndarray,
    keep: bool = False,
    predicted: bool = False,
    spare: bool = False,
) -> Beliefs | None:
    """The forward pass; None where it must be done in log space or a step is impossible.

    Args:
        initial: (K,) law of the first state, or (N, K) one for each sequence.
        transition: (K, K), row i the law of the next state given state i.
        table: (N, T, K) log-likelihoods, 0 in all states where nothing was seen. Nothing is copied where the sequences lie side by side.
        keep: what the backward pass needs.
        predicted: the predictions, too.
        spare: whether `table` may be written over.
    """
    (N, T, K), columns = table.shape, _padded(table.shape[2])
    rows = by_step(table)
    sparse = bool(transition.min() < _DENSE)
    P, start = np.zeros((K, columns)), np.zeros((N, columns))
    P[:, :K], start[:, :K] = transition, initial
    if rows.size > _LARGE:
        _memory.hold()
    b = rows if spare and columns == K else np.empty((T * N, columns))
    belief = np.empty(b.shape) if keep else b
    tops, totals, f = np.empty(T * N), np.empty(T * N), np.empty((T * N if predicted else N, columns))
    fine: list[bool] = []

    def look_up(_: int, first: int, last: int) -> None:
        fine.append(kernel.likelihoods(rows, sparse, first, last, b, tops))

    def walk(_: int, first: int, last: int) -> None:
        fine.append(kernel.forward(b, P, start, sparse, keep, T, first, last, f, belief, totals))

    _chunks.share(look_up, _chunks.by_row(T * N), 1.5 * table.size)
    if all(fine):
        _chunks.share(walk, *shards(N, table.size * K))
    return Beliefs((N, T, K), belief, f if predicted else None, tops, totals, b) if all(fine) else None


def beliefs(
    initial: Tensor, transition: Tensor, table: Tensor, predicted: bool = False
) -> tuple[Tensor, Tensor, Any] | None:
    """P(s[t] | y[1 … t]) (N, T, K), the log density of each step (N, T) and P(s[t] | y[1 … t − 1]) (N, T, K) or None; differentiable.

    α[t] ∝ b[t] ∘ Pᵀ α[t−1] with b = exp(table). Arguments as of `run`, as float64 tensors on the CPU; None where that gives None.

    The gradients are those of the recursion, worked out by its adjoint: one more pass over the steps, from the last to the first. Second
    derivatives are computed step by step in torch operations.

    Source: theory §2 of the documentation; Kitagawa, JASA 82 (1987), for the filter.
    """
    given = (initial, transition, table)
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    arrays = [tensor.detach().numpy() for tensor in given]
    found = run(arrays[0], arrays[1], arrays[2], keep=wanted, predicted=predicted)
    if found is None:
        return None
    result: Any = _Filter.apply(found, *given)
    return result


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, found: Beliefs, initial: Tensor, transition: Tensor, table: Tensor) -> Any:
        ctx.found, ctx.each = found, initial.ndim == 2
        probs = torch.from_numpy(found.by_sequence(found.belief))
        predicted = None if found.predicted is None else torch.from_numpy(found.by_sequence(found.predicted))
        ctx.save_for_backward(
            initial, transition, table, probs
        )  # the last so that torch refuses to go back once it was changed
        ctx.set_materialize_grads(False)
        return probs, torch.from_numpy(found.steps), predicted

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            return None, *_differentiable_backward(ctx, upstream)
        found, transition = ctx.found, ctx.saved_tensors[1].numpy()
        N, T, K = found.shape
        d_probs, d_steps, d_predicted = (np.empty((0, 0)) if g is None else by_step(g.numpy()) for g in upstream)
        P_T, carry = np.zeros((K, found.belief.shape[1])), np.zeros((N, found.belief.shape[1]))
        P_T[:, :K] = transition.T
        d_f, d_table = np.empty(found.belief.shape), np.empty(found.belief.shape)
        given = (d_probs, d_steps.ravel(), d_predicted, found.belief, found.ratio, P_T, T)
        _chunks.share(
            lambda _, first, last: kernel.backward(*given, first, last, carry, d_f, d_table), *shards(N, N * T * K * K)
        )
        d_transition = (found.belief[: (T - 1) * N].T @ d_f[N:])[:K, :K]
        d_initial = d_f[:N, :K] if ctx.each else d_f[:N, :K].sum(axis=0)
        parts = (d_initial.copy(), d_transition.copy(), found.by_sequence(d_table))
        return None, *(torch.from_numpy(part) for part in parts)


def unrolled(initial: Tensor, transition: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`beliefs` with the predictions in plain torch operations, one step at a time."""
    ahead, found = initial.expand(len(table), -1), []
    tops = table.detach().amax(dim=-1, keepdim=True)
    for b in torch.exp(table - tops).unbind(1):
        joint = ahead * b
        mass = joint.sum(dim=-1, keepdim=True)
        found.append((joint / mass, mass[:, 0], ahead))
        ahead = (joint / mass) @ transition
    probs, mass, predicted = (torch.stack(part, dim=1) for part in zip(*found, strict=True))
    return probs, tops[..., 0] + torch.log(mass), predicted


def _differentiable_backward(ctx: Any, upstream: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """The gradients as a graph of torch operations, for second derivatives."""
    given = ctx.saved_tensors[:3]
    pairs = [(out, g) for out, g in zip(unrolled(*given), upstream, strict=True) if g is not None]
    wanted = [tensor for tensor, want in zip(given, ctx.needs_input_grad[1:], strict=True) if want]
    outs, grads = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outs, wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if want else None for want in ctx.needs_input_grad[1:]]


def by_step(array: np.ndarray) -> np.ndarray:
    """(T N, …) of an array (N, T, …): no copy where the sequences lie side by side."""
    return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(-1, *array.shape[2:])


def _padded(states: int) -> int:
    return -(-states // _LANES) * _LANES


def shards(count: int, cost: float) -> tuple[np.ndarray, float]:
    """Bounds of the parts that threads take, and what `share` is to think of the cost: the sequences of a part go four at a time."""
    worth = cost >= _WORTH_SHARING and count >= 8
    return np.array([0, count // 8 * 4, count] if worth else [0, count]), cost if worth else 0.0
