"""Categorical emissions: one of M symbols, coded 0 … M − 1, P(y = m | state k) = probs[k, m]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.emissions.base import Emission, drawn
from statewise.emissions.gaussian_diagonal import NO_WEIGHT
from statewise.emissions.rows import Distinct, Rows
from statewise.emissions.table import Table
from statewise.results.law_mixtures import LawMixture


class CategoricalEmission(Emission):
    """One column of symbols.

    Args:
        probs: (K, M); a zero says that the state never emits the symbol.

    Means, variances and quantiles are those of the codes; they order states and say little else.
    """

    kind: ClassVar[str] = "categorical"
    parameter_names: ClassVar[tuple[str, ...]] = ("probs",)
    option_names: ClassVar[tuple[str, ...]] = ("symbols",)

    def __init__(self, probs: np.ndarray) -> None:
        self._probs = probs

    @classmethod
    def given(cls, parameters: Mapping[str, Any], states: int, **options: Any) -> Self:
        probs = checks.array("probs", parameters["probs"], (states, options.get("symbols")))
        return cls(checks.probabilities("probs", probs, probs.shape))

    @classmethod
    def pooled(cls, rows: Rows, states: int, **options: Any) -> Self:
        codes = _codes(rows, None)
        symbols = options.get("symbols") or max(int(codes.max(initial=0)) + 1, 2)
        counts = np.bincount(_codes(rows, symbols), minlength=symbols)
        return cls(np.tile(counts / counts.sum(), (states, 1)))

    def prepared(self, rows: Rows) -> Self:
        self._known(rows)
        return self

    def replaced(self, parameters: Mapping[str, Any]) -> Self:
        return self.given(parameters, self.states, symbols=self._probs.shape[1]) if parameters else self

    @property
    def states(self) -> int:
        return self._probs.shape[0]

    @property
    def dim(self) -> int:
        return 1

    @property
    def n_parameters(self) -> int:
        return self.states * (self._probs.shape[1] - 1)

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        return {"probs": self._probs}

    def domain(self, name: str) -> str:
        return "shares"

    @property
    def means(self) -> np.ndarray:
        return _CategoricalLaw(self._probs).mean()[:, None]

    @property
    def variances(self) -> np.ndarray:
        return _CategoricalLaw(self._probs).var()[:, None]

    def log_likelihood(self, rows: Rows) -> np.ndarray:
        return self.table(rows).spread()

    def table(self, rows: Rows) -> Table:
        known = self._known(rows)
        with np.errstate(divide="ignore"):
            return known.table(np.log(self._probs[:, known.values.astype(np.int64)].T))

    def _known(self, rows: Rows) -> Distinct:
        """The distinct codes, all of which the laws know."""
        known = rows.distinct[0]
        codes = known.values
        if (
            rows.dim != 1
            or (codes < 0).any()
            or (codes >= self._probs.shape[1]).any()
            or (codes != np.floor(codes)).any()
        ):
            _codes(rows, self._probs.shape[1])
        return known

    def m_step(self, rows: Rows, weights: np.ndarray) -> Self:
        known = self._known(rows)
        counts = np.zeros((self._probs.shape[1], self.states))
        counts[known.values.astype(np.int64)] = known.totals(weights)
        total = counts.sum(axis=0)
        seen = total > NO_WEIGHT
        found = np.where(seen[:, None], counts.T / np.where(seen, total, 1.0)[:, None], self._probs)
        return type(self)(found)

    @property
    def rises(self) -> bool:
        return True

    def reordered(self, order: np.ndarray) -> Self:
        return type(self)(self._probs[order])

    def sample(
        self,
        paths: np.ndarray,
        rng: np.random.Generator,
        inputs: np.ndarray | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        return drawn(self._probs, paths, rng)[..., None].astype(np.float64)

    def marginals(self, weights: np.ndarray, rows: Rows | None = None) -> LawMixture:
        return LawMixture(weights[..., None, :], _CategoricalLaw(self._probs), is_discrete=True)

    def residuals(self, rows: Rows, weights: np.ndarray) -> np.ndarray:
        return self.marginals(weights).normal_scores(rows.values)

    def points(self, rows: Rows) -> np.ndarray:
        """One coordinate for each symbol."""
        return (rows.values == np.arange(self._probs.shape[1])).astype(np.float64)


def _codes(rows: Rows, symbols: int | None) -> np.ndarray:
    """The observed codes as integers, or why they are none."""
    if rows.dim != 1:
        raise InputError(
            f"emission 'categorical' takes one column and the data have {rows.dim}; name a family for each, such as "
            "emission={'a': 'categorical', 'b': 'categorical'}"
        )
    y = rows.values[rows.seen[:, 0], 0]
    if not len(y):
        raise InputError(f"{rows.named(0)} has no observed entry; leave it out of the values")
    high = np.inf if symbols is None else symbols - 1
    wrong = (y < 0) | (y != np.floor(y)) | (y > high)
    if wrong.any():
        row = np.flatnonzero(rows.seen[:, 0])[np.flatnonzero(wrong)[0]]
        wanted = "whole codes from 0" + ("" if symbols is None else f" to {symbols - 1}, or a larger `symbols`")
        raise InputError(
            f"{rows.named(0)} has the value {rows.values[row, 0]:g} in row {row}; emission 'categorical' needs {wanted}"
        )
    if y.max() > 1e6:
        raise InputError(f"{rows.named(0)} has the code {y.max():g}; number the symbols 0, 1, 2, … without gaps")
    return y.astype(np.int64)


@dataclass(frozen=True, eq=False)
class _CategoricalLaw:
    """Laws on the codes 0 … M − 1 with shares `probs` (K, M)."""

    probs: np.ndarray

    def mean(self) -> np.ndarray:
        return np.asarray(self.probs @ np.arange(self.probs.shape[1]))

    def var(self) -> np.ndarray:
        return np.asarray(self.probs @ np.arange(self.probs.shape[1]) ** 2.0 - self.mean() ** 2)

    def _at(self, table: np.ndarray, x: np.ndarray) -> np.ndarray:
        """table[k, x] with x (..., 1) or (..., K) clipped to the codes; `table` starts with what holds below 0."""
        code = np.clip(np.floor(x), -1, self.probs.shape[1] - 1).astype(np.int64) + 1
        return np.asarray(table[np.arange(len(table)), code])

    def cdf(self, x: np.ndarray) -> np.ndarray:
        below = np.concatenate([np.zeros((len(self.probs), 1)), np.cumsum(self.probs, axis=1)], axis=1)
        return self._at(np.minimum(below, 1.0), x)

    def sf(self, x: np.ndarray) -> np.ndarray:
        above = np.concatenate(
            [np.cumsum(self.probs[:, ::-1], axis=1)[:, ::-1], np.zeros((len(self.probs), 1))], axis=1
        )
        return self._at(np.minimum(above, 1.0), x)

    def ppf(self, q: float) -> np.ndarray:
        cumulative = np.cumsum(self.probs, axis=1)
        return np.minimum((cumulative < q * cumulative[:, -1:]).sum(axis=1), self.probs.shape[1] - 1).astype(np.float64)
