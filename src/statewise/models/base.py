"""What every model is, and the capabilities that a model opts into."""

from __future__ import annotations

import abc
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, NotFittedError, NumericalError, UnsupportedError
from statewise.models.reading import Reading
from statewise.results.fit import FitResult, Memory
from statewise.results.forecast import Forecast
from statewise.results.predicted import Predicted
from statewise.sequences.build import as_sequences
from statewise.sequences.sequences import Sequences

if TYPE_CHECKING:
    from statewise.results.states import Decoded, DiscreteStates, GaussianStates


class Model(abc.ABC):
    """Options given at construction, parameters given or fitted, and the sequences' shape that they belong to.

    A subclass declares `kind` (its name in files and tables) and `options` (one rule for each constructor argument). It keeps its
    parameters in ``self._parameters``, a dict of NumPy arrays, or None before there are any.
    """

    kind: ClassVar[str]
    options: ClassVar[Mapping[str, checks.Option]]
    _unlisted: ClassVar[frozenset[str]] = (
        frozenset()
    )  # arrays among the parameters that are none: `summary` leaves them out

    def __init__(self, **given: Any) -> None:
        self._options: dict[str, Any] = checks.options(self.options, given)
        self._parameters: dict[str, np.ndarray] | None = None
        self._schema: dict[str, Any] | None = None
        self.fit_result: FitResult | None = None

    # --- options, in scikit-learn's words ---------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(self._options)

    def set_params(self, **given: Any) -> Self:
        """Change options; parameters found so far are forgotten, since they may no longer fit."""
        type(self).__init__(self, **(self._options | checks.options(self.options, given)))
        return self

    def clone(self) -> Self:
        """An unfitted copy with the same options."""
        return type(self)(**self._options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label})"

    @property
    def label(self) -> str:
        """The options that differ from the default, as a short text."""
        import inspect

        defaults = {name: p.default for name, p in inspect.signature(type(self).__init__).parameters.items()}
        changed = {k: v for k, v in self._options.items() if not _same_option(v, defaults.get(k))}
        return ", ".join(f"{k}={checks.shown(v)}" for k, v in changed.items())

    @property
    def name(self) -> str:
        """The name shown in tables."""
        return repr(self)

    # --- parameters -------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The parameters by name; raises `NotFittedError` if there are none yet."""
        if self._parameters is None:
            raise NotFittedError(f"this {type(self).__name__} has no parameters yet; call `fit(sequences)` first")
        return self._parameters

    @property
    def is_fitted(self) -> bool:
        """Whether the model has parameters, given or fitted."""
        return self._parameters is not None

    @property
    @abc.abstractmethod
    def n_parameters(self) -> int:
        """Free parameters that a fit estimates."""

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        """Take parameters and schema from a file; a subclass with derived objects rebuilds them here."""
        self._parameters = parameters
        self._schema = schema

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to the folder `path` (model.json and a safetensors file); see `statewise.models.save`."""
        from statewise.models.save import save

        save(self, path)

    # --- data -------------------------------------------------------------------------------------------------------

    def _learn_schema(self, seqs: Sequences) -> None:
        self._schema = {
            "columns": list(seqs.columns),
            "input_columns": list(seqs.input_columns),
            "season": seqs.season,
            "symbols": None if seqs.symbols is None else list(seqs.symbols),
        }

    def _receive(self, data: Any) -> Sequences:
        """`data` as sequences whose columns match those that the model was made for."""
        seqs = as_sequences(data)
        if self._schema is None:
            return seqs
        for what, want in (("columns", self._schema["columns"]), ("input_columns", self._schema["input_columns"])):
            have = list(getattr(seqs, what))
            if len(have) != len(want):
                raise InputError(
                    f"the sequences have {len(have)} {what} {have} but this {type(self).__name__} was fitted to {len(want)} {want}; "
                    "pass the same columns in the same order"
                )
            if have != want and set(have) == set(want):
                raise InputError(
                    f"the sequences have the {what} {have} but this {type(self).__name__} was fitted to {want}; pass them in that order"
                )
        return seqs

    # --- what it says of itself ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    def memory(self, data: Any = None) -> Memory:
        """How long the model remembers; models whose memory depends on the data take sequences."""

    def summary(self) -> str:
        """A few lines: options, how the fit ended, likelihood, criteria, parameters."""
        from statewise.models.summary import summary

        return summary(self)


class Density(Model):
    """A model that gives sequences a probability density, and so can score, predict, forecast and sample."""

    @abc.abstractmethod
    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        """(rows,) log density of each step given the steps before it."""

    @abc.abstractmethod
    def predict(self, data: Any) -> Predicted:
        """One-step-ahead means, variances and standardised residuals, packed (rows, p)."""

    @abc.abstractmethod
    def forecast(
        self, data: Any, steps: int = 12, level: Any = (80, 95), inputs: Any = None, seed: int | None = 0
    ) -> Forecast:
        """Predictive distributions of the next `steps` steps after the end of each sequence."""

    @abc.abstractmethod
    def sample(self, length: int = 100, count: int = 1, seed: int | None = None, inputs: Any = None) -> Sequences:
        """`count` sequences of `length` steps drawn from the model."""

    def reading(self, data: Any) -> Reading:
        """What the model makes of sequences in one pass, for densities and forecasts at any of their steps; see `models.reading`."""
        _ = self.parameters
        return Reading(self, self._receive(data))

    @property
    def _input_names(self) -> list[str]:
        """The inputs of the data that the model was fitted to."""
        return [] if self._schema is None else list(self._schema["input_columns"])

    def _future_inputs(self, given: Any, count: int, steps: int) -> np.ndarray | None:
        """`inputs` of a forecast or sample as (count, steps, u); (steps, u), or (steps,) where u is 1, serves all alike."""
        names = self._input_names
        if not names:
            if given is not None:
                raise InputError("`inputs` was given but the model has no inputs; leave it out")
            return None
        wanted = f"({count}, {steps}, {len(names)}) or ({steps}, {len(names)})"
        if given is None:
            raise InputError(
                f"the model has the inputs {', '.join(names)}; pass their values as `inputs` of shape {wanted}"
            )
        table = np.asarray(given)
        if table.ndim == 1 and len(names) == 1:
            table = table[:, None]
        if table.ndim == 2:
            table = np.repeat(table[None], count, axis=0)
        if table.shape != (count, steps, len(names)):
            raise InputError(f"`inputs` has shape {np.shape(given)}; pass shape {wanted}")
        return checks.array("inputs", table, (count, steps, len(names)))

    def _steps_ahead(self, steps: Any, count: int, paths: int = 1) -> int:
        """`steps` of a forecast of `count` sequences, judged, by `paths` each."""
        width = len((self._schema or {}).get("columns", ())) or 1
        return checks.counted("steps", steps, 2 * paths * max(count, 1) * width)

    def _draws(self, length: Any, count: Any) -> tuple[int, int]:
        """`length` and `count` of a sample, judged."""
        width = len((self._schema or {}).get("columns", ())) or 1
        count = checks.counted("count", count, 2 * width)
        return checks.counted("length", length, 2 * width * count), count

    def _drawn(self, y: np.ndarray, inputs: np.ndarray | None = None) -> Sequences:
        """Draws (count, length, p), and the inputs that drove them, as sequences under the training data's names."""
        count, length, _ = y.shape
        if not np.isfinite(y).all() or checks.too_large(y).any():
            raise NumericalError(f"the model's dynamics explode within {length} steps; pass a shorter `length`")
        schema = self._schema or {}
        return Sequences(
            y.reshape(count * length, -1),
            np.full(count, length),
            inputs=None if inputs is None else inputs.reshape(count * length, -1),
            columns=tuple(schema.get("columns", ())),
            input_columns=() if inputs is None else tuple(schema.get("input_columns", ())),
            season=schema.get("season"),
        )

    def log_prob(self, data: Any, per_step: bool = False) -> np.ndarray:
        """Log density in nats, in the data's original units, constants included.

        Missing entries are integrated out. Returns (N,), one a sequence, or with ``per_step=True`` packed (rows,): the
        log density of each step given the earlier steps of its sequence.
        """
        per_step = checks.Flag().check("per_step", per_step)
        seqs = self._receive(data)
        return self._log_prob_steps(seqs) if per_step else self._log_prob(seqs)

    def _log_prob(self, seqs: Sequences) -> np.ndarray:
        """(N,) log density of each sequence; for a model that has it without that of each step."""
        return np.add.reduceat(self._log_prob_steps(seqs), seqs.offsets[:-1])

    @property
    def aic(self) -> float:
        """Akaike's criterion 2k − 2 log L of the training data."""
        return self._fitted().aic(self.n_parameters)

    @property
    def bic(self) -> float:
        """Schwarz's criterion k ln(steps) − 2 log L of the training data."""
        return self._fitted().bic(self.n_parameters)

    @property
    def hqic(self) -> float:
        """Hannan and Quinn's criterion 2k ln ln(steps) − 2 log L of the training data (JRSS B 41 (1979)); needs 2 steps or more."""
        return self._fitted().hqic(self.n_parameters)

    def _fitted(self) -> FitResult:
        if not isinstance(self, Trainable):
            raise UnsupportedError(f"a {type(self).__name__} has given parameters and no fit, so it has no AIC or BIC")
        if self.fit_result is None:
            raise NotFittedError(f"this {type(self).__name__} has not been fitted; call `fit(sequences)` first")
        return self.fit_result


class Trainable(abc.ABC):
    """A model whose parameters can be estimated from sequences."""

    @abc.abstractmethod
    def fit(self, data: Any) -> Self:
        """Estimate the parameters in place and return the model; `fit_result` says how it went."""


class HasGaussianStates(abc.ABC):
    """A model with a continuous hidden state."""

    @abc.abstractmethod
    def filter(self, data: Any) -> GaussianStates:
        """The state's law at each step given the past and present."""

    @abc.abstractmethod
    def smooth(self, data: Any) -> GaussianStates:
        """The state's law at each step given the whole sequence."""


class HasDiscreteStates(abc.ABC):
    """A model with a hidden state out of K."""

    @abc.abstractmethod
    def filter(self, data: Any) -> DiscreteStates:
        """State probabilities at each step given the past and present."""

    @abc.abstractmethod
    def smooth(self, data: Any) -> DiscreteStates:
        """State probabilities at each step given the whole sequence."""

    @abc.abstractmethod
    def decode(self, data: Any) -> Decoded:
        """The most probable state path (Viterbi)."""


def _same_option(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is b
    return bool(a == b)
