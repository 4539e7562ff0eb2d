"""Delayed parity: say at every step whether the number of ones among bits t − d and t − d − 1 … t − d − n + 1 was odd.

No linear readout of the past does better than guessing, and no window shorter than d + n helps.
Source: Bertschinger & Natschläger, *Real-time computation at the edge of chaos in recurrent neural networks* (2004), §3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from experiments import common
from statewise.nn.initialise import initialise

BITS = 3


def problem(count: int, steps: int, delay: int, made: torch.Generator) -> tuple[Tensor, Tensor]:
    """x (count, steps, 1) of ±1, and y (count, steps − delay − BITS + 1), 1 where the parity is odd, for the steps that have one."""
    bits = torch.randint(2, (count, steps), generator=made)
    window = sum(bits[:, k : steps - delay - BITS + 1 + k] for k in range(BITS))
    return (2.0 * bits - 1.0)[..., None], (window % 2).float()


def batches(count: int, steps: int, delay: int, made: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield problem(count, steps, delay, made)


def loss(output: Tensor, wanted: Tensor) -> Tensor:
    scored = output[:, -wanted.shape[1] :, 0]
    return nn.functional.binary_cross_entropy_with_logits(scored, wanted)


def wrong(output: Tensor, wanted: Tensor) -> Tensor:
    """The share of steps that are answered wrong."""
    return ((output[:, -wanted.shape[1] :, 0] > 0) != (wanted > 0.5)).double().mean()


def run(quick: bool, library: str = "torch", seed: int = 0) -> dict[str, Any]:
    delay, steps, updates = (2, 40, 600) if quick else (6, 60, 4000)
    torch.manual_seed(seed)
    made = torch.Generator().manual_seed(seed + 1)
    held_out = problem(200, steps, delay, torch.Generator().manual_seed(12345))
    layer = initialise(common.recurrent("gru", 1, 64, library), "chrono", horizon=2 * (delay + BITS), seed=seed)
    model = common.Reader(layer, 64, 1)
    score = lambda model: common.evaluate(model, held_out, wrong)  # noqa: E731  # shorter than a function here
    budget = common.Budget(updates, lr=5e-3, every=100)
    history = common.train(model, batches(32, steps, delay, made), loss, budget, score, enough=0.001)
    return {"delay": delay, "bits": BITS, "wrong": round(history[-1][1], 5), "updates": history[-1][0]}


if __name__ == "__main__":
    given = common.arguments(__doc__)
    common.report(__file__, lambda: run(given.quick, given.library, given.seed))
