"""Recurrences step by step in torch operations: slow, and differentiable as often as one likes, on any device and in any precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear


class Inside(NamedTuple):
    """Layer norms inside a step: gain and shift (G H,) of the sums from the state, and (H,) of an LSTM's cell before its tanh."""

    gain: Tensor
    shift: Tensor
    cell_gain: Tensor | None
    cell_shift: Tensor | None


def unrolled(
    kind: str,
    x: Tensor,
    sizes: Sequence[int],
    reverse: bool,
    h: Tensor,
    c: Tensor | None,
    weights: Sequence[Any],
    log_decay: Tensor | None = None,
    mask: Tensor | None = None,
    inside: Inside | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Outputs (R, H) and the last states (B, H): what `ops.recurrent.recurrence` computes, in the same layout."""
    w_ih, w_hh, b_ih, b_hh = weights
    given = (x if w_ih is None else linear(x, w_ih, b_ih)).split(list(sizes))
    decays = None if log_decay is None else log_decay.exp().split(list(sizes))
    steps = range(len(sizes))
    outputs: dict[int, Tensor] = {}
    for t in reversed(steps) if reverse else steps:
        n = sizes[t]
        carried, memory = h[:n], None if c is None else c[:n]
        if decays is not None:
            carried = carried * decays[t]
            memory = None if memory is None else memory * decays[t]
        seen = carried if mask is None else carried * mask[:n]
        new, memory = _cell(kind, given[t], linear(seen, w_hh, b_hh), carried, memory, inside)
        outputs[t] = new
        h = new if n == h.shape[0] else torch.cat([new, h[n:]])
        if c is not None and memory is not None:
            c = memory if n == c.shape[0] else torch.cat([memory, c[n:]])
    return torch.cat([outputs[t] for t in steps]), h, c


def _cell(
    kind: str, given: Tensor, kept: Tensor, h: Tensor, c: Any, inside: Inside | None
) -> tuple[Tensor, Tensor | None]:
    if kind in ("relu", "tanh"):
        total = given + kept
        total = total if inside is None else layer_norm(total, inside.gain.shape, inside.gain, inside.shift)
        return torch.relu(total) if kind == "relu" else torch.tanh(total), None
    kept = kept if inside is None else layer_norm(kept, inside.gain.shape, inside.gain, inside.shift)
    if kind == "gru":
        r_x, z_x, n_x = given.chunk(3, 1)
        r_h, z_h, q = kept.chunk(3, 1)
        z = torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * q)
        return n + z * (h - n), None
    i, f, g, o = (given + kept).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    shown = c if inside is None else layer_norm(c, h.shape[1:], inside.cell_gain, inside.cell_shift)
    return torch.sigmoid(o) * torch.tanh(shown), c
