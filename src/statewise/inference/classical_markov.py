"""A hidden Markov model as the start of a network: its path, what the units see, and how the two go on together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from statewise.cells import CELLS, layer_count, layer_parameters
from statewise.emissions.base import Emission
from statewise.emissions.rows import Rows
from statewise.inference import discrete
from statewise.inference.classical_gaussian import Scaling
from statewise.inference.discrete import Chain
from statewise.inference.emission_heads import log_shares, log_sum_exp, logarithm
from statewise.inference.recurrent import squash
from statewise.inference.softmax_rnn import SoftmaxRNNModule
from statewise.nn import classical_start
from statewise.nn.classical_start import Path
from statewise.sequences.sequences import Sequences


class MarkovPath(Path):
    """p(y[t] | past) = Σ_k softmax(log Pᵀ α[t−1] + W h)_k b_k(y[t]), α the belief of the softmax network of the model."""

    def __init__(self, chain: Chain, emission: Emission) -> None:
        super().__init__()
        self.network = SoftmaxRNNModule(chain, emission)
        self.widths = (chain.states,)

    def weights(self, rows: classical_start.Rows, added: tuple[Tensor, ...], frozen: bool) -> tuple[Tensor, Tensor]:
        """Logs of the states' predicted probabilities with what the units add, and of the laws, (B, T, K) each."""
        table = self.network.table(rows["y"], rows["u"])
        ahead = rows["state"]
        if not frozen:
            start = torch.softmax(self.network.initial_logits, dim=-1)
            begin = torch.where(rows["first"][:, 0, None] > 0, start, torch.exp(rows["state"][:, 0]))
            ahead = logarithm(self.network.filtered(table, begin)[2])
        return log_shares(ahead + added[0]), table

    def forward(self, rows: classical_start.Rows, added: tuple[Tensor, ...], frozen: bool) -> Tensor:
        logits, table = self.weights(rows, added, frozen)
        return log_sum_exp(logits + table)

    def departure(self, added: tuple[Tensor, ...]) -> Tensor:
        return 5.0 * (added[0] ** 2).mean(dim=-1)


def markov_rows(chain: Chain, emission: Emission, scaling: Scaling, seqs: Sequences) -> dict[str, np.ndarray]:
    """Arrays by name, packed over rows: what `MarkovPath` and the units see."""
    table = emission.log_likelihood(Rows(seqs.values, seqs.lengths, seqs.inputs, seqs.columns))
    ahead = discrete.filter(chain, table, seqs.lengths).predicted
    first = np.zeros(seqs.rows)
    first[seqs.offsets[:-1]] = 1.0
    last = np.concatenate([np.full((1, seqs.dim), np.nan), seqs.values[:-1]])
    last[first > 0] = np.nan
    u = np.zeros((seqs.rows, 0)) if seqs.inputs is None else seqs.inputs
    with np.errstate(divide="ignore"):
        state = np.log(ahead)
    return {"x": unit_view(last, ahead, u, scaling), "y": seqs.values, "u": u, "state": state, "first": first}


def unit_view(last: np.ndarray, ahead: np.ndarray, u: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Softly clipped: the last value, whether it was seen, the model's predicted state, and the inputs."""
    seen = ~np.isnan(last)
    level = np.where(seen, (last - scaling.mean[0]) / scaling.scale[0], 0.0)
    inputs = (u - scaling.input_mean[0]) / scaling.input_scale[0]
    return np.concatenate([squash(level), seen.astype(float), ahead, squash(inputs)], axis=-1)


def simulate(
    chain: Chain,
    now: tuple[Chain, Emission],
    cell: str,
    arrays: Mapping[str, np.ndarray],
    scaling: Scaling,
    ahead: tuple[np.ndarray, np.ndarray],
    units: list[np.ndarray],
    last: np.ndarray,
    emission: Emission,
    steps: int,
    inputs: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """(M, steps, p) continuations.

    Args:
        chain, emission: the classical model, which the units follow.
        now: the trained chain and laws.
        ahead: (M, K) predicted state probabilities of both.
        units: for each layer, (M, ·); last: (M, p) the last values.
        inputs: (steps, u).
    """
    own = {name.removeprefix("rnn."): array for name, array in arrays.items() if name.startswith("rnn.")}
    layers = [layer_parameters(own, k) for k in range(layer_count(own))]
    (moved, laws), (frozen, trained) = now, ahead
    found = np.empty((len(last), steps, laws.dim))
    for t in range(steps):
        u = np.zeros((len(last), 0)) if inputs is None else np.broadcast_to(inputs[t], (len(last), inputs.shape[1]))
        h = unit_view(last, frozen, u, scaling)
        for k, layer in enumerate(layers):
            units[k] = CELLS[cell].step(layer, h, units[k])
            h = CELLS[cell].hidden(units[k])
        weights = trained * np.exp(h @ arrays["readouts.0"].T)
        shares = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
        states = np.minimum((rng.random(len(last))[:, None] >= shares).sum(axis=1), chain.states - 1)
        last = laws.sample(states[:, None], rng, None if inputs is None else u[:, None])[:, 0]
        one = Rows(last, np.ones(len(last), dtype=np.int64), None if inputs is None else u)
        frozen = _stepped(chain, frozen, emission.log_likelihood(one))
        trained = _stepped(moved, trained, laws.log_likelihood(one))
        found[:, t] = last
    return found


def _stepped(chain: Chain, ahead: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The prediction for the next step; a row that is impossible counts as missing."""
    top = table.max(axis=1, keepdims=True)
    joint = ahead * np.exp(table - np.where(np.isfinite(top), top, 0.0))
    total = joint.sum(axis=1, keepdims=True)
    belief = np.where(total > 0, joint / np.where(total > 0, total, 1.0), ahead)
    return np.asarray(belief @ chain.transition)
