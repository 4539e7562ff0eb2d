"""Recurrent networks as densities over sequences."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, ModelFileError
from statewise._core.outcome import Outcome
from statewise._core.seed import child_seed, generator
from statewise.inference import recurrent as inference
from statewise.models.base import Density, Trainable
from statewise.nn.head import NAMES, bias_for
from statewise.nn.start import linear_start
from statewise.nn.windows import Windows, cut_windows
from statewise.results.fit import FitResult, Memory, half_life
from statewise.results.forecast import Forecast
from statewise.results.marginals import SampleMarginals
from statewise.results.predicted import Predicted
from statewise.sequences.build import as_sequences
from statewise.sequences.calendar import future_times
from statewise.sequences.scaling import standardise
from statewise.sequences.sequences import Sequences

if TYPE_CHECKING:
    from statewise.fitting.sgd import Training

_PATHS = 400
_WEIGHT_DECAY = 1.0
_SMALL = 128  # units below which one thread is faster than several
_MEMORY_STEPS, _MEMORY_SEQUENCES = 1000, 32


class Recurrent(Density, Trainable):
    """An autoregressive density p(y[t] | y[1 … t−1], u[1 … t]) whose past is summed up by an RNN, a GRU or an LSTM.

    ::

        s[t] = cell(s[t−1], [y[t−1], observed[t−1], u[t]])        y[t] ~ N(mean[t], diag(sd[t])²)
        mean[t] = W h[t] + skip of the lagged values and u[t] + b       log sd[t] = base + 2 tanh(V h[t] / 2)

    Args:
        cell: 'gru' (Cho et al. 2014), 'lstm' (Hochreiter & Schmidhuber 1997) or 'rnn' (Elman 1990), in torch's form.
        hidden: units of a layer, from 1.
        layers: layers stacked, from 1.
        output: 'gaussian', a normal distribution for each column, independent given the past.

    The skip is a linear autoregression: on the last step and, where the sequences name a season s that they are long enough for,
    on the steps s and s + 1 back. Training starts from its ridge regression with the rest of the network silent, so the network is a
    correction to a linear model and is kept only where it predicts the validation part better. The cell sees values
    softly clipped at three standard deviations, the skip sees them as they are.

    Values and inputs are standardised inside; everything reported is in the data's units. Steps are taken as equally spaced.

    Missing entries are not scored, and where the network needs them as its past it sees 0 (the mean) and a flag. So `log_prob`
    is conditional on that fill: it is *not* the marginal likelihood of the observed entries, which VARMA and HMM report.

    Example:
        >>> model = Recurrent(cell="gru", hidden=16).fit(seqs, epochs=50)
        >>> model.forecast(seqs, steps=4).mean.shape
        (1, 4, 1)
    """

    kind = "recurrent"
    options = {
        "cell": checks.Choice(("gru", "rnn", "lstm")),
        "hidden": checks.Integer(1, 4096),
        "layers": checks.Integer(1, 16),
        "output": checks.Choice(("gaussian",)),
    }

    def __init__(self, cell: str = "gru", hidden: int = 32, layers: int = 1, output: str = "gaussian") -> None:
        super().__init__(cell=cell, hidden=hidden, layers=layers, output=output)

    @property
    def label(self) -> str:
        options = self._options
        depth = "" if options["layers"] == 1 else f", layers={options['layers']}"
        return f"{options['cell']}, hidden={options['hidden']}{depth}"

    # --- fitting ------------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        epochs: int = 300,
        lr: float = 0.005,
        batch: int | None = None,
        patience: int = 40,
        validation: float = 0.15,
        window: int = 64,
        seed: int | None = 0,
    ) -> Self:
        """Maximise the likelihood by gradient descent with early stopping, in place.

        Args:
            data: sequences.
            epochs: passes over the training part at most, from 1.
            lr: learning rate of AdamW in the first epoch; it falls to zero along a cosine.
            batch: windows in a batch; default an eighth of all windows, but 16 to 256.
            patience: epochs without a better validation score before stopping.
            validation: share of each sequence, at its end, that is held out to say when to stop, below 1. Sequences too short to be cut are held
                out whole, the last ones. With 0, or when there is nothing to hold out, the training score decides, and a note says so.
            window: long sequences are cut into windows of so many scored steps, after up to half as many that warm the state up;
                gradients reach no further back than a window.
            seed: the same seed gives the same model to the last bit on the same machine; None draws one.

        `fit_result.trace` is the validation score after each epoch, in nats per step; `fit_result.log_prob` is of all the data,
        at the parameters kept; `fit_result.details` has the best epoch (0: the linear start was never beaten).

        Raises:
            InputError: an argument is out of range, or a column has no observed entry.
        """
        begun = time.perf_counter()
        epochs = checks.Integer(1).check("epochs", epochs)
        lr = checks.Real(0.0, 10.0, open_low=True).check("lr", lr)
        batch = checks.Optional(checks.Integer(1)).check("batch", batch)
        patience = checks.Integer(1).check("patience", patience)
        share = checks.Real(0.0, 0.9).check("validation", validation)
        window = checks.Integer(2).check("window", window)
        seed = int(generator(seed).integers(2**31)) if seed is None else checks.Integer().check("seed", seed)
        seqs = as_sequences(data)
        plan = _Plan(seqs, share, window)
        parameters, training = _train(self._options, plan, epochs, lr, batch, patience, seed)
        parameters["memory_rate"] = np.array([_memory_rate(self._options["cell"], parameters, plan.recent())])
        self._parameters = parameters
        self._learn_schema(seqs)
        self.fit_result = self._result(seqs, plan, training, begun)
        return self

    def _result(self, seqs: Sequences, plan: _Plan, training: Training, begun: float) -> FitResult:
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
            int((~np.isnan(seqs.values)).any(axis=1).sum()),
            training.trace,
            time.perf_counter() - begun,
            tuple(notes),
            {"best_epoch": training.best_epoch, "best_score": training.best_score, "start_score": training.start_score},
        )

    @property
    def n_parameters(self) -> int:
        """Weights and biases of the network, the skip included."""
        return sum(array.size for name, array in self.parameters.items() if _is_trained(name))

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        last = f"weight_hh_l{self._options['layers'] - 1}"
        needed = {last, *NAMES, "value_mean", "value_scale", "input_mean", "input_scale", "lags", "memory_rate"}
        if not needed <= set(parameters):
            raise ModelFileError(f"the parameters {', '.join(sorted(needed - set(parameters)))} are not there")
        if parameters[last].shape[1] != self._options["hidden"]:
            raise ModelFileError(
                f"{last} has {parameters[last].shape[1]} units but hidden is {self._options['hidden']}"
            )
        super()._restore(parameters, schema)

    # --- verbs --------------------------------------------------------------------------------------------------------

    def log_prob(self, data: Any, per_step: bool = False) -> np.ndarray:
        """Log density in nats, in the data's original units, constants included.

        Missing entries are not scored, and count as their column's mean where they are the past of later steps: the value is conditional on that
        fill, not a marginal likelihood. Returns (N,), one a sequence, or with ``per_step=True`` packed (rows,).
        """
        return super().log_prob(data, per_step)

    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        return inference.log_prob_steps(self._options["cell"], self.parameters, seqs)

    def predict(self, data: Any) -> Predicted:
        """One-step-ahead means, variances and standardised residuals."""
        parameters, seqs = self.parameters, self._receive(data)
        return Predicted.gaussian(seqs, *inference.moments(self._options["cell"], parameters, seqs))

    def forecast(
        self, data: Any, steps: int = 12, level: Any = (80, 95), inputs: Any = None, seed: int | None = 0
    ) -> Forecast:
        """Predictive distributions of the next `steps` steps, from 400 simulated paths.

        Args:
            data: sequences to forecast from; missing entries are allowed.
            steps: steps ahead, at least 1.
            level: interval levels in per cent.
            inputs: future inputs (N, steps, u) or (steps, u), for a model with inputs.
            seed: of the paths; the same seed gives the same forecast.

        Raises:
            InputError: an argument is wrong, or future inputs are needed.
            NumericalError: the fitted dynamics explode within `steps`.
        """
        parameters, seqs = self.parameters, self._receive(data)
        steps, levels = checks.Integer(1).check("steps", steps), checks.levels(level)
        given = self._future_inputs(inputs, len(seqs), steps)
        paths = inference.forecast_paths(self._options["cell"], parameters, seqs, steps, given, _PATHS, generator(seed))
        return Forecast(SampleMarginals(paths), levels, seqs.ids, seqs.columns, future_times(seqs, steps))

    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        """`count` sequences of `length` steps, drawn from their first step on; inputs (count, length, u) or (length, u).

        Raises:
            NumericalError: the fitted dynamics explode within `length`.
        """
        parameters, schema = self.parameters, self._schema or {}
        length, count = checks.Integer(1).check("length", length), checks.Integer(1).check("count", count)
        given = self._future_inputs(inputs, count, length)
        y = inference.sample_paths(self._options["cell"], parameters, length, count, given, generator(seed))
        return Sequences(
            y.reshape(count * length, -1),
            np.full(count, length),
            inputs=None if given is None else given.reshape(count * length, -1),
            columns=tuple(schema.get("columns", ())),
            input_columns=tuple(schema.get("input_columns", ())),
            season=schema.get("season"),
        )

    def memory(self, data: Any = None) -> Memory:
        """How long the hidden state remembers: its top Lyapunov exponent λ along data, half-life ln 2 / −λ.

        λ is the mean log growth per step of a perturbation of the state while the data are held fixed, from the cell's analytic
        Jacobian. Without `data` it is the one found along the end of the training data. It is 0 when the output does
        not read the state; the skip's fixed lags are not counted.
        """
        rate = float(self.parameters["memory_rate"][0])
        if data is not None:
            rate = _memory_rate(self._options["cell"], self.parameters, self._receive(data))
        return Memory(half_life(rate), rate, "gradient")


# --- what is trained on what ------------------------------------------------------------------------------------------


class _Plan:
    """How the data of a fit are used: which steps train, which validate, the scaling and the lags.

    Scaling and lags come from the training part alone, except for a column that does not vary there.
    """

    def __init__(self, seqs: Sequences, share: float, window: int) -> None:
        seen = ~np.isnan(seqs.values)
        if not seen.any(axis=0).all():
            raise InputError(
                f"column {seqs.columns[int(np.argmin(seen.any(axis=0)))]!r} has no observed entry; leave it out"
            )
        self.seqs, self.window = seqs, window
        self.notes: list[str] = []
        self.observed = seen.any(axis=1)
        self.stop = _training_steps(seqs.lengths, seqs.offsets, self.observed, share)
        step = np.arange(seqs.rows) - np.repeat(seqs.offsets[:-1], seqs.lengths)
        self.training = step < np.repeat(self.stop, seqs.lengths)
        self.validation = ~self.training
        if not (self.validation & self.observed).any():
            self.validation = self.training
            self.notes.append(
                "there is no validation part; the training score decided when to stop, and may be too good"
            )
        self.scaling = self._scaling()

    def _scaling(self) -> dict[str, np.ndarray]:
        mean, scale = _standard(self.seqs.values, self.training)
        for name, flat in zip(self.seqs.columns, ~_varies(self.seqs.values), strict=True):
            if flat:
                self.notes.append(f"column {name!r} does not vary; it was not rescaled")
        inputs = np.zeros((self.seqs.rows, 0)) if self.seqs.inputs is None else self.seqs.inputs
        input_mean, input_scale = _standard(inputs, self.training)
        longest, season = int(self.stop.max()), self.seqs.season or 1
        lags = [1, season, season + 1] if 1 < season <= longest // 2 - 1 else [1]
        return {
            "value_mean": mean,
            "value_scale": scale,
            "input_mean": input_mean,
            "input_scale": input_scale,
            "lags": np.array(sorted(set(lags)), dtype=np.int64),
        }

    def windows(self, validating: bool) -> Windows:
        """Windows over the training or the validation part, the state warmed up by what comes before."""
        offsets, lengths = self.seqs.offsets, self.seqs.lengths
        start, stop = np.zeros_like(self.stop), self.stop
        if validating and self.validation is not self.training:
            start, stop = self.stop, lengths
        warm_up = self.window if validating else self.window // 2
        return cut_windows(offsets, start, stop, self.window, warm_up, self.observed)

    def recent(self) -> Sequences:
        """The last steps of some of the sequences."""
        few = self.seqs[:_MEMORY_SEQUENCES]
        return few.steps(-_MEMORY_STEPS, None)


def _training_steps(lengths: np.ndarray, offsets: np.ndarray, observed: np.ndarray, share: float) -> np.ndarray:
    """(N,) steps of each sequence that train; the rest, later in time, validates."""
    held = np.floor(share * lengths + 0.5).astype(np.int64)
    stop = np.maximum(lengths - held, 1)
    if (stop == lengths).all():
        whole = int(share * len(lengths) + 0.5)
        stop = np.where(np.arange(len(lengths)) >= max(len(lengths) - whole, 1), 0, lengths)
    spans = zip(offsets[:-1].tolist(), stop.tolist(), strict=True)
    trained = sum(int(observed[start : start + count].sum()) for start, count in spans)
    return stop if trained else lengths


def _varies(values: np.ndarray) -> np.ndarray:
    """(k,) whether a column has two different observed entries."""
    low, high = (np.where(np.isnan(values), end, values) for end in (np.inf, -np.inf))
    return low.min(axis=0, initial=np.inf) < high.max(axis=0, initial=-np.inf)


def _standard(values: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over the training rows, or over all rows where it does not vary there."""
    mean, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    usable = _varies(values[training])
    for k in range(values.shape[1]):
        column = values[training, k] if usable[k] else values[:, k]
        _, scaling = standardise(Sequences(column, [len(column)]))  # type: ignore[arg-type]  # checked and converted there
        mean[k], scale[k] = scaling.mean[0], scaling.scale[0]
    return mean, scale


