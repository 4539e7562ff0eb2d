"""Memory for large results that is used again when they are gone.

An allocator gives large blocks back to the system, and the system hands them out again page by page, each cleared first. In a training loop
over a recurrence that does one multiplication a number, that takes longer than the recurrence. So a few blocks are kept here.
"""

from __future__ import annotations

import math
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

LEAST, MOST = (
    2**20,
    2**27,
)  # bytes: smaller tensors are the allocator's; no more than so many are kept while nobody uses them
_ALIGN = 64


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


def empty(shape: tuple[int, ...] | torch.Size, dtype: torch.dtype) -> Tensor:
    """A contiguous tensor on the CPU with whatever was in its memory before, as torch.empty; float or complex.

    From a mebibyte on its memory is kept when the tensor and all its views are gone, at most 128 MiB in all, and taken again for the next
    tensor of the same size.
    """
    count = math.prod(shape)
    size = count * dtype.itemsize
    if not LEAST <= size <= MOST:
        return torch.empty(shape, dtype=dtype)
    block = _STORE.take(size + _ALIGN)
    begin = -block.ctypes.data % _ALIGN
    lent = block[begin : begin + size]
    # torch holds `lent` as long as anything uses its memory.
    weakref.finalize(lent, _STORE.give, block).atexit = False
    return torch.from_numpy(lent).view(dtype).view(shape)
