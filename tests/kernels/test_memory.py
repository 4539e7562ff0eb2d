"""Memory that is used again: only when nothing uses it, and never more of it than promised."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch

from statewise.kernels import _memory as memory
from statewise.ops.linear_scan import linear_scan

SHAPE = (64, 64, 128)  # two mebibytes in single precision


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(memory, "_STORE", memory._Store())


def _place(array):
    return array.ctypes.data


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_it_is_an_array_like_any_other(dtype):
    made = memory.empty(SHAPE, dtype)
    assert (made.shape, made.dtype, made.flags.c_contiguous) == (SHAPE, dtype, True)
    assert _place(made) % 64 == 0
    made.fill(2)
    assert (made * made == 4).all()


@pytest.mark.parametrize(
    "use", [lambda made: made[3:, 2], torch.from_numpy, lambda made: torch.from_numpy(made)[3:].numpy()]
)
def test_memory_comes_back_when_the_last_view_is_gone(use):
    made = memory.empty(SHAPE, np.float32)
    place, view = _place(made), use(made)
    del made
    gc.collect()
    other = memory.empty(SHAPE, np.float32)
    assert _place(other) != place
    assert view.shape[-1] == SHAPE[-1]
    del view
    gc.collect()
    assert _place(memory.empty(SHAPE, np.float32)) == place


def test_arrays_of_about_the_same_size_share_a_block():
    place = _place(memory.empty((2**18 - 5,), np.float32))
    gc.collect()
    assert _place(memory.empty((2**18 - 4000,), np.float32)) == place


def test_no_more_is_kept_than_promised(monkeypatch):
    monkeypatch.setattr(memory, "MOST", 5 * 2**20)
    held = [memory.empty(SHAPE, np.float32) for _ in range(4)]
    assert memory._STORE.kept == 0
    del held
    gc.collect()
    assert 4 * 2**20 <= memory._STORE.kept <= 5 * 2**20


def test_small_and_enormous_tensors_are_the_allocators(monkeypatch):
    monkeypatch.setattr(memory, "MOST", 2**22)
    for shape in ((8, 8), (2**21,)):
        memory.empty(shape, np.float32)
    gc.collect()
    assert memory._STORE.kept == 0


def test_results_that_live_are_not_written_over():
    """Ten results and their gradients, kept, equal to those computed alone."""
    b = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    kept = []
    for k in range(10):
        a = torch.full((SHAPE[2],), k / 10).requires_grad_()
        x = b.clone().requires_grad_()
        h = linear_scan(a, x)
        h.sum().backward()
        if k % 2:  # the others are gone at once
            kept.append((k, h.detach(), a.grad, x.grad))
    for k, h, da, dx in kept:
        a = torch.full((SHAPE[2],), k / 10).requires_grad_()
        x = b.clone().requires_grad_()
        again = linear_scan(a, x)
        again.sum().backward()
        assert torch.equal(h, again) and torch.equal(da, a.grad) and torch.equal(dx, x.grad)


def test_threads_do_not_share_a_block():
    failures = []

    def work(number: int) -> None:
        for _ in range(50):
            made = memory.empty(SHAPE, np.float32)
            made.fill(number)
            if not bool((made == number).all()):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_process_ends_quietly():
    """Nothing is called while the interpreter goes down."""
    import subprocess
    import sys

    code = "from statewise.kernels import _memory; x = _memory.empty((2**20,), 'f4')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
