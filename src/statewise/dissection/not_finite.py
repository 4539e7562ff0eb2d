"""Where the first NaN or infinity is: in the weights, in what came in, or at which step, layer and unit it arose."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import nn

from statewise.dissection.layers import Call, array, layer_systems
from statewise.dissection.systems import System

_WEIGHTS = "go back to a checkpoint from before, and lower the learning rate or clip the gradient"
_STATES = "lower the learning rate, clip the gradient, or start from smaller weights"


def bad_weights(module: nn.Module) -> list[str]:
    """The names of parameters that have an entry that is not finite."""
    return [name for name, value in module.named_parameters() if not bool(torch.isfinite(value).all())]


def bad_gradients(module: nn.Module) -> list[str]:
    """The names of parameters whose gradient has an entry that is not finite."""
    named = [(name, value.grad) for name, value in module.named_parameters() if value.grad is not None]
    return [name for name, gradient in named if not bool(torch.isfinite(gradient).all())]


def listed(names: list[str], most: int = 3) -> str:
    """A few names in words."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def trouble(module: nn.Module, calls: list[tuple[str, nn.Module, Call]]) -> str:
    """What is not finite first, and what helps; empty where weights, inputs and outputs of all calls are finite."""
    weights = bad_weights(module)
    if weights:
        return f"the weights {listed(weights)} are not finite; {_WEIGHTS}"
    for name, place, call in calls:
        where = name or "the network"
        came = _first(call.inputs, call.lengths)
        if came is not None:
            sequence, step, column = came
            return (
                f"the input of {where} is not finite from step {step} of sequence {sequence} on (column {column}); look at the data there, or at "
                "what is computed before it"
            )
        own = array(call.padded(call.output))
        if _first(own, call.lengths) is None:
            continue
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            systems, _ = layer_systems(place, call)
        return _in_states(where, systems, own, call)
    return ""


def _in_states(where: str, systems: list[System], own: np.ndarray, call: Call) -> str:
    for system in systems:
        for part in system.parts:
            found = _first(part.states[:, 1:], call.lengths)
            if found is not None:
                sequence, step, unit = found
                value = part.states[sequence, step + 1, unit]
                kind = "NaN" if np.isnan(value) else "infinite"
                return f"number {unit} of the state of {where}, {part.label}, becomes {kind} at step {step} of sequence {sequence}; {_STATES}"
    first = _first(own, call.lengths)
    sequence, step, unit = (0, 0, 0) if first is None else first
    return (
        f"unit {unit} of the output of {where} overflows the network's precision at step {step} of sequence {sequence}, and does not in float64; "
        f"{_STATES}"
    )


def _first(values: np.ndarray, lengths: np.ndarray) -> tuple[int, int, int] | None:
    """(sequence, step, column) of the earliest step with an entry of (B, T, n) that is not finite, within the sequences' lengths."""
    bad = ~np.isfinite(values)
    bad &= (np.arange(values.shape[1]) < lengths[:, None])[:, :, None]
    if not bad.any():
        return None
    step = int(np.argmax(bad.any(axis=(0, 2))))
    sequence = int(np.argmax(bad[:, step].any(axis=1)))
    return sequence, step, int(np.argmax(bad[sequence, step]))
