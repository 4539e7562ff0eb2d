"""The steady state of the filter, the stationary law of a system, and memory.

Oracles: closed forms of the local level model, scipy's Lyapunov and Riccati solvers, and the published likelihood of the Nile.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.inference.problems import Q_AND_GAIN, local_level, log_prob
from tests.reference import kalman as ref

from statewise.inference import filtering, smoothing, steady
from statewise.inference.system import stationary_start
from statewise.inference.system import system as make_system
from statewise.sequences.sequences import Sequences

# --- closed forms of the local level model ----------------------------------------------------------------------------


@pytest.mark.parametrize(("q", "gain"), Q_AND_GAIN)
@pytest.mark.parametrize("R", [1.0, 250.0])
def test_local_level_steady_state(q, gain, R):
    """K = (−q + √(q² + 4q))/2, filter variance R·K, smoother variance R K/(2 − K), their ratio 1/(2 − K) in the middle."""
    exact = (-q + np.sqrt(q * q + 4 * q)) / 2
    assert abs(exact - gain) < 5e-7
    system = make_system(**local_level(q, R))
    K, F, P, settled = steady.predictor_gain(system)
    assert settled
    np.testing.assert_allclose(K, [[exact]], rtol=1e-12)
    np.testing.assert_allclose(F, P + R, rtol=1e-12)
    seqs = Sequences.from_arrays([np.random.default_rng(0).standard_normal(601)])
    filtered, smoothed = (
        filtering.run_filter(system, seqs).cov_filt[300, 0, 0],
        smoothing.smooth(system, seqs)[1][300, 0, 0],
    )
    np.testing.assert_allclose(filtered, R * exact, rtol=1e-10)
    np.testing.assert_allclose(smoothed, R * exact / (2 - exact), rtol=1e-10)
    np.testing.assert_allclose(smoothed / filtered, 1 / (2 - exact), rtol=1e-10)


@pytest.mark.parametrize(("q", "gain"), Q_AND_GAIN)
def test_local_level_smoother_has_its_kernel(q, gain):
    """Far from the ends the smoothed level is Σ w_j y[t−j] with w_j = K/(2 − K) (1 − K)^|j|."""
    K = (-q + np.sqrt(q * q + 4 * q)) / 2
    impulse = np.zeros(801)
    impulse[400] = 1.0
    mean, _ = smoothing.smooth(make_system(**local_level(q)), Sequences.from_arrays([impulse]))
    lags = np.arange(-20, 21)
    np.testing.assert_allclose(mean[400 + lags, 0], K / (2 - K) * (1 - K) ** np.abs(lags), atol=1e-12)


def test_nile():
    """Published: Durbin & Koopman 2012, §2.10.2 has the variances; −633.4646 with the constants for the diffuse observation."""
    from statewise.sequences.datasets import load

    sys = local_level(1469.178 / 15098.53, 15098.53)
    np.testing.assert_allclose(log_prob(make_system(**sys), load("nile")), [-633.4646], atol=1e-4)


def test_stationary_start():
    """P = A P A' + Q and (I − A) m = b; Oracle: scipy's Lyapunov solver. None for a root on or outside the circle."""
    from scipy.linalg import solve_discrete_lyapunov

    rng = np.random.default_rng(0)
    for n in (1, 2, 6):
        sys = ref.random_system(rng, n, 1, radius=0.999)
        mean, cov = stationary_start(sys["A"], sys["Q"], sys["b"])
        np.testing.assert_allclose(cov, solve_discrete_lyapunov(sys["A"], sys["Q"]), rtol=1e-8)
        np.testing.assert_allclose(sys["A"] @ mean + sys["b"], mean, rtol=1e-9, atol=1e-9)
    assert stationary_start(np.eye(2), np.eye(2)) is None
    assert stationary_start(np.array([[1.2]]), np.eye(1)) is None
    mean, cov = stationary_start(np.array([[1 - 1e-9]]), np.eye(1))
    np.testing.assert_allclose(cov, 1 / (1 - (1 - 1e-9) ** 2), rtol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_steady_gain_solves_the_riccati_equation(seed):
    """Oracle: scipy's solve_discrete_are with the cross term."""
    from scipy.linalg import solve_discrete_are

    rng = np.random.default_rng(seed)
    sys = ref.random_system(rng, 3, 2)
    P = solve_discrete_are(sys["A"].T, sys["C"].T, sys["Q"], sys["R"], s=sys["S"])
    F = sys["C"] @ P @ sys["C"].T + sys["R"]
    K = (sys["A"] @ P @ sys["C"].T + sys["S"]) @ np.linalg.inv(F)
    have = steady.predictor_gain(make_system(**sys))
    assert have[3]
    for one, two in zip(have[:3], (K, F, P), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-11)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_spectral_radius():
    """A shift has 0, a unit root 1, and a small radius in many dimensions is not taken for a shift."""
    np.testing.assert_allclose(steady.spectral_radius(np.diag([0.3, -0.7])), 0.7, rtol=1e-14)
    assert steady.spectral_radius(np.eye(8, k=1)) == 0.0
    assert steady.spectral_radius(5 * np.eye(12, k=-1)) == 0.0
    assert steady.spectral_radius(np.array([[1.0, 1.0], [0.0, 1.0]])) == 1.0
    assert steady.spectral_radius(np.zeros((0, 0))) == 0.0
    np.testing.assert_allclose(steady.spectral_radius(0.2 * np.eye(20)), 0.2, rtol=1e-12)
    np.testing.assert_allclose(steady.spectral_radius(np.array([[0.9, 1.0], [0.0, 0.9]])), 0.9, rtol=1e-6)


@pytest.mark.parametrize(("q", "gain"), Q_AND_GAIN)
def test_memory_of_the_local_level(q, gain):
    """The predictor forgets like (1 − K)ᵗ; the level itself never."""
    memory = steady.memory(make_system(**local_level(q)))
    exact = (-q + np.sqrt(q * q + 4 * q)) / 2
    np.testing.assert_allclose(memory.rate, 1 - exact, rtol=1e-10)
    np.testing.assert_allclose(memory.half_life, np.log(2) / -np.log(1 - exact), rtol=1e-10)
    assert memory.process_half_life == np.inf
