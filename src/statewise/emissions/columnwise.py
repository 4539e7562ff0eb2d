"""What families share whose columns are independent given the state, each with a law of few parameters."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.emissions.base import Emission, moved
from statewise.emissions.gaussian_diagonal import NO_WEIGHT
from statewise.emissions.rows import Rows
from statewise.emissions.table import Table
from statewise.results.law_mixtures import LawMixture

Column = dict[str, np.ndarray]  # the parameters of one column, (K,) each


class ColumnwiseEmission(Emission):
    """K laws on p columns, independent given the state; every parameter is (K, p).

    A family says how likely values are (`_log_density`), which parameters are best for weighted values (`_maximum`),
    what its law is called in ``scipy.stats`` (`_law`), and which values it can have (`_judge`). Whole-number families are
    worked out once for each distinct value.

    Args:
        parameters: by name.
        min_variance: for families whose likelihood is unbounded without a floor: no variance falls below this share of
            the column's variance over all data.
        floor: (p,) the resulting variances.
        held: states whose last M step met a bound.
    """

    option_names: ClassVar[tuple[str, ...]] = ("min_variance",)
    is_discrete: ClassVar[bool] = False
    ranges: ClassVar[dict[str, checks.Real]]

    def __init__(
        self,
        parameters: Mapping[str, np.ndarray],
        min_variance: float = 1e-6,
        floor: np.ndarray | None = None,
        held: tuple[int, ...] = (),
    ) -> None:
        self._parameters = dict(parameters)
        self._min_variance = min_variance
        self._floor = floor
        self._held = held

    # --- what a family says -------------------------------------------------------------------------------------------

    @staticmethod
    @abc.abstractmethod
    def _law(parameters: Column) -> Any:
        """The frozen law of ``scipy.stats`` with these parameters, of any one shape."""

    @staticmethod
    @abc.abstractmethod
    def _log_density(y: np.ndarray, parameters: Column) -> np.ndarray:
        """(m, K) log density of the values (m, 1)."""

    @staticmethod
    @abc.abstractmethod
    def _maximum(y: np.ndarray, weights: np.ndarray, now: Column, floor: float) -> Column:
        """The parameters that maximise Σ weights · log density for values (m,) and weights (m, K), each column of which
        adds up to more than nothing."""

    @classmethod
    @abc.abstractmethod
    def _judge(cls, y: np.ndarray) -> tuple[np.ndarray, str]:
        """Which of the observed values (m,) the family cannot have, and what it can have instead."""

    @staticmethod
    def _start(mean: float, variance: float) -> dict[str, float]:
        """Parameters of a column with this mean and variance."""
        raise NotImplementedError

    # --- making -------------------------------------------------------------------------------------------------------

    @classmethod
    def given(cls, parameters: Mapping[str, Any], states: int, **options: Any) -> Self:
        judged: Column = {}
        for name in cls.parameter_names:
            table = np.asarray(parameters[name])
            table = checks.array(name, table[:, None] if table.ndim == 1 else table, (states, None))
            for value in (table.min(), table.max()):
                cls.ranges[name].check(name, value)
            judged[name] = table
        shapes = {name: table.shape for name, table in judged.items()}
        if len(set(shapes.values())) > 1:
            raise InputError(f"the parameters have shapes {shapes}; pass one entry for each state and column in each")
        return cls(judged, **options)

    @classmethod
    def pooled(cls, rows: Rows, states: int, **options: Any) -> Self:
        made: dict[str, list[float]] = {name: [] for name in cls.parameter_names}
        cls._require(rows)
        for d in range(rows.dim):
            y = rows.values[rows.seen[:, d], d]
            for name, value in cls._start(float(y.mean()), float(y.var())).items():
                made[name].append(value)
        tables = {name: np.tile(np.array(values), (states, 1)) for name, values in made.items()}
        start = cls(tables, **options).prepared(rows)
        return start.m_step(rows, np.full((len(rows), states), 1.0 / states))

    def prepared(self, rows: Rows) -> Self:
        self._require(rows)
        spread = np.array([rows.values[rows.seen[:, d], d].var() for d in range(rows.dim)])
        return self._with(floor=self._min_variance * spread)

    @classmethod
    def _require(cls, rows: Rows) -> None:
        """Refuse columns with nothing in them, and values that the family cannot have."""
        for d in range(rows.dim):
            y = rows.values[:, d]
            where = np.flatnonzero(rows.seen[:, d])
            if not len(where):
                raise InputError(f"{rows.named(d)} has no observed entry; leave it out of the values")
            wrong, wanted = cls._judge(y[where])
            if wrong.any():
                first = where[np.flatnonzero(wrong)[0]]
                raise InputError(
                    f"{rows.named(d)} has the value {y[first]:g} in row {first} ({int(wrong.sum())} such entries); "
                    f"emission {cls.kind!r} needs {wanted}"
                )
            if cls.needs_spread and (y[where] == y[where[0]]).all():
                raise InputError(
                    f"{rows.named(d)} is constant at {y[where[0]]:g} in all {len(where)} observed entries, so emission "
                    f"{cls.kind!r} has no maximum likelihood there; leave the column out"
                )

    def replaced(self, parameters: Mapping[str, Any]) -> Self:
        if not parameters:
            return self
        for name, value in parameters.items():
            if (np.shape(value)[1] if np.ndim(value) == 2 else 1) != self.dim:
                raise InputError(
                    f"`{name}` has shape {np.shape(value)}; pass one column for each of the data's {self.dim}"
                )
        made = self.given(self.parameters | dict(parameters), self.states, min_variance=self._min_variance)
        return made._with(floor=self._floor)

    def _with(self, **changes: Any) -> Self:
        fields = ("parameters", "min_variance", "floor", "held")
        return type(self)(**({name: getattr(self, f"_{name}") for name in fields} | changes))

    # --- sizes and parameters -----------------------------------------------------------------------------------------

    @property
    def _first(self) -> np.ndarray:
        return self._parameters[self.parameter_names[0]]

    @property
    def states(self) -> int:
        return self._first.shape[0]

    @property
    def dim(self) -> int:
        return self._first.shape[1]

    @property
    def n_parameters(self) -> int:
        return len(self._parameters) * self._first.size

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        return dict(self._parameters)

    def domain(self, name: str) -> str:
        rule = self.ranges[name]
        if rule.high == 1.0:
            return "chance"
        return "positive" if rule.low >= 0.0 else "plain"

    @property
    def means(self) -> np.ndarray:
        return np.asarray(self._law(self._parameters).mean())

    @property
    def variances(self) -> np.ndarray:
        return np.asarray(self._law(self._parameters).var())

    def reordered(self, order: np.ndarray) -> Self:
        held = moved(self._held, order)
        return self._with(parameters={name: table[order] for name, table in self._parameters.items()}, held=held)

    def _column(self, d: int) -> Column:
        return {name: table[:, d] for name, table in self._parameters.items()}

    # --- likelihood and M step ----------------------------------------------------------------------------------------

    def log_likelihood(self, rows: Rows) -> np.ndarray:
        self._require_possible(rows)
        table: np.ndarray | None = None
        for d in range(self.dim):
            if self.is_discrete:
                part = self._table(rows, d).spread()
            else:
                seen = rows.seen[:, d]
                part = np.zeros((len(rows), self.states))
                part[seen] = self._log_density(rows.values[seen, d][:, None], self._column(d))
            table = part if table is None else table + part
        assert table is not None
        return table

    def table(self, rows: Rows) -> np.ndarray | Table:
        if not (self.is_discrete and self.dim == 1):
            return self.log_likelihood(rows)
        self._require_possible(rows)
        return self._table(rows, 0)

    def _table(self, rows: Rows, d: int) -> Table:
        """Of one column, for a family of whole numbers."""
        known = rows.distinct[d]
        return known.table(self._log_density(known.values[:, None], self._column(d)))

    def _require_possible(self, rows: Rows) -> None:
        """Refuse values outside the family, which would otherwise travel as NaN or as minus infinity without a word."""
        for d in range(rows.dim):
            y = rows.distinct[d].values if self.is_discrete else rows.values[rows.seen[:, d], d]
            if len(y) and self._judge(y)[0].any():
                self._require(rows)

    def m_step(self, rows: Rows, weights: np.ndarray) -> Self:
        if self._floor is None:
            return self.prepared(rows).m_step(rows, weights)
        found = {name: table.copy() for name, table in self._parameters.items()}
        for d in range(self.dim):
            if self.is_discrete:
                y, w = rows.distinct[d].values, rows.distinct[d].totals(weights)
            else:
                seen = rows.seen[:, d]
                y, w = rows.values[seen, d], weights[seen]
            known = w.sum(axis=0) > NO_WEIGHT
            if known.any():
                now = {name: column[known] for name, column in self._column(d).items()}
                best = self._maximum(y, np.ascontiguousarray(w[:, known]), now, float(self._floor[d]))
                for name, value in best.items():
                    found[name][known, d] = value
        return self._with(parameters=found, held=self._at_bound(found))

    def _at_bound(self, parameters: Column) -> tuple[int, ...]:
        """States that have a column whose variance is held up by the floor."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        if not self._held:
            return ()
        return (
            f"state {', '.join(map(str, self._held))} has a variance that is held up by the floor "
            f"min_variance={self._min_variance:g} (of the column's variance): it has collapsed onto few or equal points, "
            "and the likelihood depends on the floor; use fewer states, or more data",
        )

    # --- laws ---------------------------------------------------------------------------------------------------------

    def sample(
        self,
        paths: np.ndarray,
        rng: np.random.Generator,
        inputs: np.ndarray | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        law = self._law({name: table[paths] for name, table in self._parameters.items()})
        return np.asarray(law.rvs(size=(*paths.shape, self.dim), random_state=rng), dtype=np.float64)

    def marginals(self, weights: np.ndarray, rows: Rows | None = None) -> LawMixture:
        shares = np.broadcast_to(weights[..., None, :], (*weights.shape[:-1], self.dim, self.states))
        law = self._law({name: table.T for name, table in self._parameters.items()})
        return LawMixture(shares, law, self.is_discrete)

    def residuals(self, rows: Rows, weights: np.ndarray) -> np.ndarray:
        return self.marginals(weights).normal_scores(rows.values)


def weighted_mean(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(K,) Σ w y / Σ w."""
    return np.asarray(y @ weights / weights.sum(axis=0))


def whole_numbers(y: np.ndarray) -> tuple[np.ndarray, str]:
    """Which values are not counts, and what counts are."""
    return (y < 0) | (y != np.floor(y)), "whole numbers from 0"
