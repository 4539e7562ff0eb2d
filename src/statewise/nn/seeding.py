"""torch's global generator, lent to one job at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

_LOCK = threading.RLock()


@contextmanager
def unmoved(devices: Sequence[int] = ()) -> Iterator[None]:
    """What is drawn inside leaves torch's global state as it was, and that of the CUDA `devices`.

    Jobs in other threads wait for their turn, so that none sees another's draws.
    """
    with _LOCK, torch.random.fork_rng(devices=list(devices)):
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """As `unmoved`, and what is drawn inside without a generator comes from this seed."""
    with unmoved():
        torch.default_generator.manual_seed(seed)
        yield


def has_dropout(module: nn.Module) -> bool:
    """Whether a module draws at random when it is trained."""
    shares = ("p", "dropout", "recurrent_dropout")
    return any(
        isinstance(share, float) and share > 0
        for each in module.modules()
        for share in (getattr(each, name, 0.0) for name in shares)
    )
