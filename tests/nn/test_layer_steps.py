"""Streaming: one step at a time is the layer, for arrays and tensors, whatever becomes of the weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.nn.layers import KINDS, TOLERANCE, twins
from torch import nn

import statewise as sw
from statewise import nn as fast

pytestmark = pytest.mark.usefixtures("kernels_at_every_size")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [3, 16, 21])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_steps_are_the_layer(kind, options, hidden, bias, dtype):
    """Step after step, in arrays or tensors, alone or in a batch, equals the call on the whole; so does a call that begins with their state."""
    ours, layer = twins(kind, dtype, hidden=hidden, num_layers=2, bias=bias, **options)
    x = torch.randn(6, 3, 4, dtype=dtype)
    whole = layer(x)[0].detach()
    for form in (lambda t: t, lambda t: t.numpy()):
        state = None
        for t in range(4):
            y, state = ours.step(form(x[t]), state)
            assert type(y) is type(form(x[t]))
            np.testing.assert_allclose(y, whole[t].numpy(), rtol=0, atol=TOLERANCE[dtype])
    state = tuple(map(torch.as_tensor, state)) if kind == "LSTM" else torch.as_tensor(state)
    torch.testing.assert_close(ours(x[4:], state)[0], whole[4:], rtol=0, atol=TOLERANCE[dtype])
    state = None
    for t in range(6):
        y, state = ours.step(x[t, 1].numpy(), state)
        np.testing.assert_allclose(y, whole[t, 1].numpy(), rtol=0, atol=TOLERANCE[dtype])
        assert (state[0] if kind == "LSTM" else state).shape == (2, hidden)


def test_a_step_sees_new_weights_and_leaves_its_arguments_alone():
    ours, _ = twins("GRU")
    x, state = np.ones(4), np.full((1, 5), 0.5)
    first = ours.step(x, state)[0]
    assert (x == 1).all() and (state == 0.5).all()
    ours.weight_hh_l0.data.mul_(2.0)
    second = ours.step(x, state)[0]
    ours.load_state_dict({name: value / 3 for name, value in ours.state_dict().items()})
    third = ours.step(x, state)[0]
    ours.weight_hh_l0 = nn.Parameter(torch.zeros(15, 5, dtype=torch.float64))
    assert len({tuple(a) for a in (first, second, third, ours.step(x, state)[0])}) == 4
    assert "_stepper" not in copy.deepcopy(ours).__dict__


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_step_after_training_is_the_trained_layer(kind, options):
    """Weights changed in place, by an optimiser, by load_state_dict or by a new `data` count from the next step on."""
    ours, _ = twins(kind, torch.float32, num_layers=2, **options)
    x = torch.randn(1, 4)
    optimiser = torch.optim.SGD(ours.parameters(), lr=0.01)

    def train():
        ours(x[None])[0].square().sum().backward()
        optimiser.step()

    def load():
        ours.load_state_dict({name: value * 0.9 for name, value in ours.state_dict().items()})

    def replace():
        ours.weight_ih_l1.data = ours.weight_ih_l1.data * 1.5

    before = ours.step(x[0])[0]
    for change in (train, load, replace):
        change()
        y = ours.step(x[0])[0]
        assert not torch.equal(y, before)
        torch.testing.assert_close(y, ours(x)[0].detach()[0], rtol=0, atol=TOLERANCE[torch.float32])
        before = y


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_steps_of_strided_and_mixed_arguments(kind):
    """What is no plain contiguous tensor goes another way to the same numbers."""
    ours, _ = twins(kind, torch.float64, num_layers=2)
    x = torch.randn(3, 4, dtype=torch.float64)
    before = ours.step(x)[1]
    wanted = ours.step(x, before)[0]
    parts = before if kind == "LSTM" else (before,)
    strided = tuple(part.transpose(0, 2).contiguous().transpose(0, 2) for part in parts)
    arrays = tuple(part.numpy() for part in strided)
    for form in (strided, arrays, tuple(part.clone().requires_grad_() for part in parts)):
        given = form if kind == "LSTM" else form[0]
        for value in (x, x.T.contiguous().T, x.clone().requires_grad_(), x.numpy(), x.T.contiguous().T.numpy()):
            y = ours.step(value, given)[0]
            assert type(y) is (np.ndarray if isinstance(value, np.ndarray) else torch.Tensor)
            np.testing.assert_array_equal(y, wanted)
    empty, _ = ours.step(np.zeros((0, 4)))
    assert empty.shape == (0, 5)


def test_a_step_begins_at_the_learned_state():
    layer = fast.LSTM(4, 5, learn_initial=True, dtype=torch.float64)
    with torch.no_grad():
        layer.initial_h.normal_(), layer.initial_c.normal_()
    x = torch.randn(1, 3, 4, dtype=torch.float64)
    for given, wanted in ((x[0], layer(x)[0][0]), (x[0, 0], layer(x)[0][0, 0])):
        torch.testing.assert_close(layer.step(given)[0], wanted.detach(), rtol=0, atol=1e-12)


def test_wrong_steps_are_named():
    layer = fast.GRU(4, 5)
    for x in (np.zeros(3, np.float32), np.zeros(4), [0.0] * 4, np.zeros((2, 2, 4), np.float32)):
        with pytest.raises(sw.InputError, match="`x`"):
            layer.step(x)
    with pytest.raises(sw.InputError, match="`state`"):
        layer.step(np.zeros(4, np.float32), np.zeros((1, 6), np.float32))
    for x in (torch.zeros(3), torch.zeros(4, dtype=torch.float64), torch.zeros(2, 2, 4), torch.zeros(())):
        with pytest.raises(sw.InputError, match="`x`"):
            layer.step(x)
    for state in (
        torch.zeros(5),
        torch.zeros(1, 5, dtype=torch.float64),
        torch.zeros(1, 2, 5),
        (torch.zeros(1, 5),),
        0.0,
    ):
        with pytest.raises(sw.InputError, match="`state`"):
            layer.step(torch.zeros(4), state)
    for state in (np.zeros((1, 5), np.float32), (np.zeros((1, 5), np.float32), None), (np.zeros((1, 5), np.float32),)):
        with pytest.raises(sw.InputError, match="`state`"):
            fast.LSTM(4, 5).step(np.zeros(4, np.float32), state)
    with pytest.raises(sw.UnsupportedError, match="bidirectional"):
        fast.GRU(4, 5, bidirectional=True).step(np.zeros(4, np.float32))
