"""Cells against torch.nn (2.13), its autograd, the plain twin, and the closed forms of the theory."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from tests.reference.cells import CARRIED, STEPS, numerical_input_jacobian, numerical_jacobian, random_params

from statewise.cells import CELLS, layer_count, layer_parameters

TORCH = {
    "rnn": torch.nn.RNN,
    "rnn-relu": partial(torch.nn.RNN, nonlinearity="relu"),
    "gru": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
}
H, D = 5, 3


def case(cell: str, seed: int = 0, batch: tuple[int, ...] = (), layers: int = 1):
    rng = np.random.default_rng(seed)
    params = random_params(cell, D, H, rng, layers)
    return params, rng.normal(size=(*batch, D)), rng.normal(size=(*batch, CARRIED[cell] * H))


def torch_twin(cell: str, params: dict, layers: int = 1) -> torch.nn.RNNBase:
    module = TORCH[cell](D, H, num_layers=layers, batch_first=True, dtype=torch.float64)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in params.items()})
    return module


def torch_step(cell: str, params: dict, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """One step of torch's layer on the carried state."""
    module = torch_twin(cell, params)
    start = [part.reshape(1, 1, H) for part in state.split(H)]
    _, end = module(x.reshape(1, 1, D), tuple(start) if cell == "lstm" else start[0])
    return torch.cat([part.reshape(H) for part in end]) if cell == "lstm" else end.reshape(H)


def test_the_registry_names_every_cell():
    assert set(CELLS) == set(STEPS)
    assert all(CELLS[name].name == name for name in CELLS)


@pytest.mark.parametrize("name", CELLS)
def test_activations_are_in_the_range_of_their_nonlinearity(name):
    """Oracle: what each function can return; every gate has its word, and far from the origin it is where its word says."""
    params, x, state = case(name, batch=(50,))
    gates = CELLS[name].linearise(params, 30 * x, state).gates
    assert set(gates) == set(CELLS[name].activations)
    ranges = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf), "identity": (-np.inf, np.inf)}
    for gate, values in gates.items():
        word = CELLS[name].activations[gate]
        low, high = ranges[word]
        assert low <= values.min() < values.max() <= high
        if word in ("tanh", "identity"):
            assert values.min() < -0.5 < 0.5 < values.max()
        if word in ("relu", "identity"):
            assert values.max() > 1


@pytest.mark.parametrize("name", CELLS)
def test_a_step_is_the_plain_twins(name):
    """Oracle: the equations, one number at a time. 1e-14: a few sums of products."""
    params, x, state = case(name)
    np.testing.assert_allclose(CELLS[name].step(params, x, state), STEPS[name](params, x, state), atol=1e-14)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", TORCH)
def test_outputs_over_time_are_torchs(name, layers):
    """Oracle: torch.nn in float64, thirty steps, to 1e-12."""
    params, _, _ = case(name, layers=layers)
    x = np.random.default_rng(1).normal(size=(4, 30, D))
    want = torch_twin(name, params, layers)(torch.from_numpy(x))[0].detach().numpy()
    cell = CELLS[name]
    assert layer_count(params) == layers
    for layer in range(layers):
        own = layer_parameters(params, layer)
        state, outputs = np.zeros((4, cell.state_size(own))), []
        for t in range(30):
            state = cell.step(own, x[:, t], state)
            outputs.append(cell.hidden(state))
        x = np.stack(outputs, axis=1)
    np.testing.assert_allclose(x, want, atol=1e-12)


