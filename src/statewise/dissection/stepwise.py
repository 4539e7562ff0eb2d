"""Cells that a module calls step by step: their calls, gathered into trajectories."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from statewise._core.errors import InputError
from statewise.dissection.gated import GatedSystem
from statewise.dissection.layers import array, cell_system


@dataclass
class Trajectory:
    """Calls of one cell of which each took the state that the one before returned.

    Attributes:
        name: of the cell in the module, and which trajectory of it.
        cell: the module.
        initial: the first state, h or (h, c); None for zeros.
        inputs: of each call, (B, d).
        states: returned by each call, (h,) or (h, c), with graphs that lead to the module's result but not through later calls.
    """

    name: str
    cell: nn.RNNCellBase
    initial: tuple[Tensor, ...] | None
    inputs: list[Tensor] = field(default_factory=list)
    states: list[tuple[Tensor, ...]] = field(default_factory=list)

    @property
    def outputs(self) -> list[Tensor]:
        """h of every step."""
        return [state[0] for state in self.states]

    def system(self) -> GatedSystem:
        """Its replay."""
        sizes = {len(x) for x in self.inputs}
        if len(sizes) > 1:
            raise InputError(
                f"`model` calls the cell {self.name!r} with batches of {sorted(sizes)}; pass sequences of one length, so that all go on to the end"
            )
        x = np.stack([array(each) for each in self.inputs], axis=1)
        start = None if self.initial is None else np.concatenate([array(part) for part in self.initial], axis=-1)
        return cell_system(self.cell, x, start)

    def difference(self, system: GatedSystem) -> float:
        """The largest between the cell's own states and the replayed ones."""
        own = np.stack([np.concatenate([array(part) for part in state], axis=-1) for state in self.states], axis=1)
        return float(np.abs(own - system.states[:, 1:]).max(initial=0.0))


class Gatherer:
    """Follows the calls of the cells of a module while it runs.

    Attributes:
        trajectories: in the order in which they began.
        beside: tensors, also of layers, that a loss may read though they are no outputs.
    """

    def __init__(self) -> None:
        self.trajectories: list[Trajectory] = []
        self.beside: list[Tensor] = []
        self._running: dict[str, Trajectory] = {}

    def before(self, name: str, cell: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The arguments of a call with the state cut off from the calls before, so that what is found of a step is its own part of the loss.

        A call with a state that no call returned begins a trajectory.
        """
        given = dict(zip(("input", "hx"), args, strict=False)) | kwargs
        x, hx = given["input"], given.get("hx")
        parts = None if hx is None else hx if isinstance(hx, tuple) else (hx,)
        running = self._running.get(name)
        goes_on = (
            running is not None
            and parts is not None
            and all(a is b for a, b in zip(parts, running.states[-1], strict=True))
        )
        if running is None or not goes_on:
            count = sum(each.cell is cell for each in self.trajectories)
            running = Trajectory(name if not count else f"{name} (call {count + 1})", cell, _rows(parts))
            self._running[name] = running
            self.trajectories.append(running)
        running.inputs.append(x if x.dim() == 2 else x.unsqueeze(0))
        if not goes_on or parts is None:
            return None
        cut = tuple(part.detach() for part in parts)
        return (x, cut if isinstance(hx, tuple) else cut[0]), {}

    def after(self, name: str, result: Any) -> Any:
        """The result, its parts leaves that ask for gradients where the weights do not."""
        parts = result if isinstance(result, tuple) else (result,)
        own = tuple(part if part.requires_grad else part.detach().requires_grad_() for part in parts)
        self._running[name].states.append(own)
        self.beside.extend(own[1:])
        return own if isinstance(result, tuple) else own[0]

    def judged(self) -> list[Trajectory]:
        """The trajectories; states that were changed between two calls are refused."""
        broken = [each for each in self.trajectories if len(each.states) == 1]
        if len(broken) > 1:
            raise InputError(
                f"`model` changes the state of the cell {broken[0].cell.__class__.__name__} between two steps; pass its step(x, state) -> state"
            )
        return self.trajectories


def _rows(parts: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
    return None if parts is None else tuple(part if part.dim() == 2 else part.unsqueeze(0) for part in parts)
