"""`VARMA`: exact Gaussian maximum likelihood.

Oracles: the block-Toeplitz covariance of the fitted parameters; statsmodels 0.15 at the same and at its own maximum; least squares with
known answers; several random starts; the Jacobian of a change of units; recovery within 3 standard errors (from the numerical Hessian).
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.models.series import arma, growth, growth_model
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError, NotFittedError
from statewise._core.outcome import Outcome
from statewise.inference import varma as algebra


def standard_error(model: sw.VARMA, seqs: sw.Sequences, index: int) -> float:
    """From the Hessian of the log-likelihood at the maximum, by differences of its exact gradient; data in their own units."""
    trend = model.get_params()["trend"]
    par = model._parameters_in_letters()
    width = 0 if seqs.inputs is None else seqs.inputs.shape[1]
    shape = (seqs.dim, len(par.ar), len(par.ma), width)
    point = algebra.pack(par, trend)

    def gradient(x):
        return algebra.objective_and_gradient(x, seqs, shape, trend)[1]

    steps = 1e-5 * np.eye(point.size)
    hessian = np.stack([(gradient(point + h) - gradient(point - h)) / 2e-5 for h in steps])
    return float(np.sqrt(np.linalg.inv(-(hessian + hessian.T) / 2)[index, index]))


# --- the maximum ------------------------------------------------------------------------------------------------------


def test_us_growth_reaches_the_maximum():
    """1480.476 is the maximum that random starts agree on; statsmodels 0.15's VARMAX stops at 1471.872."""
    model = growth_model()
    assert model.fit_result.log_prob >= 1480.476 - 1e-3
    assert model.fit_result.outcome is Outcome.CONVERGED
    assert model.fit_result.notes == ()
    starts = np.array(sw.VARMA(p=1, q=1).fit(growth(), restarts=8).fit_result.details["starts"])
    assert np.sum(starts > starts.max() - 1e-3) >= 4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_us_growth_reaches_it_from_any_seed(seed):
    again = sw.VARMA(p=1, q=1).fit(growth(), seed=seed, restarts=2)
    np.testing.assert_allclose(again.fit_result.log_prob, growth_model().fit_result.log_prob, atol=1e-4)
    np.testing.assert_allclose(again.forecast(growth()).mean, growth_model().forecast(growth()).mean, atol=1e-6)


def test_the_fit_is_a_maximum_of_the_likelihood():
    """The gradient on the data's own scale is zero, relative to its curvature: one Newton step gains less than 1e-6 nats."""
    y = arma(150)
    model = sw.VARMA(p=1, q=1).fit(y)
    seqs, point = sw.Sequences.from_arrays([y]), algebra.pack(model._parameters_in_letters(), "c")

    def gradient(x):
        return algebra.objective_and_gradient(x, seqs, (1, 1, 1, 0), "c")[1]

    hessian = np.stack([(gradient(point + h) - gradient(point - h)) / 2e-5 for h in 1e-5 * np.eye(point.size)])
    assert np.linalg.eigvalsh(-(hessian + hessian.T) / 2)[0] > 0
    assert 0 <= gradient(point) @ np.linalg.solve(-hessian, gradient(point)) / 2 < 1e-6


def test_log_prob_is_the_joint_density_of_the_data():
    """Oracle: block-Toeplitz autocovariances of the reported parameters."""
    model, y = growth_model(), growth()[:15]
    want = ref.varma_log_density(model.ar, model.ma, model.mean, model.innovation_cov, y)
    np.testing.assert_allclose(model.log_prob(y), [want], rtol=1e-9)


def test_statsmodels_agrees_on_arma():
    """SARIMAX(1, 0, 1) with an intercept, statsmodels 0.15: the same log-likelihood at our parameters, and no higher one anywhere."""
    sarimax = pytest.importorskip("statsmodels.tsa.statespace.sarimax")
    y = arma(200) + 5
    model = sw.VARMA(p=1, q=1).fit(y)
    peer = sarimax.SARIMAX(y, order=(1, 0, 1), trend="c")
    ours = [model.intercept[0], model.ar[0, 0, 0], model.ma[0, 0, 0], model.innovation_cov[0, 0]]
    np.testing.assert_allclose(peer.loglike(ours), model.fit_result.log_prob, rtol=1e-10)
    theirs = peer.fit(disp=0)
    assert model.fit_result.log_prob >= theirs.llf - 1e-6
    np.testing.assert_allclose(ours, theirs.params, rtol=0.01)
    np.testing.assert_allclose(
        model.forecast(y, steps=4).mean[0, :, 0], peer.smooth(ours).get_forecast(4).predicted_mean, rtol=1e-8
    )


