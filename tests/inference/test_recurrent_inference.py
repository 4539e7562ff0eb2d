"""`inference/recurrent.py` against the plain twin, torch in float64, quadrature, Monte Carlo, and invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from tests.reference.cells import network_log_prob, random_network

from statewise._core.errors import NumericalError
from statewise.inference import recurrent as inference
from statewise.inference import recurrent_paths as paths_of
from statewise.nn.network import RecurrentNetwork, gaussian_nll
from statewise.sequences.sequences import Sequences

CELLS = ["rnn", "gru", "lstm"]


def ragged(dim: int, inputs: int, seed: int = 0, missing: float = 0.2, lengths=(7, 1, 12, 12, 3)) -> Sequences:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(sum(lengths), dim)) * 2 + 1
    values[rng.random(values.shape) < missing] = np.nan
    return Sequences(values, np.array(lengths), inputs=rng.normal(size=(sum(lengths), inputs)) if inputs else None)


def inputs_of(seqs: Sequences) -> list[np.ndarray]:
    table = np.zeros((seqs.rows, 0)) if seqs.inputs is None else seqs.inputs
    return np.split(table, seqs.offsets[1:-1])


@pytest.mark.parametrize(
    ("layers", "lags", "dim", "inputs"), [(1, (1,), 1, 0), (2, (1,), 2, 1), (1, (1, 4, 5), 2, 0), (1, (1,), 1, 2)]
)
@pytest.mark.parametrize("cell", CELLS)
def test_log_prob_is_the_plain_twins(cell, layers, lags, dim, inputs):
    """Oracle: one sequence at a time, one number at a time, missing entries and all. 1e-11: sums of some dozen terms."""
    params = random_network(cell, dim, inputs, 4, np.random.default_rng(1), layers, lags)
    seqs = ragged(dim, inputs)
    want = [network_log_prob(cell, params, y, u) for y, u in zip(seqs.arrays(), inputs_of(seqs), strict=True)]
    np.testing.assert_allclose(
        inference.log_prob_steps(cell, params, seqs), np.concatenate(want), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("cell", CELLS)
def test_log_prob_is_what_torch_minimises(cell):
    """Oracle: the module that is trained, in float64, on a padded batch. It sees the same features."""
    params = random_network(cell, 2, 1, 4, np.random.default_rng(2), 2)
    seqs = ragged(2, 1, seed=3)
    module = RecurrentNetwork(cell, 5, 4, 2, 5, 2).double()
    module.load(params)
    seen = inference.features(params, seqs)
    total = 0.0
    for start, end in zip(seqs.offsets[:-1], seqs.offsets[1:], strict=True):
        x, skip, y = (torch.from_numpy(a[None, start:end]) for a in (seen.cell, seen.skip, seen.values))
        total -= float(gaussian_nll(module(x, skip), torch.nan_to_num(y), (~torch.isnan(y)).double()).detach())
    jacobian = (~np.isnan(seqs.values)).sum(axis=0) @ np.log(params["value_scale"])
    assert inference.log_prob_steps(cell, params, seqs).sum() == pytest.approx(total - jacobian, rel=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_log_prob_is_the_normal_density_of_the_moments(cell):
    params = random_network(cell, 2, 0, 4, np.random.default_rng(3))
    seqs = ragged(2, 0, seed=4)
    mean, variance = inference.moments(cell, params, seqs)
    density = -0.5 * (np.log(2 * np.pi * variance) + (seqs.values - mean) ** 2 / variance)
    np.testing.assert_allclose(
        inference.log_prob_steps(cell, params, seqs), np.nansum(density, axis=1), rtol=1e-12, atol=1e-12
    )


def test_a_step_integrates_to_one():
    """Oracle: trapezoids over ±14 standard deviations, for a first, a middle and a last step."""
    params = random_network("gru", 1, 0, 4, np.random.default_rng(5))
    y = np.array([0.3, -1.0, 2.0, 0.7])
    for t in (0, 2, 3):
        mean, variance = inference.moments("gru", params, Sequences(y, np.array([4])))
        grid = mean[t, 0] + np.sqrt(variance[t, 0]) * np.linspace(-14, 14, 801)
        table = np.repeat(y[None], len(grid), axis=0)
        table[:, t] = grid
        seqs = Sequences(table.reshape(-1), np.full(len(grid), 4))
        density = np.exp(inference.log_prob_steps("gru", params, seqs).reshape(-1, 4)[:, t])
        assert trapezoid(density, grid) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_appended_data_do_not_change_the_past(cell):
    params = random_network(cell, 2, 1, 8, np.random.default_rng(6), 2, (1, 3))
    seqs = ragged(2, 1, seed=7, lengths=(60,))
    whole = inference.log_prob_steps(cell, params, seqs)
    for stop in (1, 2, 17, 59):
        np.testing.assert_allclose(
            inference.log_prob_steps(cell, params, seqs.steps(0, stop)), whole[:stop], atol=1e-10
        )


@pytest.mark.parametrize("cell", CELLS)
def test_a_batch_is_a_loop(cell):
    params = random_network(cell, 1, 0, 8, np.random.default_rng(8))
    seqs = ragged(1, 0, seed=9, lengths=(5, 30, 1, 30, 12, 2))
    alone = np.concatenate([inference.log_prob_steps(cell, params, one) for one in seqs])
    np.testing.assert_allclose(inference.log_prob_steps(cell, params, seqs), alone, atol=1e-11)


def test_the_scaling_is_a_change_of_variables():
    """y → a y + b with the scaling moved along changes each observed entry's density by −ln a."""
    params = random_network("gru", 2, 0, 4, np.random.default_rng(10))
    seqs = ragged(2, 0, seed=11)
    a, b = np.array([1e-3, 50.0]), np.array([1e3, -7.0])
    moved = params | {"value_mean": a * params["value_mean"] + b, "value_scale": a * params["value_scale"]}
    shifted = inference.log_prob_steps("gru", moved, seqs.replace(values=a * seqs.values + b))
    want = inference.log_prob_steps("gru", params, seqs) - (~np.isnan(seqs.values)) @ np.log(a)
    np.testing.assert_allclose(shifted, want, atol=1e-8)


