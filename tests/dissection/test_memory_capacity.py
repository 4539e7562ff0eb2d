"""Linear memory capacity against closed forms, the rank, and a regression that is judged on other steps."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.affine import AffineSystem
from statewise.dissection.linear_capacity import controllable, linear_capacity
from statewise.dissection.subject import Site, Subject


def random_net(seed: int, n: int = 50, radius: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    return A * radius / np.abs(np.linalg.eigvals(A)).max(), rng.normal(size=(n, 1))


def subject_of(A: np.ndarray, B: np.ndarray, steps: int = 60) -> Subject:
    inputs = np.random.default_rng(1).normal(size=(2, steps, B.shape[1]))
    which = np.zeros((2, steps), dtype=int)
    system = AffineSystem(A[None], B[None], which, inputs, np.full(2, steps), np.zeros((2, len(A))))
    return Subject("linear", (Site("", system, None),))


def stepped(A: np.ndarray, B: np.ndarray):
    """The same recurrence as a step function, of which nothing is known but its steps."""
    import torch

    M, W = torch.from_numpy(A), torch.from_numpy(B)
    return lambda x, h: h @ M.T + x @ W.T


def test_leak():
    """§6: MC[k] = (1 − a²) a^{2k}, in all 1."""
    a = 0.9
    capacity, total = linear_capacity(np.array([[a]]), np.array([[2.0]]), 60)
    np.testing.assert_allclose(capacity, (1 - a**2) * a ** (2 * np.arange(61)), atol=1e-15)
    assert total == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("variance", [0.1, 1.0, 3.0])
def test_leak_with_noise(variance: float):
    """§6: in all 1 / (1 + s²), each lag's share that of the leak without noise."""
    a = 0.9
    capacity, total = linear_capacity(np.array([[a]]), np.array([[1.0]]), 40, variance)
    np.testing.assert_allclose(capacity, (1 - a**2) * a ** (2 * np.arange(41)) / (1 + variance), atol=1e-14)
    assert total == pytest.approx(1 / (1 + variance), abs=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_random_network_of_fifty(seed: int):
    """§6: 50.000 in all, counted by rank and summed over the lags; and no lag above 1. The pseudoinverse of the Gramian gives 41.0."""
    A, w = random_net(seed)
    capacity, total = linear_capacity(A, w, 800)
    assert round(total, 3) == round(float(capacity.sum()), 3) == 50.0
    assert capacity.max() < 1 + 1e-12
    if seed == 0:
        gramian, v = np.zeros((50, 50)), w.copy()
        for _ in range(2000):
            gramian, v = gramian + v @ v.T, A @ v
        assert np.trace(np.linalg.pinv(gramian) @ gramian) == pytest.approx(41.0, abs=0.05)


def test_shift_register():
    """§6: 1 for k < N, then 0."""
    capacity, total = linear_capacity(np.eye(10, k=-1), np.eye(10)[:, :1], 15)
    np.testing.assert_allclose(capacity, (np.arange(16) < 10).astype(float), atol=1e-14)
    assert total == 10


@pytest.mark.parametrize(("n", "d"), [(3, 1), (4, 2), (6, 3)])
def test_several_inputs_against_the_definition(n: int, d: int):
    """tr B' (Aᵏ)' Σ⁻¹ Aᵏ B with Σ summed, where it is well conditioned."""
    rng = np.random.default_rng(n)
    A, _ = random_net(n, n, 0.8)
    B = rng.normal(size=(n, d))
    powers = [np.linalg.matrix_power(A, k) @ B for k in range(300)]
    gramian = sum(P @ P.T for P in powers)
    expected = [np.trace(P.T @ np.linalg.solve(gramian, P)) for P in powers[:31]]
    capacity, total = linear_capacity(A, B, 30)
    np.testing.assert_allclose(capacity, expected, atol=1e-9)
    assert total == n


def test_what_an_input_does_not_reach_remembers_nothing():
    A = np.diag([0.5, 0.5, 0.3])
    assert controllable(A, np.ones((3, 1))).shape == (3, 2)
    assert linear_capacity(A, np.ones((3, 1)), 60)[1] == 2.0
    assert linear_capacity(A, np.zeros((3, 1)), 5)[1] == 0.0


def test_of_a_leaky_integrator():
    d = sw.dissect(sw.LeakyIntegrator(tau=-1 / np.log(0.9)), np.random.default_rng(0).normal(size=100))
    assert d.memory_capacity.value == pytest.approx(1.0)
    assert d.memory_capacity.status is Status.CONVERGED
    assert d.memory_capacity.data["horizon"] == 4  # .19 · .81ᵏ < .1


def test_driven_agrees_with_exact():
    A, w = random_net(0, 10, 0.8)
    exact = linear_capacity(A, w, 20)[0]
    x = np.random.default_rng(2).normal(size=(4, 50, 1))
    found = sw.dissection.memory_capacity(stepped(A, w), x, initial=np.zeros(10), lags=20, steps=12_000)
    assert not found.data["exact"]
    error = found.data["standard_error"] + 0.002  # of ten regression weights learnt from 6 000 steps
    assert (np.abs(found.data["capacity"] - exact) < 5 * error).all()
    assert found.interval[0] - 0.1 < 10 < found.interval[1] + 0.1


def test_driven_never_counts_what_was_not_held_out():
    """Fifty units that the input does not reach, T = 1000 and 200 lags: in-sample R² would add up to about 200 · 50 / 1000 = 10."""

    def step(x, h):
        import torch

        mixed = torch.sin(1e4 * (h + torch.arange(1, 51).double()))  # forgets in one step, and looks random
        return mixed + 0 * x.sum()

    x = np.random.default_rng(2).normal(size=(4, 50, 1))
    found = sw.dissection.memory_capacity(
        step, x, initial=np.random.default_rng(0).normal(size=50), lags=200, steps=1000
    )
    assert abs(found.value) < 1.0
    assert (found.data["capacity"] < 0.2).all()


def test_refusals():
    A = np.array([[1.01]])
    found = sw.dissection.memory_capacity(subject_of(A, np.ones((1, 1))))
    assert found.status is Status.REFUSED
    assert "not stable" in found.reason
    still = sw.dissection.memory_capacity(np.full((30, 2, 2), 0.1))
    assert still.status is Status.REFUSED
    assert "nothing drives" in still.reason


def test_short_lags_are_not_converged():
    found = sw.dissection.memory_capacity(subject_of(np.eye(10, k=-1), np.eye(10)[:, :1]), lags=5)
    assert found.status is Status.NOT_CONVERGED
    assert "larger `lags`" in found.reason
    assert found.value == 10