def test_white_noise_has_a_closed_form():
    """VARMA(0, 0): the sample mean and the covariance divided by T; with trend='n' the second moment."""
    y = np.random.default_rng(0).standard_normal((50, 2)) @ [[1.0, 0.5], [0.0, 2.0]] + [3.0, -1.0]
    model = sw.VARMA(p=0).fit(y)
    np.testing.assert_allclose(model.mean, y.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(model.innovation_cov, np.cov(y.T, ddof=0), rtol=1e-4)
    assert (model.ar.shape, model.ma.shape) == ((0, 2, 2), (0, 2, 2))
    raw = sw.VARMA(p=0, trend="n").fit(y)
    np.testing.assert_array_equal(raw.mean, np.zeros(2))
    np.testing.assert_allclose(raw.innovation_cov, y.T @ y / 50, rtol=1e-4)


def test_more_parameters_never_fit_worse():
    y = arma(120)
    best = [sw.VARMA(p=p, q=q).fit(y).fit_result.log_prob for p, q in ((0, 0), (1, 0), (1, 1), (2, 1))]
    assert (np.diff(best) > -1e-5).all()


# --- scale and shift --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "shift"), [(1e6, 0.0), (1e-6, 0.0), (1.0, 1e5), (1e6, 1e5), (-3.0, 7.0)])
def test_the_units_of_the_data_do_not_matter(scale, shift):
    """y → scale·y + shift moves the log-likelihood by −m log|scale| exactly, and the parameters as they should."""
    model, moved = growth_model(), sw.VARMA(p=1, q=1).fit(scale * growth() + shift)
    jacobian = -growth().size * np.log(abs(scale))
    np.testing.assert_allclose(moved.fit_result.log_prob - jacobian, model.fit_result.log_prob, atol=1e-5)
    np.testing.assert_allclose(moved.mean, scale * model.mean + shift, rtol=1e-4)
    # 1e-4: Φ and Θ lie in a flat direction of the likelihood, and 1e5 + .01 has lost 7 of the data's digits
    np.testing.assert_allclose(moved.ar, model.ar, atol=1e-3)
    np.testing.assert_allclose(moved.innovation_cov, scale**2 * model.innovation_cov, rtol=1e-3)


def test_each_column_may_have_its_own_unit():
    """GDP in billions and inflation in per cent of a per cent: D Φ D⁻¹ and D Σ D."""
    units = np.array([1e5, 1e-4])
    model, moved = growth_model(), sw.VARMA(p=1, q=1).fit(growth() * units)
    jacobian = -len(growth()) * np.log(units).sum()
    np.testing.assert_allclose(moved.fit_result.log_prob - jacobian, model.fit_result.log_prob, atol=1e-5)
    np.testing.assert_allclose(moved.ar, model.ar * units[:, None] / units, rtol=1e-2)
    memory = [each.memory().rate for each in (model, moved)]
    np.testing.assert_allclose(memory[0], memory[1], rtol=1e-3)


def test_the_order_of_columns_does_not_matter():
    swapped = sw.VARMA(p=1, q=1).fit(growth()[:, ::-1])
    np.testing.assert_allclose(swapped.fit_result.log_prob, growth_model().fit_result.log_prob, atol=1e-4)


# --- parameters and what is made of them ------------------------------------------------------------------------------


def test_intercept_is_that_of_the_recursion():
    """E y = c + Φ E y: the process started at its mean stays there."""
    model = growth_model()
    np.testing.assert_allclose(model.intercept + model.ar[0] @ model.mean, model.mean, rtol=1e-12)


def test_parameters_are_recovered():
    """ARMA(1, 1) with 2 000 steps: φ and θ within 3 standard errors."""
    y = arma(2000, seed=4)
    seqs = sw.Sequences.from_arrays([y])
    model = sw.VARMA(p=1, q=1).fit(seqs)
    assert abs(model.ar[0, 0, 0] - 0.7) < 3 * standard_error(model, seqs, 1)
    assert abs(model.ma[0, 0, 0] - 0.4) < 3 * standard_error(model, seqs, 2)


def test_the_moving_average_part_is_invertible():
    """An MA(1) with θ = 2.5 has the autocovariances of θ = .4 with 6.25 times the variance; the fit reports the latter."""
    e = np.random.default_rng(0).standard_normal(801)
    model = sw.VARMA(p=0, q=1).fit(e[1:] + 2.5 * e[:-1])
    assert abs(model.ma[0, 0, 0] - 0.4) < 0.15
    assert abs(model.innovation_cov[0, 0] - 6.25) < 1.0
    np.testing.assert_allclose(model.memory().rate, model.ma[0, 0, 0], rtol=1e-6)


def test_memory():
    """The predictor forgets with the MA root and the process with the AR root; a pure autoregression looks p steps back."""
    model = sw.VARMA(p=1, q=1).fit(arma(300, seed=1))
    memory = model.memory()
    np.testing.assert_allclose(memory.rate, abs(model.ma[0, 0, 0]), rtol=1e-8)
    np.testing.assert_allclose(memory.process_half_life, np.log(2) / -np.log(model.ar[0, 0, 0]), rtol=1e-8)
    assert sw.VARMA(p=2).fit(arma(100)).memory().ends_after == 2


def test_residuals_of_the_fit_are_white():
    e = growth_model().predict(growth()).residuals
    assert np.abs(e.mean(axis=0)).max() < 5 / np.sqrt(len(e))
    assert np.abs(e.var(axis=0) - 1).max() < 0.1
    assert np.abs((e[1:] * e[:-1]).mean(axis=0)).max() < 5 / np.sqrt(len(e))


def test_forecasts_are_the_conditional_moments():
    """Oracle: the joint Gaussian of the innovations form."""
    model, y = growth_model(), growth()[:20]
    own = model.system
    sys = {name: getattr(own, name) for name in ("A", "C", "Q", "R", "S", "b", "d", "m0", "P0")}
    mean, cov = ref.forecast(sys, y, 6)
    have = model.forecast(y, steps=6)
    np.testing.assert_allclose(have.mean[0], mean, rtol=1e-8)
    np.testing.assert_allclose(have.variance[0], np.diag(cov).reshape(6, 2), rtol=1e-8)
    moved = y.copy()
    moved[-1] += 0.01
    assert (np.abs(model.forecast(moved, steps=6).mean - have.mean) > 1e-9).all()


def test_far_forecasts_are_the_stationary_law():
    model = growth_model()
    far = model.forecast(growth(), steps=400)
    np.testing.assert_allclose(far.mean[0, -1], model.mean, rtol=1e-6)
    gamma = ref.varma_autocovariances(model.ar, model.ma, model.innovation_cov, 0)[0]
    np.testing.assert_allclose(far.variance[0, -1], np.diag(gamma), rtol=1e-6)


# --- missing data, panels, inputs -------------------------------------------------------------------------------------


def test_missing_entries_are_integrated_out():
    """A third of the entries gone: still the density of what is left, and parameters near those of the complete data."""
    y = arma(600, seed=3)
    gone = y.copy()
    gone[np.random.default_rng(0).random(600) < 0.33] = np.nan
    gone[200:230] = np.nan
    model = sw.VARMA(p=1, q=1).fit(gone)
    assert abs(model.ar[0, 0, 0] - 0.7) < 0.2
    short = gone[195:235, None]
    want = ref.varma_log_density(model.ar, model.ma, model.mean, model.innovation_cov, short)
    np.testing.assert_allclose(model.log_prob(short), [want], rtol=1e-8)
    assert model.fit_result.n_steps == np.sum(~np.isnan(gone))


def test_a_sequence_without_observations_changes_nothing():
    y = arma(80)
    alone, beside = (sw.VARMA(p=1).fit(data) for data in ([y], [y, np.full(9, np.nan)]))
    np.testing.assert_allclose(beside.fit_result.log_prob, alone.fit_result.log_prob, rtol=1e-8)
    np.testing.assert_allclose(beside.ar, alone.ar, atol=1e-5)
    np.testing.assert_array_equal(beside.log_prob([y, np.full(9, np.nan)])[1], 0.0)


def test_a_panel_of_unequal_lengths_is_one_likelihood():
    """Twenty sequences of 1 to 60 steps from one process: the total is the sum, and the coefficient comes back."""
    rng = np.random.default_rng(0)
    panel = [arma(int(T), 0.7, 0.0, seed) for seed, T in enumerate(rng.integers(1, 61, 20))]
    model = sw.VARMA(p=1).fit(panel)
    np.testing.assert_allclose(model.fit_result.log_prob, sum(float(model.log_prob(y)[0]) for y in panel), rtol=1e-12)
    assert abs(model.ar[0, 0, 0] - 0.7) < 3 * standard_error(model, sw.Sequences.from_arrays(panel), 1)
    assert (model.forecast(panel, steps=2).mean.shape, model.fit_result.n_steps) == ((20, 2, 1), sum(map(len, panel)))


def test_the_number_of_threads_does_not_change_the_fit(monkeypatch):
    """50 sequences, shared out among 1 and 2 threads: the same parameters, bit for bit."""
    rng = np.random.default_rng(0)
    panel = [
        np.c_[arma(int(T), seed=2 * i), arma(int(T), seed=2 * i + 1)] for i, T in enumerate(rng.integers(250, 400, 50))
    ]
    fits = []
    for threads in ("1", "2"):
        monkeypatch.setenv("STATEWISE_THREADS", threads)
        fits.append(sw.VARMA(p=2).fit(panel))
    for name, value in fits[0].parameters.items():
        np.testing.assert_array_equal(fits[1].parameters[name], value)
    assert fits[0].fit_result.log_prob == fits[1].fit_result.log_prob


def test_a_known_regression_coefficient_is_recovered():
    """y = 2 + 3 u₁ − .5 u₂ + AR(1) noise; inputs with large offsets and units. Within 3 standard errors."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((400, 2)) * [1.0, 1000.0] + [50.0, -3e4]
    y = 2 + u @ [3.0, -0.0005] + arma(400, 0.6, 0.0)
    seqs = sw.Sequences.from_arrays([y], inputs=[u])
    model = sw.VARMA(p=1).fit(seqs)
    for j, truth in enumerate((3.0, -0.0005)):
        assert abs(model.parameters["input_weights"][0, j] - truth) < 3 * standard_error(model, seqs, 1 + j)
    bare = sw.VARMA(p=1).fit(y - u @ [3.0, -0.0005])
    assert abs(model.ar[0, 0, 0] - bare.ar[0, 0, 0]) < 0.05
    assert abs(model.mean[0] - 2) < 30  # the mean where the inputs are zero, 50 standard deviations away
    future = np.array([[50.0, -3e4], [51.0, -3e4]])
    drawn = model.sample(length=2, count=500, seed=0, inputs=future).values.reshape(500, 2)
    np.testing.assert_allclose(drawn.mean(axis=0), 2 + future @ [3.0, -0.0005], atol=1)
    have = model.forecast(seqs, steps=2, inputs=future).mean[0, :, 0]
    np.testing.assert_allclose(have, 2 + future @ [3.0, -0.0005], atol=3)


def test_inputs_without_a_mean():
    """trend='n': y = D u + noise goes through the origin. Oracle: least squares, which VARMA(0, 0) is."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((60, 1)) + 4
    y = u @ [1.5] + rng.standard_normal(60)
    model = sw.VARMA(p=0, trend="n").fit(sw.Sequences.from_arrays([y], inputs=[u]))
    np.testing.assert_allclose(
        model.parameters["input_weights"].ravel(), np.linalg.lstsq(u, y, rcond=None)[0], rtol=1e-5
    )
    np.testing.assert_array_equal(model.mean, [0.0])


def test_a_useless_input_does_no_harm():
    """One that is constant, and one that repeats another: the likelihood of the fit without them."""
    y, u = arma(100), np.random.default_rng(1).standard_normal((100, 1))
    one = sw.VARMA(p=1).fit(sw.Sequences.from_arrays([y], inputs=[u])).fit_result.log_prob
    for extra in (np.ones((100, 1)), 2 * u):
        more = sw.VARMA(p=1).fit(sw.Sequences.from_arrays([y], inputs=[np.hstack([u, extra])]))
        np.testing.assert_allclose(more.fit_result.log_prob, one, atol=1e-4)


# --- what is refused, and what is noted -------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "options", "message"), [
    (np.arange(4.0) ** 2, {"p": 3}, r"VARMA\(p=3, q=0\) on 1 columns has 5 parameters but there are only 4 observed"),
    ([1.0], {}, "only 1 observed entries; lower p or q"),
    (np.c_[np.arange(9.0) % 4, np.ones(9)], {}, "column 'y2' does not vary"),
    (np.c_[np.arange(9.0) % 4, np.full(9, np.nan)], {"p": 0}, "column 'y2' does not vary"),
    (np.c_[np.arange(20.0) % 4, np.arange(20.0) % 4], {}, "columns 'y1', 'y2' are linearly dependent"),
    (np.c_[np.arange(20.0) % 4, 1e5 - 2 * (np.arange(20.0) % 4)], {}, "columns 'y1', 'y2' are linearly dependent"),
])  # fmt: skip
def test_data_that_cannot_be_fitted_are_refused(data, options, message):
    with pytest.raises(InputError, match=message):
        sw.VARMA(**options).fit(data)


