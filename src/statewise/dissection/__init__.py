"""Layer 7: what a recurrent network remembers. One file an analysis; `dissect` runs them, ``sw.dissection.lyapunov(…)`` runs one alone."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from statewise.dissection import registry
from statewise.dissection.diagnostic import Diagnostic, Status

if TYPE_CHECKING:
    from statewise.dissection.dissection import Dissection, dissect

__all__ = ["Diagnostic", "Dissection", "Status", "dissect", *registry.names()]  # the registry's names are strings

_OPENING = ("loss", "layer", "initial", "lengths", "dt")


def __getattr__(name: str) -> Any:
    if name in ("Dissection", "dissect"):
        from statewise.dissection import dissection

        return getattr(dissection, name)
    if name not in registry.names():
        raise AttributeError(f"module 'statewise.dissection' has no attribute {name!r}")
    return _alone(name)


def _alone(name: str) -> Any:
    """An analysis as a function of a model and a batch, with the arguments of `dissect` and its own options by name."""
    compute = registry.analysis(name).compute

    @functools.wraps(compute)
    def alone(model: Any, batch: Any = None, **options: Any) -> Diagnostic:
        from statewise.dissection.opening import opened

        given = {key: options.pop(key) for key in _OPENING if key in options}
        return compute(opened(model, batch, **given), **options)

    return alone


def __dir__() -> list[str]:
    return sorted(__all__)
