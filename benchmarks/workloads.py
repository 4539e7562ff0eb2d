"""What a workload is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pair:
    """One workload, ready to run.

    Attributes:
        ours: computes the result with statewise.
        peer: computes the same with another package, or None where there is no peer.
        difference: how far the two results are apart, in the unit of the workload's tolerance.
    """

    ours: Callable[[], Any]
    peer: Callable[[], Any] | None = None
    difference: Callable[[Any, Any], float] | None = None


@dataclass(frozen=True)
class Workload:
    """An entry of the registry.

    Attributes:
        name: what the command line takes.
        what: one line for the table.
        peer: the other package and its settings, or "" where there is none.
        unit: what the difference is measured in.
        tolerance: the difference from which no ratio is shown.
        steps: the size that is timed; quick_steps is the one that the tests check agreement at.
        build: size -> a pair ready to run, with all data made and all models built.
        packages: what must be installed.
        flops: floating-point operations of the timed size in float32, from which the floor follows (operations / peak of the machine); 0: no floor.
        most_rounds: for work that takes so long that a few rounds must do.
        nightly: whether a single run takes so long that it is tested at night only.
    """

    name: str
    what: str
    peer: str
    unit: str
    tolerance: float
    steps: int
    quick_steps: int
    build: Callable[[int], Pair]
    packages: tuple[str, ...] = ()
    most_rounds: int = 1000
    nightly: bool = False
    flops: float = 0.0
