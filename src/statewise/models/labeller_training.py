"""How `Tagger` and `Classifier` are trained: which sequences teach and which judge, and what is minimised. Loads torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from statewise._core import checks
from statewise._core.seed import child_seed
from statewise.fitting.checkpoint import Checkpoint
from statewise.fitting.sgd import Settings, Training, train
from statewise.inference.labelling import step_gaps, step_inputs
from statewise.models.recurrent_training import fingerprint, standard, usual_gap
from statewise.nn.labeller import Labeller
from statewise.nn.seeding import has_dropout, seeded
from statewise.nn.threads import torch_threads
from statewise.nn.windows import Windows, bucketed, cut_windows
from statewise.sequences.sequences import Sequences

_WEIGHT_DECAY = 0.01
_SMALL = 128  # units below which one thread is faster than several
_VALIDATION_BATCH = 256
_FEW = 5  # sequences below which the end of each is held out instead of whole ones
_WHOLE = 2**31 - 1


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `fit`, judged."""
    from statewise.models.labeller import path_of

    rules: dict[str, checks.Option] = {
        "epochs": checks.Integer(1),
        "lr": checks.Real(0.0, 10.0, open_low=True),
        "batch": checks.Optional(checks.Integer(1)),
        "patience": checks.Integer(1),
        "validation": checks.Real(0.0, 0.9),
        "window": checks.Optional(checks.Integer(2)),
        "seed": checks.Optional(checks.Integer()),
    }
    clean = {name: rule.check(name, given[name]) for name, rule in rules.items()}
    return clean | {"checkpoint": path_of(given["checkpoint"])}


