"""Estimation of transitions driven by inputs: a weighted multinomial logistic regression for each state that is left.

Inputs are standardised inside, which changes no estimate and lets inputs of any unit be estimated alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from statewise.fitting.mle import maximise
from statewise.inference.discrete import Chain, Smoothed
from statewise.inference.discrete_any import AnyChain
from statewise.inference.discrete_inputs import InputChain
from statewise.inference.discrete_varying import SmoothedPairs

_NO_WEIGHT = 1e-200
_NEGLIGIBLE = 1e-10  # directions with less curvature than this share are left as they are: collinear or constant inputs
_NEWTON = 20  # iterations; each at least doubles the digits near the maximum
_FINE = 1e-12  # expected gain, in nats per step of weight, at which a regression has converged
_MOST_CURVATURE = 200  # parameters of one regression up to which its Hessian is formed
_SEPARATED = 15.0  # log odds per standard deviation of an input from which a coefficient may as well be infinite


@dataclass(frozen=True, eq=False)
class Standardised:
    """Inputs (rows, u) with mean 0 and deviation 1, behind a column of ones, and parameters in those units.

    A constant input becomes a column of zeros, whose coefficients nothing changes.
    """

    design: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, inputs: np.ndarray) -> Standardised:
        centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
        scale = np.where(scale > 1e-12 * np.abs(centre), scale, np.inf)
        return cls(np.column_stack([np.ones(len(inputs)), (inputs - centre) / scale]), centre, scale)

    @property
    def finite_scale(self) -> np.ndarray:
        """(u,) the deviations, 1 for constant inputs."""
        return np.where(np.isfinite(self.scale), self.scale, 1.0)

    def inside(self, intercepts: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """(1 + u, c) the parameters for standardised inputs of intercepts (c,) and coefficients (u, c)."""
        return np.vstack([intercepts + self.centre @ coefficients, coefficients * self.finite_scale[:, None]])

    def outside(self, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The intercepts and coefficients that `inside` made into b."""
        coefficients = b[1:] / self.finite_scale[:, None]
        return b[0] - self.centre @ coefficients, coefficients


def regressed(chain: InputChain, done: SmoothedPairs, inputs: np.ndarray, ridge: float = 0.0) -> InputChain:
    """The chain with the highest Σ pairs · log P − ½ ridge Σ W², started from `chain`; never a lower one.

    A state that is never left keeps its row.
    """
    units = Standardised.of(inputs)
    intercepts, coefficients = chain.intercepts.copy(), chain.coefficients.copy()
    penalty = np.concatenate([[0.0], ridge / units.finite_scale**2])
    for i in range(chain.states):
        free = np.flatnonzero(chain.free[i])
        weights = done.pairs[:, i, :].sum(axis=1)
        if not len(free) or weights.sum() <= _NO_WEIGHT:
            continue
        used = weights > 0
        targets = done.pairs[:, i, :][np.ix_(used, [chain.reference[i], *free])]
        row = _Regression(units.design[used], targets, penalty)
        best = row.climb(units.inside(intercepts[i, free], coefficients[i][:, free]))
        intercepts[i, free], coefficients[i][:, free] = units.outside(best)
    return InputChain(done.starts / done.starts.sum(), intercepts, coefficients)


