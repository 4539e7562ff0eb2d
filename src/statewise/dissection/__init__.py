"""Layer 7: what a recurrent network remembers. One file an analysis; `dissect` runs them, ``sw.dissection.lyapunov(…)`` runs one alone."""

from __future__ import annotations

import functools
import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from statewise.dissection import registry
from statewise.dissection.diagnostic import Diagnostic, Status

if TYPE_CHECKING:
    from statewise.dissection.comparison import compare
    from statewise.dissection.dissection import Dissection, dissect
    from statewise.dissection.findings import Finding
    from statewise.dissection.monitor import Monitor
    from statewise.dissection.remedies import apply
    from statewise.dissection.suggestions import Suggestion

__all__ = [  # the registry's names are strings
    "Diagnostic",
    "Dissection",
    "Finding",
    "Monitor",
    "Status",
    "Suggestion",
    "apply",
    "compare",
    "dissect",
    *registry.names(),
]

_OPENING = ("loss", "layer", "initial", "lengths", "dt")
_PLACES = {  # name -> the file that defines it, loaded when it is asked for
    "Dissection": "dissection",
    "Finding": "findings",
    "Monitor": "monitor",
    "Suggestion": "suggestions",
    "apply": "remedies",
    "compare": "comparison",
    "dissect": "dissection",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"statewise.dissection.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'statewise.dissection' has no attribute {name!r}")


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


class _Package(types.ModuleType):
    """An analysis has the name of its file: on the package the name means the function, also after the file was imported."""


def _function(name: str) -> property:
    return property(lambda package: _alone(name), lambda package, module: None)


for _name in registry.names():
    setattr(_Package, _name, _function(_name))
sys.modules[__name__].__class__ = _Package
