"""The free vector of a hidden Markov model: there and back, its gradient, gradient fits and standard errors."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise._core.errors import InputError
from statewise.emissions.rows import Rows
from statewise.fitting.hidden_markov_free import FreeHiddenMarkov
from statewise.inference import discrete

CHAIN = {"initial_probs": [0.6, 0.4], "transition_probs": [[0.7, 0.3], [0.4, 0.6]]}
MODELS = {
    "diag": {"means": [[0.0, 1.0], [2.0, -1.0]], "covariances": [[1.0, 0.5], [0.3, 2.0]]},
    "full": {"means": [[0.0, 1.0], [2.0, -1.0]], "covariances": [[[1.0, 0.2], [0.2, 0.5]], [[0.3, 0.0], [0.0, 2.0]]]},
    "tied": {"means": [[0.0, 1.0], [2.0, -1.0]], "covariances": [[1.0, 0.2], [0.2, 0.5]]},
    "spherical": {"means": [[0.0, 1.0], [2.0, -1.0]], "covariances": [0.5, 1.5]},
    "poisson": {"rates": [[2.0], [6.0]]},
    "negative-binomial": {"means": [[2.0], [6.0]], "sizes": [[3.0], [1.0]]},
    "categorical": {"probs": [[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]]},
    "bernoulli": {"probs": [[0.2], [0.7]]},
    "student-t": {"locations": [0.0, 3.0], "scales": [1.0, 0.5], "dofs": [4.0, 9.0]},
    "gaussian-mixture": {
        "means": [[[0.0], [1.0]], [[4.0], [6.0]]],
        "covariances": [[[1.0], [0.5]], [[0.4], [2.0]]],
        "mixture_weights": [[0.3, 0.7], [0.5, 0.5]],
    },
}


def made(kind, **options):
    if kind in ("diag", "full", "tied", "spherical"):
        return sw.HMM(states=2, covariance=kind, **CHAIN, **MODELS[kind], **options)
    return sw.HMM(states=2, emission=kind, **CHAIN, **MODELS[kind], **options)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_the_vector_goes_there_and_back_and_its_gradient_is_that_of_the_likelihood(kind):
    model = made(kind)
    seqs = model.sample(length=60, count=2, seed=0)
    rows = Rows(seqs.values, seqs.lengths)
    free = FreeHiddenMarkov(model._model, rows)
    again = free.model_at(free.point)
    np.testing.assert_allclose(again.chain.transition, model.transition_probs, rtol=1e-12)
    for name, value in again.emission.parameters.items():
        np.testing.assert_allclose(value, model.parameters[name], rtol=1e-9, atol=1e-12)
    assert len(free.names) == free.natural(free.point).size

    def log_prob(point):
        at = free.model_at(point)
        return discrete.log_prob_steps(at.chain, at.emission.log_likelihood(rows), rows.lengths).sum()

    value, slope = free.objective(free.point)
    assert value == pytest.approx(log_prob(free.point), rel=1e-12)
    for i in range(free.point.size):
        shift = np.zeros(free.point.size)
        shift[i] = 1e-5
        expected = (log_prob(free.point + shift) - log_prob(free.point - shift)) / 2e-5
        assert slope[i] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_gradient_fits_reach_the_maximum_of_em_in_fewer_iterations():
    seqs = made("poisson").sample(length=500, seed=1)
    em = sw.HMM(states=2, emission="poisson").fit(seqs, tol=1e-12, max_iter=5000, restarts=1)
    climbed = sw.HMM(states=2, emission="poisson").fit(seqs, method="gradient", restarts=1)
    assert climbed.fit_result.log_prob == pytest.approx(em.fit_result.log_prob, abs=1e-3)
    assert climbed.log_prob(seqs)[0] == pytest.approx(climbed.fit_result.log_prob, rel=1e-12)
    assert climbed.fit_result.converged
    np.testing.assert_allclose(climbed.rates, em.rates, rtol=1e-3)
    with pytest.raises(InputError, match="`method` is 'gradient'"):
        sw.HMM(states=2, stay_prior=1.0).fit(seqs, method="gradient")


def test_standard_errors_of_one_state_are_the_textbook_s():
    """A Poisson mean has standard error √(λ/n), a normal mean √(σ²/n), a variance σ² √(2/n)."""
    counts = np.random.default_rng(2).poisson(5.0, size=400).astype(float)
    found = sw.HMM(states=1, emission="poisson").fit(counts).standard_errors()
    at = found.names.index("rates[0, 0]")
    assert found.standard_error[at] == pytest.approx(np.sqrt(counts.mean() / 400), rel=1e-5)
    y = np.random.default_rng(3).normal(size=300)
    found = sw.HMM(states=1).fit(y).standard_errors()
    by_name = dict(zip(found.names, found.standard_error, strict=True))
    assert by_name["means[0, 0]"] == pytest.approx(y.std() / np.sqrt(300), rel=1e-4)
    assert by_name["covariances[0, 0]"] == pytest.approx(y.var() * np.sqrt(2 / 300), rel=1e-4)


def test_standard_errors_of_two_states_match_the_spread_of_simulations():
    truth = made("poisson")
    rates = np.array(
        [sw.HMM(states=2, emission="poisson").fit(truth.sample(300, seed=s), restarts=1).rates[:, 0] for s in range(60)]
    )
    model = sw.HMM(states=2, emission="poisson").fit(truth.sample(300, seed=100), restarts=1)
    found = model.standard_errors()
    errors = [found.standard_error[found.names.index(f"rates[{k}, 0]")] for k in range(2)]
    # 60 draws tell a standard deviation to 9 %; the bound is four of those, and a finite-sample allowance
    np.testing.assert_allclose(errors, rates.std(axis=0), rtol=0.45)
    assert "rates[0, 0]" in model.summary()


def test_selection_finds_the_number_of_states():
    truth = sw.HMM(
        states=2,
        initial_probs=[0.5, 0.5],
        transition_probs=[[0.95, 0.05], [0.1, 0.9]],
        means=[0.0, 4.0],
        covariances=[1.0, 1.0],
    )
    seqs = truth.sample(300, seed=5)
    for criterion in ("bic", "icl", "held-out"):
        found = sw.select_states(seqs, states=(1, 2, 3), criterion=criterion)
        if criterion != "held-out":
            assert len(found.best.means) == 2
    assert found.held_out[1] > found.held_out[0]
    assert found.to_frame().shape == (3, 7)
    np.testing.assert_allclose(found.bic, [model.bic for model in found.models])
    assert (found.icl >= found.bic).all()
    with pytest.raises(InputError, match="`states` is empty"):
        sw.select_states(seqs, states=())


def test_what_a_parameter_is_does_not_depend_on_its_numbers():
    """Chances that happen to add up to one are still free, and variances that happen to be a symmetric table are not a matrix."""
    flags = sw.HMM(states=2, emission="bernoulli", **CHAIN, probs=[[0.3, 0.7], [0.4, 0.6]])
    rows = Rows(flags.sample(length=30, seed=0).values)
    free = FreeHiddenMarkov(flags._model, rows)
    assert free.point.size == 2 + 4
    moved = free.model_at(free.point + 0.1).emission.parameters["probs"]
    assert (moved > flags.probs).all()
    diagonal = sw.HMM(states=2, **CHAIN, means=np.zeros((2, 2)), covariances=[[1.0, 0.5], [0.5, 1.0]])
    free = FreeHiddenMarkov(diagonal._model, Rows(diagonal.sample(length=30, seed=0).values))
    assert free.point.size == 2 + 4 + 4
    both = sw.HMM(
        states=2,
        emission={"a": "bernoulli", "b": "categorical"},
        **CHAIN,
        probs={"a": [0.3, 0.6], "b": [[0.2, 0.8], [0.5, 0.5]]},
    )
    values = np.column_stack([np.tile([0.0, 1.0], 10), np.tile([1.0, 1.0, 0.0, 0.0], 5)])
    free = FreeHiddenMarkov(both._model, Rows(values, columns=("a", "b")))
    assert free.point.size == 2 + 2 + 2
