"""How a recurrent model is trained: which steps teach and which judge, where training begins, what is minimised.

Imported when a network is fitted, and not before: it loads torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from statewise._core.errors import InputError
from statewise._core.seed import child_seed
from statewise.fitting.sgd import Settings, Training, train
from statewise.inference.recurrent import Features, features, targets, usual_gaps
from statewise.nn.head import bias_for
from statewise.nn.network import HeadOutput, RecurrentNetwork
from statewise.nn.outputs import OUTPUTS, Output
from statewise.nn.outputs.gaussian import normal_start
from statewise.nn.start import linear_start
from statewise.nn.threads import torch_threads
from statewise.nn.windows import Windows, cut_windows
from statewise.sequences.scaling import standardise
from statewise.sequences.sequences import Sequences

_DECAY, _MOST_DECAY = 300.0, 6.0  # weight decay: as a prior worth so many training steps; at most
_SMALL = 128  # units below which one thread is faster than several
_VALIDATION_BATCH = 256


class Plan:
    """How the data of a fit are used.

    Scaling and lags come from the training part alone, except for a column that does not vary there.

    Attributes:
        seqs: the data.
        stop: (N,) steps of each sequence that train; those after them validate.
        observed: (rows,) whether anything was observed at a step.
        training, validation: (rows,) booleans; the same where nothing can be held out.
        held_out: whether there is a validation part.
        scaling: what `inference.recurrent` needs beside the network.
        notes: what the user should know.
    """

    def __init__(
        self,
        seqs: Sequences,
        share: float,
        window: int,
        output: Output | None = None,
        time_aware: bool = False,
    ) -> None:
        seen = ~np.isnan(seqs.values)
        if not seen.any(axis=0).all():
            empty = seqs.columns[int(np.argmin(seen.any(axis=0)))]
            raise InputError(f"column {empty!r} has no observed entry; leave it out")
        self.seqs, self.window, self.time_aware = seqs, window, time_aware
        self.output = OUTPUTS["gaussian"](seqs.dim) if output is None else output
        self.observed = seen.any(axis=1)
        self.stop = training_steps(seqs.lengths, seqs.offsets, self.observed, share)
        step = np.arange(seqs.rows) - np.repeat(seqs.offsets[:-1], seqs.lengths)
        self.training = step < np.repeat(self.stop, seqs.lengths)
        self.held_out = bool((~self.training & self.observed).any())
        self.validation = ~self.training if self.held_out else self.training
        self.scaling = self._scaling()
        flat = ~_varies(seqs.values)
        self.notes = [
            f"column {name!r} does not vary" for name, is_flat in zip(seqs.columns, flat, strict=True) if is_flat
        ]
        if not self.held_out:
            self.notes.append(
                "there is no validation part; the training score decided when to stop, and may be too good"
            )

    def _scaling(self) -> dict[str, np.ndarray]:
        inputs = np.zeros((self.seqs.rows, 0)) if self.seqs.inputs is None else self.seqs.inputs
        view = self.output.view(self.seqs.values)
        mean, scale = np.zeros(view.shape[1]), np.ones(view.shape[1])
        if self.output.standardised:
            mean, scale = _standard(view, self.training)
        input_mean, input_scale = _standard(inputs, self.training)
        unit = {"time_unit": np.array([_usual_gap(self.seqs, self.training)])} if self.time_aware else {}
        return unit | {
            "value_mean": mean,
            "value_scale": scale,
            "input_mean": input_mean,
            "input_scale": input_scale,
            "lags": _lags(self.seqs.season, int(self.stop.max())),
        }

    def windows(self, validating: bool) -> Windows:
        """Windows over the training or the validation part, the state warmed up by what comes before."""
        start, stop = np.zeros_like(self.stop), self.stop
        if validating and self.held_out:
            start, stop = self.stop, self.seqs.lengths
        warm_up = self.window if validating else self.window // 2
        return cut_windows(self.seqs.offsets, start, stop, self.window, warm_up, self.observed)


def training_steps(lengths: np.ndarray, offsets: np.ndarray, observed: np.ndarray, share: float) -> np.ndarray:
    """(N,) steps of each sequence that train, so that about `share` of the steps, the last ones, are held out.

    Where every sequence is too short to be cut, the last sequences are held out whole. Where that would leave nothing
    to train on, nothing is held out.
    """
    held = np.floor(share * lengths + 0.5).astype(np.int64)
    stop = np.maximum(lengths - held, 1)
    if (stop == lengths).all():
        whole = int(share * len(lengths) + 0.5)
        stop = np.where(np.arange(len(lengths)) >= max(len(lengths) - whole, 1), 0, lengths)
    spans = zip(offsets[:-1].tolist(), stop.tolist(), strict=True)
    return stop if any(observed[start : start + count].any() for start, count in spans) else lengths


def _lags(season: int | None, longest: int) -> np.ndarray:
    """The skip's lags: 1, and a season and one more where the training part has two of them."""
    if season is None or season < 2 or 2 * (season + 1) > longest:
        return np.array([1], dtype=np.int64)
    return np.unique(np.array([1, season, season + 1], dtype=np.int64))


def _usual_gap(seqs: Sequences, training: np.ndarray) -> float:
    """The median time between training steps; 1 where there is none."""
    gaps = usual_gaps(seqs)
    inside = training & (gaps > 0)
    return float(np.median(gaps[inside])) if inside.any() else 1.0


def _varies(values: np.ndarray) -> np.ndarray:
    """(k,) whether a column has two different observed entries."""
    missing = np.isnan(values)
    low = np.where(missing, np.inf, values).min(axis=0, initial=np.inf)
    high = np.where(missing, -np.inf, values).max(axis=0, initial=-np.inf)
    return low < high


