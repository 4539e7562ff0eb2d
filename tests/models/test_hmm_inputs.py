"""`HMM(transitions="inputs")`: the twin through every verb, logistic regression, the constant model, fits, errors a user can make."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from tests.reference import hmm as gaussian
from tests.reference import hmm_varying as reference

import statewise as sw
from statewise._core.errors import InputError, NotFittedError, UnsupportedError
from statewise.emissions.rows import Rows
from statewise.fitting.hidden_markov_free import FreeHiddenMarkov
from statewise.fitting.hidden_markov_inputs import regressed
from statewise.inference import discrete_any
from statewise.inference.discrete_inputs import InputChain
from statewise.inference.discrete_varying import SmoothedPairs

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def three(**options):
    """Three states, two inputs of very different size."""
    rng = np.random.default_rng(0)
    return sw.HMM(
        states=3, transitions="inputs", initial_probs=[0.5, 0.3, 0.2], means=[0.0, 2.0, 5.0], covariances=[1.0, 0.5, 2.0],
        transition_intercepts=rng.normal(size=(3, 3)) - 2 * (1 - np.eye(3)),
        transition_coefficients=rng.normal(size=(3, 2, 3)) * [[[1.0], [1e-3]]], **options,
    )  # fmt: skip


def inputs_of(length, seed):
    return np.random.default_rng(seed).normal(size=(length, 2)) * [1.0, 1000.0]


def gappy(model, lengths, seed=0):
    rng, arrays, driven = np.random.default_rng(seed), [], []
    for n, length in enumerate(lengths):
        u = inputs_of(length, n)
        y = model.sample(length, seed=n, inputs=u).values.copy()
        y[rng.random(length) < 0.2] = np.nan
        arrays.append(y)
        driven.append(u)
    return sw.Sequences.from_arrays(arrays, inputs=driven)


def test_every_verb_against_the_twin_with_missing_entries():
    model = three()
    seqs = gappy(model, [25, 1, 14])
    cases = []
    for y, u in zip(seqs.arrays(), np.split(seqs.inputs, seqs.offsets[1:-1]), strict=True):
        P = reference.softmax_transitions(model.transition_intercepts, model.transition_coefficients, u)
        table = gaussian.gaussian_table(y, model.means, model.covariances[:, :, None])
        cases.append((model.initial_probs, P, table))
    each = [reference.log_prob_steps(*case) for case in cases]
    np.testing.assert_allclose(model.log_prob(seqs, per_step=True), np.concatenate(each), **CLOSE)
    np.testing.assert_allclose(model.log_prob(seqs), [steps.sum() for steps in each], **CLOSE)
    for ours, theirs in ((model.filter(seqs), reference.filtered), (model.smooth(seqs), reference.smoothed)):
        np.testing.assert_allclose(ours.probs, np.vstack([theirs(*case) for case in cases]), **CLOSE)
    best = [reference.viterbi(*case) for case in cases]
    assert np.array_equal(model.decode(seqs).path, np.concatenate([path for path, _ in best]))
    np.testing.assert_allclose(model.decode(seqs).log_prob, [value for _, value in best], **CLOSE)
    paths = model.best_paths(seqs, count=3)
    assert np.array_equal(paths.paths[0], model.decode(seqs).path)
    assert (np.diff(paths.log_prob[:, 0]) <= 0).all()
    ahead = np.vstack([reference.predicted(*case) for case in cases])
    np.testing.assert_allclose(model.predict(seqs).mean, ahead @ model.means, **CLOSE)
    draws = model.sample_states(seqs, count=4000, seed=1)
    share = np.stack([(draws == k).mean(axis=0) for k in range(3)], axis=1)
    law = model.smooth(seqs).probs
    assert (np.abs(share - law) < 5 * np.sqrt(law * (1 - law) / 4000) + 1e-9).all()


def test_the_transition_out_of_a_step_takes_that_step_s_inputs():
    """Forecasts by hand: belief P(u[T]), then P of the inputs ahead; those of the last step ahead move nothing."""
    model = three()
    seqs = gappy(model, [25, 9])
    future = np.stack([inputs_of(3, 50), inputs_of(3, 51)])
    forecast = model.forecast(seqs, steps=3, inputs=future)
    belief = model.filter(seqs).probs[seqs.offsets[1:] - 1]
    for n in range(2):
        law = belief[n]
        driving = np.vstack([seqs.inputs[seqs.offsets[n + 1] - 1], future[n]])
        for h, P in enumerate(model.transition_probs_at(driving[:3])):
            law = law @ P
            np.testing.assert_allclose(forecast.mean[n, h], law @ model.means, **CLOSE)
    other = future.copy()
    other[:, -1] += 5.0
    assert np.array_equal(model.forecast(seqs, steps=3, inputs=other).mean, forecast.mean)
    one = seqs.steps(0, 8)
    np.testing.assert_allclose(
        model.forecast(one, steps=1, inputs=np.zeros((1, 2))).mean[:, 0],
        model.predict(seqs).mean[seqs.offsets[:-1] + 8],
        **CLOSE,
    )


def test_states_forecast_by_paths_are_those_of_the_formula():
    """An autoregression with coefficients of zero is forecast by 2 000 paths: within 5 standard errors of the mixture."""
    model = three()
    drawn = sw.HMM(
        states=3, emission="autoregressive", transitions="inputs", initial_probs=model.initial_probs,
        transition_intercepts=model.transition_intercepts, transition_coefficients=model.transition_coefficients,
        intercepts=model.means, coefficients=np.zeros((3, 3, 1)), covariances=model.covariances,
    )  # fmt: skip
    seqs, future = gappy(model, [25, 9]), np.stack([inputs_of(4, 50), inputs_of(4, 51)])
    exact, paths = (one.forecast(seqs, steps=4, inputs=future) for one in (model, drawn))
    assert (np.abs(paths.mean - exact.mean) < 5 * np.sqrt(exact.variance / 2000)).all()


def test_coefficients_of_zero_are_the_constant_model():
    P = np.array([[0.9, 0.1], [0.2, 0.8]])
    common = {"initial_probs": [0.6, 0.4], "transition_probs": P, "means": [0.0, 3.0], "covariances": [1.0, 1.0]}
    plain = sw.HMM(states=2, **common)
    driven = sw.HMM(states=2, transitions="inputs", transition_coefficients=np.zeros((2, 1, 2)), **common)
    y = plain.sample(60, 2, seed=0)
    seqs = y.replace(inputs=np.random.default_rng(0).normal(size=(120, 1)), input_columns=("u",))
    np.testing.assert_allclose(driven.log_prob(seqs), plain.log_prob(y), rtol=1e-12)
    np.testing.assert_allclose(driven.smooth(seqs).probs, plain.smooth(y).probs, atol=1e-12)
    np.testing.assert_allclose(driven.transition_probs_at([5.0]), P[None], rtol=1e-12)
    path = driven.sample(40, 3, seed=5, inputs=np.zeros(40))
    assert np.array_equal(path.values, plain.sample(40, 3, seed=5).values)


def test_a_constant_input_gives_the_fit_of_the_constant_model():
    y = sw.HMM(
        states=2, initial_probs=[0.5, 0.5], transition_probs=[[0.9, 0.1], [0.2, 0.8]], means=[0.0, 3.0], covariances=[1.0, 1.0]
    ).sample(300, 2, seed=1)  # fmt: skip
    plain = sw.HMM(states=2).fit(y, tol=1e-12, max_iter=500, restarts=1)
    seqs = y.replace(inputs=np.full((600, 1), 7.0), input_columns=("u",))
    driven = sw.HMM(states=2, transitions="inputs").fit(seqs, tol=1e-12, max_iter=500, restarts=1)
    assert driven.fit_result.log_prob == pytest.approx(plain.fit_result.log_prob, abs=1e-8)
    np.testing.assert_allclose(driven.transition_probs_at([7.0])[0], plain.transition_probs, atol=1e-6)
    assert (driven.transition_coefficients == 0).all()


# --- the regression in the M step -------------------------------------------------------------------------------------


def pairs_of(K, rows, seed):
    rng = np.random.default_rng(seed)
    pairs = rng.dirichlet(np.ones(K * K), rows).reshape(rows, K, K)
    pairs[-1] = 0.0
    return SmoothedPairs(np.zeros(1), np.zeros(rows), pairs.sum(axis=2), pairs.sum(axis=0), pairs[0].sum(axis=1), pairs)


@pytest.mark.parametrize("ridge", [0.0, 3.0])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_regression_ends_at_the_maximum_that_a_general_optimiser_finds(ridge, zeros):
    rng = np.random.default_rng(1)
    inputs, done = rng.normal(size=(60, 2)) * [1.0, 50.0] + [0.0, 400.0], pairs_of(3, 60, 2)
    allowed = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 0]]) if zeros else np.ones((3, 3))
    if zeros:
        done.pairs[:] *= allowed
    start = InputChain.constant(np.full(3, 1 / 3), allowed / allowed.sum(axis=1, keepdims=True), 2)
    found = regressed(start, done, inputs, ridge)

    def objective(chain):
        with np.errstate(invalid="ignore"):
            terms = np.where(done.pairs > 0, done.pairs * chain.log_transition(inputs), 0.0)
        return terms.sum() - 0.5 * ridge * (chain.coefficients**2).sum()

    def chain_at(point):
        intercepts, coefficients = start.intercepts.copy(), np.zeros((3, 2, 3))
        cells = np.argwhere(start.free)
        for (i, j), (c, w0, w1) in zip(cells, point.reshape(-1, 3), strict=True):
            intercepts[i, j], coefficients[i, :, j] = c - 400.0 * w1 / 50.0, [w0, w1 / 50.0]
        return InputChain(start.initial, intercepts, coefficients)

    best = minimize(
        lambda point: -objective(chain_at(point)), np.zeros(3 * int(start.free.sum())), options={"gtol": 1e-7}
    )
    assert objective(found) >= -best.fun - 1e-9
    assert objective(found) == pytest.approx(-best.fun, abs=1e-7)
    assert np.array_equal(found.allowed, start.allowed)


def test_newton_and_quasi_newton_steps_lead_to_the_same_place(monkeypatch):
    inputs, done = np.random.default_rng(3).normal(size=(80, 2)), pairs_of(4, 80, 4)
    start = InputChain.constant(np.full(4, 0.25), np.full((4, 4), 0.25), 2)
    newton = regressed(start, done, inputs)
    monkeypatch.setattr("statewise.fitting.hidden_markov_inputs._MOST_CURVATURE", 1)
    monkeypatch.setattr("statewise.fitting.hidden_markov_inputs._NEWTON", 500)
    other = regressed(start, done, inputs)
    np.testing.assert_allclose(other.along(inputs).transition, newton.along(inputs).transition, atol=1e-5)


def test_states_that_are_never_left_and_collinear_inputs_stay_finite():
    inputs, done = np.random.default_rng(5).normal(size=(50, 1)), pairs_of(2, 50, 6)
    done.pairs[:, 0] = 0.0
    start = InputChain.constant(np.array([0.5, 0.5]), np.array([[0.7, 0.3], [0.4, 0.6]]), 3)
    found = regressed(start, done, np.column_stack([inputs, 2 * inputs, np.full(50, 3.0)]))
    assert np.array_equal(found.intercepts[0], start.intercepts[0])
    assert (found.coefficients[0] == 0).all()
    assert np.isfinite(found.coefficients).all()
    assert (found.coefficients[:, 2] == 0).all()


# --- fits -------------------------------------------------------------------------------------------------------------


def simulated(length=1500, seed=3):
    model = sw.HMM(
        states=2, transitions="inputs", initial_probs=[0.5, 0.5], means=[0.0, 3.0], covariances=[1.0, 1.0],
        transition_intercepts=[[0.0, -3.0], [-2.0, 0.0]], transition_coefficients=[[[0.0, 1.5]], [[-1.0, 0.0]]],
    )  # fmt: skip
    u = np.random.default_rng(seed).normal(size=(2, length, 1))
    return model, model.sample(length, 2, seed=seed, inputs=u)


def test_a_fit_recovers_the_parameters_rises_and_is_a_maximum():
    """Each coefficient within 4 of its own standard errors; the observed information's errors are those of the simulation."""
    truth, seqs = simulated()
    fit = sw.HMM(states=2, transitions="inputs").fit(seqs, tol=1e-10, max_iter=1000)
    result = fit.fit_result
    assert result.converged
    assert (np.diff(result.trace) >= -1e-9 * abs(result.log_prob)).all()
    assert result.log_prob == pytest.approx(fit.log_prob(seqs).sum(), rel=1e-12)
    assert result.log_prob > truth.log_prob(seqs).sum()
    assert result.log_prob > sw.HMM(states=2).fit(seqs).fit_result.log_prob + 100
    assert fit.n_parameters == 1 + 2 * 2 + 4
    found = fit.standard_errors()
    expected = {
        "transition_intercepts[0, 1]": -3.0, "transition_intercepts[1, 0]": -2.0,
        "transition_coefficients[0, 0, 1]": 1.5, "transition_coefficients[1, 0, 0]": -1.0,
    }  # fmt: skip
    assert set(expected) < set(found.names)
    for name, value in expected.items():
        at = found.names.index(name)
        assert abs(found.estimate[at] - value) < 4 * found.standard_error[at]
    assert "transition_coefficients[0, 0, 1]" in fit.summary()
    climbed = sw.HMM(states=2, transitions="inputs").fit(seqs, method="gradient", restarts=1)
    assert climbed.fit_result.converged
    assert climbed.fit_result.log_prob == pytest.approx(result.log_prob, abs=1e-3)