def test_three_columns_of_which_one_is_the_sum_are_refused_by_name():
    y = np.random.default_rng(0).standard_normal((40, 4))
    y[:, 2] = y[:, 0] - 3 * y[:, 3]
    with pytest.raises(InputError, match="columns 'y1', 'y3', 'y4' are linearly dependent"):
        sw.VARMA().fit(y)


def test_a_column_that_is_another_ones_past_is_noted():
    """y₂[t] = y₁[t−1]: no column repeats another in a row, but the innovations do, and the likelihood has no maximum."""
    y = arma(60)
    model = sw.VARMA(p=1).fit(np.c_[y[1:], y[:-1]])
    assert not model.fit_result.converged
    assert "almost singular" in model.fit_result.notes[0]


@pytest.mark.parametrize(("options", "message"), [
    ({"p": -1}, "`p` is -1"), ({"q": 1.5}, "`q` is 1.5"), ({"trend": "ct"}, "`trend` is 'ct'"), ({"p": True}, "`p` is True"),
])  # fmt: skip
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sw.VARMA(**options)


@pytest.mark.parametrize("options", [{"max_iter": 0}, {"tol": 0.0}, {"tol": 2.0}, {"restarts": -1}, {"seed": "one"}])
def test_wrong_options_of_fit_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        sw.VARMA(p=1, q=1).fit(arma(50), **options)


