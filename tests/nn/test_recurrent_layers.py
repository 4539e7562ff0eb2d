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
from tests.reference import cells as twin
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import statewise as sw
from statewise import nn as fast

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
LENGTHS = [7, 3, 7, 1, 5, 2]
KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {})]


@pytest.fixture(autouse=True)
def _kernels_at_every_size(monkeypatch):
    """Small sizes and large ones alike go through the kernels, unless a test says otherwise."""
    monkeypatch.setattr("statewise.nn.recurrent.torch_is_faster", lambda *_: False)


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


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_shards_change_no_number(kind, threads, monkeypatch):
    """A sequence's numbers are the same alone, in a batch, and in a batch that threads share."""
    monkeypatch.setattr("statewise.ops.recurrent._WORTH_SHARING", 0.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    ours, _ = twins(kind, bidirectional=True)
    x = torch.randn(7, 6, 4, dtype=torch.float64)
    together = ours(x, lengths=LENGTHS)[0]
    for b, length in enumerate(LENGTHS):
        torch.testing.assert_close(together[:length, b], ours(x[:length, b])[0], rtol=0, atol=1e-15)
        assert not together[length:, b].any()


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


# --- gradients ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_gradients_and_second_gradients(kind, options, reverse):
    """gradcheck and gradgradcheck by finite differences of inputs, states and weights, on a ragged batch."""
    from statewise.ops.recurrent import Rows, recurrence

    layer = getattr(fast, kind)(2, 3, dtype=torch.float64, **options)
    name = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(layer.mode, kind.lower())
    rows = Rows(np.array([3, 2, 2, 1]), reverse)
    torch.manual_seed(3)
    x = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    h = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    c = torch.randn(3, 3, dtype=torch.float64, requires_grad=True) if kind == "LSTM" else None
    log_decay = (-torch.rand(8, 3, dtype=torch.float64)).requires_grad_()
    mask = torch.tensor([[0.0, 2.0, 2.0]] * 3, dtype=torch.float64)
    tensors = [t for t in (x, h, c, log_decay, *layer.parameters()) if t is not None]

    for plain in (True, False):

        def compute(x, h, *rest, plain=plain):
            rest = list(rest)
            c = rest.pop(0) if kind == "LSTM" else None
            log_decay = rest.pop(0)
            extra = {} if plain else {"log_decay": log_decay, "mask": mask}
            return tuple(t for t in recurrence(name, x, rows, h, c, rest, **extra) if t is not None)

        assert torch.autograd.gradcheck(compute, tensors)
        if not plain:
            assert torch.autograd.gradgradcheck(compute, tensors)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_kernels_equal_the_steps_in_torch(kind, options, decay, mask):
    """`ops.recurrent_steps` is the fallback: the same contract, by value and gradient."""
    from statewise.ops.recurrent import Rows, recurrence
    from statewise.ops.recurrent_steps import unrolled

    layer = getattr(fast, kind)(4, 9, dtype=torch.float64, **options)
    name = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(layer.mode, kind.lower())
    for reverse in (False, True):
        rows = Rows(np.array([5, 4, 4, 1]), reverse)
        draw = lambda *shape: torch.randn(shape, dtype=torch.float64, requires_grad=True)  # noqa: E731  # shorter than a function here
        x, h, c = draw(14, 4), draw(5, 9), draw(5, 9) if kind == "LSTM" else None
        extra = {"log_decay": (-torch.rand(14, 9, dtype=torch.float64)).requires_grad_() if decay else None,
                 "mask": (torch.rand(5, 9, dtype=torch.float64) > 0.3).double() if mask else None}  # fmt: skip  # reads as one thought
        weights = list(layer.parameters())
        inputs = [t for t in (x, h, c, extra["log_decay"], *weights) if t is not None]
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
