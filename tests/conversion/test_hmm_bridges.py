"""Hidden Markov models as networks and back.

Oracles: the plain forward–backward twin in log space (tests/reference/hmm.py), closed forms of theory §2, enumeration, gradcheck.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import hmm as ref

import statewise as sw
from statewise._core.errors import UnsupportedError

SEEDS = st.integers(0, 2**32 - 1)
TOLERANCE = 1e-10  # float64 algebra


def shares(rng, *shape, zeros=False):
    """Random shares over the last axis; with zeros, a third of the entries but one each."""
    drawn = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    if zeros:
        gone = rng.random(shape) < 0.33
        gone[..., 0] = False
        drawn = np.where(gone, 0.0, drawn)
        drawn /= drawn.sum(axis=-1, keepdims=True)
    return drawn


def spd(rng, *lead, p):
    half = rng.standard_normal((*lead, p, p))
    return half @ half.swapaxes(-1, -2) + 0.3 * np.eye(p)


def laws(family, rng, K):
    """Options of a random HMM of a family, and a function that draws rows (T, p) that it can emit."""
    p, M = 2, 3

    def normal(T):
        return 2 * rng.standard_normal((T, p))

    def counts(T):
        return rng.poisson(3.0, (T, p)).astype(float)

    def positive(T):
        return rng.gamma(2.0, 1.0, (T, p)) + 1e-3

    means = rng.standard_normal((K, p))
    table = {
        "diag": ({"means": means, "covariances": rng.gamma(2, 1, (K, p))}, normal),
        "full": ({"covariance": "full", "means": means, "covariances": spd(rng, K, p=p)}, normal),
        "tied": ({"covariance": "tied", "means": means, "covariances": spd(rng, p=p)}, normal),
        "spherical": ({"covariance": "spherical", "means": means, "covariances": rng.gamma(2, 1, K)}, normal),
        "mixture": ({"emission": "gaussian-mixture", "components": M, "means": rng.standard_normal((K, M, p)),
                         "covariances": rng.gamma(2, 1, (K, M, p)), "mixture_weights": shares(rng, K, M, zeros=True)}, normal),
        "student-t": ({"emission": "student-t", "locations": means, "scales": rng.gamma(2, 1, (K, p)),
                       "dofs": rng.gamma(5, 1, (K, p)) + 0.5}, normal),
        "poisson": ({"emission": "poisson", "rates": rng.gamma(2, 2, (K, p))}, counts),
        "negative-binomial": ({"emission": "negative-binomial", "means": rng.gamma(2, 2, (K, p)), "sizes": rng.gamma(2, 2, (K, p))}, counts),
        "bernoulli": ({"emission": "bernoulli", "probs": rng.random((K, p))}, lambda T: (rng.random((T, p)) < 0.5).astype(float)),
        "categorical": ({"emission": "categorical", "probs": shares(rng, K, M, zeros=True)}, lambda T: np.zeros((T, 1)) + rng.integers(0, M, (T, 1))),
        "exponential": ({"emission": "exponential", "scales": rng.gamma(2, 1, (K, p))}, positive),
        "gamma": ({"emission": "gamma", "shapes": rng.gamma(2, 1, (K, p)) + 0.1, "scales": rng.gamma(2, 1, (K, p))}, positive),
        "autoregressive": ({"emission": "autoregressive", "order": 2, "covariance": "full", "intercepts": means,
                                "coefficients": 0.3 * rng.standard_normal((K, 4, p)), "covariances": spd(rng, K, p=p),
                            "lag_fills": rng.standard_normal(p)}, normal),
        "product": ({"emission": {"a": "poisson", "b": "gaussian"}, "rates": {"a": rng.gamma(2, 2, K)},
                         "means": {"b": means[:, 0]}, "covariances": {"b": rng.gamma(2, 1, K)}},
                    lambda T: np.column_stack([rng.poisson(3.0, T), rng.standard_normal(T)])),
    }  # fmt: skip
    return table[family]


FAMILIES = (
    "diag", "full", "tied", "spherical", "mixture", "student-t", "poisson", "negative-binomial", "bernoulli", "categorical", "exponential",
    "gamma", "autoregressive", "product",
)  # fmt: skip


def random_hmm(family, seed, K, zeros=False):
    rng = np.random.default_rng(seed)
    options, draw = laws(family, rng, K)
    chain = {"initial_probs": shares(rng, K, zeros=zeros), "transition_probs": shares(rng, K, K, zeros=zeros)}
    model = sw.HMM(states=K, **chain, **options)
    arrays = [draw(T) for T in (9, 1, 4)]
    for one in arrays:
        one[rng.random(one.shape) < 0.2] = np.nan
    names = ("a", "b")[: arrays[0].shape[1]]
    return model, sw.Sequences.from_arrays(arrays, columns=names)


def table_of(model, y):
    from statewise.emissions.rows import Rows

    return model._laws[1].log_likelihood(Rows(y))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=8, deadline=None)
@given(SEEDS, st.integers(1, 4), st.booleans())
def test_every_family_is_exact_with_zeros_and_missing_entries(family, seed, K, zeros):
    model, seqs = random_hmm(family, seed, K, zeros)
    rnn = sw.convert(model, to="rnn")
    np.testing.assert_allclose(
        rnn.log_prob(seqs, per_step=True), model.log_prob(seqs, per_step=True), rtol=TOLERANCE, atol=TOLERANCE
    )
    np.testing.assert_allclose(rnn.filter(seqs).probs, model.filter(seqs).probs, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(rnn.smooth(seqs).probs, model.smooth(seqs).probs, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(rnn.forecast(seqs, 3).mean, model.forecast(seqs, 3).mean, rtol=1e-9, atol=TOLERANCE)
    bidirectional = sw.convert(model, to="birnn")
    np.testing.assert_allclose(bidirectional.smooth(seqs).probs, model.smooth(seqs).probs, rtol=0, atol=TOLERANCE)
    back = sw.convert(rnn, to="hmm")
    np.testing.assert_allclose(back.log_prob(seqs), model.log_prob(seqs), rtol=TOLERANCE, atol=TOLERANCE)
    assert sw.convert(model, to="rnn", verify=seqs)[1] < TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("zeros", [False, True])
def test_the_torch_recursion_is_the_twin_and_its_gradients_are_finite(family, zeros):
    """With gradients the network runs in torch: value against the log-space twin, no NaN in any gradient, zeros stay zeros."""
    model, seqs = random_hmm(family, 7, 3, zeros)
    pi, P = model.initial_probs, model.transition_probs
    for to in ("rnn", "birnn"):
        module = sw.convert(model, to=to).module
        for one in seqs.arrays():
            L = table_of(model, one)
            want = ref.log_prob_steps(pi, P, L)
            if not np.isfinite(want).all():
                continue
            y = torch.tensor(one)[None]
            states = module(y)[0]
            expected = ref.filtered(pi, P, L) if to == "rnn" else ref.smoothed(pi, P, L)
            np.testing.assert_allclose(states.detach(), expected, rtol=0, atol=1e-12)
            have = module.log_prob(y)[0]
            np.testing.assert_allclose(have.detach(), want, rtol=1e-10, atol=1e-12)
            (have.sum() + (states**2).sum()).backward()
        for name, weight in module.named_parameters():
            assert weight.grad is None or torch.isfinite(weight.grad).all(), name
        gone = module.transition_logits == -torch.inf
        assert (module.transition_logits.grad[gone] == 0).all()


def test_impossible_observations_give_minus_infinity_and_no_nan():
    """A symbol that no reachable state emits: −inf at that step, the belief goes on, gradients stay finite numbers."""
    model = sw.HMM(
        states=2,
        emission="categorical",
        initial_probs=[1.0, 0.0],
        transition_probs=[[1.0, 0.0], [0.0, 1.0]],
        probs=[[1.0, 0.0], [0.0, 1.0]],
    )
    rnn = sw.convert(model, to="rnn")
    y = np.array([0.0, 1.0, 0.0])
    np.testing.assert_array_equal(rnn.log_prob(y, per_step=True), [0.0, -np.inf, 0.0])
    module = rnn.module
    steps = module.log_prob(torch.tensor(y)[None, :, None])
    np.testing.assert_array_equal(steps.detach()[0], [0.0, -np.inf, 0.0])
    steps[0, [0, 2]].sum().backward()
    for weight in module.parameters():
        assert torch.isfinite(weight.grad).all()
    torch.testing.assert_close(
        sw.convert(model, to="birnn").module(torch.tensor(y)[None, :, None])[0, :, 0],
        torch.ones(3, dtype=torch.float64),
    )


def test_gradients_pass_gradcheck():
    model, _ = random_hmm("diag", 3, 2)
    module = sw.convert(model, to="rnn").module
    y = torch.tensor(np.random.default_rng(0).standard_normal((2, 4, 2)), requires_grad=True)
    names = [name for name, _ in module.named_parameters()]

    class Of(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, y):
            return self.inner.log_prob(y)

    def densities(y, *weights):
        return torch.func.functional_call(Of(), {f"inner.{n}": w for n, w in zip(names, weights, strict=True)}, (y,))

    assert torch.autograd.gradcheck(densities, (y, *[w.detach().clone().requires_grad_() for w in module.parameters()]))


def test_two_symmetric_states_obey_the_scalar_rnn():
    """L' = 2 artanh((1 − 2ε) tanh(L/2)) + LLR(y), saturating at log((1 − ε)/ε) = 2.197225 for ε = .1."""
    eps = 0.1
    model = sw.HMM(
        states=2,
        initial_probs=[0.5, 0.5],
        transition_probs=[[1 - eps, eps], [eps, 1 - eps]],
        means=[-1.0, 1.0],
        covariances=[1.0, 1.0],
    )
    y = np.random.default_rng(0).standard_normal(40)
    probs = sw.convert(model, to="rnn").filter(y).probs
    L, want = 0.0, []
    for value in y:
        L = 2 * np.arctanh((1 - 2 * eps) * np.tanh(L / 2)) + 2 * value
        want.append(L)
    np.testing.assert_allclose(np.log(probs[:, 1] / probs[:, 0]), want, rtol=1e-10, atol=1e-10)
    far = 2 * np.arctanh((1 - 2 * eps) * np.tanh(50.0))
    np.testing.assert_allclose(far, 2.197225, atol=5e-7)


