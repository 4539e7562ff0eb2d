"""`Structural`: damped trend, trigonometric season, cycle, fixed components; what the components are and how well the parameters are known.

Oracles: the recursions of Harvey (1989) written out; the dense diffuse likelihood; statsmodels 0.15's UnobservedComponents at the same
parameters and at its own maximum; differences of the likelihood; recovery of what was simulated.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError
from statewise.fitting import structural as fitting
from statewise.inference.structural import Form, structural_system

FORMS = {
    "damped": {"trend": "damped"},
    "trigonometric": {"seasonal": 4, "seasonal_form": "trigonometric"},
    "one harmonic": {"trend": True, "seasonal": 7, "seasonal_form": "trigonometric", "harmonics": 1},
    "cycle": {"cycle": (8.0, 40.0)},
    "undamped cycle": {"cycle": (8.0, 40.0), "damped_cycle": False},
    "fixed": {"trend": True, "seasonal": 4, "fixed": ("level", "seasonal")},
    "all": {"trend": "damped", "seasonal": 5, "seasonal_form": "trigonometric", "cycle": (8.0, 40.0)},
}


@cache
def series(T: int = 120) -> np.ndarray:
    """A drifting level, a cycle of 16 steps, a season of 4 and noise."""
    rng = np.random.default_rng(0)
    t = np.arange(T)
    return (
        20 + 0.1 * t + 0.5 * rng.standard_normal(T).cumsum() + 4 * np.cos(2 * np.pi * t / 16 + 1)
        + np.tile([2.0, -1.0, 0.5, -1.5], T // 4) + rng.standard_normal(T)
    )  # fmt: skip


@cache
def fitted(kind: str) -> sw.Structural:
    return sw.Structural(**FORMS[kind]).fit(series())


def matrices(model: sw.Structural) -> dict[str, np.ndarray]:
    return {
        name: getattr(model.system, name) for name in ("A", "C", "Q", "R", "S", "b", "d", "D", "B", "m0", "P0", "Pinf")
    }


# --- the state-space form ---------------------------------------------------------------------------------------------


def test_a_damped_slope_and_a_cycle_are_the_recursions():
    """One step by hand: slope φ β; (ψ, ψ*) turned by λ and shrunk by ρ; stationary start σ²/(1 − φ²), σ²/(1 − ρ²)."""
    form = Form(trend="damped", cycle="damped")
    variances = {
        name: np.array([v]) for name, v in (("level", 1.0), ("trend", 2.0), ("cycle", 3.0), ("irregular", 4.0))
    }
    dynamics = {"trend_damping": np.array([0.9]), "cycle_damping": np.array([0.8]), "cycle_period": np.array([6.0])}
    sys = structural_system(form, variances, dynamics, np.zeros(1), np.zeros((1, 0)))
    moved = sys.A @ np.array([10.0, 2.0, 5.0, 1.0])
    c, s = np.cos(np.pi / 3), np.sin(np.pi / 3)
    np.testing.assert_allclose(moved, [12.0, 1.8, 0.8 * (5 * c + s), 0.8 * (-5 * s + c)], rtol=1e-14)
    np.testing.assert_array_equal(sys.C, [[1, 0, 1, 0]])
    np.testing.assert_array_equal(np.diag(sys.Q), [1, 2, 3, 3])
    np.testing.assert_allclose(np.diag(sys.P0), [0, 2 / 0.19, 3 / 0.36, 3 / 0.36], rtol=1e-14)
    np.testing.assert_array_equal(np.diag(sys.Pinf), [1, 0, 0, 0])


@pytest.mark.parametrize("season", [2, 4, 5, 12])
def test_a_full_trigonometric_season_without_noise_is_any_pattern_that_sums_to_zero(season):
    """s − 1 states; from any of them the season repeats after s steps and sums to zero over s."""
    form = Form(seasonal=season, harmonics=season // 2)
    variances = {name: np.zeros(1) for name in form.disturbances}
    sys = structural_system(form, variances, {}, np.zeros(1), np.zeros((1, 0)))
    assert sys.n == 1 + season - 1
    state, drawn = np.r_[0.0, np.random.default_rng(0).standard_normal(season - 1)], []
    for _ in range(2 * season):
        drawn.append((sys.C @ state)[0])
        state = sys.A @ state
    np.testing.assert_allclose(drawn[:season], drawn[season:], atol=1e-12)
    np.testing.assert_allclose(sum(drawn[:season]), 0, atol=1e-12)


@pytest.mark.parametrize("kind", FORMS)
def test_log_prob_is_the_dense_diffuse_likelihood(kind):
    model, y = fitted(kind), series()[:30, None].copy()
    y[[1, 10, 11]] = np.nan
    np.testing.assert_allclose(model.log_prob(y), [ref.log_density(matrices(model), y)], rtol=1e-9)


@pytest.mark.parametrize("kind", FORMS)
def test_the_gradient_is_that_of_differences(kind):
    """Central differences of the filter's own likelihood, away from the maximum. 1e-6 of the largest entry: √eps of the value, over the step."""
    seqs, _ = sw.Sequences.from_arrays([series()], inputs=[np.sin(np.arange(120.0) ** 2)[:, None]]).standardise()
    model = sw.Structural(**FORMS[kind])
    form = model._form(FORMS[kind].get("seasonal"))
    problem = fitting.Problem(form, frozenset(FORMS[kind].get("fixed", ())), (8.0, 40.0), 1)
    size = problem.cuts[-1]
    point = np.r_[np.full(len(problem.free), -2.5), np.zeros(size - len(problem.free))] + 0.3 * np.cos(np.arange(size))
    objective = fitting.objective(problem, seqs)
    value, gradient = objective(point)

    def at(x: np.ndarray) -> float:
        return sw.StateSpace.from_system(fitting.unpack(problem, x).system(form)).log_prob(seqs)[0]

    np.testing.assert_allclose(value, at(point), rtol=1e-9)
    step = 1e-5 * np.eye(size)
    differences = [(at(point + s) - at(point - s)) / 2e-5 for s in step]
    np.testing.assert_allclose(gradient, differences, atol=1e-6 * max(1.0, np.abs(gradient).max()))


