"""Maximum likelihood for a Markov chain with any emission family: EM, and the choice among its runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from statewise.emissions.base import Emission
from statewise.emissions.rows import Rows
from statewise.emissions.table import Table
from statewise.fitting.em import EMResult, em
from statewise.fitting.hidden_markov_inputs import regressed
from statewise.inference import discrete_any
from statewise.inference.discrete import Chain, Smoothed
from statewise.inference.discrete_any import AnyChain
from statewise.inference.discrete_inputs import InputChain
from statewise.inference.discrete_varying import SmoothedPairs
from statewise.kernels import _threads

_NO_COUNT = 1e-200


@dataclass(frozen=True, eq=False)
class HiddenMarkov:
    """All parameters of a hidden Markov model: the chain and the laws of what is seen."""

    chain: Chain | InputChain
    emission: Emission

    @property
    def is_finite(self) -> bool:
        """Whether all parameters of a chain without inputs are finite."""
        assert isinstance(self.chain, Chain)
        each = (self.chain.initial, self.chain.transition, *self.emission.parameters.values())
        return all(np.isfinite(array).all() for array in each)

    def along(self, inputs: np.ndarray | None) -> AnyChain:
        """The chain along rows with these inputs (rows, u)."""
        return self.chain.along(inputs) if isinstance(self.chain, InputChain) else self.chain

    def reordered(self, order: np.ndarray) -> HiddenMarkov:
        """The same model with state `order[k]` in place k."""
        if isinstance(self.chain, InputChain):
            return HiddenMarkov(self.chain.reordered(order), self.emission.reordered(order))
        chain = Chain(self.chain.initial[order], self.chain.transition[np.ix_(order, order)])
        return HiddenMarkov(chain, self.emission.reordered(order))

    def sorted(self) -> HiddenMarkov:
        """The same model with states by their mean in the first column, ties by the next ones."""
        return self.reordered(np.lexsort(self.emission.means.T[::-1]))


Run = EMResult[HiddenMarkov]
T = TypeVar("T")


def baum_welch(
    start: HiddenMarkov,
    rows: Rows,
    *,
    max_iter: int,
    tol: float,
    known: np.ndarray | None = None,
    stay_prior: float = 0.0,
    transition_ridge: float = 0.0,
    fixed: Collection[str] = (),
    waits: bool = False,
    on_iteration: Callable[[], None] = lambda: None,
) -> Run:
    """EM: expected counts from forward–backward, then their shares and the laws' M step.

    Args:
        start: where it begins.
        rows: what the model is fitted to.
        max_iter, tol, on_iteration: as in `em`.
        known: (rows,) the state of each row, −1 where it is not known; the likelihood is that of the rows and these states
            together.
        stay_prior: κ of the prior ∝ Π P[k, k]^κ. The trace is of log likelihood plus log prior, `log_prob` without it.
        transition_ridge: λ of the prior ∝ exp(−½ λ Σ W²) on the coefficients of transitions driven by inputs.
        fixed: 'initial_probs' and 'transition_probs' stay as they are if they are named here.
        waits: leave the log-likelihood after the last iteration to `EMResult.judge` where theory says that it cannot fall:
            closed M steps that no safeguard touches, without priors and known states.

    Source: Baum, Petrie, Soules & Weiss, Ann. Math. Statist. 41 (1970).
    """

    def prior(model: HiddenMarkov) -> float:
        if isinstance(model.chain, InputChain):
            return -0.5 * transition_ridge * float((model.chain.coefficients**2).sum())
        return stay_prior * float(np.log(np.diagonal(model.chain.transition)).sum()) if stay_prior else 0.0

    def e_step(model: HiddenMarkov) -> tuple[float, Smoothed]:
        done = discrete_any.smooth(model.along(rows.inputs), table_of(model.emission, rows, known), rows.lengths)
        return done.log_prob + prior(model), done

    def m_step(model: HiddenMarkov, done: Smoothed) -> HiddenMarkov:
        if isinstance(model.chain, InputChain):
            assert isinstance(done, SmoothedPairs) and rows.inputs is not None
            chain: Chain | InputChain = regressed(model.chain, done, rows.inputs, transition_ridge)
        else:
            chain = _shares(model.chain, done, stay_prior)
            chain = replace(chain, transition=model.chain.transition) if "transition_probs" in fixed else chain
        chain = replace(chain, initial=model.chain.initial) if "initial_probs" in fixed else chain
        return HiddenMarkov(chain, model.emission.m_step(rows, done.probs))

    def score(model: HiddenMarkov) -> float:
        table = table_of(model.emission, rows, known)
        return float(discrete_any.log_prob(model.along(rows.inputs), table, rows.lengths).sum()) + prior(model)

    plain = waits and known is None and not stay_prior and isinstance(start.chain, Chain)
    run = em(
        start,
        e_step,
        m_step,
        n_steps=rows.observed_steps,
        max_iter=max_iter,
        tol=tol,
        score=score,
        waits=lambda model: plain and model.emission.rises and model.is_finite,
        on_iteration=on_iteration,
    )
    return run if run.judge is not None else replace(run, log_prob=run.log_prob - prior(run.parameters))


def table_of(emission: Emission, rows: Rows, known: np.ndarray | None) -> np.ndarray | Table:
    """(rows, K) log-likelihoods, −inf in the other states where the state is known."""
    if known is None:
        return emission.table(rows)
    table = emission.log_likelihood(rows)
    other = (known[:, None] >= 0) & (known[:, None] != np.arange(emission.states))
    return np.where(other, -np.inf, table)


def _shares(chain: Chain, done: Smoothed, stay_prior: float) -> Chain:
    """Expected counts as probabilities, `stay_prior` more for staying; a state that is never left keeps its row."""
    counts = done.counts + stay_prior * np.eye(chain.states)
    left = counts.sum(axis=1, keepdims=True)
    seen = left > _NO_COUNT
    transition = np.where(seen, counts / np.where(seen, left, 1.0), chain.transition)
    return Chain(done.starts / done.starts.sum(), transition / transition.sum(axis=1, keepdims=True))


_WORTH_SHARING = 20_000  # rows times states from which runs go on beside each other


def in_threads(run: Callable[[T], Run], starts: Sequence[T], size: int) -> list[Run]:
    """The runs from all starts, in threads where the data's `size` (rows times states) pays for them."""
    threads = min(_threads.thread_count(), len(starts)) if size >= _WORTH_SHARING else 1
    if threads == 1:
        return [run(begin) for begin in starts]
    with ThreadPoolExecutor(threads) as workers:
        return list(workers.map(run, starts))


def best(runs: Sequence[Run]) -> Run:
    """The run with the highest likelihood among those that no safeguard holds up, if there is one.

    A likelihood that rests on a safeguard, such as a floor under a variance, is as high as the safeguard is low, and
    says nothing about the data.
    """
    return max(runs, key=lambda run: (np.isfinite(run.log_prob), not run.parameters.emission.notes, run.log_prob))


def notes(runs: Sequence[Run], chosen: Run) -> tuple[str, ...]:
    """What a careful user should know: safeguards in the run that was kept, runs set aside, runs that disagree."""
    found = list(chosen.parameters.emission.notes)
    held = [bool(run.parameters.emission.notes) for run in runs]
    if any(held) and not found:
        found.append(f"{sum(held)} of {len(runs)} starts ended in a state collapsed onto few points and were set aside")
    ends = [run.log_prob for run, is_held in zip(runs, held, strict=True) if np.isfinite(run.log_prob) and not is_held]
    if len(ends) > 1 and max(ends) - min(ends) > 1.0:
        gap = max(ends) - min(ends)
        found.append(
            f"the starts ended up to {gap:.3g} nats apart; the best is kept, more restarts may find a better one"
        )
    return tuple(found)
