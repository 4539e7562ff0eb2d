"""What the experiments share: one switch between libraries, one training loop, one way to report."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LAYERS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def recurrent(cell: str, inputs: int, hidden: int, library: str = "torch", **options: Any) -> nn.Module:
    """A recurrent layer on (batch, time, inputs): torch.nn's, or statewise.nn's with ``library="statewise"``."""
    if library == "statewise":
        import statewise.nn as source
    else:
        source = nn
    return getattr(source, LAYERS[cell])(inputs, hidden, batch_first=True, **options)


class Reader(nn.Module):
    """A recurrent layer and a linear map of its output; of the last step's alone if `last`."""

    def __init__(self, layer: nn.Module, hidden: int, outputs: int, last: bool = False) -> None:
        super().__init__()
        self.layer, self.read, self.last = layer, nn.Linear(hidden, outputs), last

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)[0]
        return self.read(h[:, -1] if self.last else h)


@dataclass(frozen=True)
class Budget:
    """How long and how fast a model is trained."""

    updates: int
    lr: float
    clip: float = 1.0
    every: int = 100


def train(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    budget: Budget,
    score: Callable[[nn.Module], float],
    enough: float,
) -> list[tuple[int, float]]:
    """Adam with clipped gradients and a cosine to a tenth of its rate; stops early once `score` is below `enough`.

    Returns (update, score) every so many updates.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=budget.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, budget.updates, budget.lr / 10)
    history = []
    for update in range(1, budget.updates + 1):
        x, y = next(batches)
        optimiser.zero_grad()
        loss(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), budget.clip)
        optimiser.step()
        schedule.step()
        if update % budget.every == 0 or update == budget.updates:
            history.append((update, score(model)))
            if history[-1][1] < enough:
                break
    return history


@torch.no_grad()
def evaluate(model: nn.Module, data: tuple[Tensor, Tensor], measure: Callable[[Tensor, Tensor], Tensor]) -> float:
    """A measure of the model's output on held-out data, in evaluation mode."""
    training = model.training
    model.eval()
    result = float(measure(model(data[0]), data[1]))
    model.train(training)
    return result


def arguments(description: str | None, **more: dict[str, Any]) -> argparse.Namespace:
    """The command line that all experiments have; `more` are options of one of them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=("torch", "statewise"), default="torch", help="whose layers are trained")
    parser.add_argument("--quick", action="store_true", help="the reduced run of the tests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return given


def report(file: str, run: Callable[[], dict[str, Any]], quick: bool = False) -> None:
    """Run, print the result and what was expected, and say whether every bound was kept (exit code 1 if not)."""
    begun = time.perf_counter()
    result = run()
    result["seconds"] = round(time.perf_counter() - begun, 1)
    print(json.dumps(result, indent=2))
    broken = broken_bounds(result, expected(file).get("quick", {}) if quick else expected(file)["bounds"])
    print("bounds kept" if not broken else "broken: " + "; ".join(broken))
    raise SystemExit(bool(broken))


def expected(file: str) -> dict[str, Any]:
    """The `expected.json` beside a script."""
    return json.loads((Path(file).parent / "expected.json").read_text(encoding="utf-8"))


def broken_bounds(result: dict[str, Any], bounds: dict[str, list[float]]) -> list[str]:
    """Those of the bounds, name -> [least, most], that a result does not keep; a name that is not there is broken too."""
    return [
        f"{name} is {result.get(name)}, not from {low} to {high}"
        for name, (low, high) in bounds.items()
        if name not in result or not low <= result[name] <= high
    ]
