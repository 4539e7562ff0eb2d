"""Between packed rows and arrays that are padded at the end."""

from __future__ import annotations

import numpy as np


def inside(lengths: np.ndarray) -> np.ndarray:
    """(B, T) whether a step is one of the sequence's own; the true entries in order are the packed rows."""
    own: np.ndarray = np.arange(int(lengths.max())) < lengths[:, None]
    return own


def padded(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(B, T, …) from packed rows (Σ lengths, …), with zeros beyond the ends."""
    own = inside(lengths)
    found = np.zeros((*own.shape, *rows.shape[1:]), rows.dtype)
    found[own] = rows
    return found
