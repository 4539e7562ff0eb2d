"""Recurrent layers in ONNX's own RNN, GRU and LSTM operators, with free batch and time axes and lengths.

The operators order the gates otherwise than torch: GRU z, r, n instead of r, z, n, with ``linear_before_reset=1`` for torch's reset after the
product; LSTM i, o, f, g instead of i, f, g, o. Source: ONNX operator reference, RNN-14, GRU-14, LSTM-14.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statewise._core.errors import UnsupportedError
from statewise._core.files import write_atomically
from statewise._core.optional import require

_OPSET, _IR = 17, 8  # understood by every onnxruntime since 1.12
_ORDERS = {"linear": (0,), "rnn": (0,), "relu": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
_OPERATORS = {"gru": "GRU", "lstm": "LSTM"}
_ACTIVATIONS = {"linear": "Affine", "rnn": "Tanh", "relu": "Relu"}

Parameters = Mapping[str, np.ndarray]


class Graph:
    """A graph under construction; names of tensors are what its methods take and give."""

    def __init__(self) -> None:
        self._onnx = require("onnx", "onnx", "exporting to ONNX")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, shape: Sequence[str | int], integer: bool = False) -> str:
        """An input; words in the shape are free axes."""
        self._inputs.append(self._described(name, shape, integer))
        return name

    def output(self, name: str, source: str, shape: Sequence[str | int]) -> None:
        """Call the tensor `source` an output."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [source], [name]))
        self._outputs.append(self._described(name, shape, False))

    def _described(self, name: str, shape: Sequence[str | int], integer: bool) -> Any:
        kind = self._onnx.TensorProto.INT64 if integer else self._onnx.TensorProto.FLOAT
        return self._onnx.helper.make_tensor_value_info(name, kind, list(shape))

    def constant(self, value: Any) -> str:
        """float32, or int64 for whole numbers."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
        name = f"constant_{len(self._constants)}"
        self._constants.append(
            self._onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        )
        return name

    def add(self, operator: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """A node; inputs that are no names become constants. The name of its output, or the names of several."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        made = [f"{operator}_{len(self._nodes)}_{k}" for k in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(operator, names, made, **attributes))
        return made[0] if outputs == 1 else made

    def as_float(self, name: str) -> str:
        return str(self.add("Cast", name, to=self._onnx.TensorProto.FLOAT))

    def as_int32(self, name: str) -> str:
        return str(self.add("Cast", name, to=self._onnx.TensorProto.INT32))

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray | None = None) -> str:
        """x Wᵀ + b over the last axis."""
        product = self.add("MatMul", x, weight.T)
        return str(product if bias is None else self.add("Add", product, bias))

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Check the graph and write it, whole or not at all."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "statewise", self._inputs, self._outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="statewise")
        model.ir_version = _IR
        self._onnx.checker.check_model(model)
        return write_atomically(path, model.SerializeToString())

    # --- recurrent layers ---------------------------------------------------------------------------------------------

    def recurrent(
        self, cell: str, params: Parameters, x: str, lengths: str, states: Sequence[str] = ()
    ) -> tuple[str, list[str]]:
        """A stack of layers under torch's parameter names.

        Args:
            cell: 'linear', 'rnn', 'relu', 'gru' or 'lstm'.
            x: (time, batch, d).
            lengths: (batch,) int64.
            states: names of the first states, (L·D, batch, H) each; zeros if there are none.

        Returns:
            the outputs (time, batch, D·H), zero beyond the lengths, and the last states (L·D, batch, H): [h], or [h, c].
        """
        if cell not in _ORDERS:
            raise UnsupportedError(f"the cell {cell!r} has no operator in ONNX; export a 'gru', an 'lstm' or an 'rnn'")
        short, layers = self.as_int32(lengths), sum(f"weight_ih_l{k}" in params for k in range(len(params)))
        directions = 1 + ("weight_ih_l0_reverse" in params)
        ends: list[list[str]] = [[], []] if cell == "lstm" else [[]]
        for layer in range(layers):
            first = [self._rows(state, layer * directions, directions) for state in states]
            x, last = self._layer(cell, params, layer, x, short, first)
            for found, end in zip(ends, last, strict=True):
                found.append(end)
        return x, [parts[0] if layers == 1 else str(self.add("Concat", *parts, axis=0)) for parts in ends]

    def _rows(self, state: str, start: int, count: int) -> str:
        whole = np.array([start]), np.array([start + count]), np.array([0])
        return str(self.add("Slice", state, *whole))

    def _layer(
        self, cell: str, params: Parameters, layer: int, x: str, lengths: str, first: list[str]
    ) -> tuple[str, list[str]]:
        endings = [f"_l{layer}"] + ([f"_l{layer}_reverse"] if f"weight_ih_l{layer}_reverse" in params else [])
        gates, hidden = len(_ORDERS[cell]), params[f"weight_hh_l{layer}"].shape[1]

        def stacked(kind: str) -> np.ndarray:
            return np.stack([_ordered(params[kind + ending], cell) for ending in endings])

        biases = np.zeros((len(endings), 2 * gates * hidden))
        if f"bias_ih_l{layer}" in params:
            biases = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1)
        more: dict[str, Any] = {"linear_before_reset": 1} if cell == "gru" else {}
        if cell in _ACTIVATIONS:
            more["activations"] = [_ACTIVATIONS[cell]] * len(endings)
        if cell == "linear":
            more |= {"activation_alpha": [1.0] * len(endings), "activation_beta": [0.0] * len(endings)}
        inputs: list[Any] = [x, stacked("weight_ih"), stacked("weight_hh"), biases, lengths, *first]
        outputs = self.add(
            _OPERATORS.get(cell, "RNN"),
            *inputs,
            outputs=3 if cell == "lstm" else 2,
            hidden_size=hidden,
            direction="forward" if len(endings) == 1 else "bidirectional",
            **more,
        )
        apart = self.add("Transpose", outputs[0], perm=[0, 2, 1, 3])  # (time, batch, direction, unit)
        return str(self.add("Reshape", apart, np.array([0, 0, -1]))), outputs[1:]


def _ordered(array: np.ndarray, cell: str) -> np.ndarray:
    """torch's rows in ONNX's order of gates."""
    blocks = np.split(array, len(_ORDERS[cell]))
    return np.concatenate([blocks[k] for k in _ORDERS[cell]])
