"""Random streams from one user-facing `seed`."""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise._core.checks import Integer, Optional

_RULE = Optional(Integer(0, 2**63 - 1))


def generator(seed: Any) -> np.random.Generator:
    """A NumPy generator; None draws fresh entropy, a whole number reproduces, a generator passes through."""
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(_RULE.check("seed", seed))


def child_seed(seed: int | None, *path: int) -> int | None:
    """A seed for one part of a job (a restart, a window), independent of the seeds of the other parts."""
    if seed is None:
        return None
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0])
