"""Trained layers and networks as ONNX files, for programs without Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, UnsupportedError
from statewise.models.labeller import Labeller
from statewise.models.recurrent import Recurrent
from statewise.nn.head import FLOOR
from statewise.nn.onnx_graph import Graph
from statewise.nn.outputs.base import SWING

if TYPE_CHECKING:
    from torch import nn

_SQUASH = 3.0
_CELLS = {"RNN_TANH": "rnn", "RNN_RELU": "relu", "GRU": "gru", "LSTM": "lstm"}


def export_onnx(what: Any, path: str | os.PathLike[str], initial_state: bool = False) -> Path:
    """Write a trained layer or model as an ONNX file with free batch and time axes and lengths, in float32.

    Args:
        what: a `Recurrent`, `Tagger` or `Classifier` with parameters; or an RNN, GRU or LSTM layer of `statewise.nn` or `torch.nn`.
        path: the file.
        initial_state: of a layer, whether the first state is an input too: ``h_0``, and ``c_0`` of an LSTM, (layers · directions, batch, H).

    Inputs of the file are ``lengths`` (batch,) int64, real steps of each sequence, and

    * for a layer ``input``, with its own order of axes. Outputs: ``output``, 0 beyond the lengths; ``h_n``, and ``c_n`` of an LSTM.
    * for a model ``values`` (batch, time, p) in the data's units, NaN where missing, and ``inputs`` (batch, time, u) if it has some. Outputs: of a
      Tagger ``probs`` (batch, time, K), of a Classifier ``probs`` (batch, K); of a Recurrent the numbers of the law of each step given the
      steps before it: ``location``, ``log_sd``, ``shape`` (`statewise.nn.outputs`; those that its output has), and of a normal output
      without correlations ``mean`` and ``variance`` (batch, time, p) in the data's units.

    Raises:
        MissingDependencyError: the package onnx is not there.
        UnsupportedError: ONNX has no operator for the cell: 'diagonal', or a state that fades over irregular times.
        InputError: `what` is nothing of that.

    Example:
        >>> model = Recurrent(hidden=4).fit(seqs, epochs=1)
        >>> export_onnx(model, "nile.onnx").name
        'nile.onnx'
    """
    path = checks.File().check("path", path)
    initial_state = checks.Flag().check("initial_state", initial_state)
    if isinstance(what, Recurrent):
        return _recurrent(what, path)
    if isinstance(what, Labeller):
        return _labeller(what, path)
    if hasattr(what, "all_weights") and getattr(what, "mode", None) in _CELLS:
        return _layer(what, path, initial_state)
    raise InputError(
        f"`what` is a {type(what).__name__}; pass a Recurrent, a Tagger, a Classifier, or an RNN, GRU or LSTM layer"
    )


def _layer(layer: nn.RNNBase, path: str | os.PathLike[str], initial_state: bool) -> Path:
    if layer.proj_size:
        raise UnsupportedError("the layer has proj_size, for which ONNX has no operator; export a layer without it")
    if getattr(layer, "time_constant", None) is not None or getattr(layer, "decay_inputs", False):
        raise UnsupportedError(
            "the layer's state decays with time, for which ONNX has no operator; export one without it"
        )
    graph, cell = Graph(), _CELLS[layer.mode]
    params = {name: p.detach().double().cpu().numpy() for name, p in layer.named_parameters()}
    axes: list[str | int] = ["batch", "time"] if layer.batch_first else ["time", "batch"]
    x, lengths = graph.input("input", [*axes, layer.input_size]), graph.input("lengths", ["batch"], integer=True)
    directions = 1 + layer.bidirectional
    state_shape: list[str | int] = [layer.num_layers * directions, "batch", layer.hidden_size]
    names = ("h", "c") if cell == "lstm" else ("h",)
    first = [graph.input(f"{name}_0", state_shape) for name in names] if initial_state else []
    learned = [f"initial_{name}" for name in names if f"initial_{name}" in params]
    if learned and not initial_state:
        first = [_for_every_sequence(graph, params[name], lengths) for name in learned]
    y, ends = graph.recurrent(cell, params, _turned(graph, x) if layer.batch_first else x, lengths, first)
    graph.output("output", _turned(graph, y) if layer.batch_first else y, [*axes, layer.hidden_size * directions])
    for name, end in zip(names, ends, strict=True):
        graph.output(f"{name}_n", end, state_shape)
    return graph.write(path)


def _for_every_sequence(graph: Graph, state: np.ndarray, lengths: str) -> str:
    """(L·D, batch, H) from (L·D, H)."""
    shape = graph.add("Concat", np.array([len(state)]), graph.add("Shape", lengths), np.array([state.shape[1]]), axis=0)
    return str(graph.add("Expand", state[:, None], shape))


def _turned(graph: Graph, x: str) -> str:
    """Batch and time exchanged."""
    return str(graph.add("Transpose", x, perm=[1, 0, 2]))


# --- models -------------------------------------------------------------------------------------------------------------


class _Data:
    """The inputs that every model has, and what its network makes of them."""

    def __init__(self, params: Mapping[str, np.ndarray], dim: int) -> None:
        self.graph, self.params = Graph(), params
        self.values = self.graph.input("values", ["batch", "time", dim])
        self.lengths = self.graph.input("lengths", ["batch"], integer=True)
        self.missing = self.graph.add("IsNaN", self.values)
        self.seen = self.graph.as_float(self.graph.add("Not", self.missing))
        self.inputs: list[str] = []
        if len(params["input_mean"]):
            given = self.graph.input("inputs", ["batch", "time", len(params["input_mean"])])
            self.inputs = [self._standard(given, "input")]

    def _standard(self, x: str, what: str) -> str:
        centred = self.graph.add("Sub", x, self.params[f"{what}_mean"])
        return str(self.graph.add("Div", centred, self.params[f"{what}_scale"]))

    def squash(self, x: str) -> str:
        """3 tanh(x/3)."""
        return str(self.graph.add("Mul", self.graph.add("Tanh", self.graph.add("Div", x, _SQUASH)), _SQUASH))

    def numbers(self, logarithm: bool = False) -> str:
        """Standardised values, or their log(1 + y), with 0 where missing."""
        values = self.graph.add("Where", self.missing, 0.0, self.values)
        if logarithm:
            values = self.graph.add("Log", self.graph.add("Add", values, 1.0))
        return str(self.graph.add("Mul", self._standard(values, "value"), self.seen))

    def indicators(self, symbols: int) -> str:
        """(batch, time, p · symbols); 0 where missing."""
        apart = self.graph.add("Unsqueeze", self.values, np.array([3]))
        flags = self.graph.as_float(self.graph.add("Equal", apart, np.arange(float(symbols))))
        return str(self.graph.add("Reshape", flags, np.array([0, 0, -1])))

    def joined(self, *parts: str) -> str:
        return str(self.graph.add("Concat", *parts, axis=-1)) if len(parts) > 1 else parts[0]


def _labeller(model: Labeller, path: str | os.PathLike[str]) -> Path:
    params, schema = model.parameters, model._schema or {}
    options, symbols = model.get_params(), schema["codes"]
    data = _Data(params, len(schema["columns"]))
    graph, view = data.graph, data.numbers() if symbols is None else data.indicators(symbols)
    if symbols is None:
        view = data.squash(view)
    elif "embedding_weight" in params:
        view = graph.linear(view, params["embedding_weight"])
    x = data.joined(view, data.seen, *map(data.squash, data.inputs))
    h, ends = graph.recurrent(options["cell"], params, _turned(graph, x), data.lengths)
    pooling = options.get("pooling")
    shape: list[str | int] = ["batch", len(params["label_bias"])]
    if pooling is None:
        read, shape = _turned(graph, h), ["batch", "time", len(params["label_bias"])]
    elif pooling == "mean":
        count = graph.add("Unsqueeze", graph.as_float(data.lengths), np.array([1]))
        read = graph.add("Div", graph.add("ReduceSum", h, np.array([0]), keepdims=0), count)
    else:
        top = graph.add("Slice", ends[0], *(np.array([k]) for k in (-1 - options["bidirectional"], 2**31 - 1, 0)))
        read = graph.add("Reshape", graph.add("Transpose", top, perm=[1, 0, 2]), np.array([0, -1]))
    logits = graph.linear(read, params["label_weight"], params["label_bias"])
    graph.output("probs", graph.add("Softmax", logits, axis=-1), shape)
    return graph.write(path)


def _recurrent(model: Recurrent, path: str | os.PathLike[str]) -> Path:
    params, options = model.parameters, model.get_params()
    if options["time_aware"]:
        raise UnsupportedError(
            "a state that fades over irregular times has no operator in ONNX; export a model without time_aware"
        )
    family = model._output(model._dim)
    data = _Data(params, family.dim)
    graph = data.graph
    if family.name == "categorical":
        view = data.indicators(family.size)
    else:
        view = data.numbers(logarithm=family.name in ("poisson", "negative-binomial"))
    past = {lag: (_lagged(graph, view, lag), _lagged(graph, data.seen, lag)) for lag in params["lags"].tolist()}
    x = data.joined(data.squash(past[1][0]), past[1][1], *map(data.squash, data.inputs))
    skip = data.joined(*(part for lag in past for part in past[lag]), *data.inputs)
    h, _ = graph.recurrent(options["cell"], params, _turned(graph, x), data.lengths)
    h = _turned(graph, h)
    line = graph.linear(skip, params["skip_weight"], params["mean_bias"])
    location = graph.add("Add", graph.linear(h, params["mean_weight"]), line)
    graph.output("location", location, ["batch", "time", len(params["mean_bias"])])
    if len(params["log_sd_bias"]):
        base = FLOOR + np.logaddexp(0.0, params["log_sd_bias"] - FLOOR)
        bent = graph.add("Tanh", graph.add("Div", graph.linear(h, params["log_sd_weight"]), SWING))
        log_sd = graph.add("Add", graph.add("Mul", bent, SWING), base)
        graph.output("log_sd", log_sd, ["batch", "time", family.dim])
        if family.name == "gaussian":
            scale = params["value_scale"]
            mean = graph.add("Add", graph.add("Mul", location, scale), params["value_mean"])
            graph.output("mean", mean, ["batch", "time", family.dim])
            variance = graph.add("Mul", graph.add("Exp", graph.add("Mul", log_sd, 2.0)), scale**2)
            graph.output("variance", variance, ["batch", "time", family.dim])
    if "shape_bias" in params:
        shape = graph.linear(h, params["shape_weight"], params["shape_bias"])
        graph.output("shape", shape, ["batch", "time", len(params["shape_bias"])])
    return graph.write(path)


def _lagged(graph: Graph, x: str, lag: int) -> str:
    """(batch, time, v) `lag` steps before; 0 before the beginning."""
    padded = graph.add("Pad", x, np.array([0, lag, 0, 0, 0, 0]))
    return str(graph.add("Slice", padded, *(np.array([k]) for k in (0, -lag, 1))))
