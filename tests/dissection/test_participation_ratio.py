"""Participation ratios of states whose covariance is known."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise.dissection import Status

ratio = sw.dissection.participation_ratio


def of(x: np.ndarray, **options):
    """The states are the inputs."""
    return ratio(lambda given, state: given + 0 * state, x, initial=np.zeros(x.shape[-1]), warmup=0, **options)


@pytest.mark.parametrize(("steps", "raw"), [(100, 33.0), (1000, 47.6)])
def test_isotropic_states(steps: int, raw: float):
    """§9: N = 50 isotropic states: 33.0 at T = 100 and 47.6 at T = 1000 without the correction, 50 with it."""
    found = [of(np.random.default_rng(seed).normal(size=(1, steps, 50))) for seed in range(20)]
    assert np.mean([each.data["raw"] for each in found]) == pytest.approx(raw, abs=0.6)
    corrected = np.array([each.data["corrected"] for each in found])
    assert abs(corrected.mean() - 50) < 3 * corrected.std(ddof=1) / np.sqrt(20) + 0.2


def test_known_spectrum():
    scale = np.sqrt(np.array([4.0, 2.0, 1.0, 0.5]))
    found = of(np.random.default_rng(0).normal(size=(20, 500, 4)) * scale)
    expected = 7.5**2 / (16 + 4 + 1 + 0.25)
    assert abs(found.value - expected) < 3 * found.data["standard_error"]
    assert found.interval[0] < expected < found.interval[1]
    assert found.status is Status.CONVERGED


def test_one_line_is_one_dimension():
    t = np.random.default_rng(0).normal(size=(1, 200, 1))
    assert of(t * np.array([1.0, -2.0, 3.0])).value == pytest.approx(1.0, abs=1e-9)


def test_correlated_steps_do_not_fool_it():
    """Slow isotropic states, φ = .95: T = 1 800 steps count as T (1 − φ²) / (1 + φ²) = 92, of which the plain estimate makes 22.6."""
    rng = np.random.default_rng(0)
    noise, x = rng.normal(size=(20, 2000, 30)), np.zeros((20, 2000, 30))
    for t in range(1, 2000):
        x[:, t] = 0.95 * x[:, t - 1] + noise[:, t]
    found = [of(x[k : k + 1, 200:]) for k in range(20)]
    raw, corrected = (np.array([each.data[key] for each in found]) for key in ("raw", "corrected"))
    assert raw.mean() == pytest.approx(30 * 92.2 / 122.2, abs=0.6)
    assert (
        abs(corrected.mean() - 30) < 3 * corrected.std(ddof=1) / np.sqrt(20) + 1.5
    )  # blocks of 180 steps are not quite independent


def test_too_little_is_refused_or_doubted():
    few = of(np.random.default_rng(0).normal(size=(1, 15, 3)))
    assert few.status is Status.REFUSED
    thin = of(np.random.default_rng(0).normal(size=(1, 60, 50)))
    assert thin.status is Status.NOT_CONVERGED
    assert ratio(np.zeros((40, 2, 2)) + 0.1).status is Status.REFUSED


def test_of_an_opened_network_by_layers():
    import torch

    torch.manual_seed(0)
    d = sw.dissect(torch.nn.GRU(2, 5, num_layers=2, batch_first=True), torch.randn(12, 60, 2))
    found = d.participation_ratio
    assert set(found.data["layers"]) == {"layer 0", "layer 1"}
    assert 1 <= found.value <= 10
