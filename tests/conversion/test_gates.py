"""Leaky integrators, ODE solvers and linear RNNs as gated or plain networks.

Oracles: theory §6 and §7 (closed forms), a NumPy twin of the solvers below, slopes of errors that must be those of the Taylor remainder.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from tests.conversion.test_bridges import data, random_varma

import statewise as sw
from statewise._core.errors import InputError, UnsupportedError

SEEDS = st.integers(0, 2**32 - 1)


def slope(errors, scales):
    return np.polyfit(np.log(scales), np.log(errors), 1)[0]


# --- the leaky integrator ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("f", "corner"), [(0.5, 0.722734), (0.9, 0.105458), (0.99, 0.0100504)])
def test_its_frequency_response(f, corner):
    """DC gain, Nyquist gain i/(1 + f), −3 dB at arccos(1 − (1 − f)²/(2f))."""
    model = sw.LeakyIntegrator(tau=-1 / np.log(f), gain=2.0)
    exact = np.arccos(1 - (1 - f) ** 2 / (2 * f))
    np.testing.assert_allclose(exact, corner, rtol=5e-6)
    size = np.abs(model.frequency_response([0.0, np.pi, exact])[:, 0])
    np.testing.assert_allclose(size, [2.0, 2 * (1 - f) / (1 + f), 2 / np.sqrt(2)], rtol=1e-12)
    impulse = np.zeros(5)
    impulse[0] = 1.0
    np.testing.assert_allclose(model.respond(impulse)[:, 0], 2 * (1 - f) * f ** np.arange(5), rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 3), st.sampled_from(["lstm", "gru"]))
def test_the_cell_path_is_exact_and_the_way_back_too(seed, units, to):
    """c[t] = f c[t−1] + i g[t] with the gates the module has, to 1e-10; tau and gain come back to 1e-10."""
    rng = np.random.default_rng(seed)
    model = sw.LeakyIntegrator(rng.uniform(0.5, 200, units), rng.uniform(0.2, 5, units), dt=rng.uniform(0.1, 2))
    net = sw.convert(model, to=to)
    x = rng.standard_normal((30, units))
    g = np.tanh(1e-3 * model.parameters["gain"] * x)
    c, want = np.zeros(units), []
    for row in g:
        c = model.forget * c + (1 - model.forget) * row
        want.append(c)
    h = net.module(torch.tensor(x)[None])[1][0].detach().numpy()
    np.testing.assert_allclose(np.arctanh(2 * h) if to == "lstm" else h, want, rtol=1e-10, atol=1e-15)
    back = sw.convert(net, to="leaky-integrator")
    for name in ("tau", "gain"):
        np.testing.assert_allclose(back.parameters[name], model.parameters[name], rtol=1e-10)


@pytest.mark.parametrize("to", ["lstm", "gru"])
def test_the_output_error_falls_with_the_square_of_the_amplitude(to):
    model = sw.LeakyIntegrator([3.0, 20.0], [1.0, 2.5])
    x = np.random.default_rng(0).standard_normal((60, 2))
    scales = np.array([0.1, 0.05, 0.02, 0.01])
    errors = [np.abs(sw.convert(model, to=to, scale=e).respond(x) - model.respond(x)).max() for e in scales]
    assert slope(errors, scales) == pytest.approx(2, abs=0.05)
    assert sw.convert(model, to=to, verify=x, scale=1e-3)[1] < 1e-5


@pytest.mark.parametrize("to", ["lstm", "gru"])
@pytest.mark.parametrize("f", [0.5, 0.9, 0.99])
def test_the_measured_bode_plot_is_within_a_tenth_of_a_decibel(to, f):
    """Driven by sines of amplitude 1 at scale 1e-3 until steady, whole periods projected."""
    model = sw.LeakyIntegrator(tau=-1 / np.log(f))
    net = sw.convert(model, to=to)
    for period in (4, 16, 64, 256):
        omega, settle = 2 * np.pi / period, int(20 / (1 - f)) // period * period + period
        t = np.arange(settle + 4 * period)
        out = net.respond(np.sin(omega * t))[settle:, 0]
        measured = 2 * np.abs(np.mean(out * np.exp(-1j * omega * t[settle:])))
        decibels = 20 * np.log10(measured / np.abs(model.frequency_response([omega])[0, 0]))
        assert abs(decibels) < 0.1


def test_gates_that_are_not_held_are_refused(tmp_path):
    net = sw.convert(sw.LeakyIntegrator(5.0), to="lstm")
    net.save(tmp_path / "m")
    x = np.arange(4.0)
    np.testing.assert_array_equal(sw.load(tmp_path / "m").respond(x), net.respond(x))
    net.module.rnn.weight_hh_l0.data[1] = 0.3
    with pytest.raises(UnsupportedError, match="not held"):
        sw.convert(net, to="leaky-integrator")
    two = sw.convert(sw.LeakyIntegrator([5.0, 6.0]), to="gru")
    two.module.readout.data[0, 1] = 0.3
    with pytest.raises(UnsupportedError, match="share inputs or outputs"):
        sw.convert(two, to="leaky-integrator")
    with pytest.raises(InputError, match="above 0"):
        sw.LeakyIntegrator(-1.0)
    with pytest.raises(InputError, match="3 entries"):
        sw.LeakyIntegrator([1.0, 2.0, 3.0], [1.0, 2.0])


# --- solvers ------------------------------------------------------------------------------------------------------------


def numpy_step(f, jacobian, method, h, dt):
    """The textbook rules for one state (n,), nothing shared with the module."""
    if method == "euler":
        return h + dt * f(h)
    if method == "midpoint":
        return h + dt * f(h + 0.5 * dt * f(h))
    if method == "rk4":
        a = f(h)
        b = f(h + 0.5 * dt * a)
        c = f(h + 0.5 * dt * b)
        return h + dt * (a / 6 + b / 3 + c / 3 + f(h + dt * c) / 6)
    z, term, total = dt * jacobian(h), np.eye(len(h)), np.zeros((len(h), len(h)))
    for k in range(1, 40):
        total += term / 1.0
        term = term @ z / (k + 1)
    return h + dt * total @ f(h)


def pendulum(h):
    return torch.stack([h[:, 1], -torch.sin(h[:, 0]) - 0.2 * h[:, 1]], dim=1)


def numpy_pendulum(h):
    return np.array([h[1], -np.sin(h[0]) - 0.2 * h[1]])


def pendulum_jacobian(h):
    return np.array([[0.0, 1.0], [-np.cos(h[0]), -0.2]])


METHODS = ("euler", "midpoint", "rk4", "exponential-euler")


@pytest.mark.parametrize("method", METHODS)
def test_the_cell_makes_the_solvers_own_steps(method):
    for f, twin, jacobian in (
        (pendulum, numpy_pendulum, pendulum_jacobian),
        (np.array([[0.0, 1.0], [-2.0, -0.3]]), lambda h: np.array([[0.0, 1.0], [-2.0, -0.3]]) @ h, lambda h: np.array([[0.0, 1.0], [-2.0, -0.3]])),
    ):  # fmt: skip
        ode = sw.ODE(f, method=method, dt=0.1)
        rnn, gap = sw.convert(ode, to="rnn", verify=[1.0, 0.5])
        assert gap == 0.0
        h, want = np.array([1.0, 0.5]), []
        for _ in range(20):
            h = numpy_step(twin, jacobian, method, h, 0.1)
            want.append(h)
        np.testing.assert_allclose(rnn.solve([1.0, 0.5], 20)[1:], want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("method", "order", "slack"),
    [("euler", 1, 0.05), ("midpoint", 2, 0.1), ("rk4", 4, 0.1), ("exponential-euler", 2, 0.1)],
)
def test_the_order_of_each_method_on_a_pendulum(method, order, slack):
    """Errors at t = 1 against RK4 with a thousand steps."""
    fine = sw.ODE(pendulum, method="rk4", dt=1e-3).solve([1.0, 0.5], 1000)[-1]
    steps = np.array([20, 40, 80])
    errors = [
        np.abs(sw.convert(sw.ODE(pendulum, method=method, dt=1 / n), to="rnn").solve([1.0, 0.5], n)[-1] - fine).max()
        for n in steps
    ]
    assert -slope(errors, steps) == pytest.approx(order, abs=slack)


def test_euler_on_exponential_decay():
    """Theory §6: y' = −2y over [0, 1]: errors for N = 10, 20, 40, 80; RK4 has order 4; the exponential rule is exact."""
    errors = [sw.ODE([[-2.0]], method="euler", dt=1 / n).solve([1.0], n)[-1, 0] - np.exp(-2) for n in (10, 20, 40, 80)]
    np.testing.assert_allclose(errors, [-0.027961, -0.013759, -0.006823, -0.003397], atol=5e-7)
    assert -slope(np.abs(errors), [10, 20, 40, 80]) == pytest.approx(1, abs=0.05)
    errors = [
        abs(sw.ODE([[-2.0]], method="rk4", dt=1 / n).solve([1.0], n)[-1, 0] - np.exp(-2)) for n in (10, 20, 40, 80)
    ]
    assert -slope(errors, [10, 20, 40, 80]) == pytest.approx(4, abs=0.1)
    np.testing.assert_allclose(
        sw.ODE([[-2.0]], method="exponential-euler", dt=0.5).solve([1.0], 2)[-1], np.exp(-2), rtol=1e-14
    )


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_the_weight_of_a_linear_cell_is_the_polynomial_of_the_rule(seed, n):
    A = np.random.default_rng(seed).standard_normal((n, n))
    z, eye = 0.1 * A, np.eye(n)
    powers = [eye, z, z @ z / 2, z @ z @ z / 6, z @ z @ z @ z / 24]
    want = {"euler": sum(powers[:2]), "midpoint": sum(powers[:3]), "rk4": sum(powers), "exponential-euler": expm(z)}
    for method, weight in want.items():
        module = sw.convert(sw.ODE(A, method=method, dt=0.1), to="rnn").module
        np.testing.assert_allclose(module.weight().detach(), weight, rtol=1e-10, atol=1e-12)


