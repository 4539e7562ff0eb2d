"""``python -m benchmarks [NAME …]``: check agreement, time, print a table, write a file.

The exit code is 1 where results disagree.
"""

from __future__ import annotations

import argparse
import os
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the workloads that were named, or all of them."""
    # One BLAS thread unless the caller says otherwise; before NumPy is imported, which reads it once.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from benchmarks import runner
    from benchmarks.machine import description
    from benchmarks.registry import WORKLOADS

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(WORKLOADS)}; all unless given")
    parser.add_argument("--rounds", type=int, default=7, help="how often both are timed in turn")
    parser.add_argument("--quick", action="store_true", help="the small sizes of the tests")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.names) - set(WORKLOADS))
    if unknown:
        parser.error(f"there is no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    outcomes = []
    for name in given.names or WORKLOADS:
        print(f"{name} …", file=sys.stderr, flush=True)
        outcomes.append(runner.run(WORKLOADS[name], max(1, given.rounds), given.quick))
    machine = description()
    print(runner.table(outcomes))
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    print(f"\n{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}")
    changed = " with uncommitted changes" if machine["uncommitted changes"] else ""
    print(f"{versions}; commit {machine['commit'] or 'unknown'}{changed}")
    print("ratio: median over rounds of peer / statewise, timed in turn; above 1, statewise is faster")
    print(f"written to {runner.write(outcomes)}")
    return 0 if all(outcome.agrees for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