def test_nothing_observed_scores_zero():
    params = random_network("gru", 1, 0, 4, np.random.default_rng(12))
    np.testing.assert_array_equal(
        inference.log_prob_steps("gru", params, Sequences(np.full(5, np.nan), np.array([5]))), 0.0
    )


def test_features_look_back_and_never_across_sequences():
    params = random_network("rnn", 1, 1, 2, np.random.default_rng(13), lags=(1, 2)) | {
        "value_mean": np.zeros(1),
        "value_scale": np.ones(1),
        "input_mean": np.zeros(1),
        "input_scale": np.ones(1),
    }
    seqs = Sequences(np.array([1.0, np.nan, 3.0, 10.0, 20.0]), np.array([3, 2]), inputs=np.arange(5.0))
    seen = inference.features(params, seqs)
    squash = 3 * np.tanh(np.array([1.0, 10.0]) / 3)
    np.testing.assert_allclose(seen.cell[:, 0], [0, squash[0], 0, 0, squash[1]])
    np.testing.assert_array_equal(seen.cell[:, 1], [0, 1, 0, 0, 1])
    np.testing.assert_array_equal(
        seen.skip, [[0, 0, 0, 0, 0], [1, 1, 0, 0, 1], [0, 0, 1, 1, 2], [0, 0, 0, 0, 3], [10, 1, 0, 0, 4]]
    )


# --- simulation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_a_path_continues_the_sequence(cell):
    """Oracle: with no noise each simulated value is the predicted mean of the sequence lengthened by it."""
    params = random_network(cell, 2, 1, 4, np.random.default_rng(14), 2, (1, 3))
    params["log_sd_bias"] = np.full(2, -40.0)
    params["log_sd_weight"] = np.full_like(params["log_sd_weight"], 0.0)
    seqs = ragged(2, 1, seed=15)
    future = np.random.default_rng(16).normal(size=(5, 4, 1))

    class Silent(np.random.Generator):
        def standard_normal(self, size):
            return np.zeros(size)

    paths = paths_of.forecast_paths(cell, params, seqs, 4, future, 2, Silent(np.random.PCG64()))
    assert paths.shape == (2, 5, 4, 2)
    for i, one in enumerate(seqs):
        values, given = np.array(one.values), np.array(one.inputs)
        for t in range(4):
            values, given = np.vstack([values, [[0.0, 0.0]]]), np.vstack([given, future[i, t]])
            values[-1] = inference.moments(cell, params, Sequences(values, np.array([len(values)]), inputs=given))[0][
                -1
            ]
        np.testing.assert_allclose(paths[0, i], values[-4:], atol=1e-10)
        np.testing.assert_array_equal(paths[1, i], paths[0, i])


def test_the_first_step_ahead_has_the_predicted_law():
    """Oracle: the moments at an appended missing step; 4 standard errors of 20 000 paths."""
    params = random_network("gru", 1, 0, 4, np.random.default_rng(17))
    seqs = ragged(1, 0, seed=18)
    paths = paths_of.forecast_paths("gru", params, seqs, 1, None, 20_000, np.random.default_rng(0))[:, :, 0, 0]
    for i, one in enumerate(seqs):
        longer = Sequences(np.append(one.values, np.nan), one.lengths + 1)
        mean, variance = (table[-1, 0] for table in inference.moments("gru", params, longer))
        assert paths[:, i].mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / 20_000))
        assert paths[:, i].var() == pytest.approx(variance, rel=4 * np.sqrt(2 / 20_000))


