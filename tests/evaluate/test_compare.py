"""The backtest: no leakage, scores by hand, ranking, failures, and the sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.contract.cases import CASES, Case

import statewise as sw
from statewise.evaluate.candidates import autoregressive_order, candidates
from statewise.sequences.split import rolling


def ar1(steps: int = 120, seed: int = 0, phi: float = 0.8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y = np.zeros(steps)
    for t in range(1, steps):
        y[t] = phi * y[t - 1] + rng.standard_normal()
    return 10 + y


@pytest.mark.parametrize("case", [c for c in CASES if c.dim == 1], ids=lambda case: case.name)
def test_no_information_from_after_the_origin(case: Case) -> None:
    """Invariance: changing everything after the first origin leaves that window's forecasts bit-identical, for every model."""
    y = ar1(60)
    spoiled = y.copy()
    spoiled[48:] = 1e4
    tables = [
        sw.compare({"m": case.make()}, values, horizon=6, windows=2, fit_options={"m": case.fit_options})
        for values in (y, spoiled)
    ]
    assert all(table.scores[0].failure is None for table in tables)
    for name in ("m", "Naive"):
        before, after = (table.forecasts[name][0].forecast for table in tables)
        assert np.array_equal(before.mean, after.mean)
        assert np.array_equal(before.interval(95)[0], after.interval(95)[0])
        assert not np.array_equal(
            tables[0].forecasts[name][1].forecast.mean, tables[1].forecasts[name][1].forecast.mean
        )


def test_the_leakage_test_can_fail() -> None:
    """The check above notices a leak: with refit=False and a model fitted to all data, the first window's forecast moves."""
    y = ar1(60)
    spoiled = y.copy()
    spoiled[48:] += 5
    means = [
        sw.compare(sw.VARMA(p=1).fit(values), values, horizon=6, windows=2, refit=False)
        .forecasts["VARMA(p=1, q=0)"][0]
        .forecast.mean
        for values in (y, spoiled)
    ]
    assert not np.array_equal(*means)


def test_models_given_are_not_changed() -> None:
    model = sw.VARMA(p=1)
    sw.compare([model], ar1(), horizon=5, windows=2)
    assert not model.is_fitted


def test_log_score_is_the_log_density_of_the_future_given_the_past() -> None:
    """Chain rule, by hand: log p(past and future) − log p(past) over the horizon, averaged over windows."""
    y = ar1()
    table = sw.compare([sw.VARMA(p=1)], y, horizon=5, windows=3)
    expected = []
    for window in rolling(sw.Sequences.from_arrays([y]), 5, 3):
        cut = int(window.origins[0])
        model = sw.VARMA(p=1).fit(y[:cut])
        expected.append((model.log_prob(y[: cut + 5]) - model.log_prob(y[:cut])).item() / 5)
    score = next(s for s in table.scores if s.kind == "varma")
    assert score.log_score == pytest.approx(np.mean(expected), rel=1e-10)


def test_point_scores_by_hand() -> None:
    """By hand, for the random walk: RMSE and MASE of repeating the last value; coverage of its ±1.28 σ√h intervals."""
    y = ar1(40)
    table = sw.compare([sw.Naive()], y, horizon=4, windows=2, season=1)
    score = next(s for s in table.scores if s.name == "Naive")
    errors, scaled, inside = [], [], []
    for cut in (32, 36):
        past, actual = y[:cut], y[cut : cut + 4]
        error = actual - past[-1]
        sigma = np.sqrt((np.diff(past) ** 2).mean())
        errors.append(error)
        scaled.append(np.abs(error) / np.abs(np.diff(past)).mean())
        inside.append(np.abs(error) <= 1.2815515655446004 * sigma * np.sqrt(np.arange(1, 5)))
    assert score.rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert score.mase == pytest.approx(np.mean(scaled))
    assert score.coverage[80] == pytest.approx(100 * np.mean(inside))


def test_baselines_are_always_there() -> None:
    names = {
        score.name
        for score in sw.compare([sw.VARMA(p=1)], ar1(), horizon=5, windows=2, season=4).scores
        if score.is_baseline
    }
    assert names == {"Naive", "SeasonalNaive(4)"}


