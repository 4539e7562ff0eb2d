"""Every family against scipy.stats, numerical maximisation, and itself in another order."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from statewise._core.errors import InputError
from statewise.emissions.registry import EMISSIONS
from statewise.emissions.rows import Distinct, Rows

K, ROWS = 3, 400

# For each column-by-column family: parameters of one column (K,), the law of scipy.stats, and whether it is discrete.
CASES = {
    "poisson": ({"rates": [0.7, 4.0, 11.0]}, lambda p: stats.poisson(p["rates"]), True),
    "negative-binomial": (
        {"means": [2.0, 5.0, 9.0], "sizes": [0.8, 3.0, 40.0]},
        lambda p: stats.nbinom(p["sizes"], p["sizes"] / (p["sizes"] + p["means"])),
        True,
    ),
    "bernoulli": ({"probs": [0.1, 0.5, 0.8]}, lambda p: stats.bernoulli(p["probs"]), True),
    "exponential": ({"scales": [0.2, 1.0, 7.0]}, lambda p: stats.expon(scale=p["scales"]), False),
    "gamma": (
        {"shapes": [0.6, 2.0, 30.0], "scales": [1.0, 2.0, 0.3]},
        lambda p: stats.gamma(p["shapes"], scale=p["scales"]),
        False,
    ),
    "student-t": (
        {"locations": [-2.0, 0.0, 3.0], "scales": [0.5, 1.0, 2.0], "dofs": [2.5, 3.0, 4.0]},
        lambda p: stats.t(p["dofs"], loc=p["locations"], scale=p["scales"]),
        False,
    ),
}
NAMES = sorted(CASES)


def made(kind, columns=1):
    parameters = {name: np.tile(np.array(v)[:, None], columns) for name, v in CASES[kind][0].items()}
    return EMISSIONS[kind].given(parameters, K)


def drawn(kind, columns=1, seed=0, missing=0.1):
    rng = np.random.default_rng(seed)
    paths = rng.integers(K, size=(1, ROWS))
    values = made(kind, columns).sample(paths, rng)[0]
    values[rng.random(values.shape) < missing] = np.nan
    return Rows(values), 0.9 * np.eye(K)[paths[0]] + 0.1 * rng.dirichlet(np.ones(K), size=ROWS)


@pytest.mark.parametrize("kind", NAMES)
def test_tables_are_the_laws_of_scipy(kind):
    rows, _ = drawn(kind, columns=2)
    parameters = {name: np.array(value) for name, value in CASES[kind][0].items()}
    law, discrete = CASES[kind][1](parameters), CASES[kind][2]
    density = law.logpmf if discrete else law.logpdf
    expected = np.nansum([density(rows.values[:, d][:, None]) for d in range(2)], axis=0)
    np.testing.assert_allclose(made(kind, 2).log_likelihood(rows), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", NAMES)
def test_m_steps_reach_the_maximum_that_a_search_finds(kind):
    rows, weights = drawn(kind, seed=1)
    emission = made(kind)
    for _ in range(30):  # steps that are only partial maxima come to rest
        emission = emission.m_step(rows, weights)

    def loss(log_or_plain):
        trial = dict(zip(names, log_or_plain, strict=True))
        trial = {name: (value if name == "locations" else np.exp(value)) for name, value in trial.items()}
        if kind == "bernoulli":
            trial["probs"] = trial["probs"] / (1 + trial["probs"])
        law = CASES[kind][1]({name: np.asarray(value) for name, value in trial.items()})
        y = rows.values[rows.seen[:, 0], 0]
        return -float(weights[rows.seen[:, 0], k] @ (law.logpmf(y) if CASES[kind][2] else law.logpdf(y)))

    names = list(emission.parameters)
    for k in range(K):
        start = [emission.parameters[name][k, 0] for name in names]
        begin = [value if name == "locations" else np.log(value) for name, value in zip(names, start, strict=True)]
        if kind == "bernoulli":
            begin = [np.log(start[0] / (1 - start[0]))]
        best = min(
            minimize(loss, np.array(begin) + shift, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-10}).fun
            for shift in (0.0, 0.1)
        )
        assert loss(begin) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("kind", NAMES)
def test_missing_rows_count_for_nothing_and_order_is_kept(kind):
    rows, weights = drawn(kind, columns=2, seed=2)
    emission = made(kind, 2)
    longer = Rows(np.concatenate([rows.values, np.full((50, 2), np.nan)]))
    more = np.concatenate([weights, np.full((50, K), 1.0 / K)])
    assert np.array_equal(emission.log_likelihood(longer)[-50:], np.zeros((50, K)))
    for one, two in zip(
        emission.m_step(rows, weights).parameters.values(),
        emission.m_step(longer, more).parameters.values(),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, rtol=1e-6)  # floors are scaled to the rows; the rest is rounding
    order = np.array([2, 0, 1])
    table = emission.log_likelihood(rows)
    np.testing.assert_array_equal(emission.reordered(order).log_likelihood(rows), table[:, order])


@pytest.mark.parametrize("kind", NAMES)
def test_a_state_without_weight_keeps_its_law(kind):
    rows, weights = drawn(kind, seed=3)
    weights[:, 1] = 0.0
    before, after = made(kind), made(kind).m_step(rows, weights)
    for name, table in after.parameters.items():
        assert table[1] == before.parameters[name][1], name


@pytest.mark.parametrize("kind", NAMES)
def test_mixtures_quantiles_scores_and_crps(kind):
    rng = np.random.default_rng(4)
    weights = np.array([[0.2, 0.3, 0.5]])
    law = made(kind).marginals(weights)
    draws = made(kind).sample(rng.choice(K, p=weights[0], size=(1, 200_000)), rng)[0, :, 0]
    spread = draws.std()
    assert law.mean[0, 0] == pytest.approx(draws.mean(), abs=5 * spread / np.sqrt(len(draws)))
    for q in (0.1, 0.5, 0.9):
        x = law.quantile(q)
        if CASES[kind][2]:
            assert law.cdf(x) >= q > law.cdf(x - 1)
        else:
            np.testing.assert_allclose(law.cdf(x), q, rtol=1e-9)
    y = float(np.round(np.quantile(draws, 0.7)))
    other = rng.permutation(draws)
    crps = np.abs(draws - y).mean() - 0.5 * np.abs(draws - other).mean()
    error = (np.abs(draws - y) - 0.5 * np.abs(draws - other)).std() / np.sqrt(len(draws))
    assert law.crps(np.array([[y]]))[0, 0] == pytest.approx(crps, abs=5 * error)
    residuals = made(kind).residuals(Rows(draws[:20_000, None]), np.tile(weights, (20_000, 1)))
    assert abs(residuals.mean()) < 5 / np.sqrt(20_000)
    if not CASES[kind][2]:
        assert residuals.std() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("poisson", [1.0, -1.0], "column number 0 has the value -1 in row 1 .* whole numbers from 0"),
        ("poisson", [1.0, 1.5], "whole numbers"),
        ("negative-binomial", [0.5, 1.0], "whole numbers"),
        ("bernoulli", [0.0, 2.0], "0 \\(no\\) and 1 \\(yes\\)"),
        ("exponential", [1.0, -0.1], "numbers from 0"),
        ("gamma", [1.0, 0.0], "numbers above 0"),
        ("gamma", [2.0, 2.0], "constant at 2"),
        ("student-t", [np.nan, np.nan], "no observed entry"),
        ("categorical", [0.0, 1.5], "whole codes from 0"),
        ("categorical", [-1.0, 1.0], "whole codes from 0"),
    ],
)
def test_values_that_a_family_cannot_have_are_refused(kind, values, message):
    with pytest.raises(InputError, match=message):
        EMISSIONS[kind].pooled(Rows(np.array(values)[:, None]), 2)


def test_a_poisson_state_of_rate_zero_emits_zeros_only():
    emission = EMISSIONS["poisson"].given({"rates": [0.0, 2.0]}, 2)
    table = emission.log_likelihood(Rows(np.array([[0.0], [3.0]])))
    assert table[0, 0] == 0.0
    assert table[1, 0] == -np.inf
    assert np.isfinite(table[:, 1]).all()


def test_counts_that_vary_less_than_a_poisson_have_the_largest_size():
    rows = Rows(np.tile([3.0, 4.0, 5.0], 50)[:, None])
    found = EMISSIONS["negative-binomial"].pooled(rows, 1)
    assert found.parameters["sizes"][0, 0] == 1e6
    poisson = EMISSIONS["poisson"].pooled(rows, 1).log_likelihood(rows).sum()
    assert found.log_likelihood(rows).sum() == pytest.approx(poisson, abs=1e-2)


@pytest.mark.parametrize("kind", ["exponential", "gamma", "student-t"])
def test_a_collapsing_state_is_held_up_and_says_so(kind):
    values = np.array([1.0] * 20 + [5.0, 9.0, 2.0, 30.0] * 5)[:, None]
    values[:20] = 1e-9 if kind == "exponential" else 1.0
    weights = np.repeat(np.eye(2), 20, axis=0)
    emission = EMISSIONS[kind].pooled(Rows(values), 2).m_step(Rows(values), weights)
    assert np.isfinite(emission.log_likelihood(Rows(values))).all()
    assert "state 0" in emission.notes[0]


def test_categorical_tables_m_step_law_and_sample():
    probs = np.array([[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]])
    emission = EMISSIONS["categorical"].given({"probs": probs}, 2)
    rows = Rows(np.array([[0.0], [2.0], [np.nan], [1.0]]))
    np.testing.assert_allclose(np.exp(emission.log_likelihood(rows)), [[0.1, 0.6], [0.5, 0.1], [1, 1], [0.4, 0.3]])
    weights = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0], [1.0, 0.0]])
    found = emission.m_step(rows, weights).parameters["probs"]
    np.testing.assert_allclose(found, [[0.5 / 1.75, 1 / 1.75, 0.25 / 1.75], [0.4, 0.0, 0.6]])
    law = emission.marginals(np.array([[0.5, 0.5]]))
    assert law.mean[0, 0] == pytest.approx(0.35 + 2 * 0.3)
    np.testing.assert_allclose(law.cdf(np.array([[0.0], [1.0], [2.0]]))[:, 0], [0.35, 0.7, 1.0])
    assert [law.quantile(q)[0, 0] for q in (0.3, 0.36, 0.71)] == [0.0, 1.0, 2.0]
    draws = emission.sample(np.zeros((1, 50_000), dtype=int), np.random.default_rng(0))[0, :, 0]
    np.testing.assert_allclose(np.bincount(draws.astype(int)) / 50_000, probs[0], atol=0.012)


@pytest.mark.parametrize("covariance", ["diag", "full", "spherical"])
def test_mixture_tables_and_the_monotone_m_step(covariance):
    rng = np.random.default_rng(5)
    p, M = 2, 3
    means, shares = rng.normal(size=(K, M, p)), rng.dirichlet(np.ones(M), size=K)
    roots = rng.normal(size=(K, M, p, p))
    dense = roots @ np.swapaxes(roots, 2, 3) + 0.5 * np.eye(p)
    diagonal = np.diagonal(dense, axis1=2, axis2=3)
    given = {"full": dense, "diag": diagonal, "spherical": diagonal[:, :, 0]}[covariance]
    options = {"covariance": covariance, "components": M}
    emission = EMISSIONS["gaussian-mixture"].given(
        {"means": means, "covariances": given, "mixture_weights": shares}, K, **options
    )
    values = rng.normal(size=(200, p))
    values[rng.random(values.shape) < 0.1] = np.nan
    rows, weights = Rows(values), rng.dirichlet(np.ones(K), size=200)

    def matrix(k, m):
        if covariance == "full":
            return given[k, m]
        return np.diag(given[k, m]) if covariance == "diag" else given[k, m] * np.eye(p)

    complete = rows.seen.all(axis=1)
    expected = [
        sum(shares[k, m] * stats.multivariate_normal(means[k, m], matrix(k, m)).pdf(values[complete]) for m in range(M))
        for k in range(K)
    ]
    table = emission.log_likelihood(rows)
    np.testing.assert_allclose(np.exp(table[complete]), np.transpose(expected), rtol=1e-10)
    score = (weights * table).sum()
    for _ in range(20):
        emission = emission.m_step(rows, weights)
        after = (weights * emission.log_likelihood(rows)).sum()
        assert after >= score - 1e-9
        score = after
    order = np.array([1, 2, 0])
    np.testing.assert_allclose(emission.reordered(order).log_likelihood(rows), emission.log_likelihood(rows)[:, order])
    assert emission.parameters["means"].shape == (K, M, p)


def regression(covariance, order=1, seed=6):
    rng = np.random.default_rng(seed)
    p, u, T = 2, 1, 300
    coefficients = 0.3 * rng.normal(size=(2, order * p + u, p))
    noise = np.array([[0.5, 0.2], [0.1, 0.4]]) if covariance == "diag" else np.tile([[0.5, 0.2], [0.2, 0.4]], (2, 1, 1))
    kind = "autoregressive" if order else "regression"
    emission = EMISSIONS[kind].given(
        {
            "intercepts": [[0.0, 1.0], [2.0, -1.0]],
            "coefficients": coefficients,
            "covariances": noise,
            "lag_fills": [0.1, 0.2],
        },
        2,
        covariance=covariance,
        order=order,
    )
    inputs = rng.normal(size=(T, u))
    values = emission.sample(rng.integers(2, size=(1, T)), rng, inputs[None])[0]
    return emission, Rows(values, np.array([200, 100]), inputs), rng.dirichlet(np.ones(2), size=T)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_regressions_are_normal_laws_about_their_mean(covariance, order):
    emission, rows, weights = regression(covariance, order)
    table = emission.log_likelihood(rows)
    own = emission.parameters
    for t in (0, 1, 5, 199, 200, 201, 250):
        start = 0 if t < 200 else 200
        lags = [rows.values[t - lag] if t - lag >= start else own["lag_fills"] for lag in range(1, order + 1)]
        x = np.concatenate([*lags, rows.inputs[t]])
        for k in range(2):
            mean = own["intercepts"][k] + x @ own["coefficients"][k]
            noise = own["covariances"][k]
            law = stats.multivariate_normal(mean, np.diag(noise) if covariance == "diag" else noise)
            assert table[t, k] == pytest.approx(law.logpdf(rows.values[t]), rel=1e-11)
    best = emission.m_step(rows, weights)
    x = np.concatenate([np.ones((300, 1)), rows.lags(order, own["lag_fills"]), rows.inputs], axis=1)
    for k in range(2):
        root = np.sqrt(weights[:, [k]])
        expected = np.linalg.lstsq(root * x, root * rows.values, rcond=None)[0]
        np.testing.assert_allclose(best.parameters["intercepts"][k], expected[0], rtol=1e-8)
        np.testing.assert_allclose(best.parameters["coefficients"][k], expected[1:], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_regressions_with_missing_entries_never_lose(covariance):
    emission, rows, weights = regression(covariance, order=0)
    values = rows.values.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.2] = np.nan
    rows = Rows(values, rows.lengths, rows.inputs)
    score = (weights * emission.log_likelihood(rows)).sum()
    for _ in range(10):
        emission = emission.m_step(rows, weights)
        after = (weights * emission.log_likelihood(rows)).sum()
        assert after >= score - 1e-9
        score = after
    before = (weights * emission.log_likelihood(rows)).sum()
    shifted = emission.replaced({"intercepts": emission.parameters["intercepts"] + 0.01})
    assert (weights * shifted.log_likelihood(rows)).sum() < before


def test_lags_stop_at_the_start_of_a_sequence():
    rows = Rows(np.arange(5.0)[:, None], np.array([2, 3]))
    assert rows.lags(2, np.array([-1.0])).tolist() == [[-1, -1], [0, -1], [-1, -1], [2, -1], [3, 2]]


@pytest.mark.parametrize(
    "column",
    [
        [2.0, 0.0, np.nan, 2.0, 7.0],
        [2.0, 0.0, 1.0, 2.0],
        [1.0, np.nan, 0.0],
        [1.0, 0.5, np.nan],
        [10_000.0, 0.0],
        [10_001.0, 0.0],
        [2.5, -1.0, np.nan, 2.5],
        [1e9, 3.0, 1e9],
        [np.inf, 3.0],
        [np.nan],
        [-1.0, 3.0],
    ],
)
def test_distinct_values_are_counted_or_sorted_alike(column):
    column = np.array(column)
    found = Distinct.of(column)
    seen = ~np.isnan(column)
    assert found.values.tolist() == sorted(set(column[seen].tolist()))
    assert np.array_equal(found.values[found.which[seen]], column[seen])
    assert (found.which[~seen] == len(found.values)).all()
    weights = np.arange(1.0, 2 * len(column) + 1).reshape(-1, 2)
    expected = [weights[seen & (column == value)].sum(axis=0) for value in found.values]
    np.testing.assert_array_equal(found.totals(weights), np.reshape(expected, (-1, 2)))
    table = np.arange(2.0 * len(found.values)).reshape(-1, 2)
    assert np.array_equal(found.table(table).spread()[seen], table[found.which[seen]])
    assert not found.table(table).spread()[~seen].any()
