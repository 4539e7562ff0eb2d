"""`HMM`: what a fit leaves as it is, forecasts of states, and estimates at the edge of their range."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise._core.errors import InputError

P = [[0.9, 0.1], [0.2, 0.8]]
TRUTH = {"initial_probs": [0.5, 0.5], "transition_probs": P, "means": [0.0, 3.0], "covariances": [1.0, 1.0]}


@pytest.mark.parametrize("method", ["em", "gradient"])
def test_fixed_transitions_stay_and_the_rest_is_at_its_maximum(method):
    seqs = sw.HMM(states=2, **TRUTH).sample(300, seed=1)
    held = [[0.7, 0.3], [0.3, 0.7]]
    fit = sw.HMM(states=2, transition_probs=held, fixed=["transition_probs"]).fit(
        seqs, tol=1e-10, max_iter=500, method=method
    )
    assert np.array_equal(fit.transition_probs, held)
    assert fit.n_parameters == 1 + 4
    assert fit.fit_result.converged
    names = fit.standard_errors().names
    assert not any(name.startswith("transition") for name in names)
    assert "transition_probs" in fit.summary()
    free = sw.HMM(states=2, transition_probs=held).fit(seqs, tol=1e-10, max_iter=500)
    assert free.fit_result.log_prob > fit.fit_result.log_prob
    for shift in (-1e-3, 1e-3):
        moved = fit.parameters | {"means": fit.means + shift}
        assert sw.HMM(states=2, **moved).log_prob(seqs)[0] < fit.fit_result.log_prob


def test_a_fixed_start_stays_and_is_not_counted(tmp_path):
    seqs = sw.HMM(states=2, **TRUTH).sample(40, 3, seed=1)
    fit = sw.HMM(states=2, initial_probs=[0.25, 0.75], fixed=("initial_probs",)).fit(seqs, max_iter=20)
    assert fit.initial_probs.tolist() == [0.25, 0.75]
    assert fit.n_parameters == 2 + 4
    fit.save(tmp_path / "m")
    again = sw.load(tmp_path / "m")
    assert again.n_parameters == fit.n_parameters
    assert again.get_params()["fixed"] == ("initial_probs",)
    driven = seqs.replace(inputs=np.zeros((120, 1)), input_columns=("u",))
    inputs = sw.HMM(states=2, transitions="inputs", initial_probs=[0.25, 0.75], fixed=("initial_probs",)).fit(
        driven, max_iter=5
    )
    assert inputs.initial_probs.tolist() == [0.25, 0.75]


def test_what_cannot_be_fixed_says_so():
    with pytest.raises(InputError, match="`fixed` names 'transition_probs', which is not given"):
        sw.HMM(states=2, fixed=["transition_probs"])
    with pytest.raises(InputError, match="`fixed` is 'means'"):
        sw.HMM(states=2, fixed=["means"])
    with pytest.raises(InputError, match="which depend on inputs"):
        sw.HMM(states=2, transitions="inputs", transition_probs=P, fixed=["transition_probs"])


def test_states_are_forecast_by_powers_of_the_chain():
    model = sw.HMM(states=2, **TRUTH)
    seqs = model.sample(30, 2, seed=2)
    ahead = model.forecast_states(seqs, steps=4)
    last = model.filter(seqs).probs[seqs.offsets[1:] - 1]
    expected = [last[n] @ np.linalg.matrix_power(P, h + 1) for n in range(2) for h in range(4)]
    np.testing.assert_allclose(ahead.probs, expected, rtol=1e-12)
    assert ahead.lengths.tolist() == [4, 4]
    np.testing.assert_allclose(ahead.probs @ model.means, model.forecast(seqs, steps=4).mean.reshape(8, 1), rtol=1e-12)
    dated = sw.datasets.load("nile")
    fit = sw.HMM(states=2).fit(dated, restarts=1)
    assert np.array_equal(fit.forecast_states(dated, 3).times, fit.forecast(dated, 3).times.ravel())
    driven = sw.HMM(
        states=2, transitions="inputs", transition_coefficients=[[[0.0, 1.0]], [[0.5, 0.0]]], **TRUTH
    ).forecast_states(seqs.replace(inputs=np.ones((60, 1)), input_columns=("u",)), 3, inputs=[0.0, 1.0, 2.0])
    np.testing.assert_allclose(driven.probs.sum(axis=1), 1.0)
    assert driven.probs.shape == (6, 2)


def test_a_probability_that_is_all_but_zero_has_no_standard_error_and_a_mean_of_zero_has_one():
    """A left-out transition has expected count zero: its log odds go to −∞ and say nothing of the others' precision."""
    y = np.concatenate([np.random.default_rng(k).normal(5.0 * k, 0.5, 40) for k in (0, 1, 2, 1)])
    fit = sw.HMM(states=3).fit(y, tol=1e-12, max_iter=2000, restarts=1)
    assert fit.transition_probs[0, 2] < 1e-8
    found = fit.standard_errors()
    errors = dict(zip(found.names, found.standard_error, strict=True))
    assert np.isnan(errors["transition_probs[0, 2]"])
    stays = fit.transition_probs[0, 0]
    assert errors["transition_probs[0, 0]"] == pytest.approx(np.sqrt(stays * (1 - stays) / 40), rel=0.05)
    assert any("transition_probs[0, 2]" in note for note in found.notes)
    centred = np.concatenate([y[:40] - y[:40].mean(), 90 + y[:40]])
    model = sw.HMM(states=2, **(TRUTH | {"means": [0.0, 90.0]})).fit(centred, init="current", max_iter=1)
    model._parameters["means"][0] = 0.0
    assert np.isfinite(model.standard_errors().standard_error[model.standard_errors().names.index("means[0, 0]")])
