"""Cutting long sequences into windows of bounded length, and gathering windows into padded batches. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

_POOL = 32  # batches among which items of similar length look for each other


@dataclass(frozen=True)
class Windows:
    """n windows into packed rows. The first steps of a window warm the state up and are not scored.

    Attributes:
        first: (n,) packed row at which each window begins.
        warm_up: (n,) steps before the scored ones.
        length: (n,) steps in all.
    """

    first: np.ndarray
    warm_up: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def gather(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scored steps, both (batch, time), of the windows `which`, padded at the end to the longest of them.

        Padding repeats the window's last row, and is not scored.
        """
        length = self.length[which, None]
        steps = np.arange(int(length.max()))
        rows = self.first[which, None] + np.minimum(steps, length - 1)
        return rows, (steps >= self.warm_up[which, None]) & (steps < length)

    def bucketed(self, size: int, shuffle: Callable[[int], np.ndarray]) -> list[np.ndarray]:
        """All windows in random batches of similar length, so that little is padded; see `bucketed`."""
        return bucketed(self.length, size, shuffle)

    def batches(self, order: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """`order` in pieces of at most `size`."""
        return (order[start : start + size] for start in range(0, len(order), size))


def bucketed(length: np.ndarray, size: int, shuffle: Callable[[int], np.ndarray]) -> list[np.ndarray]:
    """Positions 0 … n − 1 in batches of at most `size`, each of items of similar `length` (n,), in random order.

    A random order is cut into pools of several batches; each pool is sorted by length and cut into batches, and these are shuffled.
    So an epoch has every item once, and which meet in a batch still depends on chance. `shuffle(n)` gives a random order of n.
    """
    order = shuffle(len(length))
    if size >= len(length):
        return [order]
    pools = [order[start : start + _POOL * size] for start in range(0, len(order), _POOL * size)]
    pools = [pool[np.argsort(length[pool], kind="stable")] for pool in pools]
    batches = [pool[start : start + size] for pool in pools for start in range(0, len(pool), size)]
    if (length == length[0]).all():
        return batches
    return [batches[position] for position in shuffle(len(batches))]


def cut_windows(
    offsets: np.ndarray, start: np.ndarray, stop: np.ndarray, size: int, warm_up: int, counts: np.ndarray
) -> Windows:
    """Windows that together score every step from `start` to `stop` (exclusive) of each sequence exactly once.

    Args:
        offsets: (N + 1,) first packed row of each sequence.
        start, stop: (N,) steps within each sequence; nothing is scored where stop ≤ start.
        size: the most steps that a window scores.
        warm_up: the most steps before them that the state sees first, never reaching before the sequence's beginning.
        counts: (rows,) whether a row has anything to score; windows without such a row are left out.
    """
    table: list[tuple[int, int, int]] = []
    for offset, a, b in zip(offsets[:-1].tolist(), start.tolist(), stop.tolist(), strict=True):
        for begin in range(a, b, size):
            end = min(begin + size, b)
            warm = min(warm_up, begin)
            if counts[offset + begin : offset + end].any():
                table.append((offset + begin - warm, warm, warm + end - begin))
    first, warm_ups, lengths = np.array(table, dtype=np.int64).reshape(-1, 3).T
    return Windows(first, warm_ups, lengths)
