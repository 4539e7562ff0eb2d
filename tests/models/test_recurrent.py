"""`Recurrent`: what a fit keeps and promises. The densities themselves are judged in the tests of inference.

Small networks and few epochs throughout; the oracles are true models, the data's own change of units, and repetition.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import statewise as sw
from statewise._core.errors import InputError, ModelFileError, NotFittedError
from statewise._core.outcome import Outcome
from statewise.inference.recurrent import features
from statewise.models.recurrent_training import Plan, _centres, training_steps
from statewise.results.fit import half_life

Recurrent, Sequences = sw.Recurrent, sw.Sequences
CELLS = ["gru", "rnn", "lstm"]


def autoregression(rows: int, phi: float = 0.8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y = np.empty(rows)
    last = rng.normal() / np.sqrt(1 - phi**2)
    for t in range(rows):
        y[t] = last = phi * last + rng.normal()
    return y


def small(cell: str = "gru", **fit) -> Recurrent:
    """A quick fit to thirty steps of two columns, one with gaps."""
    rng = np.random.default_rng(5)
    y = np.stack([autoregression(60, seed=1), autoregression(60, seed=2) * 10 + 100], axis=1)
    y[rng.random(y.shape) < 0.15] = np.nan
    return Recurrent(cell, hidden=4).fit(y, **({"epochs": 3} | fit)), Sequences.from_arrays([y])


# --- recovery ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_an_autoregression_is_recovered(cell):
    """Oracle: the true model, AR(1) with φ = .8 and unit noise, on 2000 new steps: within .1 nats a step, at default settings."""
    model = Recurrent(cell).fit(autoregression(400))
    fresh = autoregression(2000, seed=9)
    true = -0.5 * np.log(2 * np.pi) - 0.5 * (fresh[1:] - 0.8 * fresh[:-1]) ** 2
    ours = model.log_prob(fresh, per_step=True)[1:]
    assert true.mean() - 0.1 < ours.mean() <= true.mean() + 0.01
    assert model.fit_result.outcome is Outcome.EARLY_STOPPED


def test_the_network_beats_the_line_where_the_truth_is_not_one():
    """y[t] = 1 − 1.8 |y[t−1]| + N(0, .1²), nearly uncorrelated. Oracle: its own density, which no line comes near."""
    rng = np.random.default_rng(0)
    y = np.full(900, 0.1)
    for t in range(1, 900):
        y[t] = 1 - 1.8 * min(abs(y[t - 1]), 1.0) + 0.1 * rng.normal()
    model = Recurrent("gru", hidden=16).fit(y[:600], epochs=100, lr=0.03)
    ours = model.log_prob(y, per_step=True)[600:].mean()
    mean = 1 - 1.8 * np.minimum(np.abs(y[599:-1]), 1.0)
    true = (-0.5 * np.log(2 * np.pi) - np.log(0.1) - 0.5 * ((y[600:] - mean) / 0.1) ** 2).mean()
    assert true - 0.5 < ours <= true + 0.01
    assert ours > model.fit_result.details["start_score"] + 1.0
    assert model.fit_result.details["best_epoch"] > 0


def test_a_known_season_is_seen_at_once():
    """A period of 12 under noise: the seasonal skip starts within .3 nats of the noise's own density; without it, far below."""
    rng = np.random.default_rng(1)
    y = 5 * np.sin(2 * np.pi * np.arange(240) / 12) + rng.normal(size=240)
    scores = {}
    for season in (12, None):
        seqs = Sequences(y, np.array([240]), season=season)
        scores[season] = Recurrent(hidden=4).fit(seqs, epochs=1).fit_result.details["start_score"]
    assert scores[12] > -0.5 * np.log(2 * np.pi * np.e) - 0.35
    assert scores[None] < scores[12] - 0.3


def test_many_trending_columns_start_as_random_walks():
    """Twelve random walks of 100 steps. Oracle: the walks' own density, −12 (½ ln 2πe); a regression shrunk to zero is far below."""
    y = np.random.default_rng(6).normal(size=(130, 12)).cumsum(axis=0)
    model = Recurrent(hidden=4).fit(y[:100], epochs=2)
    fresh = model.log_prob(y, per_step=True)[100:].mean()
    assert fresh > -12 * 0.5 * np.log(2 * np.pi * np.e) - 3


