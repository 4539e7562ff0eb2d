"""`Structural`: level, trend, season and cycle with their own variances.

Oracles: the dense diffuse likelihood; published variances of the Nile; statsmodels 0.15's UnobservedComponents at given parameters and at
its own maximum; the Jacobian of a change of units; recovery of what was simulated.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError, NotFittedError
from statewise._core.outcome import Outcome
from statewise.inference.filtering import run_filter
from statewise.inference.structural import Form, structural_system

KINDS = {
    "llevel": {"level": True},
    "lltrend": {"trend": True},
    "season": {"level": True, "seasonal": 4},
    "all": {"trend": True, "seasonal": 4},
}


@cache
def quarters(T: int = 96) -> np.ndarray:
    """A level that drifts, a season that changes slowly, and noise."""
    rng = np.random.default_rng(0)
    season = np.tile([3.0, -1.0, 0.5, -2.5], T // 4) * (1 + 0.002 * np.arange(T))
    return 40 + 0.3 * np.arange(T) + 0.8 * rng.standard_normal(T).cumsum() + season + rng.standard_normal(T)


@cache
def fitted(kind: str) -> sw.Structural:
    return sw.Structural(**KINDS[kind]).fit(quarters())


def dense(model: sw.Structural) -> dict[str, np.ndarray]:
    own = model.system
    return {name: getattr(own, name) for name in ("A", "C", "Q", "R", "S", "b", "d", "D", "B", "m0", "P0", "Pinf")}


# --- the state-space form ---------------------------------------------------------------------------------------------


def test_components_are_listed_in_order():
    assert Form().disturbances == ["level", "irregular"]
    assert Form(trend="free", seasonal=4).disturbances == ["level", "trend", "seasonal", "irregular"]
    assert Form(level=False, seasonal=7, cycle="free").disturbances == ["seasonal", "cycle", "irregular"]
    assert Form(trend="damped", cycle="damped").dynamics == ["trend_damping", "cycle_damping", "cycle_period"]


def test_the_transition_is_the_recursion():
    """level[t+1] = level + slope; the season's last s values sum to its disturbance; y = level + season. By hand, s = 3."""
    variances = {
        name: np.array([value])
        for name, value in zip(("level", "trend", "seasonal", "irregular"), range(1, 5), strict=True)
    }
    sys = structural_system(Form(trend="free", seasonal=3), variances, {}, np.zeros(1), np.zeros((1, 0)))
    np.testing.assert_array_equal(sys.A, [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, -1, -1], [0, 0, 1, 0]])
    np.testing.assert_array_equal(sys.C, [[1, 0, 1, 0]])
    np.testing.assert_array_equal(np.diag(sys.Q), [1, 2, 3, 0])
    np.testing.assert_array_equal(sys.R, [[4]])
    np.testing.assert_array_equal(sys.Pinf, np.eye(4))
    state = np.array([10.0, 2.0, 1.0, -4.0])
    moved = sys.A @ state
    assert moved[0] == 12
    assert moved[2] + state[2] + state[3] == 0  # this season and the two before it sum to nothing


def test_columns_are_blocks():
    variances = {"level": np.array([1.0, 2.0]), "irregular": np.array([3.0, 4.0])}
    sys = structural_system(Form(), variances, {}, np.zeros(2), np.zeros((2, 0)))
    np.testing.assert_array_equal(sys.Q, np.diag([1.0, 2.0]))
    np.testing.assert_array_equal(sys.C, np.eye(2))


# --- the maximum ------------------------------------------------------------------------------------------------------


def test_nile():
    """Published maximum: irregular 15 098.53, level 1 469.178 (Durbin & Koopman 2012, §2.10.2), log-likelihood −633.4646."""
    model = sw.Structural().fit(sw.datasets.load("nile"))
    np.testing.assert_allclose(model.fit_result.log_prob, -633.4646, atol=1e-4)
    np.testing.assert_allclose(model.variances["irregular"], 15098.53, rtol=2e-3)
    np.testing.assert_allclose(model.variances["level"], 1469.178, rtol=5e-3)
    assert model.fit_result.outcome is Outcome.CONVERGED
    assert model.fit_result.notes == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gaps", [False, True])
