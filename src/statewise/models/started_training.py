"""How a network that starts at a classical model is trained. Imported when one is fitted or applied: it loads torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from statewise._core.seed import child_seed
from statewise.fitting.sgd import Settings, Training, train
from statewise.models.recurrent_training import training_steps
from statewise.nn.classical_start import Path, StartedNetwork
from statewise.nn.seeding import seeded
from statewise.nn.threads import torch_threads
from statewise.nn.windows import Windows, cut_windows
from statewise.results.added import Added
from statewise.sequences.sequences import Sequences

_DECAY, _MOST_DECAY = 300.0, 6.0  # weight decay: as a prior worth so many training steps; at most
_SMALL = 128  # units below which one thread is faster than several
_AT_ONCE = 256  # sequences applied beside each other


def made(options: Mapping[str, Any], path: Path, width: int, seed: int) -> StartedNetwork:
    """An untrained network around a path, for units that see `width` numbers."""
    with seeded(child_seed(seed, 0) or 0):
        frozen = options["classical"] == "freeze"
        return StartedNetwork(options["cell"], width, options["hidden"], options["layers"], path, frozen)


class Table:
    """The rows of some sequences as tensors, and batches of windows into them."""

    def __init__(self, rows: Mapping[str, np.ndarray], seqs: Sequences) -> None:
        self.tensors = {name: torch.tensor(np.asarray(array)) for name, array in rows.items()}
        self.seqs = seqs

    def windows(self, start: np.ndarray, stop: np.ndarray, size: int, warm_up: int) -> Windows:
        """Windows that score the steps from start to stop (exclusive) of each sequence."""
        return cut_windows(self.seqs.offsets, start, stop, size, warm_up, np.ones(self.seqs.rows, dtype=bool))

    def batch(self, windows: Windows, which: np.ndarray) -> tuple[dict[str, torch.Tensor], torch.Tensor, np.ndarray]:
        """The tensors of some windows, 1 where a step is scored, and the rows that these are."""
        rows, scored = windows.gather(which)
        index = torch.from_numpy(rows)
        return {name: tensor[index] for name, tensor in self.tensors.items()}, torch.from_numpy(scored), rows[scored]

    def whole(self) -> list[tuple[dict[str, torch.Tensor], torch.Tensor, np.ndarray]]:
        """Batches of whole sequences."""
        longest = int(self.seqs.lengths.max())
        windows = self.windows(np.zeros_like(self.seqs.lengths), self.seqs.lengths, longest, 0)
        return [self.batch(windows, piece) for piece in windows.batches(np.arange(len(windows)), _AT_ONCE)]

    def log_prob(self, network: StartedNetwork) -> np.ndarray:
        """(rows,) log densities of all steps, each sequence run from its beginning."""
        found = np.zeros(self.seqs.rows)
        with torch.no_grad():
            for rows, scored, index in self.whole():
                found[index] = network(rows)[0][scored].numpy()
        return found


class Problem:
    """What is minimised and scored."""

    def __init__(
        self, network: StartedNetwork, rows: Mapping[str, np.ndarray], seqs: Sequences, share: float, window: int
    ) -> None:
        observed = (~np.isnan(seqs.values)).any(axis=1)
        self.network, self.table = network, Table(rows, seqs)
        stop = training_steps(seqs.lengths, seqs.offsets, observed, share)
        step = np.arange(seqs.rows) - np.repeat(seqs.offsets[:-1], seqs.lengths)
        training = step < np.repeat(stop, seqs.lengths)
        self.held_out = bool((~training & observed).any())
        self.judged = (~training if self.held_out else training) & observed
        self.trained_steps = int((training & observed).sum())
        self.training = self.table.windows(np.zeros_like(stop), stop, window, window // 2)

    def objective(self, which: np.ndarray) -> torch.Tensor:
        """Negative log density per step of some training windows, with its share of the prior."""
        rows, scored, _ = self.table.batch(self.training, which)
        density, departure = self.network(rows)
        total = torch.where(scored, departure / self.trained_steps - density, 0.0).sum()
        return total / scored.sum()

    def steps(self) -> np.ndarray:
        """Log density of each validation step, in nats."""
        return self.table.log_prob(self.network)[self.judged]

    def score(self) -> float:
        """Its mean."""
        return float(self.steps().mean())


def train_started(
    problem: Problem, settings: Settings, batch: int | None, seed: int, label: str
) -> tuple[Training, Added]:
    """Train in place, and go back to the start where the gain on the validation part is less than its standard error."""
    network, count = problem.network, len(problem.training)
    size = batch or int(np.clip(-(-count // 8), 1, 256))
    decay = min(_MOST_DECAY, _DECAY / problem.trained_steps)
    begin = network.arrays()
    with torch_threads(1 if network.rnn.hidden_size < _SMALL else None):
        before = problem.steps()
        done = train(
            network,
            lambda draws: problem.training.batches(torch.randperm(count, generator=draws).numpy(), size),
            problem.objective,
            problem.score,
            settings,
            seed=child_seed(seed, 1) or 0,
            groups=network.groups(decay),
            label=label,
            draws=False,
        )
        added = Added.of(problem.steps() - before, not network.is_start())
    if added.changed and not added.nats > added.standard_error:
        network.load(begin)
        added = Added.of(np.zeros_like(before), False)
    return done, added
