"""What an emission family is: the law of an observation in each of K hidden states."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from statewise.emissions.rows import Rows
from statewise.emissions.table import Table
from statewise.results.marginals import Marginals


class Emission(abc.ABC):
    """K laws of a row of p values. Immutable: `m_step` and `reordered` return new ones.

    Discrete inference sees only `log_likelihood`; a model sees only this class. Any entry of a row may be NaN: it is
    integrated out, and a row of NaN has log-likelihood 0 in every state.

    Attributes:
        kind: the family's name.
        parameter_names: its parameters; the first says where each state is, such as the means.
        option_names: the constructor options of a model that the family understands; `given` and `pooled` take them.
        needs_spread: a column in which nothing varies, or fewer distinct rows than states, cannot be fitted.
        uses_inputs: the laws depend on the rows' inputs.
    """

    kind: ClassVar[str]
    parameter_names: ClassVar[tuple[str, ...]]
    option_names: ClassVar[tuple[str, ...]] = ()
    needs_spread: ClassVar[bool] = False
    uses_inputs: ClassVar[bool] = False

    @classmethod
    @abc.abstractmethod
    def given(cls, parameters: Mapping[str, Any], states: int, **options: Any) -> Self:
        """The family's laws with the given parameters, one entry for each of `parameter_names`; all are judged here."""

    @classmethod
    @abc.abstractmethod
    def pooled(cls, rows: Rows, states: int, **options: Any) -> Self:
        """The law of all rows together in every state, prepared for them: where a fit begins."""

    @abc.abstractmethod
    def prepared(self, rows: Rows) -> Self:
        """The same laws, their safeguards scaled to the rows that they are to be fitted to.

        Raises:
            InputError: the family cannot be fitted to these rows; the message names the column.
        """

    @abc.abstractmethod
    def replaced(self, parameters: Mapping[str, Any]) -> Self:
        """The same laws with some parameters replaced, which are judged as in `given`."""

    @property
    @abc.abstractmethod
    def states(self) -> int:
        """K."""

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """p."""

    @property
    @abc.abstractmethod
    def n_parameters(self) -> int:
        """Free parameters."""

    @property
    @abc.abstractmethod
    def parameters(self) -> dict[str, np.ndarray]:
        """The parameters by name; ``given(emission.parameters, ...)`` makes the same laws."""

    @abc.abstractmethod
    def domain(self, name: str) -> str:
        """What the parameter `name` can be: 'plain' (any numbers), 'positive', 'chance' (from 0 to 1), 'shares' (rows that sum to one),
        'covariance' (matrices), or 'fixed' (not estimated).
        """

    @property
    @abc.abstractmethod
    def means(self) -> np.ndarray:
        """(K, p) mean of each column in each state."""

    @property
    @abc.abstractmethod
    def variances(self) -> np.ndarray:
        """(K, p) variance of each column in each state."""

    @abc.abstractmethod
    def log_likelihood(self, rows: Rows) -> np.ndarray:
        """(rows, K) log density or log probability of the observed entries of each row in each state."""

    def table(self, rows: Rows) -> np.ndarray | Table:
        """`log_likelihood`, with each distinct row once where many are alike."""
        return self.log_likelihood(rows)

    @abc.abstractmethod
    def sample(
        self,
        paths: np.ndarray,
        rng: np.random.Generator,
        inputs: np.ndarray | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        """(count, steps, p) one draw from the law of each state of the paths (count, steps).

        Args:
            paths: states.
            rng: where chance comes from.
            inputs: (count, steps, u), for laws that depend on them.
            before: (count, r, p) the last rows before the first step, for laws that look back `look_back` = r steps.
        """

    @property
    def n_inputs(self) -> int:
        """How many inputs the laws depend on."""
        return 0

    @property
    def look_back(self) -> int:
        """How many earlier rows the law of a row depends on."""
        return 0

    @abc.abstractmethod
    def m_step(self, rows: Rows, weights: np.ndarray) -> Self:
        """The laws that maximise the expected log-likelihood, `weights` (rows, K) being the states' probabilities.

        Never lowers the likelihood. A state or a column without weight keeps its law.
        """

    @property
    def rises(self) -> bool:
        """Whether the M step that made these laws is sure not to have lowered the likelihood by more than rounding: it has a closed
        form, no safeguard touched it, and the laws are far from singular."""
        return False

    @abc.abstractmethod
    def reordered(self, order: np.ndarray) -> Self:
        """The same laws with state `order[k]` in place k."""

    @abc.abstractmethod
    def marginals(self, weights: np.ndarray, rows: Rows | None = None) -> Marginals:
        """The law of each column (..., p) when the states have the probabilities `weights` (..., K).

        Laws that depend on inputs or earlier rows take them from `rows`, one for each entry of the leading axes.
        """

    @abc.abstractmethod
    def residuals(self, rows: Rows, weights: np.ndarray) -> np.ndarray:
        """(rows, p) normal pseudo-residuals Φ⁻¹(F(y)), F the marginal law under `weights` (rows, K); NaN where missing.

        Source: Zucchini, MacDonald & Langrock, *Hidden Markov Models for Time Series* (2016), §6.2.
        """

    def points(self, rows: Rows) -> np.ndarray:
        """(rows, any) standardised coordinates in which a start looks for clusters; zeros where nothing is known."""
        return np.asarray(
            np.nan_to_num(
                (rows.values - self.means[0]) / np.sqrt(np.where(self.variances[0] > 0, self.variances[0], 1.0))
            )
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a careful user should know of these laws, such as a variance that a safeguard holds up."""
        return ()


def moved(held: tuple[int, ...], order: np.ndarray) -> tuple[int, ...]:
    """The numbers of the states `held` after `Emission.reordered`."""
    return tuple(sorted(int(np.flatnonzero(order == state)[0]) for state in held))


def drawn(shares: np.ndarray, paths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the M outcomes for each state of `paths`, with the chances `shares` (K, M)."""
    cumulative = np.cumsum(shares, axis=1)
    cumulative /= cumulative[:, -1:]
    return np.asarray((rng.random(paths.shape)[..., None] >= cumulative[paths]).sum(axis=-1))