def test_the_centres_are_a_random_walk_and_its_seasonal_kin():
    """Oracle: the formulas, on the skip features of two columns of plain numbers with season 3."""
    y = np.random.default_rng(7).normal(size=(12, 2))
    seqs = Sequences(y, np.array([12]), season=3)
    plan = Plan(seqs, 0.0, 8)
    plan.scaling.update(value_mean=np.zeros(2), value_scale=np.ones(2))
    skip = features(plan.scaling, seqs).skip
    zero, walk, seasonal, both = (skip[4:] @ centre.T for centre in _centres(2, 3, skip.shape[1]))
    assert not zero.any()
    np.testing.assert_allclose(walk, y[3:-1])
    np.testing.assert_allclose(seasonal, y[1:-3])
    np.testing.assert_allclose(both, y[3:-1] + y[1:-3] - y[:-4], atol=1e-15)


@pytest.mark.parametrize(
    ("season", "rows", "lags"),
    [(None, 99, [1]), (1, 99, [1]), (2, 99, [1, 2, 3]), (12, 26, [1, 12, 13]), (12, 25, [1])],
)
def test_the_season_is_used_where_there_are_two_of_them(season, rows, lags):
    seqs = Sequences(autoregression(rows), np.array([rows]), season=season)
    assert Plan(seqs, 0.0, 8).scaling["lags"].tolist() == lags


def test_inputs_are_used():
    """y[t] = 3 u[t] + noise of .1: only a model that sees u[t] can score above the density of N(0, 9)."""
    rng = np.random.default_rng(2)
    u = rng.normal(size=(300, 1))
    y = 3 * u[:, 0] + 0.1 * rng.normal(size=300)
    model = Recurrent(hidden=4).fit(Sequences(y, np.array([300]), inputs=u), epochs=5)
    assert model.log_prob(Sequences(y, np.array([300]), inputs=u))[0] / 300 > 0.5
    future = np.array([[1.0], [-2.0]])
    forecast = model.forecast(Sequences(y, np.array([300]), inputs=u), steps=2, inputs=future)
    np.testing.assert_allclose(forecast.mean[0, :, 0], [3.0, -6.0], atol=0.2)


# --- reproducibility and side effects -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_the_same_seed_gives_the_same_model_to_the_last_bit(cell):
    (first, seqs), (second, _), (other, _) = small(cell), small(cell), small(cell, seed=1)
    assert all(np.array_equal(first.parameters[k], second.parameters[k]) for k in first.parameters)
    assert np.array_equal(first.fit_result.trace, second.fit_result.trace)
    assert np.array_equal(first.forecast(seqs, steps=3).mean, second.forecast(seqs, steps=3).mean)
    assert not np.array_equal(first.parameters["weight_hh_l0"], other.parameters["weight_hh_l0"])


def test_a_seed_is_drawn_when_none_is_given():
    assert not np.array_equal(
        small(seed=None)[0].parameters["weight_hh_l0"], small(seed=None)[0].parameters["weight_hh_l0"]
    )