def test_generating_a_deterministic_automaton_follows_its_rule():
    """P a cycle of three, each state its own symbol: the network run as a sampler repeats 0, 1, 2."""
    model = sw.HMM(
        states=3,
        emission="categorical",
        initial_probs=[1, 0, 0],
        transition_probs=np.roll(np.eye(3), 1, axis=1),
        probs=np.eye(3),
    )
    states, y = sw.convert(model, to="rnn").module.generate(7, count=2)
    np.testing.assert_array_equal(states, [[0, 1, 2, 0, 1, 2, 0]] * 2)
    np.testing.assert_array_equal(y[..., 0], states)


def test_generating_has_the_law_of_the_model():
    """All sequences of 3 symbols against enumeration; 5 standard errors of 40 000 draws."""
    rng = np.random.default_rng(2)
    model = sw.HMM(
        states=2,
        emission="categorical",
        initial_probs=shares(rng, 2),
        transition_probs=shares(rng, 2, 2),
        probs=shares(rng, 2, 2),
    )
    _, y = sw.convert(model, to="rnn").module.generate(3, count=40_000, seed=1)
    codes = y[..., 0].numpy().astype(int) @ [4, 2, 1]
    every = np.array([[code >> 2 & 1, code >> 1 & 1, code & 1] for code in range(8)], dtype=float)
    want = np.exp(model.log_prob(sw.Sequences.from_arrays(list(every))))
    have = np.bincount(codes, minlength=8) / len(codes)
    assert (np.abs(have - want) < 5 * np.sqrt(want * (1 - want) / len(codes))).all()


