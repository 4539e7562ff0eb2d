"""The compilation policy keeps NaN and infinities, and sharing work among chunks changes no number."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from statewise.kernels import _chunks, _jit
from statewise.kernels._jit import FAST, jit


@jit(fast=True)
def count_nan(x):
    found = 0
    for value in x:
        if np.isnan(value):
            found += 1
    return found


@jit(fast=True)
def largest_finite(x):
    top = -np.inf
    for value in x:
        if value < np.inf and value > top:
            top = value
    return top


@jit
def divide(a, b):
    return a / b


@jit(inline=True)
def square(x):
    return x * x


def test_fast_math_sees_nan_and_infinity():
    """Under full fast math numba's own example returns 0 here."""
    x = np.array([1.0, np.nan, np.inf, -np.inf, np.nan])
    assert count_nan(x) == 2
    assert largest_finite(x) == 1.0
    assert not {"nnan", "ninf", "reassoc", "fast"} & FAST


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="hardware: plain Python divides differently")
def test_division_by_zero_is_that_of_numpy():
    assert divide(1.0, 0.0) == np.inf
    assert np.isnan(divide(0.0, 0.0))


def test_every_form_of_the_decorator_works():
    assert divide(1.0, 2.0) == 0.5
    assert square(3.0) == 9.0


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="nothing is compiled")
def test_compilation_is_timed_and_announced_once(monkeypatch, capsys):
    """Seconds rise by the first call with new types only; a watcher is told once in a process."""
    monkeypatch.setenv("STATEWISE_PROGRESS", "1")
    monkeypatch.setattr(_jit._COMPILATION, "_said", False)

    @_jit.numba.njit
    def fresh(x):
        return x + 1

    before = _jit.compilation_seconds()
    fresh(1)
    first = _jit.compilation_seconds()
    fresh(2)
    assert first > before
    assert _jit.compilation_seconds() == first
    fresh(1.5)
    assert _jit.compilation_seconds() > first
    assert capsys.readouterr().err.count("compiling kernels") == 1


# --- chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 999, 1000, 5000, 40_000])
def test_chunks_of_rows_cover_every_row_once(count):
    bounds = _chunks.by_row(count)
    assert bounds[0] == 0 and bounds[-1] == count and (np.diff(bounds) > 0).all()
    assert len(bounds) - 1 == min(16, 1 + count // 1000)


@pytest.mark.parametrize("lengths", [[5], [100_000], [1] * 50, [30_000, 1, 1, 30_000, 2], [1, 1, 99_999], [3000] * 40])
def test_chunks_of_sequences_cover_every_sequence_once(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    bounds = _chunks.by_sequence(offsets)
    assert bounds[0] == 0 and bounds[-1] == len(lengths) and (np.diff(bounds) > 0).all()
    assert len(bounds) <= 17
    rows = np.diff(offsets[bounds])
    assert rows.max() <= sum(lengths) / min(16, 1 + sum(lengths) // 1000) + max(lengths)


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("cost", [0.0, 1e9])
def test_shared_work_is_done_once_and_errors_come_through(threads, cost, monkeypatch):
    monkeypatch.setenv("STATEWISE_THREADS", threads)
    lock, done = threading.Lock(), []

    def work(chunk, first, last):
        with lock:
            done.append((chunk, first, last))

    _chunks.share(work, np.array([0, 2, 5, 6]), cost)
    assert sorted(done) == [(0, 0, 2), (1, 2, 5), (2, 5, 6)]

    def fail(chunk, first, last):
        raise ValueError(f"chunk {chunk}")

    with pytest.raises(ValueError, match="chunk"):
        _chunks.share(fail, np.array([0, 1, 2]), cost)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="hardware: no fork on this system")
def test_a_forked_child_can_share_work():
    """Threads do not survive a fork; a child that waited for its parent's would hang."""
    script = (
        "import os, numpy as np\n"
        "from statewise.kernels import _chunks, _jit\n"
        "share = lambda: _chunks.share(lambda c, a, b: None, np.arange(4), 1e9)\n"
        "share()\n"
        "child = os.fork()\n"
        "share()\n"
        "if child == 0: os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(
        command, env=os.environ | {"STATEWISE_THREADS": "2"}, timeout=30, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
