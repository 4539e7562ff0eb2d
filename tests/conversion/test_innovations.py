"""Innovations form, VARMA and linear RNN back: equal to 1e-10 on random models, closed forms, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conversion.test_bridges import assert_same, data, given_varma, random_varma
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import UnsupportedError

SEEDS = st.integers(0, 2**32 - 1)


def stationary(seed: int, n: int, p: int, u: int = 0, radius: float = 0.9) -> sw.StateSpace:
    """A random stationary system whose inputs enter the observation."""
    sys = ref.random_system(np.random.default_rng(seed), n, p, u, cross=True, radius=radius)
    words = ref.words(sys)
    for name in ("initial_mean", "initial_cov", "input_to_state"):
        words.pop(name, None)
    return sw.StateSpace(**words, initial="stationary")


def holed(seqs: sw.Sequences, seed: int) -> sw.Sequences:
    gone = np.random.default_rng(seed).random(seqs.values.shape) < 0.3
    return seqs.replace(values=np.where(gone, np.nan, seqs.values))


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.integers(0, 1))
def test_innovations_form_is_exact_with_missing_entries_too(seed, n, p, u):
    model = stationary(seed, n, p, u)
    assert_same(sw.convert(model, to="innovations"), model, holed(data(seed, p, u), seed), u)


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.integers(0, 1))
def test_state_space_to_varma_is_exact_with_missing_entries_too(seed, n, p, u):
    model = stationary(seed, n, p, u)
    varma = sw.convert(model, to="varma")
    assert varma.kind == "varma"
    assert_same(varma, model, holed(data(seed, p, u), seed), u)


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 3), st.integers(0, 2), st.integers(0, 2), st.integers(0, 1))
def test_the_round_trip_varma_rnn_state_space_varma(seed, k, p, q, u):
    model = random_varma(seed, k, p, q, u)
    rnn = sw.convert(model, to="rnn")
    assert_same(sw.convert(rnn, to="state-space"), model, holed(data(seed, k, u), seed), u)
    steady = sw.convert(model, to="rnn", gain="steady")
    assert_same(sw.convert(steady, to="state-space"), steady, data(seed, k, u), u)


def test_verify_returns_what_was_found_and_a_planted_error_shows():
    model, seqs = random_varma(3, 2, 1, 1, 1), data(3, 2, 1)
    converted, gap = sw.convert(model, to="rnn", verify=seqs)
    assert converted.kind == "linear-rnn"
    assert gap < 1e-10
    _, gap = sw.convert(model, to="state-space", verify=holed(seqs, 0))
    assert gap < 1e-10
    _, gap = sw.convert(model, to="rnn", verify=seqs, gain="steady")
    assert gap > 1e-4


def test_arma_11_comes_back():
    model = given_varma([[[0.9]]], [[[-0.4]]], [2.0], [[1.5]])
    back = sw.convert(sw.convert(model, to="state-space"), to="varma")
    np.testing.assert_allclose([back.ar.item(), back.ma.item(), back.mean.item()], [0.9, -0.4, 2.0], rtol=1e-12)
    np.testing.assert_allclose(back.innovation_cov, [[1.5]], rtol=1e-12)


def test_an_autoregression_with_noise_is_an_arma():
    """y = x + v, x an AR(1) with φ = .8, Q = R = 1: ARMA(1, 1) with (1 + θ²)/θ = −(Q + (1 + φ²) R)/(φ R), Σ = −φ R/θ."""
    varma = sw.convert(sw.StateSpace([[0.8]], [[1.0]], [[1.0]], [[1.0]]), to="varma")
    ratio = (1 + 1 + 0.64) / 0.8
    theta = -(ratio - np.sqrt(ratio**2 - 4)) / 2
    np.testing.assert_allclose([varma.ar.item(), varma.ma.item()], [0.8, theta], rtol=1e-10)
    np.testing.assert_allclose(varma.innovation_cov.item(), -0.8 / theta, rtol=1e-10)


def test_diffuse_models_have_an_innovations_form():
    y = 10 + np.random.default_rng(0).standard_normal(40).cumsum()
    model = sw.Structural(trend=True).fit(y)
    assert_same(sw.convert(model, to="innovations"), model, sw.Sequences.from_arrays([y, y[:20]]), 0)


@pytest.mark.parametrize(
    ("model", "to", "message"),
    [
        (sw.StateSpace([[1.0]], [[1.0]], [[1.0]], [[1.0]]), "varma", "root on or outside the unit circle"),
        (sw.StateSpace([[0.5]], [[1.0]], [[1.0]], [[1.0]], initial_mean=[0.0], initial_cov=[[9.0]]), "varma", "elsewhere"),
        (sw.StateSpace([[0.5]], [[1.0]], [[1.0]], [[1.0]], initial_mean=[0.0], initial_cov=[[0.0]]), "innovations", "more certain"),
        (sw.StateSpace([[0.5]], [[1.0]], [[1.0]], [[1.0]], input_to_state=[[1.0]]), "varma", "input_to_state"),
        (sw.StateSpace([[1.0]], [[1.0]], [[0.0]], [[1.0]]), "innovations", "does not settle"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_says_why(model, to, message):
    with pytest.raises(UnsupportedError, match=message):
        sw.convert(model, to=to)


def test_gains_of_no_filter_are_refused():
    rnn = sw.convert(random_varma(3, 2, 1, 1), to="rnn")
    rnn.module.gain.data[0] += 0.1
    with pytest.raises(UnsupportedError, match="gains are those of no state-space model"):
        sw.convert(rnn, to="state-space")