@pytest.mark.parametrize("name", TORCH)
def test_the_jacobian_is_autograds(name):
    """Oracle: torch.autograd through torch.nn in float64, to 1e-12."""
    params, x, state = case(name)
    want = torch.autograd.functional.jacobian(
        lambda s: torch_step(name, params, torch.from_numpy(x), s), torch.from_numpy(state)
    )
    np.testing.assert_allclose(CELLS[name].jacobian(params, x, state), want.numpy(), atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_the_jacobian_is_the_twins_by_central_differences(name):
    """Oracle: the plain twin; 1e-8 is far above the differences' own error of 1e-10."""
    params, x, state = case(name, seed=3)
    np.testing.assert_allclose(
        CELLS[name].jacobian(params, x, state), numerical_jacobian(name, params, x, state), atol=1e-8
    )


@pytest.mark.parametrize("name", CELLS)
def test_the_input_jacobian_is_the_twins_by_central_differences(name):
    """Oracle: the plain twin; ∂s/∂x = driven · W_ih, gate by gate."""
    params, x, state = case(name, seed=4)
    driven = CELLS[name].linearise(params, x, state).driven
    weight = params["weight_ih_l0"].reshape(driven.shape[1], H, D)
    found = np.einsum("mgh,ghd->mhd", driven, weight).reshape(-1, D)
    np.testing.assert_allclose(found, numerical_input_jacobian(name, params, x, state), atol=1e-8)


@pytest.mark.parametrize("name", CELLS)
def test_any_leading_axes(name):
    """Batch equals loop."""
    params, x, state = case(name, batch=(2, 3))
    cell = CELLS[name]
    stepped, jacobians = cell.step(params, x, state), cell.jacobian(params, x, state)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(stepped[index], cell.step(params, x[index], state[index]), atol=1e-14)
        np.testing.assert_allclose(jacobians[index], cell.jacobian(params, x[index], state[index]), atol=1e-14)


@pytest.mark.parametrize("name", CELLS)
def test_nothing_given_is_changed(name):
    params, x, state = case(name)
    before = {key: array.copy() for key, array in params.items()}, x.copy(), state.copy()
    CELLS[name].jacobian(params, x, state)[...] = 0.0
    CELLS[name].step(params, x, state)[...] = 0.0
    assert all(np.array_equal(before[0][key], params[key]) for key in params)
    assert np.array_equal(before[1], x)
    assert np.array_equal(before[2], state)


@pytest.mark.parametrize("name", CELLS)
def test_biases_may_be_absent(name):
    """A layer without biases is one with zero biases."""
    params, x, state = case(name)
    without = {key: array for key, array in params.items() if "bias" not in key}
    zeros = {key: np.zeros_like(array) if "bias" in key else array for key, array in params.items()}
    np.testing.assert_array_equal(CELLS[name].step(without, x, state), CELLS[name].step(zeros, x, state))


@pytest.mark.parametrize("name", CELLS)
def test_extreme_inputs_stay_finite(name):
    params, x, state = case(name)
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(CELLS[name].step(params, 1e4 * x, state)).all()
        assert np.isfinite(CELLS[name].jacobian(params, 1e4 * x, state)).all()


# --- closed forms (theory of the scalar recursion, of products of Jacobians, of the gates) ------------------------------


def test_gru_at_the_origin():
    """J = z I + (1 − z) r W with zero input and state, the biases of r and z alone."""
    params, x, state = case("gru")
    for key in ("bias_ih_l0", "bias_hh_l0"):
        params[key][2 * H :] = 0.0
    sigma = 1 / (1 + np.exp(-(params["bias_ih_l0"] + params["bias_hh_l0"])))
    r, z = sigma[:H], sigma[H : 2 * H]
    want = np.diag(z) + ((1 - z) * r)[:, None] * params["weight_hh_l0"][2 * H :]
    np.testing.assert_allclose(CELLS["gru"].jacobian(params, 0 * x, 0 * state), want, atol=1e-14)


@pytest.mark.parametrize("bias", [0.0, 2.0])
def test_lstm_eigenvalues_at_the_origin(bias):
    """f + i o eig(W_g), and H exact zeros, with zero biases but the forget gate's."""
    params, x, state = case("lstm")
    for key in ("bias_ih_l0", "bias_hh_l0"):
        params[key][:] = 0.0
    params["bias_hh_l0"][H : 2 * H] = bias
    found = np.linalg.eigvals(CELLS["lstm"].jacobian(params, 0 * x, 0 * state))
    f = 1 / (1 + np.exp(-bias))
    want = np.concatenate([f + 0.25 * np.linalg.eigvals(params["weight_hh_l0"][2 * H : 3 * H]), np.zeros(H)])
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(want), atol=1e-12)


def scalar(weight: float) -> dict:
    return {"weight_ih_l0": np.zeros((1, 1)), "weight_hh_l0": np.array([[weight]])}


def test_the_fixed_point_of_tanh_2h():
    """±.957504 with slope .166372; slope 2 at the origin."""
    params, x, h = scalar(2.0), np.zeros(1), np.array([0.3])
    for _ in range(200):
        h = CELLS["rnn"].step(params, x, h)
    assert h[0] == pytest.approx(0.957504, abs=5e-7)
    assert CELLS["rnn"].jacobian(params, x, h)[0, 0] == pytest.approx(0.166372, abs=5e-7)
    assert CELLS["rnn"].jacobian(params, x, 0 * h)[0, 0] == 2.0


def test_the_linear_recursion_decays_geometrically():
    """∂h[t]/∂h[0] = sᵗ, and half of it is gone after 6.578813 steps at s = .9."""
    params, x, h = scalar(0.9), np.zeros(1), np.ones(1)
    for _ in range(7):
        h = CELLS["linear"].step(params, x, h)
    assert h[0] == pytest.approx(0.9**7, rel=1e-14)
    assert np.log(2) / -np.log(CELLS["linear"].jacobian(params, x, h)[0, 0]) == pytest.approx(6.578813, abs=5e-7)


def test_non_normal_growth():
    """[[.9, 1], [0, .9]]: spectral radius .9, yet the norm of its powers peaks at 3.9126 at the 9th."""
    weight = np.array([[0.9, 1.0], [0.0, 0.9]])
    J = CELLS["linear"].jacobian({"weight_ih_l0": np.zeros((2, 1)), "weight_hh_l0": weight}, np.zeros(1), np.zeros(2))
    norms = [np.linalg.norm(np.linalg.matrix_power(J, k), 2) for k in range(1, 40)]
    assert int(np.argmax(norms)) + 1 == 9
    assert max(norms) == pytest.approx(3.9126, abs=5e-5)
