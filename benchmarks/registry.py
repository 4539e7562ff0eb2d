"""Every workload. A new one is a line in its own file's list; a new file is a line here."""

from __future__ import annotations

from benchmarks import dissection, hmm, kalman, layers, networks, scan, startup, varma
from benchmarks.workloads import Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for module in (kalman, hmm, varma, layers, scan, networks, dissection, startup)
    for workload in module.WORKLOADS
}
