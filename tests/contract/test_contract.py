"""What every model must do, by value. A model that joins `cases.CASES` is checked by all of it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.contract.cases import CASES, Case, data, fitted

import statewise as sw

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def described(model) -> dict:
    """The options, those of a model that is an option with its kind."""
    own = model.get_params()
    return {name: (v.kind, described(v)) if hasattr(v, "get_params") else v for name, v in own.items()}


def test_same_seed_same_answer(case: Case) -> None:
    """Invariance: two fits on the same data agree bit for bit."""
    again = case.make().fit(data(case.dim), **case.fit_options)
    assert np.array_equal(again.log_prob(data(case.dim)), fitted(case.name).log_prob(data(case.dim)))


def test_batch_equals_loop(case: Case) -> None:
    """Invariance: scoring sequences together or one by one is the same."""
    seqs, model = data(case.dim), fitted(case.name)
    alone = np.concatenate([model.log_prob(one) for one in seqs])
    np.testing.assert_allclose(model.log_prob(seqs), alone, rtol=1e-10, atol=0)


def test_per_step_sums_to_total(case: Case) -> None:
    """Chain rule: the per-step densities of a sequence sum to its density."""
    seqs, model = data(case.dim), fitted(case.name)
    per_step = model.log_prob(seqs, per_step=True)
    assert per_step.shape == (seqs.rows,)
    sums = [part.sum() for part in np.split(per_step, seqs.offsets[1:-1])]
    np.testing.assert_allclose(model.log_prob(seqs), sums, rtol=1e-12)


def test_prefix_does_not_change(case: Case) -> None:
    """Causality: log densities and predictions of the first steps stay the same when data are appended or the future changes."""
    seqs, model = data(case.dim), fitted(case.name)
    short = seqs.steps(0, 30)
    spoiled = seqs.values.copy()
    for start in seqs.offsets[:-1]:
        spoiled[start + 30 : start + 40] += 1e3
    changed = seqs.replace(values=spoiled)
    rows = np.concatenate([np.arange(start, start + 30) for start in seqs.offsets[:-1]])
    for longer in (seqs, changed):
        np.testing.assert_allclose(
            model.log_prob(longer, per_step=True)[rows], model.log_prob(short, per_step=True), rtol=1e-10
        )
        np.testing.assert_allclose(model.predict(longer).mean[rows], model.predict(short).mean, rtol=1e-10)


def test_density_integrates_to_one(case: Case) -> None:
    """Closed form: exp(log_prob) of the next step integrates to 1 in the data's units, and its mean is the prediction's mean."""
    past = data(case.dim)[0].arrays()[0][:20]
    model = fitted(case.name)
    expected = model.predict(np.vstack([past, past[-1:]])).mean[-1]
    reach, points = (12, 4001) if case.dim == 1 else (9, 121)
    axes = [mean + past.std() * np.linspace(-reach, reach, points) for mean in expected]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, case.dim)
    batch = sw.Sequences.from_arrays([np.vstack([past, value]) for value in grid])
    density = np.exp(model.log_prob(batch, per_step=True)[batch.offsets[1:] - 1])
    cell = np.prod([axis[1] - axis[0] for axis in axes])  # all of the mass is inside, so that the ends do not matter
    assert density.sum() * cell == pytest.approx(1, abs=1e-5)
    mean = density @ grid * cell
    np.testing.assert_allclose(mean, expected, rtol=1e-5)
    slack = 1e-5 * np.abs(mean) + case.forecast_noise * past.std()
    assert (np.abs(model.forecast(past, steps=1).mean[0, 0] - mean) <= slack).all()


def test_missing_values(case: Case) -> None:
    """A step without observation has log density 0 and leaves everything finite; NaN never travels."""
    seqs, model = data(case.dim), fitted(case.name)
    holed = seqs.values.copy()
    holed[5:9] = np.nan
    holed[20, 0] = np.nan
    gappy = seqs.replace(values=holed)
    per_step = model.log_prob(gappy, per_step=True)
    assert np.isfinite(per_step).all()
    np.testing.assert_allclose(per_step[5:9], 0, atol=1e-12)
    predicted = model.predict(gappy)
    assert (predicted.variance > 0).all()
    assert np.array_equal(np.isfinite(predicted.mean), np.isfinite(predicted.variance))
    assert np.isfinite(predicted.variance[20 : seqs.lengths[0]]).all()
    assert np.isfinite(model.forecast(gappy, steps=3).mean).all()


def test_fit_with_missing_values(case: Case) -> None:
    """Fitting with holes works and gives a finite likelihood."""
    values = data(case.dim).values.copy()
    values[7:10] = np.nan
    values[33, 0] = np.nan
    model = case.make().fit(data(case.dim).replace(values=values), **case.fit_options)
    assert np.isfinite(model.fit_result.log_prob)


def test_length_one(case: Case) -> None:
    """A sequence of one step has a finite density."""
    model = fitted(case.name)
    assert np.isfinite(model.log_prob(np.full((1, case.dim), 50.0))).all()


def test_inputs_are_not_mutated(case: Case) -> None:
    values = data(case.dim)[0].values.copy()
    before = values.copy()
    model = case.make().fit(values, **case.fit_options)
    model.log_prob(values)
    model.forecast(values, steps=2)
    assert np.array_equal(values, before)


def test_save_and_load(case: Case, tmp_path) -> None:
    """Round trip: the loaded model gives bit-identical answers and remembers its fit."""
    model, seqs = fitted(case.name), data(case.dim)
    model.save(tmp_path / "model")
    loaded = sw.load(tmp_path / "model")
    assert type(loaded) is type(model)
    assert described(loaded) == described(model)
    assert np.array_equal(loaded.log_prob(seqs), model.log_prob(seqs))
    assert np.array_equal(loaded.forecast(seqs, steps=4).mean, model.forecast(seqs, steps=4).mean)
    assert loaded.fit_result.log_prob == model.fit_result.log_prob
    assert loaded.fit_result.outcome is model.fit_result.outcome
    assert loaded.n_parameters == model.n_parameters


def test_forecast_shapes_and_intervals(case: Case) -> None:
    """Intervals are ordered and nested, and as wide as the variance says at the first step for a normal law."""
    model, seqs = fitted(case.name), data(case.dim)
    forecast = model.forecast(seqs, steps=5, level=(80, 95))
    assert forecast.mean.shape == forecast.variance.shape == (2, 5, case.dim)
    assert (forecast.variance > 0).all()
    assert (forecast.lower[95] < forecast.lower[80]).all()
    assert (forecast.lower[80] < forecast.upper[80]).all()
    assert (forecast.upper[80] < forecast.upper[95]).all()
    frame = forecast.to_frame()
    assert len(frame) == 2 * 5 * case.dim
    assert {"mean", "sd", "lower_80", "upper_95"} <= set(frame.columns)


def test_forecast_reacts_to_the_last_observation(case: Case) -> None:
    """Every horizon's forecast changes when the last observation does (the seasonal models: at the horizons that the season links)."""
    model, seqs = fitted(case.name), data(case.dim)[0]
    moved = seqs.values.copy()
    moved[-1] += 15
    gap = np.abs(model.forecast(seqs, steps=4).mean - model.forecast(moved, steps=4).mean)[0].max(axis=1)
    if case.name == "seasonal-naive":
        assert gap[3] > 1
        assert (gap[:3] == 0).all()
    else:
        assert (gap > 1e-9).all()


