"""Kalman filtering against statsmodels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import statewise as sw
from benchmarks.workloads import Pair, Workload
from statewise.inference.smoothing import log_prob_gradient


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


def statsmodels_filter(model: dict[str, np.ndarray], y: np.ndarray, kind: Any = None) -> Any:
    """The same model in statsmodels (`kind`: its class), with the settings that make its likelihood fastest."""
    from statsmodels.tsa.statespace.kalman_filter import KalmanFilter

    p, n = model["observation"].shape
    peer = (kind or KalmanFilter)(k_endog=p, k_states=n)
    peer.bind(np.ascontiguousarray(y))
    peer["transition"], peer["design"] = model["transition"], model["observation"]
    peer["state_cov"], peer["obs_cov"] = model["state_noise"], model["observation_noise"]
    peer["selection"] = np.eye(n)
    peer.initialize_known(model["initial_mean"], model["initial_cov"])
    peer.filter_univariate = True
    return peer


def slow_model(n: int, p: int) -> dict[str, np.ndarray]:
    """As `random_model`, almost a unit root and almost without noise. Not singular: dynamax adds 1e-9 to a singular covariance, silently."""
    given = random_model(n, p)
    return given | {"transition": given["transition"] * (0.99999 / 0.9), "state_noise": 1e-9 * np.eye(n)}


def _log_likelihood(n: int, p: int, steps: int, missing: float = 0.0) -> Pair:
    given = random_model(n, p)
    model = sw.StateSpace(**given)
    y = model.sample(length=steps, seed=1).values.copy()
    y[np.random.default_rng(2).random(y.shape) < missing] = np.nan
    seqs = sw.Sequences.from_arrays([y])
    peer = statsmodels_filter(given, y)
    return Pair(
        ours=lambda: float(model.log_prob(seqs)[0]),
        peer=lambda: float(peer.loglike()),
        difference=lambda a, b: abs(a - b),
    )


def _smoothing(n: int, p: int, steps: int) -> Pair:
    """Filtered and smoothed means and covariances of every step."""
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    given = random_model(n, p)
    model = sw.StateSpace(**given)
    seqs = model.sample(length=steps, seed=1)
    peer = statsmodels_filter(given, seqs.values, KalmanSmoother)

    def ours() -> list[np.ndarray]:
        filtered, smoothed = model.filter(seqs), model.smooth(seqs)
        return [filtered.mean, filtered.cov, smoothed.mean, smoothed.cov]

    def theirs() -> list[np.ndarray]:
        found = peer.smooth()
        names = "filtered_state", "filtered_state_cov", "smoothed_state", "smoothed_state_cov"
        return [np.moveaxis(getattr(found, name), -1, 0) for name in names]

    return Pair(ours, theirs, lambda a, b: max(float(np.abs(x - z).max()) for x, z in zip(a, b, strict=True)))


def _gradient(given: dict[str, np.ndarray], steps: int, missing: float = 0.0) -> Pair:
    """The log-likelihood with its gradient in every matrix, against the log-likelihood alone; with entries missing there is no steady state."""
    model = sw.StateSpace(**given)
    y = model.sample(length=steps, seed=1).values.copy()
    y[np.random.default_rng(2).random(y.shape) < missing] = np.nan
    seqs = sw.Sequences.from_arrays([y])

    def ours() -> float:
        found = log_prob_gradient(model.system, seqs)
        assert found is not None
        return found[0]

    return Pair(
        ours,
        peer=lambda: float(model.log_prob(seqs)[0]),
        difference=lambda a, b: abs(a - b),
    )


def _gradient_of_dynamax(given: dict[str, np.ndarray], steps: int) -> Pair:
    """The log-likelihood and its gradient in A, C, Q and R, against dynamax in float64, jitted and warm. Both symmetrised in Q and R."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from dynamax.linear_gaussian_ssm import inference as peer

    model = sw.StateSpace(**given)
    seqs = model.sample(length=steps, seed=1)
    p, n = given["observation"].shape
    y = jnp.asarray(seqs.values)
    initial = peer.ParamsLGSSMInitial(*(jnp.asarray(given[name]) for name in ("initial_mean", "initial_cov")))

    def value(A: Any, C: Any, Q: Any, R: Any) -> Any:
        dynamics = peer.ParamsLGSSMDynamics(A, jnp.zeros(n), jnp.zeros((n, 0)), Q)
        emissions = peer.ParamsLGSSMEmissions(C, jnp.zeros(p), jnp.zeros((p, 0)), R)
        return peer.lgssm_filter(peer.ParamsLGSSM(initial, dynamics, emissions), y).marginal_loglik

    both = jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2, 3)))
    at = [jnp.asarray(given[name]) for name in ("transition", "observation", "state_noise", "observation_noise")]

    def theirs() -> list[np.ndarray]:
        found, gradient = both(*at)
        return _with_symmetric_noise(float(found), *(np.asarray(each) for each in gradient))

    def ours() -> list[np.ndarray]:
        found = log_prob_gradient(model.system, seqs)
        assert found is not None
        return _with_symmetric_noise(found[0], found[1].A, found[1].C, found[1].Q, found[1].R)

    def difference(a: list[np.ndarray], b: list[np.ndarray]) -> float:
        return max(float(np.abs(x - z).max() / np.abs(z).max()) for x, z in zip(a, b, strict=True))

    return Pair(ours, theirs, difference)


