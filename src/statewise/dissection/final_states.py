"""The state that a layer returns beside its output, for modules whose loss reads that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from statewise.dissection.layers import Call
from statewise.nn.diagonal import MinGRU


def through_output(layer: Any, call: Call, result: Any) -> tuple[Any, list[Tensor]]:
    """The same result with the top layer's last h taken from the output, so that a loss of it is one of the output; and what cannot be."""
    states = result[1]
    h = states[0] if isinstance(states, tuple) else states
    beside = [part for part in (states if isinstance(states, tuple) else (states,)) if part.requires_grad]
    if not isinstance(layer, nn.RNNBase | MinGRU) or int(call.lengths.min()) < 1:
        return result, beside
    rows = call.output.reshape(-1, call.output.shape[-1])
    places = call.padded(torch.arange(len(rows)).reshape(*call.output.shape[:-1], 1))[..., 0]
    last = places[torch.arange(len(places)), torch.from_numpy(call.lengths) - 1]
    top = [rows[last.to(rows.device)][:, : h.shape[-1]]]
    if layer.bidirectional:
        top.append(rows[places[:, 0].to(rows.device)][:, h.shape[-1] :])
    own = torch.stack(top) if h.dim() == 3 else torch.cat(top)
    joined = torch.cat([h[: len(h) - len(top)], own])
    rest = (joined, *states[1:]) if isinstance(states, tuple) else joined
    if isinstance(result, tuple) and not isinstance(result, PackedSequence):
        return (result[0], rest, *result[2:]), beside
    return result, beside
