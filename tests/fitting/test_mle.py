"""Maximum likelihood by quasi-Newton steps: a function of an objective.

Oracles: objectives with a known maximum, planted failures, complex-step derivatives.
"""

from __future__ import annotations

import numpy as np
import pytest

from statewise._core.outcome import Outcome
from statewise.fitting.mle import maximise, with_differences

TOP, WIDTH = np.array([1.0, -2.0, 0.5]), np.array([1.0, 10.0, 0.1])


def bowl(point):
    """−½ Σ w (x − top)² − 3."""
    gap = point - TOP
    return -0.5 * float(WIDTH @ gap**2) - 3, -WIDTH * gap


def banana(point):
    """Rosenbrock's function, upside down: a curved valley with its maximum 0 at (1, 1)."""
    x, y = point
    value = -((1 - x) ** 2 + 100 * (y - x * x) ** 2)
    return value, np.array([2 * (1 - x) + 400 * x * (y - x * x), -200 * (y - x * x)])


@pytest.mark.parametrize(("objective", "start", "top", "best"), [
    (bowl, np.zeros(3), TOP, -3.0),
    (bowl, np.array([50.0, 40.0, -30.0]), TOP, -3.0),
    (banana, np.array([-1.2, 1.0]), np.ones(2), 0.0),
])  # fmt: skip
def test_reaches_a_known_maximum(objective, start, top, best):
    found = maximise(objective, [start], steps=1, tol=1e-8)
    assert found.outcome is Outcome.CONVERGED
    np.testing.assert_allclose(found.point, top, atol=1e-6)
    np.testing.assert_allclose(found.log_prob, best, atol=1e-10)
    assert found.gradient_norm <= 1e-8
    np.testing.assert_allclose(found.trace[-1], found.log_prob, atol=1e-12)
    assert (np.diff(found.trace) > -1e-12).all()


def test_log_prob_is_in_nats_whatever_the_number_of_steps():
    """The search works per step; what it reports does not."""
    few, many = (maximise(bowl, [np.zeros(3)], steps=steps, tol=1e-9) for steps in (1, 1000))
    np.testing.assert_allclose([few.log_prob, many.log_prob, few.trace[-1], many.trace[-1]], -3, atol=1e-9)


def test_longer_data_with_the_same_content_take_the_same_path():
    """1000 copies of the data: the objective is 1000 times larger, the points visited are the same."""
    visited = {}
    for copies in (1, 1000):
        visited[copies] = []

        def objective(point, copies=copies):
            visited[copies].append(point.copy())
            value, gradient = bowl(point)
            return copies * value, copies * gradient

        maximise(objective, [np.zeros(3)], steps=10 * copies)
    np.testing.assert_allclose(visited[1], visited[1000], rtol=1e-9)


def test_the_best_of_several_starts_is_kept():
    """Two maxima, at −2 (height 0) and 2 (height 1)."""

    def two(point):
        (x,) = point
        left, right = np.exp(-((x + 2) ** 2)), 2 * np.exp(-((x - 2) ** 2))
        return float(left + right), np.array([-2 * (x + 2) * left - 2 * (x - 2) * right])

    found = maximise(two, [np.array([-2.2]), np.array([1.5]), np.array([-1.8])], steps=1)
    np.testing.assert_allclose(found.point, [2.0], atol=1e-4)
    np.testing.assert_allclose(found.others, [1.0, 2.0, 1.0], atol=1e-4)


def test_points_that_are_not_allowed_are_backed_away_from():
    """log x − x beyond x > 0: the first step from .01 would land far outside."""

    def objective(point):
        (x,) = point
        return (float(np.log(x) - x), np.array([1 / x - 1])) if x > 0 else None

    found = maximise(objective, [np.array([0.01]), np.array([30.0])], steps=1, tol=1e-9)
    np.testing.assert_allclose(found.point, [1.0], atol=1e-7)
    assert found.outcome is Outcome.CONVERGED


def test_a_start_that_is_not_allowed_is_no_result():
    found = maximise(lambda point: None, [np.zeros(2)], steps=1)
    assert found.outcome is Outcome.NOT_FINITE
    assert found.log_prob == -np.inf
    mixed = maximise(lambda point: bowl(point) if point[0] < 5 else None, [np.full(3, 9.0), np.zeros(3)], steps=1)
    np.testing.assert_allclose(mixed.log_prob, -3, atol=1e-6)
    assert mixed.others[0] == -np.inf


def test_the_iteration_limit_is_said():
    found = maximise(banana, [np.array([-1.2, 1.0])], steps=1, max_iter=3)
    assert found.outcome is Outcome.MAX_ITER
    assert len(found.trace) == 3


def test_a_maximum_that_lies_at_a_corner_is_not_called_converged():
    """−|x| has a gradient of 1 everywhere: no line search finds where it is small."""
    found = maximise(lambda point: (-abs(point[0]), -np.sign(point)), [np.array([1.3])], steps=1)
    assert found.outcome is Outcome.LINE_SEARCH
    assert found.gradient_norm == 1.0


def test_nothing_to_search_for():
    found = maximise(lambda point: (-7.0, np.zeros(0)), [np.zeros(0)], steps=3)
    assert (found.outcome, found.log_prob, found.trace.tolist()) == (Outcome.CLOSED_FORM, -7.0, [-7.0])


def test_starts_are_not_changed():
    start = np.zeros(3)
    maximise(bowl, [start], steps=1)
    np.testing.assert_array_equal(start, np.zeros(3))


def test_central_differences():
    """Against the complex step, which has no cancellation; error of the difference: step² and eps/step."""

    def value(point):
        return (np.exp(0.3 * point[0]) * np.sin(point[1]) - point[0] ** 3 * point[1]).real

    point = np.array([0.7, -1.3])
    exact = [
        (lambda z: np.exp(0.3 * z[0]) * np.sin(z[1]) - z[0] ** 3 * z[1])(point + 1e-30j * np.eye(2)[i]).imag / 1e-30
        for i in range(2)
    ]
    have, gradient = with_differences(value)(point)
    assert have == value(point)
    np.testing.assert_allclose(gradient, exact, rtol=1e-8)


def test_differences_beside_what_is_not_allowed():
    """None at a forbidden point; one-sided beside one, from above or below; 0 where both neighbours are forbidden."""
    objective = with_differences(lambda point: -np.inf if point[0] < 0 else float(point @ [1.0, 2.0]))
    assert objective(np.array([-1.0, 0.0])) is None
    np.testing.assert_allclose(objective(np.zeros(2))[1], [1.0, 2.0], rtol=1e-9)
    below = with_differences(lambda point: -np.inf if point[0] > 0 else float(point @ [1.0, 2.0]))
    np.testing.assert_allclose(below(np.zeros(2))[1], [1.0, 2.0], rtol=1e-9)
    spike = with_differences(lambda point: float(2 * point[1]) if point[0] == 0 else np.nan)
    np.testing.assert_allclose(spike(np.zeros(2))[1], [0.0, 2.0], rtol=1e-9)
