"""Inference in linear-Gaussian models.

Oracles, as far up the ladder as each test can go: closed forms of the local level model; the joint Gaussian of all states and
observations, inverted as one dense matrix (`tests.reference.kalman.joint`); the textbook matrix filter; statsmodels 0.15; central differences;
invariances (units, state basis, batch, prefix); k standard errors for draws. Tolerances of 1e-10 are float64 algebra on
well-conditioned systems; others say where they come from.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from tests.reference import kalman as ref

from statewise._core.errors import InputError, NumericalError
from statewise.inference import filtering, smoothing, steady
from statewise.inference.system import System, stationary_start
from statewise.inference.system import system as make_system
from statewise.sequences.sequences import Sequences

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int, lengths=(9,), n=3, p=2, u=0, missing=0.2, **options):
    """A random system, and sequences simulated from its known-start version, with entries missing."""
    sys, arrays, inputs = ref.draw(seed, lengths, n, p, u, missing, **options)
    seqs = Sequences.from_arrays(arrays, inputs=inputs if u else None)
    return sys, make_system(**sys), seqs, arrays, inputs


def log_prob(system: System, seqs: Sequences) -> np.ndarray:
    steps = filtering.run_filter(system, seqs, store=False).log_prob
    return np.add.reduceat(steps, seqs.offsets[:-1])


def local_level(q: float, R: float = 1.0, diffuse: bool = True) -> dict[str, np.ndarray]:
    one = np.eye(1)
    start = {"m0": np.zeros(1), "P0": np.zeros((1, 1)), "Pinf": one} if diffuse else {"m0": np.zeros(1), "P0": one}
    return {"A": one, "C": one, "Q": q * R * one, "R": R * one} | start


# --- likelihood with a known start ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("u", [0, 2])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_log_prob_is_the_density_of_the_joint_gaussian(n, p, u, missing):
    """Oracle: the dense joint, scored by scipy's multivariate normal where nothing is missing and our own Cholesky elsewhere."""
    sys, system, seqs, arrays, inputs = draw(100 * n + 10 * p + u, (11, 1, 6), n, p, u, missing)
    have = log_prob(system, seqs)
    want = [ref.log_density(sys, y, own) for y, own in zip(arrays, inputs, strict=True)]
    np.testing.assert_allclose(have, want, rtol=1e-10, atol=1e-10)
    if not missing:
        world = ref.joint(sys, 11, inputs[0])
        dense = multivariate_normal(world["mean_y"], world["yy"], allow_singular=False).logpdf(arrays[0].ravel())
        np.testing.assert_allclose(have[0], dense, rtol=1e-10)


@given(SEEDS, st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.booleans())
def test_filter_is_the_reference_twin(seed, n, p, u, cross):
    """Predicted, filtered and next moments and every step's density, against the matrix-form filter."""
    sys, system, seqs, arrays, inputs = draw(seed, (12, 3), n, p, u, missing=0.3, cross=cross)
    past = filtering.run_filter(system, seqs)
    twins = [ref.kalman_filter(sys, y, own) for y, own in zip(arrays, inputs, strict=True)]
    for name in ("log_prob", "mean_pred", "cov_pred", "mean_filt", "cov_filt"):
        want = np.concatenate([twin[name] for twin in twins])
        np.testing.assert_allclose(getattr(past, name), want, rtol=1e-9, atol=1e-9, err_msg=name)
    for name in ("mean_next", "cov_next"):
        np.testing.assert_allclose(getattr(past, name), [twin[name] for twin in twins], rtol=1e-9, atol=1e-9)
    assert not past.diffuse.any()