def _with_symmetric_noise(value: float, A: np.ndarray, C: np.ndarray, Q: np.ndarray, R: np.ndarray) -> list[np.ndarray]:
    return [np.array(value), A, C, (Q + Q.T) / 2, (R + R.T) / 2]


def trend_and_season() -> dict[str, np.ndarray]:
    """A local linear trend and a season of 12, 13 states with unit roots, with a gain that settles late."""
    n = 13
    A, C, Q = np.zeros((n, n)), np.zeros((1, n)), np.zeros((n, n))
    A[0, :2] = A[1, 1] = 1.0
    A[2, 2:] = -1.0
    A[3:, 2:-1] = np.eye(n - 3)
    C[0, [0, 2]] = 1.0
    Q[[0, 1, 2], [0, 1, 2]] = 6.9945e-4, 0.0, 6.4129e-5  # maximum likelihood for log airline passengers
    return {
        "transition": A,
        "observation": C,
        "state_noise": Q,
        "observation_noise": np.array([[1.2951e-4]]),
        "initial_mean": np.zeros(n),
        "initial_cov": np.eye(n),
    }


def _slow_gain(steps: int) -> Pair:
    given = trend_and_season()
    model = sw.StateSpace(**given)
    seqs = model.sample(length=steps, seed=1)
    peer = statsmodels_filter(given, seqs.values)
    peer.tolerance = 0.0  # the full recursion: what the digits are judged by
    exact = float(peer.loglike())
    peer = statsmodels_filter(given, seqs.values)
    return Pair(
        ours=lambda: float(model.log_prob(seqs)[0]),
        peer=lambda: float(peer.loglike()),
        difference=lambda a, _: abs(a / exact - 1.0),
    )


def _pooled(count: int) -> Pair:
    """A local level of `count` series of 200 steps; statsmodels with a fresh model for each."""
    one = np.eye(1)
    given = {"transition": one, "observation": one, "state_noise": 0.1 * one, "observation_noise": one}
    given |= {"initial_mean": np.zeros(1), "initial_cov": one}
    model = sw.StateSpace(**given)
    seqs = model.sample(length=200, count=count, seed=1)
    arrays = np.split(seqs.values, count)
    return Pair(
        ours=lambda: float(model.log_prob(seqs).sum()),
        peer=lambda: sum(float(statsmodels_filter(given, y).loglike()) for y in arrays),
        difference=lambda a, b: abs(a - b),
    )


PEER = "statsmodels loglike (univariate, steady state)"


