"""Fitting a network from end to end, against the same loop with torch's own layer."""

from __future__ import annotations

from functools import partial

import statewise as sw
from benchmarks.workloads import Pair, Workload

_EPOCHS = 100


def _sunspots(size: int) -> Pair:
    """A fit to the last `size` years. Everything but the layer is the same code: windows, head, optimiser, scores after each epoch.

    Both run 100 epochs: where early stopping ends depends on rounding.
    """
    import torch

    from statewise.nn import network

    seqs = sw.datasets.load("sunspots").steps(-size)

    def ours() -> float:
        return (
            sw.Recurrent(cell="gru", hidden=32)
            .fit(seqs, epochs=_EPOCHS, patience=_EPOCHS)
            .fit_result.details["best_score"]
        )

    def peer() -> float:
        kept = network._LAYERS["gru"]
        network._LAYERS["gru"] = partial(torch.nn.GRU, batch_first=True)
        try:
            return ours()
        finally:
            network._LAYERS["gru"] = kept

    # A better validation score is a better answer; rounding differs, and a hundred epochs carry it on.
    return Pair(ours, peer, lambda a, b: max(0.0, b - a))


WORKLOADS = [
    Workload(
        name="fit-gru",
        what="fitting Recurrent(cell='gru', hidden=32) to the sunspots, 309 years, 100 epochs",
        peer="the same loop with torch.nn.GRU",
        unit="nats per validation step below the peer's",
        tolerance=0.02,
        steps=309,
        quick_steps=309,
        build=_sunspots,
        most_rounds=5,
    )
]
