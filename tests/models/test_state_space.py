"""`StateSpace`, the model with given matrices, and the verbs that all linear-Gaussian models share.

Oracles: the joint Gaussian and the matrix-form twin (`tests.reference.kalman`), statsmodels 0.15, invariances.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError, NotFittedError, NumericalError

LEVEL = {"transition": [[1.0]], "observation": [[1.0]], "state_noise": [[1469.178]], "observation_noise": [[15098.53]]}


def example(seed=0, n=3, p=2, u=1, lengths=(9, 4), missing=0.2):
    rng = np.random.default_rng(seed)
    sys = ref.random_system(rng, n, p, u)
    inputs = [rng.standard_normal((T, u)) if u else None for T in lengths]
    arrays = [ref.simulate(sys, T, rng, own) for T, own in zip(lengths, inputs, strict=True)]
    for y in arrays:
        y[rng.random(y.shape) < missing] = np.nan
    seqs = sw.Sequences.from_arrays(arrays, inputs=inputs if u else None)
    return sys, sw.StateSpace(**ref.words(sys)), seqs, arrays, inputs


# --- words and letters ------------------------------------------------------------------------------------------------


def test_every_word_reaches_its_letter():
    sys, model, _, _, _ = example()
    for letter, value in sys.items():
        np.testing.assert_array_equal(getattr(model.system, letter), value, err_msg=letter)
    assert not model.system.Pinf.any()
    assert set(model.parameters) == set(ref.words(sys))
    assert model.n_parameters == 0
    assert model.is_fitted
    assert repr(model) == "StateSpace(states=3, dim=2)"


def test_log_prob_in_one_line_is_the_joint_density():
    sys, model, seqs, arrays, inputs = example()
    want = [ref.log_density(sys, y, u) for y, u in zip(arrays, inputs, strict=True)]
    np.testing.assert_allclose(model.log_prob(seqs), want, rtol=1e-10)
    steps = model.log_prob(seqs, per_step=True)
    twin = np.concatenate([ref.kalman_filter(sys, y, u)["log_prob"] for y, u in zip(arrays, inputs, strict=True)])
    np.testing.assert_allclose(steps, twin, rtol=1e-9, atol=1e-12)


def test_nile_is_the_published_number():
    """−633.4646 at (15098.53, 1469.178), exact diffuse (Durbin & Koopman 2012; with −½ log 2π for the diffuse observation)."""
    model = sw.StateSpace(**LEVEL, initial="diffuse")
    np.testing.assert_allclose(model.log_prob(sw.datasets.load("nile")), [-633.4646], atol=1e-3)


def test_nile_agrees_with_statsmodels():
    """statsmodels 0.15, UnobservedComponents('llevel'), exact diffuse: log-likelihood, smoothed and filtered levels, forecasts."""
    components = pytest.importorskip("statsmodels.tsa.statespace.structural")
    nile = sw.datasets.load("nile")
    peer = components.UnobservedComponents(nile.values[:, 0], "llevel", use_exact_diffuse=True)
    found = peer.smooth([15098.53, 1469.178])
    model = sw.StateSpace(**LEVEL)  # a unit root: diffuse unless said otherwise
    np.testing.assert_allclose(model.log_prob(nile), [found.llf], rtol=1e-12)
    np.testing.assert_allclose(model.filter(nile).mean[:, 0], found.filtered_state[0], rtol=1e-10)
    np.testing.assert_allclose(model.smooth(nile).mean[:, 0], found.smoothed_state[0], rtol=1e-10)
    np.testing.assert_allclose(model.smooth(nile).cov[:, 0, 0], found.smoothed_state_cov[0, 0], rtol=1e-9)
    want = found.get_forecast(5)
    have = model.forecast(nile, steps=5)
    np.testing.assert_allclose(have.mean[0, :, 0], want.predicted_mean, rtol=1e-12)
    np.testing.assert_allclose(have.variance[0, :, 0], want.var_pred_mean, rtol=1e-12)
    lower, upper = have.interval(95)
    np.testing.assert_allclose(np.stack([lower[0, :, 0], upper[0, :, 0]], axis=1), want.conf_int(alpha=0.05), rtol=1e-9)


# --- the start --------------------------------------------------------------------------------------------------------


def test_the_default_start_is_stationary_where_there_is_one_and_diffuse_otherwise():
    stable = LEVEL | {"transition": [[0.5]]}
    start = sw.StateSpace(**stable, state_intercept=[3.0]).system
    np.testing.assert_allclose([start.m0[0], start.P0[0, 0]], [6.0, 1469.178 / 0.75])
    assert not start.Pinf.any()
    assert sw.StateSpace(**LEVEL).system.Pinf.all()
    assert sw.StateSpace(**LEVEL | {"transition": [[1.5]]}).system.Pinf.all()
    assert sw.StateSpace(**stable, initial="diffuse").system.Pinf.all()
    known = sw.StateSpace(**LEVEL, initial_mean=[2.0], initial_cov=[[0.0]]).system
    assert (known.m0[0], known.P0[0, 0], known.Pinf[0, 0]) == (2.0, 0.0, 0.0)


@pytest.mark.parametrize(("options", "message"), [
    ({"initial": "stationary"}, "spectral radius 1, so there is no stationary law; pass initial='diffuse'"),
    ({"initial": "known"}, "a known start needs both `initial_mean` and `initial_cov`"),
    ({"initial_mean": [0.0]}, "a known start needs both"),
    ({"initial": "diffus"}, "did you mean 'diffuse'"),
    ({"initial_mean": [0.0, 1.0], "initial_cov": [[1.0]]}, r"`initial_mean` has shape \(2,\); pass shape \(1\)"),
    ({"initial_mean": [0.0], "initial_cov": [[-1.0]]}, "`initial_cov` has the negative variance -1"),
    ({"transition": [[1.0, 0.0]]}, r"`transition` has shape \(1, 2\); pass a square matrix"),
    ({"observation": [[1.0, 0.0]]}, "a column for each of the 1 states"),
    ({"state_noise": np.eye(2)}, r"`state_noise` has shape \(2, 2\); pass shape \(1, 1\)"),
    ({"observation_noise": [[-1.0]]}, "`observation_noise` has the negative variance"),
    ({"observation_noise": [[np.nan]]}, "`observation_noise` has 1 NaN"),
    ({"noise_cross": [[1e9]]}, "joint covariance of w and v"),
    ({"noise_cross": [[1.0, 2.0]]}, r"`noise_cross` has shape \(1, 2\); pass shape \(1, 1\)"),
    ({"state_intercept": [1.0, 2.0]}, r"`state_intercept` has shape \(2,\)"),
    ({"input_to_state": [[1.0, 2.0]], "input_to_observation": [[1.0]]}, "`input_to_observation` has shape"),
    ({"transition": "one"}, "`transition` is 'one', which is not an array of numbers"),
])  # fmt: skip
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        sw.StateSpace(**LEVEL | options)


def test_a_misspelt_argument_is_an_error():
    with pytest.raises(TypeError, match="transitions"):
        sw.StateSpace(**LEVEL, transitions=[[1.0]])


# --- data that do not fit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["log_prob", "predict", "filter", "smooth", "forecast"])
def test_the_wrong_number_of_columns_is_refused(verb):
    """A model that was never fitted knows how many columns it has, too: reading past the end of a row would be silent."""
    _, one, seqs, _, _ = example(p=1, u=0)
    _, _, two, _, _ = example(p=2, u=0)
    with pytest.raises(InputError, match=r"2 columns.*1 \['y'\]"):
        getattr(one, verb)(two)
    _, model, _, _, _ = example(p=2, u=0)
    with pytest.raises(InputError, match="1 columns"):
        getattr(model, verb)(seqs)


@pytest.mark.parametrize("verb", ["log_prob", "predict", "filter", "smooth", "forecast"])
def test_the_wrong_number_of_inputs_is_refused(verb):
    _, without, plain, _, _ = example(u=0)
    _, with_inputs, driven, _, _ = example(u=2)
    with pytest.raises(InputError, match="2 input_columns"):
        getattr(without, verb)(driven)
    with pytest.raises(InputError, match="0 input_columns"):
        getattr(with_inputs, verb)(plain)


def test_forecasts_ask_for_future_inputs():
    sys, model, seqs, arrays, inputs = example(u=2)
    with pytest.raises(InputError, match=r"the model has the inputs u1, u2; pass their values as `inputs`"):
        model.forecast(seqs, steps=3)
    with pytest.raises(InputError, match=r"`inputs` has shape \(2, 2\)"):
        model.forecast(seqs, steps=3, inputs=np.zeros((2, 2)))
    with pytest.raises(InputError, match="NaN"):
        model.forecast(seqs, steps=3, inputs=np.full((3, 2), np.nan))
    future = np.random.default_rng(0).standard_normal((3, 2))
    have = model.forecast(seqs, steps=3, inputs=future)
    for i, (y, u) in enumerate(zip(arrays, inputs, strict=True)):
        mean, cov = ref.forecast(sys, y, 3, np.concatenate([u, future]))
        np.testing.assert_allclose(have.mean[i], mean, rtol=1e-9)
        np.testing.assert_allclose(have.variance[i], np.diag(cov).reshape(3, 2), rtol=1e-9)
    _, plain, data, _, _ = example(u=0)
    with pytest.raises(InputError, match="the model has no inputs; leave it out"):
        plain.forecast(data, steps=3, inputs=future)


@pytest.mark.parametrize("steps", [0, -1, 1.5, "three", None])
def test_forecast_steps_are_judged(steps):
    _, model, seqs, _, _ = example(u=0)
    with pytest.raises(InputError, match="`steps`"):
        model.forecast(seqs, steps=steps)


# --- the verbs --------------------------------------------------------------------------------------------------------


def test_predictions_are_what_the_residuals_are_measured_by():
    sys, model, seqs, arrays, inputs = example()
    have = model.predict(seqs)
    own = ref.kalman_filter(sys, arrays[0], inputs[0])
    want = own["mean_pred"] @ sys["C"].T + sys["d"] + inputs[0] @ sys["D"].T
    var = np.stack([np.diag(sys["C"] @ P @ sys["C"].T + sys["R"]) for P in own["cov_pred"]])
    np.testing.assert_allclose(have.mean[:9], want, rtol=1e-10)
    np.testing.assert_allclose(have.variance[:9], var, rtol=1e-10)
    np.testing.assert_allclose(have.residuals[:9], (arrays[0] - want) / np.sqrt(var), rtol=1e-10)
    np.testing.assert_array_equal(np.isnan(have.residuals), np.isnan(seqs.values))


def test_residuals_of_the_right_model_are_standard_normal():
    """4 000 steps: mean and variance within 5 standard errors, lag-1 autocorrelation within 5/√T."""
    sys, model, _, _, _ = example(u=0, p=1)
    y = ref.simulate(sys, 4000, np.random.default_rng(1))
    e = model.predict(y).residuals[:, 0]
    assert abs(e.mean()) < 5 / np.sqrt(4000)
    assert abs(e.var() - 1) < 5 * np.sqrt(2 / 4000)
    assert abs(np.mean(e[1:] * e[:-1])) < 5 / np.sqrt(4000)


def test_a_diffuse_start_has_no_prediction_until_it_is_settled():
    model = sw.StateSpace(**LEVEL)
    have = model.predict([np.nan, 3.0, 4.0])
    np.testing.assert_array_equal(np.isinf(have.variance[:, 0]), [True, True, False])
    np.testing.assert_array_equal(np.isnan(have.residuals[:, 0]), [True, True, False])


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_past_does_not_depend_on_the_future(seed, diffuse):
    """Prefix invariance of log_prob(per_step=True), predict and filter, bit for bit, when data are appended or changed."""
    sys, model, seqs, arrays, inputs = example(seed)
    if diffuse:
        words = ref.words(sys)
        words.pop("initial_mean"), words.pop("initial_cov")
        model = sw.StateSpace(**words, initial="diffuse")
    short = sw.Sequences.from_arrays([arrays[0][:5]], inputs=[inputs[0][:5]])
    np.testing.assert_array_equal(model.log_prob(seqs, per_step=True)[:5], model.log_prob(short, per_step=True))
    np.testing.assert_array_equal(model.predict(seqs).mean[:5], model.predict(short).mean)
    np.testing.assert_array_equal(model.predict(seqs).variance[:5], model.predict(short).variance)
    np.testing.assert_array_equal(model.filter(seqs).mean[:5], model.filter(short).mean)


def test_every_horizon_reacts_to_the_last_observation_and_none_to_the_order_of_sequences():
    _, model, _, arrays, _ = example(u=0, p=2, missing=0.0)
    moved = arrays[0].copy()
    moved[-1] += 1.0
    before, after = model.forecast(arrays[0], steps=6), model.forecast(moved, steps=6)
    assert (np.abs(after.mean - before.mean) > 1e-6).all()
    np.testing.assert_array_equal(after.variance, before.variance)
    both = model.forecast([arrays[1], arrays[0]], steps=6)
    np.testing.assert_allclose(both.mean[1], before.mean[0], rtol=1e-12)  # matrix products of a batch round differently


def test_one_step_and_nothing_observed():
    sys, model, _, _, _ = example(u=0)
    world = ref.joint(sys, 1)
    np.testing.assert_allclose(
        model.log_prob(world["mean_y"][None]), [ref.log_density(sys, world["mean_y"][None])], rtol=1e-12
    )
    empty = np.full((3, 2), np.nan)
    np.testing.assert_array_equal(model.log_prob(empty), [0.0])
    np.testing.assert_array_equal(model.log_prob(empty, per_step=True), np.zeros(3))
    mean, _ = ref.forecast(sys, empty, 2)
    np.testing.assert_allclose(model.forecast(empty, steps=2).mean[0], mean, rtol=1e-12)
    np.testing.assert_allclose(model.smooth(empty).mean, ref.joint(sys, 3)["mean_x"].reshape(3, 3), rtol=1e-12)


def test_results_carry_the_names_of_the_data():
    _, model, _, arrays, _ = example(u=0, p=1)
    seqs = sw.Sequences.from_arrays(
        [y[:, 0] for y in arrays], ids=["x", "z"], columns="flow", times=[range(9), range(4)]
    )
    assert model.forecast(seqs, steps=2).ids == ("x", "z")
    assert model.forecast(seqs, steps=2).columns == ("flow",)
    np.testing.assert_array_equal(model.forecast(seqs, steps=2).times, [[9, 10], [4, 5]])
    assert model.predict(seqs).columns == ("flow",)
    frame = model.smooth(seqs).to_frame()
    assert list(frame.columns[:3]) == ["id", "step", "time"]
    assert len(frame) == 13


# --- draws ------------------------------------------------------------------------------------------------------------


def test_draws_have_the_moments_of_the_model():
    """5 000 sequences of 3 steps with inputs: means and covariances within 5 standard errors of the joint Gaussian's."""
    sys, model, _, _, _ = example(u=2)
    u = np.random.default_rng(3).standard_normal((3, 2))
    drawn = model.sample(length=3, count=5000, seed=0, inputs=u)
    y, world = drawn.values.reshape(5000, 6), ref.joint(sys, 3, u)
    sd = np.sqrt(np.diag(world["yy"]))
    assert np.abs((y.mean(axis=0) - world["mean_y"]) / sd).max() < 5 / np.sqrt(5000)
    error = np.sqrt((np.outer(sd**2, sd**2) + world["yy"] ** 2) / 5000)
    assert np.abs((np.cov(y.T) - world["yy"]) / error).max() < 5
    np.testing.assert_array_equal(drawn.inputs, np.tile(u, (5000, 1)))


