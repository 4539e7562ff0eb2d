"""Labels as the data arrive: the network's state, moved on by one row at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from statewise._core import checks
from statewise.cells import CELLS
from statewise.inference import labelling as inference
from statewise.models.stream import loaded
from statewise.sequences.sequences import Sequences

if TYPE_CHECKING:
    from statewise.models.labeller import Labeller


class LabelStream:
    """One sequence, read a step at a time by a network that runs forwards: the cost of a step does not grow with the steps before.

    Attributes:
        step: steps seen so far.
        classes: (K,) the labels, in the order of the probabilities.

    Example:
        >>> labels = [["low", "low", "high", "high", "low", "high"]] * 8
        >>> seqs = sw.Sequences.from_arrays([[0.1, 0.0, 2.0, 2.1, 0.2, 1.9]] * 8, labels=labels)
        >>> stream = sw.Tagger(hidden=4).fit(seqs, epochs=30, lr=0.05).stream()
        >>> [str(stream.classes[stream.update(y).argmax()]) for y in (0.0, 2.2)]
        ['low', 'high']
    """

    def __init__(self, model: Labeller, state: bytes | None = None) -> None:
        self._model, self._params = model, model.parameters
        options = model.get_params()
        self._cell, units = options["cell"], options["hidden"]
        self.classes, self._columns = model.classes, tuple((model._schema or {})["columns"])
        layers = [np.zeros((1, CELLS[self._cell].carried * units)) for _ in range(options["layers"])]
        kept = {f"layer_{k}": layer for k, layer in enumerate(layers)} | {
            "sum": np.zeros((1, units)),
            "step": np.zeros(1),
        }
        kept = kept if state is None else loaded(state, kept)
        self._layers = [kept[f"layer_{k}"] for k in range(len(layers))]
        self._sum, self.step = kept["sum"], int(kept["step"][0])

    def update(self, y: Any, inputs: Any = None, elapsed: float | None = None) -> np.ndarray:
        """Take in the next step and return the labels' probabilities (K,) given all steps so far: of this step's label, or of the sequence's.

        Args:
            y: (p,), or a number where p is 1; NaN where missing.
            inputs: (u,) for a model with inputs.
            elapsed: time since the step before, in the times' unit (seconds for dates), for a time-aware model; the usual one unless given.

        Raises:
            InputError: a wrong shape, or codes that are none.
        """
        row = checks.array("y", np.atleast_1d(y), (len(self._columns),), allow_nan=True)[None]
        schema: Any = self._model._schema or {}
        names = tuple(schema.get("input_columns", ()))
        given = None
        if names or inputs is not None:
            given = checks.array("inputs", np.atleast_1d(inputs), (len(names),))[None]
        one = Sequences(row, np.array([1]), inputs=given, columns=self._columns, input_columns=names)
        x = inference.step_inputs(self._params, self._model._receive(one), schema.get("codes"))
        gap = 1.0 if self.step else 0.0
        if elapsed is not None and self.step and "time_unit" in self._params:
            gap = checks.Real(0.0).check("elapsed", elapsed) / float(self._params["time_unit"][0])
        h, self._layers = inference.step(self._cell, self._params, x, self._layers, gap)
        self.step += 1
        self._sum = self._sum + h
        read = self._sum / self.step if self._model._pooling == "mean" else h
        result: np.ndarray = np.exp(inference.judged(self._params, read))[0]
        return result

    def to_bytes(self) -> bytes:
        """All that is needed to go on later, by ``model.stream(state=…)``: O(layers · H) numbers in the safetensors format."""
        parts = {f"layer_{k}": np.ascontiguousarray(layer) for k, layer in enumerate(self._layers)}
        return bytes(save(parts | {"sum": self._sum, "step": np.array([float(self.step)])}))
