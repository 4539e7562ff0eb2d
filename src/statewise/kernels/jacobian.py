"""The part of a gated cell's Jacobian that its weights make, for a batch at one step."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels._threads import pool, thread_count

_WORTH_SHARING = 1 << 18  # numbers in the result


def recurrent_block(coefficients: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(B, m·H, K): row u of block i is Σ over gates g of coefficients[b, i, g, u] · W[g·H + u].

    Args:
        coefficients: (B, m, G, H).
        weight: (G·H, K), in the same precision.
    """
    batch, carried, _, H = coefficients.shape
    out = np.empty((batch, carried * H, weight.shape[1]), coefficients.dtype)
    coefficients = np.ascontiguousarray(coefficients)
    threads = min(thread_count(), batch) if out.size > _WORTH_SHARING else 1
    edges = np.linspace(0, batch, threads + 1).astype(int)
    parts = [slice(a, b) for a, b in pairwise(edges)]
    work = partial(_part, coefficients, weight, out)
    list(map(work, parts) if threads == 1 else pool().map(work, parts))
    return out


def _part(coefficients: np.ndarray, weight: np.ndarray, out: np.ndarray, part: slice) -> None:
    _recurrent_block(coefficients[part], weight, out[part])


@jit(fast=True)
def _recurrent_block(coefficients: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    batch, carried, gates, H = coefficients.shape
    for b in range(batch):
        for i in range(carried):
            for u in range(H):
                row = out[b, i * H + u]
                row[:] = 0.0
                for g in range(gates):
                    scale = coefficients[b, i, g, u]
                    if scale != 0.0:
                        given = weight[g * H + u]
                        for k in range(row.size):
                            row[k] += scale * given[k]
