"""The linear recurrent unit as real recurrences: of a complex state s its real and imaginary parts are carried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from statewise.dissection.affine import AffineSystem
from statewise.dissection.systems import Precision, System
from statewise.nn.diagonal import LRU


@dataclass(frozen=True)
class Unit:
    """One layer, z = (Re s, Im s): z[t] = A z[t−1] + B x[t],  y[t] = C z[t] + D x[t]."""

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    D: np.ndarray

    def astype(self, precision: Precision) -> Unit:
        return Unit(*(each.astype(precision) for each in (self.A, self.B, self.C, self.D)))


def unit(layer: LRU, ending: str) -> Unit:
    """The weights of one layer and direction, in float64."""
    own = {
        name: getattr(layer, name + ending).detach().to("cpu", torch.float64).numpy()
        for name in ("nu_log", "theta_log", "gamma_log", "input", "output", "skip")
    }
    size, angle = np.exp(-np.exp(own["nu_log"])), np.exp(own["theta_log"])
    real, imaginary = np.diag(size * np.cos(angle)), np.diag(size * np.sin(angle))
    into = np.exp(own["gamma_log"])[:, None, None] * own["input"]
    return Unit(
        np.block([[real, -imaginary], [imaginary, real]]),
        np.concatenate([into[:, 0], into[:, 1]]),
        np.concatenate([own["output"][..., 0], -own["output"][..., 1]], axis=1),
        own["skip"],
    )


def unit_system(own: Unit, x: np.ndarray, lengths: np.ndarray, initial: np.ndarray, label: str) -> AffineSystem:
    """One layer along its inputs (B, T, d)."""
    which = np.zeros(x.shape[:2], dtype=np.int64)
    return AffineSystem(own.A[None], own.B[None], which, x, lengths, initial, label=label, read=own.C)


class UnitStack(System):
    """Layers of linear recurrent units with the GELU between them: x of a layer is gelu(y) of the one below.

    Args:
        units: from the bottom.
        inputs: (B, T, d) of the lowest layer.
        lengths: (B,).
        initial: for each layer (B, 2N).
    """

    def __init__(self, units: list[Unit], inputs: np.ndarray, lengths: np.ndarray, initial: list[np.ndarray]) -> None:
        self.units, self.inputs, self.lengths, self.label = units, inputs, lengths, "stack"
        self.layers: list[AffineSystem] = []
        self.slopes: list[np.ndarray] = []
        x = inputs
        for k, (own, start) in enumerate(zip(units, initial, strict=True)):
            self.layers.append(unit_system(own, x, lengths, start, f"layer {k}"))
            self.top_inputs = x
            x, slope = gelu(self.layers[-1].states[:, 1:] @ own.C.T + x @ own.D.T)
            self.slopes.append(slope)
        self.states = np.concatenate([layer.states for layer in self.layers], axis=2)
        ends = np.cumsum([layer.size for layer in self.layers])
        self._slices = [slice(end - layer.size, end) for end, layer in zip(ends, self.layers, strict=True)]

    @property
    def parts(self) -> tuple[System, ...]:
        return tuple(self.layers)

    @property
    def readout_size(self) -> int:
        return len(self.units[-1].C)

    def step(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        after = []
        for own, place in zip(self.units, self._slices, strict=True):
            after.append(state[:, place] @ own.A.T + x @ own.B.T)
            x = gelu(after[-1] @ own.C.T + x @ own.D.T)[0]
        return np.concatenate(after, axis=1)

    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return self._pushed(t, tangents, None)

    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return self._pushed(t, None, tangents)

    def _pushed(self, t: int, tangents: np.ndarray | None, below: np.ndarray | None) -> np.ndarray:
        found = []
        for own, place, slope in zip(self.units, self._slices, self.slopes, strict=True):
            moved = 0.0 if tangents is None else own.A @ tangents[:, place]
            found.append(moved if below is None else moved + own.B @ below)
            read = own.C @ found[-1] if below is None else own.C @ found[-1] + own.D @ below
            below = slope[:, t, :, None] * read
        return np.concatenate(found, axis=1)

    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [total @ own.A for total, own in zip(self._pulled(t, cotangents)[0], self.units, strict=True)], axis=2
        )

    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return self._pulled(t, cotangents)[1]

    def _pulled(self, t: int, cotangents: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Each layer's cotangents with what comes down within the step, and what leaves at the bottom."""
        totals: list[np.ndarray] = []
        down: np.ndarray | None = None
        for own, place, slope in zip(reversed(self.units), reversed(self._slices), reversed(self.slopes), strict=True):
            total = cotangents[:, :, place]
            read = None if down is None else down * slope[:, None, t]
            total = total if read is None else total + read @ own.C
            totals.insert(0, total)
            down = total @ own.B if read is None else total @ own.B + read @ own.D
        assert down is not None
        return totals, down

    def jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self._single(x, state).jacobian(0)

    def input_jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        identity = np.broadcast_to(np.eye(x.shape[1]), (len(x), x.shape[1], x.shape[1]))
        return self._single(x, state).push_input(0, identity)

    def _single(self, x: np.ndarray, state: np.ndarray) -> UnitStack:
        parts = [state[:, place] for place in self._slices]
        return UnitStack(self.units, x[:, None], np.ones(len(x), int), parts)

    def readout(self, states: np.ndarray) -> np.ndarray:
        """C z of the top layer; what it puts out has D x beside it."""
        return states[..., self._slices[-1]] @ self.units[-1].C.T.astype(states.dtype)

    def spread(self, cotangents: np.ndarray) -> np.ndarray:
        found = np.zeros((*cotangents.shape[:-1], self.size), cotangents.dtype)
        found[..., self._slices[-1]] = cotangents @ self.units[-1].C.astype(cotangents.dtype)
        return found

    def rows(self, which: np.ndarray) -> Self:
        found = super().rows(which)
        found.layers = [layer.rows(which) for layer in self.layers]
        found.slopes = [slope[which] for slope in self.slopes]
        found.top_inputs = self.top_inputs[which]
        return found

    def at(self, precision: Precision) -> System:
        if self.dtype == precision:
            return self
        initial = [layer.states[:, 0].astype(precision) for layer in self.layers]
        units = [own.astype(precision) for own in self.units]
        return UnitStack(units, self.inputs.astype(precision), self.lengths, initial)


