"""The classical yardstick: known gaps, paired errors, linear floors, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.yardstick import _paired


def walk(steps: int = 1500) -> np.ndarray:
    rng = np.random.default_rng(0)
    return 0.5 * np.cumsum(rng.normal(size=steps)) + rng.normal(size=steps)


def test_a_kalman_filter_stands_on_the_floor():
    y = walk()
    found = sw.dissect(sw.Structural(level=True).fit(y), y).yardstick
    assert abs(found.value) < 0.01
    assert found.interval[0] < 0.005
    assert abs(found.data["above_floor"]) < 2.0
    assert set(found.data["log_prob"]) == {"Structural(level)", "state space", "VARMA", "HMM", "local level"}


def test_a_worse_gain_is_above_the_floor_by_what_theory_says():
    """A predictor with half the local level's variance ratio, against the exact one: the gap is that of their own scores, and the floor's."""
    y = walk()
    wrong = sw.StateSpace([[1.0]], [[1.0]], [[0.01]], [[1.4]], initial="diffuse")
    right = sw.StateSpace([[1.0]], [[1.0]], [[0.25]], [[1.0]], initial="diffuse")
    found = sw.dissect(wrong, y).yardstick
    gap = float((wrong.log_prob(y, per_step=True) - right.log_prob(y, per_step=True))[5:].mean())
    assert found.value == pytest.approx(gap, abs=0.02)
    assert found.interval[1] < 0
    assert "worse" in found.meaning
    assert found.data["above_floor"] > 3


def test_data_with_regimes_lift_an_hmm_above_the_linear_floor():
    model = sw.HMM(
        states=2,
        initial_probs=[0.5, 0.5],
        transition_probs=[[0.98, 0.02], [0.02, 0.98]],
        means=[-4.0, 4.0],
        covariances=[0.2, 0.2],
    )
    y = model.sample(1200, 1, seed=0)
    found = sw.dissect(model, y).yardstick
    assert found.interval[0] > 0.1
    assert "better" in found.meaning


def test_paired_standard_error():
    """Of independent steps it is sd / √T; of steps that repeat within blocks it is that of the blocks."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=4000)
    unit = np.arange(4000) // 100
    assert _paired(steps, unit)[1] == pytest.approx(1 / np.sqrt(4000), rel=0.25)
    blocks = rng.normal(size=40)
    repeated = np.repeat(blocks, 100)
    assert _paired(repeated, unit)[1] == pytest.approx(blocks.std(ddof=1) / np.sqrt(40), rel=1e-6)


def test_missing_entries_and_many_sequences():
    rng = np.random.default_rng(0)
    seqs = sw.Sequences.from_arrays([walk(40) for _ in range(22)])
    values = seqs.values.copy()
    values[rng.random(values.shape) < 0.1] = np.nan
    found = sw.dissect(sw.VARMA(p=1).fit(seqs), seqs.replace(values=values)).yardstick
    assert np.isfinite(found.value)
    assert np.isfinite(found.interval).all()


class Predicts(torch.nn.Module):
    """A recurrent layer whose output is that of a fixed linear map of its input."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.rnn, self.gain = torch.nn.RNN(1, 1, batch_first=True), gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * x + 0 * self.rnn(x)[0]


def autoregression(count: int = 24, steps: int = 200) -> torch.Tensor:
    rng = np.random.default_rng(0)
    x = np.zeros((count, steps))
    for t in range(1, steps):
        x[:, t] = 0.8 * x[:, t - 1] + rng.normal(size=count)
    return torch.tensor(x[..., None], dtype=torch.float32)


def test_next_step_predictions_of_a_module():
    """AR(1), φ = .8: predicting .8 x is the floor; predicting nothing is 1/(1 − φ²) − 1 = 178 % above it."""
    x = autoregression()
    best = sw.dissection.yardstick(Predicts(0.8), x)
    assert abs(best.value) < 1.0
    nothing = sw.dissection.yardstick(Predicts(0.0), x)
    assert nothing.value == pytest.approx(177.8, abs=4 * (nothing.interval[1] - nothing.interval[0]) / 4)
    assert nothing.data["mse"]["linear"] == pytest.approx(1.0, abs=0.05)


def test_targets_of_a_module():
    x = autoregression()
    y = torch.roll(x, 2, 1)
    y[:, :2] = 0
    found = sw.dissection.yardstick(
        Predicts(0.64), x, targets=y + 0.1 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    )
    assert found.value > 100  # the floor sees x[t − 2], the module guesses from x[t]
    assert found.data["lags"] >= 3


def test_refusals():
    torch.manual_seed(0)
    bare = sw.dissection.yardstick(torch.nn.LSTM(3, 4, batch_first=True), torch.randn(8, 30, 3))
    assert bare.status is Status.REFUSED
    assert "targets" in bare.reason
    labels = sw.Sequences.from_arrays([np.random.default_rng(0).normal(size=20)] * 6, labels=[list("ab" * 10)] * 6)
    tagger = sw.dissection.yardstick(sw.Tagger(hidden=3).fit(labels, epochs=1), labels)
    assert tagger.status is Status.REFUSED
    assert "no density" in tagger.reason
    assert sw.dissection.yardstick(np.full((30, 2, 2), 0.1)).status is Status.REFUSED
