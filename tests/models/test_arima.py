"""`ARIMA`: exact likelihood of the levels, with a season, inputs, missing entries and several sequences.

Oracles: the published airline model (R 4's `arima`, Box & Jenkins' series G); the dense diffuse likelihood of the recursion written out; the VARMA of
the differences; statsmodels 0.15's SARIMAX with its exact diffuse start; differences of the likelihood; recovery of what was simulated.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.signal import lfilter
from tests.reference import kalman as ref

import statewise as sw
from statewise import ARIMA
from statewise._core.errors import InputError, NotFittedError
from statewise.fitting import arima as fitting
from statewise.inference import arima as algebra
from statewise.inference.arima import ArimaParameters, Orders

ORDERS = {
    "arma": ((1, 0, 1), (0, 0, 0), None),
    "random walk": ((0, 1, 0), (0, 0, 0), None),
    "ari": ((2, 1, 0), (0, 0, 0), None),
    "ima": ((0, 2, 2), (0, 0, 0), None),
    "seasonal": ((0, 1, 1), (0, 1, 1), 4),
    "all": ((1, 1, 1), (1, 1, 1), 3),
    "seasonal ar": ((1, 0, 0), (1, 0, 0), 4),
}


@cache
def series(T: int = 100) -> np.ndarray:
    rng = np.random.default_rng(2)
    season = np.tile([2.0, -1.0, 0.5, -1.5], T // 4) * (1 + 0.01 * np.arange(T))
    return 30 + lfilter([1, 0.4], [1, -0.6], rng.standard_normal(T)).cumsum() + season


@cache
def log_airline() -> sw.Sequences:
    airline = sw.datasets.load("airline")
    return airline.replace(values=np.log(airline.values))


@cache
def fitted(kind: str, trend: str | None = None) -> ARIMA:
    order, seasonal, period = ORDERS[kind]
    return ARIMA(order, seasonal, period, trend).fit(series(), restarts=0)


def matrices(model: ARIMA) -> dict[str, np.ndarray]:
    return {
        name: getattr(model.system, name) for name in ("A", "C", "Q", "R", "S", "b", "d", "D", "B", "m0", "P0", "Pinf")
    }


# --- algebra ----------------------------------------------------------------------------------------------------------


def test_differences_are_those_of_numpy():
    y = np.random.default_rng(0).standard_normal((30, 2))
    np.testing.assert_allclose(algebra.differenced(y, Orders(0, 2, 0)), np.diff(y, 2, axis=0), atol=1e-12)
    both = algebra.differenced(y, Orders(0, 1, 0, 0, 1, 0, 4))
    np.testing.assert_allclose(both, np.diff(y[4:] - y[:-4], axis=0), atol=1e-12)
    assert len(algebra.differenced(y[:5], Orders(0, 1, 0, 0, 1, 0, 4))) == 0
    assert Orders(0, 1, 1, 0, 1, 1, 12).lost == 13
    assert Orders(2, 0, 1, 1, 0, 2, 4).longest == (6, 9)


def test_polynomials_multiply_and_so_do_their_gradients():
    """(1 + .5L)(1 + .2L³) by hand; the gradient against differences."""
    np.testing.assert_allclose(algebra.multiply(np.array([0.5]), np.array([0.2]), 3), [0.5, 0, 0.2, 0.1])
    rng = np.random.default_rng(0)
    plain, seasonal, weight = rng.standard_normal(2), rng.standard_normal(2), rng.standard_normal(8)
    of_plain, of_seasonal = algebra.multiply_gradient(weight, plain, seasonal, 3)
    for i, step in enumerate(1e-6 * np.eye(2)):
        change = algebra.multiply(plain + step, seasonal, 3) - algebra.multiply(plain - step, seasonal, 3)
        np.testing.assert_allclose(of_plain[i], weight @ change / 2e-6, rtol=1e-8)
        change = algebra.multiply(plain, seasonal + step, 3) - algebra.multiply(plain, seasonal - step, 3)
        np.testing.assert_allclose(of_seasonal[i], weight @ change / 2e-6, rtol=1e-8)


@pytest.mark.parametrize("p", [0, 1, 2, 5])
def test_the_stationary_map(p):
    """All roots inside, also far out; the inverse; the Jacobian against differences."""
    x = 3 * np.random.default_rng(p).standard_normal(p)
    phi, jacobian = algebra.stationary(x)
    assert np.abs(algebra.inverse_roots(-phi)).max(initial=0.0) < 1
    np.testing.assert_allclose(algebra.unconstrained(phi), x, rtol=1e-8)
    steps = 1e-6 * np.eye(p)
    differences = [(algebra.stationary(x + s)[0] - algebra.stationary(x - s)[0]) / 2e-6 for s in steps]
    np.testing.assert_allclose(jacobian.T, np.reshape(differences, (p, p)), atol=1e-8)


def test_reflection_leaves_the_autocovariances():
    """1 + 2L and 1 + 3L⁴ turned inside: the covariances σ² Σ ψ ψ' of the moving average stay."""
    nothing = np.zeros(0)
    par = ArimaParameters(nothing, np.array([2.5, 1.0]), nothing, np.array([3.0]), 0.0, nothing, 1.5)
    moved = algebra.invertible(par)
    assert np.abs(algebra.inverse_roots(moved.ma)).max() < 1
    assert np.abs(algebra.inverse_roots(moved.seasonal_ma)).max() < 1
    for own in (par, moved):
        psi = np.r_[1.0, algebra.multiply(own.ma, own.seasonal_ma, 4)]
        covariances = own.var * np.correlate(psi, psi, "full")
        np.testing.assert_allclose(
            covariances, par.var * np.correlate(*[np.r_[1.0, algebra.multiply(par.ma, par.seasonal_ma, 4)]] * 2, "full")
        )


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("gaps", [False, True])
def test_the_gradient_is_that_of_differences(kind, gaps):
    """Central differences; 1e-6 of the largest entry: √eps of the value, over the step. With a mean and an input."""
    y = (series() - 30) / 4
    if gaps:
        y[[0, 3, 40, 41]] = np.nan
    order, seasonal, period = ORDERS[kind]
    problem = fitting.Problem(Orders(*order, *seasonal, period or 1), True, 1)
    seqs = sw.Sequences.from_arrays(
        [y[:60], y[60:]], inputs=[np.sin(np.arange(60.0) ** 2)[:, None], np.cos(np.arange(40.0) ** 2)[:, None]]
    )
    objective = fitting.ArimaObjective(problem, seqs)
    point = 0.3 * np.cos(np.arange(problem.cuts[-1]) + 1.0)
    gradient = objective(point)[1]
    differences = [(objective(point + s)[0] - objective(point - s)[0]) / 2e-5 for s in 1e-5 * np.eye(point.size)]
    np.testing.assert_allclose(gradient, differences, atol=1e-6 * max(1.0, np.abs(gradient).max()))


