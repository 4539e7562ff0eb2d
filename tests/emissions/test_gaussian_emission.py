"""`emissions/gaussian*.py`: SciPy and the plain twin for densities, weighted formulas and numerical maxima for M steps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr, ndtri, ndtri_exp
from scipy.stats import multivariate_normal
from tests.reference import hmm as reference

from statewise._core.errors import InputError
from statewise.emissions.gaussian import COVARIANCES, GaussianEmission
from statewise.emissions.gaussian_dense import patterns
from statewise.emissions.registry import EMISSIONS
from statewise.emissions.rows import Rows


def random_covariances(rng, covariance, states, dim):
    roots = rng.normal(size=(states, dim, dim))
    full = roots @ np.swapaxes(roots, 1, 2) + 0.3 * np.eye(dim)
    return {
        "full": full,
        "tied": full[0],
        "diag": rng.uniform(0.2, 3.0, (states, dim)),
        "spherical": rng.uniform(0.2, 3.0, states),
    }[covariance]


def dense(covariance, given, states, dim):
    if covariance == "full":
        return given
    if covariance == "tied":
        return np.tile(given, (states, 1, 1))
    return np.stack([np.diag(np.broadcast_to(given[k], dim)) for k in range(states)])


def case(covariance, seed=0, states=3, dim=4, rows=60, missing=0.0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, dim)) * 2
    values[rng.random(values.shape) < missing] = np.nan
    given = {
        "means": rng.normal(size=(states, dim)),
        "covariances": random_covariances(rng, covariance, states, dim),
    }
    return GaussianEmission.given(given, states, covariance=covariance), values, rng.dirichlet(np.ones(states), rows)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_log_likelihood_is_the_density_of_what_was_observed(covariance, missing):
    """Twin: explicit sub-blocks of mean and covariance; complete rows also by SciPy. Rows of NaN are 0 exactly."""
    emission, values, _ = case(covariance, missing=missing)
    values[7] = np.nan
    table = emission.log_likelihood(Rows(values))
    matrices = dense(covariance, emission.parameters["covariances"], 3, 4)
    np.testing.assert_allclose(
        table, reference.gaussian_table(values, emission.means, matrices), rtol=1e-11, atol=1e-12
    )
    assert (table[7] == 0).all()
    if not missing:
        scipy = multivariate_normal(emission.means[1], matrices[1]).logpdf(values[:7])
        np.testing.assert_allclose(table[:7, 1], scipy, rtol=1e-11)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_equal_laws_in_different_shapes_have_the_same_density(covariance):
    """Σ = 1.7 I written in all four ways, with missing entries."""
    _, values, _ = case("diag", missing=0.3)
    shapes = {
        "diag": np.full((2, 4), 1.7),
        "spherical": np.full(2, 1.7),
        "tied": 1.7 * np.eye(4),
        "full": np.tile(1.7 * np.eye(4), (2, 1, 1)),
    }
    means = np.arange(8.0).reshape(2, 4)
    table = GaussianEmission.given({"means": means, "covariances": shapes[covariance]}, 2, covariance=covariance)
    expected = GaussianEmission.given({"means": means, "covariances": shapes["full"]}, 2, covariance="full")
    np.testing.assert_allclose(table.log_likelihood(Rows(values)), expected.log_likelihood(Rows(values)), rtol=1e-12)


# --- M step -----------------------------------------------------------------------------------------------------------


def test_m_step_on_complete_rows_is_the_weighted_mean_and_covariance():
    """Textbook formulas, by NumPy: np.average and np.cov(aweights=..., ddof=0)."""
    _, values, weights = case("full")
    means = np.stack([np.average(values, axis=0, weights=w) for w in weights.T])
    full = np.stack([np.cov(values.T, aweights=w, ddof=0) for w in weights.T])
    share = weights.sum(axis=0) / weights.sum()
    expected = {
        "full": full,
        "tied": np.tensordot(share, full, 1),
        "diag": np.diagonal(full, axis1=1, axis2=2),
        "spherical": np.diagonal(full, axis1=1, axis2=2).mean(axis=1),
    }
    for covariance in COVARIANCES:
        found = case(covariance, seed=5)[0].m_step(Rows(values), weights)
        np.testing.assert_allclose(found.means, means, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.parameters["covariances"], expected[covariance], rtol=1e-9, atol=1e-11)
        assert found.notes == ()


@pytest.mark.parametrize("covariance", ["diag", "spherical"])
def test_m_step_with_missing_entries_is_the_maximum(covariance):
    """Independent columns: Σ w log N of the observed entries falls in every random direction away from the estimate."""
    emission, values, weights = case(covariance, missing=0.4)
    found = emission.m_step(Rows(values), weights)
    best = (weights * found.log_likelihood(Rows(values))).sum()
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(10):
            moved = found.replaced(
                {
                    "means": found.means + size * rng.normal(size=found.means.shape),
                    "covariances": found.parameters["covariances"]
                    * np.exp(size * rng.normal(size=found.parameters["covariances"].shape)),
                }
            )
            assert (weights * moved.log_likelihood(Rows(values))).sum() < best


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_m_step_with_missing_entries_is_exact_em(covariance):
    """Repeated M steps with fixed weights are EM for the missing entries: the observed log-likelihood never falls, and
    where it settles no direction leads up. The same point is reached from other starts."""
    emission, values, weights = case(covariance, missing=0.3, rows=200, states=2, dim=3)
    ends = []
    for begin in (emission, case(covariance, seed=9, states=2, dim=3)[0]):
        current, score = begin.m_step(Rows(values), weights), -np.inf
        for _ in range(100):
            after = (weights * current.log_likelihood(Rows(values))).sum()
            assert after >= score - 1e-9 * abs(after)
            current, score = current.m_step(Rows(values), weights), after
        ends.append(current)
    np.testing.assert_allclose(ends[0].means, ends[1].means, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        ends[0].parameters["covariances"], ends[1].parameters["covariances"], rtol=1e-6, atol=1e-8
    )
    rng, best = np.random.default_rng(2), (weights * ends[0].log_likelihood(Rows(values))).sum()
    for _ in range(20):
        tilt = rng.normal(size=(3, 3)) * 1e-3
        moved = ends[0].replaced(
            {
                "means": ends[0].means + 1e-3 * rng.normal(size=(2, 3)),
                "covariances": (np.eye(3) + tilt) @ ends[0].parameters["covariances"] @ (np.eye(3) + tilt).T,
            }
        )
        assert (weights * moved.log_likelihood(Rows(values))).sum() < best


def test_a_row_of_nan_does_not_count():
    for covariance in COVARIANCES:
        emission, values, weights = case(covariance, missing=0.2)
        longer = np.vstack([values, np.full((5, 4), np.nan)])
        more = np.vstack([weights, np.full((5, 3), 1 / 3)])
        prepared = emission.prepared(Rows(values))
        found, expected = prepared.m_step(Rows(longer), more), prepared.m_step(Rows(values), weights)
        np.testing.assert_allclose(found.means, expected.means, rtol=1e-12)
        np.testing.assert_allclose(found.parameters["covariances"], expected.parameters["covariances"], rtol=1e-12)


def test_a_state_or_column_without_weight_keeps_its_law():
    for covariance in COVARIANCES:
        emission, values, weights = case(covariance)
        weights[:, 1] = 0.0
        found = emission.m_step(Rows(values), weights)
        assert np.array_equal(found.means[1], emission.means[1])
        if covariance != "tied":
            assert np.array_equal(found.parameters["covariances"][1], emission.parameters["covariances"][1])
        assert np.isfinite(found.parameters["covariances"]).all()
    emission, values, weights = case("diag")
    values[:40, 2], weights[40:, 0] = np.nan, 0.0
    found = emission.m_step(Rows(values), weights)
    assert found.means[0, 2] == emission.means[0, 2]
    assert found.variances[0, 2] == emission.variances[0, 2]


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_floor_is_a_constrained_maximum_and_is_stated(covariance):
    """One state sits on rows with no spread in one direction. Among random covariances above the floor none is better."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(80, 3)) * np.array([1.0, 5.0, 0.2])
    values[:20, :2] = [[1.0, 2.0]]
    values[:20, 2] = 0.1 * rng.normal(size=20) if covariance in ("full", "tied") else 0.3
    weights = np.zeros((80, 2))
    weights[:20, 0] = weights[20:, 1] = 1.0
    if covariance == "tied":
        values[:, 0] = np.where(np.arange(80) < 20, 1.0, -1.0)
    emission = GaussianEmission.pooled(Rows(values), 2, covariance=covariance, min_variance=1e-3)
    found = emission.m_step(Rows(values), weights)
    floor = 1e-3 * values.var(axis=0)
    matrices = dense(covariance, found.parameters["covariances"], 2, 3)
    limit = np.diag(floor.mean() * np.ones(3) if covariance == "spherical" else floor)
    assert np.linalg.eigvalsh(matrices - limit).min() > -1e-12
    assert len(found.notes) == 1 and "min_variance=0.001" in found.notes[0]
    if covariance in ("full", "tied"):
        best = (weights * found.log_likelihood(Rows(values))).sum()
        for size in np.repeat([1e-4, 1e-2, 1.0], 15):
            extra = rng.normal(size=(3, 3)) * np.sqrt(floor) * size
            other = limit + (1 - min(size, 0.5)) * (found.parameters["covariances"] - limit) + extra.T @ extra
            moved = found.replaced({"covariances": other})
            assert (weights * moved.log_likelihood(Rows(values))).sum() <= best + 1e-9 * abs(best)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_m_step_does_not_depend_on_units(covariance):
    """Columns in other units and about another origin (exact for powers of two), with missing entries and a floor met."""
    _, values, weights = case(covariance, missing=0.2, dim=2)
    if covariance == "spherical":
        unit = np.array([4.0, 4.0])
    else:
        unit = np.array([2.0**-20, 2.0**30])
    values[:15], weights[:15] = values[0], [1.0, 0.0, 0.0]
    weights[15:, 0] = 0.0
    first = GaussianEmission.pooled(Rows(values), 3, covariance=covariance).m_step(Rows(values), weights)
    second = GaussianEmission.pooled(Rows(values * unit), 3, covariance=covariance).m_step(Rows(values * unit), weights)
    assert first.notes == second.notes
    np.testing.assert_allclose(second.means, first.means * unit, rtol=1e-9)
    np.testing.assert_allclose(second.variances, first.variances * unit**2, rtol=1e-9)


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_samples_have_the_moments(covariance):
    """20 000 draws a state: means within 5 standard errors, covariances within 5 of theirs (normal theory)."""
    emission, _, _ = case(covariance, states=2, dim=3)
    path = np.repeat([0, 1], 20_000)
    drawn = emission.sample(path, np.random.default_rng(0))
    matrices = dense(covariance, emission.parameters["covariances"], 2, 3)
    for k in (0, 1):
        sample, cov = drawn[path == k], matrices[k]
        spread = np.sqrt(np.diag(cov))
        assert (np.abs(sample.mean(axis=0) - emission.means[k]) < 5 * spread / np.sqrt(20_000)).all()
        error = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / 20_000)
        assert (np.abs(np.cov(sample.T) - cov) < 5 * error).all()


