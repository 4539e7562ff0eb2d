"""Time that has passed, and missing inputs: the decays of a layer's state and of the values last seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from statewise._core import checks
from statewise._core.errors import InputError


class FillMissing(nn.Module):
    """Missing inputs as the last value seen, fading to the mean, with a mask: the inputs of GRU-D.

    ::

        x̂ = m x + (1 − m) (γ x_last + (1 − γ) x̄)        γ = exp(−max(0, w δ + b))

    m is 1 where x is observed, δ the time since the variable was last seen, x̄ its mean (``mean``, 0 unless set), w and b one learned
    number a variable. Before the first observation x̂ is the mean.

    Args:
        features: d, the variables.

    ``forward(x, elapsed)`` takes (B, T, d) with NaN for missing and (B, T), the time since the step before, and returns [x̂ | m],
    (B, T, 2 d), and δ (B, T, d), which a layer with ``decay_inputs=d`` takes as its `elapsed`.

    Source: Che, Purushotham, Cho, Sontag, Liu, *Recurrent Neural Networks for Multivariate Time Series with Missing Values*, Scientific
    Reports 8 (2018), equations 4, 10 and 11.

    Example:
        >>> fill = sw.nn.FillMissing(1)
        >>> x = torch.tensor([[[2.0], [float("nan")], [float("nan")]]])
        >>> seen, since = fill(x, torch.ones(1, 3))
        >>> since[0, :, 0].tolist()
        [0.0, 1.0, 2.0]
    """

    mean: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        features = checks.Integer(1).check("features", features)
        self.weight = nn.Parameter(torch.full((features,), 0.1))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))

    def forward(self, x: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() != 3 or x.shape[-1] != len(self.weight):
            raise InputError(f"`x` has shape {tuple(x.shape)}; pass (B, T, {len(self.weight)})")
        if elapsed.shape != x.shape[:2]:
            raise InputError(f"`elapsed` has shape {tuple(elapsed.shape)}; pass (B, T) = {tuple(x.shape[:2])}")
        observed = ~torch.isnan(x)
        steps = torch.arange(x.shape[1], device=x.device)[None, :, None]
        latest = torch.where(observed, steps, -1).cummax(1).values
        ever, latest = latest >= 0, latest.clamp(min=0)
        clock = elapsed.cumsum(1)[..., None].expand_as(x)
        since = torch.where(ever, clock - clock.gather(1, latest), clock)
        last = torch.where(ever, torch.where(observed, x, 0).gather(1, latest), self.mean)
        fade = torch.exp(-torch.relu(self.weight * since + self.bias))
        filled = torch.where(observed, x, fade * last + (1 - fade) * self.mean)
        return torch.cat([filled, observed.to(x.dtype)], -1), since


def judge_elapsed(elapsed: Any, wanted: tuple[int, ...], like: Tensor) -> Tensor:
    """`elapsed` as a tensor of this shape, not negative and without NaN."""
    given = elapsed if isinstance(elapsed, Tensor) else torch.as_tensor(np.asarray(elapsed))
    if tuple(given.shape) != wanted:
        raise InputError(
            f"`elapsed` has shape {tuple(given.shape)}; pass {wanted}: the time since the step before, for each step"
        )
    if not bool((given >= 0).all()):
        raise InputError("`elapsed` has negative entries or NaN; pass the time since the step before, 0 or more")
    return given.to(like)


def backward_in_time(elapsed: Tensor, sizes: np.ndarray) -> Tensor:
    """The time between each row and the same sequence's next step, 0 at its end: `elapsed` for a layer that reads from the end."""
    alive = np.repeat(sizes, sizes)
    within = np.arange(len(alive)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    following = np.append(sizes[1:], 0)
    has_next = torch.from_numpy(within < np.repeat(following, sizes)).to(elapsed.device)
    place = torch.from_numpy(np.minimum(np.arange(len(alive)) + alive, len(alive) - 1)).to(elapsed.device)
    moved = elapsed.index_select(0, place)
    return torch.where(has_next.reshape(-1, *[1] * (moved.dim() - 1)), moved, torch.zeros_like(moved))
