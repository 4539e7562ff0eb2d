"""Layer 3: torch modules. Nothing here is imported until a network is trained, so `import statewise` does not load torch.

>>> import statewise as sw
>>> layer = sw.nn.GRU(8, 32, batch_first=True)          # torch.nn.GRU's arguments, parameters and results
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statewise.nn.diagonal import LRU, MinGRU
    from statewise.nn.initialisation import initialise
    from statewise.nn.missing import FillMissing
    from statewise.nn.recurrent import GRU, LSTM, RNN, accelerate
    from statewise.ops.linear_scan import linear_scan

_EXPORTS = {
    "FillMissing": "statewise.nn.missing",
    "GRU": "statewise.nn.recurrent",
    "LRU": "statewise.nn.diagonal",
    "LSTM": "statewise.nn.recurrent",
    "MinGRU": "statewise.nn.diagonal",
    "RNN": "statewise.nn.recurrent",
    "accelerate": "statewise.nn.recurrent",
    "initialise": "statewise.nn.initialisation",
    "linear_scan": "statewise.ops.linear_scan",
}
__all__ = ["GRU", "LRU", "LSTM", "RNN", "FillMissing", "MinGRU", "accelerate", "initialise", "linear_scan"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'statewise.nn' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value
