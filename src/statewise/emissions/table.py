"""A table of log-likelihoods in which many rows are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Table:
    """What `Emission.log_likelihood` gives, each distinct row once: row r of it is ``distinct[which[r]]``.

    Attributes:
        distinct: (m, K).
        which: (rows,).
    """

    distinct: np.ndarray
    which: np.ndarray

    def __len__(self) -> int:
        return len(self.which)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the whole table: (rows, K)."""
        return len(self.which), self.distinct.shape[1]

    @property
    def size(self) -> int:
        return len(self.which) * self.distinct.shape[1]

    def spread(self) -> np.ndarray:
        """(rows, K) the whole table."""
        return np.take(self.distinct, self.which, axis=0)
