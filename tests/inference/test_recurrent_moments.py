"""Forecasts of networks by moments. Oracles: the closed form of a linear autoregression; many paths."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise.inference import recurrent as inference
from statewise.inference import recurrent_moments as moments
from statewise.inference import recurrent_paths as paths_of


def series(dim, steps=60, seed=0):
    rng = np.random.default_rng(seed)
    y = np.zeros((steps, dim))
    for t in range(1, steps):
        y[t] = 0.7 * y[t - 1] + rng.standard_normal(dim)
    return 5 + 2 * y


def autoregression(params, tail, noise, steps):
    """Means and variances (steps, p) of standardised values: companion form, written out."""
    lags, dim = [int(lag) for lag in params["lags"]], len(params["value_mean"])
    size = max(lags) * dim
    A, b = np.zeros((size, size)), np.zeros(size)
    A[:-dim, dim:] = np.eye(size - dim)
    for k, lag in enumerate(lags):  # the skip has for each lag the values and whether they were observed
        part = params["skip_weight"][:, 2 * k * dim : 2 * (k + 1) * dim]
        A[-dim:, size - lag * dim : size - (lag - 1) * dim] = part[:, :dim]
        b[-dim:] += part[:, dim:].sum(axis=1)
    b[-dim:] += params["mean_bias"]
    m, P, Q = tail.reshape(-1), np.zeros((size, size)), np.zeros((size, size))
    Q[-dim:, -dim:] = noise
    found = []
    for _ in range(steps):
        m, P = A @ m + b, A @ P @ A.T + Q
        found.append((m[-dim:], np.diagonal(P)[-dim:]))
    return (np.array(part) for part in zip(*found, strict=True))


@pytest.mark.parametrize("cell", ["gru", "lstm", "linear"])
@pytest.mark.parametrize(("dim", "season", "covariance"), [(1, None, "diag"), (1, 4, "diag"), (2, None, "full")])
def test_a_network_that_keeps_to_its_skip_is_a_linear_autoregression(cell, dim, season, covariance):
    """Closed form: exact, to rounding, though the states move along and the last value enters them by a tanh."""
    seqs = sw.Sequences.from_arrays([series(dim)], season=season)
    model = sw.Recurrent(cell=cell, hidden=4, covariance=covariance).fit(seqs, epochs=2)
    params, output = dict(model.parameters), model._output(dim)
    for name in ("mean_weight", "log_sd_weight", "shape_weight"):
        if name in params:
            params[name] = np.zeros_like(params[name])
    past = inference.read(cell, params, seqs, output)
    found = moments.forecast_moments(cell, params, past, paths_of.Ends.of(seqs), 9, None, output)
    law = inference.laws(cell, params, seqs, output, past)
    tail = past.seen.values[-int(params["lags"].max()) :]
    mean, variance = autoregression(params, tail, output.covariance(law)[-1], 9)
    scale = params["value_scale"]
    np.testing.assert_allclose(found[0][0], params["value_mean"] + scale * mean, rtol=1e-12)
    np.testing.assert_allclose(found[1][0], scale**2 * variance, rtol=1e-10)


@pytest.mark.parametrize("output", ["gaussian", "student-t", "mixture"])
def test_moments_are_those_of_many_paths(output):
    """Monte Carlo: 20 000 paths of a network whose state matters, within four standard errors and the cubature's own error of some per cent."""
    seqs = sw.Sequences.from_arrays([series(1)])
    model = sw.Recurrent(hidden=4, output=output).fit(seqs, epochs=1)
    params, law = dict(model.parameters), model._output(1)
    rng = np.random.default_rng(0)
    params["mean_weight"] = 0.3 * rng.standard_normal(params["mean_weight"].shape)
    params["log_sd_weight"] = 0.2 * rng.standard_normal(params["log_sd_weight"].shape)
    past, ends = inference.read("gru", params, seqs, law), paths_of.Ends.of(seqs)
    mean, variance = (part[0, :, 0] for part in moments.forecast_moments("gru", params, past, ends, 5, None, law))
    paths = paths_of.paths_after("gru", params, past, ends, 5, None, 20_000, rng, law)[:, 0, :, 0]
    sd = paths.std(axis=0)
    assert (np.abs(mean - paths.mean(axis=0)) < 4 * sd / np.sqrt(20_000) + 0.02 * sd).all()
    np.testing.assert_allclose(variance, paths.var(axis=0), rtol=0.08)
    assert (np.diff(variance) > -0.1 * variance[:-1]).all()


def test_missing_ends_and_future_inputs():
    """A hole in the last values is filled as when paths are drawn: the first step's law is the network's own."""
    rng = np.random.default_rng(1)
    y, u = series(2), rng.standard_normal((60, 1))
    y[-1, 0] = np.nan
    seqs = sw.Sequences.from_arrays([y, y[:30]], inputs=[u, u[:30]])
    model = sw.Recurrent("lstm", hidden=3, layers=2).fit(seqs, epochs=2)
    future = rng.standard_normal((2, 6, 1))
    forecast = model.forecast(seqs, steps=6, inputs=future, method="moments")
    longer = [np.vstack([a, np.full((1, 2), np.nan)]) for a in (y, y[:30])]
    inputs = [np.vstack([a, b[:1]]) for a, b in zip((u, u[:30]), future, strict=True)]
    predicted = model.predict(sw.Sequences.from_arrays(longer, inputs=inputs))
    np.testing.assert_allclose(forecast.mean[:, 0], predicted.mean[[60, 91]], rtol=1e-10)
    np.testing.assert_allclose(forecast.variance[:, 0], predicted.variance[[60, 91]], rtol=1e-10)
    alone = model.forecast(seqs[1], steps=6, inputs=future[1:], method="moments")
    np.testing.assert_allclose(alone.mean[0], forecast.mean[1], rtol=1e-12)
    assert (forecast.lower[95] < forecast.lower[80]).all()


def test_what_has_no_moments_says_so():
    counts = sw.Sequences.from_arrays([np.arange(40) % 5.0])
    model = sw.Recurrent(hidden=3, output="poisson").fit(counts, epochs=1)
    with pytest.raises(sw.InputError, match="sampling"):
        model.forecast(counts, method="moments")
    with pytest.raises(sw.InputError, match="method"):
        model.forecast(counts, method="guess")
