"""The scan on tensors: autograd against finite differences and the plain twin, the fused loop against the parallel scan."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.reference import linear_scan as twin

import statewise as sw
from statewise.ops import linear_scan as ops
from statewise.ops.linear_scan import linear_scan

PATHS = ["fused", "parallel"]
EPS = {torch.float32: 1e-5, torch.float64: 1e-12, torch.complex64: 1e-5, torch.complex128: 1e-12}  # a hundred roundings


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Each test twice: as on a CPU, and as on another device."""
    if request.param == "parallel":
        monkeypatch.setattr(ops, "_is_fused", lambda b: False)
    return request.param


def problem(steps=6, count=3, hidden=2, kind=torch.float64, constant=False, batch_first=False, seed=0):
    made = torch.Generator().manual_seed(seed)
    shape = (count, steps, hidden) if batch_first else (steps, count, hidden)
    a = torch.randn((hidden,) if constant else shape, generator=made, dtype=kind)
    a = a / (1 + a.abs())
    b, h0 = (torch.randn(s, generator=made, dtype=kind) for s in (shape, (count, hidden)))
    return [x.requires_grad_() for x in (a, b, h0)]


@pytest.mark.parametrize("kind", EPS)
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 13, 64])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_both_paths_are_one_contract(steps, kind, constant, batch_first, monkeypatch):
    """Oracle: the twin for values; the parallel scan for all gradients. Ragged, with a start."""
    a, b, h0 = problem(steps, 4, 3, kind, constant, batch_first)
    lengths = torch.tensor([steps, 0, 1, max(1, steps - 2)])
    g = torch.randn(b.shape, dtype=kind, generator=torch.Generator().manual_seed(9))
    found = []
    for fused in (True, False):
        monkeypatch.setattr(ops, "_is_fused", lambda b, fused=fused: fused)
        h = linear_scan(a, b, h0, lengths, batch_first)
        found.append((h.detach(), *torch.autograd.grad(h, (a, b, h0), g)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=EPS[kind], rtol=0)
    time_first = (lambda x: x.transpose(0, 1)) if batch_first else (lambda x: x)
    wide = torch.complex128 if kind.is_complex else torch.float64
    full = time_first(a.expand(b.shape) if constant else a).to(wide).detach().numpy()
    want = twin.scan(full, time_first(b).to(wide).detach().numpy(), h0.to(wide).detach().numpy(), lengths.numpy())
    np.testing.assert_allclose(time_first(found[0][0]).numpy(), want, atol=EPS[kind])


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_first_and_second_derivatives(ragged, batch_first, constant, kind, path):
    """Oracle: finite differences, by torch.autograd's gradcheck and gradgradcheck, in a, b and the start."""
    given = problem(kind=kind, constant=constant, batch_first=batch_first)
    lengths = torch.tensor([6, 3, 1]) if ragged else None
    scan = lambda a, b, h0: linear_scan(a, b, h0, lengths, batch_first)  # noqa: E731  # shorter than a function here
    assert torch.autograd.gradcheck(scan, given)
    assert torch.autograd.gradgradcheck(scan, given)


def test_a_third_derivative(path):
    """Closed form: h[2] = a²h₀ + ab + b with a constant has ∂³h[2]/∂a²∂h₀ = 2."""
    a, h0 = torch.tensor([0.3], dtype=torch.float64, requires_grad=True), torch.zeros(1, 1, dtype=torch.float64)
    h0.requires_grad_()
    last = linear_scan(a, torch.ones(2, 1, 1, dtype=torch.float64), h0)[-1].sum()
    (first,) = torch.autograd.grad(last, h0, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), a, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), a)
    assert third.item() == pytest.approx(2.0, abs=1e-14)


def test_real_factors_of_complex_terms(path):
    """Types are promoted, and each gradient has its argument's type."""
    a, b, h0 = problem()
    z = (b.detach() + 1j * b.detach().flip(0)).requires_grad_()
    h = linear_scan(a, z, h0)
    assert h.dtype == torch.complex128
    da, dz, dh0 = torch.autograd.grad(h.abs().sum(), (a, z, h0))
    assert (da.dtype, dz.dtype, dh0.dtype) == (torch.float64, torch.complex128, torch.float64)
    torch.testing.assert_close(h.real, linear_scan(a, b, h0))