def _is_trained(name: str) -> bool:
    return name in NAMES or name.startswith(("weight_", "bias_"))


def _memory_rate(cell: str, parameters: dict[str, np.ndarray], seqs: Sequences) -> float:
    """exp λ₁ of the state along the sequences; 0 if the output does not read the state."""
    if not (parameters["mean_weight"].any() or parameters["log_sd_weight"].any()):
        return 0.0
    return float(np.exp(inference.top_exponent(cell, parameters, seqs)))


# --- training ---------------------------------------------------------------------------------------------------------


def _train(
    options: dict[str, Any], plan: _Plan, epochs: int, lr: float, batch: int | None, patience: int, seed: int
) -> tuple[dict[str, np.ndarray], Training]:
    """The parameters found and how training went."""
    import torch

    from statewise.fitting.sgd import Settings, train
    from statewise.nn.network import RecurrentNetwork, gaussian_nll
    from statewise.nn.threads import torch_threads

    seen = inference.features(plan.scaling, plan.seqs)
    dim, scale = plan.seqs.dim, plan.scaling["value_scale"]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(child_seed(seed, 0) or 0)
        network = RecurrentNetwork(
            options["cell"],
            seen.cell.shape[1],
            options["hidden"],
            options["layers"],
            seen.skip.shape[1],
            dim,
            options["output"],
        )
    network.load(_start(seen, plan))
    observed = ~np.isnan(seen.values)
    x, skip, y, weight = (
        torch.from_numpy(np.asarray(array, dtype=np.float32))
        for array in (seen.cell, seen.skip, np.where(observed, seen.values, 0.0), observed)
    )

    def nll(windows: Windows, which: np.ndarray) -> tuple[torch.Tensor, float]:
        rows, scored = (torch.from_numpy(table) for table in windows.gather(which))
        mean, log_sd = network(x[rows], skip[rows])
        wanted = weight[rows] * scored[..., None]
        return gaussian_nll(mean, log_sd, y[rows], wanted), float(wanted.amax(dim=2).sum())

    training, validation = plan.windows(False), plan.windows(True)
    size = batch or int(np.clip(-(-len(training) // 8), 16, 256))
    scored = plan.validation & plan.observed
    shift = float((observed[scored] @ np.log(scale)).sum())

    def objective(which: np.ndarray) -> torch.Tensor:
        total, steps = nll(training, which)
        return total / steps

    def score() -> float:
        pieces = validation.batches(np.arange(len(validation)), 256)
        return -(sum(float(nll(validation, piece)[0]) for piece in pieces) + shift) / int(scored.sum())

    settings = Settings(epochs, lr, patience)
    with torch_threads(1 if options["hidden"] < _SMALL else None):
        done = train(
            network,
            lambda draws: training.batches(torch.randperm(len(training), generator=draws).numpy(), size),
            objective,
            score,
            settings,
            seed=child_seed(seed, 1) or 0,
            groups=network.groups(_WEIGHT_DECAY),
            label=f"fitting {options['cell']}",
        )
    return network.arrays() | plan.scaling, done


def _start(seen: inference.Features, plan: _Plan) -> dict[str, np.ndarray]:
    held = plan.validation if plan.validation is not plan.training else np.zeros_like(plan.training)
    start = linear_start(seen.skip, seen.values, plan.training, held)
    return {"skip_weight": start.weight, "mean_bias": start.bias, "log_sd_bias": bias_for(start.log_sd)}
