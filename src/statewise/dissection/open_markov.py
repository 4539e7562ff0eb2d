"""Opening hidden Markov models: the forward recursion as a network on beliefs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from statewise._core.errors import InputError
from statewise.dissection.belief import BeliefSystem, weights
from statewise.dissection.layers import flip
from statewise.dissection.open_gaussian import NOTE, with_loss
from statewise.dissection.packing import inside, padded
from statewise.dissection.subject import Site, Subject
from statewise.dissection.windows import density_context
from statewise.inference import discrete_any
from statewise.inference.discrete import Chain
from statewise.models.hmm_verbs import rows_of
from statewise.sequences.sequences import Sequences


def open_markov(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """An HMM or SoftmaxRNN as the softmax network on its predicted beliefs.

    Its Lyapunov spectrum is that of the unnormalised forward recursion: λ₁ is the log-likelihood per step, and λ₁ − λ₂ the rate at which
    the filter forgets its first belief, the exponent of the network on beliefs.

    Raises:
        InputError: no sequence has two rows.
    """
    found = model._for_columns_of(seqs)
    chain, table = found.along(seqs.inputs), found.emission.log_likelihood(rows_of(seqs))
    whole = _system(chain, table, seqs.lengths)
    lengths = seqs.lengths - 1
    if not lengths.any():
        raise InputError("no sequence has two rows; pass longer ones")
    kept = lengths > 0
    system = _first_steps(whole, kept, lengths)
    after = np.where(inside(lengths[kept])[:, :, None], whole.inputs[kept][:, 1:], 0.0)
    g, _ = weights(after, system.states[:, 1:])
    own = whole.log_densities()[inside(seqs.lengths)]
    theirs = model.log_prob(seqs, per_step=True)
    both = np.isfinite(own) & np.isfinite(theirs)
    error = float(np.abs(own - theirs)[both].max(initial=0.0))
    notes = [
        NOTE,
        "the replay error is that of log densities, in nats",
        "the inputs are the log-likelihoods of y[t] in each state",
    ]
    words, site = "−log p(y[t+1] | y[… t])", Site("", system, np.where(system.mask[:, :, None], -g, 0.0))
    if loss is not None:
        site, words, more = with_loss(system, loss)
        notes += more
    details: dict[str, Any] = {
        "spectrum": whole.forward_spectrum,
        "spectrum meaning": _meaning(dt),
        "context": density_context(model, seqs),
        "density": True,
        "sequences": seqs,
    }
    return Subject(model.name, (site,), words, error, dt, model, seqs, tuple(notes), details)


def _system(chain: Any, table: np.ndarray, lengths: np.ndarray) -> BeliefSystem:
    move = chain.transition if isinstance(chain, Chain) else padded(chain.transition, lengths)
    return BeliefSystem(padded(np.asarray(table, np.float64), lengths), move, chain.initial, lengths)


def _first_steps(whole: BeliefSystem, kept: np.ndarray, lengths: np.ndarray) -> BeliefSystem:
    """All steps but the last of the sequences that have one."""
    steps = int(lengths.max())
    move = whole.transition if whole.transition.ndim == 2 else whole.transition[kept][:, :steps]
    states = whole.states[kept][:, : steps + 1]
    return BeliefSystem(whole.inputs[kept][:, :steps], move, states[:, 0], lengths[kept], states=states)


def _meaning(dt: float) -> Callable[[np.ndarray, np.ndarray], str]:
    def meaning(value: np.ndarray, error: np.ndarray) -> str:
        said = f"λ₁ = {value[0]:.4g} nats, the log-likelihood per step"
        if len(value) < 2 or not np.isfinite(value[:2]).all():
            return f"{said}; the filter forgets its first belief at once."
        rate = value[0] - value[1]
        unit = "steps" if dt == 1 else "units of time"
        return f"{said}; the filter forgets its first belief at λ₁ − λ₂ = {rate:.3g}: half of it every {np.log(2) / rate:.3g} {unit}."

    return meaning


def open_markov_smoother(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """A SoftmaxBiRNN as two softmax networks, one that runs from the beginning and one from the end.

    The backward one carries β[t] ∝ P (b[t+1] ∘ β[t+1]), scaled to sum to 1, as the forward recursion of the transposed chain.
    """
    found = model._present()
    chain, table = found.along(seqs.inputs), found.emission.log_likelihood(rows_of(seqs))
    forward = _system(chain, table, seqs.lengths)
    K = forward.size
    evidence = flip(forward.inputs, seqs.lengths)
    backward = BackwardSystem(evidence, chain.transition.T, np.full(K, 1.0 / K), seqs.lengths, "beliefs reverse")
    # α[t] β[t] ∝ the smoothed law: f[t] b[t] β[t] with β[t] the backward state before it reads y[t]
    ahead, behind = forward.states[:, :-1], flip(backward.states[:, :-1], seqs.lengths)
    joint = weights(forward.inputs, ahead)[0] * ahead * behind
    smoothed = joint / joint.sum(axis=2, keepdims=True)
    own = inside(seqs.lengths)
    theirs = discrete_any.smooth(chain, table, seqs.lengths).probs
    error = float(np.abs(smoothed[own] - theirs).max())
    sites = (Site("forward", forward, None), Site("backward", backward, None, backward=True))
    notes = ("a smoother has no loss of its own; the analyses are those of its two recursions",)
    if loss is not None:
        raise InputError("`loss` is given, and a smoother as two recursions has none; leave it out")
    return Subject(model.name, sites, "", error, dt, model, seqs, notes, {"sequences": seqs})


class BackwardSystem(BeliefSystem):
    """β ← P (b ∘ β) / Σ: as `BeliefSystem` with the transposed transition, whose rows do not sum to 1, so that it is scaled after the move."""

    @staticmethod
    def _moved(move: np.ndarray, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        moved = ((weights(x, state)[0] * state)[..., None, :] @ move)[..., 0, :]
        found: np.ndarray = moved / moved.sum(axis=-1, keepdims=True)
        return found

    def _parts(self, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """g, Mᵀ, the next state, and 1 / the sum before scaling."""
        f, g, back = self._at(t)
        total = (back @ (g * f)[:, :, None]).sum(axis=1)
        return g, back, self.states[:, t + 1], 1.0 / total

    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        g, back, after, inverse = self._parts(t)
        moved = (back @ (g[:, :, None] * tangents)) * inverse[:, :, None]
        found: np.ndarray = moved - after[:, :, None] * moved.sum(axis=1, keepdims=True)
        return found

    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        g, back, after, inverse = self._parts(t)
        rest = (cotangents - cotangents @ after[:, :, None]) * inverse[:, None]
        found: np.ndarray = (rest @ back) * g[:, None]
        return found

    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return self.push(t, self.states[:, t][:, :, None] * tangents)

    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.pull(t, cotangents) * self.states[:, t][:, None]
        return found

    def _single(self, x: np.ndarray, state: np.ndarray) -> BeliefSystem:
        return BackwardSystem(x[:, None], self.transition, state, np.ones(len(x), int), self.label)

    def at(self, precision: type[np.float32] | type[np.float64]) -> BeliefSystem:
        if self.dtype == precision:
            return self
        evidence, transition, states = (each.astype(precision) for each in (self.inputs, self.transition, self.states))
        return BackwardSystem(evidence, transition, states[:, 0], self.lengths, self.label, states)
