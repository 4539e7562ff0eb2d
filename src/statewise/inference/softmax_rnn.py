"""The recurrent networks that a hidden Markov model is, as torch modules: one direction for the filter, two for the smoother.

On the CPU in float64 they run on compiled recursions, forward and backward (`ops.beliefs`); elsewhere, and where a belief must be kept
in logarithms, on torch. The numbers are the same.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from statewise.emissions.base import Emission
from statewise.emissions.rows import Rows
from statewise.inference import discrete
from statewise.inference.discrete import Chain
from statewise.inference.emission_heads import head_of, log_shares, log_sum_exp, logarithm, shares
from statewise.nn.backends import obstacle
from statewise.nn.batch import judge_batch
from statewise.ops.beliefs import beliefs, run


class SoftmaxRNNModule(nn.Module):
    """z[1] = log π + log b(y[1]);  z[t] = log(Pᵀ softmax(z[t−1])) + log b(y[t]);  belief α[t] = softmax(z[t]).

    π, the rows of P and the laws b are softmaxes (or the like) of weights without bounds, so that training leaves a hidden Markov model; a
    probability of zero is a weight of −inf and stays one, with a gradient of zero.

    Args:
        chain: π and P to begin with.
        emission: the laws of the observations.

    `forward(y, u=None)` takes (N, T, p) observations, NaN where missing, and gives the beliefs α (N, T, K); `log_prob` gives (N, T) nats;
    `generate` runs the same network as a sampler. All weights are float64.
    """

    def __init__(self, chain: Chain, emission: Emission) -> None:
        super().__init__()
        self.initial_logits = nn.Parameter(torch.tensor(chain.log_initial))
        self.transition_logits = nn.Parameter(torch.tensor(chain.log_transition))
        self.emission = head_of(emission)

    def forward(self, y: Tensor, u: Tensor | None = None) -> Tensor:
        """(N, T, K) P(s[t] | y[1 … t])."""
        if not self._is_plain(y, u):
            return torch.exp(self.scan(self.emission(y, u))[0])
        if torch.is_grad_enabled():
            return self.filtered(self.table(y, u))[0]
        chain, table = self.chain(), self._table_array(y, u)
        found = run(chain.initial, chain.transition, table, spare=True)
        if found is None:
            return _like(discrete.filter(chain, *_packed(self._table_array(y, u))).probs, y)
        return _tensor(found.by_sequence(found.belief))

    def log_prob(self, y: Tensor, u: Tensor | None = None) -> Tensor:
        """(N, T) log density of each step given the steps before it; −inf where a step is impossible."""
        if not self._is_plain(y, u):
            return self.scan(self.emission(y, u))[1]
        if torch.is_grad_enabled():
            return self.filtered(self.table(y, u))[1]
        chain, table = self.chain(), self._table_array(y, u)
        found = run(chain.initial, chain.transition, table, spare=True)
        if found is None:
            return _like(discrete.log_prob_steps(chain, *_packed(self._table_array(y, u))), y)
        return _tensor(found.steps)

    def generate(self, length: int, count: int = 1, seed: int = 0, u: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States (count, length) and observations (count, length, p): next state ~ softmax(log Pᵀ s) for a one-hot s, y from its law."""
        source = torch.Generator().manual_seed(seed)
        start, move = log_shares(self.initial_logits).exp(), log_shares(self.transition_logits).exp()
        state = torch.multinomial(start.detach().expand(count, -1), 1, generator=source)[:, 0]
        states = [state]
        for _ in range(length - 1):
            state = torch.multinomial(move.detach()[state], 1, generator=source)[:, 0]
            states.append(state)
        path = torch.stack(states, dim=1)
        given = None if u is None else u.numpy()
        return path, _tensor(self.emission.emission().sample(path.numpy(), np.random.default_rng(seed), given))

    def chain(self) -> Chain:
        """π and P at the present weights."""
        return Chain(shares(self.initial_logits.detach().numpy()), shares(self.transition_logits.detach().numpy()))

    def _is_plain(self, y: Tensor, u: Tensor | None) -> bool:
        """Whether the compiled recursions can do it; judges the shapes."""
        judge_batch(y, self.emission.dim, u)
        given = [y, self.initial_logits, self.transition_logits] if u is None else [y, u, self.initial_logits]
        return y.dtype == torch.float64 and not obstacle(given)

    def _table_array(self, y: Tensor, u: Tensor | None) -> np.ndarray:
        """(N, T, K) log-likelihoods from the family's own compiled form; the sequences lie side by side where no law looks back."""
        (N, T), laws = y.shape[:2], self.emission.emission()
        turned = not laws.look_back
        lengths = np.full(T, N) if turned else np.full(N, T)
        inputs = None if u is None else _rows(u, turned)
        table = laws.log_likelihood(Rows(_rows(y, turned), lengths, inputs))
        return table.reshape(T, N, -1).swapaxes(0, 1) if turned else table.reshape(N, T, -1)

    def table(self, y: Tensor, u: Tensor | None) -> Tensor:
        """(N, T, K) log-likelihoods with gradients, laid out like that."""
        if self.emission.look_back:
            return self.emission(y, u)
        return self.emission(y.transpose(0, 1), None if u is None else u.transpose(0, 1)).transpose(0, 1)

    def filtered(self, table: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Beliefs (N, T, K), log densities (N, T) and what was predicted (N, T, K), from a prediction `start` (N, K) or π; on the CPU in float64."""
        initial = torch.softmax(self.initial_logits, dim=-1) if start is None else start
        found = beliefs(initial, torch.softmax(self.transition_logits, dim=-1), table, predicted=True)
        if found is not None:
            return found
        belief, steps, ahead = self.scan(table, None if start is None else logarithm(start))
        return torch.exp(belief), steps, torch.exp(ahead)

    def scan(self, table: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Log beliefs (N, T, K), log densities (N, T) and the logs of what was predicted (N, T, K), from a prediction `start` (N, K) or π.

        What is impossible counts as missing from there on.
        """
        back = log_shares(self.transition_logits).T
        ahead = log_shares(self.initial_logits).expand(len(table), -1) if start is None else start
        beliefs, steps, predicted = [], [], []
        for b in table.unbind(1):
            predicted.append(ahead)
            joint = ahead + b
            step = log_sum_exp(joint)
            possible = step > -torch.inf
            belief = torch.where(possible[:, None], joint - torch.where(possible, step, 0.0)[:, None], ahead)
            ahead = log_sum_exp(belief[:, None, :] + back)
            beliefs.append(belief)
            steps.append(step)
        return torch.stack(beliefs, dim=1), torch.stack(steps, dim=1), torch.stack(predicted, dim=1)


class SoftmaxBiRNNModule(SoftmaxRNNModule):
    """The forward network of `SoftmaxRNNModule`, one that runs backward, and their sum: the forward–backward algorithm.

    z'[T] = 0;  z'[t] = log P softmax(z'[t+1] + log b(y[t+1]));  P(s[t] | y[1 … T]) = softmax(z[t] + z'[t]).

    `forward(y, u=None)` gives the smoothed probabilities (N, T, K). Both directions share their weights.
    """

    def forward(self, y: Tensor, u: Tensor | None = None) -> Tensor:
        """(N, T, K) P(s[t] | y[1 … T])."""
        if self._is_plain(y, u):
            if not torch.is_grad_enabled():
                return _like(discrete.smooth(self.chain(), *_packed(self._table_array(y, u))).probs, y)
            table = self.table(y, u)
            move = torch.softmax(self.transition_logits, dim=-1)
            ahead = beliefs(torch.softmax(self.initial_logits, dim=-1), move, table)
            # the same recursion from the end, up to a factor a step: P b ∘ β in the place of Pᵀ α
            behind = beliefs(torch.ones_like(move[0]), move.T, table.flip(1), predicted=True)
            if ahead is not None and behind is not None:
                joint: Tensor = ahead[0] * behind[2].flip(1)
                return joint / joint.sum(dim=-1, keepdim=True)
        else:
            table = self.emission(y, u)
        forward, steps, _ = self.scan(table)
        table = torch.where((steps > -torch.inf)[..., None], table, 0.0)
        move = log_shares(self.transition_logits)
        back = torch.zeros_like(forward[:, 0])
        merged = []
        for belief, b in zip(reversed(forward.unbind(1)), reversed(table.unbind(1)), strict=True):
            merged.append(torch.exp(log_shares(belief + back)))
            back = log_shares(log_sum_exp(move + (b + back)[:, None, :]))
        return torch.stack(merged[::-1], dim=1)


def _rows(tensor: Tensor, turned: bool) -> np.ndarray:
    """(N T, ·) of (N, T, ·), step by step if `turned`."""
    array = tensor.detach().numpy()
    return np.ascontiguousarray(array.swapaxes(0, 1) if turned else array).reshape(-1, array.shape[2])


def _packed(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table (N, T, K) as packed rows, and the lengths of the sequences."""
    return np.ascontiguousarray(table).reshape(-1, table.shape[2]), np.full(len(table), table.shape[1], dtype=np.int64)


def _like(rows: np.ndarray, y: Tensor) -> Tensor:
    return _tensor(rows).reshape(*y.shape[:2], *rows.shape[1:])


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float64))
