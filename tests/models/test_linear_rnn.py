"""`LinearRNN` and its torch module. Oracles: the Kalman filter it was made from, central differences, the joint Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError, NotFittedError
from statewise.inference.smoothing import Gradient, log_prob_gradient
from statewise.models.linear_rnn import LinearRNN
from statewise.nn.linear_rnn import LinearRNNModule


def example(u: int = 0, n: int = 2, p: int = 2, gain: str = "exact", seed: int = 0):
    rng = np.random.default_rng(seed)
    sys = ref.random_system(rng, n, p, u, radius=0.8)
    model = sw.StateSpace(**ref.words(sys))
    inputs = [rng.standard_normal((T, u)) if u else None for T in (12, 5)]
    arrays = [ref.simulate(sys, T, rng, own) for T, own in zip((12, 5), inputs, strict=True)]
    seqs = sw.Sequences.from_arrays(arrays, inputs=inputs if u else None)
    return sys, model, sw.convert(model, to="rnn", gain=gain), seqs


# --- the module -------------------------------------------------------------------------------------------------------


def test_the_module_is_the_kalman_filter_in_a_batch():
    """(N, T, p) in, (N, T, p) predictions and (N, n) last states out."""
    sys, _, rnn, _ = example(u=1)
    rng = np.random.default_rng(1)
    y, u = rng.standard_normal((3, 9, 2)), rng.standard_normal((3, 9, 1))
    predictions, last = rnn.module(torch.tensor(y), torch.tensor(u))
    densities = rnn.module.log_prob(torch.tensor(y), torch.tensor(u))
    for i in range(3):
        twin = ref.kalman_filter(sys, y[i], u[i])
        want = twin["mean_pred"] @ sys["C"].T + sys["d"] + u[i] @ sys["D"].T
        np.testing.assert_allclose(predictions[i].detach(), want, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(last[i].detach(), twin["mean_next"], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(densities[i].detach(), twin["log_prob"], rtol=1e-10, atol=1e-12)


def test_every_weight_is_trainable_and_float64():
    _, _, rnn, seqs = example(u=1)
    y, u = torch.tensor(seqs[0].values)[None], torch.tensor(seqs[0].inputs)[None]
    rnn.module.log_prob(y, u).sum().backward()
    for name, weight in rnn.module.named_parameters():
        assert weight.dtype == torch.float64
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0, name


def test_gradients_pass_gradcheck():
    """Inputs, every parameter and the initial state, by torch's own differences."""
    _, _, rnn, _ = example(u=1, p=1, gain="steady")
    rng = np.random.default_rng(0)
    y, u = (torch.tensor(rng.standard_normal((2, 4, 1)), requires_grad=True) for _ in range(2))
    names = [name for name, _ in rnn.module.named_parameters()]

    def log_prob(y, u, *weights):
        return torch.func.functional_call(
            _Scored(rnn.module), {f"inner.{name}": weight for name, weight in zip(names, weights, strict=True)}, (y, u)
        )

    weights = [weight.detach().clone().requires_grad_() for weight in rnn.module.parameters()]
    assert torch.autograd.gradcheck(log_prob, (y, u, *weights))


class _Scored(torch.nn.Module):
    def __init__(self, inner: LinearRNNModule) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, y, u):
        return self.inner.log_prob(y, u)


def test_at_the_maximum_training_has_nothing_to_gain():
    """A VARMA at its maximum likelihood: steady network, long data; the gradient per step is near zero and a step of SGD does not help."""
    rng = np.random.default_rng(0)
    e = rng.standard_normal(2001)
    y = np.zeros(2001)
    for t in range(1, 2001):
        y[t] = 0.8 * y[t - 1] + e[t] - 0.3 * e[t - 1]
    model = sw.VARMA(p=1, q=1).fit(y)
    module = sw.convert(model, to="rnn", gain="steady").module
    module.log_prob(torch.tensor(y)[None, :, None]).mean().backward()
    assert abs(module.gain.grad.item()) < 1e-3
    assert abs(module.innovation_chol.grad.item()) < 1e-3


