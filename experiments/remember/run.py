"""The cure, shown: a vanilla RNN, an LSTM and a GRU on one long-memory task at equal tuning, and how far back their gradients reach.

The task is the adding problem (`experiments.adding`). Each cell has the same hidden size, updates, grid of learning rates and choice of two
initialisations: torch's own, and the one made for it (orthogonal for the RNN, chrono for the gated cells). The setting is chosen by
the error on validation problems; the error that is reported is on test problems, which chose nothing.

The gradient flow is ‖∂L/∂s[T − lag]‖, L the squared error at the last step and s all that is carried, (h, c) for the LSTM, as a geometric
mean over sequences; relative to lag 0. ``--draw FILE`` draws what `expected.json` has.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from experiments.adding.run import batches, problem
from torch import Tensor, nn

from experiments import common
from statewise.nn.initialisation import initialise

CELLS = {"rnn": "orthogonal", "lstm": "chrono", "gru": "chrono"}
HIDDEN = 32
LAGS = 10  # distance between the lags that are reported


def model_of(cell: str, initial: str, steps: int, library: str, seed: int) -> common.Reader:
    torch.manual_seed(seed)
    layer = common.recurrent(cell, 2, HIDDEN, library)
    if initial != "torch":
        initialise(layer, initial, horizon=steps, seed=seed)
    return common.Reader(layer, HIDDEN, 1, last=True)


def gradient_flow(model: common.Reader, x: Tensor, y: Tensor) -> list[float]:
    """For each lag 0 … T − 1 the geometric mean over sequences of ‖∂L/∂s[T − lag]‖, relative to lag 0.

    The steps are fed one by one: a gradient kept on a layer's *output* would miss the recurrence.
    """
    state, states = None, []
    for t in range(x.shape[1]):
        output, state = model.layer(x[:, t : t + 1], state)
        states.append(state if isinstance(state, tuple) else (state,))
    loss = ((model.read(output[:, -1]) - y) ** 2).sum()
    states[-1] = (output,)  # what the loss reads of the last state
    gradients = iter(torch.autograd.grad(loss, [part for parts in states for part in parts]))
    sizes = []
    for parts in states:
        whole = torch.cat([next(gradients) for _ in parts], dim=2).double()
        sizes.append(whole.norm(dim=2).clamp(min=1e-300).log().mean())
    sizes.reverse()
    return [math.exp(float(size - sizes[0])) for size in sizes]


def half_life(flow: list[float]) -> float:
    """Steps in which the gradient halves, from the least-squares slope of its logarithm over all lags; infinite if it does not shrink."""
    logs = torch.tensor(flow, dtype=torch.float64).log()
    lags = torch.arange(len(flow), dtype=torch.float64)
    centred = lags - lags.mean()
    slope = float((centred * logs).sum() / (centred**2).sum())
    return math.log(2) / -slope if slope < 0 else math.inf


def rounded(steps: float) -> float | None:
    """To a tenth of a step; None for never, which JSON has no number for."""
    return round(steps, 1) if math.isfinite(steps) else None


def tuned(cell: str, steps: int, updates: int, rates: list[float], library: str, seed: int) -> dict[str, Any]:
    """The best of all rates and both initialisations by the validation error, and what it reaches on test problems."""
    mse = nn.functional.mse_loss
    validation, test = (problem(1000, steps, torch.Generator().manual_seed(number)) for number in (12345, 54321))
    best: dict[str, Any] = {}
    for initial in ("torch", CELLS[cell]):
        for lr in rates:
            model = model_of(cell, initial, steps, library, seed)
            before = gradient_flow(model, test[0][:50], test[1][:50])
            made = torch.Generator().manual_seed(seed + 1)
            score = lambda model: common.evaluate(model, validation, mse)  # noqa: E731  # shorter than a function here
            budget = common.Budget(updates, lr, every=updates)
            error = common.train(model, batches(32, steps, made), mse, budget, score, enough=0.0)[-1][1]
            if not best or error < best["validation mse"]:
                after = gradient_flow(model, test[0][:50], test[1][:50])
                best = {
                    "initial": initial,
                    "lr": lr,
                    "validation mse": error,
                    "test mse": round(common.evaluate(model, test, mse), 5),
                    "half-life before": rounded(half_life(before)),
                    "half-life after": rounded(half_life(after)),
                    "flow before": [float(f"{value:.3g}") for value in before[::LAGS]],
                    "flow after": [float(f"{value:.3g}") for value in after[::LAGS]],
                }
    best["validation mse"] = round(best["validation mse"], 5)
    return best


def run(quick: bool, library: str = "torch", seed: int = 0) -> dict[str, Any]:
    steps, updates, rates = (20, 20, [5e-3]) if quick else (100, 1500, [3e-3, 1e-2])
    cells = {cell: tuned(cell, steps, updates, rates, library, seed) for cell in CELLS}
    result: dict[str, Any] = {"steps": steps, "updates": updates, "hidden": HIDDEN, "cells": cells}
    return result | {f"{cell} mse": own["test mse"] for cell, own in cells.items()}


def draw(result: dict[str, Any], file: str) -> None:
    """The gradient flow of the three cells side by side, before and after training."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "statewise"  # the same file for the same numbers
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    for cell, own in result["cells"].items():
        lags = [LAGS * k for k in range(len(own["flow before"]))]
        for axis, when in zip(axes, ("before", "after"), strict=True):
            axis.semilogy(lags, own[f"flow {when}"], label=f"{cell.upper()}, test error {own['test mse']:.3g}")
            axis.set_title(f"{when} training")
            axis.set_xlabel("lag, steps")
    axes[0].set_ylabel("gradient, relative to lag 0")
    axes[1].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(Path(file), metadata={"Date": None})


if __name__ == "__main__":
    given = common.arguments(__doc__, draw={"metavar": "FILE", "help": "draw the recorded result and run nothing"})
    if given.draw:
        draw(common.expected(__file__)["result"], given.draw)
    else:
        common.report(__file__, lambda: run(given.quick, given.library, given.seed), given.quick)
