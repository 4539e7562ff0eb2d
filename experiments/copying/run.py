"""Copy memory: ten of eight symbols, then T blanks, a signal, and the ten symbols again.

A network without memory knows the blanks and guesses the symbols: its cross-entropy is 10 ln 8 / (T + 20) nats a step.
Source: Hochreiter & Schmidhuber (1997); in this form Arjovsky, Shah & Bengio, *Unitary evolution recurrent neural networks* (2016), §4.1;
with chrono initialisation Tallec & Ollivier, *Can recurrent neural networks warp time?* (2018), §3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from experiments import common
from statewise.nn.initialisation import initialise

SYMBOLS, KEPT = 8, 10  # 0 is blank, 1 … 8 are symbols, 9 is the signal


def problem(count: int, delay: int, made: torch.Generator) -> tuple[Tensor, Tensor]:
    """x (count, delay + 20, 10), one of ten at each step, and y (count, delay + 20), what to answer at each step."""
    symbols = torch.randint(1, SYMBOLS + 1, (count, KEPT), generator=made)
    given = torch.zeros(count, delay + 2 * KEPT, dtype=torch.int64)
    wanted = torch.zeros_like(given)
    given[:, :KEPT], given[:, KEPT + delay - 1], wanted[:, -KEPT:] = symbols, SYMBOLS + 1, symbols
    return nn.functional.one_hot(given, SYMBOLS + 2).float(), wanted


def batches(count: int, delay: int, made: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield problem(count, delay, made)


def cross_entropy(output: Tensor, wanted: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output.flatten(0, 1), wanted.flatten())


def recalled(output: Tensor, wanted: Tensor) -> Tensor:
    """The share of the ten symbols that comes back right."""
    return (output[:, -KEPT:].argmax(2) == wanted[:, -KEPT:]).double().mean()


def run(quick: bool, library: str = "torch", seed: int = 0, initial: str = "chrono") -> dict[str, Any]:
    delay, hidden, updates = (5, 48, 500) if quick else (50, 96, 3600)
    torch.manual_seed(seed)
    made = torch.Generator().manual_seed(seed + 1)
    held_out = problem(200, delay, torch.Generator().manual_seed(12345))
    layer = common.recurrent("gru", SYMBOLS + 2, hidden, library)
    if initial == "chrono":
        initialise(layer, "chrono", horizon=1.5 * delay, seed=seed)
    model = common.Reader(layer, hidden, SYMBOLS + 1)
    score = lambda model: common.evaluate(model, held_out, cross_entropy)  # noqa: E731  # shorter than a function here
    budget = common.Budget(updates, lr=1e-2, every=100)
    history = common.train(model, batches(64, delay, made), cross_entropy, budget, score, enough=0.005)
    return {
        "delay": delay,
        "initial": initial,
        "without memory": round(KEPT * math.log(SYMBOLS) / (delay + 2 * KEPT), 4),
        "nats a step": round(history[-1][1], 5),
        "recalled": round(common.evaluate(model, held_out, recalled), 4),
        "updates": history[-1][0],
    }


if __name__ == "__main__":
    given = common.arguments(__doc__, initial={"choices": ("chrono", "torch"), "default": "chrono"})
    common.report(__file__, lambda: run(given.quick, given.library, given.seed, given.initial), given.quick)
