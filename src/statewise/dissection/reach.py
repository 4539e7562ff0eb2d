"""What the gradient flow says about a lag, a step and a layer: the facts that findings, suggestions and the summary share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.subject import Subject
from statewise.dissection.systems import System

ENOUGH = 0.01  # of the gradient, that must be left at the lag that a task needs
EXPLODED = 100.0  # times its start, from which a gradient counts as exploding


@dataclass(frozen=True)
class Reach:
    """How far gradients reach.

    Attributes:
        curve: (W,) I(k), the share of the gradient that is left k steps back.
        slope: of ln I(k), in nats a step; NaN where it was refused.
        overflowed: whether a product of Jacobians left the range of numbers.
    """

    curve: np.ndarray
    slope: float
    overflowed: bool

    def left(self, lag: float) -> float:
        """I(lag), by the fitted slope beyond the steps that were looked at; NaN where there is nothing to go by."""
        k = int(np.ceil(lag))
        known = np.flatnonzero(np.isfinite(self.curve))
        if k < len(self.curve) and np.isfinite(self.curve[k]):
            return float(self.curve[k])
        if not known.size or not np.isfinite(self.slope):
            return float("nan")
        last = int(known[-1])
        return float(np.exp(np.log(max(self.curve[last], 1e-300)) + min(self.slope * (k - last), 700.0)))

    @property
    def horizon(self) -> int | None:
        """The first lag at which less than `ENOUGH` is left, or None where that is not within what was looked at."""
        low = np.flatnonzero(self.curve < ENOUGH)
        return int(low[0]) if low.size else None

    @property
    def largest(self) -> tuple[int, float]:
        """(lag, I(lag)) of the largest gradient."""
        if not np.isfinite(self.curve).any():
            return 0, float("nan")
        k = int(np.nanargmax(self.curve))
        return k, float(self.curve[k])

    @property
    def explodes(self) -> bool:
        return self.overflowed or self.largest[1] > EXPLODED


def reach(flow: Diagnostic, half_life: Diagnostic) -> Reach | None:
    """From the diagnostics of those names; None where there is no loss to follow back."""
    if flow.status is Status.REFUSED:
        return None
    slope = float("nan") if half_life.status is Status.REFUSED else float(half_life.data["slope"])
    overflowed = bool(np.isinf(flow.data["by_sequence"]).any())
    return Reach(np.asarray(flow.data["curve"], dtype=float), slope, overflowed)


def step_factors(flow: Diagnostic) -> tuple[np.ndarray, np.ndarray]:
    """(steps, factors): what passing step s backwards does to the gradient, the geometric mean over later losses and sequences.

    factors[i] = exp mean ln (G[t, s−1] / G[t, s]) at s = steps[i], from the losses of steps t ≥ s; NaN where few of them reach.
    """
    G = np.asarray(flow.data["by_sequence"])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(G[:, :, :-1] / G[:, :, 1:])
    usable = np.isfinite(ratios) & (G[:, :, 1:] > 1e-25)
    counts = usable.sum(axis=(0, 1))
    sums = np.where(usable, ratios, 0.0).sum(axis=(0, 1))
    steps = int(flow.data["first_step"]) + 1 + np.arange(G.shape[2] - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(counts > counts.max(initial=0) // 4, np.exp(sums / counts), np.nan)
    return steps, factors


def layer_rates(lyapunov: Diagnostic) -> dict[str, float]:
    """The leading exponent of every layer, in nats per unit of time, by the layer's name."""
    return {name: float(values[0]) for name, values in lyapunov.data.get("layers", {}).items() if len(values)}


def cell_kinds(subject: Subject) -> dict[str, str]:
    """'rnn', 'lstm', … of every layer whose equations are known, by the layer's name."""
    found = {}
    for name, system in subject.layers:
        cell = getattr(system, "cell", None)
        if cell is not None:
            found[name] = str(cell.name)
    return found


def spectral_radius(system: System) -> float:
    """Of the recurrent weights of an ungated layer; NaN where there are none."""
    weight = getattr(system, "weight", None)
    if weight is None or weight.ndim != 2 or weight.shape[0] != weight.shape[1]:
        return float("nan")
    return float(np.abs(np.linalg.eigvals(np.asarray(weight, dtype=np.float64))).max())
