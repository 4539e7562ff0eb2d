"""The backward pass: smoothed states, exact gradients, lag-one covariances, smoothed noise, and draws of the states given the observations.

Oracles: the joint Gaussian of all states, noise and observations as one dense matrix (`tests.reference.kalman`), and central differences of its
density; k standard errors for draws. Tolerances of 1e-9 to 1e-10 are float64 algebra on well-conditioned systems; central differences with step
1e-6 of a function known to 1e-12 are good to 1e-6.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inference.problems import SEEDS, draw, local_level, log_prob
from tests.reference import kalman as ref

from statewise._core.errors import NumericalError
from statewise.inference import filtering, simulation, smoothing
from statewise.inference.modal import modal
from statewise.inference.system import system as make_system
from statewise.sequences.sequences import Sequences

DIFFUSE = pytest.mark.parametrize("diffuse", [False, True])


def stacked(sys, T):
    """States of all steps and then noise (w, v) of all steps as one long state that never moves, observed in pieces: for `ref.smoothed`.

    x[t] = A^(t−1) x[1] + Σ A^(t−1−s) (b + w[s]), so the unknowns are z = (x[1], w[1], v[1], …), with independent blocks.
    """
    s = ref.complete(sys)
    n, p = s["A"].shape[0], s["C"].shape[0]
    block = n + p
    size = n + T * block
    cov = np.zeros((size, size))
    cov[:n, :n] = s["P0"]
    both = np.block([[s["Q"], s["S"]], [s["S"].T, s["R"]]])
    to_x, mean_x = np.zeros((T, n, size)), np.zeros((T, n))
    to_x[0, :, :n], mean_x[0] = np.eye(n), s["m0"]
    to_y = np.zeros((T, p, size))
    for t in range(T):
        at = n + t * block
        cov[at : at + block, at : at + block] = both
        to_y[t] = s["C"] @ to_x[t]
        to_y[t, :, at + n : at + block] = np.eye(p)
        if t + 1 < T:
            to_x[t + 1] = s["A"] @ to_x[t]
            to_x[t + 1, :, at : at + n] += np.eye(n)
            mean_x[t + 1] = s["A"] @ mean_x[t] + s["b"]
    return cov, to_x, mean_x, to_y


def conditioned(sys, y):
    """Mean and covariance of z given y, with the start's diffuse part estimated by generalised least squares, and the maps to the states."""
    s = ref.complete(sys)
    T, n = len(y), s["A"].shape[0]
    cov, to_x, mean_x, to_y = stacked(sys, T)
    seen = ~np.isnan(y.ravel())
    H = to_y.reshape(-1, cov.shape[0])[seen]
    resid = (y - mean_x @ s["C"].T - s["d"]).ravel()[seen]
    W = np.zeros((cov.shape[0], n))
    W[:n] = np.eye(n)
    V = H @ cov @ H.T
    X = H @ W if s["Pinf"].any() else np.zeros((len(H), 0))
    W = W[:, : X.shape[1]]
    V1 = V + X @ X.T
    prior = cov + W @ W.T
    gain = np.linalg.solve(V1, H @ prior).T
    mean, post = gain @ resid, prior - gain @ H @ prior
    if X.shape[1]:
        spread = W - gain @ X
        delta_cov = np.linalg.inv(X.T @ np.linalg.solve(V1, X))
        mean = mean + spread @ delta_cov @ (X.T @ np.linalg.solve(V1, resid))
        post = post + spread @ delta_cov @ spread.T
    return mean, post, to_x, mean_x


