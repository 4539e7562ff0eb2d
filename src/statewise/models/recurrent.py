"""Recurrent networks as densities over sequences."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, ModelFileError
from statewise._core.seed import generator
from statewise.cells import CELLS
from statewise.inference import recurrent as inference
from statewise.inference import recurrent_paths as sampling
from statewise.models.base import Density, Trainable
from statewise.models.recurrent_reading import RecurrentReading
from statewise.models.recurrent_stream import RecurrentStream
from statewise.nn.head import NAMES, READERS, is_trained
from statewise.nn.outputs import OUTPUTS, Output
from statewise.results.fit import FitResult, Memory, half_life
from statewise.results.forecast import Forecast
from statewise.results.predicted import Predicted
from statewise.sequences.build import as_sequences
from statewise.sequences.scaling import refuse_tiny
from statewise.sequences.sequences import Sequences, most_symbols

if TYPE_CHECKING:
    from statewise.fitting.sgd import Training
    from statewise.models.recurrent_training import Plan

_MEMORY_STEPS, _MEMORY_SEQUENCES = 1000, 32


class Recurrent(Density, Trainable):
    """An autoregressive density p(y[t] | y[1 … t−1], u[1 … t]) whose past is summed up by an RNN, a GRU or an LSTM.

    ::

        s[t] = cell(s[t−1], [y[t−1], observed[t−1], u[t]])        y[t] ~ N(mean[t], diag(sd[t])²), or another output
        mean[t] = W h[t] + skip of the lagged values and u[t] + b       log sd[t] = base + 2 tanh(V h[t] / 2)

    Args:
        cell: 'gru' (Cho et al. 2014), 'lstm' (Hochreiter & Schmidhuber 1997) or 'rnn' (Elman 1990), in torch's form; 'linear', an 'rnn'
            without its tanh; 'diagonal', the minimal GRU (Feng et al. 2024), whose units do not see each other's past.
        hidden: units of a layer, from 1.
        layers: layers stacked, from 1.
        output: the law of a row given the past, one file each in `statewise.nn.outputs`: 'gaussian'; 'student-t' for numbers with outliers;
            'mixture' of normal laws; 'poisson' or 'negative-binomial' for counts; 'bernoulli' for flags, one or many a step;
            'categorical' for symbols coded 0, 1, 2, …
        covariance: of the 'gaussian' output: 'diag', columns independent given the past, or 'full'.
        components: of the 'mixture' output.
        time_aware: the state fades by exp(−Δt / τ) over the time Δt between two steps, τ trained for each unit. Otherwise steps are taken
            as equally spaced.

    The skip is a linear autoregression: on the last step and, where the sequences name a season s that they are long enough for,
    on the steps s and s + 1 back. Training starts from its ridge regression (shrunk towards zero or a random walk, whichever
    validates better) with the rest of the network silent, so the network is a correction to a linear model: a prior worth a few
    observations holds it back, and it is kept only where it predicts the validation part better. The cell sees values softly
    clipped at three standard deviations, the skip sees them as they are.

    Values and inputs are standardised inside; everything reported is in the data's units. Counts, flags and symbols start from
    their marginal law instead of a regression; of counts the network sees log(1 + y), of symbols indicators.

    Missing entries are not scored, and where the network needs them as its past it sees 0 (the mean) and a flag. So `log_prob`
    is conditional on that fill: it is *not* the marginal likelihood of the observed entries, which VARMA and HMM report.

    Example:
        >>> model = Recurrent(cell="gru", hidden=16).fit(seqs, epochs=50)
        >>> model.forecast(seqs, steps=4).mean.shape
        (1, 4, 1)
    """

    kind = "recurrent"
    options = {
        "cell": checks.Choice(("gru", "rnn", "lstm", "linear", "diagonal")),
        "hidden": checks.Integer(1, 4096),
        "layers": checks.Integer(1, 16),
        "output": checks.Choice(tuple(name for name in OUTPUTS if name != "gaussian-full")),
        "covariance": checks.Choice(("diag", "full")),
        "components": checks.Integer(1, 256),
        "time_aware": checks.Flag(),
    }

    def __new__(cls, *given: Any, start: Any = None, **options: Any) -> Any:
        """With ``start=`` a classical model, a network that starts exactly there: see `statewise.models.started.StartedRecurrent`."""
        if start is None:
            return super().__new__(cls)
        from statewise.models.started import StartedRecurrent

        names = ("cell", "hidden", "layers")
        others = sorted(set(options) - set(StartedRecurrent.options))
        if others or len(given) > len(names):
            raise InputError(
                f"`{others[0] if others else 'output'}` does not go with `start`: such a network has the law of its start; leave one of them out"
            )
        return StartedRecurrent(start=start, **dict(zip(names, given, strict=False)), **options)

    def __init__(
        self,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 1,
        output: str = "gaussian",
        covariance: str = "diag",
        components: int = 3,
        time_aware: bool = False,
    ) -> None:
        super().__init__(
            cell=cell,
            hidden=hidden,
            layers=layers,
            output=output,
            covariance=covariance,
            components=components,
            time_aware=time_aware,
        )
        if covariance == "full" and output != "gaussian":
            raise InputError(f"`covariance` is 'full' but `output` is {output!r}; only output='gaussian' has one")

    @property
    def label(self) -> str:
        return f"cell={self._options['cell']!r}, {self._rest}"

    @property
    def name(self) -> str:
        """Short for tables: GRU(hidden=32)."""
        return f"{self._options['cell'].upper()}({self._rest})"

    @property
    def _rest(self) -> str:
        """The number of units, and what differs from the default."""
        defaults = {"layers": 1, "output": "gaussian", "covariance": "diag", "components": 3, "time_aware": False}
        changed = [f"{k}={self._options[k]!r}" for k, default in defaults.items() if self._options[k] != default]
        return ", ".join([f"hidden={self._options['hidden']}", *changed])

    def _output(self, dim: int, symbols: int | None = None) -> Output:
        """What the head means, for p = `dim` columns; of symbols the number is that of the parameters unless given."""
        name = "gaussian-full" if self._options["covariance"] == "full" else self._options["output"]
        size = self._options["components"] if name == "mixture" else 1
        if name == "categorical":
            size = len(self.parameters["mean_bias"]) // dim if symbols is None else symbols
        return OUTPUTS[name](dim, size)

    def _receive(self, data: Any) -> Sequences:
        seqs = super()._receive(data)
        return seqs if self._parameters is None else judged(seqs, self._output(seqs.dim))

    # --- fitting ------------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        epochs: int = 300,
        lr: float = 0.01,
        batch: int | None = None,
        patience: int = 30,
        validation: float = 0.15,
        window: int = 64,
        seed: int | None = 0,
        carry: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        monitor: Any = None,
    ) -> Self:
        """Maximise the likelihood by gradient descent with early stopping, in place.

        Args:
            data: sequences.
            epochs: passes over the training part at most, from 1.
            lr: learning rate of AdamW in the first epoch; it falls to zero along a cosine.
            batch: windows in a batch; default an eighth of all windows, but 16 to 256. Those of similar length come together.
            patience: epochs without a better validation score before stopping.
            validation: share of each sequence, at its end, that is held out to say when to stop, up to .9. Where all sequences are too
                short to be cut, the last ones are held out whole. With 0, or when there is nothing to hold out, the training score
                decides, and a note says so.
            window: long sequences are cut into windows of so many scored steps, after up to half as many that warm the state up;
                gradients reach no further back than a window and its warm-up.
            seed: the same seed gives the same model to the last bit on the same machine; None draws one.
            carry: instead, sequences run through from their beginning in chunks of `window` steps, each from the state that the one before
                left: truncated back-propagation with a carried state. `batch` then counts sequences. For memories that are longer than
                a window.
            checkpoint: a file that is written every few seconds. If it is there, the fit goes on from it and ends, to the last bit, as if
                it had never been interrupted; a file of another fit is refused.
            monitor: told of every batch, such as a `statewise.dissection.Monitor`: an object with a method step(module, batch, loss).

        `fit_result.trace` is the validation score after each epoch, in nats per step, and `details["training_trace"]` that of the training
        part, its prior and dropout included; `fit_result.plot()` shows both. `fit_result.log_prob` is of all the data,
        at the parameters kept; `fit_result.details` has the best epoch (0: the linear start was never beaten).

        Raises:
            InputError: an argument is out of range, or a column has no observed entry.
        """
        from statewise.fitting.sgd import Settings
        from statewise.models.recurrent_training import Instructions, Plan, train_network

        begun = time.perf_counter()
        epochs = checks.Integer(1).check("epochs", epochs)
        lr = checks.Real(0.0, 10.0, open_low=True).check("lr", lr)
        batch = checks.Optional(checks.Integer(1)).check("batch", batch)
        patience = checks.Integer(1).check("patience", patience)
        share = checks.Real(0.0, 0.9).check("validation", validation)
        window = checks.Integer(2).check("window", window)
        carry = checks.Flag().check("carry", carry)
        path = checks.Optional(checks.File()).check("checkpoint", checkpoint)
        if seed is None and path is not None:
            raise InputError("`checkpoint` is given but `seed` is None, so that no later fit could go on; pass a seed")
        seed = int(generator(seed).integers(2**31)) if seed is None else checks.Integer().check("seed", seed)
        seqs = as_sequences(data)
        refuse_tiny(seqs)
        output = self._output(seqs.dim, symbol_count(seqs) if self._options["output"] == "categorical" else None)
        plan = Plan(judged(seqs, output), share, window, output, self._options["time_aware"])
        if monitor is not None and not callable(getattr(monitor, "step", None)):
            raise InputError(f"`monitor` is {checks.shown(monitor)}; pass a statewise.dissection.Monitor")
        given = Instructions(batch, seed, carry, path, monitor)
        parameters, training = train_network(self._options, plan, Settings(epochs, lr, patience), given)
        recent = seqs[:_MEMORY_SEQUENCES].steps(-_MEMORY_STEPS)
        parameters["memory_rate"] = np.array([_memory_rate(self._options["cell"], parameters, recent, output)])
        self._parameters = parameters
        self._learn_schema(seqs)
        self.fit_result = self._result(seqs, plan, training, begun)
        return self

    def _result(self, seqs: Sequences, plan: Plan, training: Training, begun: float) -> FitResult:
        notes = list(plan.notes)
        if training.best_epoch == 0:
            notes.append(
                "no epoch scored better than the linear autoregression that training starts from; that is what is kept"
            )
        if training.failure is not None:
            notes.append(training.failure)
        return FitResult(
            training.outcome,
            float(self._log_prob_steps(seqs).sum()),
            seqs.n_observed_steps,
            training.trace,
            time.perf_counter() - begun,
            tuple(notes),
            {
                "best_epoch": training.best_epoch,
                "best_score": training.best_score,
                "start_score": training.start_score,
                "training_trace": (-training.losses).tolist(),
            },
        )

    @property
    def n_parameters(self) -> int:
        """Weights and biases of the network, the skip included."""
        return sum(array.size for name, array in self.parameters.items() if is_trained(name))

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        cell, hidden = self._options["cell"], self._options["hidden"]
        last = f"weight_ih_l{self._options['layers'] - 1}"
        needed = {last, *NAMES, "value_mean", "value_scale", "input_mean", "input_scale", "lags", "memory_rate"}
        if self._options["time_aware"]:
            needed.add("time_unit")
        if not needed <= set(parameters):
            raise ModelFileError(f"the parameters {', '.join(sorted(needed - set(parameters)))} are not there")
        units = len(parameters[last]) // CELLS[cell].gates
        if units != hidden:
            raise ModelFileError(f"{last} is for {units} units but hidden is {hidden}")
        super()._restore(parameters, schema)

    # --- verbs --------------------------------------------------------------------------------------------------------

    def log_prob(self, data: Any, per_step: bool = False) -> np.ndarray:
        """Log density in nats, in the data's original units, constants included.

        Missing entries are not scored, and count as their column's mean where they are the past of later steps: the value is
        conditional on that fill, not a marginal likelihood. Returns (N,), one a sequence, or with ``per_step=True`` packed (rows,).
        """
        return super().log_prob(data, per_step)

    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        return inference.log_prob_steps(self._options["cell"], self.parameters, seqs, self._output(seqs.dim))

    def predict(self, data: Any) -> Predicted:
        """One-step-ahead means, variances and normal pseudo-residuals Φ⁻¹(F(y)), which for a normal law are (y − mean) / sd."""
        parameters, seqs = self.parameters, self._receive(data)
        found = inference.predictions(self._options["cell"], parameters, seqs, self._output(seqs.dim))
        return Predicted(*found, seqs.lengths, seqs.ids, seqs.columns, seqs.times)

    def forecast(
        self,
        data: Any,
        steps: int = 12,
        level: Any = (80, 95),
        inputs: Any = None,
        seed: int | None = 0,
        method: str = "sampling",
    ) -> Forecast:
        """Predictive distributions of the next `steps` steps.

        Args:
            data: sequences to forecast from; missing entries are allowed.
            steps: steps ahead, at least 1.
            level: interval levels in per cent.
            inputs: future inputs (N, steps, u) or (steps, u), for a model with inputs.
            seed: of the paths; the same seed gives the same forecast.
            method: 'sampling', 400 simulated paths: any shape of distribution, with the noise of sampling. 'moments': mean and variance moved on
                without drawing, normal intervals; exact where the step is linear (the skip alone), else right to the third order of the
                spread (cubature points; `inference.recurrent_moments`). For outputs of real numbers.

        Raises:
            InputError: an argument is wrong, or future inputs are needed.
            NumericalError: the fitted dynamics explode within `steps`.
        """
        _, seqs = self.parameters, self._receive(data)
        return self.reading(seqs).forecast(seqs.ids, seqs.lengths, steps, level, inputs, seed=seed, method=method)

    def reading(self, data: Any) -> RecurrentReading:
        """The sequences, read once: the states from which a forecast can begin at any step; see `models.reading`."""
        _ = self.parameters
        return RecurrentReading(self, self._receive(data))

    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        """`count` sequences of `length` steps, drawn from their first step on; inputs (count, length, u) or (length, u).

        Raises:
            NumericalError: the fitted dynamics explode within `length`.
        """
        parameters = self.parameters
        length, count = self._draws(length, count)
        given = self._future_inputs(inputs, count, length)
        y = sampling.sample_paths(
            self._options["cell"], parameters, length, count, given, generator(seed), self._output(self._dim)
        )
        return self._drawn(y, given)

    def stream(self, state: bytes | None = None) -> RecurrentStream:
        """A reader that takes one step at a time; see `RecurrentStream`. `state` is what an earlier one's `to_bytes` gave."""
        return RecurrentStream(self, state)

    @property
    def _dim(self) -> int:
        """p, the columns that the parameters are for."""
        return len((self._schema or {}).get("columns", ())) or len(self.parameters["value_mean"])

    def memory(self, data: Any = None) -> Memory:
        """How long the hidden state remembers: its top Lyapunov exponent λ along data, half-life ln 2 / −λ.

        λ is the mean log growth per step of a perturbation of the state while the data are held fixed, from the cell's analytic
        Jacobian. Without `data` it is the one found along the end of the training data. The skip's fixed lags are not
        counted, except where the output does not read the state at all, and so looks back over those lags only.
        """
        rate = float(self.parameters["memory_rate"][0])
        if data is not None:
            seqs = self._receive(data)
            rate = _memory_rate(self._options["cell"], self.parameters, seqs, self._output(seqs.dim))
        blind = rate == 0.0
        return Memory(
            half_life(rate), rate, "gradient", ends_after=int(self.parameters["lags"].max()) if blind else None
        )


def _memory_rate(cell: str, parameters: Mapping[str, np.ndarray], seqs: Sequences, output: Output) -> float:
    """exp λ₁ of the state along the sequences; 0 if the output does not read the state."""
    if not any(parameters[name].any() for name in READERS if name in parameters):
        return 0.0
    return float(np.exp(inference.top_exponent(cell, parameters, seqs, output)))


def symbol_count(seqs: Sequences) -> int:
    """The number of symbols that coded sequences have; 2 at least."""
    return most_symbols(seqs)


def judged(seqs: Sequences, output: Output) -> Sequences:
    """The sequences, if the output can have their values."""
    wrong, wanted = output.judge(seqs.values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"column {seqs.columns[column]!r} has the value {seqs.values[row, column]:g} in row {row}; "
            f"output {output.name!r} is for {wanted}"
        )
    return seqs