@dataclass(frozen=True, eq=False)
class _Regression:
    """Σ targets · log softmax([0, x b]) − ½ Σ penalty b²: x (n, m), targets (n, 1 + c), the reference first, b (m, c)."""

    x: np.ndarray
    targets: np.ndarray
    penalty: np.ndarray

    def value(self, b: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective, and the shares (n, 1 + c)."""
        scores = np.concatenate([np.zeros((len(self.x), 1)), self.x @ b], axis=1)
        logs = log_softmax(scores, axis=1)
        penalty = 0.5 * float((self.penalty[:, None] * b**2).sum())
        return float((self.targets * logs).sum()) - penalty, np.exp(logs)

    def slope(self, b: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """(m, c)."""
        gaps = self.targets - self.targets.sum(axis=1, keepdims=True) * shares
        return np.asarray(self.x.T @ gaps[:, 1:] - self.penalty[:, None] * b)

    def climb(self, b: np.ndarray) -> np.ndarray:
        """Where Newton's steps from b lead, each halved until it climbs; quasi-Newton steps where there are many parameters."""
        if b.size > _MOST_CURVATURE:
            return self._climb_without_curvature(b)
        value, shares = self.value(b)
        total = float(self.targets.sum())
        for _ in range(_NEWTON):
            slope = self.slope(b, shares)
            step = self._newton(slope, shares)
            gain = float((slope * step).sum())
            if not gain > _FINE * total:
                return b
            for _ in range(30):
                tried = b + step
                found, there = self.value(tried)
                if found > value:
                    break
                step = step / 2
            else:
                return b
            b, value, shares = tried, found, there
        return b

    def _newton(self, slope: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """H⁺ slope, H the negative Hessian (m c, m c), without the directions that have no curvature."""
        m, c = slope.shape
        weights, p = self.targets.sum(axis=1), shares[:, 1:]
        curvature = np.empty((c, m, c, m))
        for k in range(c):
            for j in range(k + 1):
                each = weights * p[:, k] * ((k == j) - p[:, j])
                curvature[k, :, j] = curvature[j, :, k] = (self.x * each[:, None]).T @ self.x
        negative = curvature.reshape(c * m, c * m) + np.diag(np.tile(self.penalty, c))
        values, vectors = np.linalg.eigh(negative)
        used = values > _NEGLIGIBLE * values[-1]
        right = np.where(used, (vectors.T @ slope.T.ravel()) / np.where(used, values, 1.0), 0.0)
        return np.asarray((vectors @ right).reshape(c, m).T)

    def _climb_without_curvature(self, b: np.ndarray) -> np.ndarray:
        def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
            at = point.reshape(b.shape)
            value, shares = self.value(at)
            return value, self.slope(at, shares).ravel()

        found = maximise(objective, [b.ravel()], max(1, int(self.targets.sum())), max_iter=_NEWTON)
        return found.point.reshape(b.shape) if found.log_prob > self.value(b)[0] else b


def notes_on(chain: InputChain, inputs: np.ndarray) -> tuple[str, ...]:
    """What a careful user should know of the coefficients: those without a finite maximum, and those that nothing tells apart."""
    design, found = Standardised.of(inputs).design, []
    if np.linalg.matrix_rank(design) < design.shape[1]:
        found.append(
            "the inputs are collinear, with each other or with a constant: the transitions are determined and single coefficients "
            "are not; leave an input out"
        )
    steep = np.abs(chain.coefficients) * inputs.std(axis=0)[:, None] > _SEPARATED
    states = np.flatnonzero(steep.any(axis=(1, 2))).tolist()
    if states:
        found.append(
            f"the inputs (almost) decide the transitions out of state {', '.join(map(str, states))}: their coefficients are as large as "
            "the fit let them become; pass transition_ridge=1.0, say, to hold them"
        )
    return tuple(found)


class FreeInputChain:
    """Transitions driven by inputs as a free vector: intercepts and coefficients, for standardised inputs, of the free transitions."""

    def __init__(self, chain: InputChain, inputs: np.ndarray) -> None:
        self._chain, self._units = chain, Standardised.of(inputs)
        self._rows = [(i, np.flatnonzero(chain.free[i])) for i in range(chain.states) if chain.free[i].any()]
        parts = [
            self._units.inside(chain.intercepts[i, free], chain.coefficients[i][:, free]).ravel()
            for i, free in self._rows
        ]
        self.start = np.concatenate([*parts, np.empty(0)])

    def _each(self, vector: np.ndarray) -> list[np.ndarray]:
        """(1 + u, c) for each row."""
        ends = np.cumsum([(1 + self._chain.n_inputs) * len(free) for _, free in self._rows])
        return [part.reshape(1 + self._chain.n_inputs, -1) for part in np.split(vector, ends[:-1])[: len(self._rows)]]

    @property
    def away_from_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """All are inside: log odds have no edge."""
        return np.ones(self.start.size, dtype=bool), np.ones(self.start.size, dtype=bool)

    def back(self, vector: np.ndarray) -> InputChain:
        """The chain that the free vector says."""
        intercepts, coefficients = self._chain.intercepts.copy(), self._chain.coefficients.copy()
        for (i, free), b in zip(self._rows, self._each(vector), strict=True):
            intercepts[i, free], coefficients[i][:, free] = self._units.outside(b)
        return InputChain(self._chain.initial, intercepts, coefficients)

    def slopes(self, chain: AnyChain, done: Smoothed) -> np.ndarray:
        """∂ log L in the free vector, by Fisher's identity: Σ x (pairs − P · Σ pairs)."""
        assert isinstance(done, SmoothedPairs)
        gaps = done.pairs - chain.transition * done.pairs.sum(axis=2, keepdims=True)
        parts = [(self._units.design.T @ gaps[:, i][:, free]).ravel() for i, free in self._rows]
        return np.concatenate([*parts, np.empty(0)])

    @property
    def names(self) -> tuple[str, ...]:
        """Of the free parameters in the inputs' units."""
        intercepts = [f"transition_intercepts[{i}, {j}]" for i, free in self._rows for j in free]
        return (
            *intercepts,
            *(
                f"transition_coefficients[{i}, {m}, {j}]"
                for i, free in self._rows
                for m in range(self._chain.n_inputs)
                for j in free
            ),
        )

    def natural(self, chain: Chain | InputChain) -> np.ndarray:
        """The parameters in the order of `names`."""
        assert isinstance(chain, InputChain)
        intercepts = [chain.intercepts[i, free] for i, free in self._rows]
        coefficients = [chain.coefficients[i][:, free].ravel() for i, free in self._rows]
        return np.concatenate([*intercepts, *coefficients, np.empty(0)])
