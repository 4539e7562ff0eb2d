"""The trainer on problems that are not networks: least squares with a known answer, planted failures, seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from statewise._core.outcome import Outcome
from statewise.fitting.sgd import Settings, train


class Line(torch.nn.Module):
    """y = w x + b, with weights drawn by the caller's generator only."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.full((2,), start, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w


def problem(seed: int = 0, rows: int = 64):
    """Data of y = 2 x₁ − 1 x₂ + noise; a module; loss on row numbers; the validation score; batches of eight."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(rows, 2)))
    y = x @ torch.tensor([2.0, -1.0], dtype=torch.float64) + 0.1 * torch.from_numpy(rng.normal(size=rows))
    module = Line()

    def loss(which):
        return ((module(x[which]) - y[which]) ** 2).mean()

    def score():
        return -float(((module(x) - y) ** 2).mean().detach())

    def batches(draws):
        return torch.randperm(rows, generator=draws).split(8)

    return module, batches, loss, score, (x, y)


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_least_squares_is_found(optimiser):
    """Oracle: numpy.linalg.lstsq; a rate that falls to zero gets within 1e-3 of it."""
    module, batches, loss, score, (x, y) = problem()
    groups = [{"params": list(module.parameters()), "weight_decay": 0.0}]
    settings = Settings(epochs=120, lr=0.1, patience=120, optimiser=optimiser, clip=100.0, min_improvement=0.0)
    done = train(module, batches, loss, score, settings, seed=0, groups=groups)
    np.testing.assert_allclose(
        module.w.detach().numpy(), np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0], atol=1e-3
    )
    assert done.outcome is Outcome.MAX_EPOCHS
    assert len(done.trace) == 120
    assert done.best_score == done.trace.max() == done.trace[done.best_epoch - 1] > done.start_score


def test_it_stops_early_and_keeps_the_best():
    """The score is planted: best after epoch 3."""
    module, batches, loss, _, _ = problem()
    planted, states = iter([0.0, 1.0, 2.0, 5.0, 4.0, 4.0, 4.0, 9.0]), []

    def score():
        states.append(module.w.detach().clone())
        return next(planted)

    done = train(module, batches, loss, score, Settings(epochs=50, lr=0.01, patience=3), seed=0)
    assert done.outcome is Outcome.EARLY_STOPPED
    assert done.trace.tolist() == [1.0, 2.0, 5.0, 4.0, 4.0, 4.0]
    assert (done.best_epoch, done.best_score, done.start_score) == (3, 5.0, 0.0)
    assert torch.equal(module.w, states[3])


def test_the_start_is_kept_when_nothing_beats_it():
    module, batches, loss, _, _ = problem()
    before = module.w.detach().clone()
    planted = iter([1.0, *[0.0] * 9])
    done = train(module, batches, loss, lambda: next(planted), Settings(epochs=9, lr=0.01, patience=4), seed=0)
    assert done.best_epoch == 0
    assert torch.equal(module.w, before)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_found_at_its_batch(wrong):
    """Planted in the third batch of epoch 2."""
    module, batches, loss, score, _ = problem()
    calls = []

    def planted(which):
        calls.append(0)
        return loss(which) * (wrong if len(calls) == 8 + 3 else 1.0)

    done = train(module, batches, planted, score, Settings(epochs=9, lr=0.01, patience=9), seed=0)
    assert done.outcome is Outcome.NOT_FINITE
    assert done.failure == "the loss became NaN or infinite at epoch 2, batch 3"
    assert len(done.trace) == done.best_epoch == 1
    assert score() == done.trace[0], "the parameters after epoch 1 are kept"


def test_a_gradient_that_is_not_finite_is_found_before_it_does_harm():
    """√w at 0: the loss is finite and its slope is not."""
    module, batches, _, _, _ = problem()
    done = train(module, batches, lambda _: module.w.sqrt().sum(), lambda: 0.0, Settings(3, 0.1, 3), seed=0)
    assert done.outcome is Outcome.NOT_FINITE
    assert done.failure == "the gradient became NaN or infinite at epoch 1, batch 1"
    assert not module.w.any()


def test_a_score_that_is_not_finite_ends_training():
    module, batches, loss, _, _ = problem()
    planted = iter([0.0, 1.0, math.nan])
    done = train(module, batches, loss, lambda: next(planted), Settings(9, 0.01, 9), seed=0)
    assert done.failure == "the validation score became NaN or infinite at epoch 2"
    assert done.best_epoch == 1


def test_a_start_that_cannot_be_scored_is_no_obstacle():
    module, batches, loss, _, _ = problem()
    planted = iter([math.nan, 1.0, 2.0])
    done = train(module, batches, loss, lambda: next(planted), Settings(2, 0.01, 9), seed=0)
    assert done.best_epoch == 2


def test_seeds_reproduce_to_the_last_bit_and_leave_the_global_generator_alone():
    """Also for a module that draws random numbers itself."""

    def run(seed):
        module, batches, loss, score, _ = problem()
        done = train(module, batches, lambda b: loss(b) * torch.rand(()), score, Settings(3, 0.05, 3), seed=seed)
        return module.w.detach().clone(), done.trace

    before = torch.random.get_rng_state()
    (w1, trace1), (w2, trace2), (w3, _) = run(1), run(1), run(2)
    assert torch.equal(w1, w2)
    assert np.array_equal(trace1, trace2)
    assert not torch.equal(w1, w3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_gradient_is_clipped():
    """A huge loss moves plain parameters no further than a small one: the first step of Adam after clipping to norm 1."""
    steps = []
    for size in (1.0, 1e8):
        module, batches, loss, _, _ = problem()
        seen = []
        module.w.register_hook(lambda g, seen=seen: seen.append(float(g.norm())))

        def scaled(b, loss=loss, size=size):
            return size * loss(b)

        train(module, batches, scaled, lambda: 0.0, Settings(1, 0.1, 1, clip=1.0, schedule="constant"), seed=0)
        assert max(seen) > 1.0
        steps.append(float(module.w.detach().abs().max()))
    assert steps[0] <= 0.1 * 8 + 1e-6
    assert steps[1] <= 0.1 * 8 + 1e-6


def test_the_schedules():
    """Oracle: ½(1 + cos π(e − 1)/E) by hand."""
    cosine = Settings(epochs=4, lr=2.0, patience=1)
    assert [cosine.rate(e) for e in (1, 3)] == pytest.approx([2.0, 1.0], rel=1e-12)
    assert cosine.rate(4) == pytest.approx(1 + math.cos(0.75 * math.pi))
    assert {Settings(4, 2.0, 1, schedule="constant").rate(e) for e in (1, 2, 4)} == {2.0}


def test_weight_decay_belongs_to_its_group():
    """With a loss that does not depend on the parameters, AdamW shrinks by 1 − rate · decay a step, and only its group."""
    module = torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.ones(1)), "b": torch.nn.Parameter(torch.ones(1))})
    groups = [{"params": [module["a"]], "weight_decay": 0.5}, {"params": [module["b"]], "weight_decay": 0.0}]
    planted = iter([0.0, 1.0])
    train(
        module,
        lambda draws: [0],
        lambda _: 0.0 * (module["a"] + module["b"]).sum(),
        lambda: next(planted),
        Settings(1, 0.1, 1, schedule="constant"),
        seed=0,
        groups=groups,
    )
    assert module["a"].item() == pytest.approx(1 - 0.1 * 0.5, rel=1e-6)
    assert module["b"].item() == 1.0


def test_training_mode_for_batches_and_evaluation_mode_without_gradients_for_the_score():
    module, batches, loss, _, _ = problem()
    seen = []

    def objective(which):
        seen.append(("batch", module.training, torch.is_grad_enabled()))
        return loss(which)

    def score():
        seen.append(("score", module.training, torch.is_grad_enabled()))
        return 0.0

    train(module, batches, objective, score, Settings(2, 0.1, 2), seed=0)
    assert set(seen) == {("batch", True, True), ("score", False, False)}


def test_an_interrupt_passes_through_and_restores_the_generator():
    module, batches, _, score, _ = problem()
    before = torch.random.get_rng_state()

    def interrupted(_):
        torch.rand(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(module, batches, interrupted, score, Settings(2, 0.1, 2), seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