@pytest.mark.parametrize("seed", range(5))
def test_singular_observation_noise_is_no_trouble_while_the_state_moves(seed):
    """R of rank 1 with p = 3: entry-by-entry filtering never inverts R. Oracle: the joint Gaussian."""
    sys, _, seqs, arrays, _ = draw(seed, (8,), n=4, p=3, cross=False)
    half = np.random.default_rng(seed).standard_normal((3, 1))
    sys["R"] = half @ half.T
    np.testing.assert_allclose(log_prob(make_system(**sys), seqs), [ref.log_density(sys, arrays[0])], rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_innovations_form_is_the_joint_gaussian_with_missing_entries(seed):
    """w = K e, v = e: the joint noise is singular (rank p), and with an entry missing the rest of e must be inferred."""
    sys, _, seqs, arrays, _ = draw(seed, (10,), n=3, p=2, missing=0.3)
    K = np.random.default_rng(seed).standard_normal((3, 2))
    sys["S"] = K @ sys["R"]
    sys["Q"] = sys["S"] @ K.T
    np.testing.assert_allclose(log_prob(make_system(**sys), seqs), [ref.log_density(sys, arrays[0])], rtol=1e-9)


def test_nothing_observed_has_log_prob_zero():
    _, system, seqs, _, _ = draw(1, (5, 3), missing=1.1)
    np.testing.assert_array_equal(log_prob(system, seqs), [0.0, 0.0])


def test_missing_rows_are_the_same_as_an_observation_without_information():
    """Invariance: an entry with error variance 1e14 tells nothing, up to its own density's constant."""
    sys, system, _, arrays, _ = draw(3, (9,), n=2, p=1, missing=0.0)
    gone = arrays[0].copy()
    gone[4] = np.nan
    dull = {**sys, "C": np.concatenate([sys["C"], 0 * sys["C"]])}
    dull |= {
        "R": np.diag([sys["R"][0, 0], 1.0]),
        "S": np.hstack([sys["S"], np.zeros((2, 1))]),
        "d": np.append(sys["d"], 0),
    }
    dull["D"] = np.zeros((2, 0))
    both = np.hstack([gone, np.where(np.arange(9) == 4, 0.0, np.nan)[:, None]])
    have = log_prob(make_system(**dull), Sequences.from_arrays([both]))
    np.testing.assert_allclose(
        have + 0.5 * np.log(2 * np.pi), log_prob(system, Sequences.from_arrays([gone])), rtol=1e-12
    )


# --- likelihood with a diffuse start ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("u", [0, 1])
def test_diffuse_log_prob_is_the_dense_form(n, p, missing, u):
    """−(m/2) log 2π − ½ log|V| − ½ log|X'V⁻¹X| − ½ r'(…)r, m all observations: −½ log 2π for each diffuse one is in it."""
    for seed in range(3):
        sys, system, seqs, arrays, inputs = draw(7 * n + p + 50 * seed, (12, 9), n, p, u, missing, diffuse=True)
        want = [ref.log_density(sys, y, own) for y, own in zip(arrays, inputs, strict=True)]
        np.testing.assert_allclose(log_prob(system, seqs), want, rtol=1e-10, atol=1e-10)


def test_diffuse_log_prob_of_a_first_row_that_is_missing():
    """Univariate and multivariate, whole rows and single entries, in the diffuse phase."""
    for p in (1, 2):
        sys, system, _, arrays, _ = draw(p, (14,), n=3, p=p, missing=0.0, diffuse=True)
        for gone in ([(0, 0)], [(0, 0), (1, 0), (2, p - 1)], [(t, j) for t in range(3) for j in range(p)]):
            y = arrays[0].copy()
            for index in gone:
                y[index] = np.nan
            have = log_prob(system, Sequences.from_arrays([y]))
            np.testing.assert_allclose(have, [ref.log_density(sys, y)], rtol=1e-9)


def test_diffuse_log_prob_of_a_sequence_too_short_to_settle_the_start():
    """Two observations for three states: the two are absorbed, −½ log 2π each and the pseudo-determinant of X'V⁻¹X."""
    sys, system, _, arrays, _ = draw(5, (2,), n=3, p=1, missing=0.0, diffuse=True)
    have = log_prob(system, Sequences.from_arrays(arrays))
    np.testing.assert_allclose(have, [ref.log_density(sys, arrays[0])], rtol=1e-10)


def test_duplicate_rows_settle_a_diffuse_start_once():
    """Two sensors of one level: the first absorbs the diffuse part and the second is an ordinary observation."""
    sys = local_level(0.5) | {"C": np.ones((2, 1)), "R": np.diag([1.0, 2.0])}
    y = np.random.default_rng(0).standard_normal((6, 2)) + 3
    have = log_prob(make_system(**sys), Sequences.from_arrays([y]))
    np.testing.assert_allclose(have, [ref.log_density(sys, y)], rtol=1e-12)


def test_diffuse_log_prob_is_the_limit_of_a_large_start():
    """Oracle: log p + ½ n log κ with κ = 1e6, which is off by O(1/κ)."""
    sys, system, seqs, arrays, _ = draw(11, (20,), n=2, p=1, missing=0.1, diffuse=True)
    vague = {**sys, "P0": 1e6 * np.eye(2), "Pinf": np.zeros((2, 2))}
    np.testing.assert_allclose(log_prob(system, seqs), [ref.log_density(vague, arrays[0]) + np.log(1e6)], atol=1e-3)


def test_partly_diffuse_start():
    """One state known, two unknown. Oracle: the dense form with X the response to the diffuse part only."""
    sys, _, seqs, arrays, _ = draw(21, (10,), n=3, p=2, missing=0.2)
    half = np.random.default_rng(1).standard_normal((3, 2))
    sys["Pinf"] = half @ half.T
    np.testing.assert_allclose(log_prob(make_system(**sys), seqs), [ref.log_density(sys, arrays[0])], rtol=1e-9)


@pytest.mark.parametrize("decay", [0.5, 0.1])
def test_a_diffuse_start_that_decays_before_the_first_observation_stays_diffuse(decay):
    """A = .5, the first 20 steps missing: the diffuse variance is .25²⁰ of what it was and still infinite."""
    sys = local_level(1.0) | {"A": np.array([[decay]])}
    y = np.full((24, 1), np.nan)
    y[20:, 0] = [1.0, 0.3, -0.2, 0.4]
    have = log_prob(make_system(**sys), Sequences.from_arrays([y]))
    np.testing.assert_allclose(have, [ref.log_density(sys, y)], rtol=1e-9)


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


# --- closed forms of the local level model ----------------------------------------------------------------------------

Q_AND_GAIN = [(1.0, 0.618034), (0.1, 0.270156), (0.01, 0.095125)]


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


# --- another package --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("diffuse", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_statsmodels_kalman_filter_agrees(diffuse, missing):
    """statsmodels 0.15, `KalmanFilter`/`KalmanSmoother` on random systems without noise_cross; diffuse by its exact initialisation."""
    smoother = pytest.importorskip("statsmodels.tsa.statespace.kalman_smoother")
    for seed in range(4):
        sys, system, seqs, arrays, _ = draw(seed, (30,), 3, 2, 0, missing, cross=False, diffuse=diffuse)
        peer = smoother.KalmanSmoother(k_endog=2, k_states=3, k_posdef=3)
        peer.bind(arrays[0].copy())
        peer["design"], peer["transition"], peer["selection"] = sys["C"], sys["A"], np.eye(3)
        peer["obs_cov"], peer["state_cov"] = sys["R"], sys["Q"]
        peer["obs_intercept"], peer["state_intercept"] = sys["d"][:, None], sys["b"][:, None]
        if diffuse:
            peer.initialize_diffuse()
        else:
            peer.initialize_known(sys["m0"], sys["P0"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the univariate approach, about an output that is not used
            found = peer.smooth()
        np.testing.assert_allclose(log_prob(system, seqs), [found.llf_obs.sum()], rtol=1e-9)
        mean, cov = smoothing.smooth(system, seqs)
        np.testing.assert_allclose(mean, found.smoothed_state.T, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(cov, found.smoothed_state_cov.transpose(2, 0, 1), rtol=1e-6, atol=1e-6)


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


def test_gradient_of_a_sequence_without_observations_is_zero():
    _, system, seqs, _, _ = draw(0, (4,), missing=1.1, u=1)
    value, gradient = smoothing.log_prob_gradient(system, seqs)
    assert value == 0.0
    for name in GRADIENTS:
        assert not getattr(gradient, name).any()


def test_gradient_where_a_likelihood_does_not_exist_is_none():
    sys = local_level(1.0, diffuse=False) | {"C": np.ones((2, 1)), "R": np.zeros((2, 2))}
    assert smoothing.log_prob_gradient(make_system(**sys), Sequences.from_arrays([np.ones((3, 2))])) is None


# --- forecasts and draws ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("diffuse", [False, True])
@pytest.mark.parametrize("u", [0, 2])
def test_forecasts_are_the_conditional_moments_of_the_joint_gaussian(diffuse, u):
    sys, system, seqs, arrays, inputs = draw(4, (12, 9), 3, 2, u, 0.2, diffuse=diffuse)
    future = np.random.default_rng(0).standard_normal((2, 5, u)) if u else None
    have = filtering.forecast(system, seqs, 5, future)
    for i, y in enumerate(arrays):
        own = np.concatenate([inputs[i], future[i]]) if u else None
        mean, cov = ref.forecast(sys, y, 5, own)
        np.testing.assert_allclose(have.mean[i], mean, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(have.variance[i], np.diag(cov).reshape(5, 2), rtol=1e-8)


def test_forecast_of_a_state_that_no_observation_settled_is_refused():
    """Trend with one observation; and a season whose second phase was never seen, which only the second step ahead asks for."""
    trend = {"A": np.array([[1.0, 1.0], [0.0, 1.0]]), "C": np.array([[1.0, 0.0]]), "Q": np.eye(2), "R": np.eye(1)}
    swap = {"A": np.array([[0.0, 1.0], [1.0, 0.0]]), "C": np.array([[1.0, 0.0]]), "Q": np.eye(2), "R": np.eye(1)}
    start = {"m0": np.zeros(2), "P0": np.zeros((2, 2)), "Pinf": np.eye(2)}
    with pytest.raises(InputError, match=r"sequence 'b'.*\(1 steps\).*pass a longer sequence"):
        filtering.forecast(
            make_system(**trend, **start), Sequences.from_arrays([[1.0, 2.0, 3.0], [1.0]], ids=["a", "b"]), 1, None
        )
    half = Sequences.from_arrays([[1.0, np.nan, 2.0, np.nan]])
    np.testing.assert_allclose(filtering.forecast(make_system(**swap, **start), half, 1, None).mean.shape, (1, 1, 1))
    with pytest.raises(InputError, match="diffuse start"):
        filtering.forecast(make_system(**swap, **start), half, 2, None)


def test_a_diffuse_forecast_is_refused_whatever_the_unit_of_the_sensor():
    """The sensor's unit is 1e-6 of the state's: still nothing is known."""
    sys = local_level(1.0) | {"C": np.array([[1e-6]])}
    with pytest.raises(InputError, match="too few observations"):
        filtering.forecast(make_system(**sys), Sequences.from_arrays([[np.nan, np.nan]]), 1, None)


def test_draws_have_the_moments_of_the_joint_gaussian():
    """4 000 draws of 4 steps: each mean within 5 standard errors, each covariance within 5 of its own."""
    sys, system, _, _, _ = draw(8, (4,), 3, 2, 1)
    count, u = 4000, np.random.default_rng(0).standard_normal((4, 1))
    y = filtering.sample(system, 4, count, np.random.default_rng(1), np.repeat(u[None], count, axis=0)).reshape(
        count, -1
    )
    world = ref.joint(sys, 4, u)
    sd = np.sqrt(np.diag(world["yy"]))
    assert np.abs((y.mean(axis=0) - world["mean_y"]) / sd).max() < 5 / np.sqrt(count)
    error = np.sqrt((np.outer(sd**2, sd**2) + world["yy"] ** 2) / count)
    assert np.abs((np.cov(y.T) - world["yy"]) / error).max() < 5


# --- invariances ------------------------------------------------------------------------------------------------------


@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_the_basis_of_the_state_does_not_matter(seed, n, p, diffuse):
    """x → T x with a well-conditioned T: the same likelihood, forecasts and memory; diffuse ones too, since Pinf moves along."""
    sys, system, seqs, _, _ = draw(seed, (10, 12), n, p, 1, 0.2, diffuse=diffuse)
    rng = np.random.default_rng(seed)
    T = np.linalg.qr(rng.standard_normal((n, n)))[0] * np.exp(rng.uniform(-1, 1, n))
    back = np.linalg.inv(T)
    other = sys | {name: T @ sys[name] for name in ("S", "b", "B", "m0")}
    other |= {name: T @ sys[name] @ T.T for name in ("Q", "P0", "Pinf") if name in sys}
    other = make_system(**other | {"A": T @ sys["A"] @ back, "C": sys["C"] @ back})
    np.testing.assert_allclose(log_prob(other, seqs), log_prob(system, seqs), rtol=1e-7, atol=1e-7)
    inputs = rng.standard_normal((2, 3, 1))
    have, want = (filtering.forecast(each, seqs, 3, inputs) for each in (other, system))
    np.testing.assert_allclose(have.mean, want.mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(have.variance, want.variance, rtol=1e-6)


@given(SEEDS, st.booleans())
def test_appending_data_does_not_change_the_past(seed, diffuse):
    """Prefix invariance of densities, predictions and filtered states, bit for bit: the recursion never looks ahead."""
    _, system, seqs, arrays, inputs = draw(seed, (12,), 2, 2, 1, 0.2, diffuse=diffuse)
    short = filtering.run_filter(system, Sequences.from_arrays([arrays[0][:7]], inputs=[inputs[0][:7]]))
    long = filtering.run_filter(system, seqs)
    for name in ("log_prob", "mean_pred", "cov_pred", "mean_filt", "cov_filt", "diffuse"):
        np.testing.assert_array_equal(getattr(long, name)[:7], getattr(short, name), err_msg=name)


@pytest.mark.parametrize("diffuse", [False, True])
def test_a_batch_is_a_loop(diffuse):
    _, system, seqs, _, _ = draw(6, (9, 12, 11, 8), 2, 2, 1, 0.2, diffuse=diffuse)
    past, (mean, cov) = filtering.run_filter(system, seqs), smoothing.smooth(system, seqs)
    for i, seq in enumerate(seqs):
        own = slice(seqs.offsets[i], seqs.offsets[i + 1])
        alone, (alone_mean, alone_cov) = filtering.run_filter(system, seq), smoothing.smooth(system, seq)
        for name in ("log_prob", "mean_pred", "cov_filt"):
            np.testing.assert_array_equal(getattr(past, name)[own], getattr(alone, name))
        np.testing.assert_array_equal(past.mean_next[i], alone.mean_next[0])
        np.testing.assert_array_equal(mean[own], alone_mean)
        np.testing.assert_array_equal(cov[own], alone_cov)


def test_keeping_only_the_likelihood_changes_nothing():
    _, system, seqs, _, _ = draw(9, (9, 4), missing=0.3, diffuse=True)
    full, lean = filtering.run_filter(system, seqs), filtering.run_filter(system, seqs, store=False)
    for name in ("log_prob", "mean_next", "cov_next", "diffuse_next"):
        np.testing.assert_array_equal(getattr(full, name), getattr(lean, name))
    assert lean.mean_pred.size == 0


def test_nothing_given_is_changed():
    sys, system, seqs, _, _ = draw(10, (9, 4), u=1, diffuse=True)
    kept, values = {name: part.copy() for name, part in sys.items()}, seqs.values.copy()
    filtering.run_filter(system, seqs)
    smoothing.smooth(system, seqs)
    steady.predictor_gain(system)
    filtering.forecast(system, seqs, 2, np.zeros((2, 2, 1)))
    for name, part in kept.items():
        np.testing.assert_array_equal(sys[name], part)
    np.testing.assert_array_equal(seqs.values, values)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_does_not_change_any_number(threads, monkeypatch):
    """50 sequences, long enough to be shared out: bit-equal to one thread, gradients too."""
    rng = np.random.default_rng(0)
    system = make_system(**ref.random_system(rng, 6, 2, 1))
    lengths = rng.integers(100, 300, 50)
    values, inputs = rng.standard_normal((lengths.sum(), 2)), rng.standard_normal((lengths.sum(), 1))
    seqs = Sequences(values, lengths, inputs=inputs)
    found = {}
    for count in (1, threads):
        monkeypatch.setenv("STATEWISE_THREADS", str(count))
        _, gradient = smoothing.log_prob_gradient(system, seqs)
        found[count] = [
            filtering.run_filter(system, seqs).log_prob,
            *smoothing.smooth(system, seqs),
            *vars(gradient).values(),
        ]
    for one, many in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(one, many)


# --- degenerate systems -----------------------------------------------------------------------------------------------


def test_two_exact_copies_of_one_observation_are_refused_with_the_remedy():
    sys = local_level(1.0, diffuse=False) | {"C": np.ones((2, 1)), "R": np.zeros((2, 2))}
    y = np.random.default_rng(0).standard_normal(5)
    with pytest.raises(NumericalError, match="add observation_noise or remove duplicate columns"):
        filtering.run_filter(make_system(**sys), Sequences.from_arrays([np.stack([y, y], axis=1)]))
    with pytest.raises(NumericalError, match="add observation_noise"):
        smoothing.smooth(make_system(**sys), Sequences.from_arrays([np.stack([y, y], axis=1)]))


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


def two_units(unit: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Two coupled series with inputs, and the same with the second one's state and observation in another unit."""
    sys = {
        "A": np.array([[0.1, 0.05], [0.0, 0.999]]),
        "C": np.eye(2),
        "Q": np.array([[1.0, 0.02], [0.02, 0.01]]),
        "R": np.array([[1.0, 0.3], [0.3, 0.5]]),
        "b": np.array([1.0, 0.1]),
        "m0": np.zeros(2),
        "P0": np.eye(2),
    }
    scale = np.array([1.0, unit])
    other = {name: sys[name] * np.outer(scale, scale) for name in ("Q", "R", "P0")}
    other |= {"A": sys["A"] * scale[:, None] / scale, "C": sys["C"], "b": sys["b"] * scale, "m0": sys["m0"]}
    return sys, other, scale


@pytest.mark.parametrize("unit", [1e-12, 1e-4, 1e4, 1e12])
def test_each_column_may_have_its_own_unit(unit):
    """Steady gain, memory, stationary start, likelihood, smoothing (known and diffuse), forecasts and draws are what they were.

    1e12 is dollars beside a rate: a threshold relative to the largest entry of a matrix would swallow the rate.
    """
    sys, other, scale = two_units(unit)
    one, two = make_system(**sys), make_system(**other)
    K, F, P, _ = steady.predictor_gain(one)
    K2, F2, P2, _ = steady.predictor_gain(two)
    np.testing.assert_allclose(K2 / scale[:, None] * scale, K, rtol=1e-9)
    np.testing.assert_allclose(F2 / np.outer(scale, scale), F, rtol=1e-9)
    np.testing.assert_allclose(P2 / np.outer(scale, scale), P, rtol=1e-9)
    np.testing.assert_allclose(steady.memory(two).rate, steady.memory(one).rate, rtol=1e-7)
    for start, start2 in zip(
        stationary_start(*map(sys.get, "AQb")), stationary_start(*map(other.get, "AQb")), strict=True
    ):
        size = scale if start.ndim == 1 else np.outer(scale, scale)
        np.testing.assert_allclose(start2 / size, start, rtol=1e-9)
    y = ref.simulate(sys, 25, np.random.default_rng(0))
    y[3, 0], y[4, 1], y[7] = np.nan, np.nan, np.nan
    seqs, seqs2 = Sequences.from_arrays([y]), Sequences.from_arrays([y * scale])
    vague = {"P0": np.zeros((2, 2)), "Pinf": np.eye(2)}
    diffuse, diffuse2 = make_system(**sys | vague), make_system(**other | vague | {"Pinf": np.diag(scale**2)})
    jacobian = -np.sum(~np.isnan(y)[:, 1]) * np.log(unit)
    for plain, scaled in ((one, two), (diffuse, diffuse2)):
        np.testing.assert_allclose(log_prob(scaled, seqs2) - jacobian, log_prob(plain, seqs), rtol=1e-10, atol=1e-10)
        (mean, cov), (mean2, cov2) = smoothing.smooth(plain, seqs), smoothing.smooth(scaled, seqs2)
        np.testing.assert_allclose(mean2 / scale, mean, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(cov2 / np.outer(scale, scale), cov, rtol=1e-8, atol=1e-12)
        have, want = filtering.forecast(scaled, seqs2, 3, None), filtering.forecast(plain, seqs, 3, None)
        np.testing.assert_allclose(have.mean / scale, want.mean, rtol=1e-9)
        np.testing.assert_allclose(have.variance / scale**2, want.variance, rtol=1e-9)
    drawn = filtering.sample(two, 3, 4000, np.random.default_rng(0)) / scale
    np.testing.assert_allclose(
        drawn.std(axis=(0, 1)), filtering.sample(one, 3, 4000, np.random.default_rng(0)).std(axis=(0, 1)), rtol=0.1
    )


def test_a_diffuse_start_may_have_states_of_different_units():
    """Two local levels, exact diffuse, the second 1e12 times larger, smoothed: what each says alone. R = 0 in the first."""
    noise = np.array([1.0, 2e24])
    sys = {"A": np.eye(2), "C": np.eye(2), "Q": np.diag(noise), "R": np.diag([0.0, 1e24]), "m0": np.zeros(2)}
    sys |= {"P0": np.zeros((2, 2)), "Pinf": np.eye(2)}
    y = np.random.default_rng(0).standard_normal((12, 2)).cumsum(axis=0) * [1.0, 1e12]
    y[5] = np.nan
    mean, cov = smoothing.smooth(make_system(**sys), Sequences.from_arrays([y]))
    for j in range(2):
        alone = {name: part[j : j + 1] if part.ndim == 1 else part[j : j + 1, j : j + 1] for name, part in sys.items()}
        want_mean, want_cov = smoothing.smooth(make_system(**alone), Sequences.from_arrays([y[:, j]]))
        np.testing.assert_allclose(mean[:, j], want_mean[:, 0], rtol=1e-9)
        np.testing.assert_allclose(cov[:, j, j], want_cov[:, 0, 0], rtol=1e-9, atol=1e-14 * want_cov.max())


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