def test_global_random_states_threads_and_data_are_left_alone():
    y = autoregression(40)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads(), y.copy()  # noqa: NPY002  # the state under test
    model = Recurrent(hidden=4).fit(y, epochs=2)
    model.forecast(y, steps=2)
    model.sample(5, 2, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002  # the state under test
    assert torch.get_num_threads() == before[2]
    assert np.array_equal(y, before[3])


def test_an_interrupt_leaves_the_model_as_it_was(monkeypatch):
    model, seqs = small()
    kept, result = dict(model.parameters), model.fit_result

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(seqs, epochs=3)
    assert model.parameters == kept
    assert model.fit_result is result


# --- units --------------------------------------------------------------------------------------------------------------


def test_a_change_of_units_changes_the_density_by_its_jacobian_alone():
    """Powers of two, so that the standardised data are the same to the last bit, and so is the model."""
    y = autoregression(80)
    first, second = (Recurrent(hidden=4).fit(a * y, epochs=3) for a in (1.0, 2.0**-10))
    assert np.array_equal(first.parameters["weight_hh_l0"], second.parameters["weight_hh_l0"])
    shift = second.log_prob(2.0**-10 * y, per_step=True) - first.log_prob(y, per_step=True)
    np.testing.assert_allclose(shift, 10 * np.log(2), rtol=1e-12)
    np.testing.assert_allclose(second.fit_result.trace - first.fit_result.trace, 10 * np.log(2), rtol=1e-6)


def test_a_far_offset_and_a_small_scale_do_no_harm():
    """1e6 + 1e-3 y: doubles keep 1e-7 of a standard deviation, so the fit agrees to 1e-3 nats a step."""
    y = autoregression(80)
    first, second = Recurrent(hidden=4).fit(y, epochs=3), Recurrent(hidden=4).fit(1e6 + 1e-3 * y, epochs=3)
    shift = second.log_prob(1e6 + 1e-3 * y, per_step=True) - first.log_prob(y, per_step=True)
    np.testing.assert_allclose(shift, -np.log(1e-3), atol=1e-3)
    forecasts = first.forecast(y, steps=3).mean, second.forecast(1e6 + 1e-3 * y, steps=3).mean
    np.testing.assert_allclose((forecasts[1] - 1e6) * 1e3, forecasts[0], atol=1e-3)


# --- no leakage, and what is reported -----------------------------------------------------------------------------------


def test_training_never_touches_the_validation_part():
    y = np.stack([autoregression(50, seed=1), autoregression(50, seed=2)])
    seqs = Sequences(y.reshape(-1), np.array([50, 50]))
    plan = Plan(seqs, 0.2, 16)
    assert plan.stop.tolist() == [40, 40]
    windows = plan.windows(False)
    rows, _ = windows.gather(np.arange(len(windows)))
    assert set(rows.ravel() % 50) == set(range(40))
    changed = y.copy()
    changed[:, 40:] = 1e3
    other = Plan(Sequences(changed.reshape(-1), np.array([50, 50])), 0.2, 16)
    assert all(np.array_equal(plan.scaling[k], other.scaling[k]) for k in plan.scaling)


def test_validation_scores_come_after_training_and_the_state_is_warm():
    seqs = Sequences(autoregression(50), np.array([50]))
    rows, scored = (table[0] for table in Plan(seqs, 0.2, 16).windows(True).gather(np.array([0])))
    assert rows[scored].tolist() == list(range(40, 50))
    assert rows[~scored].tolist() == list(range(24, 40))


@pytest.mark.parametrize(
    ("lengths", "share", "want"),
    [
        ([100], 0.15, [85]),
        ([3], 0.15, [3]),
        ([4], 0.15, [3]),
        ([1], 0.9, [1]),
        ([100], 0.0, [100]),
        ([2] * 10, 0.2, [2] * 8 + [0] * 2),
        ([3, 100], 0.15, [3, 85]),
    ],
)
def test_what_is_held_out(lengths, share, want):
    lengths = np.array(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    assert training_steps(lengths, offsets, np.ones(offsets[-1], dtype=bool), share).tolist() == want


def test_nothing_is_held_out_if_nothing_would_be_left():
    assert training_steps(np.array([4]), np.array([0, 4]), np.array([False, False, False, True]), 0.25).tolist() == [4]


def test_the_reported_numbers_are_what_they_say():
    """Oracle: log_prob itself. The validation window reaches back to the first step here, so its state is the full one; float32 within 1e-4."""
    y = autoregression(60)
    model = Recurrent(hidden=4).fit(y, epochs=6, lr=0.02)
    fit, steps = model.fit_result, model.log_prob(y, per_step=True)
    assert fit.log_prob == pytest.approx(steps.sum(), rel=1e-12)
    assert fit.n_steps == 60
    assert len(fit.trace) == fit.iterations == 6
    assert fit.details["best_score"] == pytest.approx(steps[51:].mean(), abs=1e-4)
    assert fit.details["best_score"] == max(fit.details["start_score"], *fit.trace)
    assert fit.outcome is Outcome.MAX_EPOCHS
    assert model.n_parameters == 3 * 4 * (2 + 4 + 2) + 2 * 4 + 1 + 1 + 2
    assert np.isfinite([model.aic, model.bic]).all()
    assert "GRU(hidden=4)" in model.summary()


def test_a_validation_score_that_never_improves_keeps_the_linear_start_and_says_so(monkeypatch):
    from statewise.models import recurrent_training

    scores = iter(range(0, -99, -1))
    monkeypatch.setattr(recurrent_training._Problem, "score", lambda self: float(next(scores)))
    model = Recurrent(hidden=4).fit(autoregression(60), epochs=50, patience=3)
    assert model.fit_result.outcome is Outcome.EARLY_STOPPED
    assert model.fit_result.iterations == 3
    assert not model.parameters["mean_weight"].any()
    assert any("linear" in note for note in model.fit_result.notes)
    memory = model.memory()
    assert (memory.rate, memory.half_life, memory.ends_after) == (0.0, 0.0, 1)


def test_trouble_is_an_outcome_with_its_place(monkeypatch):
    from statewise.models import recurrent_training

    calls = []
    objective = recurrent_training._Problem.objective

    def planted(self, which):
        calls.append(0)
        return objective(self, which) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(recurrent_training._Problem, "objective", planted)
    model = Recurrent(hidden=4).fit(autoregression(60), epochs=9)
    assert model.fit_result.outcome is Outcome.NOT_FINITE
    assert "epoch 3, batch 1" in model.fit_result.notes[-1]
    assert np.isfinite(model.log_prob(autoregression(60))).all()


# --- awkward data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_missing_data_give_no_nan(cell):
    model, seqs = small(cell)
    assert np.isnan(seqs.values).any()
    predicted = model.predict(seqs)
    for array in (model.log_prob(seqs), predicted.mean, predicted.variance, model.forecast(seqs, steps=3).mean):
        assert np.isfinite(array).all()
    assert np.array_equal(np.isnan(predicted.residuals), np.isnan(seqs.values))
    assert all(np.isfinite(array).all() for array in model.parameters.values())


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7])
def test_very_short_sequences(rows):
    y = autoregression(rows)
    model = Recurrent(hidden=4).fit(y, epochs=2)
    assert np.isfinite(model.log_prob(y)).all()
    assert model.forecast(y, steps=2).mean.shape == (1, 2, 1)
    assert np.isfinite(model.memory(y).rate)
    assert any("no validation part" in note for note in model.fit_result.notes) == (rows < 4)


