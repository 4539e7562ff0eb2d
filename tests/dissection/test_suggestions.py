"""Suggestions: what is said to be wrong is wrong, and each remedy does what it says to a copy. Oracle: networks with known gradients."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.dissection.networks import T, forgetful, inputs, linear, positive

import statewise as sw
from statewise.dissection.suggestions import Suggestion, depth_share


def bits(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_forgetful_lstm_is_told_to_start_with_chrono_and_the_copy_reaches_as_far_as_is_needed():
    net, x = forgetful(), inputs()
    before = bits(net)
    d = sw.dissect(net, x, needs=40)
    kinds = [each.kind for each in d.suggestions]
    assert kinds[:2] == ["chrono", "forget-bias"]
    assert d.suggestions[0].options == {"horizon": 80.0}
    for remedy in d.suggestions[:2]:
        better = sw.dissection.apply(remedy, net)
        after = sw.dissect(better, x, needs=40)
        assert d.gradient_flow.data["curve"][40] < 1e-6 < 0.01 < after.gradient_flow.data["curve"][40]
        assert remedy.kind not in [each.kind for each in after.suggestions]
    assert same(bits(net), before)


def test_the_forget_bias_keeps_for_as_long_as_is_needed():
    """σ(b) = exp(−1/40), so that −1/ln f = 40."""
    d = sw.dissect(forgetful(), inputs(), needs=40)
    value = d.suggestions[1].options["value"]
    assert -1 / np.log(1 / (1 + np.exp(-value))) == pytest.approx(40, rel=1e-3)


@pytest.mark.parametrize("factor", [0.5, 0.8])
def test_a_fading_relu_network_is_told_to_start_at_the_identity(factor):
    d = sw.dissect(linear(factor), positive(), needs=30)
    assert {"identity", "spectral"} <= {each.kind for each in d.suggestions}
    spectral = next(each for each in d.suggestions if each.kind == "spectral")
    better = sw.dissection.apply(spectral, linear(factor))
    after = sw.dissect(better, positive(), needs=30)
    np.testing.assert_allclose(after.gradient_flow.data["curve"][30], 1.0, rtol=1e-4)


def test_nothing_is_suggested_where_the_gradient_lasts():
    assert sw.dissect(linear(0.99), positive(), needs=40).suggestions == ()
    assert sw.dissect(linear(0.99), positive(), needs=40).findings == ()


def test_without_needs_only_a_reach_short_of_the_sequences_is_a_fault():
    assert sw.dissect(linear(0.5), positive()).suggestions
    assert sw.dissect(linear(0.9), positive()).suggestions == ()


def test_an_exploding_network_is_told_to_clip_and_to_scale_its_weights():
    net = linear(1.2)
    d = sw.dissect(net, positive())
    assert [each.kind for each in d.suggestions] == ["clip", "spectral"]
    tamed = sw.dissection.apply(d.suggestions[1], net)
    assert sw.dissect(tamed, positive()).lyapunov.value[0] == pytest.approx(np.log(0.95), abs=1e-6)


def test_a_clipped_copy_has_gradients_of_at_most_the_threshold():
    net, x = linear(1.2), positive()
    clip = Suggestion("clip", {"threshold": 0.5}, "", "", "")
    clipped = sw.dissection.apply(clip, net)
    norms = []
    for module in (net, clipped):
        module(x)[0].sum().backward()
        norms.append([float(p.grad.norm()) for p in module.parameters()])
    assert min(norms[0]) > 10
    assert norms[1] == pytest.approx([0.5, 0.5], rel=1e-5)
    share = 0.1 / norms[0][1]  # of the loss, whose gradients are then below the threshold and stay as they are
    clipped.zero_grad()
    (share * clipped(x)[0].sum()).backward()
    assert float(clipped.weight_hh_l0.grad.norm()) == pytest.approx(share * norms[0][1], rel=1e-4)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_a_truncated_copy_says_the_same_and_sends_nothing_further_back(kind):
    net = torch.nn.Sequential(kind(3, 5, batch_first=True))
    x = inputs(2, 23).requires_grad_()
    cut = sw.dissection.apply(Suggestion("truncate", {"steps": 8.0}, "", "", ""), net)
    torch.testing.assert_close(cut(x)[0], net(x)[0])
    (whole,) = torch.autograd.grad(net(x)[0][:, -1].sum(), x)
    (short,) = torch.autograd.grad(cut(x)[0][:, -1].sum(), x)
    assert (whole[:, :16].abs().sum(dim=(0, 2)) > 0).all()
    assert (short[:, :16] == 0).all()
    torch.testing.assert_close(short[:, 16:], whole[:, 16:])


def test_long_sequences_of_a_short_memory_are_to_be_truncated():
    d = sw.dissect(linear(0.5), positive(200))
    (cut,) = [each for each in d.suggestions if each.kind == "truncate"]
    assert cut.options["steps"] == 14  # twice the 7 steps over which .5^k falls below .01


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU])
def test_skips_keep_the_weights_and_add_the_inputs(kind):
    """Oracle: the layers one by one."""
    stack = kind(4, 4, 3, batch_first=True)
    made = sw.dissection.apply(Suggestion("skip", {}, "", "", ""), stack)
    x = torch.randn(2, 9, 4)
    single = kind(4, 4, batch_first=True)
    h, ends = x, []
    for depth in range(3):
        single.load_state_dict(
            {k.replace(f"_l{depth}", "_l0"): v for k, v in stack.state_dict().items() if k.endswith(f"_l{depth}")}
        )
        out, end = single(h)
        h = out if depth == 0 else out + h
        ends.append(end[0] if isinstance(end, tuple) else end)
    got, end = made(x)
    torch.testing.assert_close(got, h)
    torch.testing.assert_close(end[0] if isinstance(end, tuple) else end, torch.cat(ends))
    again, _ = made(x[:, 5:], made(x[:, :5])[1])
    torch.testing.assert_close(again, h[:, 5:])


def test_the_share_of_a_stack_is_the_product_of_what_its_layers_pass_within_a_step():
    """linear layers that multiply their input by .2: the lowest of three gets .04 of the top's."""
    stack = torch.nn.RNN(4, 4, 3, batch_first=True, nonlinearity="relu", bias=False)
    with torch.no_grad():
        for depth in range(3):
            getattr(stack, f"weight_ih_l{depth}").copy_(0.2 * torch.eye(4))
            getattr(stack, f"weight_hh_l{depth}").copy_(0.9 * torch.eye(4))
    d = sw.dissect(stack, positive(), needs=10)
    assert depth_share(d) == pytest.approx(0.04, rel=1e-5)
    assert "skip" in [each.kind for each in d.suggestions]
    assert depth_share(sw.dissect(linear(0.9), positive())) is None


