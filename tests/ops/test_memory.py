"""Memory that is used again: only when nothing uses it, and never more of it than promised."""

from __future__ import annotations

import gc
import threading

import pytest
import torch

from statewise.ops import memory
from statewise.ops.linear_scan import linear_scan

SHAPE = (64, 64, 128)  # two mebibytes in single precision


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(memory, "_STORE", memory._Store())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_it_is_a_tensor_like_any_other(dtype):
    made = memory.empty(SHAPE, dtype)
    assert (made.shape, made.dtype, made.is_contiguous()) == (SHAPE, dtype, True)
    assert made.data_ptr() % 64 == 0
    made.fill_(2)
    assert (made * made == 4).all()


def test_memory_comes_back_when_the_last_view_is_gone():
    made = memory.empty(SHAPE, torch.float32)
    place, view = made.data_ptr(), made[3:, 2]
    del made
    gc.collect()
    other = memory.empty(SHAPE, torch.float32)
    assert other.data_ptr() != place
    del view
    gc.collect()
    assert memory.empty(SHAPE, torch.float32).data_ptr() == place
    array = other.numpy()
    place = other.data_ptr()
    del other
    gc.collect()
    assert memory.empty(SHAPE, torch.float32).data_ptr() != place
    assert array.shape == SHAPE


def test_no_more_is_kept_than_promised(monkeypatch):
    monkeypatch.setattr(memory, "MOST", 5 * 2**20)
    held = [memory.empty(SHAPE, torch.float32) for _ in range(4)]
    assert memory._STORE.kept == 0
    del held
    gc.collect()
    assert 4 * 2**20 <= memory._STORE.kept <= 5 * 2**20


def test_small_and_enormous_tensors_are_the_allocators(monkeypatch):
    monkeypatch.setattr(memory, "MOST", 2**22)
    for shape in ((8, 8), (2**21,)):
        memory.empty(shape, torch.float32)
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
            made = memory.empty(SHAPE, torch.float32)
            made.fill_(number)
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

    code = "import torch; from statewise.ops import memory; x = memory.empty((2**20,), torch.float32)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