def test_training_starts_at_the_model_and_leads_back():
    """One step of gradient ascent raises the likelihood, and what comes out is still a hidden Markov model with the same number."""
    model, seqs = random_hmm("diag", 11, 3)
    rnn = sw.convert(model, to="rnn")
    before = rnn.log_prob(seqs).sum()
    assert before == pytest.approx(model.log_prob(seqs).sum(), rel=1e-12)
    optimiser = torch.optim.SGD(rnn.module.parameters(), lr=1e-4)
    loss = -sum(rnn.module.log_prob(torch.tensor(y)[None]).sum() for y in seqs.arrays())
    loss.backward()
    optimiser.step()
    after = rnn.log_prob(seqs).sum()
    assert after > before
    assert sw.convert(rnn, to="hmm").log_prob(seqs).sum() == pytest.approx(after, rel=1e-12)


def test_weights_that_are_no_model_are_refused():
    model, _ = random_hmm("diag", 1, 2)
    rnn = sw.convert(model, to="rnn")
    rnn.module.transition_logits.data[0] = -torch.inf
    with pytest.raises(UnsupportedError, match="rules out every state"):
        sw.convert(rnn, to="hmm")
    rnn.module.transition_logits.data[0] = torch.nan
    with pytest.raises(UnsupportedError, match="not finite"):
        sw.convert(rnn, to="hmm")


@pytest.mark.parametrize("to", ["rnn", "birnn"])
def test_save_and_load(to, tmp_path):
    model, seqs = random_hmm("product", 4, 3, True)
    made = sw.convert(model, to=to)
    made.save(tmp_path / "m")
    again = sw.load(tmp_path / "m")
    np.testing.assert_allclose(again.smooth(seqs).probs, made.smooth(seqs).probs, atol=1e-14)
    assert not hasattr(sw.convert(model, to="birnn"), "log_prob")
    assert made.n_parameters > 0 and made.memory().rate >= 0