def test_our_own_models_take_initialisations_and_stay_as_they_were():
    seqs = sw.datasets.load("nile")
    model = sw.Recurrent(cell="lstm", hidden=4).fit(seqs, epochs=2)
    before = copy.deepcopy(model.parameters)
    chrono = Suggestion("chrono", {"horizon": 50.0}, "", "", "")
    made = sw.dissection.apply(chrono, model)
    assert all(np.array_equal(before[name], model.parameters[name]) for name in before)
    changed = {name for name in before if not np.array_equal(before[name], made.parameters[name])}
    assert changed == {"bias_ih_l0", "bias_hh_l0"}
    assert made.parameters["bias_ih_l0"][4:8].max() <= np.log(49)
    with pytest.raises(sw.UnsupportedError, match="window"):
        sw.dissection.apply(Suggestion("truncate", {"steps": 8.0}, "cut", "", ""), model)
    with pytest.raises(sw.UnsupportedError, match="no recurrent layer"):
        sw.dissection.apply(chrono, sw.VARMA(p=1).fit(seqs))


def test_misuse_says_the_fix():
    with pytest.raises(sw.InputError, match=r"d\.suggestions"):
        sw.dissection.apply("chrono", forgetful())
    with pytest.raises(sw.InputError, match="torch module"):
        sw.dissection.apply(Suggestion("skip", {}, "", "", ""), 3)
    with pytest.raises(sw.UnsupportedError, match="no RNN, LSTM or GRU"):
        sw.dissection.apply(Suggestion("skip", {}, "", "", ""), torch.nn.Linear(2, 2))
    with pytest.raises(sw.UnsupportedError, match="two or more layers"):
        sw.dissection.apply(Suggestion("skip", {}, "", "", ""), forgetful())
    with pytest.raises(sw.UnsupportedError, match="two directions"):
        sw.dissection.apply(Suggestion("truncate", {"steps": 4.0}, "", "", ""), forgetful(bidirectional=True))
    with pytest.raises(sw.InputError, match="packed"):
        cut = sw.dissection.apply(Suggestion("truncate", {"steps": 4.0}, "", "", ""), forgetful())
        cut(torch.nn.utils.rnn.pack_sequence([torch.ones(T, 3)]))
