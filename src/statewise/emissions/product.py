"""Products: each column has a family of its own, and columns are independent given the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from statewise._core.errors import InputError
from statewise.emissions.base import Emission
from statewise.emissions.rows import Rows
from statewise.results.law_mixtures import ColumnMarginals


class ProductEmission(Emission):
    """K laws, log f(y | k) = Σ_d log f_d(y_d | k).

    Parameters are named ``<column>.<parameter>``. A product is made by a subclass that `product_of` makes, which knows the
    columns and their families.
    """

    kind: ClassVar[str] = "product"
    families: ClassVar[tuple[tuple[str, type[Emission]], ...]] = ()

    def __init__(self, parts: tuple[Emission, ...]) -> None:
        self._parts = parts

    @classmethod
    def _options_of(cls, family: type[Emission], options: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in options.items() if name in family.option_names}

    @classmethod
    def given(cls, parameters: Mapping[str, Any], states: int, **options: Any) -> Self:
        parts = []
        for column, family in cls.families:
            own = {name: parameters[f"{column}.{name}"] for name in family.parameter_names}
            parts.append(family.given(own, states, **cls._options_of(family, options)))
        return cls(tuple(parts))

    @classmethod
    def pooled(cls, rows: Rows, states: int, **options: Any) -> Self:
        alone = cls._columns(rows)
        parts = (
            family.pooled(one, states, **cls._options_of(family, options))
            for one, (_, family) in zip(alone, cls.families, strict=True)
        )
        return cls(tuple(parts))

    @classmethod
    def _columns(cls, rows: Rows) -> tuple[Rows, ...]:
        wanted = tuple(column for column, _ in cls.families)
        if rows.dim != len(wanted) or (rows.columns and rows.columns != wanted):
            have = ", ".join(rows.columns) if rows.columns else f"{rows.dim} columns without names"
            raise InputError(
                f"`emission` names the columns {', '.join(wanted)} and the data have {have}; name each column once, in "
                "the data's order"
            )
        return rows.singles

    def prepared(self, rows: Rows) -> Self:
        return type(self)(tuple(part.prepared(one) for part, one in zip(self._parts, self._columns(rows), strict=True)))

    def replaced(self, parameters: Mapping[str, Any]) -> Self:
        parts = []
        for (column, _), part in zip(self.families, self._parts, strict=True):
            lead = f"{column}."
            own = {name.removeprefix(lead): value for name, value in parameters.items() if name.startswith(lead)}
            parts.append(part.replaced(own))
        return type(self)(tuple(parts))

    @property
    def parts(self) -> tuple[Emission, ...]:
        """The laws of each column alone."""
        return self._parts

    @property
    def states(self) -> int:
        return self._parts[0].states

    @property
    def dim(self) -> int:
        return len(self._parts)

    @property
    def n_parameters(self) -> int:
        return sum(part.n_parameters for part in self._parts)

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        return {
            f"{column}.{name}": value
            for (column, _), part in zip(self.families, self._parts, strict=True)
            for name, value in part.parameters.items()
        }

    def domain(self, name: str) -> str:
        for (column, _), part in zip(self.families, self._parts, strict=True):
            lead = f"{column}."
            if name.startswith(lead) and name.removeprefix(lead) in part.parameter_names:
                return part.domain(name.removeprefix(lead))
        raise KeyError(name)

    @property
    def means(self) -> np.ndarray:
        return np.concatenate([part.means for part in self._parts], axis=1)

    @property
    def variances(self) -> np.ndarray:
        return np.concatenate([part.variances for part in self._parts], axis=1)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"{column}: {note}"
            for (column, _), part in zip(self.families, self._parts, strict=True)
            for note in part.notes
        )

    def reordered(self, order: np.ndarray) -> Self:
        return type(self)(tuple(part.reordered(order) for part in self._parts))

    def log_likelihood(self, rows: Rows) -> np.ndarray:
        tables = (part.log_likelihood(one) for part, one in zip(self._parts, self._columns(rows), strict=True))
        total = next(tables)
        for table in tables:
            total = total + table
        return total

    def m_step(self, rows: Rows, weights: np.ndarray) -> Self:
        columns = self._columns(rows)
        return type(self)(tuple(part.m_step(one, weights) for part, one in zip(self._parts, columns, strict=True)))

    def sample(
        self,
        paths: np.ndarray,
        rng: np.random.Generator,
        inputs: np.ndarray | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        return np.concatenate([part.sample(paths, rng) for part in self._parts], axis=-1)

    def marginals(self, weights: np.ndarray, rows: Rows | None = None) -> ColumnMarginals:
        return ColumnMarginals(tuple(part.marginals(weights) for part in self._parts))

    def residuals(self, rows: Rows, weights: np.ndarray) -> np.ndarray:
        columns = self._columns(rows)
        each = [part.residuals(one, weights) for part, one in zip(self._parts, columns, strict=True)]
        return np.concatenate(each, axis=1)

    def points(self, rows: Rows) -> np.ndarray:
        columns = self._columns(rows)
        return np.concatenate([part.points(one) for part, one in zip(self._parts, columns, strict=True)], axis=1)


def product_of(families: tuple[tuple[str, type[Emission]], ...]) -> type[ProductEmission]:
    """The product of these (column, family) pairs."""
    for column, family in families:
        if family.uses_inputs:
            raise InputError(
                f"`emission` gives column {column} the family {family.kind!r}, which cannot be part of a product"
            )

    class Product(ProductEmission):
        parameter_names = tuple(f"{column}.{name}" for column, family in families for name in family.parameter_names)
        option_names = tuple(sorted({name for _, family in families for name in family.option_names}))

    Product.families = families
    return Product
