"""How a recurrent model is trained: which steps teach and which judge, where training begins, what is minimised.

Imported when a network is fitted, and not before: it loads torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from statewise._core.errors import InputError
from statewise._core.seed import child_seed
from statewise.fitting.checkpoint import Checkpoint
from statewise.fitting.sgd import Carried, Settings, Training, train
from statewise.inference.recurrent import Features, features, targets, usual_gaps
from statewise.nn.head import bias_for
from statewise.nn.network import HeadOutput, RecurrentNetwork
from statewise.nn.outputs import OUTPUTS, Output
from statewise.nn.outputs.gaussian import normal_start
from statewise.nn.seeding import seeded
from statewise.nn.start import linear_start
from statewise.nn.threads import torch_threads
from statewise.nn.windows import Windows, bucketed, cut_windows
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
            mean, scale = standard(view, self.training)
        input_mean, input_scale = standard(inputs, self.training)
        unit = {"time_unit": np.array([usual_gap(self.seqs, self.training)])} if self.time_aware else {}
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


def usual_gap(seqs: Sequences, training: np.ndarray) -> float:
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


def standard(values: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over the training rows, or over all rows where it does not vary there."""
    mean, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for k, varies in enumerate(_varies(values[training]).tolist()):
        column = values[training, k] if varies else values[:, k]
        _, scaling = standardise(Sequences(column, np.array([len(column)])))
        mean[k], scale[k] = scaling.mean[0], scaling.scale[0]
    return mean, scale


class Chunk(NamedTuple):
    """Sequences whose steps from `start` on are next, in training with a carried state."""

    which: np.ndarray
    start: int


class _Problem(Carried):
    """The network, the data as tensors, and what is minimised and scored.

    The state is carried from chunk to chunk of the same sequences, without its gradient; nothing is carried between windows.
    """

    def __init__(self, options: dict[str, Any], plan: Plan, seed: int) -> None:
        self.plan = plan
        self.kept: dict[int, tuple[Any, ...]] = {}
        self.state: Any = None
        self.before: Any = None  # the state that the last chunk began with, to look into what went wrong in it
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
        x, skip, gaps, y, weight = self.gathered(windows, which)
        return self.network(x, skip, gaps), y, weight

    def gathered(self, windows: Windows, which: np.ndarray) -> tuple[Any, ...]:
        """The tensors of some windows. Those that come in every epoch, all of them or pieces of the validation part, are kept."""
        judging = windows is self.validation
        if not judging and len(which) < len(windows):
            return self.tables(windows, which)
        first = int(which[0]) if judging else -1
        if first not in self.kept:
            self.kept[first] = self.tables(windows, which if judging else np.arange(len(windows)))
        if judging:
            return self.kept[first]
        order = torch.from_numpy(which)
        return tuple(None if part is None else part[order] for part in self.kept[first])

    def tables(self, windows: Windows, which: np.ndarray) -> tuple[Any, ...]:
        """Cell features, skip features, gaps, values and weights of some windows, each (batch, time, …)."""
        rows, scored = (torch.from_numpy(table) for table in windows.gather(which))
        gaps = None if self.gaps is None else self.gaps[rows]
        return self.x[rows], self.skip[rows], gaps, self.y[rows], self.weight[rows] * scored[..., None]

    def chunk(self, chunk: Chunk) -> tuple[HeadOutput, torch.Tensor, torch.Tensor]:
        """As `outputs`, from the state that the chunk before left, and leaving its own."""
        stop, steps = self.plan.stop[chunk.which, None], chunk.start + np.arange(self.plan.window)
        steps = steps[steps < stop.max()]
        rows = torch.from_numpy(self.plan.seqs.offsets[chunk.which, None] + np.minimum(steps, stop - 1))
        scored = torch.from_numpy(steps < stop)
        gaps = None if self.gaps is None else self.gaps[rows]
        self.before = self.state if chunk.start else None
        output, end = self.network.run(self.x[rows], self.skip[rows], self.before, gaps)
        self.state = tuple(part.detach() for part in end) if isinstance(end, tuple) else end.detach()
        return output, self.y[rows], self.weight[rows] * scored[..., None]

    def tensors(self) -> list[torch.Tensor]:
        return [] if self.state is None else list(self.state) if isinstance(self.state, tuple) else [self.state]

    def restore(self, tensors: list[torch.Tensor]) -> None:
        self.state = tuple(tensors) if len(tensors) > 1 else tensors[0] if tensors else None

    def explain(self, which: np.ndarray | Chunk) -> str:
        """The first step of a batch at which the network is not finite, and what helps."""
        remedy = "lower `lr`, shorten `window`, or look at the values there"
        with torch.no_grad():
            self.state = self.before
            output = (self.outputs(self.training, which) if isinstance(which, np.ndarray) else self.chunk(which))[0]
            bad = ~torch.isfinite(torch.cat([part for part in output.law if part.numel()], dim=-1)).all(dim=-1)
        if not bad.any():
            return f"the densities are finite there but their derivatives are not; {remedy}"
        lane, step = (int(k) for k in bad.nonzero()[bad.nonzero()[:, 1].argmin()])
        if isinstance(which, np.ndarray):
            row = int(self.training.gather(which)[0][lane, step])
        else:
            row = int(self.plan.seqs.offsets[which.which[lane]]) + which.start + step
        sequence = int(np.searchsorted(self.plan.seqs.offsets, row, side="right")) - 1
        at = row - int(self.plan.seqs.offsets[sequence])
        return f"it began at step {at} of sequence {self.plan.seqs.ids[sequence]!r}; {remedy}"

    def shown(self, which: np.ndarray | Chunk) -> tuple[Any, ...]:
        """What the network is called with for a batch: cell features, skip features and gaps in time."""
        if isinstance(which, np.ndarray):
            return self.tables(self.training, which)[:3]
        steps = which.start + np.arange(self.plan.window)
        stop = self.plan.stop[which.which, None]
        rows = torch.from_numpy(
            self.plan.seqs.offsets[which.which, None] + np.minimum(steps[steps < stop.max()], stop - 1)
        )
        return self.x[rows], self.skip[rows], None if self.gaps is None else self.gaps[rows]

    def objective(self, which: np.ndarray | Chunk) -> torch.Tensor:
        """Negative log density per step of some training windows, with its share of the prior, in standardised units."""
        output, y, weight = self.outputs(self.training, which) if isinstance(which, np.ndarray) else self.chunk(which)
        steps = weight.amax(dim=2).sum().clamp(min=1.0)
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
    with seeded(child_seed(seed, 0) or 0):
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


