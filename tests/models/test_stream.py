"""A stream against the same model on the whole sequence: the same recursion, so to rounding error."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw

ONE = [[1.0]]


def models():
    rng = np.random.default_rng(0)
    known = sw.StateSpace.random(3, 2, seed=0)
    diffuse = sw.StateSpace(np.eye(2) + np.diag([0.5], 1), [[1.0, 0.0]], np.eye(2), ONE, initial="diffuse")
    moved = sw.StateSpace(
        [[0.5]], ONE, ONE, ONE, input_to_state=[[1.0, 2.0]], input_to_observation=[[0.5, 0.1]], state_intercept=[0.3]
    )
    return [(known, rng.standard_normal((40, 2)), None), (diffuse, rng.standard_normal((40, 1)), None),
            (moved, rng.standard_normal((40, 1)), rng.standard_normal((40, 2)))]  # fmt: skip


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("stop", [None, 1, 17])
def test_a_stream_gives_the_numbers_of_the_whole_sequence(which, stop):
    model, y, u = models()[which]
    y[[3, 20, 21], 0] = np.nan
    seqs = sw.Sequences.from_arrays([y], inputs=None if u is None else [u])
    stream, densities = model.stream(), []
    for t, row in enumerate(y):
        if t == stop:
            stream = model.stream(state=stream.to_bytes())
        densities.append(stream.update(row, inputs=None if u is None else u[t]))
    np.testing.assert_allclose(densities, model.log_prob(seqs, per_step=True), rtol=0, atol=1e-11)
    assert stream.step == 40
    assert stream.log_prob == pytest.approx(model.log_prob(seqs)[0], rel=1e-12)
    assert len(stream.to_bytes()) < 2000
    if u is None:
        got, want = stream.forecast(5), model.forecast(seqs, steps=5)
        np.testing.assert_allclose(got.mean, want.mean, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(got.variance, want.variance, rtol=1e-10)


def test_bad_input_is_refused_with_the_fix():
    model = sw.StateSpace(ONE, ONE, ONE, ONE, initial="diffuse")
    stream = model.stream()
    with pytest.raises(sw.InputError, match="diffuse start"):
        stream.forecast(1)
    with pytest.raises(sw.InputError, match=r"`y` has shape \(2,\)"):
        stream.update([1.0, 2.0])
    with pytest.raises(sw.InputError, match="no inputs"):
        stream.update(1.0, inputs=[1.0])
    with pytest.raises(sw.InputError, match="to_bytes"):
        model.stream(state=b"nonsense")
    with pytest.raises(sw.InputError, match="another model"):
        model.stream(state=sw.StateSpace.random(2, 1, seed=0).stream().to_bytes())
    assert stream.step == 0


def test_a_stream_takes_an_observation_that_has_lost_digits_and_not_one_without_variance():
    parts = ([[0.9, 0.1], [0.0, 0.8]], [[1.0, 1.0], [1.0, 1.0 + 1e-6]], 1e-2 * np.eye(2))
    known = {"initial_mean": np.zeros(2), "initial_cov": np.eye(2), "form": "covariance"}
    model = sw.StateSpace(*parts, 1e-12 * np.eye(2), **known)
    y = model.sample(5, seed=1)
    stream = model.stream()
    densities = [stream.update(row) for row in y.values]
    np.testing.assert_allclose(densities, model.log_prob(y, per_step=True), rtol=1e-12)
    twice = sw.StateSpace(parts[0], [[1.0, 1.0], [1.0, 1.0]], parts[2], np.zeros((2, 2)), **known)
    with pytest.raises(sw.NumericalError, match="not positive definite"):
        twice.stream().update([1.0, 1.0])
