"""The four horizons against closed forms, and the ablation horizon against models and modules run on shortened pasts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.dissection.test_memory_capacity import subject_of

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.influence import influence
from statewise.dissection.opening import opened
from statewise.dissection.windows import truncated


def test_leak():
    """§5: I(k) = aᵏ, half-life ln 2 / (−ln a) = 6.578813 at a = .9; .9¹⁰ is the first below 1/e, .9⁴⁴ below 1 %."""
    d = sw.dissect(sw.LeakyIntegrator(tau=-1 / np.log(0.9)), np.random.default_rng(0).normal(size=200))
    found = d.memory_horizon
    np.testing.assert_allclose(found.data["influence"], 0.9 ** found.data["lag"], rtol=1e-10)
    assert found.value == found.data["gradient_horizon"] == 10
    assert found.interval == (10, 10)
    assert found.data["gradient_horizon_1pct"] == 44
    assert found.data["half_life"] == pytest.approx(6.578813, abs=1e-6)
    assert found.data["capacity_horizon"] == 4
    assert np.isnan(found.data["ablation_horizon"])
    assert "ablation_horizon" in found.data["reasons"]


def test_in_units_of_time():
    d = sw.dissect(sw.LeakyIntegrator(tau=-0.5 / np.log(0.9), dt=0.5), np.random.default_rng(0).normal(size=200))
    assert d.memory_horizon.value == 5.0
    assert d.memory_horizon.data["half_life"] == pytest.approx(6.578813 / 2, abs=1e-6)


def test_horizon_lies_beyond_the_largest_influence():
    """Theory §4: [[.9, 1], [0, .9]] grows to 9 steps before it fades; the first number below 1/e is not the one before the peak."""
    A, B = np.array([[0.9, 10.0], [0.0, 0.9]]), np.array([[0.0], [1.0]])
    found = sw.dissection.memory_horizon(subject_of(A, B, 300))
    curve = np.array([np.linalg.norm(np.linalg.matrix_power(A, k) @ B) for k in range(200)])
    peak = int(curve.argmax())
    expected = peak + int((curve[peak:] < curve.max() / np.e).argmax())
    assert found.value == expected > peak > 5


def test_influence_of_a_network_is_autograds():
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(2, 4, batch_first=True).double()
    x = torch.randn(1, 12, 2, dtype=torch.float64)
    logs = influence(opened(lstm, x).sites[0].system, 5)
    cell = torch.nn.LSTMCell(2, 4).double()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in lstm.state_dict().items()})

    def state(inputs: torch.Tensor) -> torch.Tensor:
        h = c = torch.zeros(1, 4, dtype=torch.float64)
        for row in inputs:
            h, c = cell(row[None], (h, c))
        return torch.cat([h, c], dim=1)[0]

    J = torch.autograd.functional.jacobian(lambda first: state(torch.cat([first[None], x[0, 1:6]])), x[0, 0])
    assert logs[0, 5] == pytest.approx(float(torch.log(torch.linalg.norm(J))), abs=1e-10)


def test_beyond_the_sequences_is_not_converged():
    A = np.array([[0.9999]])
    found = sw.dissection.memory_horizon(subject_of(A, np.ones((1, 1)), 50), capacity=False)
    assert found.value == np.inf
    assert found.status is Status.NOT_CONVERGED
    assert "longer sequences" in found.reason


def test_truncated_states_are_those_of_a_run_from_the_start():
    torch.manual_seed(0)
    gru = torch.nn.GRU(2, 3, num_layers=2, batch_first=True).double()
    x = torch.randn(2, 9, 2, dtype=torch.float64)
    system = opened(gru, x).sites[0].system
    after = truncated(system)
    for k in range(1, 5):
        states = after()
        out, _ = gru(x[:, 6 - k + 1 : 7])
        np.testing.assert_allclose(system.readout(states[:, 6]), out[:, -1].detach().numpy(), atol=1e-12)


def test_ablation_of_a_module_finds_the_tasks_lag():
    """A network that outputs x[t − 3] from a shift register in its weights: it needs the last four inputs, and no fewer do."""
    rnn = torch.nn.RNN(1, 4, batch_first=True).double()
    with torch.no_grad():
        for name, value in rnn.named_parameters():
            value.zero_()
            if name == "weight_hh_l0":
                value.copy_(torch.eye(4, dtype=torch.float64).roll(1, 0).tril())
            if name == "weight_ih_l0":
                value[0] = 0.01
    x = torch.randn(4, 40, 1, dtype=torch.float64)
    target = torch.roll(x, 3, 1) * 0.01
    found = sw.dissect(rnn, x, lambda out: (out[0][..., 3] - target[..., 0]) ** 2 + 1e-8).memory_horizon
    assert found.data["ablation_horizon"] == 4
    assert found.data["context_loss"][list(found.data["context"]).index(3)] > 1e-5


def test_ablation_of_a_density_is_the_model_on_a_shortened_past():
    """AR(2): two rows are enough, and one loses what the partial autocorrelation says: ½ ln (1/(1 − φ₂²)) nats."""
    model = sw.StateSpace(
        [[0.5, 0.3], [1.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]], [[0.0]], initial="stationary"
    )
    y = model.sample(4000, 1, seed=0)
    found = sw.dissect(model, y).memory_horizon
    assert found.data["ablation_horizon"] == 2
    where = list(found.data["context"])
    lost = found.data["context_loss"][where.index(1)] - found.data["full_loss"]
    error = found.data["context_loss_error"][where.index(1)]
    assert abs(lost - 0.5 * np.log(1 / (1 - 0.09))) < 3 * error
    np.testing.assert_allclose(found.data["context_loss"][where.index(2)], found.data["full_loss"], atol=1e-9)


def test_ablation_of_a_tagger():
    """Weights under which a label is the sign of the value before: h₁ = tanh 5 y[t], h₂ = tanh 3 h₁[t − 1], logits ± 4 h₂."""
    y = np.random.default_rng(0).normal(size=(6, 40))
    labels = np.where(np.roll(y, 1, axis=1) > 0, "up", "down")
    seqs = sw.Sequences.from_arrays(list(y), labels=[list(row) for row in labels])
    model = sw.Tagger(cell="rnn", hidden=2).fit(seqs, epochs=1, validation=0.0)
    own = model.parameters
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "label_weight", "label_bias"):
        own[name][:] = 0.0
    own["weight_ih_l0"][0, 0], own["weight_hh_l0"][1, 0], own["label_weight"][:, 1] = 5.0, 3.0, (-4.0, 4.0)
    found = sw.dissect(model, seqs).memory_horizon
    losses = dict(zip(found.data["context"].tolist(), found.data["context_loss"], strict=True))
    assert losses[1] == pytest.approx(np.log(2), abs=1e-12)
    assert losses[2] == pytest.approx(found.data["full_loss"], abs=1e-12)
    assert found.data["ablation_horizon"] == 2