def test_marginals_are_the_mixture():
    """Law of total variance by hand."""
    emission, _, weights = case("full")
    law = emission.marginals(weights)
    mean = weights @ emission.means
    second = weights @ (emission.variances + emission.means**2)
    np.testing.assert_allclose(law.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(law.variance, second - mean**2, rtol=1e-10)
    assert law.shape == (60, 4)


def test_residuals_are_normal_scores_of_the_mixture():
    """Φ⁻¹ of the weighted sum of Φ; a single state gives (y − μ)/σ, also 30 standard deviations out."""
    emission, values, weights = case("diag", missing=0.2)
    z = (values[:, :, None] - emission.means.T) / np.sqrt(emission.variances.T)
    expected = ndtri((weights[:, None, :] * ndtr(z)).sum(axis=-1))
    np.testing.assert_allclose(emission.residuals(Rows(values), weights), expected, rtol=1e-8, atol=1e-9)
    one = GaussianEmission.given({"means": [[1.0]], "covariances": [[4.0]]}, 1)
    far = np.array([[61.0], [-59.0], [1.0], [np.nan]])
    np.testing.assert_allclose(
        one.residuals(Rows(far), np.ones((4, 1)))[:, 0], [30.0, -30.0, 0.0, np.nan], rtol=1e-10, atol=1e-15
    )
    two = GaussianEmission.given({"means": [[0.0], [5.0]], "covariances": [[1.0], [1.0]]}, 2)
    np.testing.assert_allclose(two.residuals(Rows(np.array([[0.3]])), np.array([[1.0, 0.0]])), [[0.3]], rtol=1e-12)
    ends = two.residuals(Rows(np.array([[40.0], [-35.0]])), np.full((2, 2), 0.5))[:, 0]
    np.testing.assert_allclose(ends, [-ndtri_exp(np.log(0.5) + log_ndtr(-35.0)), -ends[0]], rtol=1e-12)


def test_sizes_and_order():
    free = {"diag": 12 + 12, "full": 12 + 30, "tied": 12 + 10, "spherical": 12 + 3}
    order = np.array([2, 0, 1])
    for covariance in COVARIANCES:
        emission, values, _ = case(covariance, missing=0.2)
        assert (emission.states, emission.dim, emission.n_parameters) == (3, 4, free[covariance])
        np.testing.assert_array_equal(
            emission.reordered(order).log_likelihood(Rows(values)), emission.log_likelihood(Rows(values))[:, order]
        )
        again = GaussianEmission.given(emission.parameters, 3, covariance=covariance)
        assert np.array_equal(again.log_likelihood(Rows(values)), emission.log_likelihood(Rows(values)))
        assert emission.variances.shape == (3, 4)
    assert EMISSIONS["gaussian"] is GaussianEmission


def test_patterns_cover_every_row_once_for_any_number_of_columns():
    """70 columns need more than one word of bits. Oracle: the rows' own masks."""
    rng = np.random.default_rng(0)
    values = np.where(rng.random((30, 70)) < 0.5, np.nan, 1.0)
    values[10:20] = values[:10]
    values[20, :], values[21, :] = np.nan, 1.0
    seen = np.zeros(30, dtype=int)
    groups = list(patterns(values))
    for rows, observed in groups:
        seen[rows] += 1
        assert (~np.isnan(values[rows]) == observed).all()
    assert (seen == (np.arange(30) != 20)).all()
    assert len(groups) == len({row.tobytes() for row in np.isnan(np.delete(values, 20, axis=0))})


# --- misuse -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("covariance", "covariances", "message"),
    [
        ("diag", [[1.0, 1.0], [1.0, 0.0]], "variance 0"),
        ("diag", [1.0, 1.0], r"pass shape \(2, 2\)"),
        ("spherical", [1.0, -1.0], "variance -1"),
        ("tied", [[1.0, 2.0], [2.0, 1.0]], "negative eigenvalue"),
        ("tied", [[1.0, 1.0], [1.0, 1.0]], "singular"),
        ("full", [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [0.2, 1.0]]], r"covariances\[1\]` is not symmetric"),
    ],
)
def test_bad_covariances_are_refused(covariance, covariances, message):
    with pytest.raises(InputError, match=message):
        GaussianEmission.given({"means": np.zeros((2, 2)), "covariances": covariances}, 2, covariance=covariance)


@pytest.mark.parametrize(
    ("column", "message"),
    [(np.full(10, np.nan), "no observed entry"), (np.full(10, 3.0), "constant at 3"), (np.arange(10) * 1e-170, "unit")],
)
def test_columns_that_cannot_be_fitted_are_named(column, message):
    values = np.column_stack([np.arange(10.0), column])
    with pytest.raises(InputError, match=f"column oil .*{message}"):
        GaussianEmission.pooled(Rows(values, columns=("gdp", "oil")), 2)
    with pytest.raises(InputError, match=message):
        GaussianEmission.pooled(Rows(values), 2)
