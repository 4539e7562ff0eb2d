"""Large arrays that come and go in every iteration.

An allocator gives large freed blocks back to the system, and the system hands them out again page by page, each cleared first. In a loop over a
recurrence that does a few operations a number, that takes as long as the recurrence. Two cures:

`empty` keeps the blocks of its arrays when these are gone, and takes them again for arrays of about the same size: for kernels whose
arrays pass through our own hands.

`hold` tells glibc not to give memory back, as it does for blocks up to the size of the largest that was ever freed (mallopt(3),
M_MMAP_THRESHOLD, at most 32 MiB): for tables that NumPy itself allocates. Elsewhere it does nothing.
"""

from __future__ import annotations

import math
import threading
import weakref
from functools import cache
from typing import Any

import numpy as np

LEAST, MOST = (
    2**17,
    2**27,
)  # bytes: smaller arrays are the allocator's; no more than so many are kept while nobody uses them
_ALIGN = 64
_DOUBLES = 4_000_000  # 32 MB, none of which is touched


class _Store:
    """Blocks that nobody uses, the longest unused first."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._lock = threading.RLock()  # a block can come back while one is being taken, by garbage collection

    @property
    def kept(self) -> int:
        """Bytes."""
        return sum(block.nbytes for block in self._blocks)

    def take(self, size: int) -> np.ndarray:
        with self._lock:
            for i in reversed(range(len(self._blocks))):
                if self._blocks[i].nbytes == size:
                    return self._blocks.pop(i)
        return np.empty(size, np.uint8)

    def give(self, block: np.ndarray) -> None:
        with self._lock:
            self._blocks.append(block)
            while self.kept > MOST:
                self._blocks.pop(0)


_STORE = _Store()


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A C-contiguous array with whatever was in its memory before, as np.empty.

    From 128 KiB on its memory begins at a multiple of 64 bytes and is kept when the array and all its views are gone, at most 128 MiB in all.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if not LEAST <= size <= MOST:
        return np.empty(shape, kind)
    block = _STORE.take(_rounded(size) + _ALIGN)
    begin = -block.ctypes.data % _ALIGN
    # A view's base is the first array that is no view itself: `lent`, since what it looks at is not an array but a buffer.
    lent = np.frombuffer(block.data, np.uint8, size, begin)
    weakref.finalize(lent, _STORE.give, block).atexit = False
    return lent.view(kind).reshape(shape)


def _rounded(size: int) -> int:
    """Up to three binary digits, so that ragged batches, whose sizes vary, find blocks too."""
    step: int = 2 ** max(0, size.bit_length() - 3)
    return -(-size // step) * step


@cache
def hold() -> None:
    """Let freed memory stay with the process; the first call counts."""
    np.empty(_DOUBLES)