def test_one_epoch_and_many_short_sequences():
    rng = np.random.default_rng(3)
    seqs = Sequences.from_arrays([rng.normal(size=length) for length in rng.integers(1, 9, size=200)])
    model = Recurrent(hidden=4).fit(seqs, epochs=1)
    assert model.fit_result.iterations == 1
    assert np.isfinite(model.log_prob(seqs)).all()


def test_a_sequence_without_observations_among_others():
    y = autoregression(40)
    seqs = Sequences.from_arrays([np.full(10, np.nan), y, np.full(3, np.nan)])
    model = Recurrent(hidden=4).fit(seqs, epochs=2)
    assert model.log_prob(seqs)[[0, 2]].tolist() == [0.0, 0.0]
    assert np.isfinite(model.forecast(seqs, steps=2).mean).all()


def test_a_constant_column_works_and_is_noted():
    y = np.stack([np.full(40, 3.5), autoregression(40)], axis=1)
    model = Recurrent(hidden=4).fit(y, epochs=2)
    assert np.isfinite(model.log_prob(y)).all()
    assert any("'y1' does not vary" in note for note in model.fit_result.notes)
    assert model.forecast(y, steps=1).mean[0, 0, 0] == pytest.approx(3.5, abs=0.01)


def test_a_column_that_varies_only_at_the_end_is_scaled_by_all_of_it():
    y = np.r_[np.zeros(45), 1e4 * autoregression(5)]
    model = Recurrent(hidden=4).fit(y, epochs=2)
    assert model.parameters["value_scale"][0] == pytest.approx(y.std())


