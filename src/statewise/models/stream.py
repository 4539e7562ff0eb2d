"""Filtering as the data arrive: O(1) time and memory a step, and a state that fits in a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from statewise._core import checks
from statewise._core.errors import InputError
from statewise._core.outcome import Outcome
from statewise.inference import filtering
from statewise.inference.system import square_root, without_offsets
from statewise.kernels import kalman
from statewise.results.forecast import Forecast
from statewise.results.marginals import GaussianMarginals

if TYPE_CHECKING:
    from statewise.models.linear_gaussian import LinearGaussian


class Stream:
    """One sequence, filtered a step at a time by a linear-Gaussian model.

    Attributes:
        step: steps seen so far.
        log_prob: their log-likelihood, in nats: the number that the model's `log_prob` gives for the whole sequence.

    Example:
        >>> one = [[1.0]]
        >>> stream = sw.StateSpace(one, one, one, one, initial="diffuse").stream()
        >>> for y in (1.0, 2.0, 3.0):
        ...     density = stream.update(y)
        >>> stream.forecast(1).mean.ravel().round(2)
        array([2.5])
    """

    def __init__(self, model: LinearGaussian, state: bytes | None = None) -> None:
        self._model, self._sys = model, model.system
        sys = self._sys
        W = square_root(sys.Pinf)
        start = {"mean": sys.m0, "cov": sys.P0, "diffuse": W, "reach": W, "totals": np.zeros(2)}
        kept = start if state is None else loaded(state, start)
        self._m, self._P, self._W, self._reach = (
            np.array(kept[name], order="C")[None] for name in ("mean", "cov", "diffuse", "reach")
        )
        self.log_prob, self.step = float(kept["totals"][0]), int(kept["totals"][1])
        n, p = sys.n, sys.p
        self._density, self._status, self._steady = np.empty(1), np.zeros(1, np.int64), np.zeros(1, np.int64)
        self._offsets = np.array([0, 1])
        self._nothing = (
            np.empty((0, n)), np.empty((0, n, n)), np.empty((0, n)), np.empty((0, n, n)), np.zeros((0, p), np.bool_), np.zeros((0, n), np.bool_),
        )  # fmt: skip

    def update(self, y: Any, inputs: Any = None) -> float:
        """Take in the next step and return its log density given the steps before it.

        Args:
            y: (p,), or a number where p is 1; NaN where missing.
            inputs: (u,) for a model with inputs.

        Raises:
            InputError: a wrong shape, or numbers that are not finite.
            NumericalError: the observation had no variance given the past. The stream is then of no use any more.
        """
        sys = self._sys
        row = checks.row("y", y, sys.p, allow_nan=True)
        width, u = sys.D.shape[1], None
        if width and inputs is None:
            raise InputError(f"`inputs` is missing; pass the {width} inputs of this step")
        if not width and inputs is not None:
            raise InputError("`inputs` was given but the model has no inputs; leave it out")
        if width:
            u = checks.row("inputs", inputs, width)[None]
        values, offset = without_offsets(sys, row[None], u)
        kalman.filter_packed(
            0, 1, values, self._offsets, offset, sys.A, sys.C, sys.Q, sys.R, sys.S, self._m, self._P, self._W, self._reach,
            self._density, False, *self._nothing, self._status, False, self._steady,
        )  # fmt: skip
        if filtering.is_degenerate(self._status):
            Outcome.NOT_POSITIVE_DEFINITE.check()
        self.step += 1
        self.log_prob += float(self._density[0])
        return float(self._density[0])

    def forecast(self, steps: int = 1, level: Any = (80, 95), inputs: Any = None) -> Forecast:
        """Predictive distributions of the next `steps` steps; arguments as in the model's `forecast`.

        Raises:
            InputError: the steps seen so far do not settle a diffuse start.
        """
        steps = self._model._steps_ahead(steps, 1)
        future = self._model._future_inputs(inputs, 1, steps)
        labels = ((f"the stream has too few observations ({self.step} steps)"),)
        mean, var = filtering.ahead(self._sys, self._m, self._P, self._W, self._reach, steps, future, labels)
        columns = (self._model._schema or {}).get("columns") or [f"y{j + 1}" for j in range(self._sys.p)]
        return Forecast(GaussianMarginals(mean, var), checks.levels(level), ("stream",), tuple(columns))

    def to_bytes(self) -> bytes:
        """All that is needed to go on later, by ``model.stream(state=…)``: O(n²) numbers in the safetensors format."""
        parts = {"mean": self._m[0], "cov": self._P[0], "diffuse": self._W[0], "reach": self._reach[0]}
        return bytes(save(parts | {"totals": np.array([self.log_prob, self.step])}))


def loaded(state: bytes, like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays in what `to_bytes` gave, of the names and shapes of `like`."""
    try:
        kept = load(state)
    except (SafetensorError, TypeError):
        raise InputError("`state` is not the state of a stream; pass what `to_bytes` gave") from None
    shapes = {name: part.shape for name, part in kept.items()}
    if shapes != {name: part.shape for name, part in like.items()}:
        raise InputError(
            "`state` is the state of another model's stream; pass what `to_bytes` gave for a model of these shapes"
        )
    return dict(kept)
