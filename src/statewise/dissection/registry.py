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
}


def analyses() -> dict[str, Analysis]:
    """All of them, by name."""
    return {name: analysis(name) for name in _FILES}


def names() -> tuple[str, ...]:
    return tuple(_FILES)


def analysis(name: str) -> Analysis:
    module, title, at_once = _FILES[name]
    return Analysis(name, title, getattr(importlib.import_module(f"statewise.dissection.{module}"), name), at_once)
