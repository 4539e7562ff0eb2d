"""`Naive`, the (seasonal) random walk. Oracles: its closed forms, and the dense diffuse likelihood for missing data."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError, NotFittedError, NumericalError
from statewise._core.outcome import Outcome


def walk(T: int = 40, p: int = 1, season: int = 1, seed: int = 0) -> np.ndarray:
    e = np.random.default_rng(seed).standard_normal((T, p)) @ np.linalg.cholesky(0.5 * np.eye(p) + 0.5).T
    for t in range(season, T):
        e[t] += e[t - season]
    return e


def dense(model: sw.Naive) -> dict[str, np.ndarray]:
    own = model.system
    return {name: getattr(own, name) for name in ("A", "C", "Q", "R", "m0", "P0", "Pinf")}


@pytest.mark.parametrize("season", [1, 4, 7])
@pytest.mark.parametrize("p", [1, 3])
def test_complete_data_have_closed_forms(season, p):
    """Σ is the mean square of the differences; log p is −½ log 2π for each of the first s·p entries and the normal density after."""
    y = walk(40, p, season)
    model = sw.Naive(season=season).fit(y)
    differences = y[season:] - y[:-season]
    cov = differences.T @ differences / len(differences)
    np.testing.assert_allclose(model.innovation_cov, cov, rtol=1e-12)
    want = np.full(40, -0.5 * p * np.log(2 * np.pi))
    want[season:] -= 0.5 * (
        np.linalg.slogdet(cov)[1] + np.einsum("ti,ij,tj->t", differences, np.linalg.inv(cov), differences)
    )
    np.testing.assert_allclose(model.log_prob(y, per_step=True), want, rtol=1e-10)
    assert model.fit_result.outcome is Outcome.CLOSED_FORM


@pytest.mark.parametrize("season", [1, 4])
def test_forecasts_repeat_the_last_season(season):
    """Means repeat; variances grow by Σ once a season. Closed form (Hyndman & Athanasopoulos 2021, §5.5)."""
    y = walk(40, 2, season)
    model = sw.Naive(season=season).fit(y)
    ahead = model.forecast(y, steps=11)
    cycles = np.arange(11) // season
    np.testing.assert_allclose(ahead.mean[0], y[40 - season + np.arange(11) % season], rtol=1e-12)
    np.testing.assert_allclose(ahead.variance[0], (1 + cycles)[:, None] * np.diag(model.innovation_cov), rtol=1e-12)


@pytest.mark.parametrize("season", [1, 3])
def test_missing_entries_are_integrated_out(season):
    y = walk(20, 2, season)
    y[[3, 4, 9], [0, 0, 1]] = np.nan
    y[7] = np.nan
    model = sw.Naive(season=season).fit(y)
    np.testing.assert_allclose(model.log_prob(y), [ref.log_density(dense(model), y)], rtol=1e-9)
    y[-1] = np.nan
    mean, cov = ref.forecast(dense(model), y, 4)
    ahead = model.forecast(y, steps=4)
    np.testing.assert_allclose(ahead.mean[0], mean, rtol=1e-9)
    np.testing.assert_allclose(ahead.variance[0], np.diag(cov).reshape(4, 2), rtol=1e-9)


def test_a_phase_that_was_never_seen_has_no_forecast():
    """Seasonal walk of period 2, the second phase always missing: one step ahead is known, two steps are not."""
    model = sw.Naive(season=2).fit(walk(20, 1, 2))
    half = [1.0, np.nan, 2.0, np.nan]
    np.testing.assert_allclose(model.forecast(half, steps=1).mean.ravel(), [2.0])
    with pytest.raises(InputError, match="to settle the diffuse start"):
        model.forecast(half, steps=2)


@pytest.mark.parametrize("season", [1, 3])
def test_smoothing_bridges_gaps(season):
    """Seen values come back exactly; the middle of a gap is the interpolation. Oracle: generalised least squares."""
    y = walk(15, 1, season)
    y[[6, 8]] = np.nan
    model = sw.Naive(season=season).fit(y)
    want_mean, want_cov = ref.smoothed(dense(model), y)
    states = model.smooth(y)
    np.testing.assert_allclose(states.mean, want_mean, atol=1e-9)
    np.testing.assert_allclose(states.cov, want_cov, atol=1e-9)
    seen = ~np.isnan(y[:, 0])
    np.testing.assert_allclose(states.mean[seen, 0], y[seen, 0], atol=1e-9)
    if season == 1:
        np.testing.assert_allclose(states.mean[6, 0], (y[5, 0] + y[7, 0]) / 2, atol=1e-9)


def test_units_of_the_data():
    """Σ scales by the square; the first s entries of each column are flat, the others carry the Jacobian. Columns have their own units."""
    y = walk(30, 2)
    model, moved = sw.Naive().fit(y), sw.Naive().fit(y * [1e9, 1e-9] + 1e3)
    np.testing.assert_allclose(
        moved.innovation_cov, model.innovation_cov * np.outer([1e9, 1e-9], [1e9, 1e-9]), rtol=1e-2
    )
    exact = sw.Naive().fit(y * [1e9, 1e-9])
    np.testing.assert_allclose(exact.fit_result.log_prob, model.fit_result.log_prob, rtol=1e-10)
    only = sw.Naive().fit(1e6 * y[:, 0])
    alone = sw.Naive().fit(y[:, 0])
    np.testing.assert_allclose(only.fit_result.log_prob, alone.fit_result.log_prob - 29 * np.log(1e6), rtol=1e-12)


def test_a_panel_pools_its_differences():
    """Sequences of 5, 1 and 9 steps: 4 + 8 differences, none across a border."""
    panel = [walk(5, seed=1), walk(1, seed=2) + 1e6, walk(9, seed=3)]
    model = sw.Naive().fit(panel)
    squares = np.concatenate([np.diff(y[:, 0]) for y in panel]) ** 2
    np.testing.assert_allclose(model.innovation_cov, [[squares.mean()]], rtol=1e-12)
    ahead = model.forecast(panel, steps=1)
    np.testing.assert_allclose(ahead.mean.ravel(), [y[-1, 0] for y in panel], rtol=1e-12)


def test_inputs_are_ignored_but_counted():
    y = walk(20)
    seqs = sw.Sequences.from_arrays([y], inputs=[np.ones((20, 1))])
    model = sw.Naive().fit(seqs)
    np.testing.assert_array_equal(model.innovation_cov, sw.Naive().fit(y).innovation_cov)
    assert model.forecast(seqs, steps=2).mean.shape == (1, 2, 1)
    assert model.sample(length=3, seed=0).inputs is None


@pytest.mark.parametrize(("data", "options", "message"), [
    ([1.0], {}, "no two observed steps are 1 apart"),
    (np.arange(5.0), {"season": 5}, r"no two observed steps are 5 apart in the sequences \(lengths up to 5\)"),
    ([1.0, np.nan, 2.0, np.nan], {}, "no two observed steps"),
    (np.ones(6), {}, "column 'y' repeats itself exactly every 1 steps"),
    (np.tile([1.0, 2.0], 5), {"season": 2}, "repeats itself exactly every 2 steps"),
    (np.c_[np.arange(9.0) ** 2, np.arange(9.0) ** 2], {}, "columns 'y1', 'y2' are linearly dependent"),
])  # fmt: skip
def test_data_that_cannot_be_fitted_are_refused(data, options, message):
    with pytest.raises(InputError, match=message):
        sw.Naive(**options).fit(data)


@pytest.mark.parametrize("seed", range(8))
def test_fewer_differences_than_columns_are_refused_whatever_the_rounding(seed):
    """Three rows of four columns: Σ has rank 2, and its zero eigenvalues are rounding of either sign."""
    model = sw.Naive()
    with pytest.raises(InputError, match="fewer complete rows than columns"):
        model.fit(np.random.default_rng(seed).standard_normal((3, 4)))
    assert not model.is_fitted


def test_exact_copies_are_refused_when_scored_too():
    model = sw.Naive().fit(walk(30, 2))
    model._set_parameters(model.parameters | {"innovation_cov": np.ones((2, 2))})
    with pytest.raises(NumericalError, match="remove duplicate columns"):
        model.log_prob(walk(30, 2))


@pytest.mark.parametrize("season", [0, -1, 1.5, "12", None])
def test_wrong_options_are_refused(season):
    with pytest.raises(InputError, match="`season`"):
        sw.Naive(season=season)


def test_draws_continue_the_training_data():
    """2 000 draws: mean and variance of step 3 within 5 standard errors of the last value and 3 Σ. The draw's first step is the last state."""
    y = walk(30)
    model = sw.Naive().fit(y)
    third = model.sample(length=3, count=2000, seed=0).values.reshape(2000, 3)
    np.testing.assert_allclose(third[:, 0], y[-1, 0], rtol=1e-9)
    var = 2 * model.innovation_cov[0, 0]
    assert abs(third[:, 2].mean() - y[-1, 0]) < 5 * np.sqrt(var / 2000)
    assert abs(third[:, 2].var() / var - 1) < 5 * np.sqrt(2 / 2000)


def test_names_criteria_and_summary():
    y = walk(30, 2)
    model = sw.Naive().fit(y)
    assert (sw.Naive().name, sw.Naive(season=12).name) == ("Naive", "SeasonalNaive(12)")
    assert model.n_parameters == 3
    np.testing.assert_allclose(model.bic, 3 * np.log(30) - 2 * model.log_prob(y).sum(), rtol=1e-12)
    assert model.fit_result.n_steps == 30
    assert "solved in closed form" in model.summary()
    copy = model.clone()
    with pytest.raises(NotFittedError):
        copy.forecast(y)
    assert model.set_params(season=4).get_params() == {"season": 4}


def test_memory_is_one_season():
    """Only the last season counts for the next step; a shock to the walk itself stays."""
    assert sw.Naive().fit(walk(30)).memory().ends_after == 1
    memory = sw.Naive(season=4).fit(walk(30, 1, 4)).memory()
    assert (memory.ends_after, memory.process_half_life) == (4, np.inf)
