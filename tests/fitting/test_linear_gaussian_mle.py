"""BFGS on the matrices of a system: its gradient, its units, and maxima that other models reach.

Oracles: central differences of the log-likelihood, good to 1e-6 of its size; the VARMA(1, 1) maximum 1480.47633 of two macro series.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import kalman as ref

import statewise as sw
from statewise.fitting import linear_gaussian_mle as mle
from statewise.inference import filtering
from statewise.inference.system import stationary_start
from statewise.inference.system import system as make_system

ALL = ("A", "C", "b", "d", "B", "D", "Q", "R", "m0", "P0")


def problem(seed, free, stationary):
    given, arrays, inputs = ref.draw(seed, (30, 12), 3, 2, 1, 0.1)
    sys = make_system(**given)
    if stationary:
        m0, P0 = stationary_start(sys.A, sys.Q, sys.b)
        sys = mle.replace(sys, m0=m0, P0=P0)
    return mle.Problem(sys, free, stationary), sw.Sequences.from_arrays(arrays, inputs=inputs)


@pytest.mark.parametrize(
    ("free", "stationary"),
    [
        (ALL, False),
        (ALL[:-2], True),
        (("A", "C", "Q", "R", "S", "b"), True),
        (("Q", "R", "S", "m0"), False),
        (("C",), False),
    ],
)
def test_gradient_in_the_parameter_vector_is_that_of_central_differences(free, stationary):
    unknown, seqs = problem(3, free, stationary)
    point = mle.pack(unknown)

    def value(at):
        return float(filtering.run_filter(mle.unpack(unknown, at), seqs, store=False).log_prob.sum())

    sys = mle.unpack(unknown, point)
    gradient = mle.log_prob_gradient(sys, seqs)[1]
    got = mle._gradient(unknown, point, unknown.clock.through_start(sys, gradient) if stationary else gradient)
    want = np.array([(value(point + h) - value(point - h)) / 2e-5 for h in 1e-5 * np.eye(point.size)])
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())


def test_pack_and_unpack_are_inverse():
    unknown, _ = problem(1, (*ALL[:-2], "S"), True)
    again = mle.unpack(unknown, mle.pack(unknown))
    for name in ("A", "C", "Q", "R", "S", "b", "d", "B", "D", "m0", "P0"):
        np.testing.assert_allclose(getattr(again, name), getattr(unknown.sys, name), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e-4, 1e4)])
def test_two_states_with_correlated_noise_reach_the_maximum_of_a_varma(units):
    """A VARMA(1, 1) of two columns is a system of two states with correlated noise. Columns in units that differ by 1e8 change nothing."""
    logs = np.log(sw.datasets.load("us_macro").values[:, :2])
    y = np.diff(logs, axis=0) * units
    noise, mean = np.diag(y.var(axis=0)) / 2, y.mean(axis=0)
    model = sw.StateSpace(
        np.diag([0.5, 0.3]),
        np.eye(2),
        noise,
        noise,
        noise_cross=1e-3 * noise,
        observation_intercept=mean,
        initial="stationary",
    )
    model.fit(sw.Sequences.from_arrays([y]), method="mle", tol=1e-8)
    assert model.fit_result.converged
    assert model.fit_result.details["gradient_norm"] < 1e-6
    in_raw_units = model.fit_result.log_prob + len(y) * np.log(units).sum()
    assert in_raw_units == pytest.approx(1480.47633, abs=2e-4)
    assert model.log_prob([y])[0] == pytest.approx(model.fit_result.log_prob, rel=1e-9)


def test_mle_goes_on_from_em_and_keeps_what_is_fixed():
    seqs = sw.StateSpace.random(2, 2, seed=3).sample(length=300, seed=1)
    model = sw.StateSpace.random(states=2, dim=2, seed=0).fit(seqs, method="em", max_iter=30)
    before, kept = model.fit_result.log_prob, model.parameters["observation"].copy()
    model.fit(seqs, method="mle", fix=("observation", "initial_mean", "initial_cov"))
    assert model.fit_result.log_prob > before
    np.testing.assert_array_equal(model.parameters["observation"], kept)


def test_what_mle_cannot_do_is_refused_with_the_remedy():
    one = [[1.0]]
    model = sw.StateSpace([[0.5]], one, one, one)
    seqs = [np.arange(9.0)]
    with pytest.raises(sw.InputError, match="method"):
        model.fit(seqs, method="newton")
    crossed = sw.StateSpace([[0.5]], one, one, one, noise_cross=[[0.1]], initial="stationary")
    with pytest.raises(sw.InputError, match="noise_cross"):
        crossed.fit([np.arange(9.0)], method="mle", fix="state_noise")


def test_a_diffuse_start_with_every_variance_given_stays_as_given():
    one = [[1.0]]
    model = sw.StateSpace([[0.5]], one, one, one, initial="diffuse", initial_cov=[[3.0]])
    y = np.random.default_rng(0).standard_normal(60)
    model.fit(y, method="mle", fix="observation")
    assert model.system.P0.item() == pytest.approx(3.0, rel=1e-12)
