"""Markov-switching models of the literature, written as `HMM`s, against the numbers that statsmodels' own tests quote.

Data and numbers: statsmodels 0.15, tsa/regime_switching/tests/test_markov_regression.py and test_markov_autoregression.py and
their results/ folder, which say where each comes from: Stata's manual of `mswitch` (stata.com/manuals14/tsmswitch.pdf), EViews'
SWITCHREG for Hamilton's model (Econometrica 57 (1989)), and Filardo's programs for his (J. Bus. Econ. Statist. 12 (1994)).
Tolerances are the digits printed there. In those tests the first state has the stationary law, of the first transitions where
they vary.

An autoregression around a switching mean, y[t] − μ[s[t]] = Σ φ_l (y[t−l] − μ[s[t−l]]) + e, is an HMM whose state is
(s[t], …, s[t−r]) and whose observation is a regression on the lags.
"""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest

import statewise as sw

FOLDER = Path(pytest.importorskip("statsmodels").__file__).parent / "tsa" / "regime_switching" / "tests"


def quoted(file, name):
    """The numbers that the test module `file` assigns to `name`; read, not run: importing it would register its tests' marks."""
    for node in ast.parse((FOLDER / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            literal = ast.unparse(node.value).replace("np.nan", "None")
            return np.array(ast.literal_eval(literal), dtype=float)
    raise LookupError(name)


def regression(name):
    return quoted("test_markov_regression.py", name)


def autoregression(name):
    return quoted("test_markov_autoregression.py", name)


def stationary(P):
    values, vectors = np.linalg.eig(P.T)
    law = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    return law / law.sum()


# --- switching regressions --------------------------------------------------------------------------------------------


def lagged(series):
    return series[1:], series[:-1]


def switching_regression(chances, intercepts, slopes, variances, y, x):
    """Parameters in statsmodels' order: P(0 → 0), P(1 → 0); `slopes` (regressors, 2)."""
    P = np.array([[chances[0], 1 - chances[0]], [chances[1], 1 - chances[1]]])
    model = sw.HMM(
        states=2, emission="regression", initial_probs=stationary(P), transition_probs=P, intercepts=intercepts,
        coefficients=np.transpose(slopes)[:, :, None], covariances=np.broadcast_to(variances, 2),
    )  # fmt: skip
    return model, sw.Sequences.from_arrays([y], inputs=[x])


def test_federal_funds_around_two_levels():
    """Stata, `mswitch dr fedfunds`: −508.63592."""
    P = np.array([[0.9820939, 1 - 0.9820939], [0.0503587, 1 - 0.0503587]])
    model = sw.HMM(
        states=2,
        initial_probs=stationary(P),
        transition_probs=P,
        means=[3.70877, 9.556793],
        covariances=[2.107562**2] * 2,
    )
    assert model.log_prob(regression("fedfunds"))[0] == pytest.approx(-508.63592, abs=5e-5)


@pytest.mark.parametrize(
    ("data", "chances", "intercepts", "slopes", "sds", "log_prob"),
    [
        ("fedfunds", (0.6378175, 0.1306295), (0.724457, -0.0988764), (0.7631424, 1.061174), 0.6915759, -264.71069),
        ("areturns", (0.7530865, 0.6825357), (0.7641424, 1.972771), (0.0790744, 0.527953), (0.5895792, 1.605333), -745.7977),
        ("mumpspc", (0.762733, 0.1473767), (0.0, 0.0), (0.420275, 0.9847369), (0.0562405, 0.2611362), 131.7225),
    ],
)  # fmt: skip
def test_stata_s_switching_regressions_on_the_last_value(data, chances, intercepts, slopes, sds, log_prob):
    y, x = lagged(regression(data))
    model, seqs = switching_regression(chances, intercepts, [slopes], np.square(sds), y, x)
    assert model.log_prob(seqs)[0] == pytest.approx(log_prob, abs=1e-4)


def test_federal_funds_with_output_gap_and_inflation():
    """Stata, `mswitch dr fedfunds, switch(L.fedfunds ogap inflation)`: −229.25614; statsmodels drops four quarters."""
    y = regression("fedfunds")[4:]
    x = np.column_stack([regression("fedfunds")[3:-1], regression("ogap")[4:], regression("inf")[4:]])
    slopes = [(0.8314458, 0.9292574), (0.1355425, 0.0343072), (-0.0273928, 0.2125275)]
    model, seqs = switching_regression((0.7279288, 0.2114578), (0.6554954, -0.0944924), slopes, 0.5764495**2, y, x)
    assert model.log_prob(seqs)[0] == pytest.approx(-229.25614, abs=1e-4)


def test_federal_funds_in_three_regimes():
    """Stata, `mswitch dr fedfunds, switch(L.fedfunds ogap inflation) states(3)`: −189.89493."""
    y = regression("fedfunds")[4:]
    x = np.column_stack([regression("fedfunds")[3:-1], regression("ogap")[4:], regression("inf")[4:]])
    to_first, to_second = [0.7253684, 0.1641252, 0.6178282], [0.2564055, 0.7994204, 0.3821718]
    P = np.column_stack([to_first, to_second, 1.0 - np.add(to_first, to_second)])
    slopes = [(0.8464551, 0.9690088, 0.4178913), (0.1201952, 0.0464136, 0.1075357), (-0.0425603, 0.1298906, 0.9099168)]
    model = sw.HMM(
        states=3, emission="regression", initial_probs=stationary(P), transition_probs=P,
        intercepts=[0.5261292, -0.0034106, 0.6015991], coefficients=np.transpose(slopes)[:, :, None],
        covariances=np.full(3, 0.438375**2),
    )  # fmt: skip
    assert model.log_prob(sw.Sequences.from_arrays([y], inputs=[x]))[0] == pytest.approx(-189.89493, abs=1e-4)


def test_a_fit_to_areturns_reaches_stata_s_maximum():
    """With a free first state the maximum is a little higher, by ln 1/π at most (π = .734 of the likelier state); the rest moves by
    less than a tenth of Stata's standard errors (.028, .278, .030, .086, and about .03 and .05 for the deviations)."""
    y, x = lagged(regression("areturns"))
    fit = sw.HMM(states=2, emission="regression").fit(
        sw.Sequences.from_arrays([y], inputs=[x]), tol=1e-9, max_iter=3000
    )
    assert -745.7977 - 1e-4 < fit.fit_result.log_prob < -745.7977 + np.log(1 / 0.26)
    np.testing.assert_allclose(fit.intercepts[:, 0], [0.7641424, 1.972771], atol=0.03)
    np.testing.assert_allclose(fit.coefficients[:, 0, 0], [0.0790744, 0.527953], atol=0.01)
    np.testing.assert_allclose(np.sqrt(fit.covariances[:, 0]), [0.5895792, 1.605333], atol=0.01)
    np.testing.assert_allclose(fit.transition_probs[:, 0], [0.7530865, 0.6825357], atol=0.01)


# --- autoregressions around a switching mean --------------------------------------------------------------------------


def expanded(means, slopes, variance, P, y, driver=None):
    """An `HMM` over (s[t], …, s[t−r]) and its sequence, from the r + 1-th value on, whose inputs are the r lags (and the driver).

    `slopes` (r, 2) by the present state. `P` (2, 2), or with a `driver` (log odds of going to 0: intercepts (2,), slopes (2,)),
    the driver of a step moving the transition into it.
    """
    r = len(slopes)
    odds = None if driver is None else P[0] + np.outer(driver, P[1])
    steps = (
        [P] * (r + 1)
        if odds is None
        else [np.column_stack([1 / (1 + np.exp(-row)), 1 / (1 + np.exp(row))]) for row in odds[: r + 1]]
    )
    states = list(itertools.product(range(2), repeat=r + 1))
    initial, leads = [], np.array([[i[:-1] == j[1:] for j in states] for i in states])
    for now in states:  # the chance of a path of r + 2 states, summed over the first
        paths = [(*now, first) for first in range(2)]
        initial.append(
            sum(
                stationary(steps[0])[path[-1]] * np.prod([steps[i][path[-1 - i], path[-2 - i]] for i in range(r + 1)])
                for path in paths
            )
        )
    means_now = np.array([means[i[0]] for i in states])
    weights = np.array([[slopes[lag][i[0]] for lag in range(r)] for i in states])
    levels = means_now - np.array(
        [sum(w[lag] * means[i[lag + 1]] for lag in range(r)) for w, i in zip(weights, states, strict=True)]
    )
    x = np.column_stack([y[r - lag : len(y) - lag] for lag in range(1, r + 1)])
    options = {}
    if driver is None:
        options["transition_probs"] = np.where(leads, [[P[i[0], j[0]] for j in states] for i in states], 0.0)
    else:
        to_zero = np.array([j[0] == 0 for j in states])
        intercepts = np.where(leads, np.where(to_zero, np.array([P[0][i[0]] for i in states])[:, None], 0.0), -np.inf)
        coefficients = np.zeros((len(states), r + 1, len(states)))
        coefficients[:, r] = np.where(leads & to_zero, np.array([P[1][i[0]] for i in states])[:, None], 0.0)
        options |= {
            "transitions": "inputs",
            "transition_intercepts": intercepts,
            "transition_coefficients": coefficients,
        }
        x = np.column_stack([x, np.append(driver[r + 1 :], 0.0)])
        weights = np.column_stack([weights, np.zeros(len(states))])
    model = sw.HMM(
        states=len(states), emission="regression", initial_probs=initial, intercepts=levels, coefficients=weights[:, :, None],
        covariances=np.full(len(states), variance), **options,
    )  # fmt: skip
    return model, sw.Sequences.from_arrays([y[r:]], inputs=[x]), np.array([i[0] for i in states])


def test_hamilton_s_model_of_output_growth():
    """EViews and Stata: −181.26339; a fourth-order autoregression around a mean that switches, 32 states."""
    P = np.array([[0.754673, 1 - 0.754673], [0.095915, 1 - 0.095915]])
    phi = [0.013486, -0.057521, -0.246983, -0.212923]
    y = autoregression("rgnp")
    model, seqs, _ = expanded([-0.358811, 1.163516], np.repeat(phi, 2).reshape(4, 2), np.exp(-0.262658) ** 2, P, y)
    assert model.log_prob(seqs)[0] == pytest.approx(-181.26339, abs=1e-5)


def test_output_growth_with_a_slope_that_switches():
    """EViews: −186.7575, and its table of filtered and smoothed probabilities to six digits."""
    P = np.array([[0.85472458, 1 - 0.85472458], [0.53662099, 1 - 0.53662099]])
    y = autoregression("rgnp")
    model, seqs, now = expanded([1.041419, -0.479157], [(0.243128, 0.713029)], np.exp(-0.231404) ** 2, P, y)
    assert model.log_prob(seqs)[0] == pytest.approx(-186.7575, abs=5e-5)
    for name, states in (("filtered", model.filter(seqs)), ("smoothed", model.smooth(seqs))):
        expected = autoregression(f"hamilton_ar1_switch_{name}")
        np.testing.assert_allclose(states.probs[:, now == 0].sum(axis=1), expected, atol=1e-5)


def test_output_growth_with_two_slopes_that_switch():
    """Stata, `mswitch ar rgnp, arswitch ar(1/2)`: −179.32354."""
    P = np.array([[0.3812383, 1 - 0.3812383], [0.3564492, 1 - 0.3564492]])
    slopes = [(0.3710719, 0.4621503), (0.7002937, -0.3206652)]
    model, seqs, _ = expanded([-0.0055216, 1.195482], slopes, 0.6677098**2, P, autoregression("rgnp"))
    assert model.log_prob(seqs)[0] == pytest.approx(-179.32354, abs=1e-4)


def test_hamilton_s_model_with_transitions_that_depend_on_recessions():
    """EViews: −163.914049, and the filtered and smoothed chances of the first regime in every quarter."""
    y, recession = autoregression("rgnp"), autoregression("rec")
    # statsmodels' order: constants of the transitions out of 0 and 1, then the slopes.
    odds = (np.array([6.564923, 7.846371]), np.array([-8.064123, -15.37636]))
    slopes = np.array([[0.161489, 0.022536]])
    model, seqs, regime = expanded([1.027190, -0.719760], slopes, np.exp(-0.217003) ** 2, odds, y, recession)
    assert model.log_prob(seqs)[0] == pytest.approx(-163.914049, abs=1e-4)
    filtered = model.filter(seqs).probs[:, regime == 0].sum(axis=1)
    np.testing.assert_allclose(filtered, autoregression("hamilton_ar1_switch_tvtp_filtered"), atol=1e-5)
    smoothed = model.smooth(seqs).probs[:, regime == 0].sum(axis=1)
    np.testing.assert_allclose(smoothed, autoregression("hamilton_ar1_switch_tvtp_smoothed"), atol=1e-5)


def test_filardo_s_business_cycle_with_transitions_that_depend_on_leading_indicators():
    """Filardo (1994): −586.5718, every month's filtered and smoothed chance of expansion, and the transitions' chances."""
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(FOLDER / "results" / "mar_filardo.csv")
    y, leading = table["dlip"].to_numpy()[1:], table["dmdlleading"].to_numpy()[:-1]
    phi = [0.189474, 0.079344, 0.110944, 0.122251]
    odds = (np.array([4.35941747, -1.6493936]), np.array([1.7702123, 0.9945672]))
    model, seqs, regime = expanded(
        [0.517298, -0.865888], np.repeat(phi, 2).reshape(4, 2), np.exp(-0.362469) ** 2, odds, y, leading
    )
    assert model.log_prob(seqs)[0] == pytest.approx(-586.5718, abs=1e-4)
    filtered = model.filter(seqs).probs[:, regime == 0].sum(axis=1)
    np.testing.assert_allclose(filtered, table["filtered_0"][5:], atol=1e-5)
    smoothed = model.smooth(seqs).probs[:, regime == 0].sum(axis=1)
    np.testing.assert_allclose(smoothed, table["smoothed_0"][5:], atol=1e-5)
    P = model.transition_probs_at(seqs.inputs)[:-1, :, regime == 0].sum(axis=2)
    np.testing.assert_allclose(P[:, 0], table["transition_00"][6:], atol=1e-5)
    np.testing.assert_allclose(P[:, -1], table["transition_10"][6:], atol=1e-5)
