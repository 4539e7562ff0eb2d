"""The square-root form against the covariance form where both keep their digits, and against 60 digits where only one does."""

from __future__ import annotations

import warnings
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from tests.inference import problems

import statewise as sw
from statewise.inference import filtering, smoothing
from statewise.inference.system import system as make_system
from statewise.kernels import square_root
from statewise.sequences.sequences import Sequences


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("diffuse", [False, True])
@pytest.mark.parametrize("n", [1, 3, 9])
def test_both_forms_agree_on_a_system_of_good_condition(n, diffuse, cross):
    _, sys, seqs, _, _ = problems.draw(n, lengths=(30, 12), n=n, u=1, diffuse=diffuse, cross=cross)
    factored = replace(sys, form="square_root")
    ours, theirs = filtering.run_filter(factored, seqs), filtering.run_filter(sys, seqs)
    for name in ("log_prob", "mean_pred", "cov_pred", "mean_filt", "cov_filt", "mean_next", "cov_next"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8, atol=1e-9, err_msg=name)
    np.testing.assert_array_equal(ours.diffuse, theirs.diffuse)
    if not diffuse:
        for mine, other in zip(smoothing.smooth(factored, seqs), smoothing.smooth(sys, seqs), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_singular_noise_and_a_singular_transition(seed):
    """Zero rows in A, Q of rank one and R = 0: the triangularisation meets columns that are zero."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((3, 3)) * 0.4
    A[2] = 0.0
    g = rng.standard_normal((3, 1))
    g[2] = 0.0
    sys = make_system(A, rng.standard_normal((1, 3)), g @ g.T, np.zeros((1, 1)), np.zeros(3), np.eye(3))
    seqs = Sequences(filtering.sample(sys, 25, 1, rng)[0], np.array([25]))
    ours = smoothing.smooth(replace(sys, form="square_root"), seqs)
    theirs = smoothing.smooth(sys, seqs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-7)


def exact_log_prob(sys, y, digits=60):
    """The filter in `digits` digits, an entry at a time, for a diagonal R."""
    with mpmath.workdps(digits):
        A, Q, P, m = (mpmath.matrix(part.tolist()) for part in (sys.A, sys.Q, sys.P0, sys.m0))
        total = mpmath.mpf(0)
        for row in y:
            for j, value in enumerate(row):
                c = mpmath.matrix([sys.C[j].tolist()])
                gain = P * c.T
                F = (c * gain)[0] + mpmath.mpf(float(sys.R[j, j]))
                error = mpmath.mpf(float(value)) - (c * m)[0]
                total -= (mpmath.log(2 * mpmath.pi * F) + error**2 / F) / 2
                m, P = m + gain * (error / F), P - gain * gain.T / F
            m, P = A * m, A * P * A.T + Q
        return float(total)


def nearly_singular(eps, rng, T=30):
    """Two sensors of one state that differ by eps (Kaminski, Bryson & Schmidt, IEEE Trans. Automatic Control 16 (1971) §II)."""
    C = np.array([[1.0, 1.0], [1.0, 1.0 + eps]])
    sys = make_system(
        np.array([[0.9, 0.1], [0.0, 0.8]]), C, 1e-2 * np.eye(2), eps**2 * np.eye(2), np.zeros(2), np.eye(2)
    )
    return sys, Sequences(filtering.sample(sys, T, 1, rng)[0], np.array([T]))


@pytest.mark.parametrize("eps", [1e-3, 1e-6, 1e-8])
def test_digits_are_kept_where_the_covariance_form_loses_them(eps):
    sys, seqs = nearly_singular(eps, np.random.default_rng(0))
    exact = exact_log_prob(sys, seqs.values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sw.PrecisionWarning)
        found = filtering.run_filter(sys, seqs).log_prob.sum()
    # y itself is rounded to 1e-16 and F is eps² small: an error of 1e-16 / eps in the standardised residual remains in any form.
    assert found == pytest.approx(exact, rel=1e-9 + 2e-15 / eps)


def test_the_switch_is_said_and_the_form_can_be_asked_for():
    C = [[1.0, 1.0], [1.0, 1.0 + 1e-6]]
    options = {"initial_mean": np.zeros(2), "initial_cov": np.eye(2)}
    parts = ([[0.9, 0.1], [0.0, 0.8]], C, 1e-2 * np.eye(2), 1e-12 * np.eye(2))
    y = sw.StateSpace(*parts, **options).sample(20, seed=1)
    with pytest.warns(sw.PrecisionWarning, match="square-root form was used"):
        switched = sw.StateSpace(*parts, **options).log_prob(y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked = sw.StateSpace(*parts, **options, form="square_root")
        np.testing.assert_array_equal(asked.log_prob(y), switched)
        fast = sw.StateSpace(*parts, **options, form="covariance").log_prob(y)
    assert fast == pytest.approx(switched, rel=1e-2)
    cov = asked.smooth(y).cov
    assert np.linalg.eigvalsh(cov).min() >= -1e-25
    with pytest.warns(sw.PrecisionWarning):
        sw.StateSpace(*parts, **options).smooth(y)
    with pytest.raises(sw.InputError, match="not diffuse"):
        sw.StateSpace(*parts, initial="diffuse", form="square_root").smooth(y)


@pytest.mark.parametrize("unit", [1e-8, 1e8])
@pytest.mark.parametrize("radius", [0.999999, 1.0])
def test_units_and_unit_roots_leave_no_nan(unit, radius):
    rng = np.random.default_rng(3)
    turn = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    s = np.array([1.0, unit])
    sys = make_system(
        radius * turn * s[:, None] / s,
        np.eye(2) / s,
        1e-6 * np.diag(s**2),
        np.diag([1e-12, 1.0]),
        np.zeros(2),
        np.diag(s**2),
    )
    base = make_system(radius * turn, np.eye(2), 1e-6 * np.eye(2), np.diag([1e-12, 1.0]), np.zeros(2), np.eye(2))
    seqs = Sequences(filtering.sample(base, 200, 1, rng)[0], np.array([200]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sw.PrecisionWarning)
        mean, cov = smoothing.smooth(sys, seqs)
        base_mean, base_cov = smoothing.smooth(base, seqs)
        np.testing.assert_allclose(problems.log_prob(sys, seqs), problems.log_prob(base, seqs), rtol=1e-8)
    np.testing.assert_allclose(mean / s, base_mean, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(cov / np.outer(s, s), base_cov, rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize("condition", [1e12])
def test_condition_1e12_finishes_with_positive_semi_definite_covariances(condition):
    rng = np.random.default_rng(4)
    n = 4
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    P0 = basis @ np.diag(np.geomspace(1.0, 1.0 / condition, n)) @ basis.T
    sys = make_system(
        0.99 * basis, rng.standard_normal((2, n)), 1e-12 * np.eye(n), 1e-10 * np.eye(2), np.zeros(n), 0.5 * (P0 + P0.T)
    )
    seqs = Sequences(filtering.sample(sys, 60, 1, rng)[0], np.array([60]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sw.PrecisionWarning)
        past = filtering.run_filter(sys, seqs)
        _, cov = smoothing.smooth(sys, seqs)
    assert np.isfinite(past.log_prob).all()
    assert past.log_prob.sum() == pytest.approx(exact_log_prob(sys, seqs.values), rel=1e-6)
    for each in (past.cov_pred, past.cov_filt, cov):
        smallest = np.linalg.eigvalsh(each)
        assert (smallest[:, 0] >= -1e-15 * smallest[:, -1]).all()
        np.testing.assert_array_equal(each, each.swapaxes(1, 2))


def test_echelon_keeps_the_gram_matrix_and_skips_dependent_columns():
    rng = np.random.default_rng(5)
    M = rng.standard_normal((6, 5))
    M[:, 1] = 2.0 * M[:, 0]
    M[:, 2] = 0.0
    gram = M.T @ M
    rank = square_root.echelon(M)
    assert rank == 3
    np.testing.assert_allclose(M.T @ M, gram, atol=1e-12)
    assert (M[rank:] == 0.0).all() and M[1, 1] == M[1, 2] == 0.0 and M[1, 3] != 0.0
