"""Recurrent networks that start exactly at a classical model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, UnsupportedError
from statewise._core.seed import generator
from statewise.models.base import Density, Model, Trainable
from statewise.models.hmm import HMM
from statewise.models.linear_gaussian import LinearGaussian
from statewise.models.recurrent import Recurrent
from statewise.results.added import Added
from statewise.results.fit import FitResult, Memory
from statewise.results.forecast import Forecast
from statewise.results.marginals import SampleMarginals
from statewise.results.predicted import Predicted
from statewise.sequences.build import as_sequences
from statewise.sequences.calendar import future_times
from statewise.sequences.scaling import refuse_tiny
from statewise.sequences.sequences import Sequences

if TYPE_CHECKING:
    from statewise.models.started_parts import Part

_PATHS = 1000


class StartModel:
    """The option `start`: a classical model, fitted or not."""

    def check(self, name: str, value: Any) -> Model:
        if isinstance(value, LinearGaussian | HMM):
            return value
        raise InputError(
            f"`{name}` is {checks.shown(value)}; pass a VARMA, ARIMA, Structural, StateSpace or HMM, fitted or not"
        )

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("varma", 3, None)


class StartedRecurrent(Density, Trainable):
    """A classical predictor as a recurrent path, and gated units that add to its readout, which starts at zero.

    Made by ``Recurrent(cell=..., start=model)``. For a linear-Gaussian start, with a[t] and F[t] the Kalman filter's prediction and
    innovation covariance and sd[t] the root of F's diagonal,

    ::

        y[t] ~ N(C a[t] + D u[t] + d + sd[t] ∘ W h[t],  E F[t] E),   E = diag(exp(2 tanh(V h[t] / 2)))
        h[t] = cell(h[t−1], [y[t−1], its innovation, the change predicted, u[t]])

    and for a hidden Markov model p(y[t]) = Σ_k softmax(log Pᵀ α[t−1] + W h[t])_k b_k(y[t]). W and V begin at zero, so that before training
    `log_prob` is the classical model's, with missing entries and a diffuse start, too; the weights of the path are trained beside them.

    Args:
        cell, hidden, layers: of the gated units, as in `Recurrent`.
        start: the classical model. One that is fitted is taken as it is; one that is not is fitted to the data of `fit` first.
        classical: 'train' its weights with the network's, or 'freeze' them.
        per_series: fit the start to each sequence alone; the gated units, whose view and readout are in standard deviations, are shared.

    Example:
        >>> varma = sw.VARMA(p=2).fit(seqs)
        >>> model = sw.Recurrent(cell="gru", hidden=16, start=varma).fit(seqs, epochs=50)
        >>> print(model.added(later))  # doctest: +SKIP
        nothing: the network is its classical start
    """

    kind = "started-recurrent"
    options = {
        "cell": checks.Choice(("gru", "rnn", "lstm")),
        "hidden": checks.Integer(1, 4096),
        "layers": checks.Integer(1, 16),
        "start": StartModel(),
        "classical": checks.Choice(("train", "freeze")),
        "per_series": checks.Flag(),
    }

    def __init__(
        self,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 1,
        start: Any = None,
        classical: str = "train",
        per_series: bool = False,
    ) -> None:
        super().__init__(
            cell=cell, hidden=hidden, layers=layers, start=start, classical=classical, per_series=per_series
        )
        if per_series and isinstance(start, HMM):
            raise InputError("`per_series` is for linear-Gaussian starts; leave it out for an HMM")
        self._part: Part | None = None

    def clone(self) -> Self:
        """An unfitted copy, its start unfitted too, so that refitting it sees only the new data."""
        return type(self)(**(self._options | {"start": self._options["start"].clone()}))

    @property
    def label(self) -> str:
        options = self._options
        depth = "" if options["layers"] == 1 else f", layers={options['layers']}"
        return f"cell={options['cell']!r}, hidden={options['hidden']}{depth}, start={options['start'].name}"

    @property
    def name(self) -> str:
        """Short for tables: GRU(hidden=32, start=VARMA(p=2))."""
        return f"{self._options['cell'].upper()}({self.label.partition(', ')[2]})"

    # --- fitting ------------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        epochs: int = 300,
        lr: float = 0.003,
        batch: int | None = None,
        patience: int = 30,
        validation: float = 0.15,
        window: int = 64,
        seed: int | None = 0,
    ) -> Self:
        """Train from the classical model on, by gradient descent with early stopping, in place; arguments as in `Recurrent.fit`, but that
        the learning rate is lower and a batch has an eighth of the windows unless given.

        With ``epochs=0`` the model is the classical one. What training found is kept where it beats the start on the validation part by more
        than the gain's standard error; else the model stays at its start. `fit_result.details["added"]` and ["added_standard_error"] say
        what the network added there, in nats per step, and a note says it in words; since that part chose the epoch, `added(later_data)`
        is the honest number.

        Raises:
            InputError: an argument is out of range.
            UnsupportedError: the start's matrices change with the step.
        """
        from statewise.fitting.sgd import Settings
        from statewise.models import started_parts
        from statewise.models.started_training import Problem, train_started

        begun = time.perf_counter()
        epochs = checks.Integer(0).check("epochs", epochs)
        lr = checks.Real(0.0, 10.0, open_low=True).check("lr", lr)
        batch = checks.Optional(checks.Integer(1)).check("batch", batch)
        patience = checks.Integer(1).check("patience", patience)
        share = checks.Real(0.0, 0.9).check("validation", validation)
        window = checks.Integer(2).check("window", window)
        seed = int(generator(seed).integers(2**31)) if seed is None else checks.Integer().check("seed", seed)
        seqs = as_sequences(data)
        refuse_tiny(seqs)
        models, notes = _fitted_starts(self._options, seqs)
        self._options["start"] = models[0] if not self._options["per_series"] else self._options["start"]
        self._learn_schema(seqs)
        assert self._schema is not None
        self._schema["series"] = [str(name) for name in seqs.ids] if self._options["per_series"] else None
        part = started_parts.begin(self._options, models, seqs, seed)
        problem = Problem(part.network, part.rows(seqs, self._groups(seqs)), seqs, share, window)
        training, added = None, Added.of(np.zeros(int(problem.judged.sum())), False)
        if epochs:
            training, added = train_started(
                problem, Settings(epochs, lr, patience), batch, seed, f"fitting {self._options['cell']}"
            )
        self._part, self._parameters = part, part.arrays()
        self.fit_result = _result(self, seqs, problem, training, added, notes, begun)
        return self

    def _groups(self, seqs: Sequences) -> np.ndarray:
        """(N,) whose classical model each sequence has."""
        names = None if self._schema is None else self._schema.get("series")
        if names is None:
            return np.zeros(len(seqs), dtype=np.int64)
        unknown = [name for name in seqs.ids if str(name) not in names]
        if unknown:
            raise InputError(
                f"the series {unknown[0]!r} was not among those that the model was fitted to, and with per_series=True each has a classical "
                "model of its own; fit with it, or with per_series=False"
            )
        return np.array([names.index(str(name)) for name in seqs.ids])

    @property
    def n_parameters(self) -> int:
        """Those of the classical model, and those that training changed."""
        start: Model = self._options["start"]
        own = start.n_parameters if start.is_fitted else 0
        return own if self._applied.network.is_start() else own + self._applied.n_trained

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        from statewise.models import started_parts

        super()._restore(parameters, schema)
        self._part = started_parts.restored(self._options, parameters)

    @property
    def _applied(self) -> Part:
        _ = self.parameters
        assert self._part is not None
        return self._part

    @property
    def module(self) -> Any:
        """The torch network: `rnn`, `readouts`, and the classical `path`."""
        return self._applied.network

    # --- verbs --------------------------------------------------------------------------------------------------------

    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        return self._applied.log_prob(seqs, self._groups(seqs))

    def added(self, data: Any) -> Added:
        """What the network adds to its classical start on some sequences: nats per step, with a standard error.

        Honest on sequences that the fit has not seen. Printed, it says 'nothing' where that is the truth.
        """
        seqs = self._receive(data)
        return self._applied.added(seqs, self._groups(seqs))

    def predict(self, data: Any) -> Predicted:
        """One-step-ahead means, variances and standardised residuals."""
        seqs = self._receive(data)
        return self._applied.predict(seqs, self._groups(seqs))

    def forecast(
        self, data: Any, steps: int = 12, level: Any = (80, 95), inputs: Any = None, seed: int | None = 0
    ) -> Forecast:
        """Predictive distributions of the next `steps` steps: from 1 000 simulated paths, or exact where the network added nothing.

        Args:
            data: sequences to forecast from; missing entries are allowed.
            steps: steps ahead, at least 1.
            level: interval levels in per cent.
            inputs: future inputs (N, steps, u) or (steps, u), for a model with inputs.
            seed: of the paths.

        Raises:
            UnsupportedError: an HMM whose laws look back at earlier rows, once the network has added to it.
        """
        seqs = self._receive(data)
        steps, levels = self._steps_ahead(steps, len(seqs), _PATHS), checks.levels(level)
        given = self._future_inputs(inputs, len(seqs), steps)
        part, group = self._applied, self._groups(seqs)
        if part.network.is_start():
            marginals = part.exact_forecast(seqs, group, steps, given)
        else:
            marginals = SampleMarginals(part.paths(seqs, group, steps, given, _PATHS, generator(seed)))
        return Forecast(marginals, levels, seqs.ids, seqs.columns, future_times(seqs, steps))

    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        """`count` sequences of `length` steps, from the classical model's start on (a diffuse one begins at its mean).

        Raises:
            UnsupportedError: with per_series=True there is no one model to draw from.
        """
        length, count = self._draws(length, count)
        if self._options["per_series"]:
            raise UnsupportedError(
                "with per_series=True there is no one classical model to draw from; forecast a series instead"
            )
        given = self._future_inputs(inputs, count, length)
        return self._drawn(self._applied.draws(length, count, given, generator(seed)), given)

    def memory(self, data: Any = None) -> Memory:
        """How long the classical path remembers; `data` is for a start that needs some."""
        start: Any = self._options["start"]
        if not start.is_fitted:
            raise UnsupportedError("with per_series=True each series has a memory of its own; ask its classical model")
        return start.memory(data)


def _fitted_starts(options: dict[str, Any], seqs: Sequences) -> tuple[list[Any], list[str]]:
    """The classical models, one or one for each sequence, and what the user should know of them."""
    start = options["start"]
    if options["per_series"]:
        return [start.clone().fit(one) for one in seqs], [
            f"the classical model was fitted to each of {len(seqs)} series"
        ]
    if start.is_fitted:
        return [start], []
    return [start.clone().fit(seqs)], [
        "the classical model was fitted to all of these data first, the validation part too"
    ]


def _result(
    model: StartedRecurrent, seqs: Sequences, problem: Any, training: Any, added: Added, notes: list[str], begun: float
) -> FitResult:
    from statewise._core.outcome import Outcome

    where = "validation part, which chose the epoch" if problem.held_out else "training data, since none were held out"
    notes = [*notes, f"the network added {added} (on the {where})"]
    details = {
        "added": added.nats,
        "added_standard_error": added.standard_error if added.changed else 0.0,
        "best_epoch": 0,
        "start_score": problem.score(),
    }
    outcome, trace = Outcome.MAX_EPOCHS, np.empty(0)
    if training is not None:
        outcome, trace = training.outcome, training.trace
        details |= {
            "best_epoch": training.best_epoch if added.changed else 0,
            "best_score": training.best_score if added.changed else training.start_score,
            "start_score": training.start_score,
        }
        if not added.changed and training.best_epoch:
            notes.append("what training found was within one standard error of the start, which is what is kept")
        if training.failure is not None:
            notes.append(training.failure)
    log_prob = float(model._log_prob_steps(seqs).sum())
    return FitResult(
        outcome, log_prob, seqs.n_observed_steps, trace, time.perf_counter() - begun, tuple(notes), details
    )


Recurrent.register(StartedRecurrent)  # `isinstance(model, Recurrent)` holds for what `Recurrent(start=...)` makes