def test_gradients_of_the_cell(tmp_path):
    """With respect to the start and the matrix, by torch's differences; a module's weights are shared; only a matrix can be saved."""
    for method in METHODS:
        module = sw.convert(sw.ODE([[0.1, 0.5], [-0.4, -0.2]], method=method, dt=0.2), to="rnn").module
        h = torch.tensor([[0.3, -0.2]], dtype=torch.float64, requires_grad=True)

        def run(h, matrix, module=module):
            return torch.func.functional_call(module, {"matrix": matrix}, (h, 3))

        assert torch.autograd.gradcheck(run, (h, module.matrix.detach().clone().requires_grad_()))
    net = torch.nn.Linear(2, 2).double()
    rnn = sw.convert(sw.ODE(net, method="euler", dt=0.1), to="rnn")
    rnn.module(torch.ones(1, 2, dtype=torch.float64), 3).sum().backward()
    assert net.weight.grad.abs().sum() > 0
    assert rnn.n_parameters == 6
    with pytest.raises(UnsupportedError, match="never hold code"):
        sw.ODE(net).save(tmp_path / "m")
    with pytest.raises(UnsupportedError, match="memory depends on the state"):
        sw.ODE(net).memory()
    with pytest.raises(InputError, match=r"shape \(2, 3\); pass a square matrix"):
        sw.ODE(np.zeros((2, 3)))
    assert sw.ODE([[-0.5]], method="euler", dt=1.0).memory().half_life == pytest.approx(1.0)


