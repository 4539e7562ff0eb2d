"""Hidden Markov models as softmax networks: replay, Jacobians, and the exponents of the forward recursion."""

from __future__ import annotations

import numpy as np
import pytest
from tests.dissection.test_open_gaussian import holed

import statewise as sw
from statewise._core.errors import InputError
from statewise.dissection.belief import BeliefSystem
from statewise.dissection.opening import opened
from statewise.dissection.spectrum import means, spectrum


def example() -> tuple[sw.HMM, sw.Sequences]:
    model = sw.HMM(
        states=3,
        initial_probs=[0.5, 0.3, 0.2],
        transition_probs=[[0.9, 0.08, 0.02], [0.1, 0.7, 0.2], [0.05, 0.15, 0.8]],
        means=[-1.0, 0.5, 2.0],
        covariances=[1.0, 0.5, 1.5],
    )
    return model, holed(model.sample(300, 2, seed=0))


def test_replay_and_states():
    model, seqs = example()
    subject = opened(model, seqs)
    assert subject.replay_error < 1e-12
    beliefs = model.filter(seqs).probs.reshape(2, 300, 3) @ model.transition_probs
    np.testing.assert_allclose(subject.sites[0].system.states[:, 1:], beliefs[:, :-1], atol=1e-12)


def test_first_exponent_is_the_log_likelihood_per_step():
    """§13: to 1e-6, here to rounding, on sequences of different lengths."""
    model, seqs = example()
    seqs = seqs.cut([(0, 300), (0, 170)])
    d = sw.dissect(model, seqs)
    assert d.lyapunov.value[0] == pytest.approx(model.log_prob(seqs).sum() / seqs.rows, abs=1e-12)
    assert "log-likelihood per step" in d.lyapunov.meaning


def test_gap_is_the_forgetting_rate():
    """λ₁ − λ₂ against the exponent of the network on beliefs, and the model's own rate, over the same steps: but for ends, O(1/T)."""
    model, _ = example()
    seqs = holed(model.sample(3000, 1, seed=0))
    value = sw.dissection.lyapunov(model, seqs).value
    gap = value[0] - value[1]
    beliefs = spectrum(opened(model, seqs).sites[0].system, 1, warmup=0)
    assert gap == pytest.approx(-means(beliefs)[0], abs=5 / 3000)
    assert gap == pytest.approx(np.log(2) / model.memory(seqs).half_life, abs=5 / 3000)


def test_two_states_by_determinants():
    """λ₁ + λ₂ = ⟨ln |det Pᵀ diag b|⟩ = ln |det P| + ⟨Σ ln b⟩."""
    model = sw.HMM(
        states=2,
        initial_probs=[0.5, 0.5],
        transition_probs=[[0.9, 0.1], [0.1, 0.9]],
        means=[-1.0, 1.0],
        covariances=[1.0, 1.0],
    )
    y = model.sample(4000, 1, seed=0)
    value = sw.dissection.lyapunov(model, y).value
    logs = -0.5 * np.log(2 * np.pi) - 0.5 * (y.values - np.array([-1.0, 1.0])) ** 2
    assert value.sum() == pytest.approx(np.log(0.8) + logs.sum(axis=1).mean(), abs=2e-3)  # up to ends, O(1/T)


def test_saturated_log_odds_and_slope():
    """Theory §2: without evidence L ← 2 artanh((1 − 2ε) tanh(L/2)), of slope 1 − 2ε at 0: so is the belief's exponent."""
    model = sw.HMM(
        states=2,
        initial_probs=[0.5, 0.5],
        transition_probs=[[0.9, 0.1], [0.1, 0.9]],
        means=[-1.0, 1.0],
        covariances=[1.0, 1.0],
    )
    y = np.full(50, np.nan)
    y[0] = 0.0
    subject = opened(model, y)
    J = subject.sites[0].system.jacobian(20)[0]
    assert sorted(np.abs(np.linalg.eigvals(J))) == pytest.approx([0.0, 0.8], abs=1e-12)


def test_jacobians_and_input_jacobians_by_finite_differences():
    rng = np.random.default_rng(0)
    move = rng.dirichlet(np.ones(4), size=4)
    system = BeliefSystem(rng.normal(size=(2, 6, 4)), move, rng.dirichlet(np.ones(4)), np.array([6, 6]))
    identity = np.broadcast_to(np.eye(4), (2, 4, 4))
    f, x, h = system.states[:, 3], system.inputs[:, 3], 1e-6
    by_state = np.stack([(system.step(x, f + h * e) - system.step(x, f - h * e)) / (2 * h) for e in np.eye(4)], axis=2)
    by_input = np.stack([(system.step(x + h * e, f) - system.step(x - h * e, f)) / (2 * h) for e in np.eye(4)], axis=2)
    np.testing.assert_allclose(system.jacobian(3), by_state, atol=1e-8)
    np.testing.assert_allclose(system.pull(3, identity), by_state, atol=1e-8)
    np.testing.assert_allclose(system.push_input(3, identity), by_input, atol=1e-8)
    np.testing.assert_allclose(system.pull_input(3, identity), by_input, atol=1e-8)
    np.testing.assert_allclose(system.jacobian_at(x, f), by_state, atol=1e-8)


def test_zeros_and_impossible_evidence_stay_finite():
    model = sw.HMM(
        states=2,
        emission="categorical",
        initial_probs=[1.0, 0.0],
        transition_probs=[[0.5, 0.5], [0.0, 1.0]],
        probs=[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]],
    )
    d = sw.dissect(model, np.array([0.0, 1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 2.0]))
    assert d.replay_error < 1e-12
    assert np.isfinite(d.subject.sites[0].system.states).all()
    assert np.isfinite(d.gradient_flow.data["by_sequence"][:, 3, :3]).all()


@pytest.mark.parametrize("to", ["rnn", "birnn"])
def test_its_networks(to: str):
    model, seqs = example()
    subject = opened(sw.convert(model, to=to), seqs)
    assert subject.replay_error < 1e-11
    assert len(subject.sites) == (1 if to == "rnn" else 2)


def test_backward_jacobians():
    model, seqs = example()
    system = opened(sw.convert(model, to="birnn"), seqs).sites[1].system
    f, x, h = system.states[:, 3], system.inputs[:, 3], 1e-6
    by_state = np.stack([(system.step(x, f + h * e) - system.step(x, f - h * e)) / (2 * h) for e in np.eye(3)], axis=2)
    identity = np.broadcast_to(np.eye(3), (2, 3, 3))
    np.testing.assert_allclose(system.jacobian(3), by_state, atol=1e-8)
    np.testing.assert_allclose(system.pull(3, identity), by_state, atol=1e-8)


def test_transitions_that_follow_inputs():
    rng = np.random.default_rng(0)
    seqs = sw.Sequences.from_arrays([rng.normal(size=60)], inputs=[rng.normal(size=(60, 1))])
    model = sw.HMM(
        states=2,
        transitions="inputs",
        initial_probs=[0.5, 0.5],
        means=[-1.0, 1.0],
        covariances=[1.0, 1.0],
        transition_intercepts=[[0.0, -2.0], [-2.0, 0.0]],
        transition_coefficients=[[[0.0, 1.0]], [[0.0, 0.0]]],
    )
    assert opened(model, seqs).replay_error < 1e-12


def test_one_row_is_refused():
    with pytest.raises(InputError, match="two rows"):
        opened(example()[0], [0.3])
