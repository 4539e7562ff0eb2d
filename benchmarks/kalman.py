"""Kalman filtering against statsmodels."""

from __future__ import annotations

from typing import Any

import numpy as np

import statewise as sw
from benchmarks.workloads import Pair, Workload


def random_model(n: int, p: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A stable system with spectral radius .9, Q = .1 I and R = I."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A *= 0.9 / np.abs(np.linalg.eigvals(A)).max()
    return {
        "transition": A,
        "observation": rng.standard_normal((p, n)),
        "state_noise": 0.1 * np.eye(n),
        "observation_noise": np.eye(p),
        "initial_mean": np.zeros(n),
        "initial_cov": np.eye(n),
    }


def statsmodels_filter(model: dict[str, np.ndarray], y: np.ndarray) -> Any:
    """The same model in statsmodels, with the settings that make its likelihood fastest."""
    from statsmodels.tsa.statespace.kalman_filter import KalmanFilter

    p, n = model["observation"].shape
    peer = KalmanFilter(k_endog=p, k_states=n)
    peer.bind(np.ascontiguousarray(y))
    peer["transition"], peer["design"] = model["transition"], model["observation"]
    peer["state_cov"], peer["obs_cov"] = model["state_noise"], model["observation_noise"]
    peer["selection"] = np.eye(n)
    peer.initialize_known(model["initial_mean"], model["initial_cov"])
    peer.filter_univariate = True
    return peer


def _log_likelihood(n: int, p: int, steps: int) -> Pair:
    given = random_model(n, p)
    model = sw.StateSpace(**given)
    seqs = model.sample(length=steps, seed=1)
    peer = statsmodels_filter(given, seqs.values)
    return Pair(
        ours=lambda: float(model.log_prob(seqs)[0]),
        peer=lambda: float(peer.loglike()),
        difference=lambda a, b: abs(a - b),
    )


def _workload(n: int, p: int, steps: int, name: str, what: str) -> Workload:
    return Workload(
        name=name,
        what=what,
        peer="statsmodels loglike (univariate, steady state)",
        unit="nats",
        tolerance=1e-6,
        steps=steps,
        quick_steps=min(steps, 50),
        build=lambda size: _log_likelihood(n, p, size),
        packages=("statsmodels",),
    )


WORKLOADS = [
    _workload(2, 1, 10_000, "kalman-2-1", "Kalman log-likelihood, 2 states, 1 column, 10 000 steps"),
    _workload(4, 2, 10_000, "kalman-4-2", "Kalman log-likelihood, 4 states, 2 columns, 10 000 steps"),
    _workload(2, 1, 20, "kalman-overhead", "the same on 20 steps: what one call costs"),
]
