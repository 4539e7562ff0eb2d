"""`convert` and `conversions`: a graph whose edges declare whether they are exact and what they preserve."""

from __future__ import annotations

import importlib
import inspect
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

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
        makes: the kind that comes out, where several kinds share a name as a target; the target itself unless given.
    """

    source: str
    target: str
    exact: bool
    preserves: str
    where: str
    makes: str = ""

    @property
    def node(self) -> str:
        """The kind from which a chain goes on."""
        return self.makes or self.target

    @property
    def function(self) -> Any:
        """What makes the new model."""
        module, name = self.where.split(":")
        return getattr(importlib.import_module(module), name)

    def apply(self, model: Any, **options: Any) -> Model:
        made: Model = self.function(model, **options)
        return made

    def judge(self, options: Mapping[str, Any]) -> None:
        """Raise TypeError, as for any keyword that is not there, for an option that the function does not take."""
        known = list(inspect.signature(self.function).parameters)[1:]
        for name in options:
            if name not in known:
                takes = ", ".join(known) or "no options"
                raise TypeError(f"`{name}` is no option of {self.source!r} to {self.target!r}, which takes {takes}")


_SYSTEM = "log-likelihood, forecasts, filtered and smoothed states"
_LAW = "log-likelihood and forecasts"
_HERE = "statewise.conversion"
_SMOOTHED = "smoothed states"
_EACH = "log-likelihood of each step"
_HELD = "the cell path; the response to O(scale²)"
_SMALL = "log-likelihood and predictions at the settled gain, to O(scale²)"
_FOREIGN = {
    "statsmodels": "statsmodels",
    "hmmlearn": "hmmlearn",
    "torch": "torch",
    "statewise": "layer",
}  # package -> its node
_FORMS = {"linear-rnn": "rnn"}  # kind of a model -> its name as a target, where they differ
BRIDGES = (
    Bridge("arima", "state-space", True, _SYSTEM, f"{_HERE}.to_state_space:to_state_space"),
    Bridge("naive", "state-space", True, _SYSTEM, f"{_HERE}.to_state_space:to_state_space"),
    Bridge("structural", "state-space", True, _SYSTEM, f"{_HERE}.to_state_space:to_state_space"),
    Bridge("varma", "state-space", True, _SYSTEM, f"{_HERE}.to_state_space:to_state_space"),
    Bridge("state-space", "rnn", True, _LAW, f"{_HERE}.state_space_to_rnn:state_space_to_rnn"),
    Bridge("state-space", "innovations", True, _LAW, f"{_HERE}.innovations:state_space_to_innovations"),
    Bridge("state-space", "varma", True, _LAW, f"{_HERE}.innovations:state_space_to_varma"),
    Bridge("rnn", "state-space", True, _LAW, f"{_HERE}.innovations:rnn_to_state_space"),
    Bridge(
        "state-space", "birnn", True, _SMOOTHED, f"{_HERE}.state_space_to_birnn:state_space_to_birnn", "linear-birnn"
    ),
    Bridge("torch", "layer", True, "outputs and last states", f"{_HERE}.torch_layers:torch_to_layer"),
    Bridge("layer", "torch", True, "outputs and last states", f"{_HERE}.torch_layers:layer_to_torch"),
    Bridge("statsmodels", "state-space", True, _EACH, f"{_HERE}.from_statsmodels:statsmodels_to_state_space"),
    Bridge("hmmlearn", "hmm", True, _EACH, f"{_HERE}.from_hmmlearn:hmmlearn_to_hmm"),
    Bridge("hmm", "rnn", True, _SYSTEM, f"{_HERE}.hmm_to_rnn:hmm_to_rnn", "softmax-rnn"),
    Bridge("hmm", "birnn", True, _SMOOTHED, f"{_HERE}.hmm_to_rnn:hmm_to_birnn", "softmax-birnn"),
    Bridge("leaky-integrator", "lstm", False, _HELD, f"{_HERE}.leaky_to_gates:leaky_to_lstm", "lstm-network"),
    Bridge("leaky-integrator", "gru", False, _HELD, f"{_HERE}.leaky_to_gates:leaky_to_gru", "gru-network"),
    Bridge("lstm-network", "leaky-integrator", False, _HELD, f"{_HERE}.leaky_to_gates:gates_to_leaky"),
    Bridge("gru-network", "leaky-integrator", False, _HELD, f"{_HERE}.leaky_to_gates:gates_to_leaky"),
    Bridge("ode", "rnn", True, "the solver's steps", f"{_HERE}.ode_to_rnn:ode_to_rnn", "ode-rnn"),
    Bridge("rnn", "tanh-rnn", False, _SMALL, f"{_HERE}.linear_to_gates:linear_to_tanh", "embedded-rnn"),
    Bridge("rnn", "lstm", False, _SMALL, f"{_HERE}.linear_to_gates:linear_to_lstm", "embedded-rnn"),
    Bridge("rnn", "gru", False, _SMALL, f"{_HERE}.linear_to_gates:linear_to_gru", "embedded-rnn"),
    Bridge("softmax-rnn", "hmm", True, _SYSTEM, f"{_HERE}.hmm_to_rnn:rnn_to_hmm"),
)


def conversions() -> pd.DataFrame:
    """What converts to what: one row for each direct bridge, with `exact` and what it preserves. Longer chains are found by `convert`."""
    import pandas as pd

    return pd.DataFrame(
        [{"from": b.source, "to": b.target, "exact": b.exact, "preserves": b.preserves} for b in BRIDGES]
    )


@overload
def convert(model: Any, to: str, verify: None = None, **options: Any) -> Model: ...
@overload
def convert(model: Any, to: str, verify: Any, **options: Any) -> tuple[Model, float]: ...
def convert(model: Any, to: str, verify: Any = None, **options: Any) -> Model | tuple[Model, float]:
    """The same model in another form, through the shortest chain of bridges.

    Args:
        model: a model with parameters; or the results of a statsmodels state-space model, or a fitted hmmlearn model.
        to: the kind to convert to, such as 'state-space' or 'rnn'.
        verify: sequences on which both models are then compared in all that the chain preserves; the model comes back with the largest
            discrepancy |a − b| / max(1, |b|) found.
        options: for the last bridge of the chain (see its function), such as ``gain="steady"`` for 'rnn'.

    Raises:
        InputError: `to` is not a kind that anything converts to.
        TypeError: the last bridge has no such option; the message names those that it has.
        UnsupportedError: no chain leads there, or the model's parameters do not allow it; the message says why.

    Example:
        >>> rnn = convert(VARMA(p=1, q=1).fit(seqs), to="rnn")
        >>> abs(rnn.log_prob(seqs) - varma.log_prob(seqs)).max() < 1e-10  # doctest: +SKIP
    """
    kind = _kind(model)
    checks.Choice(tuple(sorted({b.target for b in BRIDGES}))).check("to", to)
    chain = _chain(_FORMS.get(kind, kind), to)
    chain[-1].judge(options)
    converted = model
    for bridge in chain[:-1]:
        converted = bridge.apply(converted)
    converted = chain[-1].apply(converted, **options)
    if verify is None:
        return converted
    return converted, discrepancy(model, converted, verify, [bridge.preserves for bridge in chain])


def _kind(model: Any) -> str:
    """The kind of a statewise model, or the name that bridges have for an object of another package."""
    if isinstance(model, Model):
        return model.kind
    package = type(model).__module__.partition(".")[0]
    if package in _FOREIGN:
        return _FOREIGN[package]
    raise UnsupportedError(
        f"`model` is {checks.shown(model)}; pass a statewise model, such as a fitted VARMA, results of a statsmodels state-space model, or an "
        "hmmlearn model, or a torch.nn.RNN, GRU or LSTM"
    )


def discrepancy(model: Any, converted: Model, data: Any, preserves: list[str]) -> float:
    """Largest |a − b| / max(1, |b|) over log densities, forecasts, and the states that all of `preserves` name."""
    from statewise.conversion.verify import compared

    pairs = compared(model, converted, data, preserves)
    return max((float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(b)), initial=0.0)) for a, b in pairs), default=0.0)


def _chain(source: str, target: str) -> list[Bridge]:
    queue: deque[tuple[str, list[Bridge]]] = deque([(source, [])])
    seen, names = {source}, set[str]()
    while queue:
        kind, path = queue.popleft()
        for bridge in BRIDGES:
            if bridge.source != kind or bridge.node == source:
                continue
            if bridge.target == target:
                return [*path, bridge]
            names.add(bridge.target)
            if bridge.node not in seen:
                seen.add(bridge.node)
                queue.append((bridge.node, [*path, bridge]))
    reachable = ", ".join(sorted(names - {source})) or "nothing"
    raise UnsupportedError(f"a {source!r} model does not convert to {target!r}; from it one reaches: {reachable}")
