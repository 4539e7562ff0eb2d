"""The layers against torch.nn: outputs, states and every gradient. Oracle: another package (torch), and the plain NumPy twins.

Tolerances: float64 1e-10 as the layers promise; float32 1e-5 on values of order one. Gradients are sums over all rows, so theirs are
relative to the largest entry.
"""

from __future__ import annotations

import copy
import io
import itertools

import numpy as np
import pytest
import torch
from tests.nn.layers import KINDS, LENGTHS, assert_same, flat, random_state, results, twins
from tests.reference import cells as twin
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import statewise as sw
from statewise import nn as fast

pytestmark = pytest.mark.usefixtures("kernels_at_every_size")

GRID = [
    dict(zip(("num_layers", "bidirectional", "batch_first", "bias"), values, strict=True))
    for values in itertools.product((1, 2), (False, True), (False, True), (True, False))
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_equals_torch_over_the_grid(kind, options, packed, given_state, dtype):
    for choice in GRID:
        ours, theirs = twins(kind, dtype, **options, **choice)
        shape = (6, 7, 4) if choice["batch_first"] else (7, 6, 4)
        x = torch.randn(shape, dtype=dtype, requires_grad=True)
        given = (
            pack_padded_sequence(x, torch.tensor(LENGTHS), choice["batch_first"], enforce_sorted=False) if packed else x
        )
        given = given._replace(data=given.data.detach().requires_grad_()) if packed else given
        state = random_state(theirs, 6, dtype) if given_state else None
        assert_same(results(ours, given, state), results(theirs, given, state), dtype)
        assert ours.path == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden", [1, 7, 8, 16, 17, 33, 64, 70, 129])
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_every_width_and_batch(kind, batch, hidden, dtype):
    """Padding to blocks and the rest of four rows."""
    ours, theirs = twins(kind, dtype, inputs=3, hidden=hidden)
    x = torch.randn(4, batch, 3, dtype=dtype, requires_grad=True)
    state = random_state(theirs, batch, dtype)
    assert_same(results(ours, x, state), results(theirs, x, state), dtype)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_dropout_between_layers_draws_torchs_masks(kind):
    ours, theirs = twins(kind, num_layers=3, dropout=0.4)
    x = torch.randn(7, 6, 4, dtype=torch.float64, requires_grad=True)
    assert_same(results(ours, x, None), results(theirs, x, None), torch.float64)
    ours.eval(), theirs.eval()
    assert_same(results(ours, x, None), results(theirs, x, None), torch.float64)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_without_a_batch(kind):
    ours, theirs = twins(kind, num_layers=2, bidirectional=True)
    x = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    state = random_state(theirs, 1, torch.float64)
    state = tuple(s.squeeze(1) for s in state) if isinstance(state, tuple) else state.squeeze(1)
    assert_same(results(ours, x, state), results(theirs, x, state), torch.float64)
    assert_same(results(ours, x, None), results(theirs, x, None), torch.float64)


@pytest.mark.parametrize("packed", [False, True])
def test_projection(packed):
    """Torch computes proj_size, and the layer says so."""
    ours, theirs = twins("LSTM", proj_size=3, num_layers=2, bidirectional=True)
    x = torch.randn(7, 6, 4, dtype=torch.float64, requires_grad=True)
    given = pack_padded_sequence(x.detach(), torch.tensor(LENGTHS), enforce_sorted=False) if packed else x
    given = given._replace(data=given.data.requires_grad_()) if packed else given
    state = random_state(theirs, 6, torch.float64)
    assert_same(results(ours, given, state), results(theirs, given, state), torch.float64)
    assert "proj_size" in ours.path


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_lengths_are_a_packed_batch(kind, batch_first):
    ours, theirs = twins(kind, bidirectional=True, batch_first=batch_first)
    x = torch.randn((6, 9, 4) if batch_first else (9, 6, 4), dtype=torch.float64, requires_grad=True)
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first, enforce_sorted=False)
    output, state = theirs(packed)
    wanted = [
        pad_packed_sequence(output, batch_first, total_length=9)[0],
        *(state if isinstance(state, tuple) else [state]),
    ]
    for lengths in (LENGTHS, np.array(LENGTHS), torch.tensor(LENGTHS)):
        for own, other in zip(flat(ours(x, lengths=lengths)), wanted, strict=True):
            torch.testing.assert_close(own, other, rtol=0, atol=1e-10)
    mine = torch.autograd.grad(sum(t.sum() for t in flat(ours(x, lengths=LENGTHS))), x)[0]
    torch.testing.assert_close(mine, torch.autograd.grad(sum(t.sum() for t in wanted), x)[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_padding_is_never_read(kind):
    """NaN after the end of a sequence reaches nothing."""
    ours, _ = twins(kind)
    x = torch.randn(7, 6, 4, dtype=torch.float64)
    clean = flat(ours(x, lengths=LENGTHS))
    for b, length in enumerate(LENGTHS):
        x[length:, b] = float("nan")
    for own, other in zip(flat(ours(x, lengths=LENGTHS)), clean, strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_shards_change_no_number(kind, monkeypatch):
    """A sequence's numbers are the same alone, in a batch, and in a batch of several shards; gradients are the same for any number of threads."""
    monkeypatch.setattr("statewise.ops.recurrent._WORTH_SHARING", 1.0)
    ours, _ = twins(kind, bidirectional=True)
    lengths = [*LENGTHS, *LENGTHS, *LENGTHS]
    x = torch.randn(7, 18, 4, dtype=torch.float64, requires_grad=True)
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        together = ours(x, lengths=lengths)[0]
        found.append([together, *torch.autograd.grad((together**2).sum(), [x, *ours.parameters()])])
        for b, length in enumerate(lengths):
            torch.testing.assert_close(together[:length, b], ours(x[:length, b])[0], rtol=0, atol=1e-15)
            assert not together[length:, b].any()
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    monkeypatch.setattr("statewise.ops.recurrent._WORTH_SHARING", 1e9)
    alone = ours(x, lengths=lengths)[0]
    for a, b in zip(found[0][1:], torch.autograd.grad((alone**2).sum(), [x, *ours.parameters()]), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13 * float(b.abs().max()))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_the_past_does_not_depend_on_the_future(kind):
    ours, _ = twins(kind)
    x = torch.randn(7, 6, 4, dtype=torch.float64)
    assert torch.equal(ours(x)[0][:4], ours(x[:4])[0])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_carried_state_continues_the_sequence(kind):
    """Truncated back-propagation: two halves with the state between them are the whole."""
    ours, _ = twins(kind, num_layers=2)
    x = torch.randn(8, 6, 4, dtype=torch.float64)
    first, state = ours(x[:5])
    second, _ = ours(x[5:], state)
    assert torch.equal(torch.cat([first, second]), ours(x)[0])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_equals_the_plain_twin(kind):
    """One number at a time, in the equations of the documentation."""
    ours, _ = twins(kind)
    params = {name: value.detach().numpy() for name, value in ours.state_dict().items()}
    x = torch.randn(7, 4, dtype=torch.float64)
    carried = np.zeros(5 * twin.CARRIED[kind.lower()])
    for own, x_t in zip(ours(x)[0].detach().numpy(), x.numpy(), strict=True):
        carried = twin.STEPS[kind.lower()](params, x_t, carried)
        np.testing.assert_allclose(own, carried[:5], rtol=0, atol=1e-14)


# --- living in a torch program --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_state_dict_goes_both_ways_and_copies_work(kind):
    ours, theirs = twins(kind, num_layers=2, bidirectional=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert isinstance(ours, getattr(nn, kind))
    x = torch.randn(7, 6, 4, dtype=torch.float64)
    stored = io.BytesIO()
    torch.save(ours, stored)
    stored.seek(0)
    for other in (copy.deepcopy(ours), torch.load(stored, weights_only=False)):
        assert torch.equal(other(x)[0], ours(x)[0])


def test_accelerate_changes_a_users_model_in_place():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList([nn.GRU(4, 5), nn.Linear(5, 3), nn.LSTM(3, 2)])

        def forward(self, x):
            return self.parts[2](self.parts[1](self.parts[0](x)[0]))[0]

    torch.manual_seed(0)
    model, x = Model().double(), torch.randn(7, 6, 4, dtype=torch.float64)
    before, parameters = model(x), list(model.parameters())
    assert fast.accelerate(model) is model
    assert isinstance(model.parts[0], fast.GRU) and isinstance(model.parts[2], fast.LSTM)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-10)
    assert model.parts[0].path == ""
    assert isinstance(fast.accelerate(nn.GRU(2, 3)), fast.GRU)
    with pytest.raises(sw.InputError, match="module"):
        fast.accelerate("model")


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_what_kernels_cannot_do_torch_does_and_the_layer_says_so(kind):
    ours, theirs = twins(kind, torch.float32)
    x = torch.randn(7, 6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    assert "autocast" in ours.path
    half = copy.deepcopy(ours).bfloat16()
    assert half(x.bfloat16())[0].dtype == torch.bfloat16 and "bfloat16" in half.path
    meta = copy.deepcopy(ours).to("meta")
    assert meta(x.to("meta"))[0].shape == (7, 6, 5) and "meta" in meta.path
    ours(x)
    assert ours.path == ""


def test_function_transforms_go_through_torch():
    ours, theirs = twins("GRU")
    x = torch.randn(7, 6, 4, dtype=torch.float64)
    value = lambda layer: lambda x: layer(x)[0].sum()  # noqa: E731  # shorter than a function here
    torch.testing.assert_close(torch.func.grad(value(ours))(x), torch.func.grad(value(theirs))(x))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.zeros(7, 6, 3),), "3 features"),
        ((torch.zeros(4),), "axes"),
        (("text",), "tensor"),
        ((torch.zeros(7, 6, 4), (torch.zeros(1, 6, 5),) * 2), "one tensor h"),
        ((torch.zeros(7, 6, 4), torch.zeros(1, 5, 5)), "shape"),
    ],
)
def test_wrong_calls_are_named(arguments, words):
    with pytest.raises(sw.InputError, match=words):
        fast.GRU(4, 5)(*arguments)


@pytest.mark.parametrize("lengths", [[1, 2], [0] * 6, [8] * 6, [1.5] * 6])
def test_wrong_lengths_are_named(lengths):
    with pytest.raises(sw.InputError, match="lengths"):
        fast.GRU(4, 5)(torch.zeros(7, 6, 4), lengths=lengths)


@pytest.mark.parametrize(
    "options", [{"input_size": 0}, {"hidden_size": 2.5}, {"num_layers": 0}, {"recurrent_dropout": 1.5}]
)
def test_wrong_sizes_are_named(options):
    with pytest.raises(sw.InputError, match=next(iter(options))):
        fast.LSTM(**{"input_size": 2, "hidden_size": 3} | options)


def test_a_compiled_module_uses_torchs_layer():
    """Under torch.compile (here without code generation) the result is torch's."""
    ours, theirs = twins("GRU", torch.float32)
    x = torch.randn(7, 6, 4)
    compiled = torch.compile(lambda x: ours(x)[0] * 2, backend="eager")
    torch.testing.assert_close(compiled(x), theirs(x)[0] * 2)
