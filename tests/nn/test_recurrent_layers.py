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
    norm = [
        (1 + torch.rand(3, dtype=torch.float64)).requires_grad_(),
        torch.rand(3, dtype=torch.float64, requires_grad=True),
    ]
    tensors = [t for t in (x, h, c, log_decay, *norm, *layer.parameters()) if t is not None]

    for plain in (True, False):

        def compute(x, h, *rest, plain=plain):
            rest = list(rest)
            c = rest.pop(0) if kind == "LSTM" else None
            log_decay, *norm = rest[:3]
            rest = rest[3:]
            extra = {} if plain else {"log_decay": log_decay, "mask": mask, "norm": norm}
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
        extra["norm"] = (draw(9), draw(9)) if norm else None
        weights = list(layer.parameters())
        inputs = [t for t in (x, h, c, extra["log_decay"], *weights, *(extra["norm"] or ())) if t is not None]
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


# --- streaming ------------------------------------------------------------------------------------------------------------


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


def test_learned_first_states_have_their_gradients():
    """Equal to those of the same state given by hand, summed over the batch."""
    for kind in ("GRU", "LSTM"):
        layer = getattr(fast, kind)(4, 5, learn_initial=True, num_layers=2, dtype=torch.float64)
        starts = [layer.initial_h, layer.initial_c] if kind == "LSTM" else [layer.initial_h]
        x = torch.randn(7, 6, 4, dtype=torch.float64)
        given = [torch.zeros(2, 6, 5, dtype=torch.float64, requires_grad=True) for _ in starts]
        output = layer(x, tuple(given) if kind == "LSTM" else given[0])[0]
        wanted = [g.sum(1) for g in torch.autograd.grad((output**2).sum(), given)]
        for own, other in zip(torch.autograd.grad((layer(x)[0] ** 2).sum(), starts), wanted, strict=True):
            torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


# --- time that has passed, dropout of the state -----------------------------------------------------------------------------


