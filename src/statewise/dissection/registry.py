"""The analyses, in the order in which a reader meets them.

A new one is a file and a line in `_FILES`; it shows in the summary, the report and the command line.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from statewise.dissection.diagnostic import Diagnostic


@dataclass(frozen=True)
class Analysis:
    """An analysis by name.

    Attributes:
        name: its attribute in a `Dissection` and its function in `statewise.dissection`.
        title: for headings.
        compute: takes a subject, and options by name.
        at_once: computed with the dissection; the others when they are first asked for.
    """

    name: str
    title: str
    compute: Callable[..., Diagnostic]
    at_once: bool


# name -> (module, title, whether it is computed at once)
_FILES: dict[str, tuple[str, str, bool]] = {
    "gradient_flow": ("gradient_flow", "Gradient flow", True),
    "gradient_half_life": ("gradient_half_life", "Gradient half-life", True),
    "lyapunov": ("lyapunov", "Lyapunov spectrum", True),
    "memory_horizon": ("memory_horizon", "Memory horizons", False),
    "memory_capacity": ("memory_capacity", "Memory capacity", False),
    "participation_ratio": ("participation_ratio", "Participation ratio", False),
    "yardstick": ("yardstick", "Classical yardstick", False),
    "kaplan_yorke": ("kaplan_yorke", "Kaplan–Yorke dimension", False),
    "time_constants": ("time_constants", "Time constants", True),
    "saturation": ("saturation", "Saturation", True),
    "jacobian_products": ("jacobian_products", "Products of Jacobians", False),
    "paths": ("paths", "Gradient paths", False),
    "fixed_points": ("fixed_points", "Fixed points", False),
    "frequency_response": ("frequency_response", "Frequency response", False),
    "error_amplification": ("error_amplification", "Error amplification", False),
}


def analyses() -> dict[str, Analysis]:
    """All of them, by name."""
    return {name: analysis(name) for name in _FILES}


def names() -> tuple[str, ...]:
    return tuple(_FILES)


def analysis(name: str) -> Analysis:
    module, title, at_once = _FILES[name]
    return Analysis(name, title, getattr(importlib.import_module(f"statewise.dissection.{module}"), name), at_once)