# --- a linear RNN at a small scale ------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(
    SEEDS,
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 1),
    st.sampled_from(["tanh-rnn", "gru", "lstm"]),
)
def test_the_embedding_nears_the_linear_network(seed, k, p, q, u, to):
    model, seqs = random_varma(seed, k, p, q, u), data(seed, k, u)
    steady = sw.convert(model, to="rnn", gain="steady")
    made = sw.convert(steady, to=to, scale=1e-5)
    size = 1 + np.abs(steady.predict(seqs).mean).max()
    np.testing.assert_allclose(made.predict(seqs).mean, steady.predict(seqs).mean, atol=1e-5 * size**3)
    np.testing.assert_allclose(made.predict(seqs).variance, steady.predict(seqs).variance, rtol=1e-10)
    assert made.memory().rate >= 0


@pytest.mark.parametrize("to", ["tanh-rnn", "gru", "lstm"])
def test_its_error_falls_with_the_square_of_the_scale(to):
    model = sw.StateSpace([[0.9, 0.2], [0.0, 0.5]], [[1.0, 0.5]], np.eye(2), [[0.7]])
    y = sw.convert(model, to="rnn", gain="steady").sample(60, seed=0)
    steady = sw.convert(model, to="rnn", gain="steady")
    scales = np.array([0.02, 0.01, 0.005, 0.002])
    errors = [np.abs(sw.convert(model, to=to, scale=e).predict(y).mean - steady.predict(y).mean).max() for e in scales]
    assert slope(errors, scales) == pytest.approx(2, abs=0.1)
    gaps = [np.abs(sw.convert(steady, to=to, scale=e).log_prob(y) - steady.log_prob(y)).max() for e in scales]
    assert slope(gaps, scales) == pytest.approx(2, abs=0.1)
    assert sw.convert(steady, to=to, scale=1e-4, verify=y)[1] < 1e-5
    with pytest.raises(UnsupportedError, match="missing entries"):
        sw.convert(model, to=to).predict([1.0, np.nan])