def gelu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x Φ(x) and its slope Φ(x) + x φ(x), in the precision of x."""
    from scipy.special import ndtr

    share = ndtr(x)
    density = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    return x * share, (share + x * density).astype(x.dtype)


def lru_systems(layer: LRU, call: Any) -> tuple[list[System], np.ndarray]:
    """As `layers.layer_systems`, for linear recurrent units."""
    from statewise.dissection.layers import flip

    two, x = layer.bidirectional, call.inputs
    size, batch = 2 * layer.state_size, len(call.lengths)
    zeros = np.zeros((layer.num_layers * (1 + two), batch, size))
    initial = zeros if call.initial is None else call.initial[0]
    if not two:
        units = [unit(layer, f"_l{k}") for k in range(layer.num_layers)]
        if len(units) == 1:
            single = unit_system(units[0], x, call.lengths, initial[0], "layer 0")
            return [single], single.readout(single.states[:, 1:]) + x @ units[0].D.T
        stack = UnitStack(units, x, call.lengths, list(initial))
        return [stack], stack.readout(stack.states[:, 1:]) + stack.top_inputs @ units[-1].D.T
    forward: list[System] = []
    reverse: list[System] = []
    for k in range(layer.num_layers):
        outputs = []
        for back, found in ((False, forward), (True, reverse)):
            seen = flip(x, call.lengths) if back else x
            own = unit(layer, f"_l{k}" + "_reverse" * back)
            label = f"layer {k}" + " reverse" * back
            made = unit_system(own, seen, call.lengths, initial[2 * k + back], label)
            found.append(made)
            output = made.readout(made.states[:, 1:]) + seen @ own.D.T
            outputs.append(flip(output, call.lengths) if back else output)
        last = np.concatenate(outputs, axis=2)
        x = gelu(last)[0]
    return [*forward, *reverse], last