# --- the likelihood ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("trend", ["c", "n"])
def test_log_prob_is_the_dense_diffuse_likelihood(kind, trend):
    model, y = fitted(kind, trend), series()[:26, None].copy()
    y[[1, 10, 11]] = np.nan
    np.testing.assert_allclose(model.log_prob(y), [ref.log_density(matrices(model), y)], rtol=1e-8)


@pytest.mark.parametrize("kind", ["ari", "ima", "seasonal", "all"])
def test_the_likelihood_of_the_levels_is_that_of_the_differences(kind):
    """Complete data: the ARMA likelihood of the differences, by the VARMA's state-space form, less ½ log 2π for each step they take."""
    model = fitted(kind, "c")
    orders = model._known_orders
    lags = [getattr(model, name)[0] for name in ("ar", "ma", "seasonal_ar", "seasonal_ma")]
    par = ArimaParameters(*lags, model.mean[0], np.zeros(0), model.innovation_var[0])
    from statewise.inference.varma import innovations_system

    inner = sw.StateSpace.from_system(innovations_system(par.expanded(orders.period)))
    want = inner.log_prob(algebra.differenced(series()[:, None], orders))
    np.testing.assert_allclose(model.fit_result.details["log_prob_of_differences"], want[0], rtol=1e-9)
    np.testing.assert_allclose(model.log_prob(series()), want - 0.5 * np.log(2 * np.pi) * orders.lost, rtol=1e-9)


