"""Layer 3: torch modules. Nothing here is imported until a network is trained, so `import statewise` does not load torch.

>>> import statewise as sw
>>> layer = sw.nn.GRU(8, 32, batch_first=True)          # torch.nn.GRU's arguments, parameters and results
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statewise.nn.recurrent import GRU, LSTM, RNN, accelerate

_EXPORTS = {
    "GRU": "statewise.nn.recurrent",
    "LSTM": "statewise.nn.recurrent",
    "RNN": "statewise.nn.recurrent",
    "accelerate": "statewise.nn.recurrent",
}
__all__ = ["GRU", "LSTM", "RNN", "accelerate"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'statewise.nn' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value
