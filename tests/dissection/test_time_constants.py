"""Time constants against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.opening import opened
from statewise.dissection.systems import JacobianSystem
from statewise.dissection.time_constants import autocorrelation_time, averages

time_constants = sw.dissection.time_constants


def silent(kind, hidden: int = 4, **bias: float):
    """A layer whose gates see their biases only: every weight is 0."""
    layer = kind(1, hidden, batch_first=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    return layer.double()


def test_one_set_of_gates_has_four_answers():
    """f = σ(N(3, 2²)), by quadrature: 20.58, 7.205, 5.494 and 148.9."""
    z = np.linspace(-9, 9, 4001)
    w = np.exp(-(z**2) / 2)
    found = averages(expit(3 + 2 * z), w / w.sum())
    assert -1 / np.log(expit(3.0)) == pytest.approx(20.58, abs=0.005)
    assert found["arithmetic"] == pytest.approx(7.205, abs=5e-4)
    assert found["geometric"] == pytest.approx(5.494, abs=5e-4)
    assert found["per_step"] == pytest.approx(148.9, abs=0.05)


def test_a_layer_with_gates_that_vary_has_the_same_four_answers():
    """An LSTM whose forget gate is σ(3 + 2 x), x iid normal: the estimators of section 7 along a trajectory, within 4 standard errors."""
    layer = silent(torch.nn.LSTM, 2)
    with torch.no_grad():
        layer.weight_ih_l0[2:4, 0] = 2.0
        layer.bias_ih_l0[2:4], layer.bias_hh_l0[2:4] = 1.0, 2.0  # two biases: their sum counts
    x = np.random.default_rng(0).normal(size=(20, 2000, 1))
    d = time_constants(layer, x)
    f = expit(3 + 2 * x)
    np.testing.assert_allclose(d.value, -1 / np.log(f).mean(), rtol=1e-10)
    np.testing.assert_allclose(d.data["bias"]["layer 0"], 20.58, atol=0.005)
    np.testing.assert_allclose(d.data["arithmetic"]["layer 0"], -1 / np.log(f.mean()), rtol=1e-10)
    np.testing.assert_allclose(d.data["per_step"]["layer 0"], (-1 / np.log(f)).mean(), rtol=1e-10)
    assert (d.interval[0] < 5.494).all()
    assert (d.interval[1] > 5.494).all()
    assert (d.interval[1] - d.interval[0] < 0.5).all()
    np.testing.assert_allclose(d.data["system"]["layer 0"][:2], d.value, rtol=0.02)  # no loop: the exponents are ⟨ln f⟩
    assert d.status is Status.CONVERGED
    for panel in d.panels:
        assert panel.layers
    assert d.plot().axes


@pytest.mark.parametrize(("f", "tau"), [(0.99, 99.4992), (0.5, 1.442695)])
def test_a_constant_forget_gate(f, tau):
    layer = silent(torch.nn.LSTM)
    with torch.no_grad():
        layer.bias_ih_l0[4:8] = np.log(f / (1 - f))
    x = np.zeros((2, 60, 1))
    d = time_constants(layer, x)
    np.testing.assert_allclose(d.value, tau, rtol=1e-6)
    np.testing.assert_allclose(d.data["system"]["layer 0"][:4], tau, rtol=1e-6)
    np.testing.assert_allclose(time_constants(layer, x, dt=0.1).value, tau / 10, rtol=1e-6)
    np.testing.assert_allclose(time_constants(layer, x, dt=0.1).data["system"]["layer 0"][:4], tau / 10, rtol=1e-6)


def test_half_the_steps_of_twice_the_length():
    """Δt -> 2Δt turns f into f²: the same τ."""
    layer = silent(torch.nn.LSTM)
    found = []
    for dt, f in ((1.0, 0.9), (2.0, 0.81)):
        with torch.no_grad():
            layer.bias_ih_l0[4:8] = np.log(f / (1 - f))
        found.append(time_constants(layer, np.zeros((1, 40, 1)), dt=dt).value)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_chrono_initialisation_reaches_its_horizon():
    """b_f = ln(T − 1) gives −1 / ln(1 − 1/T) = 99.499 for T = 100."""
    layer = silent(torch.nn.LSTM)
    with torch.no_grad():
        layer.bias_ih_l0[4:8] = np.log(99.0)
    assert time_constants(layer, np.zeros((1, 40, 1))).value == pytest.approx(99.499, abs=1e-3)


def test_the_default_initialisation_forgets_at_once():
    torch.manual_seed(0)
    layer = torch.nn.LSTM(3, 64, batch_first=True)
    d = time_constants(layer, torch.randn(8, 100, 3))
    assert np.median(d.value) == pytest.approx(1.44, abs=0.1)
    assert "100 % of units have a gate τ below 5 steps" in d.meaning


def test_z_keeps_in_a_gru_and_lets_go_in_a_minimal_one():
    gru = silent(torch.nn.GRU)
    with torch.no_grad():
        gru.bias_hh_l0[4:8] = np.log(9.0)
    np.testing.assert_allclose(time_constants(gru, np.zeros((1, 40, 1))).value, -1 / np.log(0.9), rtol=1e-6)
    minimal = sw.nn.MinGRU(1, 4, batch_first=True).double()
    with torch.no_grad():
        for parameter in minimal.parameters():
            parameter.zero_()
        minimal.bias_ih_l0[:4] = -np.log(9.0)
    np.testing.assert_allclose(time_constants(minimal, np.zeros((1, 40, 1))).value, -1 / np.log(0.9), rtol=1e-6)


def test_the_systems_own_time_can_be_far_from_the_gates():
    """At the origin the eigenvalue is f + i o w: f = .9, i = o = ½, w = .38 gives .995, a τ of 199.5 beside a gate τ of 9.5."""
    layer = silent(torch.nn.LSTM, 1)
    with torch.no_grad():
        layer.bias_ih_l0[1] = np.log(9.0)
        layer.weight_hh_l0[2] = 0.38
    d = time_constants(layer, np.zeros((1, 300, 1)))
    np.testing.assert_allclose(d.value, -1 / np.log(0.9), rtol=1e-6)
    np.testing.assert_allclose(d.data["system"]["layer 0"][0], -1 / np.log(0.995), rtol=1e-4)
    assert "as a whole, weights included, keeps τ = 199" in d.meaning or "τ = 200" in d.meaning


def test_without_gates_there_is_the_system_alone():
    d = time_constants(np.tile(np.diag([0.9, 0.5]), (200, 1, 1)), warmup=100)
    np.testing.assert_allclose(d.value, -1 / np.log([0.9, 0.5]), rtol=1e-10)
    assert "no gates" in d.meaning
    rotation = time_constants(np.tile(np.diag([1.0, 2.0]), (60, 1, 1)), warmup=40)
    assert np.isinf(rotation.value).all()
    assert "does not forget" in rotation.meaning


@pytest.mark.parametrize("a", [0.0, 0.5, 0.9])
def test_autocorrelation_of_a_leak_is_its_time_constant(a):
    """An AR(1): −1 / ln a, and 0 for white noise; 80 000 steps, 4 standard errors of the integrated time by Madras & Sokal."""
    rng = np.random.default_rng(0)
    system = JacobianSystem(np.zeros((40, 2000, 3, 3)))
    noise = rng.normal(size=(40, 2200, 3))
    s = np.zeros((40, 2200, 3))
    for t in range(1, 2200):
        s[:, t] = a * s[:, t - 1] + noise[:, t]
    system.states = s[:, -2001:]
    found = autocorrelation_time(system)
    integrated = 0.5 * (1 + a) / (1 - a)
    error = integrated * np.sqrt(2 * (2 * 5 * integrated + 1) / 80_000)
    high, low = integrated + 4 * error, integrated - 4 * error
    tau = lambda i: 0.0 if i <= 0.5 else -1 / np.log((2 * i - 1) / (2 * i + 1))  # noqa: E731  # a formula
    assert ((tau(low) <= found) & (found <= tau(high))).all()
    assert tau(integrated) == pytest.approx(-1 / np.log(a) if a else 0.0)


def test_autocorrelation_is_corrected_for_the_mean():
    """One short series of an AR(1): without the correction the integrated time of T = 120, a = .8 comes out a tenth too low on average."""
    rng = np.random.default_rng(1)
    a, steps, units = 0.8, 120, 400
    s = np.zeros((1, steps + 101, units))
    for t in range(1, steps + 101):
        s[:, t] = a * s[:, t - 1] + rng.normal(size=units)
    system = JacobianSystem(np.zeros((1, steps, 1, 1)))
    system.states = s[:, -steps - 1 :]
    tau = autocorrelation_time(system)
    integrated = 0.5 / np.tanh(0.5 / tau)
    expected = 0.5 * (1 + a) / (1 - a)
    error = np.nanstd(integrated) / np.sqrt(units)
    assert abs(np.nanmean(integrated) - expected) < 0.06 * expected + 3 * error


def test_a_decay_between_steps_shortens_the_gate():
    """A time-aware layer: the state fades by its decay before every step, and so does what the gate keeps."""
    torch.manual_seed(0)
    layer = sw.nn.LSTM(1, 3, batch_first=True, time_constant=3.0).double()
    elapsed = torch.from_numpy(np.random.default_rng(0).uniform(0.5, 2, (2, 30)))
    subject = opened(layer, {"input": torch.randn(2, 30, 1, dtype=torch.float64), "elapsed": elapsed})
    system = subject.sites[0].system
    assert subject.replay_error < 1e-12
    expected = np.log(system.gates["f"] * system.decay[:, :, 3:]).mean(axis=(0, 1))
    np.testing.assert_allclose(time_constants(subject).value, -1 / expected, rtol=1e-10)