def test_the_right_model_wins_and_the_sentence_says_so() -> None:
    """Parameter recovery: on an AR(1) with φ = .5 the AR(1) beats the random walk by more than two standard errors."""
    table = sw.compare([sw.VARMA(p=1)], ar1(400, phi=0.5), horizon=10, windows=8)
    assert table.best.name == "VARMA(p=1, q=0)"
    naive = next(s for s in table.scores if s.name == "Naive")
    assert naive.difference > 2 * naive.difference_se > 0
    assert naive.p_value < 0.05
    assert table.verdict.startswith("Use VARMA(p=1, q=0): ")
    assert f"{naive.difference:.3f} ± {naive.difference_se:.3f}" in table.verdict
    assert [s.log_score for s in table.scores] == sorted((s.log_score for s in table.scores), reverse=True)


def test_a_model_that_fails_is_listed_with_its_reason() -> None:
    """More parameters than observations in the first window: the row stays, at the bottom, with the reason in a note."""
    table = sw.compare({"too big": sw.VARMA(p=30), "ok": sw.VARMA(p=1)}, ar1(40), horizon=5, windows=3)
    assert table.scores[-1].name == "too big"
    assert "parameters" in (table.scores[-1].failure or "")
    assert any("too big could not be scored" in note for note in table.notes)
    assert np.isnan(table.scores[-1].log_score)


def test_refit_false_states_the_leak() -> None:
    table = sw.compare(sw.VARMA(p=1).fit(ar1()), ar1(), horizon=5, windows=2, refit=False)
    assert any("refit=False" in note for note in table.notes)


def test_windows_are_the_same_for_every_model() -> None:
    table = sw.compare([sw.VARMA(p=1), sw.Structural()], ar1(), horizon=5, windows=3, stride=2)
    origins = [[w.origins.tolist() for w in windows] for windows in table.forecasts.values()]
    assert all(own == [[111], [113], [115]] for own in origins)


def test_the_difference_is_that_of_the_scores_in_an_unbalanced_panel() -> None:
    """Identity: the mean difference of Diebold–Mariano equals the difference of the log scores, whatever ends when."""
    times = [np.arange(80.0), np.arange(30.0, 77.0)]
    seqs = sw.Sequences.from_arrays([ar1(80, 1), ar1(47, 2)], times=times)
    table = sw.compare([sw.VARMA(p=1), sw.Structural()], seqs, horizon=6, windows=3)
    for score in table.scores:
        assert score.difference == pytest.approx(table.best.log_score - score.log_score, abs=1e-12)


def test_gaps_in_the_times_and_unequal_scales_are_noted() -> None:
    months = np.arange("2000-01", "2008-01", dtype="datetime64[M]")
    kept = np.delete(months, [30, 31, 60])
    rng = np.random.default_rng(0)
    seqs = sw.Sequences.from_arrays([rng.normal(size=(93, 2)) * [1e6, 1.0]], times=[kept])
    notes = sw.compare([sw.VARMA(p=1)], seqs, horizon=4, windows=2).notes
    assert any("leave out 3 steps" in note for note in notes)
    assert any("very different scales" in note for note in notes)
    full = sw.Sequences.from_arrays([rng.normal(size=96)], times=[months])
    assert not any("leave out" in note for note in sw.compare([sw.VARMA(p=1)], full, horizon=4, windows=2).notes)


def test_misspelt_fit_options_are_refused() -> None:
    for given, message in (({"varmaa": {}}, "none of the models"), ({"varma": {"tool": 1}}, "its fit knows")):
        with pytest.raises(sw.InputError, match=message):
            sw.compare([sw.VARMA(p=1)], ar1(), fit_options=given)
    with pytest.raises(sw.InputError, match="seed"):
        sw.compare([sw.VARMA(p=1)], ar1(), seed=-1)


def test_missing_steps_are_not_scored() -> None:
    y = ar1()
    y[-3] = np.nan
    table = sw.compare([sw.VARMA(p=1)], y, horizon=5, windows=2)
    last = table.forecasts["VARMA(p=1, q=0)"][-1]
    assert np.isnan(last.log_score[0]).tolist() == [False, False, True, False, False]
    assert all(np.isfinite(s.log_score) and np.isfinite(s.crps) for s in table.scores)


