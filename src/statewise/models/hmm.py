"""Hidden Markov models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, NotFittedError
from statewise._core.progress import progress
from statewise._core.seed import child_seed, generator
from statewise.emissions.base import Emission
from statewise.emissions.gaussian import COVARIANCES
from statewise.emissions.rows import Rows
from statewise.fitting import hidden_markov
from statewise.fitting.hidden_markov import HiddenMarkov, Run, baum_welch
from statewise.fitting.hidden_markov_starts import require_distinct, start
from statewise.inference import discrete
from statewise.inference.discrete import Chain
from statewise.models.base import Density, HasDiscreteStates, Trainable
from statewise.models.hmm_form import (
    PARAMETERS,
    TRANSITIONS,
    Family,
    Parameter,
    allowed_transitions,
    family_of,
    given_parameters,
    known_labels,
)
from statewise.models.hmm_stream import HMMStream
from statewise.results.fit import FitResult, Memory, half_life
from statewise.results.forecast import Forecast
from statewise.results.marginals import Marginals, SampleMarginals
from statewise.results.predicted import Predicted
from statewise.results.states import Decoded, DiscreteStates
from statewise.sequences.calendar import future_times
from statewise.sequences.sequences import Sequences

_PATHS = 2000  # drawn to forecast what has no closed form


class HMM(Density, Trainable, HasDiscreteStates):
    """s[1] ~ π, P(s[t+1] = j | s[t] = i) = P[i, j], y[t] | s[t] = k ~ emission k.

    Args:
        states: K, from 1.
        emission: family of the observations, with its parameters in brackets: 'gaussian' (means, covariances),
            'gaussian-mixture' (means, covariances, mixture_weights), 'student-t' (locations, scales, dofs), 'poisson'
            (rates), 'negative-binomial' (means, sizes), 'categorical' (probs), 'bernoulli' (probs), 'exponential'
            (scales), 'gamma' (shapes, scales), 'autoregressive' and 'regression' (intercepts, coefficients, covariances,
            lag_fills); or a dict of column and family, such as ``{"calls": "poisson", "length": "gamma"}``, for columns
            that are independent given the state. Equations are in the families' docstrings, `statewise.emissions`.
        covariance: of the normal families: 'diag' (a variance for each column), 'full', 'tied' (one full matrix for all
            states), 'spherical' (one variance for all columns).
        components: M, of 'gaussian-mixture'.
        symbols: number of symbols of 'categorical'; unless given that of the data.
        order: steps that 'autoregressive' (1 unless given) and 'regression' (0) look back.
        transitions: 'full', 'left-to-right' (a state is kept or left for the next one; begins in the first), or 'banded'
            (kept, or left for a neighbour). Zeros in given `transition_probs` stay zero too.
        stay_prior: strength κ of a prior ∝ Π P[k, k]^κ that holds on to states; 0, for pure maximum likelihood, unless
            asked for.
        initial_probs: π, (K,).
        transition_probs: P, (K, K); row i is the law of the next state given state i.
        means: (K, p), or (K,) for one column; of 'gaussian-mixture' (K, M, p).
        covariances: 'diag' (K, p) variances, or (K,) for one column; 'full' (K, p, p); 'tied' (p, p); 'spherical' (K,).
        rates, probs, sizes, shapes, scales, locations, dofs: (K, p), or (K,) for one column; the probs of 'categorical'
            (K, M). For a product of families a dict by column: ``rates={"calls": [1, 5]}``.
        mixture_weights: (K, M).
        intercepts, coefficients, lag_fills: (K, p), (K, regressors, p) and (p,).
        min_variance: no variance falls below this share of the column's; see `fit`.

    A fit estimates what is not given; given parameters are where it begins. Any entry of an observation may be missing: it
    is integrated out (but see `lag_fills` of autoregressions). Inputs enter 'regression' and 'autoregressive' only.

    Attributes once there are parameters: initial_probs, transition_probs and the family's, in the shapes above.

    Raises:
        InputError: a shape does not match `states`, probabilities do not sum to 1, a covariance is not positive definite, or
            a parameter does not belong to the family.

    Example:
        >>> model = HMM(states=2, initial_probs=[0.5, 0.5], transition_probs=[[0.9, 0.1], [0.1, 0.9]],
        ...             means=[0.0, 3.0], covariances=[1.0, 1.0])
        >>> model.decode([0.1, -0.2, 3.1, 2.7]).path.tolist()
        [0, 0, 1, 1]
    """

    kind = "hmm"
    options = {
        "states": checks.Integer(1, 10_000),
        "emission": Family(),
        "covariance": checks.Choice(COVARIANCES),
        "components": checks.Integer(1, 1000),
        "symbols": checks.Optional(checks.Integer(1, 1_000_000)),
        "order": checks.Optional(checks.Integer(0, 1000)),
        "transitions": checks.Choice(TRANSITIONS),
        "stay_prior": checks.Real(0.0, 1e12),
        "min_variance": checks.Real(1e-12, 1.0),
        "initial_probs": checks.Optional(Parameter()),
        "transition_probs": checks.Optional(Parameter()),
        **{name: checks.Optional(Parameter()) for name in PARAMETERS},
    }

    def __init__(
        self,
        states: int = 2,
        emission: Any = "gaussian",
        covariance: str = "diag",
        initial_probs: Any = None,
        transition_probs: Any = None,
        means: Any = None,
        covariances: Any = None,
        min_variance: float = 1e-6,
        *,
        components: int = 2,
        symbols: int | None = None,
        order: int | None = None,
        transitions: str = "full",
        stay_prior: float = 0.0,
        rates: Any = None,
        probs: Any = None,
        sizes: Any = None,
        shapes: Any = None,
        scales: Any = None,
        locations: Any = None,
        dofs: Any = None,
        mixture_weights: Any = None,
        intercepts: Any = None,
        coefficients: Any = None,
        lag_fills: Any = None,
    ) -> None:
        own = ("self", "own", "__class__")
        super().__init__(**{name: value for name, value in locals().items() if name not in own})
        self._model: HiddenMarkov | None = None
        self._judge_given()

    def _judge_given(self) -> None:
        """Judge the given parameters as far as they go, and take them if they are complete."""
        K = self._options["states"]
        for name, shape in (("initial_probs", (K,)), ("transition_probs", (K, K))):
            if self._options[name] is not None:
                self._options[name] = checks.probabilities(name, self._options[name], shape)
        given = self._given
        shared = ("covariances",) if self._options["covariance"] == "tied" else ()
        for name, value in given.items():
            if len(value) != K and name.rpartition(".")[2] not in (*shared, "lag_fills"):
                raise InputError(f"`{name}` has {len(value)} entries but `states` is {K}; pass one for each state")
        if all(name in given for name in ("initial_probs", "transition_probs", *self._required)):
            self._take(self._assembled(given))

    # --- parameters ---------------------------------------------------------------------------------------------------

    @property
    def _family(self) -> type[Emission]:
        return family_of(self._options["emission"])

    @property
    def _required(self) -> tuple[str, ...]:
        """The emission parameters that a model without a fit cannot do without."""
        return tuple(name for name in self._family.parameter_names if name != "lag_fills")

    @property
    def _emission_options(self) -> dict[str, Any]:
        return {name: self._options[name] for name in self._family.option_names}

    @property
    def _given(self) -> dict[str, np.ndarray]:
        """The parameters that the constructor was given."""
        chain = {name: self._options[name] for name in ("initial_probs", "transition_probs")}
        return {name: value for name, value in chain.items() if value is not None} | given_parameters(self._options)

    def _assembled(self, parameters: dict[str, np.ndarray]) -> HiddenMarkov:
        chain = Chain(parameters["initial_probs"], parameters["transition_probs"])
        return HiddenMarkov(chain, self._family.given(parameters, self._options["states"], **self._emission_options))

    def _take(self, model: HiddenMarkov) -> None:
        self._model = model
        chain = {"initial_probs": model.chain.initial, "transition_probs": model.chain.transition}
        self._parameters = chain | model.emission.parameters

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        super()._restore(parameters, schema)
        self._take(self._assembled(parameters))

    def __getattr__(self, name: str) -> np.ndarray:
        """The family's parameters by name."""
        if name in PARAMETERS:
            found = self.parameters
            if name in found:
                return found[name]
            raise AttributeError(
                f"an HMM with emission {self._options['emission']!r} has no `{name}`; it has {', '.join(found)}"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def initial_probs(self) -> np.ndarray:
        """π, (K,)."""
        return self.parameters["initial_probs"]

    @property
    def transition_probs(self) -> np.ndarray:
        """P, (K, K)."""
        return self.parameters["transition_probs"]

    @property
    def n_parameters(self) -> int:
        """K − 1 for π, one less than its allowed transitions for each row of P, and the emissions'."""
        K = self._options["states"]
        _ = self.parameters
        assert self._model is not None
        starts = 0 if self._options["transitions"] == "left-to-right" else K - 1
        return starts + int(self._allowed.sum()) - K + self._model.emission.n_parameters

    @property
    def _allowed(self) -> np.ndarray:
        allowed = allowed_transitions(self._options["transitions"], self._options["states"])
        given = self._options["transition_probs"]
        return allowed if given is None else allowed & (given > 0)

    @property
    def label(self) -> str:
        options = self._options
        changed = {"emission": "gaussian", "covariance": "diag", "transitions": "full"}
        shown = [f"states={options['states']}"]
        shown += [f"{name}={_plain(options[name])!r}" for name, usual in changed.items() if options[name] != usual]
        return ", ".join(shown)

    # --- fitting ------------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        max_iter: int = 200,
        tol: float = 1e-6,
        init: str = "kmeans",
        restarts: int = 3,
        seed: int | None = 0,
        known_states: Any = None,
    ) -> Self:
        """Maximum likelihood by EM, in place; no priors but `stay_prior`.

        Args:
            data: sequences; all of them are pooled in one likelihood.
            max_iter: EM iterations from each start, from 1.
            tol: nats per step of data; an iteration that gains less ends the run.
            init: 'kmeans' (clusters of rows, clusters of the level and spread around rows, then k-means++ seeds), 'random'
                (rows drawn at random as centres), or 'current' (the parameters that the model has; one start).
                Parameters given to the constructor replace what a start would guess.
            restarts: number of starts, from 1; the best end is kept. A run in which a state collapsed onto the variance
                floor is kept only if all did, since its likelihood is as high as the floor is low.
            seed: for the starts.
            known_states: states that are known: (T,) numbers for each sequence, or all of them packed, −1 or NaN where not
                known. The likelihood is then that of observations and known states together.

        States come out in the order of their means in the first column, unless their order was given by the constructor,
        by a structure of `transitions`, by known states, or by ``init='current'``.
        ``fit_result.details["restart_log_probs"]`` has the log-likelihood of each run.

        Raises:
            InputError: a column is constant or all missing, or there are fewer distinct rows than states.
            NotFittedError: ``init='current'`` without parameters.
        """
        begun = time.perf_counter()
        max_iter = checks.Integer(1).check("max_iter", max_iter)
        tol = checks.Real(0.0, 1.0).check("tol", tol)
        restarts = checks.Integer(1, 10_000).check("restarts", restarts)
        init = checks.Choice(("kmeans", "random", "current")).check("init", init)
        seqs = self._receive_anew(data)
        runs: list[Run] = []
        seed = checks.Optional(checks.Integer()).check("seed", seed)
        rows, known = _rows(seqs), known_labels(known_states, seqs, self._options["states"])
        starts = list(self._starts(seqs, rows, known, init, restarts, seed))
        with progress("fitting HMM", len(starts) * max_iter) as advance:
            for begin in starts:
                run = baum_welch(
                    begin(),
                    rows,
                    max_iter=max_iter,
                    tol=tol,
                    known=known,
                    stay_prior=self._options["stay_prior"],
                    on_iteration=advance,
                )
                runs.append(run)
                advance(max_iter - len(runs[-1].trace))
        chosen = hidden_markov.best(runs)
        ordered = init == "current" or self._given or known is not None or self._options["transitions"] != "full"
        self._take(chosen.parameters if ordered else chosen.parameters.sorted())
        self._learn_schema(seqs)
        self.fit_result = _fit_result(seqs, runs, chosen, time.perf_counter() - begun)
        return self

    def _receive_anew(self, data: Any) -> Sequences:
        """Sequences to fit to, whatever the columns of those that the model was fitted to before."""
        before, self._schema = self._schema, None
        try:
            return self._receive(data)
        finally:
            self._schema = before

    def _starts(
        self,
        seqs: Sequences,
        rows: Rows,
        known: np.ndarray | None,
        init: str,
        restarts: int,
        seed: int | None,
    ) -> Iterator[Callable[[], HiddenMarkov]]:
        """Functions that make a start each, when its turn comes."""
        if init == "current":
            model = self._for_columns_of(seqs)
            yield lambda: HiddenMarkov(model.chain, model.emission.prepared(rows))
            return
        options = self._emission_options
        if "symbols" in options and options["symbols"] is None and seqs.symbols is not None:
            options["symbols"] = len(seqs.symbols)
        pooled = self._family.pooled(rows, self._options["states"], **options)
        if self._family.needs_spread:
            require_distinct(seqs.values, self._options["states"])
        # With given locations nothing is left to chance.
        first = self._family.parameter_names[0]
        for number in range(1 if first in self._given else restarts):
            rng = generator(child_seed(seed, number))
            yield partial(start, pooled, rows, self._given, init, number, rng, self._allowed, known)

    # --- verbs --------------------------------------------------------------------------------------------------------

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
    def _laws(self) -> tuple[Chain, Emission]:
        _ = self.parameters
        assert self._model is not None
        return self._model.chain, self._model.emission

    def _table(self, seqs: Sequences) -> tuple[Chain, np.ndarray, np.ndarray]:
        model = self._for_columns_of(seqs)
        return model.chain, model.emission.log_likelihood(_rows(seqs)), seqs.lengths

    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        return discrete.log_prob_steps(*self._table(seqs))

    def filter(self, data: Any) -> DiscreteStates:
        """P(s[t] = k | y[1 … t]). A sequence that is impossible keeps the belief it had; see its `log_prob`."""
        seqs = self._receive(data)
        return DiscreteStates(discrete.filter(*self._table(seqs)).probs, seqs.lengths, seqs.ids, seqs.times)

    def smooth(self, data: Any) -> DiscreteStates:
        """P(s[t] = k | y[1 … T])."""
        seqs = self._receive(data)
        return DiscreteStates(discrete.smooth(*self._table(seqs)).probs, seqs.lengths, seqs.ids, seqs.times)

    def decode(self, data: Any) -> Decoded:
        """The most probable state path of each sequence (Viterbi); ties go to the lower state."""
        seqs = self._receive(data)
        path = discrete.viterbi(*self._table(seqs))
        return Decoded(path.states, path.log_prob, seqs.lengths, seqs.ids, seqs.times)

    def predict(self, data: Any) -> Predicted:
        """Mean and variance of y[t] given y[1 … t−1], and normal pseudo-residuals Φ⁻¹(F(y[t])) under that law.

        Each column's residual is under its own marginal, a mixture over the predicted state; see `Emission.residuals`.
        """
        seqs = self._receive(data)
        ahead = discrete.filter(*self._table(seqs)).predicted
        emission = self._for_columns_of(seqs).emission
        rows = _rows(seqs)
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
            inputs: future inputs (N, steps, u), of families that depend on inputs; others ignore them.
            seed: of the paths that an autoregression is forecast by.

        An autoregression, whose law depends on what is drawn before, is forecast by 2 000 paths; all else is exact.
        """
        seqs = self._receive(data)
        steps, level = checks.Integer(1).check("steps", steps), checks.levels(level)
        chain, table, lengths = self._table(seqs)
        last = discrete.filter(chain, table, lengths).probs[seqs.offsets[1:] - 1]
        back = self._laws[1].look_back
        before = [
            seqs.values[max(low, end - back) : end] for low, end in zip(seqs.offsets, seqs.offsets[1:], strict=False)
        ]
        found = self._forecast_from(last, before, steps, level, inputs, seed)
        return replace(found, ids=seqs.ids, columns=seqs.columns, times=future_times(seqs, steps))

    def _forecast_from(
        self,
        last: np.ndarray,
        before: list[np.ndarray],
        steps: int,
        level: tuple[float, ...],
        inputs: Any,
        seed: int | None,
    ) -> Forecast:
        """Forecasts after states of chances `last` (N, K) and the rows `before`, N of (at most `look_back`, p)."""
        chain, emission = self._laws
        future = self._inputs_for(inputs, len(last), steps)
        laws: Marginals
        if emission.look_back:
            laws = SampleMarginals(self._paths(last, before, steps, future, generator(seed)))
        else:
            ahead = None
            if future is not None:
                unseen = np.full((len(last) * steps, emission.dim), np.nan)
                ahead = Rows(unseen, inputs=future.reshape(len(unseen), -1))
            laws = emission.marginals(discrete.propagate(chain, last, steps), ahead)
        columns = (self._schema or {}).get("columns") or [f"y{d + 1}" for d in range(emission.dim)]
        return Forecast(laws, level, ("stream",) * len(last), tuple(columns))

    def _inputs_for(self, given: Any, count: int, steps: int) -> np.ndarray | None:
        """Inputs of steps to come, where the family takes some."""
        return self._future_inputs(given, count, steps) if self._family.uses_inputs else None

    def _paths(
        self,
        last: np.ndarray,
        before: list[np.ndarray],
        steps: int,
        inputs: np.ndarray | None,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """(_PATHS, N, steps, p) draws of what follows."""
        chain, emission = self._laws
        drawn = np.empty((_PATHS, len(last), steps, emission.dim))
        for n, belief in enumerate(last):
            paths = discrete.sample_paths(Chain(belief @ chain.transition, chain.transition), steps, _PATHS, rng)
            u = None if inputs is None else np.broadcast_to(inputs[n], (_PATHS, *inputs[n].shape))
            drawn[:, n] = emission.sample(paths, rng, u, np.broadcast_to(before[n], (_PATHS, *before[n].shape)))
        return drawn

    def stream(self, state: bytes | None = None) -> HMMStream:
        """A decoder that takes one step at a time; see `HMMStream`. `state` is what an earlier one's `to_bytes` gave."""
        return HMMStream(self, state)

    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        """`count` sequences of `length` steps, their first states drawn from π."""
        length, count = checks.Integer(1).check("length", length), checks.Integer(1).check("count", count)
        _ = self.parameters
        assert self._model is not None
        rng = generator(seed)
        path = discrete.sample_paths(self._model.chain, length, count, rng)
        driving = self._inputs_for(inputs, count, length)
        return self._drawn(self._model.emission.sample(path, rng, driving), driving)

    def memory(self, data: Any = None) -> Memory:
        """How fast the belief about the state forgets.

        With data, along them: ρ is the geometric mean of the slopes of the belief's recursion, exp of the gap between
        the top two Lyapunov exponents of the forward recursion (`inference.discrete.forgetting_rate`). Without data,
        |λ₂(P)|: the rate at which the belief forgets while nothing is observed. Informative observations make
        forgetting faster; for a skewed P single observations can also slow it down. The process half-life is that of
        |λ₂(P)| in both cases.
        """
        _ = self.parameters
        assert self._model is not None
        mixing = discrete.mixing_rate(self._model.chain)
        rate, method = mixing, "eigenvalues"
        if data is not None:
            along = discrete.forgetting_rate(*self._table(self._receive(data)))
            if not np.isnan(along):
                rate, method = along, "gradient"
        return Memory(half_life(rate), rate, method, half_life(mixing))


def _plain(option: Any) -> Any:
    """A product of families as the dict that made it."""
    return dict(option) if isinstance(option, tuple) else option


def _rows(seqs: Sequences) -> Rows:
    return Rows(seqs.values, seqs.lengths, seqs.inputs, seqs.columns, seqs.input_columns)


def _fit_result(seqs: Sequences, runs: list[Run], chosen: Run, seconds: float) -> FitResult:
    notes = hidden_markov.notes(runs, chosen)
    if seqs.inputs is not None and not chosen.parameters.emission.uses_inputs:
        notes += (
            f"the inputs {', '.join(seqs.input_columns)} are not used: only emissions 'regression' and 'autoregressive' have a place for them",
        )
    return FitResult(
        chosen.outcome,
        chosen.log_prob,
        seqs.n_observed_steps,
        chosen.trace,
        seconds,
        notes,
        {"restart_log_probs": [run.log_prob for run in runs], "start_log_prob": chosen.start_log_prob},
    )
