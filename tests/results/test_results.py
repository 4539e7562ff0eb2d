"""The frozen results: tables, pictures and text. Oracles: closed forms and hand-computed tables."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from statewise._core.outcome import Outcome
from statewise.results.base import Result
from statewise.results.comparison import Comparison, Score, WindowForecast
from statewise.results.fit import FitResult, Memory, half_life
from statewise.results.forecast import Forecast
from statewise.results.marginals import GaussianMarginals
from statewise.results.predicted import Predicted
from statewise.results.states import Decoded, DiscreteStates, GaussianStates
from statewise.sequences.sequences import Sequences

LENGTHS, IDS = np.array([2, 1]), ("a", "b")
TIMES = np.array(["2020-01-01", "2020-02-01", "2020-01-01"], dtype="datetime64[us]")


def a_forecast(times: bool = True) -> Forecast:
    """Two sequences, three steps, two columns, with mean 100 i + 10 s + k and standard deviation 2."""
    i, s, k = np.meshgrid(range(2), range(3), range(2), indexing="ij")
    grid = np.array([["2020-03", "2020-04", "2020-05"], ["2020-02", "2020-03", "2020-04"]], dtype="datetime64[us]")
    marginals = GaussianMarginals(100.0 * i + 10.0 * s + k, np.full((2, 3, 2), 4.0))
    return Forecast(marginals, (80.0, 95.0), IDS, ("gdp", "cons"), grid if times else None)


def a_score(name: str, **changes) -> Score:
    score = Score(name, "varma", False, -1.5, 0.4, 0.7, 0.9, {80.0: 79.0, 95.0: 96.0}, 0.1, 5)
    return dataclasses.replace(score, **changes)


def a_comparison() -> Comparison:
    scores = (
        a_score("VARMA", memory=Memory(6.5, 0.9, "eigenvalues")),
        a_score("naive", is_baseline=True, log_score=-2.0, difference=0.5, difference_se=0.1, p_value=0.001),
        a_score("HMM", log_score=float("nan"), failure="it did not converge"),
    )
    forecast = a_forecast()
    window = WindowForecast(0, forecast, forecast.mean, np.array([2, 1]), np.zeros((2, 3)))
    return Comparison(scores, {"VARMA": (window,)}, 3, 1, 12, ("gdp", "cons"), "Use VARMA: 0.5 nats a step ahead.")


RESULTS: dict[str, Result] = {
    "forecast": a_forecast(),
    "forecast without times": a_forecast(times=False),
    "predicted": Predicted(
        np.ones((3, 2)), np.full((3, 2), 4.0), np.zeros((3, 2)), LENGTHS, IDS, ("gdp", "cons"), TIMES
    ),
    "gaussian states": GaussianStates(np.ones((3, 2)), np.stack([np.eye(2)] * 3), LENGTHS, IDS, TIMES),
    "discrete states": DiscreteStates(np.full((3, 2), 0.5), LENGTHS, IDS),
    "decoded": Decoded(np.array([0, 1, 1]), np.zeros(2), LENGTHS, IDS),
    "fit": FitResult(Outcome.CONVERGED, -10.0, 3, np.array([-12.0, -10.0]), 0.1),
    "memory": Memory(6.578813, 0.9, "eigenvalues", process_half_life=np.inf),
    "comparison": a_comparison(),
}


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_frozen_has_a_table_and_a_picture(name):
    result = RESULTS[name]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(result, dataclasses.fields(result)[0].name, None)
    assert len(result.to_frame()) > 0
    figure = result.plot()
    assert figure.get_axes()
    assert all(axis.has_data() for axis in figure.get_axes())


def test_plots_leave_pyplot_alone():
    """A library must not open windows or pile up global figures."""
    for result in RESULTS.values():
        result.plot()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize("name", ["predicted", "gaussian states", "discrete states", "decoded"])
def test_packed_results_say_where_each_row_belongs(name):
    frame = RESULTS[name].to_frame()
    assert frame["id"].tolist() == ["a", "a", "b"]
    assert frame["step"].tolist() == [0, 1, 0]
    assert ("time" in frame) == (RESULTS[name].times is not None)


# --- memory ---------------------------------------------------------------------------------------------------------


def test_half_life_closed_forms():
    """h[t] = s h[t−1]: ln 2 / −ln s."""
    np.testing.assert_allclose(half_life(0.9), 6.578813, atol=5e-7)
    np.testing.assert_allclose(half_life(0.986233), 50.0, atol=2e-3)
    np.testing.assert_allclose(half_life(0.5), 1.0, rtol=1e-15)
    assert (half_life(0.0), half_life(1.0), half_life(1.2)) == (0.0, np.inf, np.inf)
    assert np.isnan(half_life(float("nan")))


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (Memory(6.578813, 0.9, "eigenvalues"), ["6.58 steps", "from the eigenvalues"]),
        (
            Memory(0.0, 0.0, "eigenvalues", 3.0, ends_after=9),
            ["the last 9 steps and no further", "half-life of 3 steps"],
        ),
        (Memory(0.0, 0.0, "eigenvalues", ends_after=1), ["the last step and no further"]),
        (Memory(np.inf, 1.0, "gradient"), ["never fades", "from the gradient"]),
    ],
)
def test_memory_in_words(memory, words):
    assert all(word in str(memory) for word in words)


# --- forecast -------------------------------------------------------------------------------------------------------


def test_forecast_table_row_by_row():
    """Hand-computed: the cell of sequence b, step 2, column cons has mean 111 and 80 % interval ± 1.2815516 · 2."""
    frame = a_forecast().to_frame()
    assert len(frame) == 12
    assert list(frame) == ["id", "step", "time", "column", "mean", "sd", "lower_80", "upper_80", "lower_95", "upper_95"]
    row = frame[(frame["id"] == "b") & (frame["step"] == 2) & (frame["column"] == "cons")].iloc[0]
    assert (row["mean"], row["sd"], str(row["time"].date())) == (111.0, 2.0, "2020-03-01")
    np.testing.assert_allclose([row["lower_80"], row["upper_80"]], [111 - 2.5631031, 111 + 2.5631031], rtol=1e-8)
    assert "time" not in a_forecast(times=False).to_frame()


def test_forecast_intervals():
    forecast = a_forecast()
    assert forecast.steps == 3
    lower, upper = forecast.interval(95)
    np.testing.assert_allclose(upper - lower, 2 * 2 * 1.959963984540054)
    np.testing.assert_array_equal(forecast.lower[95.0], lower)
    np.testing.assert_array_equal(forecast.upper[95.0], upper)
    np.testing.assert_array_equal(forecast.variance, np.full((2, 3, 2), 4.0))


@pytest.mark.parametrize("level", [0, 100, 0.95, "wide"])
def test_forecast_refuses_a_level_that_is_no_percentage(level):
    with pytest.raises(ValueError, match="`level`"):
        a_forecast().interval(level)


# --- predicted ------------------------------------------------------------------------------------------------------


def test_standardised_residuals():
    """(y − mean)/sd by hand; unknown where y is missing, the start diffuse, or nothing is uncertain."""
    seqs = Sequences(np.array([3.0, np.nan, 5.0, 7.0]), [4])
    mean, variance = np.array([[1.0], [1.0], [1.0], [7.0]]), np.array([[4.0], [4.0], [np.inf], [0.0]])
    predicted = Predicted.gaussian(seqs, mean, variance)
    np.testing.assert_array_equal(predicted.residuals[:, 0], [1.0, np.nan, np.nan, np.nan])


# --- fit and comparison -----------------------------------------------------------------------------------------------


def test_fit_result_says_why_it_stopped():
    fit = FitResult(Outcome.MAX_ITER, -10.0, 3, np.array([-12.0, -10.0]), 0.1)
    assert not fit.converged
    assert "raise `max_iter`" in fit.reason
    assert fit.iterations == 2
    assert fit.to_frame()["objective"].tolist() == [-12.0, -10.0]


def test_comparison_table_and_text():
    comparison = a_comparison()
    frame = comparison.to_frame()
    assert comparison.best.name == "VARMA"
    assert frame["model"].tolist() == ["VARMA", "naive", "HMM"]
    assert frame["coverage_80"].tolist() == [79.0] * 3
    assert frame["half_life"].tolist()[0] == 6.5
    assert np.isnan(frame["half_life"][1])
    text = str(comparison)
    assert text.endswith("Use VARMA: 0.5 nats a step ahead.")
    assert "failure" not in text


def test_comparison_picture_leaves_failed_models_out():
    axis = a_comparison().plot().get_axes()[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["naive", "VARMA"]
