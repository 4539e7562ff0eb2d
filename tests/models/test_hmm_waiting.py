"""The log-likelihood after the last M step, computed when it is asked for: the values of a fit that computes it at once."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from statewise import HMM, Sequences, load
from statewise._core.errors import NumericalError
from statewise.fitting import hidden_markov

CHAIN = {"states": 2, "initial_probs": [0.6, 0.4], "transition_probs": [[0.9, 0.1], [0.2, 0.8]]}
MEANS = [[0.0, 0.0], [2.0, 1.0]]
LAWS = {
    "diag": {"means": MEANS, "covariances": np.ones((2, 2))},
    "spherical": {"covariance": "spherical", "means": MEANS, "covariances": [1.0, 2.0]},
    "full": {"covariance": "full", "means": MEANS, "covariances": [[[1.0, 0.3], [0.3, 1.0]], np.eye(2)]},
    "tied": {"covariance": "tied", "means": MEANS, "covariances": [[1.0, 0.3], [0.3, 1.0]]},
    "categorical": {"emission": "categorical", "probs": [[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]]},
}


def model(law="diag", **options):
    return HMM(**(CHAIN | LAWS[law] | options))


def data(law="diag"):
    return model(law).sample(length=150, count=2, seed=3)


@pytest.fixture
def at_once(monkeypatch):
    """Make later fits compute everything at once."""
    plain = hidden_markov.baum_welch

    def install():
        monkeypatch.setattr("statewise.models.hmm_fit.baum_welch", lambda *a, **k: plain(*a, **(k | {"waits": False})))

    return install


@pytest.mark.parametrize("max_iter", [1, 5])
@pytest.mark.parametrize("law", LAWS)
def test_a_fit_that_waits_has_the_results_of_one_that_does_not(law, max_iter, at_once):
    options = {"max_iter": max_iter, "tol": 0.0, "init": "current"}
    later = model(law).fit(data(law), **options)
    assert later._waiting is not None
    at_once()
    now = model(law).fit(data(law), **options)
    assert now._waiting is None
    for name, value in now.parameters.items():
        assert np.array_equal(value, later.parameters[name])
        later.parameters[name][:] = np.nan  # what was fitted is judged, whatever becomes of the model's arrays
    a, b = now.fit_result, later.fit_result
    assert later.fit_result is b and later._waiting is None
    assert a.trace.tolist() == b.trace.tolist() and len(a.trace) == max_iter and b.trace[-1] == b.log_prob
    for name in ("log_prob", "outcome", "n_steps", "notes", "details"):
        assert getattr(a, name) == getattr(b, name)
    assert (now.aic, now.bic) == (later.aic, later.bic)


def test_convergence_in_the_last_iteration_is_seen_later():
    seqs = data()
    settled = model().fit(seqs, max_iter=500, tol=1e-10, init="current")
    settled.fit(seqs, max_iter=1, init="current")
    assert settled._waiting is not None and settled.fit_result.converged


def test_without_an_order_the_states_are_sorted_as_ever(at_once):
    seqs = data()
    later = HMM(states=2).fit(seqs, max_iter=2, restarts=1)
    assert later._waiting is not None
    at_once()
    now = HMM(states=2).fit(seqs, max_iter=2, restarts=1)
    assert np.array_equal(now.means, later.means) and now.fit_result.log_prob == later.fit_result.log_prob


def test_what_leaves_the_process_takes_the_likelihood_along(tmp_path):
    seqs = data()
    for way in (copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))):
        fitted = model().fit(seqs, max_iter=1, init="current")
        there = way(fitted)
        assert fitted._waiting is None and there._waiting is None
        assert there.fit_result.log_prob == fitted.fit_result.log_prob
    fitted = model().fit(seqs, max_iter=1, init="current")
    fitted.save(tmp_path / "model")
    assert load(tmp_path / "model").fit_result.log_prob == fitted.fit_result.log_prob
    assert fitted.set_params(min_variance=1e-5).fit_result is None


def test_a_later_fit_replaces_what_waits():
    seqs, other = data(), model().sample(length=40, seed=9)
    twice = model().fit(seqs, max_iter=1, init="current").fit(other, max_iter=1, init="current")
    assert twice.fit_result.n_steps == other.n_observed_steps
    assert twice.fit_result.log_prob == pytest.approx(float(twice.log_prob(other).sum()), rel=1e-14)


@pytest.mark.parametrize(
    ("options", "fit"),
    [
        ({}, {"init": "kmeans", "restarts": 2}),
        ({}, {"method": "gradient"}),
        ({}, {"known_states": np.r_[0, np.full(299, -1)]}),
        ({"stay_prior": 2.0}, {}),
        ({"min_variance": 0.6}, {"init": "kmeans", "restarts": 1}),  # the floor holds variances up
        ({"emission": "student-t", "means": None, "covariances": None}, {"init": "kmeans", "restarts": 1}),
    ],
)
def test_where_the_likelihood_has_a_say_it_is_computed_at_once(options, fit):
    given = {} if fit.get("init") == "kmeans" else LAWS["diag"]
    made = HMM(**(({"states": 2} if fit.get("init") == "kmeans" else CHAIN) | given | options))
    assert made.fit(data(), **({"max_iter": 1, "init": "current"} | fit))._waiting is None


def test_a_start_below_the_floor_that_the_step_cannot_match_is_an_error_of_the_fit():
    with pytest.raises(NumericalError, match="EM lowered the log-likelihood"):
        model(min_variance=0.9).fit(data(), max_iter=1, init="current")


def test_nearly_singular_covariances_are_judged_at_once():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(300)
    seqs = Sequences(np.column_stack([x, x + 1e-5 * rng.standard_normal(300)]), np.array([300]))
    near = HMM(states=2, covariance="full", min_variance=1e-12).fit(seqs, max_iter=1, restarts=1)
    assert not near.fit_result.notes
    fitted = HMM(states=2, covariance="full", min_variance=1e-12).fit(seqs, max_iter=1, restarts=1)
    assert fitted._waiting is None