def test_a_panel_with_several_columns_and_inputs() -> None:
    """Inputs known for the horizon reach the forecast: a model with the input beats one without when the input drives the data."""
    rng = np.random.default_rng(3)
    u = [rng.standard_normal(80), rng.standard_normal(60)]
    arrays = [np.column_stack([3 * x + rng.standard_normal(len(x)), rng.standard_normal(len(x))]) for x in u]
    with_inputs = sw.Sequences.from_arrays(arrays, inputs=[x[:, None] for x in u])
    without = sw.Sequences.from_arrays(arrays)
    scores = [
        next(s for s in sw.compare([sw.VARMA(p=1)], seqs, horizon=6, windows=3).scores if s.kind == "varma").log_score
        for seqs in (with_inputs, without)
    ]
    assert scores[0] > scores[1] + 0.5


def test_fit_options_and_seed_reach_the_fit() -> None:
    table = sw.compare(
        [sw.HMM(states=2)], ar1(), horizon=5, windows=2, fit_options={"hmm": {"max_iter": 2, "restarts": 1}}, seed=3
    )
    again = sw.compare(
        [sw.HMM(states=2)], ar1(), horizon=5, windows=2, fit_options={"hmm": {"max_iter": 2, "restarts": 1}}, seed=3
    )
    assert table.best.log_score == again.best.log_score


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon": 0}, "horizon"),
        ({"windows": 0}, "windows"),
        ({"horizon": 500}, "steps"),
        ({"season": -1}, "season"),
        ({"level": (50, 101)}, "level"),
        ({"stride": 0}, "stride"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(sw.InputError, match=message):
        sw.compare([sw.VARMA(p=1)], ar1(), **arguments)


def test_things_that_are_no_models() -> None:
    with pytest.raises(sw.InputError, match="models"):
        sw.compare(["varma"], ar1())
    with pytest.raises(sw.NotFittedError, match="refit"):
        sw.compare([sw.VARMA(p=1)], ar1(), refit=False)
    given = sw.convert(sw.StateSpace([[0.5]], [[1.0]], [[1.0]], [[1.0]]), to="rnn")
    with pytest.raises(sw.InputError, match="refit=False"):
        sw.compare([given], ar1())
    assert sw.compare([given], ar1() - 10, horizon=5, windows=2, refit=False).best.failure is None


def test_table_and_plot() -> None:
    table = sw.compare([sw.VARMA(p=1)], ar1(), horizon=5, windows=2)
    frame = table.to_frame()
    wanted = {"log_score", "crps", "rmse", "mase", "coverage_80", "coverage_95", "fit_seconds", "parameters"}
    assert wanted <= set(frame.columns)
    assert table.plot().get_axes()
    assert table.verdict in str(table)


def test_candidates_cover_the_families() -> None:
    kinds = {model.kind for model in candidates(sw.Sequences.from_arrays([ar1()]))}
    assert kinds == {"varma", "structural", "hmm", "recurrent"}
    assert [m.name for m in candidates(sw.Sequences.from_arrays([ar1()]), names=["structural"], season=4)] == [
        "Structural(level, trend, season 4)"
    ]
    for season, name in ((12, "ARIMA((0, 1, 1), (0, 1, 1), period=12)"), (None, "ARIMA((1, 1, 1))")):
        assert [m.name for m in candidates(sw.Sequences.from_arrays([ar1()]), names=["arima"], season=season)] == [name]
    with pytest.raises(sw.InputError, match="did you mean 'varma'"):
        candidates(sw.Sequences.from_arrays([ar1()]), names=["varna"])


def test_autoregressive_order_is_found() -> None:
    """Parameter recovery: AIC finds at least the order 3 of a long AR(3), and rarely much more."""
    rng = np.random.default_rng(5)
    y = np.zeros(2000)
    for t in range(3, 2000):
        y[t] = 0.4 * y[t - 1] - 0.3 * y[t - 2] + 0.4 * y[t - 3] + rng.standard_normal()
    assert autoregressive_order(sw.Sequences.from_arrays([y])) in (3, 4, 5)
    assert autoregressive_order(sw.Sequences.from_arrays([y[:6]])) == 1
