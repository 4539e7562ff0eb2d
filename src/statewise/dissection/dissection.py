"""`dissect`: everything that the analyses find out about one model or module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from statewise._core import checks
from statewise.dissection import registry
from statewise.dissection.diagnostic import Diagnostic, plain
from statewise.dissection.findings import Finding, findings
from statewise.dissection.opening import opened
from statewise.dissection.subject import Subject
from statewise.dissection.suggestions import Suggestion, suggestions
from statewise.dissection.verdict import summary, verdict


class Dissection:
    """The diagnostics of one network on one batch; each is an attribute by its analysis' name, computed when it is first asked for.

    Attributes:
        subject: what was opened.
        needs: steps of memory that the task needs, if that was said.
        replay_error: the largest difference between the network's own output and that of its weights replayed through our equations.
    """

    def __init__(self, subject: Subject, options: dict[str, dict[str, Any]], needs: float | None = None) -> None:
        self.subject = subject
        self.needs = needs
        self._options = options
        self._found: dict[str, Diagnostic] = {}

    @property
    def replay_error(self) -> float:
        return self.subject.replay_error

    def __getattr__(self, name: str) -> Diagnostic:
        if name.startswith("_") or name not in registry.names():
            raise AttributeError(f"a dissection has no {name!r}; its analyses are {', '.join(registry.names())}")
        if name not in self._found:
            self._found[name] = registry.analysis(name).compute(self.subject, **self._options.get(name, {}))
        return self._found[name]

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *registry.names()])

    def __iter__(self) -> Iterator[Diagnostic]:
        """All diagnostics, in the order of the report; those that are not there yet are computed."""
        return (getattr(self, name) for name in registry.names())

    def __repr__(self) -> str:
        return f"Dissection({self.subject.name}; computed: {', '.join(self._found)})"

    @property
    def computed(self) -> dict[str, Diagnostic]:
        """What was found so far by name, in the order of the registry."""
        return {name: self._found[name] for name in registry.names() if name in self._found}

    @property
    def unit(self) -> str:
        """Of times, in words."""
        return "steps" if self.subject.dt == 1 else "units of time"

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Where gradients die or explode: which step, layer, unit or gate."""
        return findings(self)

    @cached_property
    def suggestions(self) -> tuple[Suggestion, ...]:
        """What would help, the most important first; `statewise.dissection.apply` makes a copy with it."""
        return suggestions(self)

    def summary(self) -> str:
        """The verdict in one line, where the trouble is, what was found so far, and what would help."""
        return summary(self)

    def report(self, path: str | os.PathLike[str], other: Dissection | None = None) -> Path:
        """Write all diagnostics to one HTML file that opens without a network, and return its path.

        Args:
            path: the file; an existing one is replaced.
            other: a second dissection, such as of a later checkpoint, to set beside this one.
        """
        from statewise.report.dissection import write_dissection

        return write_dissection(path, self, other)

    def to_dict(self) -> dict[str, Any]:
        """What was found so far, in types that JSON has."""
        return {
            "name": self.subject.name,
            "verdict": verdict(self),
            "needs": self.needs,
            "loss": self.subject.loss,
            "replay_error": plain(self.replay_error),
            "notes": list(self.subject.notes),
            "findings": [vars(each) for each in self.findings],
            "suggestions": [each.to_dict() for each in self.suggestions],
            "diagnostics": {name: each.to_dict() for name, each in self.computed.items()},
        }

    def to_frame(self) -> pd.DataFrame:
        """The values found so far, one row a number."""
        return pd.concat([each.to_frame() for each in self._found.values()], ignore_index=True)


def dissect(
    model: Any,
    batch: Any = None,
    loss: Any = None,
    *,
    layer: str | None = None,
    initial: Any = None,
    lengths: Any = None,
    dt: float = 1.0,
    needs: float | None = None,
    exponents: int = 8,
    seed: int | None = 0,
) -> Dissection:
    """Open a recurrent model and say what it remembers.

    Args:
        model: one of ours; a torch module with a recurrent layer inside, which is left as it was; a step(x, state) -> state; Jacobians.
        batch: sequences for a model; what a module is called with.
        loss: of what a module returns, one a step (batch, time), one a sequence, or one number. None: our models' own log-likelihood per
            step; ½‖output‖² per step of a module.
        layer: the one layer inside a module to look at, by its name there.
        initial: the first state of a bare layer, cell or step function.
        lengths: (B,) of a padded batch.
        dt: time between steps; time constants and exponents are per unit of it.
        needs: steps of memory that the task needs, if you know them: the summary then says whether gradients reach that far.
        exponents: leading Lyapunov exponents of every layer.
        seed: of what is drawn.

    Gradient flow, exponents, time constants and saturation are computed at once, the others when they are first asked for.

    Example:
        >>> import torch
        >>> d = sw.dissect(torch.nn.LSTM(3, 16, batch_first=True), torch.ones(8, 50, 3))
        >>> d.lyapunov.value.shape, d.replay_error < 1e-6
        ((8,), True)
    """
    subject = opened(model, batch, loss, layer=layer, initial=initial, lengths=lengths, dt=dt)
    k = checks.Integer(1).check("exponents", exponents)
    wanted = checks.Optional(checks.Real(0.0, open_low=True)).check("needs", needs)
    spectral = {name: {"exponents": k, "seed": seed} for name in ("lyapunov", "kaplan_yorke", "time_constants")}
    found = Dissection(subject, {**spectral, "gradient_half_life": {"seed": seed}}, wanted)
    for name, each in registry.analyses().items():
        if each.at_once:
            getattr(found, name)
    return found