def test_the_unit_of_an_input_changes_its_coefficients_and_nothing_else():
    _, seqs = simulated(400)
    fit = sw.HMM(states=2, transitions="inputs").fit(seqs, restarts=1, tol=1e-11, max_iter=500)
    scaled = seqs.replace(inputs=1e6 * seqs.inputs - 3e6)
    other = sw.HMM(states=2, transitions="inputs").fit(scaled, restarts=1, tol=1e-11, max_iter=500)
    assert other.fit_result.log_prob == pytest.approx(fit.fit_result.log_prob, abs=1e-5)
    np.testing.assert_allclose(1e6 * other.transition_coefficients, fit.transition_coefficients, rtol=1e-3, atol=1e-9)


def test_the_gradient_is_that_of_the_likelihood():
    model = three()
    seqs = gappy(model, [40, 30])
    rows = Rows(seqs.values, seqs.lengths, seqs.inputs)
    free = FreeHiddenMarkov(model._model, rows)
    again = free.model_at(free.point)
    np.testing.assert_allclose(again.chain.intercepts, model.transition_intercepts, atol=1e-10)
    np.testing.assert_allclose(again.chain.coefficients, model.transition_coefficients, atol=1e-12)
    assert len(free.names) == free.natural(free.point).size

    def log_prob(point):
        at = free.model_at(point)
        return discrete_any.log_prob_steps(at.along(rows.inputs), at.emission.log_likelihood(rows), rows.lengths).sum()

    value, slope = free.objective(free.point)
    assert value == pytest.approx(log_prob(free.point), rel=1e-12)
    for i in range(free.point.size):
        shift = np.eye(free.point.size)[i] * 1e-5
        expected = (log_prob(free.point + shift) - log_prob(free.point - shift)) / 2e-5
        assert slope[i] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_inputs_that_decide_the_state_are_noted_and_a_ridge_holds_them():
    rng = np.random.default_rng(7)
    truth = np.repeat([0, 1, 0, 1, 0], 60)
    y = np.where(truth == 0, 0.0, 10.0) + rng.normal(size=300)
    u = np.append(truth[1:], 0).astype(float)
    seqs = sw.Sequences.from_arrays([y], inputs=[u])
    free = sw.HMM(states=2, transitions="inputs").fit(seqs, tol=0.0, max_iter=60, restarts=1)
    assert any("transition_ridge" in note for note in free.fit_result.notes)
    assert all(np.isfinite(array).all() for array in free.parameters.values())
    held = sw.HMM(states=2, transitions="inputs", transition_ridge=1.0).fit(seqs, tol=1e-9)
    assert not held.fit_result.notes
    assert np.abs(held.transition_coefficients).max() < 10
    assert held.fit_result.log_prob == pytest.approx(held.log_prob(seqs).sum(), rel=1e-12)
    assert (np.diff(held.fit_result.trace) >= -1e-9 * abs(held.fit_result.log_prob)).all()


