"""Opening one of our own models on sequences."""

from __future__ import annotations

from typing import Any

from statewise._core.errors import UnsupportedError
from statewise.dissection.subject import Subject


def open_model(model: Any, data: Any, loss: Any, dt: float) -> Subject:
    """A model along sequences; its loss is its own negative log-likelihood per step unless one is given."""
    raise UnsupportedError(f"`model` is {type(model).__name__}, which cannot be dissected; pass its torch module")
