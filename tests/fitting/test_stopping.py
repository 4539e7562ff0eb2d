"""Early stopping on sequences of scores whose answer is plain."""

from __future__ import annotations

import math

import pytest

from statewise.fitting.stopping import EarlyStopping


def run(scores: list[float], patience: int, min_improvement: float = 0.0) -> tuple[EarlyStopping, int | None]:
    """The rule after the scores, and the epoch at which it said stop."""
    stopping: EarlyStopping[int] = EarlyStopping(patience, min_improvement)
    for epoch, score in enumerate(scores):
        if stopping.update(score, epoch, lambda epoch=epoch: 10 * epoch):
            return stopping, epoch
    return stopping, None


@pytest.mark.parametrize(("patience", "stopped"), [(1, 2), (2, 3), (3, 4), (4, None)])
def test_it_stops_patience_epochs_after_the_best(patience, stopped):
    stopping, epoch = run([0.0, 5.0, 4.0, 4.5, 4.9], patience)
    assert epoch == stopped
    assert (stopping.best_epoch, stopping.best_score, stopping.best) == (1, 5.0, 10)


def test_rising_scores_never_stop():
    stopping, epoch = run([float(k) for k in range(50)], 1)
    assert epoch is None
    assert stopping.best == 490


def test_an_equal_score_or_a_small_gain_is_no_improvement():
    assert run([1.0, 1.0, 1.0], 2)[1] == 2
    assert run([1.0, 1.05, 1.09], 2, min_improvement=0.1)[1] == 2
    assert run([1.0, 1.05, 1.11], 2, min_improvement=0.1)[0].best_epoch == 2


def test_nan_is_never_best():
    stopping, _ = run([math.nan, 1.0, math.nan], 5)
    assert (stopping.best_epoch, stopping.best) == (1, 10)


def test_minus_infinity_may_be_the_first_best():
    """So that there is a state to go back to whatever happens."""
    stopping, _ = run([-math.inf, math.nan], 5)
    assert stopping.best == 0
