"""What a user waits for before anything happens."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.workloads import Pair, Workload


def _fresh_interpreter(*arguments: str) -> Pair:
    command = [sys.executable, *arguments]
    return Pair(ours=lambda: subprocess.run(command, check=True, capture_output=True).returncode)


def _workload(name: str, what: str, *arguments: str) -> Workload:
    return Workload(name, what, "", "", 0.0, 1, 1, lambda _: _fresh_interpreter(*arguments))


WORKLOADS = [
    _workload("import", "a fresh interpreter that imports statewise", "-c", "import statewise"),
    _workload("help", "statewise --help", "-m", "statewise", "--help"),
]
