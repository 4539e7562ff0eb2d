"""`Recurrent` with every output, with symbols, irregular times and the linear cell. Small networks and few epochs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import statewise as sw
from statewise._core.errors import InputError
from statewise.inference import recurrent as inference
from statewise.nn.network import RecurrentNetwork
from statewise.nn.outputs import OUTPUTS

WORDS = ["gaussian", "student-t", "mixture", "poisson", "negative-binomial", "bernoulli", "categorical"]
DISCRETE = WORDS[3:]


def series(output: str, dim: int = 2, lengths=(60, 31), seed: int = 0, missing: float = 0.1) -> sw.Sequences:
    rng = np.random.default_rng(seed)
    rows = sum(lengths)
    slow = np.repeat(rng.normal(size=(rows // 6 + 1, dim)), 6, axis=0)[:rows]
    y = {
        "poisson": lambda: rng.poisson(np.exp(1 + slow)),
        "negative-binomial": lambda: rng.negative_binomial(3, 1 / (1 + np.exp(slow))),
        "bernoulli": lambda: rng.random((rows, dim)) < 1 / (1 + np.exp(-2 * slow)),
        "categorical": lambda: (np.arange(rows)[:, None] + rng.integers(0, 2, size=(rows, dim))) % 4,
    }.get(output, lambda: 100 + 5 * slow + rng.normal(size=(rows, dim)))()
    y = y.astype(float)
    y[rng.random(y.shape) < missing] = np.nan
    return sw.Sequences(y, np.array(lengths))


def made(output: str, **options) -> sw.Recurrent:
    return sw.Recurrent(hidden=4, output=output, **options)


@pytest.mark.parametrize("output", WORDS)
def test_every_verb(output, tmp_path):
    """Finite numbers everywhere with missing data; a saved model is the same; appended data do not change the past; a batch is a loop."""
    seqs = series(output)
    model = made(output).fit(seqs, epochs=3)
    steps = model.log_prob(seqs, per_step=True)
    assert np.isfinite(steps).all()
    assert model.fit_result.log_prob == pytest.approx(steps.sum())
    predicted, forecast = model.predict(seqs), model.forecast(seqs, steps=3)
    assert (predicted.variance > 0).all()
    assert np.array_equal(np.isnan(predicted.residuals), np.isnan(seqs.values))
    assert forecast.mean.shape == (2, 3, 2)
    assert (forecast.lower[80] <= forecast.upper[80]).all()
    drawn = model.sample(20, 2, seed=0)
    assert not OUTPUTS[output](2, 4).judge(drawn.values)[0].any()
    np.testing.assert_allclose(model.log_prob(seqs.steps(0, 20), per_step=True)[:20], steps[:20], rtol=1e-9)
    np.testing.assert_allclose(model.log_prob(seqs), [float(model.log_prob(one)[0]) for one in seqs], rtol=1e-10)
    model.save(tmp_path / "model")
    again = sw.load(tmp_path / "model")
    assert np.array_equal(again.log_prob(seqs), model.log_prob(seqs))
    assert np.array_equal(again.forecast(seqs, steps=3).mean, forecast.mean)
    assert again.get_params() == model.get_params()
    assert 0 <= model.memory(seqs).rate < 2


@pytest.mark.parametrize("output", DISCRETE)
def test_probabilities_sum_to_one(output):
    """Oracle: enumeration of the next value after a fixed past, up to where the rest is below 1e-9."""
    seqs = series(output, dim=1, missing=0.0)
    model = made(output).fit(seqs, epochs=3)
    past = seqs[0].values[:20]
    most = {"poisson": 200, "negative-binomial": 600, "bernoulli": 2, "categorical": 4}[output]
    batch = sw.Sequences.from_arrays([np.vstack([past, [[value]]]) for value in range(most)])
    chances = np.exp(model.log_prob(batch, per_step=True)[batch.offsets[1:] - 1])
    assert chances.sum() == pytest.approx(1, abs=1e-9)
    mean = chances @ np.arange(most)
    longer = np.vstack([past, [[np.nan]]])
    assert model.predict(longer).mean[-1, 0] == pytest.approx(mean, rel=1e-6)
    forecast = model.forecast(past, steps=1)
    assert forecast.mean[0, 0, 0] == pytest.approx(mean, abs=5 * np.sqrt(forecast.variance[0, 0, 0] / 400))


@pytest.mark.parametrize(
    "options", [{"output": "student-t"}, {"output": "mixture", "components": 2}, {"covariance": "full"}]
)
def test_what_is_reported_is_what_torch_minimises(options):
    """Oracle: the module in float64 at the fitted parameters, on one sequence without padding; 1e-10."""
    seqs = series("gaussian", lengths=(40,))
    model = sw.Recurrent(hidden=4, **options).fit(seqs, epochs=2)
    family, params = model._output(2), model.parameters
    module = RecurrentNetwork("gru", 4, 4, 1, 4, 2, family.name, family.size).double()
    module.load(params)
    seen = inference.features(params, seqs, family)
    x, skip = torch.from_numpy(seen.cell[None]), torch.from_numpy(seen.skip[None])
    y = torch.from_numpy(inference.targets(params, seqs.values, family)[None])
    weight = torch.from_numpy((~np.isnan(seqs.values)).astype(float)[None])
    loss = float(module.nll(module(x, skip), y, weight).detach())
    jacobian = float((weight.numpy()[0] @ np.log(params["value_scale"])).sum())
    assert model.log_prob(seqs)[0] == pytest.approx(-loss - jacobian, rel=1e-10)


def test_a_full_covariance_finds_the_correlation():
    """Oracle: the entropy of N(0, [[1, .9], [.9, 1]]), whose correlation is worth −½ ln(1 − .81) = .83 nats a step."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=(1200, 2)) @ np.linalg.cholesky([[1, 0.9], [0.9, 1]]).T
    scores = {}
    for covariance in ("diag", "full"):
        model = sw.Recurrent(hidden=4, covariance=covariance).fit(y[:900], epochs=3)
        scores[covariance] = model.log_prob(y, per_step=True)[900:].mean()
    assert scores["full"] - scores["diag"] == pytest.approx(0.83, abs=0.08)


