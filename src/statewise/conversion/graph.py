"""`convert` and `conversions`: a graph whose edges declare whether they are exact and what they preserve."""

from __future__ import annotations

import importlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from statewise._core import checks
from statewise._core.errors import UnsupportedError
from statewise.models.base import Model

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bridge:
    """One conversion.

    Attributes:
        source, target: kinds of model.
        exact: whether results agree to rounding error.
        preserves: what agrees.
        where: 'module:function'; the function takes the model and options and returns the new model.
    """

    source: str
    target: str
    exact: bool
    preserves: str
    where: str

    def apply(self, model: Model, **options: Any) -> Model:
        module, name = self.where.split(":")
        return getattr(importlib.import_module(module), name)(model, **options)


_SYSTEM = "log-likelihood, forecasts, filtered and smoothed states"
_HERE = "statewise.conversion"
BRIDGES = (
    Bridge("arima", "state-space", True, _SYSTEM, f"{_HERE}.to_state_space:to_state_space"),
    Bridge("naive", "state-space", True, _SYSTEM, f"{_HERE}.to_state_space:to_state_space"),
    Bridge("structural", "state-space", True, _SYSTEM, f"{_HERE}.to_state_space:to_state_space"),
    Bridge("varma", "state-space", True, _SYSTEM, f"{_HERE}.to_state_space:to_state_space"),
    Bridge(
        "state-space", "rnn", True, "log-likelihood and forecasts", f"{_HERE}.state_space_to_rnn:state_space_to_rnn"
    ),
)


def conversions() -> pd.DataFrame:
    """What converts to what: one row for each direct bridge, with `exact` and what it preserves. Longer chains are found by `convert`."""
    import pandas as pd

    return pd.DataFrame(
        [{"from": b.source, "to": b.target, "exact": b.exact, "preserves": b.preserves} for b in BRIDGES]
    )


def convert(model: Model, to: str, **options: Any) -> Model:
    """The same model in another form, through the shortest chain of bridges.

    Args:
        model: a model with parameters.
        to: the kind to convert to, such as 'state-space' or 'rnn'.
        options: for the last bridge of the chain (see its function), such as ``gain="steady"`` for 'rnn'.

    Raises:
        InputError: `to` is not a kind that anything converts to.
        UnsupportedError: no chain leads there, or the model's parameters do not allow it; the message says why.

    Example:
        >>> rnn = convert(VARMA(p=1, q=1).fit(seqs), to="rnn")
        >>> abs(rnn.log_prob(seqs) - varma.log_prob(seqs)).max() < 1e-10  # doctest: +SKIP
    """
    if not isinstance(model, Model):
        raise UnsupportedError(f"`model` is {checks.shown(model)}; pass a statewise model, such as a fitted VARMA")
    checks.Choice(tuple(sorted({b.target for b in BRIDGES}))).check("to", to)
    chain = _chain(model.kind, to)
    for bridge in chain[:-1]:
        model = bridge.apply(model)
    return chain[-1].apply(model, **options)


def _chain(source: str, target: str) -> list[Bridge]:
    queue: deque[tuple[str, list[Bridge]]] = deque([(source, [])])
    seen = {source}
    while queue:
        kind, path = queue.popleft()
        for bridge in BRIDGES:
            if bridge.source == kind and bridge.target not in seen:
                if bridge.target == target:
                    return [*path, bridge]
                seen.add(bridge.target)
                queue.append((bridge.target, [*path, bridge]))
    reachable = ", ".join(sorted(seen - {source})) or "nothing"
    raise UnsupportedError(f"a {source!r} model does not convert to {target!r}; from it one reaches: {reachable}")