def test_nothing_observed_is_refused():
    with pytest.raises(InputError, match="'y2' has no observed entry"):
        Recurrent().fit(np.stack([np.ones(9), np.full(9, np.nan)], axis=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("batch", 0),
        ("patience", 0),
        ("validation", 1.0),
        ("validation", -0.1),
        ("window", 1),
        ("seed", -1),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"`{name}`"):
        Recurrent(hidden=2).fit(np.arange(9.0), **{name: value})


def test_a_new_fit_may_have_other_columns():
    model = Recurrent(hidden=4).fit(autoregression(20), epochs=1)
    two = np.stack([autoregression(20), autoregression(20, seed=1)], axis=1)
    assert model.fit(two, epochs=1).forecast(two, steps=1).mean.shape == (1, 1, 2)


# --- verbs ----------------------------------------------------------------------------------------------------------------


def test_a_forecast_reacts_to_the_last_observation():
    y = autoregression(200)
    model = Recurrent(hidden=8).fit(y, epochs=5)
    up, down = y.copy(), y.copy()
    up[-1], down[-1] = 4.0, -4.0
    gap = model.forecast(up, steps=3).mean - model.forecast(down, steps=3).mean
    assert (gap > 1.0).all()
    assert gap[0, 0, 0] == pytest.approx(8 * 0.8, rel=0.25)


def test_a_forecast_is_the_same_every_time_and_its_intervals_are_ordered():
    model, seqs = small()
    first, second = model.forecast(seqs, steps=4, level=(50, 90)), model.forecast(seqs, steps=4, level=(50, 90))
    assert np.array_equal(first.marginals.samples, second.marginals.samples)
    assert (first.lower[90] < first.lower[50]).all()
    assert (first.upper[50] < first.upper[90]).all()
    assert first.marginals.samples.shape == (400, 1, 4, 2)
    assert not np.array_equal(model.forecast(seqs, steps=4, seed=1).mean, first.mean)


def test_future_inputs_are_needed_and_their_shape_is_checked():
    rng = np.random.default_rng(4)
    seqs = Sequences.from_arrays([rng.normal(size=20)] * 2, inputs=[rng.normal(size=(20, 2))] * 2)
    model = Recurrent(hidden=4).fit(seqs, epochs=1)
    with pytest.raises(InputError, match="inputs u1, u2"):
        model.forecast(seqs, steps=3)
    with pytest.raises(InputError, match="shape"):
        model.forecast(seqs, steps=3, inputs=np.zeros((4, 2)))
    shared = model.forecast(seqs, steps=3, inputs=np.ones((3, 2)))
    each = model.forecast(seqs, steps=3, inputs=[np.ones((3, 2))] * 2)
    assert np.array_equal(shared.mean, each.mean)
    drawn = model.sample(5, 2, seed=0, inputs=np.zeros((5, 2)))
    assert (drawn.rows, drawn.inputs.shape) == (10, (10, 2))
    with pytest.raises(InputError, match="inputs u1, u2"):
        model.sample(5)


def test_memory_depends_on_the_data_it_is_measured_on():
    y = autoregression(200)
    model = Recurrent("gru", hidden=8).fit(y, epochs=10, lr=0.02)
    stored = model.memory()
    assert 0 < stored.rate < 1
    assert stored.half_life == half_life(stored.rate)
    assert stored.method == "gradient"
    assert model.memory(y).rate == pytest.approx(stored.rate, rel=1e-12)
    assert model.memory(y[:100] + 5).rate != stored.rate


def test_a_model_without_parameters_says_so():
    model = Recurrent()
    for call in (lambda: model.log_prob([1.0, 2.0]), lambda: model.sample(3), model.memory, lambda: model.n_parameters):
        with pytest.raises(NotFittedError):
            call()


# --- files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_model_is_the_same_to_the_last_bit(cell, tmp_path):
    model, seqs = small(cell)
    model.save(tmp_path / "model")
    again = sw.load(tmp_path / "model")
    assert np.array_equal(again.log_prob(seqs, per_step=True), model.log_prob(seqs, per_step=True))
    assert np.array_equal(again.forecast(seqs, steps=3).mean, model.forecast(seqs, steps=3).mean)
    assert again.memory().rate == model.memory().rate
    assert again.fit_result.details == model.fit_result.details


def test_parameters_that_do_not_fit_the_options_are_refused():
    model, _ = small()
    other = Recurrent(hidden=5)
    with pytest.raises(ModelFileError, match="hidden"):
        other._restore(dict(model.parameters), None)
    with pytest.raises(ModelFileError, match="lags"):
        model.clone()._restore({k: v for k, v in model.parameters.items() if k != "lags"}, None)


def test_a_fitted_model_is_used_without_torch(tmp_path):
    """Forecasting from a file must not cost the seconds that loading torch takes."""
    model, seqs = small()
    model.save(tmp_path / "model")
    np.save(tmp_path / "y.npy", seqs.values)
    code = (
        "import sys, numpy as np, statewise as sw\n"
        f"model, y = sw.load({str(tmp_path / 'model')!r}), np.load({str(tmp_path / 'y.npy')!r})\n"
        "model.log_prob(y), model.forecast(y), model.sample(3), model.memory(y)\n"
        "assert 'torch' not in sys.modules\n"
        "print(repr(float(model.log_prob(y)[0])))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(output) == model.log_prob(seqs)[0]
