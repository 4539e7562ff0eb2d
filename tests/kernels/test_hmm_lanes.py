"""`kernels/hmm_lanes.py`, `hmm_lanes_paths.py` and `_vector.py` against the plain twin, and themselves without compilation."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.kernels.test_hmm_kernels import CASES, TOLERANCE, case, each, poisoned
from tests.reference import hmm as reference

from statewise.kernels import _vector as vector
from statewise.kernels import hmm_lanes as kernel
from statewise.kernels import hmm_lanes_paths as paths
from statewise.kernels import hmm_paths
from statewise.kernels._jit import jit
from statewise.kernels._vector import LANES

NO_INDEX = np.empty(0, dtype=np.int64)
POSSIBLE = ("one state", "one row", "ragged", "many states")  # without states that lanes refuse


def in_order(offsets):
    """Whole sequences, longest first, with the ones that fill the last group left out."""
    count = np.diff(offsets)
    order = np.argsort(-count, kind="stable")
    return offsets[order], count[order]


def in_turn(sums, offsets):
    """Numbers of the sequences, longest first, in their own order."""
    found = np.empty(len(sums))
    found[np.argsort(-np.diff(offsets), kind="stable")] = sums
    return found


def groups(count):
    return -(-len(count) // LANES)


def run_smooth(pi, P, L, offsets):
    first, count = in_order(offsets)
    N, K = len(first), len(pi)
    sums, smoothed, pairs = poisoned(N), poisoned(*L.shape), np.zeros(P.shape)
    law, tail, final = np.tile(pi, (N, 1)), poisoned(N, K), np.ones(N, dtype=bool)
    room = poisoned((2 * K + 1) * LANES * count[0])
    where = (first, count, law, tail, final, bool(P.min() < 1e-200), 0, groups(count), room)
    done = kernel.smooth(
        P.ravel(), L, NO_INDEX, *where, poisoned(N), sums, smoothed, pairs, poisoned(N, K), poisoned(N, K)
    )
    return done, in_turn(sums, offsets), smoothed, pairs * P


def run_forward(pi, P, L, offsets):
    first, count = in_order(offsets)
    steps, filtered, predicted = poisoned(len(L)), poisoned(*L.shape), poisoned(*L.shape)
    sums, ends, law = poisoned(len(first)), poisoned(len(first), len(pi)), np.tile(pi, (len(first), 1))
    where = (first, count, law, bool(P.min() < 1e-200), True, 0, groups(count))
    assert kernel.forward(P.ravel(), L, NO_INDEX, *where, poisoned(len(first)), sums, steps, filtered, predicted, ends)
    np.testing.assert_array_equal(ends, filtered[first + count - 1])
    return in_turn(sums, offsets), steps, filtered, predicted


def run_viterbi(pi, P, L, offsets):
    first, count = in_order(offsets)
    K, log_P = len(pi), reference.log(P)
    path, ends, after = np.full(len(L), -9), poisoned(len(first), K), np.full(len(first), -1)
    turned = np.zeros((K + 1, -(-K // 4) * 4))
    turned[:K, :K] = log_P.T
    where = (first, count, count, np.tile(reference.log(pi), (len(first), 1)), 0, groups(count))
    room = poisoned(K * LANES * count[0])
    assert paths.viterbi(log_P.ravel(), turned.ravel(), L, NO_INDEX, *where, room, path, ends, after)
    log_prob = poisoned(len(offsets) - 1)
    hmm_paths.path_log_probs(reference.log(pi), log_P, L, NO_INDEX, path, offsets, log_prob)
    return path, log_prob


@pytest.mark.parametrize("name", POSSIBLE)
def test_lanes_agree_with_the_twin(name):
    pi, P, L, offsets = CASES[name]
    parts = each(L, offsets)
    sums, steps, filtered, predicted = run_forward(pi, P, L, offsets)
    np.testing.assert_allclose(steps, np.concatenate([reference.log_prob_steps(pi, P, x) for x in parts]), **TOLERANCE)
    np.testing.assert_allclose(filtered, np.vstack([reference.filtered(pi, P, x) for x in parts]), **TOLERANCE)
    np.testing.assert_allclose(predicted, np.vstack([reference.predicted(pi, P, x) for x in parts]), **TOLERANCE)
    done, again, smoothed, counts = run_smooth(pi, P, L, offsets)
    assert done
    np.testing.assert_array_equal(again, sums)
    np.testing.assert_allclose(sums, [reference.log_prob_steps(pi, P, x).sum() for x in parts], **TOLERANCE)
    np.testing.assert_allclose(smoothed, np.vstack([reference.smoothed(pi, P, x) for x in parts]), **TOLERANCE)
    np.testing.assert_allclose(counts, sum(reference.counts(pi, P, x) for x in parts), **TOLERANCE)
    path, log_prob = run_viterbi(pi, P, L, offsets)
    best = [reference.viterbi(pi, P, x) for x in parts]
    np.testing.assert_array_equal(path, np.concatenate([states for states, _ in best]))
    np.testing.assert_allclose(log_prob, [value for _, value in best], rtol=1e-13)


def test_more_sequences_than_lanes_and_blocks_that_end_in_between():
    pi, P, L, offsets = case(3, [150, 64, 65, 63, *range(1, 20)], 10)
    parts = each(L, offsets)
    done, sums, smoothed, counts = run_smooth(pi, P, L, offsets)
    assert done
    np.testing.assert_allclose(sums, [reference.log_prob_steps(pi, P, x).sum() for x in parts], **TOLERANCE)
    np.testing.assert_allclose(smoothed, np.vstack([reference.smoothed(pi, P, x) for x in parts]), **TOLERANCE)
    np.testing.assert_allclose(counts, sum(reference.counts(pi, P, x) for x in parts), **TOLERANCE)


def test_zeros_in_the_chain_are_kept_as_long_as_nothing_is_lost():
    pi, P, L, offsets = CASES["zeros"]
    done, _, smoothed, counts = run_smooth(pi, P, L, offsets)
    assert done
    np.testing.assert_allclose(
        smoothed, np.vstack([reference.smoothed(pi, P, x) for x in each(L, offsets)]), **TOLERANCE
    )
    np.testing.assert_allclose(counts, sum(reference.counts(pi, P, x) for x in each(L, offsets)), **TOLERANCE)
    assert not counts[P == 0].any()


@pytest.mark.parametrize("planted", ["nan", "infinite", "impossible", "lost at once", "lost slowly"])
def test_what_lanes_cannot_do_they_refuse(planted):
    pi, P, L, offsets = case(3, [200, 300], 11)
    if planted.startswith("lost"):  # hypotheses that never mix: one fades, and then all that comes speaks for it
        P, L = np.eye(3), np.zeros(L.shape)
        L[:100, 0] = L[100:200, 1:] = -650.0 if planted == "lost at once" else -6.5
    else:
        L[250] = {"nan": np.nan, "infinite": np.inf, "impossible": -np.inf}[planted]
    assert not run_smooth(pi, P, L, offsets)[0]


@pytest.mark.parametrize("fading", [-650.0, -6.0])
def test_what_is_lost_and_can_never_matter_again_is_left_out(fading):
    """Hypotheses that never mix, of which one fades for good; and left to right, where all but the last state do. Oracle: the twin."""
    for P in (np.eye(3), np.array([[0.9, 0.1, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 1.0]])):
        pi, _, L, offsets = case(3, [200, 300, 900], 11)
        L[:, 0] += fading
        parts = each(L, offsets)
        done, sums, smoothed, counts = run_smooth(pi, P, L, offsets)
        assert done
        found = [reference.log_prob_steps(pi, P, x).sum() for x in parts]
        np.testing.assert_allclose(
            sums, found, rtol=0, atol=1e-12
        )  # up to 900 numbers of order 1, to a few digits of the last place
        np.testing.assert_allclose(smoothed, np.vstack([reference.smoothed(pi, P, x) for x in parts]), **TOLERANCE)
        np.testing.assert_allclose(counts, sum(reference.counts(pi, P, x) for x in parts), rtol=1e-11, atol=1e-12)


@jit
def every_operation(x, at, out):
    a, b = vector.load(x, 0), vector.load(x, vector.LANES)
    found = (
        a + b,
        a - b,
        a * b,
        a / b,
        vector.larger(a, b),
        vector.smaller(a, b),
        vector.positive(a, b, a),
        vector.where_larger(a, b, vector.spread(1.0), vector.spread(2.0)),
        vector.if_number(a, b),
        vector.gather(x, at, 1),
        *vector.gather_four(x, at, 2),
    )
    for i in range(len(found)):
        vector.store(out, i * vector.LANES, found[i])
    vector.scatter(out, at, 14 * vector.LANES, vector.add_product(a, b, b))
    for lane in range(vector.LANES):
        at[lane] = 15 * vector.LANES + 4 * (vector.LANES - 1 - lane)
    vector.scatter_four(out, at, 0, a, b, a + a, b + b)


def test_vectors_do_what_their_plain_python_says():
    """NaN, infinities and zeros among them; oracle: the functions on NumPy arrays."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=2 * LANES + 1)
    x[:6] = np.nan, np.inf, -np.inf, 0.0, 2.0, 3.0
    x[LANES : LANES + 6] = 1.0, np.nan, np.inf, 0.0, 2.0, -1.0
    at, outs = rng.permutation(LANES), (poisoned(19 * LANES), poisoned(19 * LANES))
    every_operation(x, at.copy(), outs[0])
    with np.errstate(all="ignore"):
        getattr(every_operation, "py_func", every_operation)(x, at.copy(), outs[1])
    # one rounding less where a product is added
    np.testing.assert_allclose(*outs, rtol=1e-14, atol=1e-15)


def test_compiled_and_plain_python_agree():
    """The same numbers with NUMBA_DISABLE_JIT=1, to rounding, and without a warning."""
    script = (
        "import sys, numpy as np\n"
        "from tests.kernels import test_hmm_lanes as t\n"
        "c = t.CASES['ragged']\n"
        "parts = [*t.run_forward(*c), *t.run_smooth(*c)[1:], *t.run_viterbi(*c)]\n"
        "np.savetxt(sys.stdout, np.concatenate([np.ravel(part) for part in parts]))\n"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "error"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    c = CASES["ragged"]
    parts = [*run_forward(*c), *run_smooth(*c)[1:], *run_viterbi(*c)]
    expected = np.concatenate([np.ravel(part) for part in parts])
    np.testing.assert_allclose(np.array(done.stdout.split(), dtype=float), expected, **TOLERANCE)
    assert len(list(pairwise(c[3]))) == 4
