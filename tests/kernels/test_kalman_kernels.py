"""The Kalman kernels on plain arrays. Oracles: the matrix-form twin and the dense joint Gaussian, scipy's Lyapunov and Riccati solvers.

Every output is poisoned with NaN first: a kernel fills exactly what it promises, and touches nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are, solve_discrete_lyapunov
from tests.reference import kalman as ref

from statewise.inference import filtering, smoothing, steady
from statewise.inference.system import stationary_start
from statewise.inference.system import system as make_system
from statewise.kernels import gradient, kalman, limits, smoother
from statewise.sequences.sequences import Sequences

LENGTHS = (7, 1, 5)


def problem(seed: int = 0, n: int = 3, p: int = 2, missing: float = 0.3):
    rng = np.random.default_rng(seed)
    sys = ref.random_system(rng, n, p)
    y = np.concatenate([ref.simulate(sys, length, rng) for length in LENGTHS])
    y[rng.random(y.shape) < missing] = np.nan
    return sys, y, np.concatenate([[0], np.cumsum(LENGTHS)])


def forward(sys, y, offsets, first=0, last=3, store=True):
    """All outputs of `filter_packed`, poisoned before; the observation's intercept is subtracted here, as the caller does."""
    n, rows, p, count = len(sys["A"]), *y.shape, len(offsets) - 1
    kept = rows if store else 0
    out = {
        "m": np.repeat(sys["m0"][None], count, axis=0),
        "P": np.repeat(sys["P0"][None], count, axis=0),
        "W": np.zeros((count, n, 0)),
        "reach": np.zeros((count, n, 0)),
        "log_prob": np.full(rows, np.nan),
        "mean_pred": np.full((kept, n), np.nan),
        "cov_pred": np.full((kept, n, n), np.nan),
        "mean_filt": np.full((kept, n), np.nan),
        "cov_filt": np.full((kept, n, n), np.nan),
        "diffuse": np.zeros((kept, p), np.bool_),
        "diffuse_filt": np.zeros((kept, n), np.bool_),
        "status": np.full(count, -1),
        "steady_from": np.full(count, -1),
    }
    kalman.filter_packed(
        first, last, y - sys["d"], offsets, sys["b"][None], sys["A"], sys["C"], sys["Q"], sys["R"], sys["S"],
        out["m"], out["P"], out["W"], out["reach"], out["log_prob"], store, out["mean_pred"], out["cov_pred"],
        out["mean_filt"], out["cov_filt"], out["diffuse"], out["diffuse_filt"], out["status"], True, out["steady_from"],
    )  # fmt: skip
    return out


def twins(sys, y, offsets):
    return [ref.kalman_filter(sys, y[a:b]) for a, b in pairwise(offsets)]