def test_columns_and_inputs_must_match_the_fit():
    y, u = arma(60), np.random.default_rng(0).standard_normal(60)
    model = sw.VARMA(p=1).fit(sw.Sequences.from_arrays([y], inputs=[u], columns="gdp", input_columns="oil"))
    with pytest.raises(InputError, match=r"2 columns.*fitted to 1 \['gdp'\]"):
        model.log_prob(sw.Sequences.from_arrays([np.c_[y, y]], inputs=[u]))
    with pytest.raises(InputError, match=r"0 input_columns \[\].*\['oil'\]"):
        model.log_prob(y)
    with pytest.raises(InputError, match="the model has the inputs oil"):
        model.forecast(sw.Sequences.from_arrays([y], inputs=[u]))


def test_an_unfitted_model_says_so():
    for use in (lambda m: m.log_prob([1.0]), lambda m: m.ar, lambda m: m.system, lambda m: m.aic, lambda m: m.memory()):
        with pytest.raises(NotFittedError, match="fit"):
            use(sw.VARMA())


def test_a_unit_root_is_noted():
    walk = np.random.default_rng(3).standard_normal(2000).cumsum() * 1e3 + np.arange(2000) * 1e3
    assert "close to a unit root" in sw.VARMA(p=1).fit(walk).fit_result.notes[0]