def _standard(values: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over the training rows, or over all rows where it does not vary there."""
    mean, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for k, varies in enumerate(_varies(values[training]).tolist()):
        column = values[training, k] if varies else values[:, k]
        _, scaling = standardise(Sequences(column, np.array([len(column)])))
        mean[k], scale[k] = scaling.mean[0], scaling.scale[0]
    return mean, scale


class _Problem:
    """The network, the data as tensors, and what is minimised and scored."""

    def __init__(self, options: dict[str, Any], plan: Plan, seed: int) -> None:
        seen = features(plan.scaling, plan.seqs, plan.output)
        observed = ~np.isnan(plan.seqs.values)
        self.network = _network(options, seen, plan.output, seed)
        self.network.load(_start(seen, plan))
        self.x, self.skip = _tensor(seen.cell), _tensor(seen.skip)
        self.gaps = None if seen.gaps is None else _tensor(seen.gaps)
        self.y, self.weight = _tensor(targets(plan.scaling, plan.seqs.values, plan.output)), _tensor(observed)
        self.training, self.validation = plan.windows(False), plan.windows(True)
        scored = plan.validation & plan.observed
        self.scored_steps = int(scored.sum())
        self.log_scale = 0.0
        if plan.output.continuous:
            self.log_scale = float((observed[scored] @ np.log(plan.scaling["value_scale"])).sum())
        self.trained_steps = int((plan.training & plan.observed).sum())

    def outputs(self, windows: Windows, which: np.ndarray) -> tuple[HeadOutput, torch.Tensor, torch.Tensor]:
        """What the network says along some windows, what was there, and 1 where it was observed and is scored, else 0."""
        rows, scored = (torch.from_numpy(table) for table in windows.gather(which))
        gaps = None if self.gaps is None else self.gaps[rows]
        return self.network(self.x[rows], self.skip[rows], gaps), self.y[rows], self.weight[rows] * scored[..., None]

    def objective(self, which: np.ndarray) -> torch.Tensor:
        """Negative log density per step of some training windows, with its share of the prior, in standardised units."""
        output, y, weight = self.outputs(self.training, which)
        steps = weight.amax(dim=2).sum()
        loss = self.network.nll(output, y, weight)
        return (loss + self.network.departure(output, weight) / self.trained_steps) / steps

    def score(self) -> float:
        """Log density per validation step, in nats, in the data's units."""
        pieces = self.validation.batches(np.arange(len(self.validation)), _VALIDATION_BATCH)
        total = sum(float(self.network.nll(*self.outputs(self.validation, piece))) for piece in pieces)
        return -(total + self.log_scale) / self.scored_steps


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def _network(options: dict[str, Any], seen: Features, output: Output, seed: int) -> RecurrentNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(child_seed(seed, 0) or 0)
        return RecurrentNetwork(
            options["cell"],
            seen.cell.shape[1],
            options["hidden"],
            options["layers"],
            seen.skip.shape[1],
            output.dim,
            output.name,
            output.size,
            seen.gaps is not None,
        )


def _start(seen: Features, plan: Plan) -> dict[str, np.ndarray]:
    """A regression on the skip for real numbers, the marginal law of the training part for counts, flags and symbols."""
    if not plan.output.continuous:
        begin = plan.output.start(plan.seqs.values[plan.training])
        return {"mean_bias": begin.location, "shape_bias": begin.shape}
    centres = _centres(seen.values.shape[1], len(plan.scaling["lags"]), seen.skip.shape[1])
    held = plan.validation if plan.held_out else np.zeros_like(plan.training)
    line = linear_start(seen.skip, seen.values, plan.training, held, centres)
    residuals = (seen.values - seen.skip @ line.weight.T - line.bias)[plan.training]
    begin = plan.output.start(residuals)
    log_sd = line.log_sd + (begin.log_sd - normal_start(residuals).log_sd)
    return {
        "skip_weight": line.weight,
        "mean_bias": line.bias,
        "log_sd_bias": bias_for(log_sd),
        "shape_bias": begin.shape,
    }


def _centres(dim: int, lags: int, width: int) -> list[np.ndarray]:
    """Skip weights (p, k) to shrink towards: nothing, the last value, and with a season s its value a season ago, without and with
    the change since: y[t−s], y[t−1] + y[t−s] − y[t−s−1]."""
    kinds = [(), (1.0,)] + ([(0.0, 1.0), (1.0, 1.0, -1.0)] if lags == 3 else [])
    centres = []
    for kind in kinds:
        centre = np.zeros((dim, width))
        for position, weight in enumerate(kind):
            centre[:, 2 * dim * position : 2 * dim * position + dim] = weight * np.eye(dim)
        centres.append(centre)
    return centres


def train_network(
    options: dict[str, Any], plan: Plan, settings: Settings, batch: int | None, seed: int
) -> tuple[dict[str, np.ndarray], Training]:
    """The parameters found, scaling included, and how training went.

    Args:
        options: of the model: cell, hidden, layers, output.
        plan: the data and their use.
        settings: of the trainer.
        batch: windows in a batch; None for an eighth of all, but 16 to 256.
        seed: of the initial weights and the order of the batches.
    """
    problem = _Problem(options, plan, seed)
    count = len(problem.training)
    size = batch or int(np.clip(-(-count // 8), 16, 256))
    decay = min(_MOST_DECAY, _DECAY / problem.trained_steps)
    with torch_threads(1 if options["hidden"] < _SMALL else None):
        done = train(
            problem.network,
            lambda draws: problem.training.batches(torch.randperm(count, generator=draws).numpy(), size),
            problem.objective,
            problem.score,
            settings,
            seed=child_seed(seed, 1) or 0,
            groups=problem.network.groups(decay),
            label=f"fitting {options['cell']}",
        )
    return problem.network.arrays() | plan.scaling, done