def test_padding_may_hold_anything(path):
    a, b, h0 = problem()
    lengths = torch.tensor([6, 3, 0])
    clean = linear_scan(a, b, h0, lengths)
    want = torch.autograd.grad(clean.sum(), (a, b, h0))
    dirty_a, dirty_b = a.detach().clone(), b.detach().clone()
    for s, end in enumerate(lengths.tolist()):
        dirty_a[end:, s] = dirty_b[end:, s] = torch.nan
    given = [x.requires_grad_() for x in (dirty_a, dirty_b)]
    h = linear_scan(*given, h0, lengths)
    torch.testing.assert_close(h, clean)
    for one, other in zip(torch.autograd.grad(h.sum(), (*given, h0)), want, strict=True):
        torch.testing.assert_close(one, other)
    graph = torch.autograd.grad(linear_scan(*given, h0, lengths).sum(), (*given, h0), create_graph=True)
    for one, other in zip(graph, want, strict=True):
        torch.testing.assert_close(one, other)


def test_views_and_conjugates_are_taken_as_they_look(path):
    a, b, h0 = problem(kind=torch.complex128)
    turned = [x.detach().transpose(0, 1).contiguous().transpose(0, 1) for x in (a, b)]
    torch.testing.assert_close(linear_scan(*turned, h0), linear_scan(a, b, h0))
    torch.testing.assert_close(linear_scan(a.conj(), b.conj(), h0.conj()), linear_scan(a, b, h0).conj().resolve_conj())


def test_half_precision_takes_the_parallel_scan():
    """float32, rounded: 2⁻⁸ of the largest state for each of a few roundings."""
    a, b, h0 = problem(kind=torch.float32)
    low = linear_scan(a.bfloat16(), b.bfloat16(), h0.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), linear_scan(a, b, h0), atol=0.1, rtol=0)


def test_a_long_sequence_in_two_parts():
    """Carrying the last state on is the whole sequence, to the last bit."""
    a, b, h0 = problem(steps=200)
    whole = linear_scan(a, b, h0)
    first = linear_scan(a[:77], b[:77], h0)
    assert torch.equal(whole, torch.cat([first, linear_scan(a[77:], b[77:], first[-1])]))


@pytest.mark.parametrize("device", ["cuda"])
def test_on_a_gpu(device):
    if not torch.cuda.is_available():
        pytest.skip("hardware: no GPU here")
    a, b, h0 = problem(steps=100)
    there = [x.detach().to(device).requires_grad_() for x in (a, b, h0)]
    lengths = torch.tensor([100, 3, 50])
    h, want = linear_scan(*there, lengths), linear_scan(a, b, h0, lengths)
    torch.testing.assert_close(h.cpu(), want)
    for one, other in zip(
        torch.autograd.grad(h.sum(), there), torch.autograd.grad(want.sum(), (a, b, h0)), strict=True
    ):
        torch.testing.assert_close(one.cpu(), other)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"a": torch.ones(5, 3, 2)}, "`a` has shape"),
        ({"b": torch.ones(6, 3)}, "`b` has shape"),
        ({"b": torch.ones(0, 3, 2), "a": torch.ones(2)}, "at least one step"),
        ({"b": torch.ones(6, 3, 2, dtype=torch.int64)}, "`b` has the type"),
        ({"initial": torch.ones(2, 2)}, "`initial` has shape"),
        ({"lengths": torch.tensor([1, 2])}, "pass 3 whole numbers"),
        ({"lengths": torch.tensor([1.0, 2.0, 3.0])}, "pass 3 whole numbers"),
        ({"lengths": torch.tensor([1, 2, 7])}, "pass numbers from 0 to 6"),
        ({"a": torch.ones(2, device="meta")}, "device"),
    ],
)
def test_what_does_not_fit_is_named(change, named):
    with pytest.raises(sw.InputError, match=named):
        linear_scan(**{"a": torch.ones(6, 3, 2), "b": torch.ones(6, 3, 2)} | change)