def test_collinear_inputs_are_noted_and_change_no_transition():
    """Dummies of all seven days, and six of them beside the constant: the same model."""
    _, seqs = simulated(350)
    days = np.eye(7)[np.arange(seqs.rows) % 7]
    seven, six = (seqs.replace(inputs=days[:, :n], input_columns=tuple("abcdefg"[:n])) for n in (7, 6))
    one, other = (
        sw.HMM(states=2, transitions="inputs").fit(data, restarts=1, tol=1e-10, max_iter=500) for data in (seven, six)
    )
    assert any("collinear" in note for note in one.fit_result.notes)
    assert not other.fit_result.notes
    assert one.fit_result.log_prob == pytest.approx(other.fit_result.log_prob, abs=1e-5)
    P = one.transition_probs_at(np.eye(7))
    np.testing.assert_allclose(P, other.transition_probs_at(np.eye(7)[:, :6]), atol=1e-3)


def test_structure_known_states_and_order():
    _, seqs = simulated(300)
    forward = sw.HMM(states=2, transitions="inputs", transition_probs=[[0.9, 0.1], [0.0, 1.0]]).fit(seqs, max_iter=20)
    P = forward.transition_probs_at(seqs.inputs)
    assert (P[:, 1, 0] == 0).all()
    assert forward.transition_intercepts[1, 0] == -np.inf
    assert forward.n_parameters == 1 + 2 + 4
    fit = sw.HMM(states=2, transitions="inputs").fit(seqs, init="random", seed=4)
    assert fit.means[0, 0] < fit.means[1, 0]
    assert len(fit.fit_result.details["restart_log_probs"]) == 3
    labels = np.full(seqs.rows, -1)
    labels[:50] = fit.decode(seqs).path[:50]
    known = sw.HMM(states=2, transitions="inputs").fit(seqs, known_states=labels, restarts=1)
    assert known.fit_result.converged
    again = fit.clone().fit(seqs, restarts=1)
    more = again.fit(seqs, init="current", max_iter=5)
    assert more.fit_result.log_prob >= more.fit_result.details["start_log_prob"] - 1e-6
    found = sw.select_states(seqs, states=(1, 2), transitions="inputs")
    assert len(found.best.means) == 2


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_streams_agree_with_the_filter_and_go_on_from_bytes():
    model = three()
    seqs = gappy(model, [40])
    probs, stream = model.filter(seqs).probs, model.stream()
    for t in range(40):
        if t == 20:
            stream = model.stream(stream.to_bytes())
        stream.update(seqs.values[t], seqs.inputs[t])
        np.testing.assert_allclose(stream.probs, probs[t], atol=1e-10)
    assert stream.log_prob == pytest.approx(model.log_prob(seqs)[0], rel=1e-10)
    future = inputs_of(3, 9)
    np.testing.assert_allclose(
        stream.forecast(3, inputs=future).mean, model.forecast(seqs, 3, inputs=future).mean, rtol=1e-8
    )
    with pytest.raises(InputError, match="`inputs` is missing; pass the 2 inputs"):
        stream.update(1.0)
    with pytest.raises(InputError, match="`inputs` has shape"):
        stream.update(1.0, [1.0])


