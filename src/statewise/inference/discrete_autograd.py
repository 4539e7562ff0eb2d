"""The log-likelihood of a hidden Markov model as one differentiable operation on tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from statewise._core.errors import InputError
from statewise.inference import discrete, discrete_varying
from statewise.inference.discrete import Chain
from statewise.inference.discrete_varying import VaryingChain
from statewise.ops.scalar import scalar


def hmm_log_prob(
    log_initial: torch.Tensor, log_transition: torch.Tensor, table: torch.Tensor, lengths: Sequence[int] | None = None
) -> torch.Tensor:
    """log Σ over paths of exp(log π[s₁] + Σ log P[s_t, s_{t+1}] + Σ table[t, s_t]), summed over sequences; differentiable once.

    Args:
        log_initial: (K,) log probabilities, −inf for 0.
        log_transition: (K, K) log probabilities, −inf for 0; or (rows, K, K), those out of each row, such as a network makes of
            inputs. What stands at the last row of a sequence is not read, but must be log probabilities too.
        table: (rows, K) log-likelihood of each row in each state.
        lengths: rows of each sequence; one sequence unless given.

    Returns:
        A scalar. Its gradients are expected starts, expected transitions and smoothed probabilities (Fisher's identity: Cappé,
        Moulines & Rydén, *Inference in Hidden Markov Models* (2005), §10.1), which are 0, not NaN, where a log probability is −inf.

    Raises:
        InputError: shapes that do not fit, or probabilities that do not sum to 1.

    Example:
        >>> table = torch.zeros(5, 2, dtype=torch.float64, requires_grad=True)
        >>> half = torch.full((2,), 0.5, dtype=torch.float64).log()
        >>> hmm_log_prob(half, half.expand(2, 2), table).backward()
        >>> table.grad[0]
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    rows = np.array([len(table)] if lengths is None else lengths, dtype=np.int64)

    def value_and_gradient(arrays: Sequence[np.ndarray]) -> tuple[float, Sequence[np.ndarray]]:
        varies = arrays[1].ndim == 3
        initial, transition = np.exp(arrays[0]), np.exp(arrays[1])
        sums = np.concatenate([[initial.sum()], transition.sum(axis=-1).ravel()])
        if np.abs(sums - 1).max() > 1e-6:
            raise InputError(
                "`log_initial` and the rows of `log_transition` are not log probabilities; use log_softmax"
            )
        if varies:
            pairs = discrete_varying.smooth(VaryingChain(initial, arrays[1]), arrays[2], rows)
            return pairs.log_prob, (pairs.starts, pairs.pairs, pairs.probs)
        found = discrete.smooth(Chain(initial, transition), arrays[2], rows)
        return found.log_prob, (found.starts, found.counts, found.probs)

    return scalar(value_and_gradient, log_initial, log_transition, table)