def test_forecast_does_not_depend_on_batch(case: Case) -> None:
    """Invariance: a sequence's forecast is the same alone and among others (up to the random paths of sampled forecasts)."""
    model, seqs = fitted(case.name), data(case.dim)
    together = model.forecast(seqs, steps=3)
    alone = model.forecast(seqs[0], steps=3)
    slack = case.forecast_noise * np.sqrt(together.variance[0]) + 1e-9 * np.abs(together.mean[0])
    assert (np.abs(together.mean[0] - alone.mean[0]) <= slack).all()


def test_sample(case: Case) -> None:
    """Seeds reproduce, other seeds differ, and the shape is as asked."""
    model = fitted(case.name)
    one, same, other = (model.sample(length=12, count=3, seed=seed) for seed in (4, 4, 5))
    assert one.lengths.tolist() == [12, 12, 12]
    assert one.dim == case.dim
    assert np.array_equal(one.values, same.values)
    assert not np.array_equal(one.values, other.values)
    assert np.isfinite(one.values).all()


def test_scale_equivariance(case: Case) -> None:
    """In other units the fit is the same model: log_prob per step falls by the log of the factor in each column."""
    seqs = data(case.dim)
    factor = 1e-4
    scaled = seqs.replace(values=seqs.values * factor)
    model = case.make().fit(scaled, **case.fit_options)
    observed = scaled.lengths.sum()
    gap = (model.log_prob(scaled).sum() - fitted(case.name).log_prob(seqs).sum()) / observed
    diffuse = {"naive": 2, "local-level": 2, "structural-2": 4, "seasonal-naive": 8, "trend-season": 10, "damped-trend": 2,
               "trigonometric": 8, "cycle": 2, "arima": 2, "seasonal-arima": 10,
               "started-level-2": 4}.get(case.name, 0)  # fmt: skip
    expected = -np.log(factor) * (case.dim - diffuse / observed)
    assert gap == pytest.approx(expected, abs=case.scale_tolerance)


