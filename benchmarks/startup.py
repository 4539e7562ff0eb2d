"""What a user waits for before anything happens."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from benchmarks.workloads import Pair, Workload


def _fresh_interpreter(*arguments: str) -> Pair:
    command = [sys.executable, *arguments]
    return Pair(ours=lambda: subprocess.run(command, check=True, capture_output=True).returncode)


def _workload(name: str, what: str, *arguments: str) -> Workload:
    return Workload(name, what, "", "", 0.0, 1, 1, lambda _: _fresh_interpreter(*arguments))


_LAYER = "import torch, statewise as sw; sw.nn.GRU(4, 8)(torch.zeros(9, 3, 4, requires_grad=True))[0].sum().backward()"


def _main_job(windows: int) -> Pair:
    """`statewise compare sunspots`, as `make demo` runs it with 5 windows; the kernels' cache is warm from the run before."""

    def ours() -> int:
        with tempfile.TemporaryDirectory() as folder:
            return _fresh_interpreter(
                "-m", "statewise", "compare", "sunspots", "--windows", str(windows), "--out", folder
            ).ours()

    return Pair(ours)


WORKLOADS = [
    _workload("import", "a fresh interpreter that imports statewise", "-c", "import statewise"),
    _workload("help", "statewise --help", "-m", "statewise", "--help"),
    _workload(
        "layer", "a fresh interpreter that trains a GRU layer for one step, torch's import included", "-c", _LAYER
    ),
    Workload("demo", "statewise compare sunspots, to its report", "", "", 0.0, 5, 1, _main_job, most_rounds=1),
]