def _workload(n: int, p: int, steps: int, name: str, what: str, missing: float = 0.0) -> Workload:
    return _any(name, what, steps, min(steps, 50), lambda size: _log_likelihood(n, p, size, missing))


def _any(
    name: str,
    what: str,
    steps: int,
    quick_steps: int,
    build: Callable[[int], Pair],
    peer: str = PEER,
    unit: str = "nats",
    tolerance: float = 1e-6,
) -> Workload:
    return Workload(name, what, peer, unit, tolerance, steps, quick_steps, build, packages=("statsmodels",))


SIZES = ((2, 1), (4, 2), (10, 3), (20, 5))
COMPLETE = [
    _workload(n, p, 10_000, f"kalman-{n}-{p}", f"Kalman log-likelihood, {n} states, {p} columns, 10 000 steps")
    for n, p in SIZES
]
MISSING = [
    _workload(
        n, p, 10_000, f"kalman-missing-{n}-{p}", f"the same, {n} states, {p} columns, 5 % of entries missing", 0.05
    )
    for n, p in SIZES
]

SMOOTHING = [
    _any(
        f"kalman-smoother-{n}-{p}", f"filtered and smoothed states, {n} states, {p} columns, 10 000 steps", 10_000, 50,
        lambda size, n=n, p=p: _smoothing(n, p, size), peer="statsmodels smooth (univariate, steady state)", unit="of the states",
    )
    for n, p in SIZES
]  # fmt: skip


def _against_ourselves(name: str, what: str, given: dict[str, np.ndarray], missing: float = 0.0) -> Workload:
    return _any(
        f"kalman-gradient-{name}", f"log-likelihood and its gradient in every matrix, {what}", 10_000, 50,
        lambda size: _gradient(given, size, missing), peer="statewise, the log-likelihood alone",
    )  # fmt: skip


GRADIENT = [
    *(_against_ourselves(f"{n}-{p}", f"{n} states, {p} columns", random_model(n, p)) for n, p in SIZES),
    *(
        _against_ourselves(
            f"missing-{n}-{p}", f"{n} states, {p} columns, 5 % of entries missing", random_model(n, p), 0.05
        )
        for n, p in SIZES
    ),
    *(
        _against_ourselves(
            f"unsettled-{n}-{p}", f"{n} states, {p} columns, a gain that never settles", slow_model(n, p)
        )
        for n, p in SIZES
    ),
    _against_ourselves("slow-gain", "trend + season of 12, a tenth of the entries missing", trend_and_season(), 0.1),
]


def _against_dynamax(name: str, what: str, given: dict[str, np.ndarray]) -> Workload:
    return Workload(
        name, f"log-likelihood and its gradient in A, C, Q, R, {what}", "dynamax value_and_grad (float64, jitted, warm)", "relative", 1e-6,
        10_000, 50, lambda size: _gradient_of_dynamax(given, size), packages=("dynamax",), most_rounds=3,
    )  # fmt: skip


DYNAMAX = [
    *(_against_dynamax(f"kalman-dynamax-{n}-{p}", f"{n} states, {p} columns", random_model(n, p)) for n, p in SIZES),
    _against_dynamax(
        "kalman-dynamax-slow-gain",
        "4 states, 2 columns, a gain that settles after tens of thousands of steps",
        slow_model(4, 2),
    ),
]

WORKLOADS = [
    *COMPLETE,
    *MISSING,
    *SMOOTHING,
    *GRADIENT,
    *DYNAMAX,
    _any(
        "kalman-slow-gain",
        "Kalman log-likelihood, trend + season of 12 (13 states, unit roots), 10 000 steps",
        10_000,
        200,
        _slow_gain,
        unit="relative to the full recursion",
        tolerance=1e-8,
    ),
    _any(
        "kalman-pooled",
        "local-level log-likelihood of 1 000 series of 200 steps",
        1_000,
        5,
        _pooled,
        peer="statsmodels loglike, a fresh model for each series",
        tolerance=1e-5,
    ),
    _workload(2, 1, 20, "kalman-overhead", "the same on 20 steps: what one call costs"),
]
