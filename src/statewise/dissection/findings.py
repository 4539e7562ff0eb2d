"""Where in a network gradients die or explode: which step, which layer, which unit or gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from statewise.dissection.diagnostic import Status
from statewise.dissection.reach import ENOUGH, Reach, layer_rates, reach, step_factors

if TYPE_CHECKING:
    from statewise.dissection.dissection import Dissection

_UNEVEN = 0.5  # of the typical factor, below which one step loses more than the others
_STUCK = 0.5  # share of steps and units
_WAYS = {"low": "closed", "high": "open", "flat": "flat"}  # how an activation is saturated
_KEEPING = ("f", "z")  # of an LSTM and a GRU: open, they carry the state on
_SLOWER = 1.5  # times the rate of another layer


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where.

    Attributes:
        kind: 'dies', 'explodes' or 'saturates'.
        place: a step, layer, unit or gate, in words.
        text: a sentence.
    """

    kind: str
    place: str
    text: str


def findings(d: Dissection) -> tuple[Finding, ...]:
    """What is wrong by the diagnostics that are computed at once; nothing where all is well."""
    far = reach(d.gradient_flow, d.gradient_half_life)
    found: list[Finding] = []
    if far is not None and far.curve[0] > 0:
        if far.explodes:
            found += _explosion(d, far)
        elif _dies(d, far):
            found += _death(d, far)
    return (*found, *_saturation(d))


def _dies(d: Dissection, far: Reach) -> bool:
    if d.needs is not None:
        return far.left(d.needs) < ENOUGH
    return far.horizon is not None and far.horizon <= 0.25 * float(d.subject.lengths.max())


def _death(d: Dissection, far: Reach) -> list[Finding]:
    found = []
    steps, factors = step_factors(d.gradient_flow)
    known = np.isfinite(factors)
    if known.any():
        typical = float(np.exp(np.mean(np.log(np.maximum(factors[known], 1e-300)))))
        worst = int(np.nanargmin(factors))
        text = f"Every step back leaves {typical:.2g} of the gradient"
        place = "every step"
        if factors[worst] < _UNEVEN * typical:
            text += f"; step {steps[worst]} leaves {factors[worst]:.2g}, the least"
            place = f"step {steps[worst]}"
        found.append(Finding("dies", place, text + "."))
    return [*found, *_by_layer(d, "dies")]


def _explosion(d: Dissection, far: Reach) -> list[Finding]:
    steps, factors = step_factors(d.gradient_flow)
    lag, size = far.largest
    if far.overflowed or not np.isfinite(factors).any():
        return [Finding("explodes", "", "The gradient overflows on the way back."), *_by_layer(d, "explodes")]
    worst = int(np.nanargmax(factors))
    text = f"The gradient grows to {size:.3g} times its start over {lag} steps, most at step {steps[worst]} ({factors[worst]:.2g} times)."
    return [Finding("explodes", f"step {steps[worst]}", text), *_by_layer(d, "explodes")]


def _by_layer(d: Dissection, kind: str) -> list[Finding]:
    """The layer that loses or gains fastest, where there are several and they differ."""
    rates = {name: rate for name, rate in layer_rates(d.lyapunov).items() if not np.isnan(rate)}
    if len(rates) < 2:
        return []
    name = min(rates, key=lambda each: rates[each]) if kind == "dies" else max(rates, key=lambda each: rates[each])
    others = [rate for other, rate in rates.items() if other != name]
    nearest = min(others) if kind == "dies" else max(others)
    if kind == "dies" and rates[name] < 0 and rates[name] < _SLOWER * min(nearest, 0.0):
        return [
            Finding(kind, name, f"Most is lost in {name}: its λ₁ is {rates[name]:.2g}, the next layer's {nearest:.2g}.")
        ]
    if kind == "explodes" and rates[name] > 0 and rates[name] > _SLOWER * max(nearest, 0.0):
        return [
            Finding(kind, name, f"It grows in {name}: its λ₁ is {rates[name]:.2g}, the next layer's {nearest:.2g}.")
        ]
    return []


def _saturation(d: Dissection) -> list[Finding]:
    """The layer and gate that is stuck most, and the unit in it; a gate that keeps and is open is no fault."""
    each = d.computed.get("saturation")
    if each is None or each.status is Status.REFUSED:
        return []
    stuck = [
        (share, way, layer, gate)
        for kind, way in _WAYS.items()
        for layer, gates in each.data[kind].items()
        for gate, share in gates.items()
        if share > _STUCK and not (kind == "high" and gate in _KEEPING)
    ]
    if not stuck:
        return []
    share, way, layer, gate = max(stuck)
    units = np.asarray(each.data["by_unit"][layer][gate])
    worst = int(np.argmax(units))
    text = f"In {layer} {gate} is {way} at {100 * share:.0f} % of steps and units; unit {worst} is stuck at {100 * units[worst]:.0f} % of steps."
    return [Finding("saturates", f"{layer}, {gate}, unit {worst}", text)]
