"""The threads that kernels are shared among: they release the GIL, so plain threads run them side by side without an OpenMP runtime."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def thread_count() -> int:
    """Threads to use: ``STATEWISE_THREADS``, or the cores that this process may run on."""
    given = os.environ.get("STATEWISE_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="statewise")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork: the child needs a new pool
