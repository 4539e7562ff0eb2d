"""`kernels/hmm.py` against its plain twin, its own log-space form, and itself without compilation."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.reference import hmm as reference

from statewise.kernels import hmm as kernel
from statewise.kernels import hmm_paths

TOLERANCE = {"rtol": 1e-11, "atol": 1e-13}  # float64 sums over at most a hundred rows


def case(states, lengths, seed, *, zeros=False, scale=2.0):
    """A random chain and table; with `zeros`, a left-to-right chain and tables with −inf that leave a path open."""
    rng = np.random.default_rng(seed)
    pi, P = rng.dirichlet(np.ones(states)), rng.dirichlet(np.ones(states), states)
    L = rng.normal(size=(sum(lengths), states)) * scale
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if zeros:
        P = np.triu(P) / np.triu(P).sum(axis=1, keepdims=True)
        pi = np.eye(states)[0]
        out = rng.random(L.shape) < 0.2
        out[:, -1], out[offsets[:-1], 0] = False, False
        L[out] = -np.inf
    return pi, P, L, offsets


def poisoned(*shape):
    """Fresh memory that shows what a kernel forgets to write."""
    return np.full(shape, np.nan)


def run_forward(pi, P, L, offsets, *, keep=True, logs=False):
    N, size = len(offsets) - 1, (L.shape if keep else (0, L.shape[1]))
    steps, filtered, predicted = poisoned(len(L)), poisoned(*size), poisoned(*size)
    codes = np.full(N, -1)
    sparse = bool(P.min() < 1e-200)
    log_chain = reference.log(pi), reference.log(P)
    kernel.forward(pi, P, *log_chain, L, offsets, 0, N, sparse, keep, logs, steps, filtered, predicted, codes)
    return steps, filtered, predicted, codes


def run_backward(pi, P, L, offsets):
    _, filtered, predicted, codes = run_forward(pi, P, L, offsets, logs=True)
    smoothed, counts = poisoned(*L.shape), np.zeros(P.shape)
    kernel.backward(P, reference.log(P), offsets, 0, len(offsets) - 1, codes, filtered, predicted, smoothed, counts)
    return smoothed, counts


def run_viterbi(pi, P, L, offsets):
    path, log_prob, codes = np.full(len(L), -1), poisoned(len(offsets) - 1), np.full(len(offsets) - 1, -1)
    logs = reference.log(pi), reference.log(P)
    hmm_paths.viterbi(*logs, L, offsets, 0, len(offsets) - 1, path, log_prob, codes)
    return path, log_prob, codes


def each(L, offsets):
    return [L[a:b] for a, b in pairwise(offsets)]


CASES = {
    "one state": case(1, [4, 1], 0),
    "one row": case(3, [1], 1),
    "ragged": case(3, [7, 1, 30, 2], 2),
    "many states": case(17, [20, 20], 3),
    "zeros": case(4, [25, 1, 40], 4, zeros=True),
    "underflow": case(3, [60], 5, scale=500.0),
    "zeros and underflow": case(4, [50, 3], 6, zeros=True, scale=500.0),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_agrees_with_the_twin(name):
    pi, P, L, offsets = CASES[name]
    steps, filtered, predicted, codes = run_forward(pi, P, L, offsets)
    parts = each(L, offsets)
    np.testing.assert_allclose(steps, np.concatenate([reference.log_prob_steps(pi, P, x) for x in parts]), **TOLERANCE)
    np.testing.assert_allclose(filtered, np.vstack([reference.filtered(pi, P, x) for x in parts]), **TOLERANCE)
    np.testing.assert_allclose(predicted, np.vstack([reference.predicted(pi, P, x) for x in parts]), **TOLERANCE)
    assert np.isin(codes, (kernel.SCALED, kernel.LOG_SPACE)).all()


@pytest.mark.parametrize("name", CASES)
def test_score_only_gives_the_same_steps(name):
    pi, P, L, offsets = CASES[name]
    assert np.array_equal(
        run_forward(pi, P, L, offsets, keep=False)[0],
        run_forward(pi, P, L, offsets)[0],
    )


@pytest.mark.parametrize("name", CASES)
def test_backward_agrees_with_the_twin(name):
    pi, P, L, offsets = CASES[name]
    smoothed, counts = run_backward(pi, P, L, offsets)
    parts = each(L, offsets)
    np.testing.assert_allclose(smoothed, np.vstack([reference.smoothed(pi, P, x) for x in parts]), **TOLERANCE)
    np.testing.assert_allclose(counts, sum(reference.counts(pi, P, x) for x in parts), **TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_viterbi_agrees_with_the_twin(name):
    pi, P, L, offsets = CASES[name]
    path, log_prob, _ = run_viterbi(pi, P, L, offsets)
    best = [reference.viterbi(pi, P, x) for x in each(L, offsets)]
    assert np.array_equal(path, np.concatenate([states for states, _ in best]))
    np.testing.assert_allclose(log_prob, [value for _, value in best], rtol=1e-13)


@pytest.mark.parametrize("name", ["ragged", "zeros and underflow"])
def test_smoothed_may_overwrite_predicted(name):
    """The launcher saves memory that way; oracle: the same call with separate arrays."""
    pi, P, L, offsets = CASES[name]
    expected, _ = run_backward(pi, P, L, offsets)
    _, filtered, predicted, codes = run_forward(pi, P, L, offsets, logs=True)
    counts = np.zeros(P.shape)
    kernel.backward(P, reference.log(P), offsets, 0, len(offsets) - 1, codes, filtered, predicted, predicted, counts)
    assert np.array_equal(predicted, expected)


def test_scaled_and_log_space_are_the_same_recursion():
    """Every sequence that the scaled pass does, done by the log-space pass as well."""
    pi, P, L, offsets = CASES["ragged"]
    steps, filtered, predicted, codes = run_forward(pi, P, L, offsets)
    smoothed, counts = run_backward(pi, P, L, offsets)
    assert (codes == kernel.SCALED).all()
    total = np.zeros(P.shape)
    for a, b in pairwise(offsets):
        s, log_a, log_f, g = poisoned(b - a), poisoned(b - a, 3), poisoned(b - a, 3), poisoned(b - a, 3)
        assert kernel._forward_log(reference.log(pi), reference.log(P), L[a:b], s, log_a, log_f) == kernel.LOG_SPACE
        kernel._backward_log(reference.log(P), log_a, log_f, g, total)
        np.testing.assert_allclose(s, steps[a:b], **TOLERANCE)
        np.testing.assert_allclose(np.exp(log_a), filtered[a:b], **TOLERANCE)
        np.testing.assert_allclose(np.exp(log_f), predicted[a:b], **TOLERANCE)
        np.testing.assert_allclose(g, smoothed[a:b], **TOLERANCE)
    np.testing.assert_allclose(total, counts, **TOLERANCE)


@pytest.mark.parametrize("steps_down", [1, 3, 30])
def test_a_state_lost_to_underflow_comes_back(steps_down):
    """Two hypotheses that never mix (P = I). The log odds go to −3000, in one step or in many, and back to +1000: doubles
    cannot hold e^−3000. Oracle: closed form, the posterior odds are the prior odds times the likelihood ratio.
    """
    ratio = np.zeros(70)
    ratio[:steps_down], ratio[30:] = -3000.0 / steps_down, 100.0
    L = np.column_stack([np.zeros(70), ratio])
    pi, P, offsets = np.array([0.5, 0.5]), np.eye(2), np.array([0, 70])
    steps, filtered, _, codes = run_forward(pi, P, L, offsets)
    odds = np.cumsum(ratio)
    assert codes[0] == kernel.LOG_SPACE
    np.testing.assert_allclose(filtered[:, 1], 1 / (1 + np.exp(np.clip(-odds, -700, 700))), rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(steps.sum(), np.logaddexp(0.0, 1000.0) + np.log(0.5), rtol=1e-12)
    smoothed, counts = run_backward(pi, P, L, offsets)
    np.testing.assert_allclose(smoothed[:, 1], 1.0, rtol=1e-12)
    np.testing.assert_allclose(counts, [[0, 0], [0, 69]], atol=1e-9)


def test_an_impossible_row_is_minus_infinity_and_nothing_is_nan():
    """Row 2 cannot be emitted; oracle: the same sequence with that row missing, for all that comes after."""
    pi, P, L, offsets = case(3, [6, 4], 8)
    L[2] = -np.inf
    as_missing = L.copy()
    as_missing[2] = 0.0
    steps, filtered, predicted, codes = run_forward(pi, P, L, offsets)
    other = run_forward(pi, P, as_missing, offsets)
    assert codes.tolist() == [kernel.IMPOSSIBLE, kernel.SCALED]
    assert steps[2] == -np.inf
    np.testing.assert_allclose(np.delete(steps, 2), np.delete(other[0], 2), **TOLERANCE)
    np.testing.assert_allclose(filtered, other[1], **TOLERANCE)
    np.testing.assert_allclose(predicted, other[2], **TOLERANCE)
    smoothed, counts = run_backward(pi, P, L, offsets)
    expected = run_backward(pi, P, as_missing, offsets)
    np.testing.assert_allclose(smoothed, expected[0], **TOLERANCE)
    np.testing.assert_allclose(counts, expected[1], **TOLERANCE)
    path, log_prob, path_codes = run_viterbi(pi, P, L, offsets)
    assert log_prob[0] == -np.inf and np.isfinite(log_prob[1])
    assert path_codes[0] == kernel.IMPOSSIBLE
    assert np.array_equal(path, run_viterbi(pi, P, as_missing, offsets)[0])


def test_impossible_by_zeros_in_the_chain_alone():
    """State 0 is certain and absorbing, and row 1 needs state 1."""
    pi, P = np.array([1.0, 0.0]), np.eye(2)
    L = np.array([[0.0, 0.0], [-np.inf, 0.0], [0.0, 0.0]])
    steps, filtered, _, codes = run_forward(pi, P, L, np.array([0, 3]))
    assert steps.tolist() == [0.0, -np.inf, 0.0]
    assert codes.tolist() == [kernel.IMPOSSIBLE]
    assert filtered.tolist() == [[1.0, 0.0]] * 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_reported(bad):
    pi, P, L, offsets = case(3, [4, 4], 9)
    L[5, 1] = bad
    assert run_forward(pi, P, L, offsets)[3].tolist() == [kernel.SCALED, kernel.INVALID]
    assert run_viterbi(pi, P, L, offsets)[2].tolist()[1] == kernel.INVALID


def test_parts_of_the_work_make_the_whole():
    pi, P, L, offsets = CASES["ragged"]
    whole = run_forward(pi, P, L, offsets)[0]
    steps, empty, codes = poisoned(len(L)), poisoned(0, 3), np.full(4, -1)
    logs = reference.log(pi), reference.log(P)
    for first, last in ((2, 4), (0, 2)):
        kernel.forward(pi, P, *logs, L, offsets, first, last, False, False, False, steps, empty, empty, codes)
    assert np.array_equal(steps, whole)


def test_compiled_and_plain_python_agree():
    """The same numbers with NUMBA_DISABLE_JIT=1, to rounding (fused multiply-adds differ), and without a warning."""
    script = (
        "import sys, numpy as np\n"
        "from tests.kernels import test_hmm_kernels as t\n"
        "for name in ('ragged', 'zeros and underflow'):\n"
        "    c = t.CASES[name]\n"
        "    s, f, p, _ = t.run_forward(*c); g, n = t.run_backward(*c); v, lp, _ = t.run_viterbi(*c)\n"
        "    np.savetxt(sys.stdout, np.concatenate([s, f.ravel(), p.ravel(), g.ravel(), n.ravel(), v, lp]))\n"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "error"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parts = []
    for name in ("ragged", "zeros and underflow"):
        steps, filtered, predicted, _ = run_forward(*CASES[name])
        smoothed, counts = run_backward(*CASES[name])
        path, log_prob, _ = run_viterbi(*CASES[name])
        parts += [steps, filtered.ravel(), predicted.ravel(), smoothed.ravel(), counts.ravel(), path, log_prob]
    np.testing.assert_allclose(np.array(done.stdout.split(), dtype=float), np.concatenate(parts), **TOLERANCE)
