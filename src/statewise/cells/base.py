"""The contract of a cell: what is carried from step to step, and how one step changes it."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

Parameters = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Linearised:
    """A step taken apart at one place or at many, for H units, G gates, m arrays of H numbers in the state and any leading axes.

    ::

        ∂s[t]/∂s[t−1] = direct + recurrent · W_hh        ∂s[t]/∂x[t] = driven · W_ih

    Attributes:
        gates: the activations by name, each (..., H); those that are gates are in (0, 1), the others in the range of their nonlinearity.
        direct: (..., m, m, H) what passes from unit to the same unit without a weight: block (i, j) of the Jacobian has diag(direct[i, j]).
        recurrent: (..., m, G, H) block i has diag(recurrent[i, g]) times the rows of gate g in W_hh, in the columns of h.
        driven: (..., m, G, H) the same for W_ih and the columns of x.
    """

    gates: dict[str, np.ndarray]
    direct: np.ndarray
    recurrent: np.ndarray
    driven: np.ndarray


class Cell(abc.ABC):
    """One step of a recurrence, s[t] = F(x[t], s[t−1]), and its Jacobian ∂s[t]/∂s[t−1].

    Parameters have PyTorch's names, order of gates and shapes: ``weight_ih_l0`` (G·H, d), ``weight_hh_l0`` (G·H, H) and, unless the
    cell has no bias, ``bias_ih_l0`` and ``bias_hh_l0`` (G·H,), for H units, d inputs and G gates.

    The carried state s is one array (..., n): h for most cells, (h, c) side by side for the LSTM. Every method takes any
    leading axes (a batch), the same for `x` (..., d) and `state` (..., n), and computes in the precision of its arguments.

    Attributes:
        name: the word that users write.
        gates: G, blocks of H rows in the weights.
        carried: arrays of H numbers in the state, so that n = carried · H.
        activations: the nonlinearity of each of `Linearised.gates`: 'sigmoid', 'tanh', 'relu' or 'identity'.
    """

    name: ClassVar[str]
    gates: ClassVar[int]
    carried: ClassVar[int] = 1
    activations: ClassVar[Mapping[str, str]]

    @abc.abstractmethod
    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(..., n) the state after the input `x` has arrived."""

    @abc.abstractmethod
    def linearise(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> Linearised:
        """The step from `state` under `x`, taken apart."""

    def jacobian(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(..., n, n) the derivative of `step(params, x, state)` with respect to `state`; row i belongs to output i."""
        parts, weight = self.linearise(params, x, state), self.recurrent_weight(params)
        H, units = parts.direct.shape[-1], np.arange(parts.direct.shape[-1])
        result = np.zeros((*state.shape, state.shape[-1]), parts.direct.dtype)
        for i in range(self.carried):
            rows = slice(i * H, (i + 1) * H)
            for g, block in enumerate(weight.reshape(-1, H, H)):
                result[..., rows, :H] += scaled_rows(parts.recurrent[..., i, g, :], block)
            for j in range(self.carried):
                result[..., i * H + units, j * H + units] += parts.direct[..., i, j, :]
        return result

    def recurrent_weight(self, params: Parameters) -> np.ndarray:
        """(G·H, H) W_hh."""
        return params["weight_hh_l0"]

    def hidden(self, state: np.ndarray) -> np.ndarray:
        """(..., H) the part of the state that is read out: its first H numbers."""
        return state[..., : state.shape[-1] // self.carried]

    def state_size(self, params: Parameters) -> int:
        """n, the numbers carried."""
        return self.carried * params["weight_hh_l0"].shape[1]


def layer_parameters(params: Parameters, layer: int) -> dict[str, np.ndarray]:
    """The parameters of one layer of a stack, under the names that a single cell reads (those of layer 0)."""
    ending = f"_l{layer}"
    return {name.removesuffix(ending) + "_l0": array for name, array in params.items() if name.endswith(ending)}


def layer_count(params: Parameters) -> int:
    """Layers in a stack."""
    return sum(name.startswith("weight_ih_l") for name in params)


def from_input(params: Parameters, x: np.ndarray) -> np.ndarray:
    """(..., G·H) W_ih x + b_ih."""
    product = x @ params["weight_ih_l0"].T
    return product + params["bias_ih_l0"] if "bias_ih_l0" in params else product


def from_state(params: Parameters, h: np.ndarray) -> np.ndarray:
    """(..., G·H) W_hh h + b_hh."""
    product = h @ params["weight_hh_l0"].T
    return product + params["bias_hh_l0"] if "bias_hh_l0" in params else product


def scaled_rows(scale: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(..., m, n) diag(scale) · matrix, for scale (..., m) and matrix (m, n) or (..., m, n)."""
    return scale[..., :, None] * matrix


def one_gate(gates: dict[str, np.ndarray], slope: np.ndarray) -> Linearised:
    """A cell whose new state is one function of W_ih x + W_hh h, with that slope (..., H)."""
    block = slope[..., None, None, :]
    return Linearised(gates, np.zeros_like(block), block, block)
