"""What every hidden Markov model can do once it has laws: filter, decode, forecast, draw."""

from __future__ import annotations

import abc
from dataclasses import replace
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, NotFittedError, UnsupportedError
from statewise._core.seed import generator
from statewise.emissions.base import Emission
from statewise.emissions.rows import Rows
from statewise.emissions.table import Table
from statewise.fitting.hidden_markov import HiddenMarkov
from statewise.inference import discrete, discrete_any, discrete_paths
from statewise.inference.discrete import Chain
from statewise.inference.discrete_any import AnyChain
from statewise.inference.discrete_inputs import InputChain
from statewise.models.base import Density, HasDiscreteStates
from statewise.models.hmm_stream import HMMStream
from statewise.results.fit import Memory, half_life
from statewise.results.forecast import Forecast
from statewise.results.marginals import Marginals, SampleMarginals
from statewise.results.predicted import Predicted
from statewise.results.states import BestPaths, Decoded, DiscreteStates
from statewise.sequences.calendar import future_times
from statewise.sequences.sequences import Sequences

_PATHS = 2000  # drawn to forecast what has no closed form


class HiddenMarkovVerbs(Density, HasDiscreteStates):
    """The verbs of a model that holds a `HiddenMarkov`."""

    _model: HiddenMarkov | None

    @property
    @abc.abstractmethod
    def _family(self) -> type[Emission]:
        """The class of the laws."""

    def _for_columns_of(self, seqs: Sequences) -> HiddenMarkov:
        """The present model, for sequences that it can be applied to."""
        if self._model is None:
            raise NotFittedError("this HMM has no parameters yet; call `fit(sequences)` first, or give all of them")
        if seqs.dim != self._model.emission.dim:
            raise InputError(
                f"the sequences have {seqs.dim} columns but the HMM has laws for {self._model.emission.dim}; pass the same columns"
            )
        return self._model

    @property
    def _constant_laws(self) -> tuple[Chain, Emission]:
        """The laws of a chain whose transitions are the same at every step.

        Raises:
            UnsupportedError: they depend on inputs.
        """
        chain, emission = self._laws
        if isinstance(chain, InputChain):
            raise UnsupportedError(
                "the transitions of this HMM depend on inputs, which a recurrence with constant weights cannot hold; fit one with transitions='full'"
            )
        return chain, emission

    @property
    def _laws(self) -> tuple[Chain | InputChain, Emission]:
        _ = self.parameters
        assert self._model is not None
        return self._model.chain, self._model.emission

    @property
    def _input_names(self) -> list[str]:
        chain, emission = self._laws
        if self._schema is not None:
            return super()._input_names
        count = chain.n_inputs if isinstance(chain, InputChain) else emission.n_inputs
        return [f"u{m + 1}" for m in range(count)]

    def _table(self, seqs: Sequences) -> tuple[AnyChain, np.ndarray | Table, np.ndarray]:
        model = self._for_columns_of(seqs)
        return model.along(seqs.inputs), model.emission.table(rows_of(seqs)), seqs.lengths

    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        return discrete_any.log_prob_steps(*self._table(seqs))

    def _log_prob(self, seqs: Sequences) -> np.ndarray:
        return discrete_any.log_prob(*self._table(seqs))

    def filter(self, data: Any) -> DiscreteStates:
        """P(s[t] = k | y[1 … t]). A sequence that is impossible keeps the belief it had; see its `log_prob`."""
        seqs = self._receive(data)
        return DiscreteStates(discrete_any.filter(*self._table(seqs)).probs, seqs.lengths, seqs.ids, seqs.times)

    def smooth(self, data: Any) -> DiscreteStates:
        """P(s[t] = k | y[1 … T])."""
        seqs = self._receive(data)
        return DiscreteStates(discrete_any.smooth(*self._table(seqs)).probs, seqs.lengths, seqs.ids, seqs.times)

    def decode(self, data: Any) -> Decoded:
        """The most probable state path of each sequence (Viterbi); ties go to the lower state."""
        seqs = self._receive(data)
        path = discrete_any.viterbi(*self._table(seqs))
        return Decoded(path.states, path.log_prob, seqs.lengths, seqs.ids, seqs.times)

    def best_paths(self, data: Any, count: int = 5) -> BestPaths:
        """The `count` most probable state paths of each sequence (list Viterbi: Seshadri & Sundberg 1994).

        Example:
            >>> model = sw.HMM(states=2, initial_probs=[0.5, 0.5], transition_probs=[[0.9, 0.1], [0.1, 0.9]],
            ...                means=[0.0, 3.0], covariances=[1.0, 1.0])
            >>> model.best_paths([0.1, 1.4, 3.1], count=2).paths.tolist()
            [[0, 0, 1], [0, 1, 1]]
        """
        seqs = self._receive(data)
        count = checks.Integer(1, 100_000).check("count", count)
        paths, log_prob = discrete_paths.best_paths(*self._table(seqs), count)
        return BestPaths(paths, log_prob, seqs.lengths, seqs.ids, seqs.times)

    def sample_states(self, data: Any, count: int = 1, seed: int | None = None) -> np.ndarray:
        """(count, rows) state paths drawn from their joint law given all observations (Scott 2002); rows packed as in `Sequences`.

        The share of draws in a state at a step is its smoothed probability; a draw is a whole path.
        """
        seqs = self._receive(data)
        count = checks.counted("count", count, seqs.rows)
        return discrete_paths.posterior_paths(*self._table(seqs), count, generator(seed))

    def predict(self, data: Any) -> Predicted:
        """Mean and variance of y[t] given y[1 … t−1], and normal pseudo-residuals Φ⁻¹(F(y[t])) under that law.

        Each column's residual is under its own marginal, a mixture over the predicted state; see `Emission.residuals`.
        """
        seqs = self._receive(data)
        ahead = discrete_any.filter(*self._table(seqs)).predicted
        emission = self._for_columns_of(seqs).emission
        rows = rows_of(seqs)
        law = emission.marginals(ahead, rows)
        residuals = emission.residuals(rows, ahead)
        return Predicted(law.mean, law.variance, residuals, seqs.lengths, seqs.ids, seqs.columns, seqs.times)

    def forecast(
        self, data: Any, steps: int = 12, level: Any = (80, 95), inputs: Any = None, seed: int | None = 0
    ) -> Forecast:
        """Mixtures over the state law a[T] Pʰ, exact given the parameters.

        Args:
            data: sequences to forecast from; missing entries are allowed.
            steps: steps ahead, from 1.
            level: interval levels in per cent.
            inputs: future inputs (N, steps, u), of families and transitions that depend on inputs; others ignore them. The transition
                out of the last step seen depends on that step's own inputs, so that those of the last step ahead move no state.
            seed: of the paths that an autoregression is forecast by.

        An autoregression, whose law depends on what is drawn before, is forecast by 2 000 paths; all else is exact.
        """
        seqs = self._receive(data)
        steps, level = self._steps_ahead(steps, len(seqs), self._laws[1].states), checks.levels(level)
        ends = seqs.offsets[1:] - 1
        last = discrete_any.filter(*self._table(seqs)).probs[ends]
        back = self._laws[1].look_back
        before = [
            seqs.values[max(low, end - back) : end] for low, end in zip(seqs.offsets, seqs.offsets[1:], strict=False)
        ]
        now = None if seqs.inputs is None else seqs.inputs[ends]
        found = self._forecast_from(last, before, now, steps, level, inputs, seed)
        return replace(found, ids=seqs.ids, columns=seqs.columns, times=future_times(seqs, steps))

    def forecast_states(self, data: Any, steps: int = 12, inputs: Any = None) -> DiscreteStates:
        """P(s[T + h] = k | y[1 … T]), h = 1 … `steps`: the filtered law a[T] times P of each step ahead.

        `inputs` as in `forecast`, where transitions depend on them. In the result every sequence has `steps` rows.

        Example:
            >>> model = sw.HMM(states=2, initial_probs=[0.5, 0.5], transition_probs=[[0.9, 0.1], [0.2, 0.8]],
            ...                means=[0.0, 9.0], covariances=[1.0, 1.0])
            >>> model.forecast_states([0.1, 9.2], steps=2).probs.round(2)
            array([[0.2 , 0.8 ],
                   [0.34, 0.66]])
        """
        seqs = self._receive(data)
        steps = self._steps_ahead(steps, len(seqs), self._laws[1].states)
        ends, driven = seqs.offsets[1:] - 1, isinstance(self._laws[0], InputChain)
        last = discrete_any.filter(*self._table(seqs)).probs[ends]
        now = None if seqs.inputs is None else seqs.inputs[ends]
        chain = self._chain_ahead(now, self._future_inputs(inputs, len(last), steps) if driven else None)
        probs = discrete_any.propagate(chain, last, steps).reshape(len(last) * steps, -1)
        times = future_times(seqs, steps)
        return DiscreteStates(probs, np.full(len(last), steps), seqs.ids, None if times is None else times.ravel())

    def _forecast_from(
        self,
        last: np.ndarray,
        before: list[np.ndarray],
        now: np.ndarray | None,
        steps: int,
        level: tuple[float, ...],
        inputs: Any,
        seed: int | None,
    ) -> Forecast:
        """Forecasts after states of chances `last` (N, K), the rows `before`, N of (at most `look_back`, p), and the inputs `now` (N, u)."""
        emission = self._laws[1]
        future = self._inputs_for(inputs, len(last), steps)
        chain = self._chain_ahead(now, future)
        laws: Marginals
        if emission.look_back:
            laws = SampleMarginals(self._paths(chain, last, before, steps, future, generator(seed)))
        else:
            ahead = None
            if future is not None:
                unseen = np.full((len(last) * steps, emission.dim), np.nan)
                ahead = Rows(unseen, inputs=future.reshape(len(unseen), -1))
            laws = emission.marginals(discrete_any.propagate(chain, last, steps), ahead)
        columns = (self._schema or {}).get("columns") or [f"y{d + 1}" for d in range(emission.dim)]
        return Forecast(laws, level, ("stream",) * len(last), tuple(columns))

    def _inputs_for(self, given: Any, count: int, steps: int) -> np.ndarray | None:
        """Inputs of steps to come, where the family or the transitions take some."""
        takes = self._family.uses_inputs or isinstance(self._laws[0], InputChain)
        return self._future_inputs(given, count, steps) if takes else None

    def _chain_ahead(self, now: np.ndarray | None, future: np.ndarray | None) -> AnyChain:
        """The chain from the last step, whose inputs are `now` (N, u), through `future` (N, steps, u): N times `steps` rows if it varies."""
        chain = self._laws[0]
        if isinstance(chain, Chain):
            return chain
        assert now is not None and future is not None
        driving = np.concatenate([now[:, None], future[:, :-1]], axis=1)
        return chain.along(driving.reshape(-1, driving.shape[2]))

    def _paths(
        self,
        chain: AnyChain,
        last: np.ndarray,
        before: list[np.ndarray],
        steps: int,
        inputs: np.ndarray | None,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """(_PATHS, N, steps, p) draws of what follows."""
        emission = self._laws[1]
        drawn = np.empty((_PATHS, len(last), steps, emission.dim))
        for n, belief in enumerate(last):
            paths = discrete_any.sample_paths(discrete_any.after(chain, belief, n, steps), steps, _PATHS, rng)
            u = None if inputs is None else np.broadcast_to(inputs[n], (_PATHS, *inputs[n].shape))
            drawn[:, n] = emission.sample(paths, rng, u, np.broadcast_to(before[n], (_PATHS, *before[n].shape)))
        return drawn

    def stream(self, state: bytes | None = None) -> HMMStream:
        """A decoder that takes one step at a time; see `HMMStream`. `state` is what an earlier one's `to_bytes` gave."""
        return HMMStream(self, state)

    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        """`count` sequences of `length` steps, their first states drawn from π.

        `inputs` (count, length, u), or (length, u) for all alike, of families and transitions that depend on inputs.
        """
        length, count = self._draws(length, count)
        (chain, emission), rng = self._laws, generator(seed)
        driving = self._inputs_for(inputs, count, length)
        if isinstance(chain, InputChain):
            assert driving is not None
            path = discrete_any.sample_paths(chain.along(driving.reshape(count * length, -1)), length, count, rng)
        else:
            path = discrete.sample_paths(chain, length, count, rng)
        return self._drawn(emission.sample(path, rng, driving), driving)

    def memory(self, data: Any = None) -> Memory:
        """How fast the belief about the state forgets.

        With data, along them: ρ is the geometric mean of the slopes of the belief's recursion, exp of the gap between
        the top two Lyapunov exponents of the forward recursion (`inference.discrete.forgetting_rate`). Without data,
        |λ₂(P)|: the rate at which the belief forgets while nothing is observed. Informative observations make
        forgetting faster; for a skewed P single observations can also slow it down. The process half-life is that of
        |λ₂(P)| in both cases. Where transitions depend on inputs it is that of the chain along the data's inputs, observations
        left out; without data there is then no answer.
        """
        if isinstance(self._laws[0], InputChain):
            return self._memory_along(data)
        mixing = discrete.mixing_rate(self._laws[0])
        rate, method = mixing, "eigenvalues"
        if data is not None:
            along = discrete_any.forgetting_rate(*self._table(self._receive(data)))
            if not np.isnan(along):
                rate, method = along, "gradient"
        return Memory(half_life(rate), rate, method, half_life(mixing))

    def _memory_along(self, data: Any) -> Memory:
        """Of a chain that inputs drive: along the data, and along their inputs alone."""
        if data is None:
            raise InputError(
                "`data` is missing: how long this HMM remembers depends on the inputs; pass sequences with inputs"
            )
        chain, table, lengths = self._table(self._receive(data))
        rate = discrete_any.forgetting_rate(chain, table, lengths)
        if np.isnan(rate):
            raise InputError(
                "`data` have no sequence of two steps, and nothing can be forgotten in one; pass longer ones"
            )
        mixing = discrete_any.forgetting_rate(chain, np.zeros((len(table), chain.states)), lengths)
        return Memory(half_life(rate), rate, "gradient", half_life(mixing))


def rows_of(seqs: Sequences) -> Rows:
    """What emissions take of sequences."""
    return Rows(seqs.values, seqs.lengths, seqs.inputs, seqs.columns)
