"""Hidden Markov models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, UnsupportedError
from statewise._core.progress import progress
from statewise._core.seed import child_seed, generator
from statewise.emissions.base import Emission
from statewise.emissions.gaussian import COVARIANCES
from statewise.emissions.rows import Rows
from statewise.fitting import hidden_markov
from statewise.fitting.hidden_markov import HiddenMarkov, Run, baum_welch, in_threads
from statewise.fitting.hidden_markov_free import FreeHiddenMarkov, climb
from statewise.fitting.hidden_markov_inputs import notes_on
from statewise.fitting.hidden_markov_starts import require_distinct, start
from statewise.inference.discrete import Chain
from statewise.inference.discrete_inputs import InputChain
from statewise.models.base import Trainable
from statewise.models.hmm_form import (
    CHAIN,
    ORDERED,
    PARAMETERS,
    TRANSITIONS,
    Family,
    LogOdds,
    Parameter,
    allowed_transitions,
    family_of,
    given_chain,
    given_parameters,
    input_chain,
    judge_together,
    known_labels,
)
from statewise.models.hmm_verbs import HiddenMarkovVerbs, rows_of
from statewise.models.standard_errors import HasStandardErrors, Part, estimates_of
from statewise.results.estimates import Estimates
from statewise.results.fit import FitResult
from statewise.sequences.scaling import refuse_tiny
from statewise.sequences.sequences import Sequences

_WARM = 20  # iterations of EM before quasi-Newton steps
_LEAST_COST = 2e6  # rows times squared parameters up to which `summary` and `save` work out standard errors unasked


class HMM(HiddenMarkovVerbs, HasStandardErrors, Trainable):
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
        transitions: 'full', 'left-to-right' (a state is kept or left for the next one; begins in the first), 'banded' (kept, or
            left for a neighbour), or 'inputs': row i of P[t], from step t to t + 1, is softmax(c[i] + W[i]ᵀ u[t]), u[t] the
            sequence's inputs at step t. Zeros in given `transition_probs` stay zero in all of them.
        stay_prior: strength κ of a prior ∝ Π P[k, k]^κ that holds on to states; 0, for pure maximum likelihood, unless
            asked for.
        transition_ridge: strength λ of a prior ∝ exp(−½ λ Σ W²) on the coefficients of transitions that depend on inputs; 0,
            for pure maximum likelihood, unless asked for.
        fixed: which of 'initial_probs' and 'transition_probs', given too, a fit leaves as they are.
        initial_probs: π, (K,).
        transition_probs: P, (K, K); row i is the law of the next state given state i. With ``transitions="inputs"`` where
            a fit begins, and P where all inputs are zero if `transition_coefficients` are given too.
        transition_intercepts, transition_coefficients: c (K, K), −inf for transitions that cannot be, and W (K, inputs, K), of
            ``transitions="inputs"``. Only differences in a row count; they are kept with zeros for staying, so that W[i, m, j] is
            what a unit of input m adds to the log odds of going from i to j, not staying.
        means: (K, p), or (K,) for one column; of 'gaussian-mixture' (K, M, p).
        covariances: 'diag' (K, p) variances, or (K,) for one column; 'full' (K, p, p); 'tied' (p, p); 'spherical' (K,).
        rates, probs, sizes, shapes, scales, locations, dofs: (K, p), or (K,) for one column; the probs of 'categorical'
            (K, M). For a product of families a dict by column: ``rates={"calls": [1, 5]}``.
        mixture_weights: (K, M).
        intercepts, coefficients, lag_fills: (K, p), (K, regressors, p) and (p,).
        min_variance: no variance falls below this share of the column's; see `fit`.

    A fit estimates what is not given; given parameters are where it begins. Any entry of an observation may be missing: it
    is integrated out (but see `lag_fills` of autoregressions). Inputs enter 'regression', 'autoregressive' and ``transitions="inputs"`` only.

    Attributes once there are parameters: initial_probs, transition_probs (or transition_intercepts and transition_coefficients)
    and the family's, in the shapes above.

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
        "transition_ridge": checks.Real(0.0, 1e12),
        "fixed": checks.Tuple(checks.Choice(("initial_probs", "transition_probs"))),
        "min_variance": checks.Real(1e-12, 1.0),
        "initial_probs": checks.Optional(Parameter()),
        "transition_probs": checks.Optional(Parameter()),
        "transition_intercepts": checks.Optional(LogOdds(2, may_exclude=True)),
        "transition_coefficients": checks.Optional(LogOdds(3)),
        **{name: checks.Optional(Parameter()) for name in PARAMETERS},
    }

    _waiting: Callable[[], FitResult] | None

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
        transition_ridge: float = 0.0,
        fixed: Sequence[str] = (),
        transition_intercepts: Any = None,
        transition_coefficients: Any = None,
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
        self._training: Rows | None = None
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
            if name == "mixture_weights" or (name == "probs" and self._options["emission"] == "categorical"):
                checks.probabilities(name, value, value.shape)
        judge_together(self._options)
        chain = given_chain(self._options, given)
        if chain is not None and all(name in given for name in self._required):
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
        chain = {name: self._options[name] for name in CHAIN}
        return {name: value for name, value in chain.items() if value is not None} | given_parameters(self._options)

    def _assembled(self, parameters: dict[str, np.ndarray]) -> HiddenMarkov:
        chain = given_chain(self._options, parameters)
        assert chain is not None
        return HiddenMarkov(chain, self._family.given(parameters, self._options["states"], **self._emission_options))

    def _take(self, model: HiddenMarkov) -> None:
        self._model = model
        chain = model.chain
        laws: dict[str, np.ndarray] = {"initial_probs": chain.initial}
        if isinstance(chain, InputChain):
            laws |= {"transition_intercepts": chain.intercepts, "transition_coefficients": chain.coefficients}
        else:
            laws |= {"transition_probs": chain.transition}
        self._parameters = laws | model.emission.parameters

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        super()._restore(parameters, schema)
        self._take(self._assembled(parameters))

    def __getattr__(self, name: str) -> np.ndarray:
        """The family's parameters by name."""
        if name in PARAMETERS or name in CHAIN:
            found = self.parameters
            if name in found:
                return found[name]
            raise AttributeError(
                f"an HMM with emission {self._options['emission']!r} and transitions {self._options['transitions']!r} has no "
                f"`{name}`; it has {', '.join(found)}"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def initial_probs(self) -> np.ndarray:
        """π, (K,)."""
        return self.parameters["initial_probs"]

    @property
    def transition_probs(self) -> np.ndarray:
        """P, (K, K)."""
        if self._options["transitions"] == "inputs":
            raise UnsupportedError(
                "transition_probs depend on the inputs of this HMM; call transition_probs_at(inputs)"
            )
        return self.parameters["transition_probs"]

    def transition_probs_at(self, inputs: Any) -> np.ndarray:
        """(rows, K, K) P[t] at the `inputs` (rows, u), or (rows,) where u is 1, of transitions that depend on them.

        Example:
            >>> model = HMM(states=2, transitions="inputs", initial_probs=[0.5, 0.5], means=[0.0, 1.0], covariances=[1.0, 1.0],
            ...             transition_intercepts=[[0.0, -2.0], [-2.0, 0.0]], transition_coefficients=[[[0.0, 1.0]], [[0.0, 0.0]]])
            >>> model.transition_probs_at([0.0, 2.0])[:, 0].round(3)
            array([[0.881, 0.119],
                   [0.5  , 0.5  ]])
        """
        chain = self._laws[0]
        if not isinstance(chain, InputChain):
            raise UnsupportedError("the transitions of this HMM do not depend on inputs; see transition_probs")
        table = np.asarray(inputs)
        if table.ndim == 1 and chain.n_inputs == 1:
            table = table[:, None]
        return np.exp(chain.log_transition(checks.array("inputs", table, (None, chain.n_inputs))))

    @property
    def n_parameters(self) -> int:
        """K − 1 for π, one less than its allowed transitions for each row of P (times one and the inputs, where it depends on them),
        and the emissions'; nothing for what is fixed."""
        K = self._options["states"]
        fixed, (chain, emission) = self._options["fixed"], self._laws
        starts = 0 if self._options["transitions"] == "left-to-right" or "initial_probs" in fixed else K - 1
        each = 1 + chain.n_inputs if isinstance(chain, InputChain) else 1
        moves = 0 if "transition_probs" in fixed else each * (int(self._allowed.sum()) - K)
        return starts + moves + emission.n_parameters

    @property
    def _allowed(self) -> np.ndarray:
        allowed = allowed_transitions(self._options["transitions"], self._options["states"])
        given, intercepts = self._options["transition_probs"], self._options["transition_intercepts"]
        allowed = allowed if given is None else allowed & (given > 0)
        return allowed if intercepts is None else allowed & (intercepts > -np.inf)

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
        method: str = "em",
    ) -> Self:
        """Maximum likelihood by EM, in place; no priors but `stay_prior`.

        Args:
            data: sequences; all of them are pooled in one likelihood.
            max_iter: EM iterations from each start, from 1.
            tol: nats per step of data; an iteration that gains less ends the run.
            init: 'kmeans' (clusters of rows, clusters of the level and spread around rows, then k-means++ seeds), 'random'
                (rows drawn at random as centres), or 'current' (the parameters that the model has; one start).
                Parameters given to the constructor replace what a start would guess.
            restarts: number of starts, from 1, in threads beside each other; the best end is kept. A run in which a state
                collapsed onto the variance floor is kept only if all did, since its likelihood is as high as the floor is
                low.
            seed: for the starts.
            known_states: states that are known: (T,) numbers for each sequence, or all of them packed, −1 or NaN where not
                known. The likelihood is then that of observations and known states together.
            method: 'em', or 'gradient': up to 20 iterations of EM from each start, then quasi-Newton steps (BFGS) from the best
                end, which need fewer where EM creeps. The initial law stays what EM found.

        States come out in the order of their means in the first column, unless their order was given by the constructor,
        by a structure of `transitions`, by known states, or by ``init='current'``.
        ``fit_result.details["restart_log_probs"]`` has the log-likelihood of each run.

        A single start of EM that uses up `max_iter` keeps the parameters of its last M step, which EM guarantees to be no worse. Where
        that step is in closed form ('gaussian' and 'categorical', no variance at its floor or near singular, no prior, no known states),
        their log-likelihood is computed when `fit_result`, or what needs it (`aic`, `bic`, `summary`, `save`, pickling), is first asked
        for: the data are scored once more then, and `fit_result.seconds` includes it.

        Raises:
            InputError: a column is constant or all missing, or there are fewer distinct rows than states.
            NotFittedError: ``init='current'`` without parameters.
        """
        begun = time.perf_counter()
        by_gradient = checks.Choice(("em", "gradient")).check("method", method) == "gradient"
        prior = {name: self._options[name] for name in ("stay_prior", "transition_ridge")}
        fixed = self._options["fixed"]
        held: dict[str, Any] = prior | {"fixed": fixed}
        if by_gradient and (known_states is not None or any(prior.values())):
            raise InputError("`method` is 'gradient', which has no known states and no prior; pass 'em'")
        max_iter = checks.Integer(1).check("max_iter", max_iter)
        tol = checks.Real(0.0, 1.0).check("tol", tol)
        restarts = checks.Integer(1, 10_000).check("restarts", restarts)
        init = checks.Choice(("kmeans", "random", "current")).check("init", init)
        seqs = self._receive_anew(data)
        refuse_tiny(seqs)
        seed = checks.Optional(checks.Integer()).check("seed", seed)
        rows, known = rows_of(seqs), known_labels(known_states, seqs, self._options["states"])
        starts = list(self._starts(seqs, rows, known, init, restarts, seed))
        most = min(max_iter, _WARM) if by_gradient else max_iter
        waits = len(starts) == 1 and not by_gradient  # else the score has a say in the parameters
        with progress("fitting HMM", len(starts) * most) as advance:

            def run(begin: Callable[[], HiddenMarkov]) -> Run:
                found = baum_welch(
                    begin(), rows, max_iter=most, tol=tol, known=known, waits=waits, on_iteration=advance, **held
                )
                advance(0 if found.judge else most - len(found.trace))
                return found

            runs = in_threads(run, starts, len(rows) * self._options["states"])
        chosen = hidden_markov.best(runs)
        if by_gradient:
            chosen = climb(chosen, rows, max_iter, fixed)
        ordered = init == "current" or self._given or known is not None or self._options["transitions"] in ORDERED
        found = chosen.parameters if ordered else chosen.parameters.sorted()
        # A copy: what waits to be judged stays as it is if somebody changes the model's parameters in place.
        self._take(found.reordered(np.arange(found.emission.states)) if chosen.judge else found)
        self._learn_schema(seqs)
        self._training = rows
        notes = _notes(seqs, runs, chosen)
        if chosen.judge is None:
            self.fit_result = _fit_result(rows.observed_steps, runs, chosen, notes, time.perf_counter() - begun)
        else:
            self._waiting = partial(_judged, chosen, rows.observed_steps, notes, time.perf_counter() - begun)
        return self

    @property
    def fit_result(self) -> FitResult | None:
        """How the last fit went; None before there was one. The log-likelihood may be computed here, see `fit`."""
        if self._waiting is not None:
            self.fit_result = self._waiting()
        return self._fit_result

    @fit_result.setter
    def fit_result(self, result: FitResult | None) -> None:
        self._fit_result, self._waiting = result, None

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: the log-likelihood rather than the way to it."""
        _ = self.fit_result
        return self.__dict__

    def _estimate(self) -> Estimates | None:
        """Standard errors with the initial law held where it is; entries at the edge of their range have none."""
        if self._training is None or self._model is None:
            return None
        free = FreeHiddenMarkov(self._model, self._training, self._options["fixed"])
        inside, known = free.away_from_edges
        return estimates_of([Part(free.names, free.objective, free.point, inside, free.natural, known)])

    def _coefficients(self) -> dict[str, object] | None:
        rows = 0 if self._training is None else len(self._training)
        return super()._coefficients() if rows * float(self.n_parameters) ** 2 <= _LEAST_COST else None

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
            model.along(rows.inputs)  # judges the inputs
            yield lambda: HiddenMarkov(model.chain, model.emission.prepared(rows))
            return
        driven = self._options["transitions"] == "inputs"
        if driven and seqs.inputs is None:
            raise InputError(
                "`transitions` is 'inputs' and the sequences have none; pass `inputs` with the data, or transitions='full'"
            )
        inputs = seqs.inputs.shape[1] if driven and seqs.inputs is not None else None
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
            begin = partial(start, pooled, rows, self._given, init, number, rng, self._allowed, known)
            yield begin if inputs is None else partial(self._driven, begin, inputs)

    def _driven(self, begin: Callable[[], HiddenMarkov], inputs: int) -> HiddenMarkov:
        """A start whose transitions depend on inputs: in no way yet, unless coefficients are given."""
        found = begin()
        assert isinstance(found.chain, Chain)
        chain = input_chain(found.chain.initial, found.chain.transition, self._given, inputs)
        if chain.n_inputs != inputs:
            raise InputError(
                f"`transition_coefficients` are for {chain.n_inputs} inputs and the sequences have {inputs}; pass as many"
            )
        return HiddenMarkov(chain, found.emission)


def _plain(option: Any) -> Any:
    """A product of families as the dict that made it."""
    return dict(option) if isinstance(option, tuple) else option


def _notes(seqs: Sequences, runs: list[Run], chosen: Run) -> tuple[str, ...]:
    notes = hidden_markov.notes(runs, chosen)
    chain = chosen.parameters.chain
    if seqs.inputs is not None and isinstance(chain, InputChain):
        notes += notes_on(chain, seqs.inputs)
    elif seqs.inputs is not None and not chosen.parameters.emission.uses_inputs:
        notes += (
            f"the inputs {', '.join(seqs.input_columns)} are not used: only emissions 'regression' and 'autoregressive' and "
            "transitions='inputs' have a place for them",
        )
    return notes


def _judged(run: Run, n_steps: int, notes: tuple[str, ...], seconds: float) -> FitResult:
    """How the only run went, once its log-likelihood is asked for."""
    begun = time.perf_counter()
    found = run.judged()
    return _fit_result(n_steps, [found], found, notes, seconds + time.perf_counter() - begun)


def _fit_result(n_steps: int, runs: list[Run], chosen: Run, notes: tuple[str, ...], seconds: float) -> FitResult:
    return FitResult(
        chosen.outcome,
        chosen.log_prob,
        n_steps,
        chosen.trace,
        seconds,
        notes,
        {"restart_log_probs": [run.log_prob for run in runs], "start_log_prob": chosen.start_log_prob},
    )
