"""Large arrays that come and go in every iteration.

glibc gives freed memory back to the system, which clears every page of it before it is used again: for tables of some megabytes that
takes as long as what is done with them. It stops doing so for blocks up to the size of the largest that was ever freed (mallopt(3),
M_MMAP_THRESHOLD, at most 32 MiB). Elsewhere this does nothing.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_DOUBLES = 4_000_000  # 32 MB, none of which is touched


@cache
def hold() -> None:
    """Let freed memory stay with the process; the first call counts."""
    np.empty(_DOUBLES)
