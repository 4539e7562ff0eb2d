"""Opening one of our own models on sequences; one file a family."""

from __future__ import annotations

import importlib
from typing import Any

from statewise._core.errors import InputError, UnsupportedError
from statewise.dissection.subject import Subject
from statewise.sequences.build import as_sequences

# kind of model -> the file and function that opens it
_OPENERS: dict[str, tuple[str, str]] = {
    "arima": ("open_gaussian", "open_gaussian"),
    "classifier": ("open_network", "open_labeller"),
    "embedded-rnn": ("open_converted", "open_embedded"),
    "gru-network": ("open_converted", "open_cells"),
    "hmm": ("open_markov", "open_markov"),
    "linear-birnn": ("open_smoother", "open_smoother"),
    "linear-rnn": ("open_gaussian", "open_gaussian"),
    "lstm-network": ("open_converted", "open_cells"),
    "leaky-integrator": ("open_converted", "open_leaky"),
    "recurrent": ("open_network", "open_recurrent"),
    "softmax-birnn": ("open_markov", "open_markov_smoother"),
    "softmax-rnn": ("open_markov", "open_markov"),
    "started-recurrent": ("open_started", "open_started"),
    "state-space": ("open_gaussian", "open_gaussian"),
    "structural": ("open_gaussian", "open_gaussian"),
    "tagger": ("open_network", "open_labeller"),
    "varma": ("open_gaussian", "open_gaussian"),
}
_SOLVERS = ("ode", "ode-rnn")


def open_model(model: Any, data: Any, loss: Any, dt: float, initial: Any = None) -> Subject:
    """A model along sequences.

    Args:
        model: fitted, or with given parameters.
        data: sequences, as its verbs take them; for an `ODE` the number of steps.
        loss: None for the model's own: −log p(y[t] | past) of a density, −log p(label) of a `Tagger` or `Classifier`. Else a function of
            what the recurrence reads out, (B, T, n).
        dt: time between steps; that of the model, where it has one, unless another is given.
        initial: first states of an `ODE`.

    Raises:
        InputError: there are no sequences, or they do not fit the model.
        UnsupportedError: the model has no recurrence.
    """
    if model.kind in _SOLVERS:
        from statewise.dissection.open_ode import open_ode

        return open_ode(model, data, loss, dt, initial)
    if model.kind not in _OPENERS:
        raise UnsupportedError(f"`model` is {model.name}, which carries no state; pass a model with one")
    if data is None:
        raise InputError("`batch` is None; pass sequences for the model to run along")
    _ = model.parameters
    file, function = _OPENERS[model.kind]
    opener = getattr(importlib.import_module(f"statewise.dissection.{file}"), function)
    seqs = as_sequences(data)
    receive = getattr(model, "_receive", None)
    subject: Subject = opener(model, seqs if receive is None else receive(seqs), loss, dt)
    return subject