def test_save_and_load_keep_everything(tmp_path):
    _, seqs = simulated(200)
    for name, model in (
        ("fitted", sw.HMM(states=2, transitions="inputs", transition_probs=[[0.9, 0.1], [0.0, 1.0]]).fit(seqs, max_iter=10)),
        ("given", three()),
    ):  # fmt: skip
        data = seqs if name == "fitted" else gappy(model, [20])
        model.save(tmp_path / name)
        again = sw.load(tmp_path / name)
        assert np.array_equal(again.log_prob(data), model.log_prob(data))
        assert all(np.array_equal(again.parameters[key], value) for key, value in model.parameters.items())
        assert again.n_parameters == model.n_parameters


def test_memory_is_along_the_inputs():
    """Coefficients of zero and a stationary start: the constant chain's |λ₂| = .7 while nothing is observed."""
    P = np.array([[0.9, 0.1], [0.2, 0.8]])
    model = sw.HMM(
        states=2, transitions="inputs", transition_coefficients=np.zeros((2, 1, 2)), initial_probs=[2 / 3, 1 / 3],
        transition_probs=P, means=[0.0, 3.0], covariances=[1.0, 1.0],
    )  # fmt: skip
    seqs = sw.Sequences.from_arrays([np.full(60, np.nan)], inputs=[np.zeros(60)])
    memory = model.memory(seqs)
    assert memory.rate == pytest.approx(0.7, rel=1e-9)
    assert memory.process_half_life == pytest.approx(np.log(2) / -np.log(0.7), rel=1e-9)
    with pytest.raises(InputError, match="depends on the inputs"):
        model.memory()


