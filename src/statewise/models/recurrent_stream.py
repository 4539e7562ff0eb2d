"""Scoring and forecasting as the data arrive: the network's state, moved on by one row at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from statewise._core import checks
from statewise._core.errors import InputError
from statewise._core.seed import generator
from statewise.inference import recurrent as inference
from statewise.inference import recurrent_paths as sampling
from statewise.models.stream import loaded
from statewise.results.forecast import Forecast
from statewise.results.marginals import SampleMarginals
from statewise.sequences.sequences import Sequences

if TYPE_CHECKING:
    from statewise.models.recurrent import Recurrent


class RecurrentStream:
    """One sequence, read a step at a time by a recurrent network: the cost of a step does not grow with the steps before.

    Attributes:
        step: steps seen so far.
        log_prob: their log density, in nats: the number that the model's `log_prob` gives for the whole sequence.

    Example:
        >>> model = sw.Recurrent(hidden=4).fit(seqs, epochs=1)
        >>> stream = model.stream()
        >>> for y in seqs.values[:, 0]:
        ...     density = stream.update(y)
        >>> bool(np.isclose(stream.log_prob, model.log_prob(seqs)[0])), stream.forecast(2).mean.shape
        (True, (1, 2, 1))
    """

    def __init__(self, model: Recurrent, state: bytes | None = None) -> None:
        self._model, self._cell, self._params = model, model.get_params()["cell"], model.parameters
        self._output = model._output(model._dim)
        layers, past = sampling.beginning(self._cell, self._params, 1)
        kept = {f"layer_{k}": layer for k, layer in enumerate(layers)} | {"past": past, "totals": np.zeros(2)}
        if state is not None:
            kept = loaded(state, kept)
        self._layers = [kept[f"layer_{k}"] for k in range(len(layers))]
        self._past = kept["past"]
        self.log_prob, self.step = float(kept["totals"][0]), int(kept["totals"][1])

    def update(self, y: Any, inputs: Any = None, elapsed: float | None = None) -> float:
        """Take in the next step and return its log density given the steps before it.

        Args:
            y: (p,), or a number where p is 1; NaN where missing.
            inputs: (u,) for a model with inputs.
            elapsed: time since the step before, in the times' unit (seconds for dates), for a time-aware model; the usual one unless given.

        Raises:
            InputError: a wrong shape, or values that the output cannot have.
        """
        row = checks.row("y", y, self._output.dim, allow_nan=True)
        wrong, wanted = self._output.judge(row)
        if wrong.any():
            raise InputError(f"`y` has the value {row[wrong][0]:g}; output {self._output.name!r} is for {wanted}")
        u = self._model._future_inputs(None if inputs is None else checks.row("inputs", inputs, None)[None], 1, 1)
        gap = np.full((1, 1), 1.0 if self.step else 0.0)
        if elapsed is not None and self.step and "time_unit" in self._params:
            gap[:] = checks.Real(0.0).check("elapsed", elapsed) / self._params["time_unit"][0]
        law, self._layers = sampling.advance(self._cell, self._params, self._layers, self._past, u, self._output, gap)
        density = inference.row_density(self._params, law, row[None], self._output)
        self._past = np.concatenate(
            [self._past[:, 1:], inference.view(self._params, row[None, None], self._output)], axis=1
        )
        self.step += 1
        self.log_prob += density
        return density

    def forecast(self, steps: int = 1, level: Any = (80, 95), inputs: Any = None, seed: int | None = 0) -> Forecast:
        """Predictive distributions of the next `steps` steps, at usual gaps; arguments as in the model's `forecast`."""
        count = sampling.PATHS
        steps = self._model._steps_ahead(steps, 1, count)
        given = self._model._future_inputs(inputs, 1, steps)
        noise = generator(seed).standard_normal((steps, count, self._output.noise_size))
        paths = sampling.simulate(
            self._cell,
            self._params,
            [np.repeat(layer, count, axis=0) for layer in self._layers],
            np.repeat(self._past, count, axis=0),
            noise,
            None if given is None else np.repeat(given, count, axis=0),
            self._output,
        )
        columns = (self._model._schema or {}).get("columns") or Sequences(
            np.zeros((1, self._output.dim)), np.array([1])
        ).columns
        return Forecast(SampleMarginals(paths[:, None]), checks.levels(level), ("stream",), tuple(columns))

    def to_bytes(self) -> bytes:
        """All that is needed to go on later, by ``model.stream(state=…)``: O(layers · H) numbers in the safetensors format."""
        parts = {f"layer_{k}": np.ascontiguousarray(layer) for k, layer in enumerate(self._layers)}
        parts |= {"past": np.ascontiguousarray(self._past), "totals": np.array([self.log_prob, self.step])}
        return bytes(save(parts))
