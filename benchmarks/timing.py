"""Timing two functions in turn, so that a drift of the machine meets both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

from benchmarks.workloads import Pair

MIN_SAMPLE_S = 0.02


@dataclass(frozen=True)
class Timing:
    """Seconds per call, median over the rounds.

    Attributes:
        ours, peer: seconds; peer is None where there is none.
        ratio: median over rounds of peer / ours: above 1, statewise is faster.
        rounds: how many.
    """

    ours: float
    peer: float | None
    ratio: float | None
    rounds: int


def time_pair(pair: Pair, rounds: int = 7) -> Timing:
    """Time both in turn; each function must have run once before (compilation is no part of it)."""
    counts = [calls_per_sample(function) for function in (pair.ours, pair.peer) if function is not None]
    ours, peers = [], []
    for _ in range(rounds):
        ours.append(_sample(pair.ours, counts[0]))
        if pair.peer is not None:
            peers.append(_sample(pair.peer, counts[1]))
    if not peers:
        return Timing(median(ours), None, None, rounds)
    ratio = median(theirs / own for own, theirs in zip(ours, peers, strict=True))
    return Timing(median(ours), median(peers), ratio, rounds)


def calls_per_sample(function: Callable[[], Any]) -> int:
    """How often a function must run to take long enough for the clock."""
    return max(1, round(MIN_SAMPLE_S / max(_sample(function, 1), 1e-7)))


def _sample(function: Callable[[], Any], calls: int) -> float:
    begun = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - begun) / calls


@cache
def peak_flops(threads: int = 2, size: int = 1024) -> float:
    """Operations a second of a square float32 product on this machine, the best of twenty."""
    import torch

    from statewise.nn.threads import torch_threads

    a = torch.ones(size, size)
    with torch_threads(threads):
        return 2.0 * size**3 / min(_sample(lambda: a @ a, 1) for _ in range(20))