def test_statsmodels_agrees_at_our_parameters(kind, gaps):
    """UnobservedComponents, statsmodels 0.15, exact diffuse, dummy season: log-likelihood, smoothed level, forecasts."""
    components = pytest.importorskip("statsmodels.tsa.statespace.structural")
    y = quarters().copy()
    if gaps:
        y[[0, 2, 30, 31, 32]] = np.nan
    model = fitted(kind)
    options = {"level": {"llevel": "llevel", "season": "llevel"}.get(kind, "lltrend")}
    if "seasonal" in KINDS[kind]:
        options["seasonal"] = 4
    peer = components.UnobservedComponents(y, **options, use_exact_diffuse=True)
    order = [name for name in ("irregular", "level", "trend", "seasonal") if name in model.variances]
    found = peer.smooth([model.variances[name][0] for name in order])
    np.testing.assert_allclose(model.log_prob(y), [found.llf], rtol=1e-8)
    np.testing.assert_allclose(model.smooth(y).mean[:, 0], found.smoothed_state[0], rtol=1e-6)
    want = found.get_forecast(6)
    have = model.forecast(y, steps=6)
    np.testing.assert_allclose(have.mean[0, :, 0], want.predicted_mean, rtol=1e-7)
    np.testing.assert_allclose(have.variance[0, :, 0], want.var_pred_mean, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_no_point_that_statsmodels_finds_is_higher(kind):
    """Its own maximum, evaluated by our likelihood. 1e-3 nats: variances at zero are approached, not reached."""
    components = pytest.importorskip("statsmodels.tsa.statespace.structural")
    model = fitted(kind)
    level = "llevel" if kind in ("llevel", "season") else "lltrend"
    peer = components.UnobservedComponents(
        quarters(), level, seasonal=KINDS[kind].get("seasonal"), use_exact_diffuse=True
    )
    theirs = max(peer.fit(method=method, disp=0, maxiter=500).llf for method in ("lbfgs", "powell"))
    assert model.fit_result.log_prob > theirs - 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_log_prob_is_the_dense_diffuse_likelihood(kind):
    model, y = fitted(kind), quarters()[:24, None].copy()
    y[[1, 10, 11]] = np.nan
    np.testing.assert_allclose(model.log_prob(y), [ref.log_density(dense(model), y)], rtol=1e-9)


def test_a_free_variance_never_fits_worse_than_none():
    """The slope's variance at zero is one of the points that the search could have chosen. (Models with other states are not comparable.)"""
    model = fitted("all")
    fixed = model.variances | {"trend": np.zeros(1)}
    sys = structural_system(Form(trend="free", seasonal=4), fixed, {}, np.zeros(1), np.zeros((1, 0)))
    without = run_filter(sys, sw.Sequences.from_arrays([quarters()]), store=False).log_prob.sum()
    assert model.fit_result.log_prob >= without - 1e-6


@pytest.mark.parametrize(("seed", "drift", "slope"), [(3, 1e-3, 0.1), (4, 3e-3, 0.3), (5, 3e-3, 0.3), (1, 3e-3, 0.3)])
def test_a_series_that_wanders_far_beside_its_noise_is_fitted_as_well_as_its_special_case(seed, drift, slope):
    """A slope that drifts over 1000 steps, with noise and a wave on inputs: a level that stays still is a special case of one that moves."""
    rng = np.random.default_rng(seed)
    t = np.arange(1000)
    smooth = np.cumsum(np.cumsum(drift * rng.standard_normal(1000))) + slope * t
    waves = np.column_stack([np.sin(2 * np.pi * t / 52), np.cos(2 * np.pi * t / 52)])
    seqs = sw.Sequences.from_arrays(
        [smooth + waves @ [2.0, 1.0] + 0.4 * rng.standard_normal(1000)], inputs=[waves], season=1
    )
    still = sw.Structural(level=True, trend=True, fixed=("level",)).fit(seqs)
    free = sw.Structural(level=True, trend=True).fit(seqs)
    assert free.fit_result.log_prob >= still.fit_result.log_prob - 1e-2


def test_variances_are_recovered():
    """A local level with variances 4 and 1, 3 000 steps: the logarithms within .25, five of their standard errors."""
    rng = np.random.default_rng(5)
    y = 2 * rng.standard_normal(3000).cumsum() + rng.standard_normal(3000)
    model = sw.Structural().fit(y)
    np.testing.assert_allclose(np.log([model.variances["level"][0] / 4, model.variances["irregular"][0]]), 0, atol=0.25)


# --- units ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llevel", "all"])
@pytest.mark.parametrize(("scale", "shift"), [(1e6, 0.0), (1e-6, 0.0), (1.0, 1e5), (1e6, -1e5), (-3.0, 7.0)])
def test_the_units_of_the_data_do_not_matter(kind, scale, shift):
    """The Jacobian counts every observation, those too that settle the diffuse start, whose density is flat in y: d of them do not shift.

    p(y) of a diffuse sequence is a density on the m − d contrasts times a constant: scaling by s moves it by −(m − d) log s.
    """
    moved, model = sw.Structural(**KINDS[kind]).fit(scale * quarters() + shift), fitted(kind)
    d = model.system.n
    jacobian = -(96 - d) * np.log(abs(scale))
    np.testing.assert_allclose(moved.fit_result.log_prob - jacobian, model.fit_result.log_prob, atol=1e-4)
    have, want = moved.forecast(scale * quarters() + shift), model.forecast(quarters())
    np.testing.assert_allclose(have.mean, scale * want.mean + shift, rtol=1e-3)


def test_columns_are_fitted_one_by_one():
    """Two columns: the variances of each alone; the likelihood is the product."""
    two = np.c_[quarters(), 1000 * np.sin(np.arange(96)).cumsum()]
    both, alone = sw.Structural().fit(two), [sw.Structural().fit(two[:, j]) for j in range(2)]
    for name in ("level", "irregular"):
        np.testing.assert_array_equal(both.variances[name], [each.variances[name][0] for each in alone])
    np.testing.assert_allclose(both.fit_result.log_prob, sum(each.fit_result.log_prob for each in alone), rtol=1e-10)


# --- options ----------------------------------------------------------------------------------------------------------


def test_seasonal_true_takes_the_datas_own_season():
    seqs = sw.Sequences.from_arrays([quarters()], season=4)
    model = sw.Structural(seasonal=True).fit(seqs)
    np.testing.assert_allclose(model.fit_result.log_prob, fitted("season").fit_result.log_prob, rtol=1e-10)
    assert model.system.n == 4
    airline = sw.datasets.load("airline")
    assert airline.season == 12
    with pytest.raises(
        InputError, match="`seasonal` is True but the sequences have no known season; pass the number of steps"
    ):
        sw.Structural(seasonal=True).fit(quarters())
    with pytest.raises(InputError, match="no known season"):
        sw.Structural(seasonal=True).fit(sw.Sequences.from_arrays([quarters()], season=1))


def test_a_trend_includes_a_level():
    assert set(sw.Structural(level=False, trend=True).fit(quarters()).variances) == {"level", "trend", "irregular"}


def test_without_a_level_there_is_a_mean():
    """y = 100 + a fixed season: the mean is the mean, and it is counted."""
    rng = np.random.default_rng(0)
    y = 100 + np.tile([3.0, 0.0, -3.0], 30) + rng.standard_normal(90)
    model = sw.Structural(level=False, seasonal=3).fit(y)
    np.testing.assert_allclose(model.parameters["mean"], [y.mean()], atol=0.01)
    assert model.n_parameters == 2 + 1
    np.testing.assert_allclose(model.forecast(y, steps=300).mean[0, -3:, 0].mean(), y.mean(), atol=0.05)


@pytest.mark.parametrize(("options", "message"), [
    ({"level": False}, "`level`, `trend`, `seasonal` and `cycle` are all off"),
    ({"seasonal": 1}, "`seasonal` is 1"),
    ({"seasonal": "twelve"}, "`seasonal` is 'twelve'"),
    ({"level": 1}, "`level` is 1"),
])  # fmt: skip
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sw.Structural(**options)


@pytest.mark.parametrize(("data", "options", "message"), [
    ([1.0, 2.0, 3.0], {}, "column 'y' has at most 3 observed entries in a sequence, too few for 1 state and 2 variances"),
    ([[1.0, np.nan], [2.0, np.nan], [4.0, np.nan], [3.0, 1.0], [2.0, 5.0], [1.0, 1.0]], {}, "column 'y2' has at most 3"),
    (np.ones(30), {}, "column 'y' does not vary"),
    (np.arange(15.0) % 4, {"seasonal": 12}, "too few for 12 states"),
    ([np.array([1.0, 2.0])] * 20, {"trend": True}, "at most 2 observed entries in a sequence, too few for 2 states"),
])  # fmt: skip
def test_data_that_cannot_be_fitted_are_refused(data, options, message):
    with pytest.raises(InputError, match=message):
        sw.Structural(**options).fit(data)


def test_an_unfitted_model_says_so():
    for use in (lambda m: m.log_prob([1.0]), lambda m: m.system, lambda m: m.bic, lambda m: m.smooth([1.0])):
        with pytest.raises(NotFittedError):
            use(sw.Structural())


# --- data -------------------------------------------------------------------------------------------------------------


def test_missing_entries_are_integrated_out():
    y = quarters().copy()
    y[[0, 1, 50, 51, 52, 53]] = np.nan
    model = sw.Structural(trend=True, seasonal=4).fit(y)
    np.testing.assert_allclose(model.fit_result.log_prob, ref.log_density(dense(model), y[:, None]), rtol=1e-8)
    assert model.fit_result.n_steps == 90
    bridged = model.smooth(y)
    gap = bridged.mean[50:54, 0] + bridged.mean[50:54, 2]
    np.testing.assert_allclose(gap, quarters()[50:54], atol=5)


def test_a_panel_of_unequal_lengths_is_one_likelihood():
    panel = [quarters()[:50], quarters()[30:41], quarters()[60:61]]
    model = sw.Structural().fit(panel)
    want = sum(ref.log_density(dense(model), y[:, None]) for y in panel)
    np.testing.assert_allclose(model.fit_result.log_prob, want, rtol=1e-9)
    assert model.forecast(panel, steps=3).mean.shape == (3, 3, 1)


def test_a_known_regression_coefficient_is_recovered():
    """y = local level + 2 u: within 3 standard errors, which follow from the differences: Δy = 2 Δu + noise."""
    rng = np.random.default_rng(1)
    u = rng.standard_normal((300, 1)) * 5 + 100
    y = rng.standard_normal(300).cumsum() + 2 * u[:, 0] + 0.5 * rng.standard_normal(300)
    seqs = sw.Sequences.from_arrays([y], inputs=[u])
    model = sw.Structural().fit(seqs)
    error = np.sqrt((1 + 2 * 0.25) / np.sum(np.diff(u[:, 0]) ** 2))
    assert abs(model.input_weights[0, 0] - 2) < 3 * error
    bare = sw.Structural().fit(y - 2 * u[:, 0])
    np.testing.assert_allclose(model.variances["level"], bare.variances["level"], rtol=0.1)
    future = np.array([[90.0], [110.0]])
    have = model.forecast(seqs, steps=2, inputs=future).mean[0, :, 0]
    np.testing.assert_allclose(np.diff(have), 20 * model.input_weights[0], rtol=1e-9)
    with pytest.raises(InputError, match="the model has the inputs u1"):
        model.forecast(seqs, steps=2)
    with pytest.raises(InputError, match="0 input_columns"):
        model.log_prob(y)


def test_inputs_of_a_model_without_a_level():
    """The mean and the coefficient together, with inputs far from zero. Oracle: least squares with seasonal dummies."""
    rng = np.random.default_rng(1)
    u = rng.standard_normal((120, 1)) + 1000
    season = np.tile(np.eye(4), (30, 1))
    y = season @ [10.0, 20.0, 30.0, 40.0] + 0.7 * u[:, 0] + rng.standard_normal(120)
    model = sw.Structural(level=False, seasonal=4).fit(sw.Sequences.from_arrays([y], inputs=[u]))
    want = np.linalg.lstsq(np.hstack([season, u]), y, rcond=None)[0]
    np.testing.assert_allclose(model.input_weights[0], want[4:], atol=1e-3)
    np.testing.assert_allclose(
        model.parameters["mean"] + 1000 * model.input_weights[0], [want[:4].mean() + 1000 * want[4]], rtol=1e-4
    )


# --- zero variances and other corners ---------------------------------------------------------------------------------


def test_a_variance_of_zero_is_noted_and_everything_still_works():
    """A random walk without noise: the irregular's variance is zero at the maximum."""
    y = np.random.default_rng(0).standard_normal(120).cumsum()
    model = sw.Structural().fit(y)
    assert (
        "the variance of the irregular of 'y' is zero at the maximum: that component is fixed" in model.fit_result.notes
    )
    assert model.variances["irregular"][0] < 1e-6
    np.testing.assert_allclose(model.smooth(y).mean[:, 0], y, atol=1e-3)
    np.testing.assert_allclose(model.forecast(y, steps=1).mean.ravel(), y[-1], atol=1e-3)
    gone = y.copy()
    gone[[40, 41]] = np.nan
    bridge = model.smooth(gone).mean[[40, 41], 0]
    np.testing.assert_allclose(bridge, y[39] + (y[42] - y[39]) * np.array([1, 2]) / 3, atol=1e-3)


def test_smoothing_with_an_irregular_variance_of_exactly_zero():
    """Oracle: generalised least squares. A first observation without variance given the state must not stop it."""
    model = sw.Structural(seasonal=4).fit(quarters())
    variances = model.variances | {"irregular": np.zeros(1)}
    sys = structural_system(Form(seasonal=4), variances, {}, np.zeros(1), np.zeros((1, 0)))
    state_space = sw.StateSpace.from_system(sys)
    y = quarters()[:20, None].copy()
    y[[6, 13]] = np.nan
    own = {name: getattr(sys, name) for name in ("A", "C", "Q", "R", "m0", "P0", "Pinf")}
    mean, cov = ref.smoothed(own, y)
    np.testing.assert_allclose(state_space.smooth(y).mean, mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(state_space.smooth(y).cov, cov, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(state_space.log_prob(y), [ref.log_density(own, y)], rtol=1e-9)


@pytest.mark.parametrize("data", [np.arange(30.0), np.tile([1.0, 2.0, 3.0, 5.0], 8)])
def test_data_without_noise_are_not_called_converged(data):
    """A straight line, an exact season: the likelihood has no maximum, and the fit says that it stopped at a boundary."""
    model = sw.Structural(trend=True, seasonal=4).fit(data)
    assert not model.fit_result.converged
    np.testing.assert_allclose(
        model.forecast(data, steps=4).mean.ravel(), data[-4:] + (4 if data[-1] == 29 else 0), atol=0.05
    )


def test_forecasts_of_a_sequence_that_does_not_settle_the_start_are_refused():
    model = fitted("all")
    with pytest.raises(InputError, match="too few observations \\(4 steps\\) to settle the diffuse start of 5 states"):
        model.forecast([quarters(), quarters()[:4]])
    assert model.forecast(quarters()[:5], steps=1).mean.shape == (1, 1, 1)
    holes = quarters()[:9].copy()
    holes[[3, 7]] = np.nan  # the fourth quarter was never seen
    with pytest.raises(InputError, match="diffuse start"):
        model.forecast(holes[:8], steps=4)
    model.forecast(quarters()[:9], steps=4)


def test_forecasts_are_the_conditional_moments():
    model, y = fitted("all"), quarters()[:30]
    mean, cov = ref.forecast(dense(model), y[:, None], 6)
    have = model.forecast(y, steps=6)
    np.testing.assert_allclose(have.mean[0], mean, rtol=1e-8)
    np.testing.assert_allclose(have.variance[0, :, 0], np.diag(cov), rtol=1e-7)
    moved = y.copy()
    moved[-1] += 1
    assert (np.abs(model.forecast(moved, steps=6).mean - have.mean) > 1e-4).all()


def test_residuals_start_where_the_start_is_settled():
    e = fitted("all").predict(quarters()).residuals[:, 0]
    np.testing.assert_array_equal(np.isnan(e), np.arange(96) < 5)
    assert abs(e[5:].std() - 1) < 0.25


def test_draws_continue_the_training_data():
    """`sample` starts at the last state: 2 000 draws of one step agree with the one-step forecast within 5 standard errors."""
    model = fitted("all")
    drawn = model.sample(length=1, count=2000, seed=0).values
    ahead = model.forecast(quarters(), steps=1)
    sd = np.sqrt(model.system.R[0, 0])
    assert abs(drawn.mean() - ahead.mean.item()) < 5 * max(sd, 1e-6) / np.sqrt(2000) + 1e-6


def test_a_slow_search_says_that_it_stopped():
    model = sw.Structural(trend=True, seasonal=4).fit(quarters(), max_iter=1)
    assert model.fit_result.outcome is Outcome.MAX_ITER


# --- the rest of the face ---------------------------------------------------------------------------------------------


def test_fit_result_and_criteria_by_hand():
    model = fitted("all")
    result = model.fit_result
    assert model.n_parameters == 4
    np.testing.assert_allclose(model.aic, 8 - 2 * result.log_prob, rtol=1e-14)
    np.testing.assert_allclose(model.bic, 4 * np.log(96) - 2 * result.log_prob, rtol=1e-14)
    np.testing.assert_allclose(result.log_prob, model.log_prob(quarters()).sum(), rtol=1e-14)
    assert (result.n_steps, len(result.trace) > 1, result.seconds > 0) == (96, True, True)
    two = sw.Structural().fit(np.c_[quarters(), quarters() ** 1.1])
    assert two.n_parameters == 4


def test_summary_and_names():
    assert repr(sw.Structural(trend=True, seasonal=12)) == "Structural(level, trend, season 12)"
    assert repr(sw.Structural(seasonal=True)) == "Structural(level, season)"
    text = fitted("llevel").summary()
    for part in ("Structural(level)", "log-likelihood", "variance of level", "AIC / BIC"):
        assert part in text


def test_options_can_be_read_changed_and_cloned():
    model = fitted("season")
    assert model.get_params() == {
        "level": True, "trend": False, "seasonal": 4, "seasonal_form": "dummy", "harmonics": None, "cycle": False, "damped_cycle": True,
        "fixed": (),
    }  # fmt: skip
    copy = model.clone()
    assert not copy.is_fitted
    assert not copy.set_params(seasonal=None).get_params()["seasonal"]
    with pytest.raises(InputError, match="all off"):
        copy.set_params(level=False)


def test_memory_of_the_local_level_is_its_gain():
    """(1 − K)ᵗ with K from the signal-to-noise ratio. Closed form."""
    model = sw.Structural().fit(sw.datasets.load("nile"))
    q = float(model.variances["level"][0] / model.variances["irregular"][0])
    gain = (-q + np.sqrt(q * q + 4 * q)) / 2
    np.testing.assert_allclose(model.memory().rate, 1 - gain, rtol=1e-9)
    assert model.memory().process_half_life == np.inf
