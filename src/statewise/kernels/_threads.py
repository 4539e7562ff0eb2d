"""Sharing sequences among threads: kernels release the GIL, so plain threads run them side by side without an OpenMP runtime."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

_LEAST_WORK = 200_000  # steps × states² below which a second thread costs more than it saves


def over_sequences(work: Callable[[int, int], None], offsets: np.ndarray, cost_per_step: int) -> None:
    """Call ``work(first, last)`` so that all sequences are covered, split by length over the cores where it pays."""
    count = len(offsets) - 1
    shards = min(count, 1 + int(offsets[-1]) * cost_per_step // _LEAST_WORK)
    shards = min(shards, thread_count()) if shards > 1 else 1
    if shards == 1:
        work(0, count)
        return
    targets = offsets[-1] * np.arange(1, shards) / shards
    cuts = [0, *np.searchsorted(offsets, targets).tolist(), count]
    jobs = [pool().submit(work, a, b) for a, b in itertools.pairwise(cuts) if b > a]
    for job in jobs:
        job.result()


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
