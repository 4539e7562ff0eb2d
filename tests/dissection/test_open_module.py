"""Opening modules: what is found, the defects of other tools as conformance tests, and that the module stays as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import statewise as sw
from statewise._core.errors import InputError, NumericalError
from statewise.dissection.opening import opened

CELLS = {"RNN": nn.RNNCell, "GRU": nn.GRUCell, "LSTM": nn.LSTMCell}


class Tagger(nn.Module):
    """A model with everything that could be disturbed: dropout, batch norm's buffers, an embedding, a frozen weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.norm = nn.BatchNorm1d(4)
        self.encoder = nn.LSTM(4, 5, num_layers=2, dropout=0.5, batch_first=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(5, 3)
        self.encoder.weight_hh_l0.requires_grad_(False)

    def forward(self, tokens):
        x = self.norm(self.embedding(tokens).transpose(1, 2)).transpose(1, 2)
        return self.head(self.drop(self.encoder(x)[0]))


class Unrolled(nn.Module):
    """A cell called step by step, read out at every step."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.cell = CELLS[kind](2, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        state, outputs = None, []
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            outputs.append(self.head(state[0] if isinstance(state, tuple) else state))
        return torch.stack(outputs, dim=1)


def everything(model: nn.Module) -> dict:
    return {
        "state": copy.deepcopy(model.state_dict()),
        "flags": {name: p.requires_grad for name, p in model.named_parameters()},
        "grads": {name: p.grad for name, p in model.named_parameters()},
        "modes": {name: m.training for name, m in model.named_modules()},
        "hooks": {name: (len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in model.named_modules()},
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),  # noqa: NPY002  # the global state is what is watched
        "grad mode": torch.is_grad_enabled(),
    }


def assert_same(before: dict, after: dict) -> None:
    for name, value in before["state"].items():
        assert torch.equal(value, after["state"][name]), name
    assert torch.equal(before["torch"], after["torch"])
    np.testing.assert_array_equal(before["numpy"], after["numpy"])
    for name in ("flags", "grads", "modes", "hooks", "grad mode"):
        assert before[name] == after[name], name


@pytest.mark.parametrize("training", [True, False])
def test_a_module_is_left_as_it_was(training):
    """Weights, flags, gradients, modes (also mixed ones), hooks, buffers and generators, bit for bit; every analysis is asked for."""
    torch.manual_seed(0)
    model = Tagger().train(training)
    model.head.train(not training)
    tokens = torch.randint(7, (3, 12))
    before = everything(model)
    d = sw.dissect(model, tokens)
    found = [each.name for each in d]
    assert len(found) == len(set(found)) >= 10
    assert_same(before, everything(model))
    assert d.replay_error < 1e-5


class Restless(nn.Module):
    """Counts its calls in a buffer and draws noise, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.layer = nn.GRU(2, 3, batch_first=True)

    def forward(self, x):
        self.calls += 1
        return self.layer(x + 0.1 * torch.randn_like(x))[0]


def test_buffers_and_generators_are_put_back():
    model, x = Restless(), torch.randn(2, 20, 2)
    before = everything(model)
    buffer = model.calls
    d = sw.dissect(model, x)
    assert d.replay_error < 1e-6
    assert_same(before, everything(model))
    assert model.calls is buffer
    model(x)
    with pytest.raises(AssertionError):
        assert_same(before, everything(model))


def test_the_watch_would_see_a_change():
    model = Tagger()
    before = everything(model)
    model.norm(torch.randn(5, 4, 3))
    with pytest.raises(AssertionError):
        assert_same(before, everything(model))


def test_a_module_that_fails_is_left_as_it_was_too():
    model = Tagger().train()
    before = everything(model)
    with pytest.raises(IndexError):
        sw.dissect(model, torch.full((2, 5), 99))
    assert_same(before, everything(model))


def test_training_mode_and_evaluation_mode_give_the_same():
    torch.manual_seed(0)
    model, tokens = Tagger(), torch.randint(7, (3, 12))
    values = [sw.dissection.lyapunov(model.train(mode), tokens).value for mode in (True, False)]
    np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_called_step_by_step_is_the_layer(kind, frozen):
    """The same weights in torch's layer, with the same head: the same matrix of gradients, exponents and replay."""
    torch.manual_seed(0)
    model = Unrolled(kind).double()
    model.cell.requires_grad_(not frozen)
    layer = getattr(nn, kind)(2, 4, batch_first=True).double()
    layer.load_state_dict({f"{name}_l0": value for name, value in model.cell.state_dict().items()})
    x = torch.randn(3, 15, 2).double()
    loss = lambda y: 0.5 * (y[..., 0] ** 2)  # noqa: E731  # a formula
    before = everything(model)
    mine = opened(model, x, loss=loss)
    assert_same(before, everything(model))
    theirs = opened(layer, x, loss=lambda result: loss(model.head(result[0])))
    assert mine.replay_error < 1e-14
    (site,) = mine.sites
    assert site.name == "cell"
    assert not site.whole
    np.testing.assert_allclose(site.cotangents, theirs.sites[0].cotangents, atol=1e-14)
    for analysis in (sw.dissection.gradient_flow, sw.dissection.lyapunov, sw.dissection.saturation):
        np.testing.assert_allclose(analysis(mine).value, analysis(theirs).value, rtol=1e-6)


class Last(nn.Module):
    """A classifier that reads the layer's last state, as many do, or the last output."""

    def __init__(self, layer: nn.Module, way: str) -> None:
        super().__init__()
        self.layer, self.way = layer, way

    def forward(self, x):
        output, state = self.layer(x)
        h = state[0] if isinstance(state, tuple) else state
        if self.way == "c":
            return state[1][-1].sum(-1)
        if self.way == "lower":
            return h[0].sum(-1)
        if self.way == "output":
            two = self.layer.bidirectional
            return output[:, -1, :3].sum(-1) + (output[:, 0, 3:].sum(-1) if two else 0)
        return h[-(1 + self.layer.bidirectional) :].sum(dim=(0, 2))


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM", "MinGRU"])
def test_a_loss_of_the_last_state_is_one_of_the_last_output(kind, two):
    """`_, (h, c) = lstm(x); head(h[-1])`: the gradient does not go through `output`, and must be found all the same."""
    torch.manual_seed(0)
    made = sw.nn.MinGRU if kind == "MinGRU" else getattr(nn, kind)
    layer = made(2, 3, num_layers=2, batch_first=True, bidirectional=two).double()
    x = torch.randn(4, 9, 2).double()
    loss = lambda y: y  # noqa: E731  # the module's own numbers
    mine, theirs = (opened(Last(layer, way), x, loss=loss) for way in ("h", "output"))
    assert not mine.notes
    for a, b in zip(mine.sites, theirs.sites, strict=True):
        assert (a.cotangents is None) == (b.cotangents is None)
        if a.cotangents is not None:
            assert np.abs(a.cotangents).sum() > 0
            np.testing.assert_allclose(a.cotangents, b.cotangents, atol=1e-14)


@pytest.mark.parametrize("way", ["c", "lower"])
def test_a_loss_of_other_states_is_noted(way):
    layer = nn.LSTM(2, 3, num_layers=2, batch_first=True)
    subject = opened(Last(layer, way), torch.randn(4, 9, 2), loss=lambda y: y)
    assert "not in the output" in subject.notes[0]


def test_the_last_state_of_packed_sequences():
    layer = nn.GRU(2, 3).double()
    x = torch.randn(6, 3, 2).double()
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([2, 6, 4]), enforce_sorted=False)
    subject = opened(Last(layer, "h"), packed, loss=lambda y: y)
    last = subject.sites[0].cotangents[np.arange(3), [1, 5, 3]]
    np.testing.assert_allclose(last, 1.0)
    assert np.abs(subject.sites[0].cotangents).sum() == pytest.approx(9)


