"""The registry of models: kind -> where its class lives. A new model is one line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from statewise._core.errors import InputError

if TYPE_CHECKING:
    from statewise.models.base import Model

MODELS: dict[str, str] = {
    "arima": "statewise.models.arima:ARIMA",
    "classifier": "statewise.models.classifier:Classifier",
    "embedded-rnn": "statewise.models.cell_network:EmbeddedRNN",
    "gru-network": "statewise.models.cell_network:GRUNetwork",
    "hmm": "statewise.models.hmm:HMM",
    "leaky-integrator": "statewise.models.leaky:LeakyIntegrator",
    "linear-birnn": "statewise.models.linear_birnn:LinearBiRNN",
    "linear-rnn": "statewise.models.linear_rnn:LinearRNN",
    "lstm-network": "statewise.models.cell_network:LSTMNetwork",
    "naive": "statewise.models.naive:Naive",
    "ode": "statewise.models.ode:ODE",
    "ode-rnn": "statewise.models.ode_rnn:ODERNN",
    "recurrent": "statewise.models.recurrent:Recurrent",
    "softmax-birnn": "statewise.models.softmax_rnn:SoftmaxBiRNN",
    "softmax-rnn": "statewise.models.softmax_rnn:SoftmaxRNN",
    "started-recurrent": "statewise.models.started:StartedRecurrent",
    "state-space": "statewise.models.state_space:StateSpace",
    "structural": "statewise.models.structural:Structural",
    "tagger": "statewise.models.tagger:Tagger",
    "varma": "statewise.models.varma:VARMA",
}


def model_class(kind: str) -> type[Model]:
    """The class of a kind; imported only now, so that a VARMA user never loads torch."""
    if kind not in MODELS:
        raise InputError(f"there is no model kind {kind!r}; the kinds are {', '.join(sorted(MODELS))}")
    module, name = MODELS[kind].split(":")
    return getattr(importlib.import_module(module), name)
