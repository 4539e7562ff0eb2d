"""Starts, and the choice among runs: `fitting/kmeans.py`, `hidden_markov.py`, `hidden_markov_starts.py`."""

from __future__ import annotations

import numpy as np
import pytest

from statewise._core.errors import InputError
from statewise._core.outcome import Outcome
from statewise.emissions.gaussian import GaussianEmission
from statewise.emissions.rows import Rows
from statewise.fitting import hidden_markov
from statewise.fitting.em import EMResult
from statewise.fitting.hidden_markov import HiddenMarkov, baum_welch
from statewise.fitting.hidden_markov_starts import _moving_mean, require_distinct, start
from statewise.fitting.kmeans import kmeans, nearest
from statewise.inference import discrete
from statewise.inference.discrete import Chain


def test_kmeans_finds_separate_clusters():
    """Clusters 20 standard deviations apart: the centres are the clusters' own means."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 50)
    points = np.array([[0, 0], [20, 0], [0, 20], [20, 20]])[truth] + rng.normal(size=(200, 2))
    centres = kmeans(points, 4, np.random.default_rng(1))
    means = np.stack([points[truth == k].mean(axis=0) for k in range(4)])
    np.testing.assert_allclose(centres[nearest(means, centres)], means, rtol=1e-12)


def test_seeds_are_distinct_as_long_as_points_are():
    points = np.repeat(np.array([[0.0], [1.0], [5.0]]), [100, 1, 1], axis=0)
    for seed in range(20):
        found = kmeans(points, 3, np.random.default_rng(seed), rounds=0)
        assert sorted(found[:, 0]) == [0.0, 1.0, 5.0]
    assert kmeans(points, 5, np.random.default_rng(0)).shape == (5, 1)
    assert kmeans(points[:2], 4, np.random.default_rng(0), plus_plus=False).shape == (4, 1)


def test_moving_means_stay_in_their_sequence():
    """Oracle: a loop over the rows."""
    rng = np.random.default_rng(0)
    points, lengths = rng.normal(size=(40, 2)), np.array([25, 1, 14])
    ends = np.cumsum(lengths)
    expected = []
    for end, length in zip(ends, lengths, strict=True):
        part = points[end - length : end]
        expected += [part[max(t - 5, 0) : t + 6].mean(axis=0) for t in range(length)]
    np.testing.assert_allclose(_moving_mean(points, lengths), expected, rtol=1e-12)


def pooled(values, states=2, **options):
    return GaussianEmission.pooled(Rows(values), states, **options)


def test_a_start_is_the_m_step_of_its_labels():
    """Two levels far apart with one switch: every number of the start is a share or a mean of the labels."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(5, 0.1, 30), rng.normal(-5, 0.1, 20)])[:, None]
    values[3] = np.nan
    found = start(pooled(values), Rows(values), {}, "kmeans", 0, rng)
    np.testing.assert_allclose(found.emission.means[:, 0], [values[30:].mean(), np.nanmean(values[:30])], rtol=1e-12)
    np.testing.assert_allclose(found.chain.initial, [1 / 3, 2 / 3])
    np.testing.assert_allclose(found.chain.transition, [[20 / 21, 1 / 21], [2 / 30, 28 / 30]])


def test_given_parameters_replace_what_a_start_finds():
    values = np.random.default_rng(0).normal(size=(60, 1))
    given = {"means": np.array([[3.0], [-1.0]]), "transition_probs": np.array([[0.2, 0.8], [0.5, 0.5]])}
    found = start(pooled(values), Rows(values), given, "kmeans", 0, np.random.default_rng(0))
    assert np.array_equal(found.emission.means, given["means"])
    assert np.array_equal(found.chain.transition, given["transition_probs"])
    with pytest.raises(InputError, match="`means` has shape \\(2, 2\\); pass one column for each of the data's 1"):
        start(pooled(values), Rows(values), {"means": np.zeros((2, 2))}, "kmeans", 0, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["kmeans", "random"])
