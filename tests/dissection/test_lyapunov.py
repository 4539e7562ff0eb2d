"""Lyapunov spectra against closed forms, published values and known laws, error bars and status included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import digamma, polygamma
from tests.dissection.systems import henon, logistic, lorenz_field, lorenz_start, runge_kutta

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.opening import opened
from statewise.dissection.spectrum import spectrum
from statewise.dissection.systems import JacobianSystem

lyapunov = sw.dissection.lyapunov


def test_lorenz():
    """Published (Sprott 2003): .906, 0, −14.572; the sum is −13.66667 exactly. RK4, h = .01; per unit of time. Within 3 standard errors."""
    h = 0.01
    batch = np.zeros((20, 5000, 0))
    subject = opened(lambda x, s: _lorenz_step(s, h), batch, initial=lorenz_start(20), dt=h)
    d = lyapunov(subject, exponents=3)
    error = d.data["standard_error"]
    assert d.status is Status.CONVERGED, d.reason
    assert (error < [0.02, 0.02, 0.03]).all()
    assert (np.abs(d.value - [0.906, 0.0, -14.572]) < 3 * error + 0.002).all()  # .002: rounded, and RK4's own error
    np.testing.assert_allclose(d.value.sum(), -41 / 3, atol=2e-3)
    np.testing.assert_allclose(d.value.sum(), d.data["log_det"], atol=1e-9)
    np.testing.assert_allclose(d.data["two_trajectories"], d.value[0], atol=0.01)
    dimension = sw.dissection.kaplan_yorke(subject, exponents=3)
    assert abs(dimension.value - 2.062) < 0.002
    assert dimension.interval[0] < 2.0622 < dimension.interval[1] + 0.001


def _lorenz_step(s: torch.Tensor, h: float) -> torch.Tensor:
    def field(s):
        x, y, z = s.unbind(1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], dim=1)

    return runge_kutta(field, s, h)


def test_the_two_lorenz_fields_agree():
    s = np.random.default_rng(0).normal(size=(4, 3))
    expected = runge_kutta(lorenz_field, s, 0.01)
    np.testing.assert_allclose(_lorenz_step(torch.from_numpy(s), 0.01).numpy(), expected, rtol=1e-13)


def test_henon():
    """The sum is ln .3 exactly; published .4192 (Sprott 2003)."""
    d = lyapunov(henon(20, 5000))
    assert d.status is Status.CONVERGED, d.reason
    np.testing.assert_allclose(d.value.sum(), np.log(0.3), atol=1e-12)
    assert abs(d.value[0] - 0.4192) < 3 * d.data["standard_error"][0]
    assert d.data["standard_error"][0] < 0.002


@pytest.mark.parametrize(("r", "expected"), [(3.2, 0.5 * np.log(0.16)), (2.5, np.log(0.5))])
def test_logistic_map_on_its_cycles(r, expected):
    d = lyapunov(logistic(r, np.array([0.3]), 2000))
    np.testing.assert_allclose(d.value, [expected], atol=1e-9)
    assert d.status is Status.CONVERGED, d.reason


def test_logistic_map_in_chaos():
    """r = 4: ln 2 exactly."""
    d = lyapunov(logistic(4.0, np.random.default_rng(0).uniform(0.1, 0.9, 20), 5000))
    assert d.status is Status.CONVERGED, d.reason
    assert abs(d.value[0] - np.log(2)) < 3 * d.data["standard_error"][0] < 0.01


def test_cat_map():
    d = lyapunov(np.tile(np.array([[2.0, 1.0], [1.0, 1.0]]), (400, 1, 1)))
    np.testing.assert_allclose(d.value, np.log((3 + np.sqrt(5)) / 2) * np.array([1, -1]), atol=1e-12)
    assert d.status is Status.CONVERGED
    assert sw.dissection.kaplan_yorke(np.tile(np.array([[2.0, 1.0], [1.0, 1.0]]), (400, 1, 1))).value == pytest.approx(
        2
    )


def gaussian(
    seed: int, size: int = 6, steps: int = 4000, scale: float = 0.8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """iid matrices with variance σ²/N, their exponents ½[ln(2σ²/N) + ψ((N−i+1)/2)] and exact standard errors √(ψ'((N−i+1)/2) / 4T)."""
    J = np.random.default_rng(seed).normal(scale=scale / np.sqrt(size), size=(steps, size, size))
    half = (size - np.arange(size)) / 2
    value = 0.5 * (np.log(2 * scale**2 / size) + digamma(half))
    return J, value, np.sqrt(polygamma(1, half) / (4 * steps))


def test_independent_gaussian_matrices():
    """Newman 1986: within 3.5 exact standard errors, and our error bars within 40 % of the exact ones (20 blocks: 16 %)."""
    J, value, error = gaussian(0)
    d = lyapunov(J, warmup=0)
    assert (np.abs(d.value - value) < 3.5 * error).all()
    np.testing.assert_allclose(d.data["standard_error"], error, rtol=0.4)


def test_error_bars_cover():
    """Of 240 intervals of ± 2 of our standard errors (Student t, 19 degrees: 94.0 %), all but a few hold the exact value: at least 88 %."""
    covered = []
    for seed in range(40):
        J, value, _ = gaussian(seed + 1, steps=400)
        d = lyapunov(J, warmup=0)
        covered += list((d.interval[0] <= value) & (value <= d.interval[1]))
    assert 0.88 <= np.mean(covered) <= 0.985


def test_status_is_right_for_stationary_matrices():
    """Stationary data converges at the nominal rate: at most 5 of 40 false alarms; a drift of the law is found every time."""
    alarms, found = 0, 0
    for seed in range(40):
        J, _, _ = gaussian(seed + 100, steps=400)
        alarms += lyapunov(J, warmup=0, tolerance=0.2).status is not Status.CONVERGED
        J[200:] *= 1.5
        found += lyapunov(J, warmup=0, tolerance=0.2).status is not Status.CONVERGED
    assert alarms <= 5
    assert found == 40


def test_too_wide_an_error_is_not_converged():
    J, _, _ = gaussian(0, steps=60)
    d = lyapunov(J, tolerance=0.01)
    assert d.status is Status.NOT_CONVERGED
    assert "standard error" in d.reason


@pytest.mark.parametrize(("gain", "expected"), [(1.5, 0.0652), (2.0, 0.1547), (3.0, 0.3103)])
def test_random_network_against_the_mean_field(gain, expected):
    """x' = g J tanh(x), N = 400: the mean field of infinitely many units, and what an independent estimator gave (.0587, .1550, .3041).

    Finite size and the draw of J: .01.
    """
    rng = np.random.default_rng(0)
    W = torch.from_numpy(gain * rng.normal(size=(400, 400)) / 20)
    layer = torch.nn.RNN(1, 400, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(W)
        layer.weight_ih_l0.zero_()
    start = rng.normal(size=(1, 2, 400))
    d = lyapunov(layer, np.zeros((2, 1000, 1)), initial=torch.from_numpy(start), exponents=1, warmup=200)
    assert abs(d.value[0] - expected) < 0.01 + 2 * d.data["standard_error"][0]
    assert abs(d.data["two_trajectories"] - d.value[0]) < 2e-3


def test_products_are_taken_in_the_order_of_time():
    """±.320808 of J₃J₂J₁; the wrong order gives ±.483525."""
    cycle = np.array([[[1.0, 1], [0, 1]], [[1, 0], [1, 1]], [[2, 0], [0, 0.5]]])
    d = lyapunov(np.tile(cycle, (400, 1, 1)), warmup=150)
    np.testing.assert_allclose(d.value, [0.320808, -0.320808], atol=1e-6)


def test_the_cell_state_is_part_of_the_state():
    """An LSTM that only keeps: its exponents are ln f, and −inf for the h that nobody carries; leaving out c would give −inf alone."""
    layer = torch.nn.LSTM(1, 3, batch_first=True, dtype=torch.float64)
    f = 0.99
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0[3:6] = np.log(f / (1 - f))
    d = lyapunov(layer, np.zeros((2, 100, 1)), exponents=6)
    np.testing.assert_allclose(d.value[:3], np.log(f), atol=1e-10)
    assert np.log(f) == pytest.approx(-0.01005, abs=1e-6)
    assert np.isneginf(d.value[3:]).all()
    assert d.status is Status.CONVERGED, d.reason
    np.testing.assert_allclose(d.data["two_trajectories"], np.log(f), atol=1e-6)


def test_nothing_is_left_of_a_nilpotent_state():
    J = np.tile(np.array([[0.0, 1.0], [0.0, 0.0]]), (50, 1, 1))
    assert np.isneginf(lyapunov(J).value).all()


def test_a_stack_has_the_exponents_of_its_layers():
    """Block triangular: the union, and each layer alone has its own; the top one also from two trajectories of the whole stack."""
    torch.manual_seed(1)
    layer = torch.nn.GRU(2, 5, num_layers=3, batch_first=True, dtype=torch.float64)
    x = np.random.default_rng(0).normal(size=(4, 600, 2))
    d = lyapunov(layer, x, exponents=5)
    assert len(d.value) == 15
    parts = np.concatenate(list(d.data["layers"].values()))
    np.testing.assert_array_equal(d.value, -np.sort(-parts))
    whole = spectrum(opened(layer, x).sites[0].system, 15)
    np.testing.assert_allclose(np.nanmean(whole.increments, axis=(0, 1)), d.value, atol=0.01)
    assert abs(d.data["two_trajectories"] - d.value[0]) < 0.01


def test_padding_does_not_count():
    """A ragged batch gives each sequence what it gives alone."""
    rng = np.random.default_rng(0)
    layer = torch.nn.RNN(2, 4, batch_first=True, dtype=torch.float64)
    x, lengths = rng.normal(size=(3, 90, 2)), [90, 50, 37]
    together = lyapunov(layer, x, lengths=torch.tensor(lengths), exponents=4, warmup=0)
    for b, length in enumerate(lengths):
        x[b, length:] = 1e3
    again = lyapunov(layer, x, lengths=torch.tensor(lengths), exponents=4, warmup=0)
    np.testing.assert_allclose(again.data["by_sequence"], together.data["by_sequence"], atol=1e-12)
    alone = lyapunov(layer, x[1:2, :50], exponents=4, warmup=0).data["log_det"]
    np.testing.assert_allclose(together.data["by_sequence"][1].sum(), alone, atol=1e-10)


def test_exponents_are_per_unit_of_time_and_in_nats():
    J = np.full((100, 1, 1), 2.0)
    np.testing.assert_allclose(lyapunov(J).value, np.log(2))
    np.testing.assert_allclose(lyapunov(J, dt=0.1).value, np.log(2) / 0.1)


def test_the_leading_exponents_are_those_of_the_whole():
    J, _, _ = gaussian(3, size=20, steps=500)
    whole, few = lyapunov(J, exponents=20), lyapunov(J, exponents=3)
    np.testing.assert_allclose(few.value, whole.value[:3], atol=0.02)
    assert not few.data["complete"]
    assert whole.data["complete"]


def test_strong_contraction_does_not_drown_the_lower_exponents():
    """diag(1, e^-5, e^-12) turned at random: the condition grows by e^12 a step, so that a QR every 20 steps would corrupt them."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(301, 3, 3)))[0]
    J = Q[1:] @ np.diag(np.exp([0.0, -5.0, -12.0])) @ Q[:-1].transpose(0, 2, 1)
    np.testing.assert_allclose(lyapunov(J, warmup=30).value, [0, -5, -12], atol=1e-6)


def test_matrices_have_no_second_trajectory():
    found = lyapunov(np.full((50, 1, 1), 0.5))
    assert np.isnan(found.data["two_trajectories"])
    assert not JacobianSystem.steps_anywhere


def test_an_hmms_forward_recursion_grows_as_its_likelihood():
    """α[t] = diag(b[t]) Pᵀ α[t−1] unnormalised: started at π and measured in the 1-norm its growth is the log-likelihood per step, to 1e-12
    of a plain forward pass; λ₁ is that to O(1/T), and the second exponent is the known one of two states, ln |det| − λ₁."""
    rng = np.random.default_rng(0)
    P, means = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([-1.0, 1.0])
    y = rng.normal(size=4000) + rng.choice(means, 4000)
    b = np.exp(-0.5 * (y[:, None] - means) ** 2) / np.sqrt(2 * np.pi)
    J = b[:, :, None] * P.T
    system = JacobianSystem(J[None])
    alpha, total = np.array([2 / 3, 1 / 3]), 0.0  # the law before the first step, so that step 0 moves it too
    grown, log = alpha[None, :, None], 0.0
    for t in range(4000):
        alpha = b[t] * (P.T @ alpha)
        total += np.log(alpha.sum())
        alpha /= alpha.sum()
        grown = system.push(t, grown)
        log += np.log(np.abs(grown).sum())
        grown = grown / np.abs(grown).sum()
    assert log == pytest.approx(total, rel=1e-12)
    d = lyapunov(J, warmup=0)
    assert d.value[0] == pytest.approx(total / 4000, abs=2 / 4000)
    assert d.value.sum() == pytest.approx(np.log(np.linalg.det(P)) + np.log(b).sum(axis=1).mean(), abs=1e-10)