def test_the_intercepts_gradient_is_the_adjoint_smoothers():
    """∂ log p/∂d and ∂/∂m0 do not act through the gain, so that the network's gradient equals the filter's exact one."""
    _, model, rnn, seqs = example()
    _, gradient = log_prob_gradient(model.system, seqs)
    assert isinstance(gradient, Gradient)
    for y in seqs.arrays():
        rnn.module.log_prob(torch.tensor(y)[None]).sum().backward()
    np.testing.assert_allclose(rnn.module.observation_intercept.grad, gradient.d, rtol=1e-8)
    np.testing.assert_allclose(rnn.module.state_intercept.grad, gradient.b, rtol=1e-8)
    np.testing.assert_allclose(rnn.module.initial_state.grad, gradient.m0, rtol=1e-8)


# --- the model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("u", [0, 2])
@pytest.mark.parametrize("gain", ["exact", "steady"])
def test_sequences_of_unequal_length_are_a_loop(u, gain):
    _, _, rnn, seqs = example(u, gain=gain)
    future = np.ones((3, u)) if u else None
    together, ahead = rnn.log_prob(seqs), rnn.forecast(seqs, steps=3, inputs=future)
    for i, seq in enumerate(seqs):
        np.testing.assert_allclose(rnn.log_prob(seq), together[i : i + 1], rtol=1e-13)
        np.testing.assert_allclose(rnn.forecast(seq, steps=3, inputs=future).mean[0], ahead.mean[i], rtol=1e-13)
        np.testing.assert_allclose(rnn.forecast(seq, steps=3, inputs=future).variance[0], ahead.variance[i], rtol=1e-13)


def test_appending_data_does_not_change_the_past():
    _, _, rnn, seqs = example()
    y = seqs.arrays()[0]
    np.testing.assert_allclose(rnn.log_prob(y, per_step=True)[:5], rnn.log_prob(y[:5], per_step=True), rtol=1e-13)
    np.testing.assert_allclose(rnn.predict(y).mean[:5], rnn.predict(y[:5]).mean, rtol=1e-13)


