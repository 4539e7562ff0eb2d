"""Optional packages, with a polite message where one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from statewise._core.errors import MissingDependencyError


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional package or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingDependencyError(
            f"{purpose} needs the package {module!r}; install it with: pip install 'statewise[{extra}]'"
        ) from None