def test_overdifferencing_is_noted():
    """The difference of white noise is an MA(1) with a root on the circle."""
    y = np.diff(np.random.default_rng(0).standard_normal(200))
    model = sw.VARMA(p=0, q=1).fit(y)
    assert "root on the unit circle" in model.fit_result.notes[0]
    np.testing.assert_allclose(model.ma[0, 0, 0], -1, atol=0.01)
    assert model.memory().rate > 0.99
    assert np.isfinite(model.forecast(y, steps=3).variance).all()


def test_stopping_at_the_limit_is_said():
    model = sw.VARMA(p=1, q=1).fit(arma(80), max_iter=1, restarts=0)
    assert model.fit_result.outcome is Outcome.MAX_ITER
    assert not model.fit_result.converged
    assert "raise `max_iter`" in model.fit_result.reason


# --- the rest of the face ---------------------------------------------------------------------------------------------


def test_fit_result_and_criteria_by_hand():
    model, y = growth_model(), growth()
    result = model.fit_result
    assert model.n_parameters == 2 + 4 + 4 + 3
    np.testing.assert_allclose(model.aic, 2 * 13 - 2 * result.log_prob, rtol=1e-14)
    np.testing.assert_allclose(model.bic, 13 * np.log(202) - 2 * result.log_prob, rtol=1e-14)
    assert result.n_steps == 202
    np.testing.assert_allclose(result.log_prob, model.log_prob(y).sum(), rtol=1e-14)
    assert (np.diff(result.trace) > -1e-9).all()
    assert (result.seconds > 0, result.details["gradient_norm"] < 1e-5) == (True, True)
    assert sw.VARMA(p=1, trend="n").fit(y).n_parameters == 4 + 3
    seqs = sw.Sequences.from_arrays([y], inputs=[np.random.default_rng(0).standard_normal((202, 3))])
    assert sw.VARMA(p=0).fit(seqs).n_parameters == 2 + 6 + 3


