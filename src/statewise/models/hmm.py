"""Hidden Markov models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, NotFittedError
from statewise._core.progress import progress
from statewise._core.seed import child_seed, generator
from statewise.emissions.base import Emission
from statewise.emissions.gaussian import COVARIANCES
from statewise.emissions.registry import EMISSIONS
from statewise.emissions.rows import Rows
from statewise.fitting import hidden_markov
from statewise.fitting.hidden_markov import HiddenMarkov, Run, baum_welch
from statewise.fitting.hidden_markov_starts import require_distinct, start
from statewise.inference import discrete
from statewise.inference.discrete import Chain
from statewise.models.base import Density, HasDiscreteStates, Trainable
from statewise.results.fit import FitResult, Memory, half_life
from statewise.results.forecast import Forecast
from statewise.results.predicted import Predicted
from statewise.results.states import Decoded, DiscreteStates
from statewise.sequences.calendar import future_times
from statewise.sequences.sequences import Sequences


@dataclass(frozen=True)
class _Parameter:
    """A finite array with at most three axes (its shape is judged where the number of states and columns is known)."""

    def check(self, name: str, value: Any) -> np.ndarray:
        axes = np.ndim(value)
        if not 1 <= axes <= 3:
            raise InputError(f"`{name}` is {checks.shown(value)}; pass one entry for each state")
        return checks.array(name, value, (None,) * axes)

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("text", 1.0, np.full(2, np.nan), np.zeros((1, 1, 1, 1)))


class HMM(Density, Trainable, HasDiscreteStates):
    """s[1] ~ π, P(s[t+1] = j | s[t] = i) = P[i, j], y[t] | s[t] = k ~ emission k.

    Args:
        states: K, from 1.
        emission: family of the observations: 'gaussian', N(means[k], Σ[k]).
        covariance: of a Gaussian: 'diag' (a variance for each column), 'full', 'tied' (one full matrix for all states),
            'spherical' (one variance for all columns).
        initial_probs: π, (K,).
        transition_probs: P, (K, K); row i is the law of the next state given state i.
        means: (K, p), or (K,) for one column.
        covariances: 'diag' (K, p) variances, or (K,) for one column; 'full' (K, p, p); 'tied' (p, p); 'spherical' (K,).
        min_variance: floor under the variances in a fit, as a share of each column's variance over all data. The
            likelihood of a Gaussian HMM is unbounded without one, since a state may settle on a single point; the fit is
            the exact maximum under the floor, and `fit_result.notes` says where it was met.

    With all four parameters the model is usable at once. Fewer are where a fit starts; the rest is found from the data,
    with the states in the order of the given parameters. Any entry of the data may be missing: it is integrated out.
    Inputs are ignored.

    Attributes once there are parameters: initial_probs, transition_probs, means, covariances, in the shapes above.

    Raises:
        InputError: a shape does not match `states`, probabilities do not sum to 1, or a covariance is not positive definite.

    Example:
        >>> model = HMM(states=2, initial_probs=[0.5, 0.5], transition_probs=[[0.9, 0.1], [0.1, 0.9]],
        ...             means=[0.0, 3.0], covariances=[1.0, 1.0])
        >>> model.decode([0.1, -0.2, 3.1, 2.7]).path.tolist()
        [0, 0, 1, 1]
    """

    kind = "hmm"
    options = {
        "states": checks.Integer(1, 10_000),
        "emission": checks.Choice(tuple(sorted(EMISSIONS))),
        "covariance": checks.Choice(COVARIANCES),
        "initial_probs": checks.Optional(_Parameter()),
        "transition_probs": checks.Optional(_Parameter()),
        "means": checks.Optional(_Parameter()),
        "covariances": checks.Optional(_Parameter()),
        "min_variance": checks.Real(1e-12, 1.0),
    }

    def __init__(
        self,
        states: int = 2,
        emission: str = "gaussian",
        covariance: str = "diag",
        initial_probs: Any = None,
        transition_probs: Any = None,
        means: Any = None,
        covariances: Any = None,
        min_variance: float = 1e-6,
    ) -> None:
        super().__init__(
            states=states,
            emission=emission,
            covariance=covariance,
            initial_probs=initial_probs,
            transition_probs=transition_probs,
            means=means,
            covariances=covariances,
            min_variance=min_variance,
        )
        self._model: HiddenMarkov | None = None
        self._judge_given()

    def _judge_given(self) -> None:
        """Judge the given parameters as far as they go, and take them if they are complete."""
        K = self._options["states"]
        for name, shape in (("initial_probs", (K,)), ("transition_probs", (K, K))):
            if self._options[name] is not None:
                self._options[name] = checks.probabilities(name, self._options[name], shape)
        given = self._given
        for name in self._family.parameter_names:
            if name in given and len(given[name]) != K and not (name == "covariances" and self._is_tied):
                raise InputError(
                    f"`{name}` has {len(given[name])} entries but `states` is {K}; pass one for each state"
                )
        if all(name in given for name in ("initial_probs", "transition_probs", *self._family.parameter_names)):
            self._take(self._assembled(given))

    # --- parameters ---------------------------------------------------------------------------------------------------

    @property
    def _family(self) -> type[Emission]:
        return EMISSIONS[self._options["emission"]]

    @property
    def _is_tied(self) -> bool:
        return self._options["covariance"] == "tied"

    @property
    def _emission_options(self) -> dict[str, Any]:
        return {name: self._options[name] for name in ("covariance", "min_variance")}

    @property
    def _given(self) -> dict[str, np.ndarray]:
        """The parameters that the constructor was given."""
        names = ("initial_probs", "transition_probs", *self._family.parameter_names)
        return {name: self._options[name] for name in names if self._options[name] is not None}

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

    @property
    def initial_probs(self) -> np.ndarray:
        """π, (K,)."""
        return self.parameters["initial_probs"]

    @property
    def transition_probs(self) -> np.ndarray:
        """P, (K, K)."""
        return self.parameters["transition_probs"]

    @property
    def means(self) -> np.ndarray:
        """(K, p)."""
        return self.parameters["means"]

    @property
    def covariances(self) -> np.ndarray:
        """In the shape that `covariance` has."""
        return self.parameters["covariances"]

    @property
    def n_parameters(self) -> int:
        """K − 1 for π, K (K − 1) for P, and the emissions'."""
        K = self._options["states"]

        _ = self.parameters
        assert self._model is not None
        return K * K - 1 + self._model.emission.n_parameters

    @property
    def label(self) -> str:
        options = self._options
        changed = {"emission": "gaussian", "covariance": "diag"}
        shown = [f"states={options['states']}"]
        return ", ".join(
            shown + [f"{name}={options[name]!r}" for name, usual in changed.items() if options[name] != usual]
        )

    # --- fitting ------------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        max_iter: int = 200,
        tol: float = 1e-6,
        init: str = "kmeans",
        restarts: int = 3,
        seed: int | None = 0,
    ) -> Self:
        """Maximum likelihood by EM, in place; no priors.

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

        States come out in the order of their means in the first column, unless their order was given by the constructor
        or by ``init='current'``. ``fit_result.details["restart_log_probs"]`` has the log-likelihood of each run.

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
        rows = _rows(seqs)
        starts = list(self._starts(seqs, rows, init, restarts, seed))
        with progress("fitting HMM", len(starts) * max_iter) as advance:
            for begin in starts:
                runs.append(baum_welch(begin(), rows, max_iter=max_iter, tol=tol, on_iteration=advance))
                advance(max_iter - len(runs[-1].trace))
        chosen = hidden_markov.best(runs)
        self._take(chosen.parameters if init == "current" or self._given else chosen.parameters.sorted())
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
        self, seqs: Sequences, rows: Rows, init: str, restarts: int, seed: int | None
    ) -> Iterator[Callable[[], HiddenMarkov]]:
        """Functions that make a start each, when its turn comes."""
        if init == "current":
            model = self._for_columns_of(seqs)
            yield lambda: HiddenMarkov(model.chain, model.emission.prepared(rows))
            return
        pooled = self._family.pooled(rows, self._options["states"], **self._emission_options)
        require_distinct(seqs.values, self._options["states"])
        # With given means nothing is left to chance.
        for number in range(1 if "means" in self._given else restarts):
            rng = generator(child_seed(seed, number))
            yield partial(start, pooled, rows, self._given, init, number, rng)

    # --- verbs --------------------------------------------------------------------------------------------------------

    def _for_columns_of(self, seqs: Sequences) -> HiddenMarkov:
        """The present model, for sequences that it can be applied to."""
        if self._model is None:
            raise NotFittedError("this HMM has no parameters yet; call `fit(sequences)` first, or give all of them")
        if seqs.dim != self._model.emission.dim:
            raise InputError(
                f"the sequences have {seqs.dim} columns but the HMM has means for {self._model.emission.dim}; pass the same columns"
            )
        return self._model

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
            inputs: unused, there is no place for them in this model.
            seed: unused, the laws are exact; both are there so that all models take the same arguments.
        """
        seqs = self._receive(data)
        steps, level = checks.Integer(1).check("steps", steps), checks.levels(level)
        chain, table, lengths = self._table(seqs)
        last = discrete.filter(chain, table, lengths).probs[seqs.offsets[1:] - 1]
        laws = self._for_columns_of(seqs).emission.marginals(discrete.propagate(chain, last, steps))
        return Forecast(laws, level, seqs.ids, seqs.columns, future_times(seqs, steps))

    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        """`count` sequences of `length` steps, their first states drawn from π."""
        length, count = checks.Integer(1).check("length", length), checks.Integer(1).check("count", count)
        _ = self.parameters
        assert self._model is not None
        rng = generator(seed)
        path = discrete.sample_paths(self._model.chain, length, count, rng)
        return self._drawn(self._model.emission.sample(path, rng))

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


def _rows(seqs: Sequences) -> Rows:
    return Rows(seqs.values, seqs.lengths, seqs.inputs, seqs.columns, seqs.input_columns)


def _fit_result(seqs: Sequences, runs: list[Run], chosen: Run, seconds: float) -> FitResult:
    notes = hidden_markov.notes(runs, chosen)
    if seqs.inputs is not None:
        notes += (f"the inputs {', '.join(seqs.input_columns)} are not used: an HMM has no place for them",)
    return FitResult(
        chosen.outcome,
        chosen.log_prob,
        seqs.n_observed_steps,
        chosen.trace,
        seconds,
        notes,
        {"restart_log_probs": [run.log_prob for run in runs], "start_log_prob": chosen.start_log_prob},
    )
