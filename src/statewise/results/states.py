"""What `filter`, `smooth` and `decode` return."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise.results.base import Result, new_figure, row_index

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from statewise.sequences.sequences import Sequences


@dataclass(frozen=True)
class GaussianStates(Result):
    """The state's mean and covariance at each step, given the past (`filter`) or the whole sequence (`smooth`).

    Attributes:
        mean: (rows, n).
        cov: (rows, n, n).
        lengths, ids, times: as in the sequences.
        value_mean, value_variance: (rows, p), of `smooth` only: the law of every entry of y given the whole sequence. An observed entry is
            itself, with variance 0; a missing one is filled in. NaN where it is missing and the model's noises are correlated (`noise_cross`).
    """

    mean: np.ndarray
    cov: np.ndarray
    lengths: np.ndarray
    ids: tuple[Hashable, ...]
    times: np.ndarray | None = None
    value_mean: np.ndarray | None = None
    value_variance: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row for each step; columns mean_1 … mean_n and sd_1 … sd_n."""
        import pandas as pd

        table = row_index(self.lengths, self.ids, self.times)
        for k in range(self.mean.shape[1]):
            table[f"mean_{k + 1}"] = self.mean[:, k]
            table[f"sd_{k + 1}"] = np.sqrt(np.maximum(self.cov[:, k, k], 0.0))
        return pd.DataFrame(table)

    def plot(self) -> Figure:
        """The first sequence: each state's mean with two standard deviations."""
        figure, axes = new_figure(min(self.mean.shape[1], 6))
        steps = np.arange(self.lengths[0])
        for k, axis in enumerate(axes):
            mean, sd = self.mean[steps, k], np.sqrt(np.maximum(self.cov[steps, k, k], 0.0))
            axis.plot(steps, mean)
            axis.fill_between(steps, mean - 2 * sd, mean + 2 * sd, alpha=0.2)
            axis.set_ylabel(f"state {k + 1}")
        return figure


@dataclass(frozen=True)
class DiscreteStates(Result):
    """Probabilities of the K states at each step, given the past (`filter`) or the whole sequence (`smooth`).

    Attributes:
        probs: (rows, K), each row summing to 1.
        lengths, ids, times: as in the sequences.
    """

    probs: np.ndarray
    lengths: np.ndarray
    ids: tuple[Hashable, ...]
    times: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row for each step; columns prob_0 … prob_{K − 1}, by the states' numbers."""
        import pandas as pd

        table = row_index(self.lengths, self.ids, self.times)
        table |= {f"prob_{k}": self.probs[:, k] for k in range(self.probs.shape[1])}
        return pd.DataFrame(table)

    def plot(self) -> Figure:
        """The first sequence: stacked probabilities."""
        figure, axes = new_figure(1)
        self._stack(axes[0])
        axes[0].legend()
        return figure

    def _stack(self, axis: Any) -> None:
        steps, K = np.arange(self.lengths[0]), self.probs.shape[1]
        colours = [f"C{k % 10}" for k in range(K)]
        axis.stackplot(steps, self.probs[steps].T, labels=[f"state {k}" for k in range(K)], colors=colours, alpha=0.8)
        axis.set_ylim(0.0, 1.0)
        axis.set_ylabel("probability")


@dataclass(frozen=True)
class Decoded(Result):
    """The most probable state path of each sequence.

    Attributes:
        path: (rows,) state numbers from 0.
        log_prob: (N,) log joint probability of path and observations, in nats.
        lengths, ids, times: as in the sequences.
    """

    path: np.ndarray
    log_prob: np.ndarray
    lengths: np.ndarray
    ids: tuple[Hashable, ...]
    times: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row for each step: the state."""
        import pandas as pd

        return pd.DataFrame(row_index(self.lengths, self.ids, self.times) | {"state": self.path})

    def plot(self, seqs: Sequences | None = None, smoothed: DiscreteStates | None = None) -> Figure:
        """The first sequence's path.

        Args:
            seqs: the sequences that it belongs to: their values are drawn above it, on bands in the colours of the states.
            smoothed: what the model's `smooth` gave: the states' probabilities are drawn in place of the path's steps.

        Example:
            >>> model = sw.HMM(states=2).fit(seqs)
            >>> figure = model.decode(seqs).plot(seqs, model.smooth(seqs))
        """
        figure, axes = new_figure(1 if seqs is None else seqs.dim + 1)
        steps = np.arange(self.lengths[0])
        path = self.path[: self.lengths[0]]
        for d in range(0 if seqs is None else seqs.dim):
            assert seqs is not None
            self._band(axes[d], path)
            axes[d].plot(steps, seqs.values[: len(steps), d], color="0.15", linewidth=0.9)
            axes[d].set_ylabel(seqs.columns[d])
        if smoothed is not None:
            smoothed._stack(axes[-1])
        else:
            axes[-1].step(steps, path, where="mid", color="0.4", linewidth=0.8)
            for state in np.unique(path):
                here = path == state
                axes[-1].plot(steps[here], path[here], ".", color=f"C{state % 10}")
            axes[-1].set_ylabel("state")
            axes[-1].set_yticks(np.unique(path))
        for axis in axes:
            axis.set_xlim(-0.5, len(steps) - 0.5)
        if seqs is not None:
            axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        return figure

    @staticmethod
    def _band(axis: Any, path: np.ndarray) -> None:
        """A band behind the axis, from half a step before each stretch in a state to half a step after it."""
        edges, across = np.repeat(np.arange(len(path) + 1) - 0.5, 2)[1:-1], axis.get_xaxis_transform()
        for state in np.unique(path):
            here, colour = np.repeat(path == state, 2), f"C{state % 10}"
            axis.fill_between(
                edges,
                0.0,
                1.0,
                where=here,
                color=colour,
                alpha=0.3,
                linewidth=0.0,
                transform=across,
                label=f"state {state}",
            )


@dataclass(frozen=True)
class BestPaths(Result):
    """The k most probable state paths of each sequence, best first.

    Attributes:
        paths: (k, rows) state numbers from 0; −1 where a sequence has fewer possible paths.
        log_prob: (k, N) log joint probability of path and observations, in nats; −inf there.
        lengths, ids, times: as in the sequences.
    """

    paths: np.ndarray
    log_prob: np.ndarray
    lengths: np.ndarray
    ids: tuple[Hashable, ...]
    times: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row for each step: columns path_1 … path_k."""
        import pandas as pd

        table = row_index(self.lengths, self.ids, self.times)
        return pd.DataFrame(table | {f"path_{k + 1}": path for k, path in enumerate(self.paths)})

    def plot(self) -> Figure:
        """The first sequence's paths, one panel each, six at most."""
        figure, axes = new_figure(min(len(self.paths), 6))
        for k, axis in enumerate(axes):
            axis.step(np.arange(self.lengths[0]), self.paths[k, : self.lengths[0]], where="mid")
            axis.set_ylabel(f"path {k + 1}")
        return figure
