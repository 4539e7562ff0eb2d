"""`fitting/em.py` on problems with known answers, and on steps that break the rules."""

from __future__ import annotations

import numpy as np
import pytest

from statewise._core.errors import NumericalError
from statewise._core.outcome import Outcome
from statewise.fitting.em import em


def climb(values):
    """Steps whose log-likelihoods are the given numbers; the parameters count the M steps."""
    return (lambda n: (values[min(n, len(values) - 1)], n)), (lambda n, statistics: statistics + 1)


def test_the_genetic_linkage_example():
    """Dempster, Laird & Rubin (1977), §1: counts (125, 18, 20, 34) with cell chances (½ + θ/4, (1−θ)/4, (1−θ)/4, θ/4).

    The maximum is the positive root of 197 θ² − 15 θ − 68 = 0, .6268215; from ½ their table has .608247 after one step.
    """
    y = np.array([125.0, 18.0, 20.0, 34.0])

    def e_step(theta):
        chance = np.array([0.5 + theta / 4, (1 - theta) / 4, (1 - theta) / 4, theta / 4])
        return float(y @ np.log(chance)), 125 * theta / (theta + 2)

    def m_step(theta, x):
        return (x + 34) / (x + 34 + 18 + 20)

    one = em(0.5, e_step, m_step, n_steps=197, max_iter=1, tol=1e-14)
    assert one.parameters == pytest.approx(0.608247, abs=5e-7)
    assert one.outcome is Outcome.MAX_ITER
    done = em(0.5, e_step, m_step, n_steps=197, max_iter=100, tol=1e-16)
    # EM stops where the objective no longer moves: its rounding, ε |L|, leaves θ within √(2 ε |L| / information); 377.5 is theirs, at the root.
    rounding = np.finfo(float).eps * abs(done.log_prob)
    assert abs(done.parameters - (15 + np.sqrt(15**2 + 4 * 197 * 68)) / (2 * 197)) < np.sqrt(2 * rounding / 377.5)
    assert done.outcome is Outcome.CONVERGED
    assert done.log_prob == done.trace[-1] == e_step(done.parameters)[0]
    assert done.start_log_prob == e_step(0.5)[0]
    assert (np.diff(done.trace) >= -1e-12).all()


def test_it_converges_only_when_it_converged():
    steps = climb([-100.0, -50.0, -49.0, -48.9999, -48.99989])
    assert em(0, *steps, n_steps=10, max_iter=2, tol=1e-3).outcome is Outcome.MAX_ITER
    done = em(0, *steps, n_steps=10, max_iter=50, tol=1e-3)
    assert (done.outcome, done.parameters, done.trace.tolist()) == (Outcome.CONVERGED, 3, [-50.0, -49.0, -48.9999])


def test_the_tolerance_is_per_step_of_data():
    steps = climb([-100.0, -99.0, -98.0])
    assert em(0, *steps, n_steps=10_000, max_iter=50, tol=1e-3).parameters == 1
    assert em(0, *steps, n_steps=10, max_iter=2, tol=1e-3).outcome is Outcome.MAX_ITER


def test_a_fall_is_an_error_and_rounding_is_not():
    with pytest.raises(NumericalError, match=r"from -50 to -50\.1 nats in iteration 2"):
        em(0, *climb([-100.0, -50.0, -50.1]), n_steps=10, max_iter=5, tol=1e-9)
    done = em(0, *climb([-100.0, -50.0, -50.0 - 1e-11]), n_steps=10, max_iter=5, tol=1e-9)
    assert done.outcome is Outcome.CONVERGED


@pytest.mark.parametrize(
    ("values", "outcome", "kept"),
    [
        ([-np.inf], Outcome.IMPOSSIBLE, 0),
        ([np.nan], Outcome.NOT_FINITE, 0),
        ([np.inf], Outcome.NOT_FINITE, 0),
        ([-5.0, -4.0, np.nan], Outcome.NOT_FINITE, 1),
    ],
)
def test_likelihoods_that_are_no_numbers_end_it(values, outcome, kept):
    """The last usable parameters are kept, and the trace has only their likelihoods."""
    done = em(0, *climb(values), n_steps=1, max_iter=5, tol=1e-9)
    assert (done.outcome, done.parameters, len(done.trace)) == (outcome, kept, kept)
    assert not done.outcome.ok


def test_every_iteration_is_reported():
    calls = []
    em(0, *climb([-3.0, -2.0, -1.0, 0.0]), n_steps=1, max_iter=3, tol=1e-9, on_iteration=lambda: calls.append(1))
    assert len(calls) == 3


def test_a_last_step_can_wait_for_its_likelihood():
    """The same result later, by the same score, which is not asked before; the loop's rules hold then."""
    values = [-100.0, -50.0, -49.0, -48.9999]
    asked = []

    def score(n):
        asked.append(n)
        return values[n]

    for count in (1, 2, 3):
        options = {"n_steps": 10, "max_iter": count, "tol": 1e-3, "score": score}
        now = em(0, *climb(values), **options)
        asked.clear()
        later = em(0, *climb(values), waits=lambda n: True, **options)
        assert asked == [] and later.judge is not None and later.parameters == count
        done = later.judged()
        assert asked == [count] and done.trace.tolist() == now.trace.tolist() and done.judged() is done
        for name in ("parameters", "log_prob", "start_log_prob", "outcome"):
            assert getattr(done, name) == getattr(now, name)
    for bad, message in ((-51.0, "lowered the log-likelihood from -50 to -51 nats in iteration 2"), (np.nan, "nan")):
        steps = climb([-100.0, -50.0])
        later = em(0, *steps, n_steps=10, max_iter=2, tol=0.0, score=lambda n, bad=bad: bad, waits=lambda n: n == 2)
        with pytest.raises(NumericalError, match=message):
            later.judged()
