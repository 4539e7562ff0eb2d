"""Decoding as the data arrive: the belief about the state, updated by one row at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from statewise._core import checks
from statewise._core.errors import InputError
from statewise._core.outcome import Outcome
from statewise.emissions.rows import Rows
from statewise.inference.discrete_inputs import InputChain
from statewise.models.stream import loaded

if TYPE_CHECKING:
    from statewise.models.hmm_verbs import HiddenMarkovVerbs
    from statewise.results.forecast import Forecast


class HMMStream:
    """One sequence, filtered a step at a time by a hidden Markov model, in O(K²) time and O(K) memory a step.

    Attributes:
        step: steps seen so far.
        log_prob: their log-likelihood, in nats: the number that the model's `log_prob` gives for the whole sequence.
        probs: (K,) state probabilities given the steps so far; π before the first.

    Example:
        >>> model = sw.HMM(states=2, emission="poisson", initial_probs=[0.5, 0.5],
        ...                transition_probs=[[0.9, 0.1], [0.1, 0.9]], rates=[1.0, 8.0])
        >>> stream = model.stream()
        >>> for y in (0, 1, 9, 7):
        ...     density = stream.update(y)
        >>> stream.probs.round(3)
        array([0., 1.])
    """

    def __init__(self, model: HiddenMarkovVerbs, state: bytes | None = None) -> None:
        self._model, (chain, emission) = model, model._laws
        self._chain, self._emission = chain, emission
        start = {
            "probs": chain.initial,
            "before": np.full((emission.look_back, emission.dim), np.nan),
            "totals": np.zeros(2),
        }
        if isinstance(chain, InputChain):
            start["inputs"] = np.zeros(chain.n_inputs)
        kept = start if state is None else loaded(state, start)
        self.probs, self._before = kept["probs"], kept["before"]
        self._inputs = kept.get("inputs")  # of the last step seen: the transition out of it depends on them
        self.log_prob, self.step = float(kept["totals"][0]), int(kept["totals"][1])

    def update(self, y: Any, inputs: Any = None) -> float:
        """Take in the next step and return its log density given the steps before it.

        Args:
            y: (p,), or a number where p is 1; NaN where missing.
            inputs: (u,) for emissions and transitions that depend on inputs.

        Raises:
            InputError: a wrong shape, or numbers that the family cannot have.
            NumericalError: the row is impossible in every state that the chain can be in; the stream stays as it was.
        """
        row = checks.row("y", y, self._emission.dim, allow_nan=True)
        seen = np.concatenate([self._before, row[None]])
        u, given = None, None
        if self._inputs is not None and inputs is None:
            raise InputError(f"`inputs` is missing; pass the {len(self._inputs)} inputs of this step")
        if inputs is not None:
            width = None if self._inputs is None else len(self._inputs)
            given = checks.row("inputs", inputs, width)
            u = np.concatenate([np.zeros((len(self._before), len(given))), given[None]])
        log_density = self._emission.log_likelihood(Rows(seen, inputs=u))[-1]
        ahead = self._ahead() if self.step else self.probs
        top = log_density.max()
        joint = ahead * np.exp(log_density - top) if np.isfinite(top) else np.zeros(len(ahead))
        total = joint.sum()
        if total == 0.0:
            Outcome.IMPOSSIBLE.check()
        self.probs = joint / total
        self._before = seen[1:]
        self._inputs = None if self._inputs is None else given
        self.step += 1
        density = float(np.log(total) + top)
        self.log_prob += density
        return density

    def _ahead(self) -> np.ndarray:
        """(K,) chances of the states one step after the last."""
        if isinstance(self._chain, InputChain):
            assert self._inputs is not None
            return np.asarray(self.probs @ np.exp(self._chain.log_transition(self._inputs[None])[0]))
        return np.asarray(self.probs @ self._chain.transition)

    def forecast(self, steps: int = 1, level: Any = (80, 95), inputs: Any = None, seed: int | None = 0) -> Forecast:
        """Predictive distributions of the next `steps` steps; arguments as in the model's `forecast`."""
        steps = self._model._steps_ahead(steps, 1, self._emission.states)
        if not self.step:
            raise InputError("the stream has seen no step yet; call `update` first")
        now = None if self._inputs is None else self._inputs[None]
        belief, levels = self.probs[None], checks.levels(level)
        return self._model._forecast_from(belief, [self._before], now, steps, levels, inputs, seed)

    def to_bytes(self) -> bytes:
        """All that is needed to go on later, by ``model.stream(state=…)``: O(K) numbers in the safetensors format."""
        parts = {"probs": np.ascontiguousarray(self.probs), "before": np.ascontiguousarray(self._before)}
        if self._inputs is not None:
            parts["inputs"] = np.ascontiguousarray(self._inputs)
        return bytes(save(parts | {"totals": np.array([self.log_prob, self.step])}))