def test_two_cells_and_two_passes():
    """Stacked cells are two places, a second pass of a cell is a trajectory of its own."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.low, self.high = nn.GRUCell(2, 3), nn.LSTMCell(3, 4)

        def forward(self, x):
            total = []
            for part in (x[:, :6], x[:, 6:]):
                h, state = torch.zeros(len(x), 3), None
                for t in range(part.shape[1]):
                    h = self.low(part[:, t], hx=h)
                    state = self.high(h, state)
                    total.append(state[0])
            return torch.stack(total, dim=1)

    subject = opened(Two(), torch.randn(2, 10, 2))
    assert [site.name for site in subject.sites] == ["low", "high", "low (call 2)", "high (call 2)"]
    assert [site.system.steps for site in subject.sites] == [6, 6, 4, 4]
    assert subject.replay_error < 1e-6
    assert all(np.abs(site.cotangents).min(axis=(0, 2)).max() > 0 for site in subject.sites)


def test_a_state_changed_between_steps_is_refused():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(2, 3)

        def forward(self, x):
            h = torch.zeros(len(x), 3)
            for t in range(x.shape[1]):
                h = 0.5 * self.cell(x[:, t], h)
            return h

    with pytest.raises(InputError, match=r"changes the state .* between two steps"):
        opened(Masked(), torch.randn(2, 5, 2))


@pytest.mark.parametrize("kind", CELLS)
def test_bare_cells(kind):
    cell = CELLS[kind](2, 3)
    start = (torch.randn(4, 3), torch.randn(4, 3)) if kind == "LSTM" else torch.randn(4, 3)
    subject = opened(cell, torch.randn(9, 4, 2), initial=start)
    assert subject.replay_error < 1e-6
    assert np.isfinite(sw.dissection.lyapunov(subject).value[0])


def test_one_layer_of_several():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.GRU(2, 3, batch_first=True), nn.LSTM(3, 3, batch_first=True)

        def forward(self, x):
            return self.b(self.a(x)[0])[0]

    x = torch.randn(2, 8, 2)
    assert [site.name for site in opened(Both(), x).sites] == ["a", "b"]
    assert [site.name for site in opened(Both(), x, layer="a").sites] == ["a"]
    with pytest.raises(InputError, match="the recurrent layers are 'a', 'b'"):
        opened(Both(), x, layer="c")


def test_mistakes_are_named():
    with pytest.raises(InputError, match="without a recurrent layer"):
        opened(nn.Linear(2, 2), torch.randn(2, 2))
    with pytest.raises(InputError, match="`batch` is None"):
        opened(nn.GRU(2, 2))
    with pytest.raises(InputError, match="`loss` returned"):
        opened(nn.GRU(2, 2), torch.randn(3, 2, 2), loss=lambda result: 1.0)
    broken = nn.GRU(2, 2)
    with torch.no_grad():
        broken.weight_hh_l0[0, 0] = float("nan")
    with pytest.raises((NumericalError, InputError), match="not finite"):
        opened(broken, torch.randn(3, 2, 2))


def test_it_works_under_no_grad_and_in_evaluation_mode():
    layer = nn.LSTM(2, 3, batch_first=True).eval()
    with torch.no_grad():
        d = sw.dissect(layer, torch.randn(2, 20, 2))
        assert not torch.is_grad_enabled()
    assert np.isfinite(d.gradient_flow.value[-1, -1])


def test_the_default_diagnostics_are_there_at_once_and_asserted_on():
    """As in a test of a user's own: `assert d.gradient_half_life.value > 20`."""
    torch.manual_seed(0)
    d = sw.dissect(nn.LSTM(2, 8, batch_first=True), torch.randn(8, 60, 2))
    assert d.gradient_half_life.value < 20
    text = d.summary()
    for words in ("Gradient half-life", "λ₁", "gate τ", "saturated"):
        assert words in text
    assert d.to_dict()["loss"] == "½‖output‖² per step"