def test_the_airline_model_is_the_published_one():
    """R 4.3, arima(log(AirPassengers), c(0,1,1), list(order = c(0,1,1))): ma1 −0.4018 (0.0896), sma1 −0.5569 (0.0731), σ² 0.001348, log L 244.70,
    AIC −483.40; the estimates are those of Box, Jenkins & Reinsel (2008), §9.2, to the digits of exact maximum likelihood."""
    model = ARIMA((0, 1, 1), (0, 1, 1)).fit(log_airline())
    np.testing.assert_allclose([model.ma.item(), model.seasonal_ma.item()], [-0.4018, -0.5569], atol=5e-5)
    np.testing.assert_allclose(model.innovation_var, [0.001348], atol=5e-7)
    np.testing.assert_allclose(model.fit_result.details["log_prob_of_differences"], 244.70, atol=5e-3)
    np.testing.assert_allclose(
        2 * model.n_parameters - 2 * model.fit_result.details["log_prob_of_differences"], -483.40, atol=1e-2
    )
    known = model.standard_errors()
    assert known.names == ("ma1", "seasonal ma1", "innovation variance")
    np.testing.assert_allclose(known.standard_error[:2], [0.0896, 0.0731], atol=5e-5)
    assert model.fit_result.converged
    assert model.fit_result.notes == ()


