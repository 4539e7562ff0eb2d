"""The adding problem: of T numbers two are marked, one in each half; say their sum at the end.

Always answering 1 has the mean squared error 1/6. To do better a network must carry a number for up to T steps.
Source: Hochreiter & Schmidhuber, *Long short-term memory* (1997), §5.4, with marks of 0 and 1 as in Le et al. (2015), §4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from experiments import common
from statewise.nn.initialisation import initialise


def problem(count: int, steps: int, made: torch.Generator) -> tuple[Tensor, Tensor]:
    """x (count, steps, 2), the numbers and the marks, and y (count, 1), the sum of the two that are marked."""
    numbers = torch.rand(count, steps, generator=made)
    marks, rows, half = torch.zeros(count, steps), torch.arange(count), steps // 2
    marks[rows, torch.randint(half, (count,), generator=made)] = 1.0
    marks[rows, half + torch.randint(steps - half, (count,), generator=made)] = 1.0
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(1, keepdim=True)


def batches(count: int, steps: int, made: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield problem(count, steps, made)


def learn(cell: str, steps: int, budget: common.Budget, library: str = "torch", seed: int = 0) -> dict[str, Any]:
    """Train one cell until the error on a thousand held-out problems is below .002, or the budget is spent."""
    torch.manual_seed(seed)
    made = torch.Generator().manual_seed(seed + 1)
    held_out = problem(1000, steps, torch.Generator().manual_seed(12345))
    layer = initialise(common.recurrent(cell, 2, 64, library), "chrono", horizon=steps, seed=seed)
    model, mse = common.Reader(layer, 64, 1, last=True), nn.functional.mse_loss
    score = lambda model: common.evaluate(model, held_out, mse)  # noqa: E731  # shorter than a function here
    history = common.train(model, batches(50, steps, made), mse, budget, score, enough=0.002)
    return {f"{cell} mse": round(history[-1][1], 5), f"{cell} updates": history[-1][0]}


def run(quick: bool, library: str = "torch", seed: int = 0) -> dict[str, Any]:
    steps, updates = (30, 400) if quick else (200, 6000)
    budget = common.Budget(updates, lr=5e-3 if quick else 2e-3, every=100)
    result: dict[str, Any] = {"steps": steps}
    for cell in ["gru"] if quick else ["gru", "lstm"]:
        result |= learn(cell, steps, budget, library, seed)
    return result


if __name__ == "__main__":
    given = common.arguments(__doc__)
    common.report(__file__, lambda: run(given.quick, given.library, given.seed), given.quick)