def test_a_count_that_follows_its_past_is_learned():
    """log-linear autoregression of counts. Oracle: the true law's own density on new steps; within .05 nats a step, marginal law .3 below."""
    rng = np.random.default_rng(2)
    y, last = np.empty(1600), 4.0
    for t in range(1600):
        y[t] = last = rng.poisson(np.exp(0.3 + 0.8 * np.log1p(last)))
    model = sw.Recurrent(hidden=8, output="poisson").fit(y[:1200], epochs=80, lr=0.02)
    rate = np.exp(0.3 + 0.8 * np.log1p(y[1199:-1]))
    from scipy import stats

    true = stats.poisson.logpmf(y[1200:], rate).mean()
    ours = model.log_prob(y, per_step=True)[1200:].mean()
    assert true - 0.05 < ours < true + 0.02
    assert ours > stats.poisson.logpmf(y[1200:], y[:1200].mean()).mean() + 0.3


def test_symbols_in_a_cycle_are_learned():
    """0 1 2 3 0 1 …: log probability near 0 once learned, ln 4 = 1.39 nats before."""
    y = np.arange(400.0) % 4
    model = sw.Recurrent(hidden=8, output="categorical").fit(y, epochs=60, lr=0.03)
    assert model.log_prob(y, per_step=True)[50:].mean() > -0.05
    assert model.forecast(y, steps=4).marginals.quantile(0.5).ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("output", "value"), [("poisson", 0.5), ("negative-binomial", -1.0), ("bernoulli", 2.0), ("categorical", 1.5)]
)
def test_values_that_the_output_cannot_have_are_refused(output, value):
    y = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    with pytest.raises(InputError, match=rf"'y' has the value {value:g} in row 2; output '{output}' is for"):
        made(output).fit(np.where(np.arange(6) == 2, value, y))
    model = made(output).fit(y, epochs=1)
    with pytest.raises(InputError, match=output):
        model.log_prob([0.0, value])


def test_a_new_symbol_is_refused_later():
    model = made("categorical").fit(np.arange(20.0) % 3, epochs=1)
    with pytest.raises(InputError, match="up to 2"):
        model.log_prob([0.0, 3.0])


def test_a_covariance_belongs_to_a_normal_output():
    with pytest.raises(InputError, match="`covariance` is 'full'"):
        sw.Recurrent(output="poisson", covariance="full")


def test_a_set_params_round_trip_and_names():
    model = sw.Recurrent("lstm", hidden=8, output="student-t", time_aware=True)
    assert model.name == "LSTM(hidden=8, output='student-t', time_aware=True)"
    assert model.clone().get_params() == model.get_params()
    assert model.set_params(hidden=5).get_params()["hidden"] == 5