def test_bad_options_are_refused(case: Case) -> None:
    """Every value that an option's rule calls bad is refused with the option's name in the message."""
    kind, good = type(case.make()), case.make().get_params()
    for name, rule in kind.options.items():
        for value in rule.bad:
            with pytest.raises(sw.InputError, match=name):
                kind(**(good | {name: value}))
    with pytest.raises(TypeError):
        kind(no_such_option=1)


def test_unfitted_model_says_so(case: Case) -> None:
    model = case.make()
    for verb in (model.log_prob, model.predict, model.forecast):
        with pytest.raises(sw.NotFittedError, match="fit"):
            verb(data(case.dim))
    with pytest.raises(sw.NotFittedError, match="fit"):
        model.sample(length=3)


def test_wrong_number_of_columns(case: Case) -> None:
    with pytest.raises(sw.InputError, match="columns"):
        fitted(case.name).log_prob(np.zeros((5, case.dim + 1)))


def test_bad_arguments_of_forecast(case: Case) -> None:
    model, seqs = fitted(case.name), data(case.dim)
    with pytest.raises(sw.InputError, match="steps"):
        model.forecast(seqs, steps=0)
    with pytest.raises(sw.InputError, match="level"):
        model.forecast(seqs, steps=2, level=(80, 100))
    with pytest.raises(sw.InputError, match="length"):
        model.sample(length=0)


def test_clone_and_params(case: Case) -> None:
    model = fitted(case.name)
    copy = model.clone()
    assert described(copy) == described(model)
    assert not copy.is_fitted
    assert copy.fit_result is None


def test_what_it_says_of_itself(case: Case) -> None:
    """Criteria by hand; a summary that names the model; a memory that is a length of time."""
    model, seqs = fitted(case.name), data(case.dim)
    fit = model.fit_result
    assert fit.log_prob == pytest.approx(model.log_prob(seqs).sum(), rel=1e-9)
    assert fit.n_steps == seqs.rows
    assert model.aic == pytest.approx(2 * model.n_parameters - 2 * fit.log_prob)
    assert model.bic == pytest.approx(model.n_parameters * np.log(fit.n_steps) - 2 * fit.log_prob)
    assert model.name in model.summary()
    memory = model.memory(seqs)
    assert memory.half_life >= 0
    assert len(fit.to_frame()) == fit.iterations > 0


def test_results_have_frames_and_plots(case: Case) -> None:
    model, seqs = fitted(case.name), data(case.dim)
    predicted = model.predict(seqs)
    assert len(predicted.to_frame()) == seqs.rows
    for result in (predicted, model.forecast(seqs, steps=2), model.fit_result, model.memory(seqs)):
        assert result.plot().get_axes()