@pytest.mark.parametrize("kind", FORMS)
def test_pack_and_unpack_are_inverse(kind):
    model = fitted(kind)
    own = model._training[0]
    column = fitting.unpack(own.problem, own.maximum.point)
    again = fitting.unpack(own.problem, fitting.pack(own.problem, column))
    for name, value in (column.variances | column.dynamics).items():
        np.testing.assert_allclose((again.variances | again.dynamics)[name], value, rtol=1e-9, err_msg=name)


# --- the peer ---------------------------------------------------------------------------------------------------------


def peer_of(kind: str, y: np.ndarray):
    """UnobservedComponents with the same components; a damped cycle in its stationary law, in place of the diffuse start that it would take."""
    components = pytest.importorskip("statsmodels.tsa.statespace.structural")
    from statsmodels.tsa.statespace.initialization import Initialization

    options = {
        "trigonometric": {"level": "llevel", "freq_seasonal": [{"period": 4}]},
        "one harmonic": {"level": "lltrend", "freq_seasonal": [{"period": 7, "harmonics": 1}]},
        "cycle": {
            "level": "llevel",
            "cycle": True,
            "stochastic_cycle": True,
            "damped_cycle": True,
            "cycle_period_bounds": (8, 40),
        },
        "undamped cycle": {"level": "llevel", "cycle": True, "stochastic_cycle": True, "cycle_period_bounds": (8, 40)},
        "fixed": {"level": "strend", "seasonal": 4, "stochastic_seasonal": False},
    }[kind]
    peer = components.UnobservedComponents(y, use_exact_diffuse=True, **options)
    if kind == "cycle":
        start = Initialization(peer.k_states)
        start.set((0, 1), "diffuse")
        start.set((1, 3), "stationary")
        peer.ssm.initialization = start
        peer.initialize_default = lambda *_: None
    return peer


@pytest.mark.parametrize("kind", ["trigonometric", "one harmonic", "cycle", "undamped cycle", "fixed"])
@pytest.mark.parametrize("gaps", [False, True])
def test_statsmodels_agrees_at_our_parameters(kind, gaps):
    y = series().copy()
    if gaps:
        y[[0, 2, 30, 31, 32]] = np.nan
    model = fitted(kind)
    peer, own = peer_of(kind, y), model.variances
    given = {f"sigma2.{name}": own[name][0] for name in ("irregular", "level", "trend", "cycle") if name in own}
    if "seasonal" in own:
        given |= {name: own["seasonal"][0] for name in peer.param_names if "seasonal" in name}
    if model.cycle_period is not None:
        given |= {"frequency.cycle": 2 * np.pi / model.cycle_period[0]}
    if model.cycle_damping is not None:
        given |= {"damping.cycle": model.cycle_damping[0]}
    want = peer.smooth([given[name] for name in peer.param_names])
    np.testing.assert_allclose(model.log_prob(y), [want.llf], rtol=1e-8)
    np.testing.assert_allclose(model.components(y)["level"][:, 0], want.level.smoothed, rtol=1e-6)
    np.testing.assert_allclose(model.forecast(y, steps=6).mean[0, :, 0], want.get_forecast(6).predicted_mean, rtol=1e-6)


