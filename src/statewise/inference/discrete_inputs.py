"""Transitions driven by inputs: row i of P[t] is softmax(c[i] + W[i]ᵀ u[t])."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import log_softmax

from statewise._core.errors import InputError
from statewise.inference.discrete import log
from statewise.inference.discrete_varying import VaryingChain


@dataclass(frozen=True, eq=False)
class InputChain:
    """P(s[t+1] = j | s[t] = i, u[t]) = exp(c[i, j] + W[i, :, j] · u[t]) / Σ over j of the same.

    Only differences within a row matter: each row has a reference state, in which intercept and coefficients are zero: i
    itself, so that a coefficient is the change in the log odds of leaving i for j, not staying, for one unit of an input.
    Where i cannot be kept, the lowest state that can follow is the reference.

    Attributes:
        initial: (K,) law of the first state.
        intercepts: (K, K) c; −inf where j can never follow i.
        coefficients: (K, u, K) W; zeros where j can never follow i.

    Source: Diebold, Lee & Weinbach, in *Nonstationary Time Series Analysis and Cointegration* (1994); Filardo, J. Bus. Econ.
    Statist. 12 (1994).
    """

    initial: np.ndarray
    intercepts: np.ndarray
    coefficients: np.ndarray

    def __post_init__(self) -> None:
        rows, at = np.arange(self.states), self.reference
        base = self.intercepts[rows, at]
        slopes = self.coefficients[rows, :, at]
        object.__setattr__(self, "intercepts", self.intercepts - base[:, None])
        relative = np.where(self.allowed[:, None, :], self.coefficients - slopes[:, :, None], 0.0)
        object.__setattr__(self, "coefficients", relative)

    @classmethod
    def constant(cls, initial: np.ndarray, transition: np.ndarray, inputs: int) -> InputChain:
        """The chain with transitions `transition` whatever the `inputs` inputs are."""
        return cls(initial, log(transition), np.zeros((len(initial), inputs, len(initial))))

    @property
    def states(self) -> int:
        return len(self.initial)

    @property
    def n_inputs(self) -> int:
        return self.coefficients.shape[1]

    @cached_property
    def allowed(self) -> np.ndarray:
        """(K, K) which transitions there are."""
        return self.intercepts > -np.inf

    @cached_property
    def reference(self) -> np.ndarray:
        """(K,) the reference state of each row."""
        return np.where(np.diagonal(self.allowed), np.arange(self.states), self.allowed.argmax(axis=1))

    @cached_property
    def free(self) -> np.ndarray:
        """(K, K) the transitions that have parameters of their own: those allowed, but for the references."""
        found = self.allowed.copy()
        found[np.arange(self.states), self.reference] = False
        return found

    def along(self, inputs: np.ndarray | None) -> VaryingChain:
        """The chain along rows with these `inputs` (rows, u)."""
        given = 0 if inputs is None else inputs.shape[1]
        if inputs is None or given != self.n_inputs:
            raise InputError(
                f"the sequences have {given} inputs but the transitions of the HMM depend on {self.n_inputs}; pass them as `inputs`"
            )
        return VaryingChain(self.initial, self.log_transition(inputs))

    def log_transition(self, inputs: np.ndarray) -> np.ndarray:
        """(rows, K, K) log P[t] for `inputs` (rows, u)."""
        scores = self.intercepts + np.tensordot(inputs, self.coefficients, axes=([1], [1]))
        return np.asarray(log_softmax(scores, axis=2))

    def reordered(self, order: np.ndarray) -> InputChain:
        """The same chain with state `order[k]` in place k."""
        return InputChain(
            self.initial[order], self.intercepts[np.ix_(order, order)], self.coefficients[order][:, :, order]
        )