def test_forecasts_are_the_conditional_moments_before_and_after_the_gain_has_settled():
    """Oracle: the joint Gaussian, from 1 and from 60 observations."""
    sys, _, rnn, _ = example()
    y = ref.simulate(sys, 60, np.random.default_rng(3))
    for T in (1, 60):
        mean, cov = ref.forecast(sys, y[:T], 6)
        have = rnn.forecast(y[:T], steps=6)
        np.testing.assert_allclose(have.mean[0], mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(have.variance[0], np.diag(cov).reshape(6, 2), rtol=1e-9)


def test_draws_have_the_moments_of_the_model():
    """4 000 draws of 3 steps with inputs: means and covariances within 5 standard errors of the joint Gaussian's."""
    sys, _, rnn, _ = example(u=1)
    u = np.random.default_rng(0).standard_normal((3, 1))
    y = rnn.sample(length=3, count=4000, seed=0, inputs=u).values.reshape(4000, 6)
    world = ref.joint(sys, 3, u)
    sd = np.sqrt(np.diag(world["yy"]))
    assert np.abs((y.mean(axis=0) - world["mean_y"]) / sd).max() < 5 / np.sqrt(4000)
    error = np.sqrt((np.outer(sd**2, sd**2) + world["yy"] ** 2) / 4000)
    assert np.abs((np.cov(y.T) - world["yy"]) / error).max() < 5


def test_what_the_model_says_follows_the_weights():
    """Training changes the module in place; log_prob, forecasts, memory and the file follow."""
    _, model, rnn, seqs = example()
    before = rnn.log_prob(seqs)
    optimiser = torch.optim.SGD(rnn.module.parameters(), lr=1e-3)
    for _ in range(5):
        optimiser.zero_grad()
        loss = -sum(rnn.module.log_prob(torch.tensor(y)[None]).sum() for y in seqs.arrays())
        loss.backward()
        optimiser.step()
    assert rnn.log_prob(seqs).sum() > before.sum()
    np.testing.assert_allclose(rnn.parameters["gain"], rnn.module.gain.detach())
    np.testing.assert_array_equal(model.log_prob(seqs), example()[1].log_prob(seqs))


def test_a_trained_network_is_saved_as_it_is(tmp_path):
    _, _, rnn, seqs = example(u=1)
    with torch.no_grad():
        rnn.module.gain.mul_(1.1)
    rnn.save(tmp_path / "rnn")
    again = sw.load(tmp_path / "rnn")
    assert isinstance(again, LinearRNN)
    np.testing.assert_array_equal(again.log_prob(seqs), rnn.log_prob(seqs))
    assert again.module.gain.requires_grad
    assert again.n_parameters == rnn.n_parameters


def test_names_and_sizes():
    _, _, exact, _ = example()
    _, _, steady, _ = example(gain="steady", u=1)
    assert repr(steady) == "LinearRNN(states=2, dim=2, gain=steady)"
    assert "gain=exact" in repr(exact)
    assert steady.n_parameters == 4 + 4 + 2 + 2 + 2 + 2 + 4 + 4 + 2
    assert "LinearRNN" in exact.summary()


# --- what is refused --------------------------------------------------------------------------------------------------


def test_wrong_columns_and_inputs_are_refused():
    _, _, plain, seqs = example()
    _, _, driven, with_inputs = example(u=2)
    with pytest.raises(InputError, match="1 columns"):
        plain.log_prob([1.0, 2.0])
    with pytest.raises(InputError, match="2 input_columns"):
        plain.log_prob(with_inputs)
    with pytest.raises(InputError, match="0 input_columns"):
        driven.log_prob(seqs)
    with pytest.raises(InputError, match="has the inputs u1, u2"):
        driven.forecast(with_inputs)
    with pytest.raises(InputError, match="has the inputs u1, u2"):
        driven.sample(length=3)


def test_a_network_that_was_not_made_by_convert_says_so():
    with pytest.raises(NotFittedError):
        LinearRNN().log_prob([1.0])
    assert not LinearRNN().is_fitted


def test_without_gradients_the_compiled_recursion_says_the_same():
    """Against the torch loop to rounding, a batch with inputs, a schedule that ends before the data do, and the twin filter."""
    sys, _, rnn, _ = example(u=1)
    rng = np.random.default_rng(3)
    y, u = torch.tensor(rng.standard_normal((3, 90, 2))), torch.tensor(rng.standard_normal((3, 90, 1)))
    slow = rnn.module(y, u)
    with torch.no_grad():
        fast = rnn.module(y, u)
    for have, want in zip(fast, slow, strict=True):
        torch.testing.assert_close(have, want.detach(), rtol=1e-12, atol=1e-12)
    twin = ref.kalman_filter(sys, y[0].numpy(), u[0].numpy())
    want = twin["mean_pred"] @ sys["C"].T + sys["d"] + u[0].numpy() @ sys["D"].T
    np.testing.assert_allclose(fast[0][0], want, rtol=1e-10, atol=1e-12)


def test_missing_entries_are_integrated_out_at_any_weights():
    """Trained apart, the network still is a law of complete sequences; oracle: its joint Gaussian, by unrolling h and e."""
    _, _, rnn, _ = example(n=2, p=2)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for weight in rnn.module.parameters():
            weight += 0.1 * torch.tensor(rng.standard_normal(weight.shape))
    own = {name: w.detach().numpy() for name, w in rnn.module.state_dict().items()}
    T, p = 7, 2
    roots = np.tril(own["innovation_chol"])
    at = [min(t, len(own["gain"]) - 1) for t in range(T)]
    mean, response = np.zeros((T, p)), np.zeros((T, p, T, p))  # of y[t] to whitened e[s]
    h, moved = own["initial_state"], np.zeros((2, T, p))
    for t in range(T):
        mean[t] = own["observation"] @ h + own["observation_intercept"]
        response[t] = np.tensordot(own["observation"], moved, 1)
        response[t, :, t] += roots[at[t]]
        h = own["transition"] @ h + own["state_intercept"]
        moved = np.tensordot(own["transition"], moved, 1)
        moved[:, t] += own["gain"][at[t]] @ roots[at[t]]
    flat = response.reshape(T * p, T * p)
    cov = flat @ flat.T
    y = rng.standard_normal((T, p))
    y[2] = np.nan
    y[4, 1] = np.nan
    seen = ~np.isnan(y.ravel())
    gap, own_cov = (y - mean).ravel()[seen], cov[np.ix_(seen, seen)]
    want = -0.5 * (gap @ np.linalg.solve(own_cov, gap) + np.linalg.slogdet(own_cov)[1] + seen.sum() * np.log(2 * np.pi))
    np.testing.assert_allclose(rnn.log_prob(y), [want], rtol=1e-10)
    loss = rnn.module.log_prob(torch.tensor(y)[None]).sum()
    loss.backward()
    for name, weight in rnn.module.named_parameters():
        assert weight.grad is None or torch.isfinite(weight.grad).all(), name