@pytest.mark.parametrize(
    ("kind", "trend"),
    [("arma", "n"), ("ari", "n"), ("ima", "n"), ("seasonal", "n"), ("all", "n"), ("seasonal ar", "n")],
)
@pytest.mark.parametrize("gaps", [False, True])
def test_statsmodels_agrees_at_our_parameters(kind, trend, gaps):
    """SARIMAX, statsmodels 0.15, exact diffuse: log-likelihood and forecasts, with gaps and a regression too."""
    sarimax = pytest.importorskip("statsmodels.tsa.statespace.sarimax")
    y, u = series().copy(), np.sin(np.arange(100.0) ** 2)
    if gaps:
        y[[0, 2, 30, 31, 32]] = np.nan
    order, seasonal, period = ORDERS[kind]
    seqs = sw.Sequences.from_arrays([y], inputs=[u[:, None]])
    model = ARIMA(order, seasonal, period, trend).fit(seqs, max_iter=20)
    peer = sarimax.SARIMAX(y, u, order=order, seasonal_order=(*seasonal, period or 0), use_exact_diffuse=True)
    lags = [getattr(model, name)[0] for name in ("ar", "ma", "seasonal_ar", "seasonal_ma")]
    given = np.concatenate([model.input_weights[0], *lags, model.innovation_var])
    found = peer.smooth(given)
    np.testing.assert_allclose(model.log_prob(seqs), [found.llf], rtol=1e-8)
    want = found.get_forecast(6, exog=np.ones((6, 1)))
    have = model.forecast(seqs, steps=6, inputs=np.ones((6, 1)))
    np.testing.assert_allclose(have.mean[0, :, 0], want.predicted_mean, rtol=1e-7)
    np.testing.assert_allclose(have.variance[0, :, 0], want.var_pred_mean, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Non-(stationary|invertible) starting")
@pytest.mark.parametrize("kind", ["arma", "ari", "seasonal", "all"])
def test_no_point_that_statsmodels_finds_is_higher(kind):
    """Its maximum of the same likelihood. 1e-4 nats: its search ends at a gradient of 1e-5 per step."""
    sarimax = pytest.importorskip("statsmodels.tsa.statespace.sarimax")
    order, seasonal, period = ORDERS[kind]
    peer = sarimax.SARIMAX(series(), order=order, seasonal_order=(*seasonal, period or 0), use_exact_diffuse=True)
    theirs = peer.fit(disp=0, maxiter=300).llf
    order, seasonal, period = ORDERS[kind]
    assert ARIMA(order, seasonal, period, "n").fit(series()).fit_result.log_prob > theirs - 1e-4


def test_an_arma_without_differences_is_the_varma():
    model, peer = fitted("arma"), sw.VARMA(p=1, q=1).fit(series())
    np.testing.assert_allclose(model.fit_result.log_prob, peer.fit_result.log_prob, atol=1e-6)
    np.testing.assert_allclose(model.mean, peer.mean, rtol=1e-3)
    assert model.n_parameters == peer.n_parameters == 4


# --- data -------------------------------------------------------------------------------------------------------------


def test_coefficients_are_recovered():
    """(1,1,1)(0,1,1)₄ with drift on 2 000 steps: within four of the standard errors that the model says."""
    rng = np.random.default_rng(1)
    e = 2 * rng.standard_normal(2008)
    w = 0.1 + lfilter(np.convolve([1, 0.4], [1, 0, 0, 0, -0.6]), [1, -0.7], e)[8:]
    y = lfilter([1.0], np.convolve([1, -1], [1, 0, 0, 0, -1]), w)
    known = ARIMA((1, 1, 1), (0, 1, 1), period=4, trend="c").fit(y).standard_errors()
    assert known.names == ("mean y", "ar1", "ma1", "seasonal ma1", "innovation variance")
    distance = (known.estimate - [0.1, 0.7, 0.4, -0.6, 4.0]) / known.standard_error
    assert np.abs(distance).max() < 4


def test_a_drift_is_the_mean_step():
    """A random walk with drift: μ̂ = (y_T − y_1) / (T − 1), with standard error σ̂ / √(T − 1)."""
    y = 0.3 * np.arange(200) + np.random.default_rng(0).standard_normal(200).cumsum()
    model = ARIMA((0, 1, 0), trend="c").fit(y)
    np.testing.assert_allclose(model.mean, [(y[-1] - y[0]) / 199], rtol=1e-5)
    np.testing.assert_allclose(model.innovation_var, [np.diff(y).var()], rtol=1e-5)
    known = model.standard_errors()
    np.testing.assert_allclose(known.standard_error[0], np.sqrt(model.innovation_var[0] / 199), rtol=1e-4)
    np.testing.assert_allclose(np.diff(model.forecast(y, steps=5).mean[0, :, 0]), model.mean[0], rtol=1e-9)


def test_a_regression_with_random_walk_errors_is_least_squares_of_differences():
    rng = np.random.default_rng(1)
    u = rng.standard_normal((150, 2)) * [5, 0.1] + [100, 0]
    y = rng.standard_normal(150).cumsum() + u @ [2.0, -30.0]
    model = ARIMA((0, 1, 0)).fit(sw.Sequences.from_arrays([y], inputs=[u]))
    want, rss, *_ = np.linalg.lstsq(np.diff(u, axis=0), np.diff(y), rcond=None)
    np.testing.assert_allclose(model.input_weights[0], want, rtol=1e-5)
    np.testing.assert_allclose(model.innovation_var, rss / 149, rtol=1e-5)
    assert model.standard_errors().names[:2] == ("y on u1", "y on u2")


def test_a_panel_is_one_likelihood():
    """Unequal lengths, one too short to difference. Oracle: the dense likelihood of each, summed."""
    panel = [series()[:50], series()[30:61], series()[:3]]
    model = ARIMA((0, 1, 1), (0, 1, 1), period=4).fit(panel)
    want = sum(ref.log_density(matrices(model), y[:, None]) for y in panel)
    np.testing.assert_allclose(model.fit_result.log_prob, want, rtol=1e-8)


def test_columns_are_independent():
    two = np.c_[series(), 1000 * np.sin(np.arange(100)).cumsum() + np.random.default_rng(0).standard_normal(100)]
    both, alone = ARIMA((1, 1, 0)).fit(two), [ARIMA((1, 1, 0)).fit(two[:, j]) for j in range(2)]
    np.testing.assert_array_equal(both.ar, np.vstack([each.ar for each in alone]))
    np.testing.assert_allclose(both.fit_result.log_prob, sum(each.fit_result.log_prob for each in alone), rtol=1e-10)
    assert "ar1 of y2" in both.standard_errors().names


@pytest.mark.parametrize(("scale", "shift"), [(1e6, 0.0), (1e-6, 1e-3), (-3.0, 1e4)])
def test_the_units_of_the_data_do_not_matter(scale, shift):
    moved, model = ARIMA((0, 1, 1), (0, 1, 1), 4).fit(scale * series() + shift), fitted("seasonal")
    np.testing.assert_allclose([moved.ma, moved.seasonal_ma], [model.ma, model.seasonal_ma], atol=1e-4)
    jacobian = -95 * np.log(abs(scale))
    np.testing.assert_allclose(moved.fit_result.log_prob - jacobian, model.fit_result.log_prob, atol=1e-5)


# --- corners ----------------------------------------------------------------------------------------------------------


def test_a_moving_average_unit_root_is_found_and_said():
    """White noise differenced once too often: θ = −1 at the maximum, where there is no standard error."""
    y = np.random.default_rng(1).standard_normal(300)
    model = ARIMA((0, 1, 1)).fit(y)
    np.testing.assert_allclose(model.ma, [[-1.0]], atol=2e-3)
    assert any("has a root on the unit circle at the maximum" in note for note in model.fit_result.notes)
    known = model.standard_errors()
    assert np.isnan(known.standard_error[0])
    assert "without a standard error: ma1" in known.notes[-1]
    np.testing.assert_allclose(known.standard_error[1], known.estimate[1] * np.sqrt(2 / 299), rtol=1e-3)
    assert "without a standard error: ma1" in model.summary()


def test_an_autoregression_close_to_a_unit_root_is_said():
    y = np.random.default_rng(0).standard_normal(400).cumsum()
    y += 5 * np.arange(400)
    model = ARIMA((1, 0, 0)).fit(y)
    assert any("consider differencing once more" in note for note in model.fit_result.notes)


@pytest.mark.parametrize(("options", "data", "message"), [
    ({"seasonal_order": (0, 1, 1)}, series(), "`seasonal_order` is \\(0, 1, 1\\) but the sequences have no known season"),
    ({"order": (0, 1, 1)}, np.arange(40.0), "the differences of column 'y' do not vary"),
    ({"order": (0, 0, 1)}, np.ones(40), "the column 'y' do not vary"),
    ({"order": (0, 3, 0)}, [1.0, 2.0, 4.0, 3.0], "too few for 1 parameters after differencing, which takes 3"),
])  # fmt: skip
def test_data_that_cannot_be_fitted_are_refused(options, data, message):
    with pytest.raises(InputError, match=message):
        ARIMA(**options).fit(data)


def test_an_input_that_differencing_removes_is_refused():
    seqs = sw.Sequences.from_arrays([series()], inputs=[np.ones((100, 1))])
    with pytest.raises(InputError, match="the input 'u1' does not vary after differencing"):
        ARIMA((0, 1, 1)).fit(seqs)


@pytest.mark.parametrize(("options", "message"), [
    ({"order": (1, 0)}, "`order` has 2 values; pass a tuple of 3 values"),
    ({"order": 1}, "`order` is 1; pass a tuple of 3 values"),
    ({"order": (-1, 0, 0)}, "`order` is -1"),
    ({"period": 1}, "`period` is 1"),
    ({"trend": "ct"}, "`trend` is 'ct'"),
])  # fmt: skip
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ARIMA(**options)


def test_an_unfitted_model_says_so():
    for use in (lambda m: m.log_prob([1.0]), lambda m: m.system, lambda m: m.bic, lambda m: m.standard_errors()):
        with pytest.raises(NotFittedError):
            use(ARIMA())


def test_white_noise_has_a_closed_form():
    y = np.random.default_rng(0).standard_normal(50) * 3 + 2
    model = ARIMA((0, 0, 0)).fit(y)
    np.testing.assert_allclose(model.mean, [y.mean()], atol=1e-5)
    np.testing.assert_allclose(model.innovation_var, [y.var()], rtol=1e-5)
    np.testing.assert_allclose(model.fit_result.log_prob, -25 * (np.log(2 * np.pi * y.var()) + 1), rtol=1e-9)


# --- what follows from a fit ------------------------------------------------------------------------------------------


def test_a_saved_model_is_the_same(tmp_path):
    model = ARIMA((0, 1, 1), (0, 1, 1)).fit(log_airline())
    model.save(tmp_path)
    again = sw.load(tmp_path)
    assert isinstance(again, ARIMA)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.log_prob(log_airline()), model.log_prob(log_airline()))
    assert again.summary() == model.summary()
    assert "start" not in model.summary().split("AIC")[1]


def test_a_sample_goes_on_where_the_training_sequence_ended():
    model = fitted("random walk")
    drawn = model.sample(length=2, count=4000, seed=0).values.reshape(4000, 2)
    error = np.sqrt(model.innovation_var[0] / 4000)
    assert abs(drawn[:, 0].mean() - series()[-1]) < 4 * error


def test_the_airline_forecast_goes_through_stream_and_diagnosis():
    model, seqs = ARIMA((0, 1, 1), (0, 1, 1)).fit(log_airline()), log_airline()
    stream = model.stream()
    for y in seqs.values[:, 0]:
        stream.update(y)
    np.testing.assert_allclose(stream.log_prob, model.fit_result.log_prob, rtol=1e-9)
    np.testing.assert_allclose(stream.forecast(3).mean, model.forecast(seqs, steps=3).mean, rtol=1e-9)
    assert model.diagnose(seqs, lags=24).to_frame() is not None
    assert repr(model) == "ARIMA((0, 1, 1), (0, 1, 1))"
    assert repr(ARIMA((0, 1, 1), (0, 1, 1), 12, "n")) == "ARIMA((0, 1, 1), (0, 1, 1), period=12, trend='n')"
