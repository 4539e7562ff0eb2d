"""The monitor: its readings are those of a dissection, and the first step that is not finite is found where it was planted."""

from __future__ import annotations

import csv
import importlib.util
import math

import numpy as np
import pytest
import torch
from tests.dissection.networks import forgetful, inputs, linear, positive

import statewise as sw


def planted_nan() -> torch.Tensor:
    return torch.tensor(float("nan"))


def test_a_reading_is_what_a_dissection_of_the_same_batch_says(tmp_path):
    net, x = forgetful(), inputs()
    monitor = sw.dissection.Monitor(tmp_path / "run" / "monitor.csv", every=1, needs=40, sequences=8)
    loss = net(x)[0].pow(2).mean()
    loss.backward()
    monitor.step(net, x, loss)
    (reading,) = monitor.readings
    d = sw.dissect(net, x, needs=40, exponents=1)
    assert reading.gradient_half_life == pytest.approx(d.gradient_half_life.value)
    assert (reading.half_life_low, reading.half_life_high) == pytest.approx(d.gradient_half_life.interval)
    assert reading.gradient_left == pytest.approx(d.gradient_flow.data["curve"][40])
    assert reading.lambda_1 == pytest.approx(d.lyapunov.value[0])
    assert reading.gradient_norm == pytest.approx(math.sqrt(sum(float(p.grad.pow(2).sum()) for p in net.parameters())))
    with (tmp_path / "run" / "monitor.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["gradient_half_life"]) == reading.gradient_half_life
    assert int(row["step"]) == 0
    assert monitor.to_frame()["lambda_1"].tolist() == [reading.lambda_1]


def test_it_looks_every_so_many_steps_and_leaves_the_network_alone():
    net, x = forgetful(), inputs()
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    monitor = sw.dissection.Monitor(every=3)
    for _ in range(7):
        monitor.step(net, x, 1.0)
    assert [reading.step for reading in monitor.readings] == [0, 3, 6]
    assert torch.equal(torch.rand(2), expected)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_probe_is_looked_at_with_its_own_loss():
    net, x = linear(0.9), positive(30)
    monitor = sw.dissection.Monitor(every=1, probe=x, loss=lambda result: result[0][:, -1].sum(dim=1))
    monitor.step(net, "not looked at", 0.5)
    assert monitor.readings[0].gradient_half_life == pytest.approx(np.log(2) / -np.log(0.9), rel=1e-3)
    with pytest.raises(sw.InputError, match="`probe`"):
        sw.dissection.Monitor(loss=lambda result: result)


@pytest.mark.parametrize("batch_first", [True, False])
def test_only_a_few_sequences_are_looked_at(batch_first):
    """The reading of all sequences' first two is that of a batch of two."""
    net = forgetful()
    net.batch_first = batch_first
    x = inputs() if batch_first else inputs().transpose(0, 1)
    two = x[:2] if batch_first else x[:, :2]
    monitor = sw.dissection.Monitor(every=1)
    monitor.step(net, x, 1.0)
    monitor.step(net, two, 1.0)
    first, second = monitor.readings
    assert first.lambda_1 == second.lambda_1


def test_arguments_of_a_larger_module_are_cut_together():
    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = forgetful()

        def forward(self, x, weight, scale):
            return self.rnn(x)[0] * weight[:, None, None] * scale

    monitor = sw.dissection.Monitor(every=1)
    monitor.step(Masked(), (inputs(), torch.ones(8), torch.tensor(2.0)), 1.0)
    monitor.step(Masked(), {"x": inputs(), "weight": torch.ones(8), "scale": torch.tensor(2.0)}, 1.0)
    assert monitor.readings[0].lambda_1 == monitor.readings[1].lambda_1


# --- the first step that is not finite --------------------------------------------------------------------------------


def message(net, x, loss=None):
    monitor = sw.dissection.Monitor(every=100)
    for _ in range(3):
        monitor.step(net, x, 1.0)
    with pytest.warns(RuntimeWarning, match="training step 3"):
        monitor.step(net, x, planted_nan() if loss is None else loss)
    monitor.step(net, x, planted_nan())  # once is enough
    step, text = monitor.first_not_finite
    assert step == 3
    return text


def test_an_input_that_is_not_finite_is_found():
    x = inputs()
    x[5, 17, 1] = float("nan")
    monitor = sw.dissection.Monitor(every=100)
    with pytest.warns(RuntimeWarning, match=r"not finite from step 17 of sequence 5 on \(column 1\); look at the data"):
        monitor.step(forgetful(), x, planted_nan())


def test_a_state_that_overflows_is_found_with_its_layer_step_and_unit():
    """State 2 of layer 1 grows by 1e20 a step: past float32 at its second step, past float64's 1e308 at step 15."""
    stack = torch.nn.RNN(4, 4, 2, batch_first=True, nonlinearity="relu", bias=False).double()
    with torch.no_grad():
        for depth in range(2):
            getattr(stack, f"weight_ih_l{depth}").copy_(torch.eye(4))
            getattr(stack, f"weight_hh_l{depth}").copy_(0.5 * torch.eye(4))
        stack.weight_hh_l1[2, 2] = 1e20
    x = torch.zeros(3, 40, 4, dtype=torch.float64)
    x[1, :, 2] = 1.0
    text = message_of(stack, x)
    assert "number 2 of the state of the network, layer 1, becomes infinite at step 16 of sequence 1" in text
    assert "lower the learning rate" in text


def message_of(net, x):
    monitor = sw.dissection.Monitor(every=100, stop=True)
    with pytest.raises(sw.NumericalError) as caught:
        monitor.step(net, x, planted_nan())
    return str(caught.value)


def test_an_overflow_of_the_networks_own_precision_is_named_as_such():
    net = linear(1e5)
    assert "overflows the network's precision at step 8" in message_of(net, torch.ones(2, 20, 4))


def test_weights_that_are_not_finite_blame_the_update_before():
    net, x = forgetful(), inputs()
    with torch.no_grad():
        net.weight_hh_l0[3, 2] = float("nan")
    assert "weights weight_hh_l0 are not finite, so it was the update of the step before" in message_of(net, x)


def test_a_loss_that_breaks_after_the_layers_is_said_to():
    assert "arose after them" in message(forgetful(), inputs())


def test_a_gradient_that_is_not_finite_is_found_before_it_is_used():
    net, x = forgetful(), inputs()
    net.bias_ih_l0.grad = torch.full_like(net.bias_ih_l0, float("inf"))
    monitor = sw.dissection.Monitor(every=1)
    with pytest.warns(RuntimeWarning, match="the gradient of bias_ih_l0 is not finite while the loss still is"):
        monitor.step(net, x, 1.0)


def test_dissect_says_the_same():
    x = inputs()
    x[5, 17, 1] = float("nan")
    with pytest.raises(sw.NumericalError, match="step 17 of sequence 5"):
        sw.dissect(forgetful(), x)


# --- in our own training, and elsewhere -------------------------------------------------------------------------------


def test_a_fit_is_monitored_and_not_changed():
    """Invariance: to the last bit the same parameters with a monitor and without."""
    seqs = sw.datasets.load("nile")
    monitor = sw.dissection.Monitor(every=5, needs=10)
    with_it = sw.Recurrent(cell="gru", hidden=4).fit(seqs, epochs=8, monitor=monitor)
    without = sw.Recurrent(cell="gru", hidden=4).fit(seqs, epochs=8)
    assert all(np.array_equal(with_it.parameters[name], without.parameters[name]) for name in without.parameters)
    assert [reading.step for reading in monitor.readings] == [0, 5]
    assert np.isfinite(monitor.readings[-1].gradient_half_life)
    assert np.isfinite([reading.loss for reading in monitor.readings]).all()
    with pytest.raises(sw.InputError, match="`monitor`"):
        sw.Recurrent(cell="gru", hidden=4).fit(seqs, epochs=1, monitor=3)


def test_a_carried_fit_is_monitored_too():
    seqs = sw.datasets.load("nile")
    monitor = sw.dissection.Monitor(every=1)
    sw.Recurrent(cell="lstm", hidden=4).fit(seqs, epochs=2, window=16, carry=True, monitor=monitor)
    assert len(monitor.readings) > 2
    assert np.isfinite(monitor.readings[-1].lambda_1)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_tensorboard_is_asked_for_politely(tmp_path):
    with pytest.raises(sw.MissingDependencyError, match=r"statewise\[tensorboard\]"):
        sw.dissection.Monitor(tensorboard=tmp_path)


def test_tensorboard_gets_what_the_file_gets(tmp_path, monkeypatch):
    """A writer that only remembers stands for TensorBoard's."""
    import sys
    import types

    class Writer:
        def __init__(self, folder):
            self.folder, self.said, self.closed = folder, {}, False

        def add_scalar(self, name, value, step):
            self.said[name, step] = value

        def flush(self):
            pass

        def close(self):
            self.closed = True

    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    with sw.dissection.Monitor(every=1, tensorboard=tmp_path) as monitor:
        monitor.step(forgetful(), inputs(), 0.25)
    board = monitor._board
    assert board.closed
    assert board.said["dissection/loss", 0] == 0.25
    assert board.said["dissection/lambda_1", 0] == monitor.readings[0].lambda_1


@pytest.mark.parametrize("option", ["every", "sequences", "window", "needs"])
def test_options_are_judged(option):
    with pytest.raises(sw.InputError, match=f"`{option}`"):
        sw.dissection.Monitor(**{option: -1})


def test_a_network_that_cannot_be_opened_is_said_so_at_once():
    with pytest.raises(sw.InputError, match="without a recurrent layer"):
        sw.dissection.Monitor(every=1).step(torch.nn.Linear(2, 2), torch.ones(3, 2), 1.0)