@pytest.mark.parametrize("kind", ["trigonometric", "one harmonic", "cycle", "undamped cycle", "fixed"])
def test_no_point_that_statsmodels_finds_is_higher(kind):
    """Its own maximum, by its own likelihood of the same convention. 2e-3 nats: what a variance of zero may cost, and what it has not reached."""
    peer = peer_of(kind, series())
    theirs = max(peer.fit(method=method, disp=0, maxiter=500).llf for method in ("lbfgs", "powell"))
    assert fitted(kind).fit_result.log_prob > theirs - 2e-3


# --- the maximum ------------------------------------------------------------------------------------------------------


def test_a_cycle_is_recovered():
    """Period 20, damping .95, variance 1 on 1 500 steps: within four standard errors, which the model itself says."""
    rng = np.random.default_rng(3)
    angle, state, drawn = 2 * np.pi / 20, np.zeros(2), []
    turn = 0.95 * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for _ in range(1500):
        state = turn @ state + rng.standard_normal(2)
        drawn.append(state[0] + 0.5 * rng.standard_normal())
    model = sw.Structural(level=False, cycle=(5.0, 60.0)).fit(np.array(drawn))
    known = model.standard_errors()
    assert known.names == ("variance of cycle", "variance of irregular", "cycle damping", "cycle period", "mean y")
    distance = (known.estimate - [1.0, 0.25, 0.95, 20.0, 0.0]) / known.standard_error
    assert np.abs(distance).max() < 4
    assert known.standard_error[3] < 1
    assert model.n_parameters == 5


def test_a_damped_trend_holds_the_local_level_and_flattens_out():
    """A slope variance of zero is the local level: the likelihood is no lower. Far ahead the forecast does not move."""
    model, level = fitted("damped"), sw.Structural().fit(series())
    assert model.fit_result.log_prob >= level.fit_result.log_prob - 1e-3
    far = sw.Structural(trend="damped").fit(np.log(sw.datasets.load("airline").values[:, 0]))
    assert 0 < far.trend_damping[0] < 1
    ahead = far.forecast(np.log(sw.datasets.load("airline").values[:, 0]), steps=3000).mean[0, :, 0]
    assert abs(ahead[-1] - ahead[-2]) <= abs(ahead[1] - ahead[0])


def test_fixed_components_do_not_move_and_are_not_counted():
    model = fitted("fixed")
    assert model.variances["level"] == model.variances["seasonal"] == 0
    assert model.n_parameters == 2
    parts = model.components(series())
    np.testing.assert_allclose(parts["seasonal"][4:], parts["seasonal"][:-4], atol=1e-6)
    assert not any("level" in note for note in model.fit_result.notes)  # it is what was asked for


def test_a_period_at_its_bound_is_noted():
    """The data's cycle has 16 steps, and the bounds end at 15."""
    model = sw.Structural(cycle=(8.0, 15.0)).fit(series())
    assert any(
        "the cycle period of 'y' is at a bound of what is allowed, 15" in note for note in model.fit_result.notes
    )
    known = model.standard_errors()
    assert np.isnan(known.standard_error[known.names.index("cycle period")])
    assert any("so without a standard error" in note and "cycle period" in note for note in known.notes)


# --- what it says -----------------------------------------------------------------------------------------------------


def test_components_sum_to_the_data_and_the_variances_are_the_smoothers():
    model, y = fitted("all"), series().copy()
    y[40] = np.nan
    parts = model.components(y)
    assert parts.names == ("level", "trend", "seasonal", "cycle", "irregular")
    total = sum(parts[name] for name in parts.names if name != "trend")[:, 0]
    seen = ~np.isnan(y)
    np.testing.assert_allclose(total[seen], y[seen], rtol=1e-12)
    states = model.smooth(y)
    np.testing.assert_allclose(parts["trend"][:, 0], states.mean[:, 1])
    np.testing.assert_allclose(parts.variance[:, 0, 1], states.cov[:, 1, 1])
    # at an observed step the irregular and the sum of the others have the same variance; at a missing one it is that of the noise
    signal = np.einsum("i,tij,j->t", model.system.C[0], states.cov, model.system.C[0])
    np.testing.assert_allclose(parts.variance[seen, 0, 4], np.maximum(signal[seen], 0), atol=1e-12)
    assert parts.variance[40, 0, 4] == model.variances["irregular"][0]
    frame = parts.to_frame()
    assert frame.columns.tolist()[:4] == ["id", "step", "level", "level_sd"]
    assert len(parts.plot().axes) == 5
    with pytest.raises(InputError, match="there is no component 'slope'; the model has level, trend"):
        parts["slope"]