def test_summary():
    text = growth_model().summary()
    for part in ("VARMA(p=1, q=1)", "converged", "log-likelihood  1480.47", "AIC / BIC", "innovation_cov"):
        assert part in text


def test_options_can_be_read_changed_and_cloned():
    model = growth_model()
    assert model.get_params() == {"p": 1, "q": 1, "trend": "c"}
    copy = model.clone()
    assert not copy.is_fitted
    assert copy.set_params(p=2, trend="n") is copy
    assert repr(copy) == "VARMA(p=2, q=1, trend='n')"
    refitted = model.clone().fit(growth(), restarts=0)
    assert refitted.set_params(q=0).is_fitted is False
    with pytest.raises(InputError, match="there is no option `order`"):
        copy.set_params(order=3)


def test_a_refit_forgets_the_first_fit():
    """Other columns, other inputs: nothing of the first fit is left."""
    model = sw.VARMA(p=1).fit(growth())
    y = arma(60)
    model.fit(sw.Sequences.from_arrays([y], inputs=[np.arange(60.0) % 7]))
    fresh = sw.VARMA(p=1).fit(sw.Sequences.from_arrays([y], inputs=[np.arange(60.0) % 7]))
    for name, value in fresh.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], value)


def test_draws_have_the_moments_of_the_process():
    """3 000 sequences of 3 steps: means and covariances within 5 standard errors of the process's."""
    model = growth_model()
    y = model.sample(length=3, count=3000, seed=0).values.reshape(3000, 6)
    gamma = ref.varma_autocovariances(model.ar, model.ma, model.innovation_cov, 2)
    want = np.block([[gamma[i - j] if i >= j else gamma[j - i].T for j in range(3)] for i in range(3)])
    sd = np.sqrt(np.diag(want))
    assert np.abs((y.mean(axis=0) - np.tile(model.mean, 3)) / sd).max() < 5 / np.sqrt(3000)
    error = np.sqrt((np.outer(sd**2, sd**2) + want**2) / 3000)
    assert np.abs((np.cov(y.T) - want) / error).max() < 5
