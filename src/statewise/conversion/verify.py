"""What two forms of one model say of the same sequences, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from statewise._core.errors import InputError
from statewise.models.base import Density, HasDiscreteStates, HasGaussianStates, Model

_STEPS = 5
Pair = tuple[np.ndarray, np.ndarray]


def compared(model: Any, converted: Any, data: Any, preserves: list[str]) -> Iterator[Pair]:
    """Pairs of arrays of the converted and the given model for all that every text of `preserves` promises to be equal."""
    if not isinstance(model, Model):
        from statewise.conversion import foreign

        if hasattr(model, "hidden_size"):
            yield from (_pair(*pair) for pair in foreign.layer_outputs(model, converted, data))
        else:
            yield _pair(*foreign.log_densities(model, converted, data))
        return
    for word, verb in (("filtered", "filter"), ("smoothed", "smooth")):
        if not all(word in text for text in preserves):
            continue
        for kind, parts in ((HasGaussianStates, ("mean", "cov")), (HasDiscreteStates, ("probs",))):
            if isinstance(model, kind) and hasattr(converted, verb):
                have, want = getattr(converted, verb)(data), getattr(model, verb)(data)
                for part in parts:
                    yield _pair(getattr(have, part), getattr(want, part))
    for verb, given in (("respond", (data,)), ("solve", (data, _STEPS))):
        if hasattr(model, verb) and hasattr(converted, verb):
            yield _pair(getattr(converted, verb)(*given), getattr(model, verb)(*given))
    if isinstance(model, Density) and hasattr(converted, "log_prob") and not isinstance(converted, Density):
        yield _pair(converted.log_prob(data, per_step=True), model.log_prob(data, per_step=True))
    if isinstance(model, Density) and isinstance(converted, Density):
        yield _pair(converted.log_prob(data, per_step=True), model.log_prob(data, per_step=True))
        inputs = _inputs(model, data)
        one, two = (m.forecast(data, steps=_STEPS, inputs=inputs) for m in (converted, model))
        yield _pair(one.mean, two.mean)
        yield _pair(one.variance, two.variance)


def _pair(a: np.ndarray, b: np.ndarray) -> Pair:
    """Both finite, or equally infinite or missing: such entries count as equal, and a difference there is infinite."""
    if a.shape != b.shape:
        raise InputError(f"the forms give arrays of shapes {a.shape} and {b.shape}, which cannot be compared")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    return np.where(same, 0.0, np.where(finite, a, np.inf)), np.where(same | ~finite, 0.0, b)


def _inputs(model: Density, data: Any) -> np.ndarray | None:
    """Future inputs of one where the model has inputs."""
    seqs = model._receive(data)
    return None if seqs.inputs is None else np.ones((_STEPS, seqs.inputs.shape[1]))
