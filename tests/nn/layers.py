"""Layers with torch's twins, their states and results: what the tests of the layers share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from statewise import nn as fast

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
LENGTHS = [7, 3, 7, 1, 5, 2]
KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {})]


def twins(kind, dtype=torch.float64, inputs=4, hidden=5, **options):
    """Torch's layer and ours with the same parameters."""
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(inputs, hidden, dtype=dtype, **options)
    ours = getattr(fast, kind)(inputs, hidden, dtype=dtype, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def random_state(layer, batch, dtype, seed=1):
    generator = torch.Generator().manual_seed(seed)
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    h = torch.randn(
        count, batch, layer.proj_size or layer.hidden_size, dtype=dtype, generator=generator, requires_grad=True
    )
    if layer.mode != "LSTM":
        return h
    return h, torch.randn(count, batch, layer.hidden_size, dtype=dtype, generator=generator, requires_grad=True)


def flat(result):
    """All tensors of an output and a state."""
    output, state = result
    output = output.data if isinstance(output, PackedSequence) else output
    return [output, *(state if isinstance(state, tuple) else [state])]


def results(layer, given, state, seed=2):
    """Outputs and the gradients of a random combination of them, by everything that has one."""
    torch.manual_seed(7)  # the same dropout masks
    tensors = flat(layer(given, state))
    generator = torch.Generator().manual_seed(seed)
    loss = sum(
        (tensor * torch.randn(tensor.shape, dtype=tensor.dtype, generator=generator)).sum() for tensor in tensors
    )
    source = given.data if isinstance(given, PackedSequence) else given
    states = [] if state is None else list(state) if isinstance(state, tuple) else [state]
    return tensors, torch.autograd.grad(loss, [source, *states, *layer.parameters()])


def assert_same(ours, theirs, dtype):
    for own, other in zip(ours[0], theirs[0], strict=True):
        assert own.shape == other.shape and own.dtype == other.dtype
        torch.testing.assert_close(own, other, rtol=0, atol=TOLERANCE[dtype])
    for own, other in zip(ours[1], theirs[1], strict=True):
        assert own.shape == other.shape
        torch.testing.assert_close(own, other, rtol=0, atol=TOLERANCE[dtype] * max(1.0, float(other.abs().max())))
