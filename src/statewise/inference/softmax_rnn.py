"""The recurrent networks that a hidden Markov model is, as torch modules: one direction for the filter, two for the smoother.

Without gradients they run on the compiled recursions of `inference.discrete`, with gradients on torch; the numbers are the same.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from statewise.emissions.base import Emission
from statewise.emissions.rows import Rows
from statewise.inference import discrete
from statewise.inference.discrete import Chain
from statewise.inference.emission_heads import head_of, log_shares, log_sum_exp, shares


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
        if not torch.is_grad_enabled():
            return self._reshaped(discrete.filter(self.chain(), *self._packed(y, u)).probs, y)
        return torch.exp(self.scan(self.emission(y, u))[0])

    def log_prob(self, y: Tensor, u: Tensor | None = None) -> Tensor:
        """(N, T) log density of each step given the steps before it; −inf where a step is impossible."""
        if not torch.is_grad_enabled():
            return self._reshaped(discrete.log_prob_steps(self.chain(), *self._packed(y, u)), y)
        return self.scan(self.emission(y, u))[1]

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

    def _packed(self, y: Tensor, u: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
        """The table of log-likelihoods as packed rows, from the families' own compiled form, and the lengths of the sequences."""
        N, T, _ = y.shape
        lengths = np.full(N, T, dtype=np.int64)
        inputs = None if u is None else np.ascontiguousarray(u.numpy().reshape(N * T, -1))
        values = np.ascontiguousarray(y.numpy().reshape(N * T, -1), dtype=np.float64)
        return self.emission.emission().log_likelihood(Rows(values, lengths, inputs)), lengths

    @staticmethod
    def _reshaped(rows: np.ndarray, y: Tensor) -> Tensor:
        return _tensor(rows).reshape(*y.shape[:2], *rows.shape[1:])

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
        if not torch.is_grad_enabled():
            return self._reshaped(discrete.smooth(self.chain(), *self._packed(y, u)).probs, y)
        table = self.emission(y, u)
        beliefs, steps, _ = self.scan(table)
        table = torch.where((steps > -torch.inf)[..., None], table, 0.0)
        move = log_shares(self.transition_logits)
        back = torch.zeros_like(beliefs[:, 0])
        merged = []
        for belief, b in zip(reversed(beliefs.unbind(1)), reversed(table.unbind(1)), strict=True):
            merged.append(torch.exp(log_shares(belief + back)))
            back = log_shares(log_sum_exp(move + (b + back)[:, None, :]))
        return torch.stack(merged[::-1], dim=1)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float64))
