"""Verdict, findings and comparison: the sentences carry the numbers. Oracle: networks with known gradients, and the diagnostics themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.dissection.networks import forgetful, inputs, linear, positive

import statewise as sw
from statewise.dissection.reach import Reach, step_factors
from statewise.dissection.verdict import verdict


def test_the_verdict_has_the_numbers_and_the_suggestion():
    d = sw.dissect(forgetful(), inputs(), needs=40)
    text = verdict(d)
    half = d.gradient_half_life
    assert text.startswith(
        f"Gradient half-life {half.value:.3g} steps [{half.interval[0]:.3g}, {half.interval[1]:.3g}]; "
    )
    assert "your task needs 40, where " in text and "too little" in text
    assert "λ₁ = -0." in text
    assert text.endswith("suggested: chrono initialisation with T = 80.")
    lines = d.summary().splitlines()
    assert lines[0] == "LSTM(3, 16): 8 sequences of 60 steps."
    assert lines[1] == text
    assert sum(line.startswith("Suggested: ") for line in lines) == len(d.suggestions)


def test_what_is_left_is_the_power_of_the_factor():
    """Of a state that is multiplied by a at every step, a^40 is left 40 steps back: .668 of .99, 1e-12 of .5."""
    assert "where 67 % of the gradient is left;" in verdict(sw.dissect(linear(0.99), positive(), needs=40))
    assert "where 9e-13 of the gradient is left: too little" in verdict(sw.dissect(linear(0.5), positive(), needs=40))
    assert "your task" not in verdict(sw.dissect(linear(0.5), positive()))


def test_beyond_what_was_looked_at_the_fitted_decay_goes_on():
    d = sw.dissect(linear(0.9), positive(), needs=100)
    far = Reach(np.asarray(d.gradient_flow.data["curve"]), d.gradient_half_life.data["slope"], False)
    assert far.left(100) == pytest.approx(0.9**100, rel=1e-3)
    assert far.left(20) == pytest.approx(0.9**20, rel=1e-3)
    assert far.horizon == 44  # .9^44 = .0097


def test_without_a_loss_there_is_a_verdict_on_what_is_there():
    d = sw.dissect(np.tile(0.5 * np.eye(3), (200, 1, 1)))
    assert verdict(d) == "λ₁ = -0.693, converged."
    assert d.findings == d.suggestions == ()


def test_a_step_that_loses_more_than_the_others_is_named():
    """A gate that the input shuts at step 30 leaves a hundredth there, and nine tenths everywhere else."""
    x = positive()

    def step(given, state):
        gate = torch.where(given[:, :1] > 50, 0.01, 0.9)
        return gate * state + 0.0 * given

    driven = x.clone()
    driven[:, 30, 0] = 100.0
    d = sw.dissect(step, driven.numpy(), initial=np.ones(4), needs=40)
    steps, factors = step_factors(d.gradient_flow)
    np.testing.assert_allclose(factors[steps == 30], 0.01, rtol=1e-3)
    np.testing.assert_allclose(factors[steps == 20], 0.9, rtol=1e-3)
    assert any(each.kind == "dies" and each.place == "step 30" for each in d.findings)


def test_an_explosion_is_named_with_its_size():
    d = sw.dissect(linear(1.2), positive())
    (finding,) = d.findings
    assert finding.kind == "explodes"
    assert "over 59 steps" in finding.text
    assert f"{1.2**59:.3g} times" in finding.text


def test_the_layer_that_loses_most_is_named():
    stack = torch.nn.RNN(4, 4, 2, batch_first=True, nonlinearity="relu", bias=False)
    with torch.no_grad():
        for depth, factor in enumerate((0.3, 0.9)):
            getattr(stack, f"weight_ih_l{depth}").copy_(torch.eye(4))
            getattr(stack, f"weight_hh_l{depth}").copy_(factor * torch.eye(4))
    d = sw.dissect(stack, positive(), needs=59)
    assert [each.place for each in d.findings if each.kind == "dies"][-1] == "layer 0"


def test_to_dict_has_verdict_findings_and_suggestions():
    import json

    d = sw.dissect(forgetful(), inputs(), needs=40)
    found = json.loads(json.dumps(d.to_dict()))
    assert found["verdict"] == verdict(d)
    assert found["needs"] == 40
    assert [each["kind"] for each in found["suggestions"]] == [each.kind for each in d.suggestions]
    assert found["findings"][0]["kind"] == "dies"


@pytest.mark.parametrize("bad", [0, -3, "long", float("nan")])
def test_needs_is_a_positive_number(bad):
    with pytest.raises(sw.InputError, match="`needs`"):
        sw.dissect(forgetful(), inputs(), needs=bad)


def test_a_comparison_says_which_is_higher_and_whether_by_more_than_the_intervals():
    a, b = sw.dissect(forgetful(), inputs()), sw.dissect(linear(0.9), positive())
    found = sw.dissection.compare(a, b)
    frame = found.to_frame().set_index("diagnostic")
    assert frame.loc["gradient_half_life", "first"] == a.gradient_half_life.value
    assert frame.loc["gradient_half_life", "second"] == pytest.approx(np.log(2) / -np.log(0.9), rel=1e-3)
    assert frame.loc["gradient_half_life", "verdict"] == "higher"
    assert frame.loc["lyapunov", "second"] == pytest.approx(np.log(0.9), abs=1e-6)  # .9 in float32
    assert "Lyapunov spectrum, λ₁: -0." in found.summary()
    assert {row.verdict for row in sw.dissection.compare(a, a).rows} == {"the same"}
    with pytest.raises(sw.InputError, match="`second`"):
        sw.dissection.compare(a, 3)