# --- irregular times, the linear cell ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["linear", "diagonal", "rnn", "gru", "lstm"])
@pytest.mark.parametrize("time_aware", [False, True])
def test_a_step_by_step_layer_is_the_cell(cell, time_aware):
    """Oracle: `cells`, which is tested on its own, with the state multiplied by exp(−gap / τ) before each step."""
    from statewise.cells import CELLS, layer_parameters
    from statewise.nn.stepwise import Stepwise

    layer = Stepwise(cell, 3, 4, 2, time_aware).double()
    rng = np.random.default_rng(3)
    x, gaps = rng.normal(size=(2, 7, 3)), rng.exponential(size=(2, 7))
    found, _ = layer(torch.from_numpy(x), None, torch.from_numpy(gaps))
    params = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    h = x
    for k in range(2):
        own, state, outputs = layer_parameters(params, k), 0.0, []
        state = np.zeros((2, CELLS[cell].state_size(own)))
        for t in range(7):
            if time_aware:
                fade = np.exp(-gaps[:, t, None] / np.exp(params[f"log_time_constant_l{k}"]))
                state = state * np.concatenate([fade] * CELLS[cell].carried, axis=1)
            state = CELLS[cell].step(own, h[:, t], state)
            outputs.append(CELLS[cell].hidden(state))
        h = np.stack(outputs, axis=1)
    np.testing.assert_allclose(found.detach().numpy(), h, atol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_layer_that_is_trained_decays_alike(cell):
    """Oracle: the step-by-step layer with the same weights, values and gradients; 1e-12 in float64."""
    from statewise.nn.network import layer
    from statewise.nn.stepwise import Stepwise

    ours, twin = layer(cell, 3, 4, 2, time_aware=True).double(), Stepwise(cell, 3, 4, 2, time_aware=True).double()
    twin.load_state_dict(ours.state_dict())
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(5, 9, 3, dtype=torch.float64, generator=draw)
    gaps = torch.rand(5, 9, dtype=torch.float64, generator=draw) * 3
    found, want = (each(x, None, elapsed=gaps)[0] for each in (ours, twin))
    torch.testing.assert_close(found, want, atol=1e-12, rtol=0)
    found.square().sum().backward()
    want.square().sum().backward()
    for (name, one), two in zip(ours.named_parameters(), twin.parameters(), strict=True):
        other = dict(twin.named_parameters())[name]
        torch.testing.assert_close(one.grad, other.grad, atol=1e-11, rtol=1e-11)
        assert two.grad is not None


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_step_by_step_layer_without_decay_is_torchs(cell):
    """Oracle: torch.nn with the same weights, and its last state."""
    from statewise.nn.stepwise import Stepwise

    ours = Stepwise(cell, 3, 4, 2).double()
    theirs = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell](3, 4, 2, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (a, end), (b, other) = ours(x), theirs(x)
    torch.testing.assert_close(a, b, atol=1e-13, rtol=0)
    for one, two in zip(*((e if cell == "lstm" else (e,)) for e in (end, other)), strict=True):
        torch.testing.assert_close(one, two, atol=1e-13, rtol=0)
    (head, state), whole = ours(x[:, :4]), a
    torch.testing.assert_close(torch.cat([head, ours(x[:, 4:], state)[0]], dim=1), whole, atol=1e-13, rtol=0)


def irregular(count: int = 600, seed: int = 4) -> sw.Sequences:
    """An Ornstein–Uhlenbeck process with relaxation time 2 seen at exponential times of mean 2."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(2.0, size=count)
    y = np.empty(count)
    y[0] = rng.normal()
    for t in range(1, count):
        keep = np.exp(-gaps[t] / 2.0)
        y[t] = keep * y[t - 1] + np.sqrt(1 - keep**2) * rng.normal()
    return sw.Sequences.from_arrays([y], times=[np.cumsum(gaps)])


def test_irregular_times_are_used():
    """Oracle: the process's own density; knowing the gaps is worth a good part of what separates it from a regular autoregression."""
    seqs, fresh = irregular(), irregular(2000, seed=5)
    gaps, y = np.diff(fresh.times), fresh.values[:, 0]
    keep = np.exp(-gaps / 2.0)
    true = (-0.5 * np.log(2 * np.pi * (1 - keep**2)) - 0.5 * (y[1:] - keep * y[:-1]) ** 2 / (1 - keep**2)).mean()
    ours = {}
    for aware in (False, True):
        model = sw.Recurrent(hidden=16, time_aware=aware).fit(seqs, epochs=80, lr=0.02)
        ours[aware] = model.log_prob(fresh, per_step=True)[1:].mean()
    assert ours[True] <= true + 0.01
    assert ours[True] > ours[False] + 0.25 * (true - ours[False])


@pytest.mark.parametrize("kind", ["numbers", "dates", "none"])
def test_the_unit_of_time_does_not_matter(kind):
    """Days as numbers and as dates are one model, and no times are gaps of one. Forecasts and samples work."""
    y = np.random.default_rng(6).normal(size=30).cumsum()
    days = np.arange(30)
    times = {"numbers": days, "dates": np.datetime64("2020-01-01") + days, "none": None}[kind]
    seqs = sw.Sequences.from_arrays([y], times=None if times is None else [times], season=1)
    plain = sw.Sequences.from_arrays([y], season=1)
    model = sw.Recurrent(hidden=3, time_aware=True).fit(seqs, epochs=2)
    twin = sw.Recurrent(hidden=3, time_aware=True).fit(plain, epochs=2)
    assert np.array_equal(model.log_prob(seqs), twin.log_prob(plain))
    np.testing.assert_allclose(model.forecast(seqs, steps=3).mean, twin.forecast(plain, steps=3).mean, rtol=1e-12)
    assert model.sample(5, seed=0).rows == 5


@pytest.mark.parametrize("cell", ["linear", "diagonal"])
def test_the_linear_and_the_diagonal_cell_are_fitted(cell, tmp_path):
    """The validation score of float32 training is the log density that float64 NumPy gives, over a validation window from the first step."""
    y = series("gaussian", lengths=(50,), missing=0.0)
    model = sw.Recurrent(cell, hidden=4, layers=2).fit(y, epochs=6, lr=0.02)
    assert model.name == f"{cell.upper()}(hidden=4, layers=2)"
    steps = model.log_prob(y, per_step=True)
    assert model.fit_result.details["best_score"] == pytest.approx(steps[42:].mean(), abs=1e-4)
    model.save(tmp_path / "model")
    assert np.array_equal(sw.load(tmp_path / "model").log_prob(y), model.log_prob(y))


# --- streams --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["gaussian", "mixture", "categorical"])
@pytest.mark.parametrize("cell", ["gru", "lstm", "diagonal"])
def test_a_stream_is_the_whole_sequence(cell, output):
    """Oracle: `log_prob` a step at a time and `forecast`, with missing entries, inputs, a season's lags, and a break half-way."""
    seqs = series(output, lengths=(50,)).replace(inputs=np.random.default_rng(7).normal(size=(50, 1)), season=4)
    model = sw.Recurrent(cell, hidden=3, layers=2, output=output).fit(seqs, epochs=2)
    stream, densities = model.stream(), []
    for t, (y, u) in enumerate(zip(seqs.values, seqs.inputs, strict=True)):
        densities.append(stream.update(y, u))
        if t == 20:
            stream = model.stream(stream.to_bytes())
    np.testing.assert_allclose(densities, model.log_prob(seqs, per_step=True), rtol=1e-9, atol=1e-12)
    assert (stream.step, stream.log_prob) == (50, pytest.approx(model.log_prob(seqs)[0], rel=1e-10))
    future = np.ones((3, 1))
    want = model.forecast(seqs, steps=3, inputs=future)
    np.testing.assert_allclose(stream.forecast(3, inputs=future).mean, want.mean, rtol=1e-9)


def test_a_stream_of_irregular_times():
    seqs = irregular(60)
    model = sw.Recurrent(hidden=3, time_aware=True).fit(seqs, epochs=2)
    stream = model.stream()
    gaps = np.diff(seqs.times, prepend=seqs.times[0])
    found = [stream.update(y, elapsed=gap) for y, gap in zip(seqs.values[:, 0], gaps, strict=True)]
    np.testing.assert_allclose(found, model.log_prob(seqs, per_step=True), rtol=1e-9)
    with pytest.raises(InputError, match="`elapsed`"):
        stream.update(0.0, elapsed=-1.0)
    with pytest.raises(InputError, match="another model"):
        sw.Recurrent(hidden=4).fit(seqs, epochs=1).stream(stream.to_bytes())
