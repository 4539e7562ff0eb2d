"""Where activations are so far out that no gradient passes."""

from __future__ import annotations

import numpy as np

from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.gate_statistics import GateStatistics, gate_statistics
from statewise.dissection.panels import Heatmap, Panel
from statewise.dissection.subject import Subject

SOURCE = "Glorot & Bengio 2010; Karpathy, Johnson & Li 2015, section 4.2"
_MUCH = 0.3


def saturation(subject: Subject) -> Diagnostic:
    """The share of steps and units at which a tanh or relu has a slope below .05, or a gate lies outside (.05, .95).

    Returns:
        value: over all activations of all layers. Data, by layer and gate: `share`, `low` (gates that are closed), `high` (open), `flat`
        (tanh and relu without slope), and `by_unit`, the share of each unit (H,). A forget gate that is open is no fault: it keeps.
    """
    found = gate_statistics(subject)
    if not found:
        return refused("saturation", "the activations inside a step are not known, only its Jacobians", SOURCE)
    by_unit = {name: {gate: each.saturated(gate) for gate in each.low} for name, each in found.items()}
    share = {name: {gate: float(units.mean()) for gate, units in each.items()} for name, each in by_unit.items()}
    value = float(np.mean([units for each in by_unit.values() for units in each.values()]))
    return Diagnostic(
        "saturation",
        value,
        None,
        Status.CONVERGED,
        "",
        _meaning(value, share, found),
        SOURCE,
        {"share": share, "by_unit": by_unit} | {kind: _by_gate(found, kind) for kind in ("low", "high", "flat")},
        tuple(_panel(name, each) for name, each in by_unit.items()),
    )


def _by_gate(found: dict[str, GateStatistics], kind: str) -> dict[str, dict[str, float]]:
    return {
        name: {gate: float(units.mean()) for gate, units in getattr(each, kind).items()} for name, each in found.items()
    }


def _meaning(value: float, share: dict[str, dict[str, float]], found: dict[str, GateStatistics]) -> str:
    said = f"{100 * value:.0f} % of activations are saturated"
    most, name, gate = max((s, name, gate) for name, each in share.items() for gate, s in each.items())
    if most < _MUCH:
        return f"{said}; nowhere more than {100 * most:.0f} %."
    each = found[name]
    ways = {"closed": each.low[gate], "open": each.high[gate], "flat": each.flat[gate]}
    way = max(ways, key=lambda w: float(ways[w].mean()))
    return f"{said}; most in {name}, {gate}: {100 * most:.0f} %, mostly {way}."


def _panel(name: str, by_unit: dict[str, np.ndarray]) -> Panel:
    """Gates × units."""
    gates = list(by_unit)
    values = np.stack([by_unit[gate] for gate in gates])
    return Panel(
        f"Saturated share, {name}: {', '.join(f'{i} {gate}' for i, gate in enumerate(gates))}",
        "unit",
        "gate",
        (Heatmap(np.arange(values.shape[1]), np.arange(len(gates)), values, "share of steps"),),
    )
