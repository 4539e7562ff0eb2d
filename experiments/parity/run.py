"""Delayed parity: say at every step whether the number of ones among bits t − d and t − d − 1 … t − d − n + 1 was odd.

No linear readout of the past does better than guessing, and no window shorter than d + n helps. Trained at d = 10 from the start, a GRU
does no better than guessing in 6000 updates. So d grows from 0, by one whenever fewer than one answer in fifty is wrong.
Source: Bertschinger & Natschläger, *Real-time computation at the edge of chaos in recurrent neural networks* (2004), §3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from experiments import common

BITS, ENOUGH = 3, 0.02


def problem(count: int, steps: int, delay: int, made: torch.Generator) -> tuple[Tensor, Tensor]:
    """x (count, steps, 1) of ±1, and y (count, steps − delay − BITS + 1), 1 where the parity is odd, for the steps that have one."""
    bits = torch.randint(2, (count, steps), generator=made)
    window = sum(bits[:, k : steps - delay - BITS + 1 + k] for k in range(BITS))
    return (2.0 * bits - 1.0)[..., None], (window % 2).float()


def loss(output: Tensor, wanted: Tensor) -> Tensor:
    scored = output[:, -wanted.shape[1] :, 0]
    return nn.functional.binary_cross_entropy_with_logits(scored, wanted)


def wrong(output: Tensor, wanted: Tensor) -> Tensor:
    """The share of steps that are answered wrong."""
    return ((output[:, -wanted.shape[1] :, 0] > 0) != (wanted > 0.5)).double().mean()


def learn(model: nn.Module, delay: int, steps: int, updates: int, lr: float, made: torch.Generator) -> tuple[int, int]:
    """Train with a delay that grows to `delay`, until that one is learned too; returns the delay and the updates that were reached."""
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    now, error = 0, 0.5
    for update in range(1, updates + 1):
        x, y = problem(32, steps + now, now, made)
        output = model(x)
        optimiser.zero_grad()
        loss(output, y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        error = 0.9 * error + 0.1 * float(wrong(output.detach(), y))
        if error < (ENOUGH if now < delay else ENOUGH / 10):
            if now == delay:
                return now, update
            now, error = now + 1, 0.5
    return now, updates


def run(quick: bool, library: str = "torch", seed: int = 0) -> dict[str, Any]:
    delay, steps, updates = (2, 40, 1000) if quick else (10, 40, 6000)
    torch.manual_seed(seed)
    model = common.Reader(common.recurrent("gru", 1, 64, library), 64, 1)
    reached, used = learn(model, delay, steps, updates, 3e-3, torch.Generator().manual_seed(seed + 1))
    held_out = problem(200, steps + delay, delay, torch.Generator().manual_seed(12345))
    error = common.evaluate(model, held_out, wrong)
    return {"delay": delay, "bits": BITS, "reached": reached, "wrong": round(error, 5), "updates": used}


if __name__ == "__main__":
    given = common.arguments(__doc__)
    common.report(__file__, lambda: run(given.quick, given.library, given.seed), given.quick)
