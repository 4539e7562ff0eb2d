"""Gradients of the kernels: finite differences, first and second, and the same steps in torch operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.nn.layers import KINDS, random_state, results, twins

from statewise import nn as fast
from statewise.ops.recurrent import Rows, recurrence
from statewise.ops.recurrent_steps import Inside, unrolled

pytestmark = pytest.mark.usefixtures("kernels_at_every_size")


def normed_arguments(kind, x, given, weights):
    """Input and weights as they are with a layer norm: the norm's shift is the bias, and gates receive what comes from the input as it is."""
    return (x, [*weights[:2], None, None]) if kind == "RNN" else (given, [None, weights[1], None, None])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_gradients_and_second_gradients(kind, options, reverse):
    """gradcheck and gradgradcheck by finite differences of inputs, states and weights, on a ragged batch."""

    layer = getattr(fast, kind)(2, 3, dtype=torch.float64, **options)
    name = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(layer.mode, kind.lower())
    rows = Rows(np.array([3, 2, 2, 1]), reverse)
    torch.manual_seed(3)
    x = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    h = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    c = torch.randn(3, 3, dtype=torch.float64, requires_grad=True) if kind == "LSTM" else None
    log_decay = (-torch.rand(8, 3, dtype=torch.float64)).requires_grad_()
    mask = torch.tensor([[0.0, 2.0, 2.0]] * 3, dtype=torch.float64)
    gates = len(layer.weight_hh_l0)
    norm = [
        (k % 2 + torch.rand(size, dtype=torch.float64)).requires_grad_() for k, size in enumerate((gates, gates, 3, 3))
    ]
    norms = norm if kind == "LSTM" else norm[:2]
    tensors = [t for t in (x, h, c, log_decay, *norms, *layer.parameters()) if t is not None]

    for plain in (True, False):

        def compute(x, h, *rest, plain=plain):
            rest = list(rest)
            c = rest.pop(0) if kind == "LSTM" else None
            log_decay, *norm = rest[: 1 + len(norms)]
            rest = rest[1 + len(norms) :]
            if plain:
                return tuple(t for t in recurrence(name, x, rows, h, c, rest) if t is not None)
            inside = Inside(*norm, *[None] * (4 - len(norm)))
            x, rest = normed_arguments(kind, x, x @ rest[0].T, rest)
            extra = {"log_decay": log_decay, "mask": mask, "inside": inside}
            return tuple(t for t in recurrence(name, x, rows, h, c, rest, **extra) if t is not None)

        assert torch.autograd.gradcheck(compute, tensors)
        if not plain:
            assert torch.autograd.gradgradcheck(compute, tensors)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_kernels_equal_the_steps_in_torch(kind, options, decay, mask, norm):
    """`ops.recurrent_steps` is the fallback: the same contract, by value and gradient."""
    layer = getattr(fast, kind)(4, 9, dtype=torch.float64, **options)
    name = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(layer.mode, kind.lower())
    for reverse in (False, True):
        rows = Rows(np.array([5, 4, 4, 1]), reverse)
        draw = lambda *shape: torch.randn(shape, dtype=torch.float64, requires_grad=True)  # noqa: E731  # shorter than a function here
        x, h, c = draw(14, 4), draw(5, 9), draw(5, 9) if kind == "LSTM" else None
        extra = {"log_decay": (-torch.rand(14, 9, dtype=torch.float64)).requires_grad_() if decay else None,
                 "mask": (torch.rand(5, 9, dtype=torch.float64) > 0.3).double() if mask else None}  # fmt: skip  # reads as one thought
        gates, weights = len(layer.weight_hh_l0), list(layer.parameters())
        cell = (draw(9), draw(9)) if kind == "LSTM" else (None, None)
        inside = Inside(draw(gates), draw(gates), *cell) if norm else None
        extra["inside"] = inside
        if norm:
            x, weights = normed_arguments(kind, x, draw(14, gates), weights)
        tensors = (x, h, c, extra["log_decay"], *weights, *(inside or ()))
        inputs = [t for t in tensors if t is not None]
        own = [t for t in recurrence(name, x, rows, h, c, weights, **extra) if t is not None]
        other = [t for t in unrolled(name, x, rows.sizes.tolist(), reverse, h, c, weights, **extra) if t is not None]
        upstream = [torch.randn_like(t) for t in own]
        pairs = [*zip(own, other, strict=True)]
        pairs += zip(
            torch.autograd.grad(own, inputs, upstream), torch.autograd.grad(other, inputs, upstream), strict=True
        )
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * max(1.0, float(b.detach().abs().max())))


def test_fresh_memory_may_hold_anything(monkeypatch):
    """Every number that is read was written: arrays that begin as NaN change nothing."""
    inputs = torch.randn(7, 6, 4, dtype=torch.float64, requires_grad=True)

    def all_results():
        found = []
        for kind, options in KINDS:
            ours, _ = twins(kind, bidirectional=True, num_layers=2, **options)
            found += [t for part in results(ours, inputs, random_state(ours, 6, torch.float64)) for t in part]
        return found

    clean = all_results()
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, np.nan, dtype))
    for a, b in zip(all_results(), clean, strict=True):
        assert torch.equal(a, b)


def test_inputs_are_not_changed():
    ours, _ = twins("LSTM")
    x, state = torch.randn(7, 6, 4, dtype=torch.float64), random_state(ours, 6, torch.float64)
    before = [t.clone() for t in (x, *state, *ours.parameters())]
    results(ours, x.requires_grad_(), state)
    for a, b in zip((x, *state, *ours.parameters()), before, strict=True):
        assert torch.equal(a, b)
