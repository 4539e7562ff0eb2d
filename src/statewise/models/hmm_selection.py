"""How many states: fits of several sizes beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.models.hmm import HMM
from statewise.results.base import Result, new_figure
from statewise.sequences.build import as_sequences

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CRITERIA = ("bic", "aic", "icl", "held-out")


@dataclass(frozen=True)
class StateSelection(Result):
    """Hidden Markov models of several sizes.

    Attributes:
        states: (S,) numbers of states.
        log_prob: (S,) log-likelihood of the training data.
        n_parameters: (S,).
        aic, bic: (S,) less is better.
        icl: (S,) BIC + 2 × the entropy of the states given the data, which asks for states that can be told apart (Biernacki,
            Celeux & Govaert, IEEE TPAMI 22 (2000)).
        held_out: (S,) nats per step of data that a fit did not see; NaN unless that is the criterion.
        criterion: by which `best` was chosen.
        models: the fitted models.
    """

    states: np.ndarray
    log_prob: np.ndarray
    n_parameters: np.ndarray
    aic: np.ndarray
    bic: np.ndarray
    icl: np.ndarray
    held_out: np.ndarray
    criterion: str
    models: tuple[HMM, ...]

    @property
    def best(self) -> HMM:
        """The model that the criterion prefers."""
        if self.criterion == "held-out":
            return self.models[int(np.argmax(self.held_out))]
        return self.models[int(np.argmin(getattr(self, self.criterion)))]

    def to_frame(self) -> pd.DataFrame:
        """One row for each number of states."""
        import pandas as pd

        names = ("states", "log_prob", "n_parameters", "aic", "bic", "icl", "held_out")
        return pd.DataFrame({name: getattr(self, name) for name in names})

    def plot(self) -> Figure:
        """The criteria by the number of states."""
        figure, axes = new_figure(1)
        for name in ("aic", "bic", "icl"):
            axes[0].plot(self.states, getattr(self, name), marker="o", label=name.upper())
        axes[0].set_xlabel("states")
        axes[0].legend()
        return figure


def select_states(
    data: Any, states: Iterable[int] = range(1, 7), criterion: str = "bic", seed: int | None = 0, **options: Any
) -> StateSelection:
    """Fit an `HMM` for each number of states.

    Args:
        data: sequences.
        states: numbers of states.
        criterion: 'bic', 'aic', 'icl', or 'held-out': nats per step on the last fifth of every sequence given its first four
            fifths, for a model that was fitted to those alone.
        seed: of the fits.
        options: of the models, such as ``emission="poisson"``.

    Example:
        >>> found = select_states([0.1, -0.2, 0.3, 5.1, 4.9, 5.2, 0.2, -0.1, 5.0, 5.3], states=(1, 2))
        >>> len(found.best.means)
        2
    """
    criterion = checks.Choice(CRITERIA).check("criterion", criterion)
    sizes = [
        checks.Integer(1, 10_000).check("states", size)
        for size in checks.listed("states", states, "numbers of states such as (1, 2, 3)")
    ]
    if not sizes:
        raise InputError("`states` is empty; pass numbers of states such as range(1, 7)")
    seqs = as_sequences(data)
    models = tuple(HMM(states=size, **options).fit(seqs, seed=seed) for size in sizes)
    held_out = [_held_out(seqs, size, seed, options) if criterion == "held-out" else np.nan for size in sizes]
    bic = np.array([model.bic for model in models])
    return StateSelection(
        np.array(sizes),
        np.array([model.fit_result.log_prob for model in models if model.fit_result is not None]),
        np.array([model.n_parameters for model in models]),
        np.array([model.aic for model in models]),
        bic,
        bic + 2 * np.array([_entropy(model, seqs) for model in models]),
        np.array(held_out),
        criterion,
        models,
    )


def _entropy(model: HMM, seqs: Any) -> float:
    """−Σ g log g over the steps' state probabilities."""
    g = model.smooth(seqs).probs
    return float(-np.where(g > 0, g * np.log(np.where(g > 0, g, 1.0)), 0.0).sum())


def _held_out(seqs: Any, size: int, seed: int | None, options: dict[str, Any]) -> float:
    first = np.concatenate([np.arange(length) < max(1, int(0.8 * length)) for length in seqs.lengths])
    values = seqs.values.copy()
    values[~first] = np.nan
    early = replace(seqs, values=values)
    model = HMM(states=size, **options).fit(early, seed=seed)
    later = (~first & ~np.isnan(seqs.values).all(axis=1)).sum()
    if not later:
        raise InputError("`criterion` is 'held-out' but the sequences are too short to hold anything out; pass 'bic'")
    return float((model.log_prob(seqs).sum() - model.log_prob(early).sum()) / later)
