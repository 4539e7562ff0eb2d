"""Frequency responses against the theory's closed forms (section 7), scipy.signal, and sines through the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.opening import opened

frequency_response = sw.dissection.frequency_response


def leak(f: float, gain: float = 1.0):
    """A GRU unit whose z keeps f: h ← f h + (1 − f) tanh(gain x)."""
    layer = torch.nn.GRU(1, 1, batch_first=True).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0[1] = np.log(f / (1 - f))
        layer.weight_ih_l0[2] = gain / (1 - f)
    return layer


@pytest.mark.parametrize(("f", "cutoff"), [(0.5, 0.722734), (0.9, 0.105458), (0.99, 0.0100504)])
def test_a_leaky_integrator(f, cutoff):
    """i / (1 − f e^{−jω}) with i = 1: DC 1/(1−f), Nyquist 1/(1+f), −3 dB at arccos(1 − (1−f)²/2f)."""
    d = frequency_response(leak(f), np.zeros((2, 10, 1)))
    assert d.status is Status.CONVERGED, d.reason
    omega = d.data["frequency"]
    np.testing.assert_allclose(d.data["response"][:, 0, 0], 1 / (1 - f * np.exp(-1j * omega)), rtol=1e-9)
    assert d.value == pytest.approx(1 / (1 - f))
    assert d.data["dc_gain"] == pytest.approx(1 / (1 - f))
    assert d.data["nyquist_gain"] == pytest.approx(1 / (1 + f))
    assert d.data["cutoffs"] == pytest.approx([np.arccos(1 - (1 - f) ** 2 / (2 * f))])
    assert d.data["cutoffs"][0] == pytest.approx(cutoff, rel=1e-5)
    assert d.data["probe_error"] < 1e-4
    assert "low-pass" in d.meaning
    assert d.plot().axes


@pytest.mark.parametrize("to", ["lstm", "gru"])
def test_a_leaky_integrator_built_as_a_network(to):
    """τ = 20: the converted network's gate is that time constant, its −3 dB point the integrator's, and sines agree within .1 dB."""
    network = sw.convert(sw.LeakyIntegrator(tau=20.0), to=to).module
    f = np.exp(-1 / 20)
    d = frequency_response(network, np.zeros((1, 10, 1)))
    assert d.data["cutoffs"] == pytest.approx([np.arccos(1 - (1 - f) ** 2 / (2 * f))])
    decibels = 20 * np.log10(d.data["probe_gain"] / d.data["probe_expected"])
    assert np.abs(decibels).max() < 0.1
    np.testing.assert_allclose(sw.dissection.time_constants(network, np.zeros((1, 10, 1))).value, 20.0, rtol=1e-6)


def test_below_a_keep_of_point_17_there_is_no_cutoff():
    """It exists only for f ≥ 3 − 2√2 = .171573."""
    assert len(frequency_response(leak(0.16), np.zeros((1, 5, 1))).data["cutoffs"]) == 0
    assert len(frequency_response(leak(0.18), np.zeros((1, 5, 1))).data["cutoffs"]) == 1


def test_an_lstm_with_held_gates():
    """The theory's cell: c ← f c + i g, read through o; H = o i w / (1 − f e^{−jω}) at the origin, within .1 dB by small sines."""
    layer = torch.nn.LSTM(1, 1, batch_first=True).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0[:] = torch.tensor([-1.0, 2.0, 0.0, 1.0])
        layer.weight_ih_l0[2] = 0.7
    i, f, o = (1 / (1 + np.exp(-b)) for b in (-1.0, 2.0, 1.0))
    d = frequency_response(layer, np.zeros((1, 10, 1)))
    expected = o * i * 0.7 / (1 - f * np.exp(-1j * d.data["frequency"]))
    np.testing.assert_allclose(d.data["response"][:, 0, 0], expected, rtol=1e-9)
    decibels = 20 * np.log10(d.data["probe_gain"] / d.data["probe_expected"])
    assert np.abs(decibels).max() < 0.1


def test_against_scipy():
    """scipy.signal's dfreqresp and group_delay of (A, B, CA, CB), for a resonant linear network with three outputs and two inputs."""
    rng = np.random.default_rng(0)
    A = 0.95 * np.linalg.qr(rng.normal(size=(3, 3)))[0]
    B = rng.normal(size=(3, 2))
    step = lambda x, s: s @ torch.from_numpy(A.T) + x @ torch.from_numpy(B.T)  # noqa: E731  # a formula
    d = frequency_response(step, rng.normal(size=(2, 30, 2)), initial=np.zeros(3), dt=0.5)
    assert d.status is Status.CONVERGED, d.reason
    omega = d.data["frequency"]
    for k in range(2):
        system = signal.StateSpace(A, B[:, k : k + 1], A, B[:, k : k + 1], dt=1.0)
        for out in range(3):
            one = signal.StateSpace(A, B[:, k : k + 1], A[out : out + 1], B[out : out + 1, k : k + 1], dt=1.0)
            _, expected = signal.dfreqresp(one, omega)
            np.testing.assert_allclose(d.data["response"][:, out, k], expected.ravel(), atol=1e-9)
        assert system.A.shape == (3, 3)
    given, out = d.data["pair"]
    numerator, denominator = signal.ss2tf(A, B, A[out : out + 1], B[out : out + 1], input=given)
    _, delay = signal.group_delay((numerator.ravel(), denominator), omega)
    np.testing.assert_allclose(d.data["group_delay"], 0.5 * delay, atol=1e-6)
    assert d.value == pytest.approx(np.linalg.norm(d.data["response"], 2, axis=(1, 2)).max(), rel=1e-2)
    assert d.value >= d.data["gain"].max()


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_sines_through_a_random_stack_agree(name):
    """Two layers, the top one read: 1e-3 at an amplitude of 1e-5."""
    torch.manual_seed(0)
    layer = getattr(torch.nn, name)(2, 5, num_layers=2, batch_first=True).double()
    d = frequency_response(layer, torch.randn(3, 40, 2).double())
    assert d.data["response"].shape == (256, 5, 2)
    assert d.data["probe_error"] < 1e-3
    assert d.status is Status.CONVERGED, d.reason


def test_refused_where_sines_do_not_settle():
    layer = torch.nn.RNN(1, 1, bias=False, batch_first=True).double()
    with torch.no_grad():
        layer.weight_hh_l0.fill_(-2.0)  # a cycle of two: the only fixed point is unstable
    d = frequency_response(layer, np.random.default_rng(0).normal(size=(1, 40, 1)) * 1e-3)
    assert d.status is Status.REFUSED
    assert frequency_response(np.ones((5, 1, 1))).status is Status.REFUSED
    assert frequency_response(lambda x, s: 0.5 * s, np.zeros((1, 5, 0)), initial=np.ones(1)).status is Status.REFUSED


def test_without_a_fixed_point_the_mean_state_serves():
    subject = opened(lambda x, s: s + 0.0 * x + 1.0 - 0.1 * torch.tanh(s), np.zeros((1, 5, 1)), initial=np.zeros(1))
    d = frequency_response(subject)
    assert d.status is Status.NOT_CONVERGED
    assert "mean state" in d.reason