def test_components_of_columns_and_of_a_regression():
    rng = np.random.default_rng(1)
    u = rng.standard_normal((120, 1))
    y = np.c_[series() + 3 * u[:, 0], rng.standard_normal(120).cumsum()]
    seqs = sw.Sequences.from_arrays([y], inputs=[u], columns=["a", "b"])
    model = sw.Structural().fit(seqs)
    parts = model.components(seqs)
    assert parts.names == ("level", "regression", "irregular")
    np.testing.assert_allclose(parts["regression"], u @ model.input_weights.T, rtol=1e-12)
    np.testing.assert_allclose(parts.mean.sum(axis=-1), y, rtol=1e-9, atol=1e-9)
    assert {"a_level", "b_level_sd"} < set(parts.to_frame().columns)


def test_standard_errors_of_a_local_level_are_those_of_the_information():
    """Nile. Oracle: second differences of the log-likelihood in the variances themselves. 1e-3: differences of a value of 6e2 at steps of 1e-3."""
    seqs = sw.datasets.load("nile")
    model = sw.Structural().fit(seqs)
    known = model.standard_errors()
    at = np.array([model.variances["level"][0], model.variances["irregular"][0]])
    assert known.names == ("variance of level", "variance of irregular")

    def value(variances: np.ndarray) -> float:
        one = np.eye(1)
        return sw.StateSpace(one, one, variances[:1, None], variances[1:, None], initial="diffuse").log_prob(seqs)[0]

    h, hessian = 1e-3 * at, np.empty((2, 2))
    for i, j in np.ndindex(2, 2):
        a, b = h * np.eye(2)[i], h * np.eye(2)[j]
        hessian[i, j] = (value(at + a + b) - value(at + a - b) - value(at - a + b) + value(at - a - b)) / (
            4 * h[i] * h[j]
        )
    np.testing.assert_allclose(known.standard_error, np.sqrt(np.diag(np.linalg.inv(-hessian))), rtol=1e-3)
    assert 1 < known.condition < 100


def test_a_variance_of_zero_has_no_standard_error_and_the_summary_says_so():
    model = sw.Structural().fit(np.random.default_rng(0).standard_normal(120).cumsum())
    assert model.variances["irregular"][0] == 0
    known = model.standard_errors()
    assert np.isnan(known.standard_error).tolist() == [False, True]
    # a random walk observed without noise: σ̂² has the standard error σ̂² √(2 / (T − 1))
    np.testing.assert_allclose(known.standard_error[0], known.estimate[0] * np.sqrt(2 / 119), rtol=1e-4)
    text = model.summary()
    assert "without a standard error: variance of irregular" in text
    assert "information     condition" in text
    assert "start" not in text.split("AIC")[1]


def test_a_variance_of_zero_is_a_maximum_on_the_boundary():
    """There the likelihood falls when the variance is let go: its derivative at zero is not positive."""
    own = sw.Structural(trend=True).fit(np.random.default_rng(0).standard_normal(120).cumsum())._training[0]
    slopes = fitting.slopes_at_zero(own.problem, own.seqs, own.maximum.point)
    assert slopes
    assert max(slopes.values()) <= 1e-3 * own.seqs.rows


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "message"), [
    ({"trend": "damp"}, "`trend` is 'damp'; pass True, False or 'damped'"),
    ({"seasonal": 4, "harmonics": 2}, "`harmonics` is of a trigonometric season"),
    ({"seasonal": 4, "seasonal_form": "trigonometric", "harmonics": 3}, "a season of 4 steps has at most 2"),
    ({"cycle": (2.0, 10.0)}, "`cycle` is \\(2.0, 10.0\\); pass True, False or two bounds"),
    ({"cycle": (10.0, 5.0)}, "pass the lower bound of the period first"),
    ({"fixed": ("trend",)}, "`fixed` names 'trend', which the model does not have; it has level, irregular"),
    ({"fixed": ("level", "irregular")}, "`fixed` names every component"),
    ({"fixed": "level"}, "`fixed` is 'level'; pass a tuple"),
])  # fmt: skip
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sw.Structural(**options)


def test_a_sequence_too_short_for_a_cycle_is_refused():
    with pytest.raises(InputError, match="`cycle` is True but the longest sequence has 6 steps"):
        sw.Structural(cycle=True).fit(series()[:6])


@pytest.mark.parametrize("kind", FORMS)
def test_a_saved_model_is_the_same(kind, tmp_path):
    model = fitted(kind)
    model.save(tmp_path)
    again = sw.load(tmp_path)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.log_prob(series()), model.log_prob(series()))
    assert again.summary() == model.summary()


def test_a_sample_starts_where_the_training_sequence_ended():
    model = fitted("all")
    drawn = model.sample(length=1, count=4000, seed=0).values
    ahead = model.forecast(series(), steps=1)
    assert abs(drawn.mean() - ahead.mean.item()) < 3.0  # the cycle starts in its stationary law
    assert np.isfinite(drawn).all()
