"""The parameters of a hidden Markov model as a free vector, and its log-likelihood with a gradient there.

Probabilities are relative log odds (a row of m allowed entries has m − 1, against its largest at the point of departure);
positive parameters are logarithms; covariance matrices the Cholesky factor with the logarithm of its diagonal. The initial
law is held: a few sequences say little about it, and its maximum is a corner.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, log_softmax, logit

from statewise.emissions.base import Emission
from statewise.emissions.rows import Rows
from statewise.fitting.hidden_markov import HiddenMarkov, Run
from statewise.fitting.hidden_markov_inputs import FreeInputChain
from statewise.fitting.mle import maximise
from statewise.inference import discrete_any
from statewise.inference.discrete import Chain, Smoothed
from statewise.inference.discrete_any import AnyChain
from statewise.inference.discrete_inputs import InputChain
from statewise.sequences.sequences import observed_steps

_EDGE = 1e-8  # a probability below this says that the data know no such thing: it has no standard error
_STEP = float(np.finfo(float).eps ** (1 / 3))


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the free vector: what its entries are now, and the parameter they stand for.

    `are_odds` says that they are log odds: of probabilities, whose edges lie at infinity.
    """

    name: str
    start: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]
    are_odds: bool = False

    def away_from_edges(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which free entries, and which entries of the parameter `value`, are not (almost) at an edge of their range."""
        if not self.are_odds:
            return np.ones(self.start.size, dtype=bool), np.ones(value.size, dtype=bool)
        inside = np.abs(self.start) < -np.log(_EDGE)
        return inside, ((value > _EDGE) & (value < 1 - _EDGE)).ravel()


class FreeHiddenMarkov:
    """A hidden Markov model near `model`, by a free vector; see the module. `fixed` may name 'transition_probs'."""

    def __init__(self, model: HiddenMarkov, rows: Rows, fixed: Collection[str] = ()) -> None:
        self._model, self._rows = model, rows
        self._chain = HeldChain(model.chain) if "transition_probs" in fixed else _free_chain(model.chain, rows)
        laws = model.emission
        domains = {name: laws.domain(name) for name in laws.parameters}
        self._blocks = [
            _block(name, value, domains[name]) for name, value in laws.parameters.items() if domains[name] != "fixed"
        ]
        self.point = np.concatenate([self._chain.start, *(block.start for block in self._blocks)])

    def model_at(self, point: np.ndarray) -> HiddenMarkov:
        """The model that the free vector says."""
        cut = self._chain.start.size
        return HiddenMarkov(self._chain.back(point[:cut]), self._emission_at(point[cut:]))

    def _emission_at(self, free: np.ndarray) -> Emission:
        parameters, at = {}, 0
        for block in self._blocks:
            parameters[block.name] = block.back(free[at : at + block.start.size])
            at += block.start.size
        return self._model.emission.replaced(parameters)

    def natural(self, point: np.ndarray) -> np.ndarray:
        """The parameters in the data's units, in the order of `names`."""
        model = self.model_at(point)
        parts = [model.emission.parameters[block.name] for block in self._blocks]
        return np.concatenate([self._chain.natural(model.chain), *map(np.ravel, parts)])

    @property
    def away_from_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Which entries of `point`, and of `natural` there, are inside their range and not (almost) at its edge."""
        parameters = self._model.emission.parameters
        found = [
            self._chain.away_from_edges,
            *(block.away_from_edges(parameters[block.name]) for block in self._blocks),
        ]
        return np.concatenate([inside for inside, _ in found]), np.concatenate([known for _, known in found])

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters in the data's units, such as means[0, 1]."""
        found = list(self._chain.names)
        for block in self._blocks:
            found += _entries(block.name, self._model.emission.parameters[block.name])
        return tuple(found)

    def objective(self, point: np.ndarray) -> tuple[float, np.ndarray] | None:
        """log L and its gradient, by Fisher's identity; None where a parameter leaves its range.

        The chain's part is exact; the emissions' is Σ g · ∂table, the derivatives of the table by central differences.
        """
        cut = self._chain.start.size
        try:
            model = self.model_at(point)
            table = model.emission.log_likelihood(self._rows)
        except (ValueError, ArithmeticError):
            return None
        chain = model.along(self._rows.inputs)
        found = discrete_any.smooth(chain, table, self._rows.lengths)
        if not np.isfinite(found.log_prob):
            return None
        slopes = np.empty_like(point)
        slopes[:cut] = self._chain.slopes(chain, found)
        free = point[cut:]
        for i in range(free.size):
            shift = np.zeros(free.size)
            shift[i] = _STEP * max(1.0, abs(float(free[i])))
            up = self._emission_at(free + shift).log_likelihood(self._rows)
            down = self._emission_at(free - shift).log_likelihood(self._rows)
            with np.errstate(invalid="ignore"):  # impossible on both sides; its weight is 0
                weighed = np.where(found.probs > 0, found.probs * (up - down), 0.0)
            slopes[cut + i] = weighed.sum() / (2 * shift[i])
        return found.log_prob, slopes


class FreeChain:
    """Constant transitions as a free vector."""

    def __init__(self, chain: Chain) -> None:
        self._departure, self._block = chain, _shares("transition_probs", chain.transition)
        self.start, self.names = self._block.start, tuple(_entries("transition_probs", chain.transition))

    @property
    def away_from_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """As of `Block`."""
        return self._block.away_from_edges(self._departure.transition)

    def back(self, vector: np.ndarray) -> Chain:
        """The chain that the free vector says."""
        return Chain(self._departure.initial, self._block.back(vector))

    def slopes(self, chain: AnyChain, found: Smoothed) -> np.ndarray:
        """∂ log L in the free vector, by Fisher's identity."""
        return _slopes_of_shares(chain.transition, found.counts, self._departure.transition)

    def natural(self, chain: Chain | InputChain) -> np.ndarray:
        """The parameters in the order of `names`."""
        assert isinstance(chain, Chain)
        return chain.transition.ravel()


class HeldChain:
    """Transitions that are not estimated: an empty vector."""

    def __init__(self, chain: Chain | InputChain) -> None:
        self._chain, self.start, self.names = chain, np.empty(0), ()

    @property
    def away_from_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Nothing."""
        return np.empty(0, dtype=bool), np.empty(0, dtype=bool)

    def back(self, vector: np.ndarray) -> Chain | InputChain:
        """The chain as it was."""
        return self._chain

    def slopes(self, chain: AnyChain, found: Smoothed) -> np.ndarray:
        """Nothing."""
        return np.empty(0)

    def natural(self, chain: Chain | InputChain) -> np.ndarray:
        """Nothing."""
        return np.empty(0)


def _free_chain(chain: Chain | InputChain, rows: Rows) -> FreeChain | FreeInputChain:
    if isinstance(chain, InputChain):
        assert rows.inputs is not None
        return FreeInputChain(chain, rows.inputs)
    return FreeChain(chain)


def climb(run: Run, rows: Rows, max_iter: int, fixed: Collection[str] = ()) -> Run:
    """The run, gone on with by quasi-Newton steps; kept as it was if they find nothing better."""
    free = FreeHiddenMarkov(run.parameters, rows, fixed)
    found = maximise(free.objective, [free.point], observed_steps(rows.values), max_iter=max_iter)
    if not found.log_prob > run.log_prob:
        return replace(run, outcome=found.outcome)
    trace = np.concatenate([run.trace, found.trace])
    return replace(
        run, parameters=free.model_at(found.point), log_prob=found.log_prob, trace=trace, outcome=found.outcome
    )


def _entries(name: str, table: np.ndarray) -> list[str]:
    """The name of each entry, such as means[0, 1]."""
    return [f"{name}[{', '.join(map(str, index))}]" for index in np.ndindex(table.shape)]


def _block(name: str, value: np.ndarray, domain: str) -> Block:
    shape = value.shape
    if domain == "plain":
        return Block(name, value.ravel(), lambda free: free.reshape(shape))
    if domain == "positive":
        with np.errstate(divide="ignore"):
            return Block(name, np.log(value).ravel(), lambda free: np.exp(free).reshape(shape))
    if domain == "chance":
        return Block(name, logit(value).ravel(), lambda free: expit(free).reshape(shape), are_odds=True)
    return _shares(name, value) if domain == "shares" else _covariances(name, value)


def _covariances(name: str, value: np.ndarray) -> Block:
    rows, columns = np.tril_indices(value.shape[-1])
    on_diagonal = rows == columns
    roots = np.linalg.cholesky(value)[..., rows, columns]
    start = np.where(on_diagonal, np.log(np.where(on_diagonal, roots, 1.0)), roots)

    def back(free: np.ndarray) -> np.ndarray:
        entries = free.reshape(roots.shape)
        root = np.zeros(value.shape)
        root[..., rows, columns] = np.where(on_diagonal, np.exp(np.where(on_diagonal, entries, 0.0)), entries)
        return np.asarray(root @ np.swapaxes(root, -1, -2))

    return Block(name, start.ravel(), back)


def _shares(name: str, table: np.ndarray) -> Block:
    """Rows that sum to one; zeros stay zero."""
    flat = table.reshape(-1, table.shape[-1])
    free = _free_entries(flat)
    with np.errstate(divide="ignore"):
        odds = np.log(flat) - np.log(flat.max(axis=1, keepdims=True))

    def back(vector: np.ndarray) -> np.ndarray:
        full = np.where(flat > 0, 0.0, -np.inf)
        full[free] = vector
        return np.exp(log_softmax(full, axis=1)).reshape(table.shape)

    return Block(name, odds[free], back, are_odds=True)


def _free_entries(flat: np.ndarray) -> np.ndarray:
    """Which entries of rows that sum to one are free: the positive ones but the largest."""
    free = flat > 0
    free[np.arange(len(flat)), flat.argmax(axis=1)] = False
    return free


def _slopes_of_shares(shares: np.ndarray, counts: np.ndarray, departure: np.ndarray) -> np.ndarray:
    """∂ Σ counts · log shares in the free entries: counts − shares Σ counts."""
    slopes = counts - shares * counts.sum(axis=1, keepdims=True)
    return np.asarray(slopes[_free_entries(departure)])