def test_the_same_seed_draws_the_same_sequences():
    _, model, _, _, _ = example(u=0)
    one, two, other = (model.sample(length=5, count=2, seed=seed) for seed in (1, 1, 2))
    assert one.equals(two)
    assert not one.equals(other)
    assert one.lengths.tolist() == [5, 5]


# --- the rest of the face ---------------------------------------------------------------------------------------------


def test_options_can_be_read_changed_and_cloned():
    _, model, seqs, _, _ = example()
    copy = model.clone()
    np.testing.assert_array_equal(copy.log_prob(seqs), model.log_prob(seqs))
    model.set_params(observation_noise=4 * model.get_params()["observation_noise"])
    assert (model.log_prob(seqs) != copy.log_prob(seqs)).all()
    np.testing.assert_array_equal(model.system.R, 4 * copy.system.R)
    with pytest.raises(InputError, match="did you mean `observation_noise`"):
        model.set_params(observation_nois=np.eye(2))
    with pytest.raises(InputError, match="`state_noise` has shape"):
        model.set_params(state_noise=np.eye(9))


def test_arrays_given_are_copied():
    A = np.array([[0.5]])
    model = sw.StateSpace(A, [[1.0]], [[1.0]], [[1.0]])
    before = model.log_prob([1.0, 2.0])
    A[0, 0] = 0.9
    np.testing.assert_array_equal(model.log_prob([1.0, 2.0]), before)


def test_summary_and_memory():
    model = sw.StateSpace([[0.9]], [[1.0]], [[1.0]], [[1.0]])
    text = model.summary()
    assert "StateSpace(states=1, dim=1)" in text
    assert "transition" in text
    memory = model.memory()
    np.testing.assert_allclose(memory.process_half_life, 6.578813, atol=1e-6)  # ln 2 / −ln .9
    assert memory.method == "eigenvalues"


def test_a_copy_of_a_column_without_noise_is_refused_with_the_remedy():
    model = sw.StateSpace([[0.9]], [[1.0], [1.0]], [[1.0]], np.zeros((2, 2)))
    y = np.random.default_rng(0).standard_normal(6)
    for verb in (model.log_prob, model.predict, model.filter, model.smooth, model.forecast):
        with pytest.raises(NumericalError, match="add observation_noise"):
            verb(np.stack([y, y], axis=1))


def test_criteria_need_a_fit():
    _, model, _, _, _ = example()
    with pytest.raises(NotFittedError, match="has not been fitted"):
        _ = model.aic