def test_samples_follow_the_inputs():
    """Alternating inputs that all but decide the next state."""
    model = sw.HMM(
        states=2, transitions="inputs", initial_probs=[1.0, 0.0], means=[0.0, 50.0], covariances=[1.0, 1.0],
        transition_intercepts=np.zeros((2, 2)), transition_coefficients=[[[0.0, 40.0]], [[0.0, 40.0]]],
    )  # fmt: skip
    u = np.where(np.arange(20) % 3 == 0, 1.0, -1.0)
    drawn = model.sample(20, 2, seed=0, inputs=u)
    assert drawn.inputs.shape == (40, 1)
    state = (drawn.values[:, 0] > 25).reshape(2, 20)
    assert np.array_equal(state[:, 1:], np.tile(u[:-1] > 0, (2, 1)))


def test_what_goes_wrong_says_the_fix():
    _, seqs = simulated(100)
    y = sw.Sequences.from_arrays([seqs.values[:100]])
    with pytest.raises(InputError, match="`transitions` is 'inputs' and the sequences have none"):
        sw.HMM(states=2, transitions="inputs").fit(y)
    fit = sw.HMM(states=2, transitions="inputs").fit(seqs, max_iter=3, restarts=1)
    with pytest.raises(InputError, match="0 input_columns"):
        fit.log_prob(y)
    with pytest.raises(InputError, match="have 0 inputs but the transitions of the HMM depend on 2"):
        three().log_prob(y)
    with pytest.raises(InputError, match="pass their values as `inputs`"):
        fit.forecast(seqs, steps=2)
    with pytest.raises(InputError, match="the model has the inputs u1, u2"):
        three().sample(10)
    with pytest.raises(UnsupportedError, match="call transition_probs_at"):
        _ = fit.transition_probs
    with pytest.raises(UnsupportedError, match="see transition_probs"):
        sw.HMM(states=2).fit(y).transition_probs_at([1.0])
    with pytest.raises(InputError, match="`inputs` has shape"):
        three().transition_probs_at(np.zeros((3, 1)))
    with pytest.raises(AttributeError, match="transitions 'full' has no `transition_intercepts`"):
        _ = sw.HMM(states=2).fit(y).transition_intercepts
    with pytest.raises(InputError, match="`stay_prior` has no place"):
        sw.HMM(states=2, transitions="inputs", stay_prior=2.0)
    with pytest.raises(InputError, match="pass transitions='inputs' with it"):
        sw.HMM(states=2, transition_ridge=2.0)
    with pytest.raises(InputError, match="pass transitions='inputs' with it"):
        sw.HMM(states=2, transition_intercepts=np.zeros((2, 2)))
    with pytest.raises(
        InputError, match=r"`transition_coefficients` has shape \(2, 1, 3\); pass shape \(2, inputs, 2\)"
    ):
        sw.HMM(states=2, transitions="inputs", transition_coefficients=np.zeros((2, 1, 3)))
    with pytest.raises(InputError, match="say the same thing"):
        sw.HMM(
            2, transitions="inputs", transition_intercepts=np.zeros((2, 2)), transition_probs=[[0.5, 0.5], [0.5, 0.5]]
        )
    with pytest.raises(InputError, match="has a row of −inf"):
        sw.HMM(2, transitions="inputs", transition_intercepts=[[-np.inf, -np.inf], [0.0, 0.0]])
    with pytest.raises(InputError, match="are for 2 inputs and the sequences have 1"):
        sw.HMM(states=2, transitions="inputs", transition_coefficients=np.zeros((2, 2, 2))).fit(seqs)
    with pytest.raises(InputError, match="has no known states and no prior"):
        sw.HMM(states=2, transitions="inputs", transition_ridge=1.0).fit(seqs, method="gradient")
    with pytest.raises(NotFittedError):
        sw.HMM(states=2, transitions="inputs").transition_probs_at([1.0])


@pytest.mark.parametrize("rule", ["transition_intercepts", "transition_coefficients", "transition_ridge"])
def test_bad_options_are_refused(rule):
    for value in sw.HMM.options[rule].bad:
        with pytest.raises(InputError, match=f"`{rule}`"):
            sw.HMM(transitions="inputs", **{rule: value})
