"""What `Tagger` and `Classifier` share: options, labels, fit, verbs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, ModelFileError, UnsupportedError
from statewise._core.seed import generator
from statewise.inference import labelling as inference
from statewise.models.base import Model, Trainable
from statewise.models.label_stream import LabelStream
from statewise.results.fit import FitResult, Memory, half_life
from statewise.results.labels import DecodedLabels, LabelProbs, LabelScores
from statewise.sequences.build import as_sequences
from statewise.sequences.scaling import refuse_tiny
from statewise.sequences.sequences import Sequences, most_symbols

_MEMORY_STEPS, _MEMORY_SEQUENCES = 1000, 32
_SCALINGS = ("value_mean", "value_scale", "input_mean", "input_scale")
_NOT_TRAINED = (*_SCALINGS, "memory_rate", "time_unit")


@dataclass(frozen=True)
class ClassWeight:
    """None, 'balanced', or a weight for each label, as a mapping or pairs; kept as pairs."""

    def check(self, name: str, value: Any) -> Any:
        if value is None or (isinstance(value, str) and value == "balanced"):
            return value
        try:
            pairs = list(dict(value).items())
        except (TypeError, ValueError):
            raise InputError(
                f"`{name}` is {checks.shown(value)}; pass None, 'balanced', or a mapping from labels to weights"
            ) from None
        rule = checks.Real(0.0, open_low=True)
        return tuple((plain(label), rule.check(f"{name}[{label!r}]", weight)) for label, weight in pairs)

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("even", 3, {"a": -1.0}, {"a": float("nan")})


class Labeller(Model, Trainable):
    """A network that reads sequences and gives labels their probabilities."""

    options: ClassVar = {
        "cell": checks.Choice(("gru", "rnn", "lstm", "diagonal")),
        "hidden": checks.Integer(1, 4096),
        "layers": checks.Integer(1, 16),
        "bidirectional": checks.Flag(),
        "embedding": checks.Optional(checks.Integer(1, 4096)),
        "dropout": checks.Real(0.0, 0.9),
        "class_weight": ClassWeight(),
        "time_aware": checks.Flag(),
    }
    per: ClassVar[str]  # 'step' or 'sequence', in the words of `Sequences.labels_per`

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if options["cell"] == "diagonal" and options["time_aware"] and (options["bidirectional"] or options["dropout"]):
            raise InputError(
                "`cell` is 'diagonal' with `time_aware`, which runs forwards and without dropout; pass cell='gru', or leave the others out"
            )

    @property
    def _pooling(self) -> str | None:
        return None

    @property
    def name(self) -> str:
        """Short for tables: Tagger(cell='lstm', hidden=64)."""
        return repr(self)

    @property
    def classes(self) -> np.ndarray:
        """(K,) the labels, in order."""
        _ = self.parameters
        assert self._schema is not None
        return np.array(self._schema["classes"])

    @property
    def n_parameters(self) -> int:
        """Weights and biases of the network."""
        return sum(a.size for name, a in self.parameters.items() if name not in _NOT_TRAINED)

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        last = f"weight_ih_l{self._options['layers'] - 1}"
        needed = {last, "label_weight", "label_bias", "memory_rate", *_SCALINGS}
        needed |= {"time_unit"} if self._options["time_aware"] else set()
        if not needed <= set(parameters) or schema is None or "classes" not in schema:
            missing = ", ".join(sorted(needed - set(parameters))) or "classes"
            raise ModelFileError(f"the parameters {missing} are not there")
        if len(schema["classes"]) != len(parameters["label_bias"]):
            raise ModelFileError(f"{len(schema['classes'])} labels but biases for {len(parameters['label_bias'])}")
        super()._restore(parameters, schema)

    # --- fitting ------------------------------------------------------------------------------------------------------

    def _fit(self, data: Any, given: dict[str, Any], unlabelled: Any = None) -> Self:
        from statewise.models.labeller_training import LabelPlan, checked, train_labeller

        begun = time.perf_counter()
        given = checked(given)
        if given["seed"] is None:
            if given["checkpoint"] is not None:
                raise InputError(
                    "`checkpoint` is given but `seed` is None, so that no later fit could go on; pass a seed"
                )
            given["seed"] = int(generator(None).integers(2**31))
        seqs = as_sequences(data)
        refuse_tiny(seqs)
        known, codes, classes = self._labels(seqs, unlabelled)
        plan = LabelPlan(
            seqs,
            known,
            codes,
            len(classes),
            self.per,
            symbols_of(seqs, self._options),
            given,
            self._options["time_aware"],
        )
        weights = self._weights(classes, codes[known])
        parameters, done = train_labeller(self._options | {"pooling": self._pooling}, plan, weights, given)
        self._learn_schema(seqs)
        assert self._schema is not None
        self._schema |= {"classes": [plain(name) for name in classes], "codes": plan.symbols}
        recent = seqs[:_MEMORY_SEQUENCES].steps(-_MEMORY_STEPS)
        x = inference.step_inputs(parameters, recent, plan.symbols)
        rate = np.exp(inference.top_exponent(self._options["cell"], parameters, recent, x))
        self._parameters = parameters | {"memory_rate": np.array([rate])}
        self.fit_result = FitResult(
            done.outcome,
            float(self._label_log_probs(seqs)[known, codes[known]].sum()),
            int(known.sum()),
            done.trace,
            time.perf_counter() - begun,
            (*plan.notes, *(() if done.failure is None else (done.failure,))),
            {
                "best_epoch": done.best_epoch,
                "best_score": done.best_score,
                "start_score": done.start_score,
                "training_trace": (-done.losses).tolist(),
            },
        )
        return self

    def _labels(self, seqs: Sequences, unlabelled: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which labels are known, their codes (0 where not), and the labels that there are."""
        known, labels = known_labels(self._labelled(seqs), unlabelled)
        if not known.any():
            raise InputError("no label is known; label at least one " + self.per)
        classes, codes = np.unique(labels[known], return_inverse=True)
        if len(classes) < 2:
            raise InputError(
                f"every known label is {plain(classes[0])!r}; a {type(self).__name__} needs two labels or more"
            )
        every = np.zeros(len(labels), dtype=np.int64)
        every[known] = codes
        return known, every, classes

    def _labelled(self, seqs: Sequences) -> np.ndarray:
        size = seqs.rows if self.per == "step" else len(seqs)
        if self.per == "sequence" and seqs.labels is not None and len(seqs.labels) == seqs.rows:
            first = seqs.labels[seqs.offsets[:-1]]
            if np.array_equal(np.repeat(first, seqs.lengths), seqs.labels):
                return np.asarray(first)  # a table of rows says a sequence's label in each of them
        if seqs.labels is None or len(seqs.labels) != size:
            have = "no labels" if seqs.labels is None else f"one label a {seqs.labels_per}"
            raise InputError(
                f"the sequences have {have}; a {type(self).__name__} needs one a {self.per}: pass `labels` of shape ({size},)"
            )
        return seqs.labels

    def _weights(self, classes: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """(K,) weights of the labels, 1 on the average of the known ones."""
        chosen, counts = self._options["class_weight"], np.bincount(codes, minlength=len(classes))
        if chosen is None:
            return np.ones(len(classes))
        if chosen == "balanced":
            return len(codes) / (len(classes) * counts)
        table = dict(chosen)
        missing = [plain(name) for name in classes if plain(name) not in table]
        if missing:
            raise InputError(f"`class_weight` has no weight for {missing[0]!r}; give one for each label")
        weights = np.array([table[plain(name)] for name in classes])
        return weights * len(codes) / (weights @ counts)

    # --- verbs --------------------------------------------------------------------------------------------------------

    def _receive(self, data: Any) -> Sequences:
        """Sequences for the network; symbols are matched by name, and those that were not there in training count as missing."""
        seqs = super()._receive(data)
        schema = self._schema or {}
        wanted = schema.get("symbols")
        if wanted is not None and seqs.symbols is not None and list(seqs.symbols) != wanted:
            code = {symbol: float(k) for k, symbol in enumerate(wanted)}
            table = np.array([code.get(symbol, np.nan) for symbol in seqs.symbols])
            held = np.isnan(seqs.values)
            values = np.where(held, np.nan, table[np.where(held, 0, seqs.values).astype(np.int64)])
            return seqs.replace(values=values, symbols=tuple(wanted))
        if schema.get("codes") is not None:
            judge_codes(seqs, schema["codes"])
        return seqs

    def _label_log_probs(self, seqs: Sequences) -> np.ndarray:
        """(rows, K) or (N, K)."""
        symbols = (self._schema or {}).get("codes")
        x, gaps = inference.step_inputs(self.parameters, seqs, symbols), inference.step_gaps(self.parameters, seqs)
        return inference.log_probs(self._options["cell"], self.parameters, x, seqs.lengths, self._pooling, gaps)

    def _lengths(self, seqs: Sequences) -> np.ndarray:
        return seqs.lengths if self.per == "step" else np.ones(len(seqs), dtype=np.int64)

    def predict(self, data: Any) -> LabelProbs:
        """Probabilities of the labels."""
        _ = self.parameters
        seqs = self._receive(data)
        times = seqs.times if self.per == "step" else None
        return LabelProbs(np.exp(self._label_log_probs(seqs)), self.classes, self._lengths(seqs), seqs.ids, times)

    def decode(self, data: Any) -> DecodedLabels:
        """The most probable labels, each on its own; ties go to the earlier label."""
        _ = self.parameters
        seqs = self._receive(data)
        table = self._label_log_probs(seqs)
        times = seqs.times if self.per == "step" else None
        return DecodedLabels(
            self.classes[table.argmax(axis=1)], table.max(axis=1), self._lengths(seqs), seqs.ids, times
        )

    def log_prob(self, data: Any, per_step: bool = False) -> np.ndarray:
        """(N,) log probability of each sequence's known labels given its values, in nats.

        With ``per_step=True`` one for each label, 0 where it is not known.
        """
        _ = self.parameters
        per_step = checks.Flag().check("per_step", per_step)
        seqs = self._receive(data)
        known, codes = self._known(seqs)
        each = np.where(known, self._label_log_probs(seqs)[np.arange(len(codes)), codes], 0.0)
        return each if per_step or self.per == "sequence" else np.add.reduceat(each, seqs.offsets[:-1])

    def score(self, data: Any) -> LabelScores:
        """Accuracy, balanced accuracy, precision, recall, F1, log loss and the confusion matrix over the known labels."""
        _ = self.parameters
        seqs = self._receive(data)
        known, codes = self._known(seqs)
        if not known.any():
            raise InputError("no label is known; there is nothing to score")
        table = self._label_log_probs(seqs)[known]
        confusion = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        np.add.at(confusion, (codes[known], table.argmax(axis=1)), 1)
        return LabelScores(self.classes, confusion, -float(table[np.arange(len(table)), codes[known]].mean()))

    def _known(self, seqs: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """Which labels are known, and their codes."""
        classes, unlabelled = self.classes, (self._schema or {}).get("unlabelled")
        known, labels = known_labels(self._labelled(seqs), unlabelled)
        code = {plain(name): k for k, name in enumerate(classes)}
        new = [plain(name) for name in labels[known] if plain(name) not in code]
        if new:
            raise InputError(f"the label {new[0]!r} was not in the training data; the labels are {list(code)}")
        codes = np.zeros(len(labels), dtype=np.int64)
        codes[known] = [code[plain(name)] for name in labels[known]]
        return known, codes

    def stream(self, state: bytes | None = None) -> LabelStream:
        """A reader that takes one step at a time, forwards; see `LabelStream`. `state` is what an earlier one's `to_bytes` gave."""
        self._only(False, "stream", "both directions")
        return LabelStream(self, state)

    def memory(self, data: Any = None) -> Memory:
        """How long the hidden state remembers: its top Lyapunov exponent along data, the largest over layers and directions."""
        rate = float(self.parameters["memory_rate"][0])
        if data is not None:
            seqs = self._receive(data)
            x = inference.step_inputs(self.parameters, seqs, (self._schema or {}).get("codes"))
            rate = float(np.exp(inference.top_exponent(self._options["cell"], self.parameters, seqs, x)))
        return Memory(half_life(rate), rate, "gradient")

    def _only(self, bidirectional: bool, verb: str, why: str) -> None:
        if self._options["bidirectional"] != bidirectional:
            raise UnsupportedError(f"a {type(self).__name__} with {why} has no `{verb}`; use `predict`")


def plain(label: Any) -> Any:
    """A label as a word that JSON can hold."""
    return label.item() if isinstance(label, np.generic) else label


def known_labels(labels: np.ndarray, unlabelled: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """(n,) which labels are known, and the labels; None, NaN, empty text and `unlabelled` say that none is."""
    if labels.dtype.kind == "O":
        known = np.array([not (x is None or x == "" or x != x) for x in labels], dtype=bool)
        plain_labels = np.array([x if k else None for x, k in zip(labels, known, strict=True)], dtype=object)
        if known.any():
            kind = np.array(list(plain_labels[known]))
            filled = np.empty(len(labels), dtype=kind.dtype)
            filled[known] = kind
            plain_labels = filled
    else:
        plain_labels = labels
        known = ~np.isnan(labels) if labels.dtype.kind == "f" else np.ones(len(labels), dtype=bool)
        if labels.dtype.kind in "US":
            known = labels != ""
    if unlabelled is not None:
        if np.ndim(unlabelled):
            raise InputError(f"`unlabelled` is {checks.shown(unlabelled)}; pass one label")
        known = known & (plain_labels != unlabelled)
    return known, plain_labels


def symbols_of(seqs: Sequences, options: dict[str, Any]) -> int | None:
    """How many symbols the values are codes of; None for numbers."""
    if seqs.symbols is None and options["embedding"] is None:
        return None
    count = most_symbols(seqs)
    judge_codes(seqs, count)
    return count


def judge_codes(seqs: Sequences, count: int) -> None:
    """Refuse values that are no codes from 0 to count − 1."""
    given = np.nan_to_num(seqs.values)
    wrong = (given < 0) | (given >= count) | (given != np.floor(given))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"column {seqs.columns[column]!r} has the value {seqs.values[row, column]:g} in row {row}; "
            f"symbols are coded 0, 1, … up to {count - 1}"
        )


def path_of(checkpoint: Any) -> str | None:
    """A checkpoint's path as text."""
    return checks.Optional(checks.File()).check("checkpoint", checkpoint)
