"""Fitting hidden Markov models: starts, EM or gradient, what is kept of the runs, standard errors."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise._core.progress import progress
from statewise._core.seed import child_seed, generator
from statewise.emissions.rows import Rows
from statewise.fitting import hidden_markov
from statewise.fitting.hidden_markov import HiddenMarkov, Run, baum_welch, in_threads
from statewise.fitting.hidden_markov_free import FreeHiddenMarkov, climb
from statewise.fitting.hidden_markov_inputs import notes_on
from statewise.fitting.hidden_markov_starts import require_distinct, start
from statewise.inference.discrete import Chain
from statewise.inference.discrete_inputs import InputChain
from statewise.models.base import Trainable
from statewise.models.hmm_form import ORDERED, input_chain, known_labels
from statewise.models.hmm_verbs import HiddenMarkovVerbs, rows_of
from statewise.models.standard_errors import HasStandardErrors, Part, estimates_of
from statewise.results.estimates import Estimates
from statewise.results.fit import FitResult
from statewise.sequences.scaling import refuse_tiny
from statewise.sequences.sequences import Sequences

_WARM = 20  # iterations of EM before quasi-Newton steps
_LEAST_COST = 2e6  # rows times squared parameters up to which `summary` and `save` work out standard errors unasked


class HiddenMarkovFit(HiddenMarkovVerbs, HasStandardErrors, Trainable):
    """`fit` and what follows from it, for a model that says what is given and which transitions there may be."""

    _training: Rows | None
    _waiting: Callable[[], FitResult] | None

    @property
    @abc.abstractmethod
    def _given(self) -> dict[str, np.ndarray]:
        """The parameters that the constructor was given."""

    @property
    @abc.abstractmethod
    def _allowed(self) -> np.ndarray:
        """(K, K) which transitions may have a probability above zero."""

    @property
    @abc.abstractmethod
    def _emission_options(self) -> dict[str, Any]:
        """The family's options."""

    @abc.abstractmethod
    def _take(self, model: HiddenMarkov) -> None:
        """Become this model."""

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
