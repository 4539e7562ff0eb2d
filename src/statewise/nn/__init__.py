"""Layer 3: torch modules. Names are imported on first use, so `import statewise` does not load torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Public name -> module that defines it. Sorted.
_EXPORTS = {
    "LRU": "statewise.nn.diagonal",
    "MinGRU": "statewise.nn.diagonal",
    "initialise": "statewise.nn.initialise",
    "linear_scan": "statewise.ops.linear_scan",
}

__all__ = ["LRU", "MinGRU", "initialise", "linear_scan"]

if TYPE_CHECKING:
    from statewise.nn.diagonal import LRU, MinGRU
    from statewise.nn.initialise import initialise
    from statewise.ops.linear_scan import linear_scan


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'statewise.nn' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
