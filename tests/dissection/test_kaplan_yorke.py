"""The Kaplan–Yorke dimension against its definition and published values; Lorenz stands with its exponents."""

from __future__ import annotations

import numpy as np
import pytest
from tests.dissection.systems import henon

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.kaplan_yorke import dimension

kaplan_yorke = sw.dissection.kaplan_yorke


@pytest.mark.parametrize(
    ("exponents", "complete", "expected"),
    [
        ([0.906, 0.0, -14.572], True, 2 + 0.906 / 14.572),
        ([-0.1, -0.5], True, 0.0),
        ([-0.1], False, 0.0),
        ([0.5, -0.2, -0.3], True, 3.0),
        ([0.5, -0.2], True, 2.0),
        ([0.5, -0.2], False, None),
        ([0.0, -1.0], True, 1.0),
        ([0.3, -np.inf], True, 1.0),
    ],
)
def test_definition(exponents, complete, expected):
    assert dimension(np.array(exponents), complete) == (None if expected is None else pytest.approx(expected))


def test_henon():
    """Published 1.2583 (Sprott 2003)."""
    d = kaplan_yorke(henon(20, 5000))
    assert d.interval[0] < 1.2583 < d.interval[1]
    assert d.interval[1] - d.interval[0] < 0.01
    assert d.status is Status.CONVERGED


def test_refused_where_the_leading_exponents_do_not_reach():
    J = np.random.default_rng(0).normal(size=(300, 20, 20))
    d = kaplan_yorke(J, exponents=3)
    assert d.status is Status.REFUSED
    assert np.isnan(d.value)
    assert "pass exponents=12" in d.reason


def test_zero_where_everything_dies_out():
    d = kaplan_yorke(np.tile(np.diag([0.9, 0.5]), (60, 1, 1)))
    assert (d.value, d.status) == (0.0, Status.CONVERGED)
    assert "die out" in d.meaning
