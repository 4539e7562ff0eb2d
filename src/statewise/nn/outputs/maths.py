"""The few functions that a density needs, for NumPy arrays and for torch tensors alike, so that each formula is written once."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from scipy.special import gammaln, logsumexp

Array = Any  # a NumPy array or a torch tensor; both know + − · /, indexing, reshape and sum(axis)


class Maths(Protocol):
    """Elementwise unless said otherwise."""

    def exp(self, a: Array) -> Array: ...

    def tanh(self, a: Array) -> Array: ...

    def log1p(self, a: Array) -> Array: ...

    def softplus(self, a: Array) -> Array: ...

    def log_gamma(self, a: Array) -> Array: ...

    def log_sum_exp(self, a: Array) -> Array: ...  # over the last axis

    def picked(self, a: Array, index: Array) -> Array: ...  # a[..., index[...]] along the last axis

    def whitened(self, lower: Array, a: Array) -> Array: ...  # L⁻¹ a, for L (..., p, p) lower triangular and a (..., p)

    def root(self, a: Array) -> Array: ...  # Cholesky factor

    def log(self, a: Array) -> Array: ...

    def eye(self, size: int, like: Array) -> Array: ...

    def lower(
        self, entries: Array, size: int
    ) -> Array: ...  # strictly lower triangular (..., p, p) from its entries, row by row


class NumpyMaths:
    """float64 arrays."""

    exp, tanh, log1p, log_gamma, log = np.exp, np.tanh, np.log1p, gammaln, np.log

    def softplus(self, a: np.ndarray) -> np.ndarray:
        return np.logaddexp(0.0, a)

    def log_sum_exp(self, a: np.ndarray) -> np.ndarray:
        return np.asarray(logsumexp(a, axis=-1))

    def picked(self, a: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.take_along_axis(a, index.astype(np.int64)[..., None], axis=-1)[..., 0]

    def whitened(self, lower: np.ndarray, a: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.solve(lower, a[..., None])[..., 0])

    def root(self, a: np.ndarray) -> np.ndarray:
        return np.linalg.cholesky(a)

    def eye(self, size: int, like: np.ndarray) -> np.ndarray:
        return np.eye(size)

    def lower(self, entries: np.ndarray, size: int) -> np.ndarray:
        table = np.zeros((*entries.shape[:-1], size, size))
        table[(..., *np.tril_indices(size, -1))] = entries
        return table


class TorchMaths:
    """Tensors of any floating precision; imports torch when it is made."""

    def __init__(self) -> None:
        import torch

        self._torch: Any = torch
        self.exp, self.tanh, self.log1p, self.log = torch.exp, torch.tanh, torch.log1p, torch.log
        self.softplus, self.log_gamma, self.root = torch.nn.functional.softplus, torch.lgamma, torch.linalg.cholesky

    def log_sum_exp(self, a: Array) -> Array:
        return self._torch.logsumexp(a, dim=-1)

    def picked(self, a: Array, index: Array) -> Array:
        return self._torch.gather(a, -1, index.long()[..., None])[..., 0]

    def whitened(self, lower: Array, a: Array) -> Array:
        return self._torch.linalg.solve_triangular(lower, a[..., None], upper=False)[..., 0]

    def eye(self, size: int, like: Array) -> Array:
        return self._torch.eye(size, dtype=like.dtype)

    def lower(self, entries: Array, size: int) -> Array:
        row, column = self._torch.tril_indices(size, size, -1)
        flat = entries.new_zeros((*entries.shape[:-1], size * size))
        return flat.index_add(-1, row * size + column, entries).reshape(*entries.shape[:-1], size, size)


NUMPY = NumpyMaths()