def test_starts_are_reproducible_differ_and_rule_nothing_out(kind):
    values = np.random.default_rng(0).normal(size=(300, 2))
    values[5:9] = np.nan
    means = []
    for number in range(4):
        one, two = (
            start(pooled(values, 3), Rows(values), {}, kind, number, np.random.default_rng(number)) for _ in range(2)
        )
        assert np.array_equal(one.emission.means, two.emission.means)
        assert (one.chain.transition > 0).all() and (one.chain.initial > 0).all()
        np.testing.assert_allclose(one.chain.transition.sum(axis=1), 1.0, rtol=1e-14)
        assert (np.diff(one.emission.means[:, 0]) >= 0).all()
        means.append(one.emission.means.tobytes())
    assert len(set(means)) == 4


def test_a_start_over_stretches_separates_volatility():
    """Equal means, standard deviations 1 and 10 in long stretches: rows alone cannot be clustered, stretches can."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, s, 100) for s in (1, 10, 1, 10)])[:, None]
    ratio = []
    for number in (0, 1):
        found = start(pooled(values), Rows(values), {}, "kmeans", number, np.random.default_rng(1))
        low, high = np.sort(np.sqrt(found.emission.variances[:, 0]))
        ratio.append(high / low)
    assert ratio[0] < 1.6 and ratio[1] > 2.0


def test_enough_distinct_rows_are_required():
    values = np.array([[1.0], [2.0], [1.0], [np.nan], [-0.0], [0.0]])
    require_distinct(values, 3)
    with pytest.raises(InputError, match="`states` is 4 but the data have only 3 distinct rows; pass 3 or fewer"):
        require_distinct(values, 4)


# --- the choice among runs --------------------------------------------------------------------------------------------


def run(log_prob, held=(), outcome=Outcome.CONVERGED):
    emission = GaussianEmission(np.zeros((2, 1)), np.ones((2, 1)), held=held)
    model = HiddenMarkov(Chain(np.full(2, 0.5), np.full((2, 2), 0.5)), emission)
    return EMResult(model, log_prob, np.array([log_prob]), log_prob - 1, outcome)


def test_the_best_run_is_one_without_a_safeguard():
    good, better, held, broken = run(-10.0), run(-9.5), run(50.0, held=(1,)), run(-np.inf, outcome=Outcome.IMPOSSIBLE)
    assert hidden_markov.best([broken, good, held, better]) is better
    assert hidden_markov.best([broken, held]) is held
    assert hidden_markov.notes([good, better], better) == ()
    assert "1 of 3 starts ended in a state collapsed" in hidden_markov.notes([good, held, better], better)[0]
    assert "state 1 has a covariance that is held up" in hidden_markov.notes([held], held)[0]
    assert "up to 90.5 nats apart" in hidden_markov.notes([run(-100.0), better], better)[0]


def test_reordering_moves_everything_together():
    rng = np.random.default_rng(0)
    chain = Chain(rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3))
    emission = GaussianEmission(np.array([[2.0], [3.0], [1.0]]), np.array([[0.2], [0.3], [0.1]]), held=(1,))
    found = HiddenMarkov(chain, emission).sorted()
    assert found.emission.means[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert found.emission.variances[:, 0].tolist() == [0.1, 0.2, 0.3]
    assert found.chain.transition[0, 1] == chain.transition[2, 0]
    assert found.chain.initial.tolist() == chain.initial[[2, 0, 1]].tolist()
    assert "state 2 has" in found.emission.notes[0]


@pytest.mark.parametrize("max_iter", [1, 4])
def test_the_likelihood_of_the_last_iteration_is_that_of_its_parameters(max_iter):
    """The last one is scored without the statistics; oracle: forward–backward at its parameters, and a longer run."""
    rng = np.random.default_rng(3)
    values, lengths = rng.normal(size=(60, 2)), np.array([40, 20])
    chain = Chain(np.array([0.5, 0.5]), np.array([[0.8, 0.2], [0.3, 0.7]]))
    laws = GaussianEmission(np.array([[-1.0, 0.0], [1.0, 0.5]]), np.ones((2, 2))).prepared(Rows(values))
    run, longer = (
        baum_welch(HiddenMarkov(chain, laws), Rows(values, lengths), max_iter=count, tol=0.0)
        for count in (max_iter, max_iter + 2)
    )
    found = run.parameters
    again = discrete.smooth(found.chain, found.emission.log_likelihood(Rows(values)), lengths).log_prob
    assert run.log_prob == run.trace[-1] == pytest.approx(again, rel=1e-14)
    np.testing.assert_allclose(run.trace, longer.trace[:max_iter], rtol=1e-14)  # the same sums, in the same order