class LabelPlan:
    """How the data of a fit are used.

    Attributes:
        seqs: the data.
        known, codes: (n,) which labels are known, and their codes from 0; n is rows or sequences.
        labels, per: K, and 'step' or 'sequence'.
        symbols: how many symbols the values are codes of, None for numbers.
        training, validation: windows, which for a label a sequence are the sequences.
        scaling: means and scales, from the training part alone.
        notes: what the user should know.
    """

    def __init__(
        self,
        seqs: Sequences,
        known: np.ndarray,
        codes: np.ndarray,
        labels: int,
        per: str,
        symbols: int | None,
        given: dict[str, Any],
        time_aware: bool = False,
    ) -> None:
        self.seqs, self.known, self.codes, self.labels = seqs, known, codes, labels
        self.per, self.symbols, self.time_aware = per, symbols, time_aware
        self.notes: list[str] = []
        stop = self._training_steps(given["validation"], np.random.default_rng(child_seed(given["seed"], 2)))
        counts = known if per == "step" else np.repeat(known, seqs.lengths)
        size = given["window"] or _WHOLE
        self.training = cut_windows(seqs.offsets, np.zeros_like(stop), stop, size, size // 2, counts)
        self.validation = self.training
        held = cut_windows(seqs.offsets, stop, seqs.lengths, _WHOLE, 0, counts)
        if len(held):
            self.validation = held
        else:
            self.notes.append(
                "there is no validation part; the training score decided when to stop, and may be too good"
            )
        step = np.arange(seqs.rows) - np.repeat(seqs.offsets[:-1], seqs.lengths)
        self.scaling = self._scaling(step < np.repeat(stop, seqs.lengths))

    def _training_steps(self, share: float, rng: np.random.Generator) -> np.ndarray:
        """(N,) steps of each sequence that train; a sequence that is held out whole has none."""
        lengths, count = self.seqs.lengths, len(self.seqs)
        if self.per == "step" and count < _FEW:
            stop = np.maximum(lengths - np.floor(share * lengths + 0.5).astype(np.int64), 1)
            inside = np.arange(self.seqs.rows) - np.repeat(self.seqs.offsets[:-1], lengths) < np.repeat(stop, lengths)
            return stop if (inside & self.known).any() else lengths
        group = np.where(self.known, self.codes, -1) if self.per == "sequence" else np.zeros(count, dtype=np.int64)
        held = np.zeros(count, dtype=bool)
        for label in np.unique(group[group >= 0]):
            members = rng.permutation(np.flatnonzero(group == label))
            held[members[: min(int(share * len(members) + 0.5), len(members) - 1)]] = True
        stop = np.where(held, 0, lengths)
        if self.per == "step" and not self.known[np.repeat(stop > 0, lengths)].any():
            return lengths
        return stop

    def _scaling(self, training: np.ndarray) -> dict[str, np.ndarray]:
        inputs = np.zeros((self.seqs.rows, 0)) if self.seqs.inputs is None else self.seqs.inputs
        mean, scale = np.zeros(self.seqs.dim), np.ones(self.seqs.dim)
        if self.symbols is None:
            seen = ~np.isnan(self.seqs.values).all(axis=0)
            mean[seen], scale[seen] = standard(self.seqs.values[:, seen], training)
        input_mean, input_scale = standard(inputs, training)
        unit = {"time_unit": np.array([usual_gap(self.seqs, training)])} if self.time_aware else {}
        scales = {"value_mean": mean, "value_scale": scale, "input_mean": input_mean, "input_scale": input_scale}
        return scales | unit


class _Problem:
    """The network, the data as tensors, and what is minimised and scored."""

    def __init__(self, options: dict[str, Any], plan: LabelPlan, weights: np.ndarray, seed: int) -> None:
        self.plan = plan
        x, gaps = step_inputs(plan.scaling, plan.seqs, plan.symbols), step_gaps(plan.scaling, plan.seqs)
        symbols = 0 if plan.symbols is None else plan.symbols * plan.seqs.dim
        with seeded(child_seed(seed, 0) or 0):
            self.network = Labeller(
                options["cell"],
                options["hidden"],
                options["layers"],
                options["bidirectional"],
                x.shape[1],
                plan.labels,
                options["embedding"],
                symbols,
                options["dropout"],
                options["pooling"],
                options["time_aware"],
            )
        counts = np.bincount(plan.codes[plan.known], minlength=plan.labels) * weights
        self.network.load({"label_bias": np.log(counts / counts.sum())})
        self.x = torch.from_numpy(x.astype(np.float32))
        self.gaps = None if gaps is None else torch.from_numpy(gaps.astype(np.float32))
        self.codes, self.weights = torch.from_numpy(plan.codes), torch.from_numpy(weights.astype(np.float32))
        self.known = torch.from_numpy(plan.known)

    def loss(self, windows: Windows, which: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Σ weight · −log P(label) over the known labels of some windows, and Σ weight."""
        rows, scored = (torch.from_numpy(table) for table in windows.gather(which))
        gaps = None if self.gaps is None else self.gaps[rows]
        logits = self.network(self.x[rows], torch.from_numpy(windows.length[which]), gaps)
        if self.plan.per == "sequence":
            first = np.searchsorted(self.plan.seqs.offsets, windows.first[which], side="right") - 1
            at = torch.from_numpy(first)
            inside = self.known[at]
        else:
            at, inside = rows, self.known[rows] & scored
        codes = self.codes[at]
        weight = self.weights[codes] * inside
        chosen = torch.log_softmax(logits, dim=-1).gather(-1, codes[..., None])[..., 0]
        return -(weight * chosen).sum(), weight.sum()

    def objective(self, which: np.ndarray) -> torch.Tensor:
        """The mean over the known labels of some training windows."""
        total, weight = self.loss(self.plan.training, which)
        return total / weight.clamp(min=1e-9)

    def score(self) -> float:
        """Minus the mean over the known labels of the validation part."""
        windows = self.plan.validation
        order = np.argsort(windows.length, kind="stable")
        parts = [self.loss(windows, piece) for piece in windows.batches(order, _VALIDATION_BATCH)]
        return -float(sum(total for total, _ in parts)) / float(sum(weight for _, weight in parts))

    def explain(self, which: np.ndarray) -> str:
        """Which sequences were in a batch, and what helps."""
        first = np.searchsorted(self.plan.seqs.offsets, self.plan.training.first[which], side="right") - 1
        names = ", ".join(repr(self.plan.seqs.ids[k]) for k in np.unique(first)[:5])
        return f"it holds the sequences {names}; lower `lr`, or look at their values"


def train_labeller(
    options: dict[str, Any], plan: LabelPlan, weights: np.ndarray, given: dict[str, Any]
) -> tuple[dict[str, np.ndarray], Training]:
    """The parameters found, scaling included, and how training went.

    Args:
        options: of the model, and its pooling.
        plan: the data and their use.
        weights: (K,) of the labels.
        given: the arguments of `fit`.
    """
    problem = _Problem(options, plan, weights, given["seed"])
    lengths = plan.training.length
    size = given["batch"] or int(np.clip(-(-len(lengths) // 8), 8, 64))
    settings = Settings(given["epochs"], given["lr"], given["patience"])
    file = None
    if given["checkpoint"] is not None:
        said = [value for name, value in sorted(given.items()) if name != "checkpoint"]
        file = Checkpoint(
            given["checkpoint"], fingerprint(options, plan.seqs, (*said, weights, plan.known, plan.codes))
        )
    with torch_threads(1 if options["hidden"] < _SMALL else None):
        done = train(
            problem.network,
            lambda draws: bucketed(lengths, size, lambda n: torch.randperm(n, generator=draws).numpy()),
            problem.objective,
            problem.score,
            settings,
            seed=child_seed(given["seed"], 1) or 0,
            groups=problem.network.groups(_WEIGHT_DECAY),
            label=f"fitting {options['cell']}",
            checkpoint=file,
            explain=problem.explain,
            draws=has_dropout(problem.network),
        )
    return problem.network.arrays() | plan.scaling, done
