"""The smoother as a bidirectional linear RNN. Oracles: the smoother on random models, the closed forms of theory §10, gradcheck."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conversion.test_bridges import data, random_varma
from tests.conversion.test_innovations import holed
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import UnsupportedError

SEEDS = st.integers(0, 2**32 - 1)


def assert_smooths_alike(one, two, seqs, tolerance=1e-10):
    have, want = one.smooth(seqs), two.smooth(seqs)
    size = np.sqrt(np.abs(want.cov).max())
    np.testing.assert_allclose(have.mean, want.mean, rtol=tolerance, atol=tolerance * max(1.0, np.abs(want.mean).max()))
    np.testing.assert_allclose(have.cov, want.cov, rtol=tolerance, atol=tolerance * max(1.0, size**2))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.booleans(), st.booleans())
def test_exact_with_missing_entries_inputs_and_correlated_noise(seed, n, p, u, cross, gappy):
    sys = ref.random_system(np.random.default_rng(seed), n, p, u, cross=cross, radius=0.9)
    model, seqs = sw.StateSpace(**ref.words(sys)), data(seed, p, u)
    seqs = holed(seqs, seed) if gappy else seqs
    assert_smooths_alike(sw.convert(model, to="birnn"), model, seqs)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(1, 2), st.integers(0, 2), st.integers(0, 2))
def test_a_varma_is_smoothed_through_its_state_space_form(seed, k, p, q):
    model = random_varma(seed, k, p, q)
    assert_smooths_alike(
        sw.convert(model, to="birnn"), sw.convert(model, to="state-space"), holed(data(seed, k, 0), seed)
    )


@pytest.mark.parametrize("options", [{}, {"trend": True}, {"trend": True, "seasonal": 4}])
def test_a_diffuse_start_is_exact_too(options):
    rng = np.random.default_rng(0)
    y = 10 + rng.standard_normal(60).cumsum() + 3 * rng.standard_normal(60)
    y[[7, 8, 20]] = np.nan
    model = sw.Structural(**options).fit(y)
    assert_smooths_alike(sw.convert(model, to="birnn"), model, sw.Sequences.from_arrays([y]), 1e-8)


@pytest.mark.parametrize(("q", "ratio"), [(1.0, 0.447214), (0.1, 0.156174), (0.01, 0.049938)])
def test_the_local_level_far_from_the_ends(q, ratio):
    """Kernel K/(2 − K)(1 − K)^|j|, variance R K/(2 − K), and the merge (F + B − K y)/(2 − K) of two exponential smoothers."""
    K = (-q + np.sqrt(q * q + 4 * q)) / 2
    birnn = sw.convert(sw.StateSpace([[1.0]], [[1.0]], [[q]], [[1.0]], initial="diffuse"), to="birnn")
    length = 801
    impulse = np.zeros(length)
    impulse[400] = 1.0
    smoothed = birnn.smooth(impulse)
    lags = np.abs(np.arange(length) - 400)
    np.testing.assert_allclose(smoothed.mean[350:451, 0], (K / (2 - K) * (1 - K) ** lags)[350:451], atol=1e-10)
    np.testing.assert_allclose(smoothed.cov[400, 0, 0], K / (2 - K), rtol=1e-10)
    np.testing.assert_allclose(K / (2 - K), ratio, atol=5e-7)
    y = np.random.default_rng(0).standard_normal(length)
    F, B = np.zeros(length), np.zeros(length)
    for t in range(1, length):
        F[t] = (1 - K) * F[t - 1] + K * y[t]
        B[-1 - t] = (1 - K) * B[-t] + K * y[-1 - t]
    merged = (F + B - K * y) / (2 - K)
    np.testing.assert_allclose(birnn.smooth(y).mean[350:451, 0], merged[350:451], atol=1e-10 if q > 0.05 else 1e-8)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 2))
def test_the_smoothed_covariance_never_exceeds_the_filtered_one(seed, n, p):
    model = sw.StateSpace(**ref.words(ref.random_system(np.random.default_rng(seed), n, p)))
    seqs = holed(data(seed, p, 0), seed)
    gap = model.filter(seqs).cov - sw.convert(model, to="birnn").smooth(seqs).cov
    assert np.linalg.eigvalsh(gap).min() > -1e-10 * max(1.0, np.abs(gap).max())


def test_every_weight_is_trainable_and_gradients_pass_gradcheck():
    rng = np.random.default_rng(0)
    model = sw.StateSpace(**ref.words(ref.random_system(rng, 2, 1, 1, cross=True, radius=0.8)))
    module = sw.convert(model, to="birnn").module
    y = torch.tensor(rng.standard_normal((2, 4, 1)))
    y[0, 2] = torch.nan
    u = torch.tensor(rng.standard_normal((2, 4, 1)))
    names = [name for name, _ in module.named_parameters()]

    def means(*weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (y, u))

    weights = [w.detach().clone().requires_grad_() for w in module.parameters()]
    assert torch.autograd.gradcheck(means, weights, atol=1e-6)


def test_it_smooths_and_has_no_density(tmp_path):
    model = sw.StateSpace([[0.8]], [[1.0]], [[1.0]], [[1.0]])
    birnn, gap = sw.convert(model, to="birnn", verify=np.arange(9.0))
    assert gap < 1e-10
    assert not hasattr(birnn, "log_prob")
    birnn.save(tmp_path / "m")
    np.testing.assert_array_equal(
        sw.load(tmp_path / "m").smooth(np.arange(9.0)).mean, birnn.smooth(np.arange(9.0)).mean
    )
    assert birnn.memory().rate == pytest.approx(model.memory().rate)
    planted = birnn.clone()
    planted.module.transition.data += 0.1
    assert np.abs(planted.smooth(np.arange(9.0)).mean - model.smooth(np.arange(9.0)).mean).max() > 1e-3


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (sw.StateSpace([[0.9]], [[1.0]], [[1.0]], [[0.0]]), "observation_noise is singular"),
        (sw.StateSpace([[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0]], np.eye(2), [[1.0]], initial="diffuse"), "singular, so that the forward"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_says_why(model, message):
    with pytest.raises(UnsupportedError, match=message):
        sw.convert(model, to="birnn")
