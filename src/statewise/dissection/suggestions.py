"""What would help, and how to see whether it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise.dissection.diagnostic import Status
from statewise.dissection.reach import ENOUGH, Reach, cell_kinds, reach, spectral_radius
from statewise.dissection.systems import Stack

if TYPE_CHECKING:
    from statewise.dissection.dissection import Dissection

GATED = ("lstm", "gru", "diagonal")
_SHORT = 0.25  # of the sequences: a reach below it is short where no need was stated
_LATEST = 64  # steps that are looked at for it
_DEEP = 3  # layers from which skips are worth their while
_STACK_LOSS = 0.1  # what the lowest layer's gradient may be of the top's


@dataclass(frozen=True)
class Suggestion:
    """A remedy, with what is needed to apply it and to measure again.

    Attributes:
        kind: 'chrono', 'forget-bias', 'orthogonal', 'identity', 'spectral' (initialisations of `statewise.nn.initialise`), 'truncate' (the length of
            truncated back-propagation), 'clip' (a threshold for the gradient) or 'skip' (layers around which their input is added).
        options: numbers that the remedy takes.
        text: the remedy in a few words.
        because: what was measured that asks for it.
        measure: the analysis that shows whether it helped, and what it should show.
        source: who proposed it.
    """

    kind: str
    options: Mapping[str, float]
    text: str
    because: str
    measure: str
    source: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.text}: {self.because}; measure again: {self.measure}"

    def to_dict(self) -> dict[str, Any]:
        """In types that JSON has."""
        return {
            "kind": self.kind,
            "options": dict(self.options),
            "text": self.text,
            "because": self.because,
            "measure": self.measure,
            "source": self.source,
        }


def suggestions(d: Dissection) -> tuple[Suggestion, ...]:
    """What would help, the most important first; none where nothing is wrong."""
    far = reach(d.gradient_flow, d.gradient_half_life)
    if far is None:
        return ()
    if far.explodes:
        return tuple(_against_explosion(d, far))
    if not far.curve[0] > 0:
        return ()
    found = [*_against_vanishing(d, far), *_for_stacks(d)]
    return (*found, *_truncation(d, far))


def _against_explosion(d: Dissection, far: Reach) -> list[Suggestion]:
    lag, size = far.largest
    seen = "overflows" if far.overflowed else f"is {size:.3g} times as large {lag} steps back as where it starts"
    found = [
        Suggestion(
            "clip",
            {"threshold": 1.0},
            "clip the gradient's norm at 1",
            f"the gradient {seen}",
            "the norm of the gradient (a `Monitor` writes it); take a threshold from half to ten times its usual value",
            "Pascanu, Mikolov & Bengio 2013, §3.2",
        )
    ]
    radii = {name: spectral_radius(system) for name, system in d.subject.layers}
    wild = {name: radius for name, radius in radii.items() if radius > 1}
    if wild:
        name, radius = max(wild.items(), key=lambda item: item[1])
        found.append(
            Suggestion(
                "spectral",
                {"radius": 0.95},
                "recurrent weights scaled to a spectral radius of 0.95",
                f"that of {name} is {radius:.3g}",
                "`lyapunov`: λ₁ below 0",
                "Jaeger 2001; Pascanu, Mikolov & Bengio 2013, §2.2",
            )
        )
    return found


def _against_vanishing(d: Dissection, far: Reach) -> list[Suggestion]:
    needs = d.needs
    steps = float(d.subject.lengths.max())
    if needs is None:
        if far.horizon is None or far.horizon > _SHORT * steps:
            return []
        wanted, because = (
            float(np.ceil(steps)),
            f"one per cent of the gradient is left {far.horizon} steps back, in sequences of {steps:.0f}",
        )
    else:
        left = far.left(needs)
        if not left < ENOUGH:
            return []
        wanted, because = needs, f"{left:.1g} of the gradient is left {needs:g} steps back, where the task needs it"
    kinds = set(cell_kinds(d.subject).values())
    after = f"`gradient_flow`: more than {100 * ENOUGH:g} % left at a lag of {wanted:g}"
    found: list[Suggestion] = []
    if kinds & set(GATED):
        horizon, bias = 2.0 * wanted, float(-np.log(np.expm1(1.0 / wanted)))
        found += [
            Suggestion(
                "chrono",
                {"horizon": horizon},
                f"chrono initialisation with T = {horizon:g}",
                because,
                after,
                "Tallec & Ollivier 2018, §2",
            ),
            Suggestion(
                "forget-bias",
                {"value": round(bias, 3)},
                f"a forget bias of {bias:.2g}, which keeps for {wanted:g} steps",
                because,
                after,
                "Jozefowicz, Zaremba & Sutskever 2015, §2.2",
            ),
        ]
    if kinds & {"rnn", "linear"}:
        found.append(
            Suggestion(
                "orthogonal",
                {},
                "orthogonal recurrent weights",
                because,
                after,
                "Saxe, McClelland & Ganguli 2014, §3",
            )
        )
    if kinds & {"rnn-relu", "rnn"}:
        found.append(
            Suggestion(
                "identity",
                {},
                "recurrent weights that begin at the identity",
                because,
                after,
                "Le, Jaitly & Hinton 2015, §4",
            )
        )
    if kinds & {"rnn", "rnn-relu"}:
        radii = [spectral_radius(system) for _, system in d.subject.layers]
        if any(radius < 1 for radius in radii):
            found.append(
                Suggestion(
                    "spectral",
                    {"radius": 1.0},
                    "recurrent weights scaled to a spectral radius of 1",
                    f"it is {np.nanmin(radii):.3g}, and {because}",
                    after,
                    "Pascanu, Mikolov & Bengio 2013, §2.2",
                )
            )
    return found


def _for_stacks(d: Dissection) -> list[Suggestion]:
    """Layers around which their input is added, where a stack loses the gradient from layer to layer."""
    share = depth_share(d)
    if share is None or not share < _STACK_LOSS:
        return []
    return [
        Suggestion(
            "skip",
            {},
            "each layer's input added to its output",
            f"the gradient that reaches the lowest layer within a step is {share:.2g} of the top layer's",
            "this suggestion, which a larger share makes go away",
            "He, Zhang, Ren & Sun 2016",
        )
    ]


def depth_share(d: Dissection) -> float | None:
    """How large the loss's gradient by the states of the lowest layer is, of that by the top layer's, within the step of the loss.

    The geometric mean over steps and sequences; None where there is no stack of three layers or more, or no loss.
    """
    for site in d.subject.sites:
        system = site.system
        if not isinstance(system, Stack) or site.cotangents is None or len(system.parts) < _DEEP:
            continue
        logs: list[float] = []
        own = system.spread(np.where(system.mask[:, :, None], site.cotangents, 0.0))
        for t in range(max(0, system.steps - _LATEST), system.steps):
            found, _ = system.totals(t, own[:, t][:, None])
            low, top = (np.linalg.norm(each[:, 0], axis=1) for each in (found[0], found[-1]))
            there = (low > 0) & (top > 0)
            logs += list(np.log(low[there] / top[there]))
        return float(np.exp(np.mean(logs))) if logs else None
    return None


def _truncation(d: Dissection, far: Reach) -> list[Suggestion]:
    """The length of truncated back-propagation, where sequences are much longer than gradients reach, or need to."""
    steps = int(d.subject.lengths.max())
    useful = far.horizon if d.needs is None else int(np.ceil(max(d.needs, far.horizon or 0)))
    if useful is None or d.gradient_half_life.status is Status.REFUSED or steps < 4 * useful:
        return []
    length = max(2 * useful, 2)
    return [
        Suggestion(
            "truncate",
            {"steps": float(length)},
            f"back-propagation truncated at {length} steps",
            f"gradients count over {useful} steps at most, and the sequences have {steps}",
            "the time of a training step; `gradient_half_life` stays as it is",
            "Williams & Peng 1990",
        )
    ]