def decayed_by_hand(layer, x, elapsed, state):
    """One sequence (T, d) through torch's cell, its state multiplied by exp(−Δt/τ) before each step."""
    kind = layer.mode.replace("_TANH", "")
    cell = getattr(nn, f"{kind}Cell")(layer.input_size, layer.hidden_size, dtype=x.dtype)
    cell.load_state_dict(
        {name.removesuffix("_l0"): value for name, value in layer.state_dict().items() if "time" not in name}
    )
    outputs = []
    for x_t, gap in zip(x, elapsed, strict=True):
        decay = torch.exp(-gap / torch.exp(layer.log_time_constant_l0))
        state = tuple(part * decay for part in state) if kind == "LSTM" else state * decay
        state = cell(x_t, state)
        outputs.append(state[0] if kind == "LSTM" else state)
    return torch.stack(outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_the_state_decays_with_time(kind, dtype):
    """Against torch's cells step by step, dense, ragged and streamed, all on the kernels; the time constants have a gradient."""
    torch.manual_seed(0)
    layer = getattr(fast, kind)(4, 5, time_constant=2.0, dtype=dtype)
    x, elapsed = torch.randn(7, 6, 4, dtype=dtype), torch.rand(7, 6, dtype=dtype) * 3
    state = random_state(layer, 6, dtype)
    dense, ragged = layer(x, state, elapsed=elapsed)[0], layer(x, state, elapsed=elapsed, lengths=LENGTHS)[0]
    assert layer.path == ""
    for b, length in enumerate(LENGTHS):
        own = tuple(part[0, b] for part in state) if kind == "LSTM" else state[0, b]
        wanted = decayed_by_hand(layer, x[:, b], elapsed[:, b], own)
        torch.testing.assert_close(dense[:, b], wanted, rtol=0, atol=TOLERANCE[dtype])
        torch.testing.assert_close(ragged[:length, b], wanted[:length], rtol=0, atol=TOLERANCE[dtype])
    streamed = tuple(part.detach() for part in state) if kind == "LSTM" else state.detach()
    for t in range(7):
        y, streamed = layer.step(x[t], streamed, elapsed=elapsed[t])
        torch.testing.assert_close(y, dense[t].detach(), rtol=0, atol=TOLERANCE[dtype])
    if dtype == torch.float64:
        grad = torch.autograd.grad(dense.sum(), layer.log_time_constant_l0)[0]
        step = 1e-6
        with torch.no_grad():
            layer.log_time_constant_l0 += step
            moved = layer(x, state, elapsed=elapsed)[0].sum()
        torch.testing.assert_close((moved - dense.sum()) / step, grad.sum(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_the_way_back_decays_over_the_gap_to_the_next_step(kind):
    """The reverse direction on x is the forward one on x turned around, with the gaps moved accordingly."""
    both = getattr(fast, kind)(4, 5, time_constant=2.0, bidirectional=True, dtype=torch.float64)
    alone = getattr(fast, kind)(4, 5, time_constant=2.0, dtype=torch.float64)
    alone.load_state_dict({name: both.state_dict()[f"{name}_reverse"] for name in alone.state_dict()})
    x, elapsed = torch.randn(7, 6, 4, dtype=torch.float64), torch.rand(7, 6, dtype=torch.float64)
    found = both(x, elapsed=elapsed, lengths=LENGTHS)[0][..., 5:]
    for b, length in enumerate(LENGTHS):
        gaps = torch.cat([torch.zeros(1), elapsed[1:length, b].flip(0)])
        wanted = alone(x[:length, b].flip(0), elapsed=gaps)[0].flip(0)
        torch.testing.assert_close(found[:length, b], wanted, rtol=0, atol=1e-12)


def test_decay_by_the_time_since_each_variable_was_seen():
    """GRU-D: FillMissing in front, the state multiplied by exp(−max(0, W δ + b)); equal to the layer's own fallback in torch."""
    fill, layer = fast.FillMissing(3), fast.GRU(6, 5, batch_first=True, decay_inputs=3)
    x = torch.randn(2, 7, 3)
    x[torch.rand(2, 7, 3) < 0.4] = float("nan")
    seen, since = fill(x, torch.ones(2, 7))
    output = layer(seen, elapsed=since)[0]
    assert layer.path == "" and torch.isfinite(output).all()
    output.sum().backward()
    assert layer.decay_weight_l0.grad.abs().sum() > 0 and fill.weight.grad is not None
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(seen, elapsed=since)[0].float(), output, rtol=0, atol=0.1)
    assert "autocast" in layer.path


def test_missing_inputs_by_hand():
    fill = fast.FillMissing(1)
    nan = float("nan")
    fill.mean += 1.0
    seen, since = fill(torch.tensor([[[nan], [3.0], [nan], [nan], [5.0]]]), torch.tensor([[0.0, 1.0, 2.0, 0.5, 1.0]]))
    fade = torch.exp(-0.1 * torch.tensor([2.0, 2.5]))
    wanted = torch.tensor([1.0, 3.0, *(3 * fade + (1 - fade)), 5.0])
    torch.testing.assert_close(seen[0, :, 0], wanted)
    assert seen[0, :, 1].tolist() == [0, 1, 0, 0, 1]
    assert since[0, :, 0].tolist() == [0.0, 0.0, 2.0, 2.5, 0.0]


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_dropout_of_the_state_is_one_mask_a_sequence(kind):
    """The state that enters the product is masked, the one that is carried is not: torch's cell on masked products; evaluation is plain."""
    ours, theirs = twins(kind, hidden=6)
    ours.recurrent_dropout = 0.5
    x = torch.randn(7, 3, 4, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(5)
    found = ours(x)[0]
    assert ours.path == ""
    torch.manual_seed(5)
    mask = nn.functional.dropout(torch.ones(3, 6, dtype=torch.float64), 0.5)
    h = torch.zeros(3, 6, dtype=torch.float64)
    c = torch.zeros(3, 6, dtype=torch.float64)
    for t in range(7):
        given = x[t] @ ours.weight_ih_l0.T + ours.bias_ih_l0
        kept = (h * mask) @ ours.weight_hh_l0.T + ours.bias_hh_l0
        if kind == "RNN":
            h = torch.tanh(given + kept)
        elif kind == "GRU":
            r, z = torch.sigmoid(given[:, :12] + kept[:, :12]).chunk(2, 1)
            h = z * h + (1 - z) * torch.tanh(given[:, 12:] + r * kept[:, 12:])
        else:
            i, f, g, o = (given + kept).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        torch.testing.assert_close(found[t], h, rtol=0, atol=1e-12)
    ours.eval()
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=0, atol=1e-10)


def test_wrong_times_are_named():
    plain, timed = fast.GRU(4, 5), fast.GRU(4, 5, time_constant=1.0)
    x = torch.zeros(7, 6, 4)
    for call in (
        lambda: plain(x, elapsed=torch.ones(7, 6)),
        lambda: timed(x),
        lambda: timed(x, elapsed=torch.ones(6, 7)),
        lambda: timed(x, elapsed=-torch.ones(7, 6)),
        lambda: timed.step(np.zeros(4, np.float32)),
        lambda: fast.FillMissing(3)(x, torch.ones(7, 6)),
    ):
        with pytest.raises(sw.InputError, match=r"elapsed|`x`"):
            call()
    with pytest.raises(sw.InputError, match="time_constant"):
        fast.GRU(4, 5, time_constant=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_the_state_is_normalised_where_it_enters_the_product(kind, dtype):
    """One step in torch's equations, with W_hh h replaced by W_hh LN(h), LN being torch's."""
    torch.manual_seed(0)
    layer = getattr(fast, kind)(4, 6, layer_norm=True, dtype=dtype)
    with torch.no_grad():
        layer.norm_weight_l0.uniform_(0.5, 2), layer.norm_bias_l0.uniform_(-1, 1)
    x, state = torch.randn(1, 5, 4, dtype=dtype), random_state(layer, 5, dtype)
    h = state[0][0] if kind == "LSTM" else state[0]
    seen = nn.functional.layer_norm(h, (6,), layer.norm_weight_l0, layer.norm_bias_l0)
    given, kept = x[0] @ layer.weight_ih_l0.T + layer.bias_ih_l0, seen @ layer.weight_hh_l0.T + layer.bias_hh_l0
    if kind == "RNN":
        wanted = torch.tanh(given + kept)
    elif kind == "GRU":
        r, z = torch.sigmoid(given[:, :12] + kept[:, :12]).chunk(2, 1)
        wanted = z * h + (1 - z) * torch.tanh(given[:, 12:] + r * kept[:, 12:])
    else:
        i, f, g, o = (given + kept).chunk(4, 1)
        wanted = torch.sigmoid(o) * torch.tanh(torch.sigmoid(f) * state[1][0] + torch.sigmoid(i) * torch.tanh(g))
    torch.testing.assert_close(layer(x, state)[0][0], wanted, rtol=0, atol=TOLERANCE[dtype])
    assert layer.path == ""
    with pytest.raises(sw.UnsupportedError, match="layer_norm"):
        layer.step(x[0])


def test_a_compiled_module_uses_torchs_layer():
    """Under torch.compile (here without code generation) the result is torch's."""
    ours, theirs = twins("GRU", torch.float32)
    x = torch.randn(7, 6, 4)
    compiled = torch.compile(lambda x: ours(x)[0] * 2, backend="eager")
    torch.testing.assert_close(compiled(x), theirs(x)[0] * 2)