def test_a_sequences_paths_do_not_depend_on_the_others(monkeypatch):
    """Also when the sequences are simulated in several blocks."""
    params = random_network("lstm", 2, 0, 4, np.random.default_rng(19))
    seqs = ragged(2, 0, seed=20)
    together = paths_of.forecast_paths("lstm", params, seqs, 6, None, 50, np.random.default_rng(1))
    monkeypatch.setattr(paths_of, "_MOST_PATHS", 100)
    blocks = paths_of.forecast_paths("lstm", params, seqs, 6, None, 50, np.random.default_rng(1))
    np.testing.assert_allclose(blocks, together, atol=1e-10)
    for i, one in enumerate(seqs):
        alone = paths_of.forecast_paths("lstm", params, one, 6, None, 50, np.random.default_rng(1))
        np.testing.assert_allclose(alone[:, 0], together[:, i], atol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_samples_have_the_density(cell):
    """Oracle: E[z²] = 1 and E[z] = 0 for the residuals of the model's own samples; 4 standard errors of 200 × 20 draws."""
    params = random_network(cell, 1, 0, 4, np.random.default_rng(21), lags=(1, 4, 5))
    y = paths_of.sample_paths(cell, params, 20, 200, None, np.random.default_rng(2))
    seqs = Sequences(y.reshape(-1, 1), np.full(200, 20))
    mean, variance = inference.moments(cell, params, seqs)
    z = (seqs.values - mean) / np.sqrt(variance)
    assert z.mean() == pytest.approx(0, abs=4 / np.sqrt(z.size))
    assert (z**2).mean() == pytest.approx(1, abs=4 * np.sqrt(2 / z.size))


def test_an_explosion_is_an_error_that_says_so():
    params = random_network("gru", 1, 0, 4, np.random.default_rng(22))
    params["skip_weight"] = np.array([[1e10, 0.0]])
    with pytest.raises(NumericalError, match="explosive"):
        paths_of.sample_paths("gru", params, 100, 2, None, np.random.default_rng(3))


# --- memory -----------------------------------------------------------------------------------------------------------


def one_layer(cell: str, weight: np.ndarray, bias: np.ndarray | None = None) -> dict:
    """A network on one column whose hidden weight is given and whose cell sees nothing but its bias."""
    params = random_network(cell, 1, 0, len(weight), np.random.default_rng(23))
    gates = params["weight_hh_l0"].shape[0] // len(weight)
    zeros = np.zeros(gates * len(weight))
    return params | {
        "weight_ih_l0": np.zeros((len(zeros), 2)),
        "weight_hh_l0": np.tile(weight, (gates, 1)),
        "bias_ih_l0": zeros if bias is None else bias,
        "bias_hh_l0": zeros,
    }


def test_the_exponent_of_a_linear_recurrence_is_the_log_of_its_spectral_radius():
    """Oracle: eigenvalues. The second eigenvalue has died out by (.5/.9)^100 when counting begins."""
    rng = np.random.default_rng(24)
    basis = rng.normal(size=(3, 3))
    weight = basis @ np.diag([0.9, 0.5, -0.2]) @ np.linalg.inv(basis)
    seqs = Sequences(rng.normal(size=500), np.array([500]))
    assert inference.top_exponent("linear", one_layer("linear", weight), seqs) == pytest.approx(np.log(0.9), abs=1e-10)


def test_the_exponent_at_the_fixed_point_of_tanh_2h():
    """A kick lets the state leave the origin; at ±.957504 the slope is .166372."""
    params = one_layer("rnn", np.array([[2.0]]))
    params["weight_ih_l0"] = np.array([[0.1, 0.0]])
    values = np.full(400, np.nan)
    values[0] = params["value_mean"][0] + params["value_scale"][0]
    found = inference.top_exponent("rnn", params, Sequences(values, np.array([400])))
    assert np.exp(found) == pytest.approx(0.166372, abs=5e-7)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_exponent_is_that_of_the_product_of_jacobians(cell):
    """Oracle: finite differences through the whole run. Two states that start 1e-6 apart differ after t steps as exp(λ t) to O(1)."""
    params = random_network(cell, 1, 0, 4, np.random.default_rng(25))
    seqs = ragged(1, 0, seed=26, lengths=(400,))
    found = inference.top_exponent(cell, params, seqs)
    x = inference.features(params, seqs).cell
    size = inference.states(cell, params, x, seqs.lengths)[0].shape[1]
    near = [np.zeros((1, size)), np.full((1, size), 1e-6)]
    growth = []
    for t in range(400):
        near = [inference.CELLS[cell].step(params, x[None, t], s) for s in near]
        gap = near[1] - near[0]
        growth.append(np.log(np.linalg.norm(gap) / 1e-6))
        near[1] = near[0] + gap * 1e-6 / np.linalg.norm(gap)
    assert found == pytest.approx(np.mean(growth[100:]), abs=2e-3)


def test_a_stack_has_the_exponent_of_its_slowest_layer():
    params = random_network("linear", 1, 0, 1, np.random.default_rng(27), layers=2)
    params["weight_hh_l0"], params["weight_hh_l1"] = np.array([[0.3]]), np.array([[0.8]])
    seqs = ragged(1, 0, seed=28, lengths=(300, 200))
    assert inference.top_exponent("linear", params, seqs) == pytest.approx(np.log(0.8), abs=1e-10)


def test_a_state_that_forgets_at_once_has_the_exponent_minus_infinity():
    params = one_layer("rnn", np.zeros((2, 2)))
    assert inference.top_exponent("rnn", params, ragged(1, 0)) == -np.inf
