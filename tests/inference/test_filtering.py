"""The Kalman filter, its likelihood, forecasts and draws.

Oracles, as far up the ladder as each test can go: the joint Gaussian of all states and
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
from tests.inference.problems import SEEDS, draw, local_level, log_prob
from tests.reference import kalman as ref

from statewise._core.errors import InputError, NumericalError
from statewise.inference import filtering, smoothing, steady
from statewise.inference.modal import modal
from statewise.inference.system import stationary_start
from statewise.inference.system import system as make_system
from statewise.sequences.sequences import Sequences

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


# --- shortcuts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 9])
def test_sequences_that_start_alike_and_differ_in_gaps_and_lengths_are_filtered_as_if_alone(n):
    """They share the covariances of the first; gaps leave the common path early, at its end and after it."""
    lengths = (400, 3, 60, 1, 400, 250)
    _, system, seqs, arrays, _ = draw(7, lengths, n=n, missing=0.0)
    arrays = [y.copy() for y in arrays]
    arrays[2][4, 0] = arrays[4][0] = arrays[5][200, 1] = np.nan
    together = filtering.run_filter(system, Sequences.from_arrays(arrays), store=False)
    for i, y in enumerate(arrays):
        alone = filtering.run_filter(system, Sequences.from_arrays([y]), store=False, settle=False)
        rows = slice(seqs.offsets[i], seqs.offsets[i + 1])
        np.testing.assert_allclose(together.log_prob[rows], alone.log_prob, rtol=0, atol=1e-9)
        np.testing.assert_allclose(together.mean_next[i], alone.mean_next[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(together.cov_next[i], alone.cov_next[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("diffuse", [False, True])
def test_more_sequences_than_lanes_with_inputs_and_gaps_are_filtered_as_if_alone(diffuse):
    """Invariance: 200 sequences of 1 to 90 steps after one of 5, which leaves a path that later ones make longer; a tenth have gaps."""
    rng = np.random.default_rng(3)
    lengths = (5, *rng.integers(8 if diffuse else 1, 90, 200).tolist())
    _, system, seqs, arrays, inputs = draw(8, lengths, 2, 2, 2, missing=0.0, diffuse=diffuse)
    arrays = [y.copy() for y in arrays]
    for i in rng.choice(np.arange(1, 201), 20, replace=False):
        arrays[i][rng.integers(len(arrays[i])), rng.integers(2)] = np.nan
    together = filtering.run_filter(system, Sequences.from_arrays(arrays, inputs=inputs), store=False)
    for i, y in enumerate(arrays):
        alone = filtering.run_filter(system, Sequences.from_arrays([y], inputs=[inputs[i]]), store=False, settle=False)
        rows = slice(seqs.offsets[i], seqs.offsets[i + 1])
        np.testing.assert_allclose(together.log_prob[rows], alone.log_prob, rtol=0, atol=1e-9)
        np.testing.assert_allclose(together.mean_next[i], alone.mean_next[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(together.cov_next[i], alone.cov_next[0], rtol=0, atol=1e-9)


def test_a_covariance_that_may_be_held_for_a_short_sequence_is_not_held_for_a_long_one():
    """A gain that takes 10⁵ steps to settle, 1e-8 from its limit: 20 steps move it by less than 1e-11, 200 000 by all of that."""
    one, q = np.eye(1), 1e-10
    limit = 0.5 * (q + np.sqrt(q * q + 4 * q))
    system = make_system(one, one, q * one, one, np.zeros(1), limit * (1 + 1e-8) * one)
    y = np.random.default_rng(0).standard_normal(200_000)
    together = filtering.run_filter(system, Sequences.from_arrays([y[:20], y]), store=False)
    alone = filtering.run_filter(system, Sequences.from_arrays([y]), store=False, settle=False)
    np.testing.assert_allclose(together.log_prob[20:], alone.log_prob, rtol=0, atol=1e-9)
    np.testing.assert_allclose(together.cov_next[1], alone.cov_next[0], rtol=1e-9)


@pytest.mark.parametrize("diffuse", [False, True])
def test_modal_coordinates_change_no_log_density(diffuse):
    _, system, seqs, _, _ = draw(11, (1200, 30), n=9, missing=0.1, diffuse=diffuse)
    turned = modal(system, seqs.rows).system
    assert np.count_nonzero(turned.A) <= 2 * 9
    have = filtering.log_prob_steps(system, seqs)
    want = filtering.run_filter(system, seqs, store=False, settle=False).log_prob
    np.testing.assert_allclose(have, want, rtol=0, atol=1e-9)


def test_modal_coordinates_are_not_taken_where_they_are_ill_conditioned_or_of_no_use():
    rng = np.random.default_rng(0)
    jordan = 0.5 * np.eye(9) + np.triu(np.ones((9, 9)), 1)
    for A in (jordan, 0.5 * np.eye(9), 0.1 * rng.standard_normal((3, 3))):
        n = len(A)
        assert modal(make_system(A, np.ones((1, n)), np.eye(n), np.eye(1), np.zeros(n), np.eye(n)), 10_000) is None
