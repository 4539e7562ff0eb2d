"""Sharing the rows or sequences of a serial kernel in chunks that depend on the data alone.

A sum over chunks is then the same number on every machine, however many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from statewise.kernels import _threads

_CHUNKS, _LEAST_ROWS = 16, 1000
_WORTH_SHARING = 1_000_000  # elementary operations, about a millisecond


def by_sequence(offsets: np.ndarray) -> np.ndarray:
    """Bounds (chunks + 1,) that cut N sequences into at most 16 chunks of about the same number of rows."""
    count, rows = len(offsets) - 1, int(offsets[-1])
    if count == 1 or rows < _LEAST_ROWS:
        return np.array([0, count])
    inner = np.searchsorted(offsets, by_row(rows)[1:-1], side="left")
    return np.unique(np.concatenate([[0], np.minimum(inner, count), [count]]))


def by_row(count: int) -> np.ndarray:
    """Bounds that cut `count` rows into at most 16 chunks of the same size, each of a thousand rows or more."""
    chunks = min(_CHUNKS, 1 + count // _LEAST_ROWS)
    return np.linspace(0, count, chunks + 1).astype(np.int64)


def share(work: Callable[[int, int, int], None], bounds: np.ndarray, cost: float) -> None:
    """Call ``work(chunk, first, last)`` for each chunk; in threads where `cost` elementary operations pay for them."""
    chunks = [(c, int(bounds[c]), int(bounds[c + 1])) for c in range(len(bounds) - 1)]
    threads = min(_threads.thread_count(), len(chunks)) if cost >= _WORTH_SHARING else 1
    if threads == 1:
        for chunk in chunks:
            work(*chunk)
        return
    left = iter(chunks)  # whoever is free takes the next chunk

    def take() -> None:
        for chunk in left:
            work(*chunk)

    others = [_threads.pool().submit(take) for _ in range(threads - 1)]
    take()
    for job in others:
        job.result()
