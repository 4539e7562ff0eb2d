"""Running workloads: agreement first, then time, then the table and the file."""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import description
from benchmarks.timing import Timing, peak_flops, time_pair
from benchmarks.workloads import Workload

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Outcome:
    """What became of a workload.

    Attributes:
        workload: which.
        difference: how far the results are apart; None without a peer.
        timing: None where the results disagree or a package is missing.
        problem: why there is no timing, or "".
    """

    workload: Workload
    difference: float | None = None
    timing: Timing | None = None
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the two results are within the tolerance (or there is no peer)."""
        return self.difference is None or self.difference <= self.workload.tolerance

    @property
    def times_floor(self) -> float | None:
        """Our time over that of the same operations at the machine's peak, where the workload states them."""
        if self.timing is None or not self.workload.flops:
            return None
        return self.timing.ours * peak_flops() / self.workload.flops

    def to_dict(self) -> dict[str, Any]:
        """What is written to the file."""
        timing = None if self.timing is None else vars(self.timing)
        own = self.workload
        return {
            "name": own.name,
            "what": own.what,
            "peer": own.peer,
            "difference": self.difference,
            "unit": own.unit,
            "tolerance": own.tolerance,
            "timing": timing,
            "times_floor": self.times_floor,
            "problem": self.problem,
        }


def run(workload: Workload, rounds: int = 7, quick: bool = False) -> Outcome:
    """Check that ours and the peer agree and, only then, time them."""
    missing = [name for name in workload.packages if importlib.util.find_spec(name) is None]
    if missing:
        return Outcome(workload, problem=f"{missing[0]} is not installed (pip install 'statewise[bench]')")
    pair = workload.build(workload.quick_steps if quick else workload.steps)
    difference = None
    own = pair.ours()
    if pair.peer is not None and pair.difference is not None:
        difference = float(pair.difference(own, pair.peer()))
        if math.isnan(difference) or difference > workload.tolerance:
            problem = f"the results differ by {difference:.3g} {workload.unit}; no time is shown"
            return Outcome(workload, difference=math.inf if math.isnan(difference) else difference, problem=problem)
    return Outcome(workload, difference, time_pair(pair, min(rounds, workload.most_rounds)))


def table(outcomes: Sequence[Outcome]) -> str:
    """The results as text."""
    rows = [("workload", "statewise", "peer", "ratio", "of floor", "agreement", "what")]
    for outcome in outcomes:
        timing, own = outcome.timing, outcome.workload
        what = f"{own.what}; {own.peer}" if own.peer else own.what
        if timing is None:
            rows.append((own.name, "", "", "", "", "", f"{outcome.problem} ({what})"))
            continue
        ratio = "" if timing.ratio is None else f"{timing.ratio:.2f}×"
        peer = "" if timing.peer is None else seconds(timing.peer)
        floor = "" if outcome.times_floor is None else f"{outcome.times_floor:.1f}"
        agreement = "" if outcome.difference is None else f"{outcome.difference:.1g} {own.unit}"
        rows.append((own.name, seconds(timing.ours), peer, ratio, floor, agreement, what))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def seconds(value: float) -> str:
    """A time with three digits and a unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def write(outcomes: Sequence[Outcome]) -> Path:
    """All results with machine, versions and commit, as a JSON file named after the moment and the commit."""
    machine = description()
    stamp = time.strftime("%Y-%m-%dT%H%M%S", time.gmtime())
    file = RESULTS / f"{stamp}-{machine['commit'] or 'no-commit'}.json"
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = {"time": stamp, "machine": machine, "workloads": [outcome.to_dict() for outcome in outcomes]}
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return file
