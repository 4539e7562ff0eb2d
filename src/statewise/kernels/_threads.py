"""The threads that kernels are shared among: they release the GIL, so plain threads run them side by side without an OpenMP runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any


def thread_count() -> int:
    """Threads to use: ``STATEWISE_THREADS``, or the cores that this process may run on."""
    given = os.environ.get("STATEWISE_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="statewise")


def share(work: Callable[[Any], None], parts: Sequence[Any], threads: int) -> None:
    """Call ``work(part)`` for every part, at most so many at a time.

    The caller takes parts too, and does not wait for a thread that has not begun, so that a busy machine costs little.
    """
    if threads == 1 or len(parts) == 1:
        for part in parts:
            work(part)
        return
    left = iter(parts)  # whoever is free takes the next one

    def take() -> None:
        for part in left:
            work(part)

    helpers = [pool().submit(take) for _ in range(min(threads, len(parts)) - 1)]
    take()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork: the child needs a new pool