@pytest.mark.parametrize("missing", [0.0, 0.4, 1.1])
def test_filter_packed_fills_everything_with_the_twins_numbers(missing):
    sys, y, offsets = problem(missing=missing)
    out, want = forward(sys, y, offsets), twins(sys, y, offsets)
    for name in ("log_prob", "mean_pred", "cov_pred", "mean_filt", "cov_filt"):
        np.testing.assert_allclose(out[name], np.concatenate([twin[name] for twin in want]), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(out["m"], [twin["mean_next"] for twin in want], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(out["P"], [twin["cov_next"] for twin in want], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(out["status"], 0)


def test_filter_packed_leaves_the_other_sequences_alone():
    """Shards: sequence 1 alone, with sequences 0 and 2 still poisoned."""
    sys, y, offsets = problem()
    out, all_of_them = forward(sys, y, offsets, 1, 2), forward(sys, y, offsets)
    own = slice(offsets[1], offsets[2])
    for name in ("log_prob", "mean_pred", "cov_pred", "mean_filt", "cov_filt"):
        np.testing.assert_array_equal(out[name][own], all_of_them[name][own])
        assert np.isnan(out[name][: offsets[1]]).all()
        assert np.isnan(out[name][offsets[2] :]).all()
    np.testing.assert_array_equal(out["status"], [-1, 0, -1])
    np.testing.assert_array_equal(out["m"][[0, 2]], np.repeat(sys["m0"][None], 2, axis=0))


def test_filter_packed_without_storing_needs_no_room():
    sys, y, offsets = problem()
    lean, full = forward(sys, y, offsets, store=False), forward(sys, y, offsets)
    for name in ("log_prob", "m", "P"):
        np.testing.assert_array_equal(lean[name], full[name])


def test_filter_packed_marks_the_sequence_without_a_likelihood():
    """R = 0 and two equal rows of C: only the sequence that has both entries in one step is degenerate."""
    sys = {"A": np.array([[0.9]]), "C": np.ones((2, 1)), "Q": np.eye(1), "R": np.zeros((2, 2)), "S": np.zeros((1, 2))}
    sys |= {"b": np.zeros(1), "d": np.zeros(2), "m0": np.zeros(1), "P0": np.eye(1)}
    y = np.ones((sum(LENGTHS), 2))
    y[:7, 0], y[8:, 1] = np.nan, np.nan
    out = forward(sys, y, np.concatenate([[0], np.cumsum(LENGTHS)]))
    np.testing.assert_array_equal(out["status"], [0, 2, 0])
    assert out["log_prob"][7] == -np.inf
    assert np.isfinite(np.delete(out["log_prob"], 7)).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_singular_innovation_covariance_is_found_whatever_the_rounding(seed):
    """p = 4 exact sums of 2 states, R = 0: after two entries nothing is left but rounding, of either sign."""
    rng = np.random.default_rng(seed)
    sys = {"A": 0.5 * np.eye(2), "C": rng.standard_normal((4, 2)), "Q": np.eye(2), "R": np.zeros((4, 4))}
    sys |= {"S": np.zeros((2, 4)), "b": np.zeros(2), "d": np.zeros(4), "m0": np.zeros(2), "P0": np.eye(2)}
    y = np.repeat(rng.standard_normal((sum(LENGTHS), 2)) @ sys["C"].T, 1, axis=0)
    out = forward(sys, y, np.concatenate([[0], np.cumsum(LENGTHS)]))
    np.testing.assert_array_equal(out["status"], 2)


@pytest.mark.parametrize("seed", range(4))
def test_the_diffuse_factor_loses_one_column_for_each_entry_that_tells_something(seed):
    """P∞ = W W' after each step is P∞ − P∞c c'P∞/F∞, moved by A − G C: the recursion on covariances, in plain NumPy."""
    rng = np.random.default_rng(seed)
    sys = ref.random_system(rng, 4, 1, cross=False)
    Pinf, A, c = np.eye(4), sys["A"], sys["C"][0]
    for steps in range(1, 6):
        y = rng.standard_normal((steps, 1))
        W, m, P = np.eye(4)[None].copy(), np.zeros((1, 4)), np.zeros((1, 4, 4))
        reach, status = W.copy(), np.full(1, -1)
        none = np.empty((0, 4)), np.empty((0, 4, 4))
        kalman.filter_packed(
            0, 1, y, np.array([0, steps]), np.zeros((1, 4)), A, sys["C"], sys["Q"], sys["R"], sys["S"], m, P, W, reach,
            np.empty(steps), False, *none, *none, np.zeros((0, 1), np.bool_), np.zeros((0, 4), np.bool_), status, True, np.full(1, -1),
        )  # fmt: skip
        if steps <= 4:
            Pinf = A @ (Pinf - np.outer(Pinf @ c, Pinf @ c) / (c @ Pinf @ c)) @ A.T
        want = np.zeros((4, 4)) if steps >= 4 else Pinf
        np.testing.assert_allclose(W[0] @ W[0].T, want, atol=1e-9)
        assert np.count_nonzero(np.abs(W[0]).max(axis=0)) == max(4 - steps, 0)


def backward_arguments(sys, y, offsets):
    """What the backward passes take, up to the response to a start that is not diffuse, and zeros for r and N."""
    past, n, count = forward(sys, y, offsets), len(sys["A"]), len(offsets) - 1
    matrices = (sys[letter] for letter in "ACQRS")
    before = (y - sys["d"], offsets, np.diff(offsets), *matrices, past["mean_pred"], past["cov_pred"])
    return (*before, np.zeros((len(y), n, 0))), (np.zeros((count, n)), np.zeros((count, n, n)))


def test_backward_packed_smooths_its_own_sequences_only():
    """Oracle: conditional moments of the joint Gaussian."""
    sys, y, offsets = problem(3)
    n, p, rows = 3, 2, len(y)
    args, start = backward_arguments(sys, y, offsets)
    mean, cov, status = np.full((rows, n), np.nan), np.full((rows, n, n), np.nan), np.full(3, -1)
    none = np.zeros((0, p)), np.zeros((0, n)), np.zeros((0, n + p, n + p))
    smoother.backward_packed(1, 3, *args, *start, mean, cov, cov[:0], *none, status)
    assert np.isnan(mean[: offsets[1]]).all()
    np.testing.assert_array_equal(status, [-1, 0, 0])
    for i in (1, 2):
        own = slice(offsets[i], offsets[i + 1])
        want_mean, want_cov = ref.smoothed(sys, y[own])
        np.testing.assert_allclose(mean[own], want_mean, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(cov[own], want_cov, rtol=1e-9, atol=1e-10)


def gradients_of(sys, y, offsets, first, last, fill=0.0):
    """What `gradient_packed` makes of arrays that hold `fill`: the gradients, errors, shocks and status."""
    n, p, rows = len(sys["A"]), *y.shape[::-1]
    args, start = backward_arguments(sys, y, offsets)
    shapes = ((n, n), (p, n), (n, n), (p, p), (n, p), (n,), (p,))
    sums, status = [np.full(shape, fill) for shape in shapes], np.full(len(offsets) - 1, -1)
    errors, shocks = np.full((rows, p), np.nan), np.full((rows, n), np.nan)
    gradient.gradient_packed(first, last, *args, *start, *sums, errors, shocks, status)
    return sums, errors, shocks, status


@pytest.mark.parametrize(("n", "p"), [(1, 1), (3, 2), (9, 1), (10, 3)])
def test_gradient_packed_adds_up_its_own_sequences(n, p):
    """What it adds is tested in inference; here, that it adds it, sequence by sequence, and leaves the others alone."""
    sys, y, offsets = problem(3, n, p)
    sums, errors, shocks, status = gradients_of(sys, y, offsets, 1, 3, fill=1.0)
    np.testing.assert_array_equal(status, [-1, 0, 0])
    assert np.isnan(errors[: offsets[1]]).all()
    assert np.isnan(shocks[: offsets[1]]).all()
    np.testing.assert_array_equal(errors[offsets[1] :] == 0, np.isnan(y[offsets[1] :]))
    assert not shocks[offsets[2:] - 1].any()  # nothing comes after the last row of a sequence
    parts = [gradients_of(sys, y, offsets, i, i + 1)[0] for i in (1, 2)]
    for have, one, two in zip(sums, *parts, strict=True):
        np.testing.assert_allclose(have - 1, one + two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n", "p"), [(2, 1), (4, 3), (9, 1), (9, 2)])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_gradient_does_not_depend_on_the_size_of_a_block(n, p, rows, monkeypatch):
    """Compiled code has the sizes of the module; the plain one shows what other sizes would do."""
    sys, y, offsets = problem(5, n, p)
    whole = gradients_of(sys, y, offsets, 0, 3)
    monkeypatch.setattr(gradient, "gradient_rows", gradient.gradient_rows.py_func)
    monkeypatch.setitem(gradient.gradient_rows.__globals__, "block_rows", lambda n, p, left: min(left, rows))
    monkeypatch.setattr(gradient, "gradient_packed", gradient.gradient_packed.py_func)
    blocks = gradients_of(sys, y, offsets, 0, 3)
    for one, other in zip((*whole[0], *whole[1:]), (*blocks[0], *blocks[1:]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def test_backward_passes_report_a_singular_innovation_covariance():
    y, offsets = np.ones((3, 2)), np.array([0, 3])
    one, many = np.eye(1), (np.zeros((3, 1)), np.ones((3, 1, 1)))
    status = np.zeros(1, np.int64)
    args = (y, offsets, np.array([3]), one, np.ones((2, 1)), one, np.zeros((2, 2)), np.zeros((1, 2)), *many)
    args = (*args, np.zeros((3, 1, 0)), np.zeros((1, 1)), np.zeros((1, 1, 1)))
    smoother.backward_packed(
        0, 1, *args, many[0], many[1], many[1][:0], np.zeros((3, 2)), np.zeros((0, 1)), np.zeros((0, 3, 3)), status
    )
    assert status[0] == 2
    shapes = ((1, 1), (2, 1), (1, 1), (2, 2), (1, 2), (1,), (2,))
    sums, none = [np.zeros(shape) for shape in shapes], (np.zeros((0, 2)), np.zeros((0, 1)))
    for settled_from in (3, 0):
        status[0] = 0
        gradient.gradient_packed(0, 1, *args[:2], np.array([settled_from]), *args[3:], *sums, *none, status)
        assert status[0] == 2


@pytest.mark.parametrize("n", [1, 2, 5, 12])
@pytest.mark.parametrize("radius", [0.0, 0.5, 0.999])
def test_stationary_covariance_solves_the_lyapunov_equation(n, radius):
    rng = np.random.default_rng(n)
    sys = ref.random_system(rng, n, 1, radius=max(radius, 1e-3))
    A = sys["A"] if radius else np.eye(n, k=1)
    P, power, work, step = np.full((4, n, n), np.nan)
    assert limits.stationary_covariance(A, sys["Q"], P, power, work, step)
    np.testing.assert_allclose(P, solve_discrete_lyapunov(A, sys["Q"]), rtol=1e-8)
    np.testing.assert_array_equal(P, P.T)


@pytest.mark.parametrize("seed", range(10))
def test_stationary_covariance_of_an_indefinite_matrix(seed):
    """The adjoint equation of a gradient: Q is symmetric, of either sign, and may have zeros on its diagonal."""
    rng = np.random.default_rng(seed)
    A, Q = ref.random_system(rng, 4, 1, radius=0.95)["A"], rng.standard_normal((4, 4))
    Q = Q + Q.T
    if seed % 2:
        Q[np.diag_indices(4)] = 0.0
    P, power, work, step = np.empty((4, 4, 4))
    assert limits.stationary_covariance(A, Q, P, power, work, step)
    np.testing.assert_allclose(P, solve_discrete_lyapunov(A, Q), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("root", [1.0, -1.0, 1.5])
def test_stationary_covariance_of_a_root_outside_the_circle_does_not_exist(root):
    P, power, work, step = np.empty((4, 2, 2))
    assert not limits.stationary_covariance(np.diag([0.5, root]), np.eye(2), P, power, work, step)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius", [0.5, 0.99])
def test_steady_covariance_solves_the_riccati_equation(seed, radius):
    """scipy's solver with the cross term; the steady P does not depend on where the iteration starts."""
    rng = np.random.default_rng(seed)
    sys = ref.random_system(rng, 4, 2, radius=radius)
    want = solve_discrete_are(sys["A"].T, sys["C"].T, sys["Q"], sys["R"], s=sys["S"])
    for start in (sys["P0"], 100 * np.eye(4), np.zeros((4, 4))):
        P = start.copy()
        args = (sys["A"], sys["C"], sys["Q"], sys["R"], sys["S"])
        assert limits.steady_covariance(*args, P, 1e-4 * np.diag(start), 100_000) < 5000
        np.testing.assert_allclose(P, want, rtol=1e-9, atol=1e-11)


def test_steady_covariance_says_when_it_does_not_settle():
    """A constant observed with noise: P = R/t falls for ever. Oracle: that formula."""
    one = np.eye(1)
    P = one.copy()
    assert limits.steady_covariance(one, one, 0 * one, one, 0 * one, P, np.array([1e-4]), 1000) == 1000
    np.testing.assert_allclose(P, 1 / 1001, rtol=1e-10)


# --- without compilation ----------------------------------------------------------------------------------------------


def all_numbers() -> list[list[float]]:
    """What every kernel here says of one small problem, by way of the functions that call them."""
    rng = np.random.default_rng(0)
    sys = ref.random_system(rng, 2, 2)
    values = rng.standard_normal((7, 2))
    values[[1, 2, 2], [0, 0, 1]] = np.nan
    seqs = Sequences(values, [4, 3])
    known, diffuse = make_system(**sys), make_system(**{**sys, "P0": np.zeros((2, 2)), "Pinf": np.eye(2)})
    value, gradient = smoothing.log_prob_gradient(known, seqs)
    parts = [value, *vars(gradient).values(), *smoothing.smooth(known, seqs), *smoothing.smooth(diffuse, seqs)]
    parts += [
        filtering.run_filter(diffuse, seqs).log_prob,
        stationary_start(sys["A"], sys["Q"])[1],
        steady.predictor_gain(known)[0],
    ]
    return [np.asarray(part).ravel().tolist() for part in parts]


def test_the_kernels_say_the_same_without_compilation():
    """NUMBA_DISABLE_JIT=1 runs them as plain Python, where a division by zero or an index out of bounds is an error."""
    program = "import json, numba; from tests.kernels.test_kalman_kernels import all_numbers; "
    program += "assert numba.config.DISABLE_JIT; print(json.dumps(all_numbers()))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for plain, compiled in zip(json.loads(done.stdout), all_numbers(), strict=True):
        np.testing.assert_allclose(plain, compiled, rtol=1e-11, atol=1e-12)
