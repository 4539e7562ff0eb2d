"""Something opened for dissection: its recurrences along a batch, and how a loss hangs on what they put out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statewise.dissection.systems import System


@dataclass(frozen=True)
class Site:
    """One place in a network where something recurs.

    Attributes:
        name: such as 'encoder', 'encoder reverse', or '' where there is only one.
        system: the recurrence, a `Stack` for several layers.
        cotangents: (B, T, r) ∂L[t]/∂output[t], of the loss of step t by what the system reads out then; None where there is no loss.
        backward: the system runs from the end of the sequences to their beginning; its step 0 is a sequence's last.
        whole: L is one number a sequence: the cotangents are those of L by every step's output.
    """

    name: str
    system: System
    cotangents: np.ndarray | None
    backward: bool = False
    whole: bool = False

    @property
    def title(self) -> str:
        """The name of the place with the layers that it has, different for every site of a subject."""
        return self.labelled(self.system)

    def labelled(self, part: System) -> str:
        """The name of a layer in this site."""
        return f"{self.name} {part.label}".strip()


@dataclass(frozen=True)
class Subject:
    """What the analyses look at.

    Attributes:
        name: of the network, for sentences.
        sites: at least one.
        loss: what L[t] is, in words; empty where there is none.
        replay_error: the largest difference between the network's own output and that of its weights replayed through our equations; 0
            where there was nothing to compare.
        dt: time between steps, in the data's unit.
        unit: of time, for sentences.
        opened: the model or module.
        batch: what it was shown.
        notes: what a careful reader should know of how it was opened.
        details: what the analyses of one kind of model need, by name.
        memo: what analyses have computed and others can use; see `remembered`.
    """

    name: str
    sites: tuple[Site, ...]
    loss: str = ""
    replay_error: float = 0.0
    dt: float = 1.0
    opened: Any = None
    batch: Any = None
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    memo: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def remembered(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """`compute()`, once for every key."""
        if key not in self.memo:
            self.memo[key] = compute()
        return self.memo[key]

    @property
    def layers(self) -> list[tuple[str, System]]:
        """Every layer of every site with its name."""
        return [(site.labelled(part), part) for site in self.sites for part in site.system.parts]

    @property
    def lengths(self) -> np.ndarray:
        return self.sites[0].system.lengths