class Instructions(NamedTuple):
    """How a network is trained, beside the trainer's own settings.

    Attributes:
        batch: windows, or sequences, in a batch; None for an eighth of all, but 16 to 256.
        seed: of the initial weights and the order of the batches.
        carry: whether sequences run through in chunks with a carried state, instead of windows that are warmed up.
        checkpoint: the file for going on after an interrupt, or None.
        monitor: has a method step(module, batch, loss) that is told of every batch, or None. It is no part of what a checkpoint must match.
    """

    batch: int | None
    seed: int
    carry: bool = False
    checkpoint: str | None = None
    monitor: Any = None


def train_network(
    options: dict[str, Any], plan: Plan, settings: Settings, given: Instructions
) -> tuple[dict[str, np.ndarray], Training]:
    """The parameters found, scaling included, and how training went, for the model's options and the data's plan."""
    problem = _Problem(options, plan, given.seed)
    lengths = plan.stop if given.carry else problem.training.length
    size = given.batch or int(np.clip(-(-len(lengths) // 8), 16, 256))

    def batches(draws: torch.Generator) -> Iterator[np.ndarray | Chunk]:
        for which in bucketed(lengths, size, lambda n: torch.randperm(n, generator=draws).numpy()):
            if given.carry:
                yield from (Chunk(which, start) for start in range(0, int(plan.stop[which].max()), plan.window))
            else:
                yield which

    def told(which: np.ndarray | Chunk, loss: torch.Tensor) -> None:
        given.monitor.step(problem.network, problem.shown(which), loss)

    file = None
    if given.checkpoint is not None:
        file = Checkpoint(
            given.checkpoint, fingerprint(options, plan.seqs, (settings, plan.window, plan.stop, given[:4]))
        )
    decay = min(_MOST_DECAY, _DECAY / problem.trained_steps)
    with torch_threads(1 if options["hidden"] < _SMALL else None):
        done = train(
            problem.network,
            batches,
            problem.objective,
            problem.score,
            settings,
            seed=child_seed(given.seed, 1) or 0,
            groups=problem.network.groups(decay),
            label=f"fitting {options['cell']}",
            checkpoint=file,
            carried=problem,
            explain=problem.explain,
            watch=None if given.monitor is None else told,
            draws=False,
        )
    losses = done.losses + problem.log_scale / problem.scored_steps
    return problem.network.arrays() | plan.scaling, replace(done, losses=losses)


def fingerprint(options: dict[str, Any], seqs: Sequences, settings: tuple[Any, ...]) -> str:
    """A digest of all that a fit depends on: a checkpoint of another fit must not be taken for this one's."""
    said = repr(
        (sorted(options.items()), [part.tolist() if isinstance(part, np.ndarray) else part for part in settings])
    )
    digest = hashlib.sha256(said.encode())
    for array in (seqs.values, seqs.lengths, seqs.inputs, seqs.times, seqs.labels):
        digest.update(
            b"none"
            if array is None
            else np.ascontiguousarray(array).astype("U" if array.dtype.kind in "OU" else array.dtype).tobytes()
        )
    return digest.hexdigest()
