"""The contract of a cell: what is carried from step to step, and how one step changes it."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

Parameters = Mapping[str, np.ndarray]


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
    """

    name: ClassVar[str]
    gates: ClassVar[int]
    carried: ClassVar[int] = 1

    @abc.abstractmethod
    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(..., n) the state after the input `x` has arrived."""

    @abc.abstractmethod
    def jacobian(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(..., n, n) the derivative of `step(params, x, state)` with respect to `state`; row i belongs to output i."""

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
