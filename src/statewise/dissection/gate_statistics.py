"""One pass over the gates of a layer: what time constants and saturation are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise.cells import Linearised
from statewise.dissection.gated import GatedSystem
from statewise.dissection.subject import Subject

CLOSED, OPEN = 0.05, 0.95  # a gate outside of these is saturated
FLAT = 0.05  # a slope below this is
TAU_EDGES = np.logspace(-2, 6, 81)  # of the histogram of single steps' time constants, in steps
_BLOCKS = 20
_RASTER = 240  # steps shown


@dataclass(frozen=True)
class Keeping:
    """The carried gates f of a layer: c[t] = f[t] c[t−1] + …, the decay between two steps included; H units.

    Attributes:
        blocks: (blocks, H) means of ln f over sequences or pieces of them.
        log_mean: (H,) ⟨ln f⟩.
        mean: (H,) ⟨f⟩.
        mean_tau: (H,) ⟨−1 / ln f⟩, in steps.
        counts: of single steps' time constants between `TAU_EDGES`, over all units; the last one is of all that are longer.
        at_rest: (H,) f of the biases alone, for no input and a state of zeros.
        raster: (H, T') f of the first sequence, T' steps at most 240.
        shown: (T',) the steps of the raster.
    """

    blocks: np.ndarray
    log_mean: np.ndarray
    mean: np.ndarray
    mean_tau: np.ndarray
    counts: np.ndarray
    at_rest: np.ndarray
    raster: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True)
class GateStatistics:
    """A layer's activations over all steps of all sequences.

    Attributes:
        low: (H,) by gate: the share of steps at which a gate is below .05; 0 for other nonlinearities.
        high: (H,) by gate: the share above .95.
        flat: (H,) by gate: the share at which the slope of a tanh or relu is below .05; 0 for others.
        keeping: of the gates that carry the state on; None for cells without.
    """

    low: dict[str, np.ndarray]
    high: dict[str, np.ndarray]
    flat: dict[str, np.ndarray]
    keeping: Keeping | None

    def saturated(self, gate: str) -> np.ndarray:
        """(H,) share of steps at which it is saturated in one way or the other."""
        return self.low[gate] + self.high[gate] + self.flat[gate]


def gate_statistics(subject: Subject) -> dict[str, GateStatistics]:
    """Of every layer whose gates are known, by its name; computed once for a subject."""
    found: dict[str, GateStatistics] = subject.remembered(
        "gate statistics",
        lambda: {name: layer_statistics(layer) for name, layer in subject.layers if isinstance(layer, GatedSystem)},
    )
    return found


def layer_statistics(system: GatedSystem) -> GateStatistics:
    """One pass over the steps of a layer, a few dozen at a time."""
    words, H = system.cell.activations, system.hidden_size
    sums = {gate: np.zeros((3, H)) for gate in words}
    keeping = _KeepingSums(system)
    shown = np.unique(np.linspace(0, system.lengths[0] - 1, min(_RASTER, int(system.lengths[0]))).astype(int))
    for times, parts in system.chunks():
        mask = system.mask[:, times]
        for gate, word in words.items():
            for k, judged in enumerate(_judged(word, parts.gates[gate])):
                if judged is not None:
                    sums[gate][k] += np.einsum("bth,bt->h", judged, mask, dtype=float)
        keeping.add(times, parts, mask, shown)
    total = int(system.lengths.sum())
    low, high, flat = ({gate: each[k] / total for gate, each in sums.items()} for k in range(3))
    return GateStatistics(low, high, flat, keeping.found(total, shown))


def _judged(word: str, values: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Where an activation is closed, open and flat; None where that cannot be."""
    if word == "sigmoid":
        return values < CLOSED, values > OPEN, None
    if word == "tanh":
        return None, None, 1 - values**2 < FLAT
    return None, None, (values <= 0 if word == "relu" else None)


class _KeepingSums:
    """Sums of the carried gates, filled chunk by chunk."""

    def __init__(self, system: GatedSystem) -> None:
        self.system, H = system, system.hidden_size
        self.pieces = max(1, min(-(-_BLOCKS // system.batch), system.steps))
        self.logs = np.zeros((system.batch, self.pieces, H))
        self.counted = np.zeros((system.batch, self.pieces))
        self.mean, self.mean_tau = np.zeros(H), np.zeros(H)
        self.counts = np.zeros(len(TAU_EDGES), int)
        self.raster: list[np.ndarray] = []
        self.some = False

    def add(self, times: slice, parts: Linearised, mask: np.ndarray, shown: np.ndarray) -> None:
        """One chunk of steps; `mask` (B, t) of the sequences' own."""
        f = parts.direct[..., -1, -1, :]
        if not self.some and not f.any():
            return
        self.some = True
        if self.system.decay is not None:
            f = f * self.system.decay[:, times, -f.shape[-1] :]
        with np.errstate(divide="ignore"):
            log = np.maximum(np.log(f), -745.0)  # of the smallest number above 0
            tau = -1 / log
        weights = mask.astype(float)
        self.mean += np.einsum("bth,bt->h", f, weights)
        self.mean_tau += np.where(mask[..., None], tau, 0.0).sum(axis=(0, 1))
        bins = np.searchsorted(TAU_EDGES, tau[mask].ravel()) - 1
        self.counts += np.bincount(np.clip(bins, 0, len(TAU_EDGES) - 1), minlength=len(TAU_EDGES))
        piece = np.arange(times.start, times.stop) * self.pieces // self.system.steps
        for k in np.unique(piece):
            own = weights * (piece == k)
            self.logs[:, k] += np.einsum("bth,bt->bh", log, own)
            self.counted[:, k] += own.sum(axis=1)
        here = shown[(shown >= times.start) & (shown < times.stop)] - times.start
        self.raster.append(f[0, here])

    def found(self, total: int, shown: np.ndarray) -> Keeping | None:
        """What the sums say, for `total` steps in all."""
        if not self.some:
            return None
        own = self.counted > 0
        blocks = self.logs[own] / self.counted[own][:, None]
        zeros = np.zeros((1, self.system.inputs.shape[2])), np.zeros((1, self.system.size))
        at_rest = self.system.linearised_at(*zeros).direct[0, -1, -1]
        if self.system.decay is not None:
            at_rest = at_rest * self.system.usual_decay[-len(at_rest) :]
        log_mean = self.logs.sum(axis=(0, 1)) / total
        raster = np.concatenate(self.raster).T
        return Keeping(blocks, log_mean, self.mean / total, self.mean_tau / total, self.counts, at_rest, raster, shown)