@DIFFUSE
@pytest.mark.parametrize(("n", "p"), [(1, 1), (3, 2), (2, 3)])
def test_lag_one_covariances_and_noise_are_those_of_the_joint_gaussian(n, p, diffuse):
    sys, _, seqs, arrays, _ = draw(n + 10 * p, (9, 14), n, p, diffuse=diffuse)
    system = make_system(**sys)
    mean, cov, lag = smoothing.smooth_with_lag_one(system, seqs)
    noise = smoothing.smooth_noise(system, seqs)
    at = 0
    for y in arrays:
        z_mean, z_cov, to_x, mean_x = conditioned(sys, y)
        for t in range(len(y)):
            rows = slice(n + t * (n + p), n + (t + 1) * (n + p))
            want_lag = to_x[t + 1] @ z_cov @ to_x[t].T if t + 1 < len(y) else np.zeros((n, n))
            np.testing.assert_allclose(lag[at], want_lag, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(mean[at], mean_x[t] + to_x[t] @ z_mean, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(cov[at], to_x[t] @ z_cov @ to_x[t].T, rtol=1e-9, atol=1e-9)
            have = np.concatenate([noise.state_mean[at], noise.observation_mean[at]])
            np.testing.assert_allclose(have, z_mean[rows], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(noise.cov[at], z_cov[rows, rows], rtol=1e-9, atol=1e-9)
            at += 1


@pytest.mark.parametrize(("n", "p", "u"), [(1, 1, 0), (3, 1, 1), (2, 2, 1), (2, 3, 0)])
def test_diffuse_gradient_is_the_difference_of_the_dense_density(n, p, u):
    """Several sequences, short ones among them, with entries missing."""
    sys, _, seqs, arrays, inputs = draw(5 * n + p, (12, 5, 7), n, p, u, missing=0.15, diffuse=True)
    value, gradient = smoothing.log_prob_gradient(make_system(**sys), seqs)

    def density(name, matrix):
        return sum(ref.log_density({**sys, name: matrix}, y, own) for y, own in zip(arrays, inputs, strict=True))

    np.testing.assert_allclose(value, density("A", sys["A"]), rtol=1e-10)
    for name in ("A", "C", "Q", "R", "S", "b", "d", "D"):
        want = ref.differences(lambda matrix, name=name: density(name, matrix), sys[name])
        have = getattr(gradient, name)
        if name in ("Q", "R"):  # the twin reads one triangle; a free entry counts as half of a symmetric pair
            want, have = np.diag(want), np.diag(have)
        np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("name", ["Q", "R"])
def test_diffuse_gradient_of_covariances_along_symmetric_directions(name):
    sys, _, seqs, arrays, _ = draw(4, (11, 8), 3, 2, diffuse=True)
    _, gradient = smoothing.log_prob_gradient(make_system(**sys), seqs)
    half = np.random.default_rng(0).standard_normal(sys[name].shape)
    direction, step = half + half.T, 1e-5
    ends = [sum(ref.log_density({**sys, name: sys[name] + h * direction}, y) for y in arrays) for h in (step, -step)]
    np.testing.assert_allclose((getattr(gradient, name) * direction).sum(), (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


def test_partly_diffuse_and_noise_free_starts():
    """A trend observed without error beside a stationary state: P0 is added to, which changes nothing. Oracle: differences of the filter."""
    A, C = np.array([[1.0, 0.0], [0.0, 0.5]]), np.ones((1, 2))
    parts = {"R": np.zeros((1, 1)), "m0": np.zeros(2), "P0": np.diag([0.0, 1.0]), "Pinf": np.diag([1.0, 0.0])}
    seqs = Sequences.from_arrays([np.random.default_rng(0).standard_normal((30, 1)).cumsum(axis=0)])

    def value(Q):
        return float(filtering.run_filter(make_system(A, C, Q, **parts), seqs, store=False).log_prob.sum())

    Q = np.diag([0.4, 0.9])
    have, gradient = smoothing.log_prob_gradient(make_system(A, C, Q, **parts), seqs)
    np.testing.assert_allclose(have, value(Q), rtol=1e-11)
    np.testing.assert_allclose(np.diag(gradient.Q), np.diag(ref.differences(value, Q)), rtol=1e-5)


def test_a_start_that_is_not_identified_has_no_gradient():
    sys, _, _, arrays, _ = draw(0, (9,), 3, 1, missing=0.0, diffuse=True)
    short = Sequences.from_arrays([arrays[0][:2]])
    assert smoothing.log_prob_gradient(make_system(**sys), short) is None
    with pytest.raises(NumericalError, match="do not identify"):
        smoothing.smooth_with_lag_one(make_system(**sys), short)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_knowing_more_never_widens_a_state(seed, diffuse):
    """Loewner: smoothed ≤ filtered once the start is settled; and the joint covariance of neighbours is positive semi-definite."""
    sys, _, seqs, _, _ = draw(seed, (15,), 2, 2, missing=0.1, diffuse=diffuse)
    system = make_system(**sys)
    past = filtering.run_filter(system, seqs)
    _, cov, lag = smoothing.smooth_with_lag_one(system, seqs)
    settled = ~past.diffuse_filt.any(axis=1)
    scale = 1e-8 * (1 + np.abs(past.cov_filt).max() + np.abs(cov).max())
    assert np.linalg.eigvalsh(past.cov_filt[settled] - cov[settled]).min() > -scale
    pairs = np.block([[cov[1:], lag[:-1]], [lag[:-1].transpose(0, 2, 1), cov[:-1]]])
    assert np.linalg.eigvalsh(pairs).min() > -scale


@DIFFUSE
def test_simulated_states_have_the_smoothed_moments(diffuse):
    """Means and covariances of 20 000 draws within 5 standard errors, neighbours included."""
    sys, _, seqs, _, _ = draw(2, (7, 5), 2, 1, missing=0.2, diffuse=diffuse)
    system = make_system(**sys)
    count = 20_000
    states = simulation.simulate_states(system, seqs, count, np.random.default_rng(0))
    assert states.shape == (count, 12, 2)
    mean, cov, lag = smoothing.smooth_with_lag_one(system, seqs)
    sd = np.sqrt(np.einsum("tii->ti", cov))
    assert (np.abs(states.mean(axis=0) - mean) < 5 * sd / np.sqrt(count) + 1e-9).all()
    centred = (states - mean) / sd
    have = np.einsum("ctk,ctl->tkl", centred, centred) / count
    np.testing.assert_allclose(have, cov / sd[:, :, None] / sd[:, None, :], atol=5 * np.sqrt(2 / count))
    have = np.einsum("ctk,ctl->tkl", centred[:, 1:], centred[:, :-1]) / count
    want = lag[:-1] / sd[1:, :, None] / sd[:-1, None, :]
    np.testing.assert_allclose(have, want, atol=5 * np.sqrt(2 / count))


@DIFFUSE
@pytest.mark.parametrize("n", [1, 3, 9])
def test_the_settled_backward_pass_agrees_with_the_full_one(n, diffuse):
    """Every output, with a gap so that the covariance settles twice. Tolerance: 1e-9 of each scale, as promised."""
    sys, _, seqs, _, _ = draw(n, (700, 5, 300), n=n, missing=0.0, diffuse=diffuse)
    values = seqs.values.copy()
    values[150, 0] = values[152] = np.nan
    seqs = Sequences.from_arrays(np.split(values, seqs.offsets[1:-1]))
    sys = make_system(**sys)
    past, full = (smoothing._forward(sys, seqs, settle) for settle in (True, False))
    assert past.steady_from[0] < 500
    assert full.steady_from[0] == 700
    got, want = (smoothing._backward(sys, seqs, each, states=True, lags=True, noise=True) for each in (past, full))
    for name in ("mean", "cov", "lag_cov", "errors", "shocks", "information"):
        a, b = getattr(got, name), getattr(want, name)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * np.abs(b).max(), err_msg=name)
    got, want = (smoothing._scores(sys, seqs, each) for each in (past, full))
    np.testing.assert_allclose(got.N, want.N, rtol=0, atol=1e-9 * want.N.max())
    np.testing.assert_allclose(got.r, want.r, rtol=0, atol=1e-9 * np.sqrt(want.N.max()))  # 0 where the start is diffuse
    for a, b in zip(got.sums, want.sums, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * np.abs(b).max())


# --- smoothing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("diffuse", [False, True])
def test_smoothed_moments_are_the_conditional_moments_of_the_joint_gaussian(n, p, diffuse):
    """With inputs, intercepts, correlated errors and missing entries; GLS for the diffuse start."""
    for seed in range(4):
        sys, system, seqs, arrays, inputs = draw(seed, (14, 11), n, p, 1, 0.25, diffuse=diffuse)
        mean, cov = smoothing.smooth(system, seqs)
        want = [ref.smoothed(sys, y, own) for y, own in zip(arrays, inputs, strict=True)]
        scale = max(float(np.abs(part[1]).max()) for part in want)  # an ill-determined start has large covariances
        np.testing.assert_allclose(mean, np.concatenate([part[0] for part in want]), rtol=1e-7, atol=1e-9 * scale)
        np.testing.assert_allclose(cov, np.concatenate([part[1] for part in want]), rtol=1e-7, atol=1e-9 * scale)


def test_smoothing_the_last_step_is_filtering_it():
    _, system, seqs, _, _ = draw(2, (10, 7), missing=0.2)
    past = filtering.run_filter(system, seqs)
    mean, cov = smoothing.smooth(system, seqs)
    last = seqs.offsets[1:] - 1
    np.testing.assert_allclose(mean[last], past.mean_filt[last], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(cov[last], past.cov_filt[last], rtol=1e-10, atol=1e-12)


@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_smoothed_covariance_never_exceeds_the_filtered_one(seed, n, p, cross):
    """Loewner order at every step, whatever is missing; both are symmetric and positive semi-definite."""
    _, system, seqs, _, _ = draw(seed, (10, 4), n, p, 0, 0.4, cross=cross)
    filtered, (_, cov) = filtering.run_filter(system, seqs).cov_filt, smoothing.smooth(system, seqs)
    tolerance = 1e-10 * np.abs(filtered).max()
    for before, after in zip(filtered, cov, strict=True):
        assert np.linalg.eigvalsh(before - after)[0] > -tolerance
        assert np.linalg.eigvalsh(after)[0] > -tolerance
        assert np.linalg.eigvalsh(before)[0] > -tolerance
    np.testing.assert_array_equal(cov, cov.transpose(0, 2, 1))
    np.testing.assert_array_equal(filtered, filtered.transpose(0, 2, 1))


@pytest.mark.parametrize("phase", [1, 2, 4])
def test_smoothing_without_observation_noise(phase):
    """A seasonal random walk observed exactly: diffuse, R = 0. Missing entries are bridged, seen ones returned. Oracle: GLS."""
    n = phase
    sys = {"A": np.roll(np.eye(n), 1, axis=1), "C": np.eye(1, n), "Q": np.zeros((n, n)), "R": np.zeros((1, 1))}
    sys["Q"][-1, -1] = 2.0
    sys |= {"m0": np.zeros(n), "P0": np.zeros((n, n)), "Pinf": np.eye(n)}
    y = np.random.default_rng(0).standard_normal((14, 1)).cumsum(axis=0)
    y[[6, 7]] = np.nan
    mean, cov = smoothing.smooth(make_system(**sys), Sequences.from_arrays([y]))
    want_mean, want_cov = ref.smoothed(sys, y)
    np.testing.assert_allclose(mean, want_mean, atol=1e-9)
    np.testing.assert_allclose(cov, want_cov, atol=1e-9)


def test_smoothing_with_a_start_that_nothing_identifies_says_so():
    sys = local_level(1.0) | {"A": np.array([[1.0, 1.0], [0.0, 1.0]]), "C": np.array([[1.0, 0.0]])}
    sys |= {"Q": np.eye(2), "m0": np.zeros(2), "P0": np.zeros((2, 2)), "Pinf": np.eye(2)}
    seqs = Sequences.from_arrays([[1.0, 2.0, 4.0], [5.0]], ids=["long", "short"])
    with pytest.raises(NumericalError, match="1 steps of sequence 'short' do not identify its diffuse start"):
        smoothing.smooth(make_system(**sys), seqs)


# --- gradients --------------------------------------------------------------------------------------------------------

GRADIENTS = ("A", "C", "Q", "R", "S", "b", "d", "D", "m0", "P0")


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("missing", [0.0, 0.35])
def test_every_gradient_is_the_central_difference(name, missing):
    """Covariances are moved in a symmetric direction, entry (i, j) and (j, i) together, to stay covariances.

    Tolerance: truncation step² ≈ 1e-12 and rounding eps·|log p|/step ≈ 1e-8, both times the curvature's scale.
    """
    for seed, (n, p) in enumerate([(1, 1), (3, 2), (2, 3)]):
        sys, system, seqs, _, _ = draw(seed, (7, 1, 4), n, p, 2, missing)
        value, gradient = smoothing.log_prob_gradient(system, seqs)
        np.testing.assert_allclose(value, log_prob(system, seqs).sum(), rtol=1e-13)
        symmetric = name in ("Q", "R", "P0")

        def moved(part, sys=sys, seqs=seqs, symmetric=symmetric):
            part = (part + part.T) / 2 if symmetric else part
            return float(log_prob(make_system(**{**sys, name: part}), seqs).sum())

        want = ref.differences(moved, sys[name])
        have = getattr(gradient, name)
        have = (have + have.T) / 2 if symmetric else have
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 10, 16, 17, 25])
def test_few_rows_after_the_covariance_has_settled(rows):
    """N has a few rows to move in, around a look at whether it has stopped; as with the full recursion, to 1e-9 of each scale as promised."""
    _, system, seqs, _, _ = draw(5, (400,), n=4, missing=0.0)
    settles = int(smoothing._forward(system, seqs).steady_from[0])
    seqs = seqs.steps(0, settles + rows)
    past, full = (smoothing._forward(system, seqs, settle) for settle in (True, False))
    have, want = (smoothing._backward(system, seqs, each, states=True, lags=True, noise=True) for each in (past, full))
    for name in ("mean", "cov", "lag_cov", "information", "errors", "shocks"):
        one, other = getattr(have, name), getattr(want, name)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * np.abs(other).max(), err_msg=name)
    have, want = (smoothing._scores(system, seqs, each) for each in (past, full))
    for one, other in ((have.r, want.r), (have.N, want.N)):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * np.abs(other).max())
    for one, other in zip(have.sums, want.sums, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * max(1.0, np.abs(other).max()))


def test_gradient_of_a_sequence_without_observations_is_zero():
    _, system, seqs, _, _ = draw(0, (4,), missing=1.1, u=1)
    value, gradient = smoothing.log_prob_gradient(system, seqs)
    assert value == 0.0
    for name in GRADIENTS:
        assert not getattr(gradient, name).any()


def test_gradient_where_a_likelihood_does_not_exist_is_none():
    sys = local_level(1.0, diffuse=False) | {"C": np.ones((2, 1)), "R": np.zeros((2, 2))}
    assert smoothing.log_prob_gradient(make_system(**sys), Sequences.from_arrays([np.ones((3, 2))])) is None


@pytest.mark.parametrize("diffuse", [False, True])
def test_modal_coordinates_change_no_gradient(diffuse):
    """Long sequences with gaps of dense systems are differentiated in eigenvector coordinates; to 1e-9 of each gradient's size."""
    _, system, seqs, _, _ = draw(11, (1200, 30), n=9, u=1, missing=0.1, diffuse=diffuse)
    assert modal(system, seqs.rows) is not None
    value, have = smoothing.log_prob_gradient(system, seqs)
    other, want = smoothing._gradient_here(system, seqs)
    np.testing.assert_allclose(value, other, rtol=1e-12)
    for name in GRADIENTS:
        one, two = getattr(have, name), getattr(want, name)
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-9 * max(1.0, np.abs(two).max()), err_msg=name)
