"""Kalman predictors as recurrences: replay, closed forms, and a plain filter of our own in NumPy."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import statewise as sw
from statewise._core.errors import InputError
from statewise.dissection.opening import opened

EXACT = 1e-11  # nats, of float64 algebra on a few hundred steps


def holed(seqs: sw.Sequences, share: float = 0.15, seed: int = 0) -> sw.Sequences:
    values = seqs.values.copy()
    values[np.random.default_rng(seed).random(values.shape) < share] = np.nan
    return seqs.replace(values=values)


def plain_filter(sys, y):  # a twin of the predictor, one row at a time
    """Predicted means and closed loops of one sequence, straight from the textbook."""
    m, P, means, loops = sys.m0, sys.P0, [sys.m0], []
    for row in y:
        seen = ~np.isnan(row)
        C, R, S = sys.C[seen], sys.R[np.ix_(seen, seen)], sys.S[:, seen]
        K = (sys.A @ P @ C.T + S) @ np.linalg.inv(C @ P @ C.T + R) if seen.any() else np.zeros((sys.n, 0))
        m = sys.A @ m + K @ (row[seen] - C @ m)
        P = sys.A @ P @ sys.A.T + sys.Q - K @ (C @ P @ C.T + R) @ K.T
        means.append(m)
        loops.append(sys.A - K @ C)
    return np.array(means), np.array(loops)


NAMES = (
    "state space",
    "varma",
    "varma with inputs",
    "diffuse",
    "diffuse and holed",
    "arima",
    "linear rnn",
    "linear rnn on complete rows",
    "steady rnn",
)


@functools.cache
def models():
    rng = np.random.default_rng(3)
    state_space = sw.StateSpace.random(states=3, dim=2, seed=0)
    seqs = holed(state_space.sample(120, 4, seed=1))
    walk = sw.Sequences.from_arrays([np.cumsum(rng.normal(size=80)) + rng.normal(size=80)])
    driven = sw.Sequences.from_arrays(
        [rng.normal(size=(70, 1)) for _ in range(3)], inputs=[rng.normal(size=(70, 2)) for _ in range(3)]
    )
    varma = sw.VARMA(p=1, q=1).fit(seqs)
    return {
        "state space": (state_space, seqs),
        "varma": (varma, seqs),
        "varma with inputs": (sw.VARMA(p=1).fit(driven), driven),
        "diffuse": (sw.Structural(level=True, trend=True, seasonal=4).fit(walk), walk),
        "diffuse and holed": (sw.Structural(level=True, trend=True).fit(walk), holed(walk)),
        "arima": (sw.ARIMA((1, 1, 1)).fit(walk), walk),
        "linear rnn": (sw.convert(varma, to="rnn"), seqs),
        "linear rnn on complete rows": (sw.convert(varma, to="rnn"), state_space.sample(40, 2, seed=2)),
        "steady rnn": (sw.convert(varma, to="rnn", gain="steady"), seqs),
    }


@pytest.mark.parametrize("name", NAMES)
def test_replay(name: str):
    model, seqs = models()[name]
    subject = opened(model, seqs)
    assert subject.replay_error < EXACT
    assert subject.loss.startswith("−log p")


def test_states_and_jacobians_are_a_plain_filters():
    model = sw.StateSpace.random(states=3, dim=2, seed=4)
    seqs = holed(model.sample(50, 1, seed=1))
    system = opened(model, seqs).sites[0].system
    means, loops = plain_filter(model.system, seqs.values)
    np.testing.assert_allclose(system.states[0], means[:-1], atol=1e-10)
    found = np.stack([system.jacobian(t)[0] for t in range(system.steps)])
    np.testing.assert_allclose(found, loops[:-1], atol=1e-10)


@pytest.mark.parametrize(("ratio", "gain"), [(1.0, 0.618034), (0.1, 0.270156), (0.01, 0.095125)])
def test_local_level_is_a_leaky_integrator_of_the_kalman_gain(ratio: float, gain: float):
    """Theory §9: K = (−q + √(q² + 4q)) / 2; the recurrence is h ← (1 − K) h + K y, so that λ₁ = ln (1 − K)."""
    model = sw.StateSpace([[1.0]], [[1.0]], [[ratio]], [[1.0]], initial="diffuse")
    y = np.random.default_rng(0).normal(size=3000).cumsum()
    d = sw.dissect(model, y)
    system = d.subject.sites[0].system
    assert system.linear()[0][0, 0] == pytest.approx(1 - gain, abs=1e-6)
    assert system.linear()[1][0, 0] == pytest.approx(gain, abs=1e-6)
    assert sw.dissection.lyapunov(model, y, warmup=200).value[0] == pytest.approx(np.log(1 - gain), abs=2e-6)


def test_arma_predictor_remembers_by_its_moving_average_root():
    """Theory §1: ARMA(1, 1) with φ = .9, θ = −.4 is an RNN with recurrent weight .4 and input weight .5."""
    model = sw.StateSpace([[0.9]], [[1.0]], [[0.25]], [[1.0]], noise_cross=[[0.5]], initial="stationary")
    y = model.sample(400, 1, seed=0)
    system = opened(model, y).sites[0].system
    A, B = system.linear()
    assert (A[0, 0], B[0, 0]) == (pytest.approx(0.4, abs=1e-9), pytest.approx(0.5, abs=1e-9))


def test_gradient_is_that_of_the_log_density():
    """∂L[t]/∂s[t] against finite differences of −log N(y; C s, F)."""
    model = sw.StateSpace.random(states=3, dim=2, seed=4)
    seqs = holed(model.sample(30, 1, seed=1))
    site = opened(model, seqs).sites[0]
    states, sys = site.system.states[0], model.system
    P = _covariances(sys, seqs.values)
    for t in (0, 7, 20):
        row = seqs.values[t + 1]
        seen = ~np.isnan(row)

        def loss(s: np.ndarray, seen: np.ndarray = seen, row: np.ndarray = row, t: int = t) -> float:
            C = sys.C[seen]
            F = C @ P[t + 1] @ C.T + sys.R[np.ix_(seen, seen)]
            v = row[seen] - C @ s
            return float(0.5 * v @ np.linalg.solve(F, v))

        step = 1e-5 * np.eye(3)
        slope = [(loss(states[t + 1] + e) - loss(states[t + 1] - e)) / 2e-5 for e in step]
        np.testing.assert_allclose(site.cotangents[0, t], slope, atol=1e-7)


def _covariances(sys, y):
    P, found = sys.P0, [sys.P0]
    for row in y:
        seen = ~np.isnan(row)
        C, R, S = sys.C[seen], sys.R[np.ix_(seen, seen)], sys.S[:, seen]
        K = (sys.A @ P @ C.T + S) @ np.linalg.inv(C @ P @ C.T + R) if seen.any() else np.zeros((sys.n, 0))
        P = sys.A @ P @ sys.A.T + sys.Q - K @ (C @ P @ C.T + R) @ K.T
        found.append(P)
    return found


def test_inputs_are_inputs():
    rng = np.random.default_rng(0)
    seqs = sw.Sequences.from_arrays([rng.normal(size=(60, 1))], inputs=[rng.normal(size=(60, 2))])
    model = sw.VARMA(p=1, q=1).fit(seqs)
    system = opened(model, seqs).sites[0].system
    assert system.inputs.shape[2] == 3
    after = system.step_at(np.zeros(59, int), np.arange(59), system.states[0, :-1])
    np.testing.assert_allclose(after, system.states[0, 1:], atol=1e-12)


def test_a_loss_of_ones_own():
    model = sw.StateSpace.random(states=2, dim=1, seed=0)
    seqs = model.sample(40, 3, seed=1)
    subject = opened(model, seqs, lambda states: states[..., 0])
    np.testing.assert_array_equal(subject.sites[0].cotangents[..., 0], 1.0)
    np.testing.assert_array_equal(subject.sites[0].cotangents[..., 1], 0.0)


def test_sequences_that_never_settle_are_refused():
    model = sw.StateSpace([[1.0]], [[1.0]], [[1.0]], [[1.0]], initial="diffuse")
    with pytest.raises(InputError, match="two rows"):
        opened(model, [1.0])
    with pytest.raises(InputError, match="pass sequences"):
        opened(model)
