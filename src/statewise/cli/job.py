"""The main job as a function: compare, refit the winner on everything, state the exact bridge, write the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statewise._core import checks
from statewise._core.errors import InputError, StatewiseError, UnsupportedError
from statewise._core.outcome import Outcome
from statewise._core.progress import progress
from statewise.cli.folders import choose, run_name
from statewise.conversion.graph import convert
from statewise.evaluate.backtest import fit_clone
from statewise.evaluate.candidates import candidates
from statewise.evaluate.compare import compare
from statewise.models.base import Density, Trainable
from statewise.models.naive import Naive
from statewise.report.run_folder import write_fit, write_run
from statewise.sequences.build import as_sequences
from statewise.sequences.split import rolling

if TYPE_CHECKING:
    from statewise.results.comparison import Comparison, Score
    from statewise.results.fit import Memory
    from statewise.sequences.sequences import Sequences as Data

_UNUSABLE = (Outcome.NOT_FINITE, Outcome.NOT_POSITIVE_DEFINITE, Outcome.IMPOSSIBLE)


@dataclass(frozen=True)
class Bridge:
    """A VARMA and the linear RNN that it is: their log-likelihoods of the same sequences, in nats.

    Attributes:
        name: the VARMA's name.
        log_prob: by the VARMA's Kalman filter.
        rnn_log_prob: by the recurrent network.
    """

    name: str
    log_prob: float
    rnn_log_prob: float

    @property
    def difference(self) -> float:
        """|log_prob − rnn_log_prob|; rounding error if the bridge is exact."""
        return abs(self.log_prob - self.rnn_log_prob)

    def __str__(self) -> str:
        from statewise.report.numbers import typographic

        kalman, rnn = typographic(f"{self.log_prob:.6f}"), typographic(f"{self.rnn_log_prob:.6f}")
        return f"{self.name} as a linear RNN: log-likelihood {kalman} = {rnn} (difference {self.difference:.1g})"


@dataclass(frozen=True)
class JobResult:
    """What the main job found and wrote.

    Attributes:
        folder: the run folder.
        comparison: the table, the verdict and the notes.
        model: the winner, refitted to all the data.
        memories: the winner's memory after the refit, and every other model's at the last origin, by name in the
            order of the table.
        bridge: the best VARMA as a linear RNN, or None where there is none.
        notes: what a careful reader should know beyond the comparison's own notes.
    """

    folder: Path
    comparison: Comparison
    model: Density
    memories: dict[str, Memory]
    bridge: Bridge | None
    notes: tuple[str, ...] = ()


def run_compare(
    data: Any,
    *,
    title: str = "sequences",
    folder: str | Path | None = None,
    overwrite: bool = False,
    models: Sequence[str] | None = None,
    season: int | None = None,
    horizon: int = 12,
    windows: int = 5,
    level: Any = (80, 95),
    seed: int | None = 0,
) -> JobResult:
    """Backtest the candidates, refit the best one on all the data and write a run with model, forecasts and report.

    Args:
        data: sequences, or anything that `as_sequences` takes.
        title: a short name of the data, for the report.
        folder: where the run goes; default ``runs/<title>``. If it is taken, the next of <folder>-2, <folder>-3, … is.
        overwrite: replace the run that is there instead.
        models: names of candidates ('varma', 'structural', 'arima', 'hmm', 'gru', 'lstm', 'rnn'); default those that suit.
        season: steps in a season; default the sequences' own.
        horizon: steps ahead in each window, and in the forecast that is written.
        windows: origins of the backtest.
        level: interval levels in per cent.
        seed: makes random starts reproducible.

    Returns:
        A `JobResult`.

    Raises:
        InputError: an argument is wrong, there are too few steps, or no model could be scored.
        NumericalError: the winner cannot be refitted to all the data.

    Example:
        >>> run_compare(sw.datasets.load("nile"), title="nile", models=["varma"]).model  # doctest: +SKIP
    """
    seqs = as_sequences(data)
    if season is not None:
        seqs = seqs.replace(season=season)
    if seqs.symbols is not None:
        raise UnsupportedError(
            f"{title} holds symbols as codes, whose order means nothing, and the candidates model numbers; pass numbers"
        )
    wanted = Path("runs") / run_name(None, title) if folder is None else Path(folder)
    choose(wanted, overwrite)
    levels = checks.levels(level)
    past = rolling(seqs, horizon, windows)[0].past
    named = {model.name: model for model in candidates(past, names=models)}
    comparison = compare(named, seqs, horizon, windows, level=levels, seed=seed)
    best = comparison.best
    if best.failure is not None:
        raise InputError(f"no model could be scored; {best.name} failed: {best.failure}")
    options = {"seed": seed}
    with progress(f"refitting {best.name} on all the data", 3) as advance:
        winner = fit_clone(_prototype(best, named, comparison.season), seqs, options)
        advance(label="the exact bridge")
        bridge, notes = _bridge(comparison, named, winner, seqs, options)
        advance(label="writing the report")
        said = notes if bridge is None else (f"{bridge}.", *notes)
        run = write_run(
            choose(wanted, overwrite),
            title=title,
            seqs=seqs,
            comparison=comparison,
            model=winner,
            steps=horizon,
            level=levels,
            notes=said,
        )
    return JobResult(run.folder, comparison, winner, _memories(comparison, winner, seqs), bridge, notes)


def run_fit(
    data: Any,
    model: Density,
    *,
    title: str,
    folder: str | Path,
    overwrite: bool = False,
    fit_options: dict[str, Any] | None = None,
) -> Path:
    """Fit `model` in place and write a run of it that `statewise forecast` opens.

    Args:
        data: sequences, or anything that `as_sequences` takes.
        model: a model that can be fitted.
        title: a short name of the data.
        folder: where the run goes. If it is taken, the next of <folder>-2, <folder>-3, … is used.
        overwrite: replace the run that is there instead.
        fit_options: arguments of the model's `fit`.

    Returns:
        The folder of the run.

    Raises:
        NumericalError: the fit ended where nothing can be used; nothing is written.
    """
    seqs = as_sequences(data)
    if not isinstance(model, Trainable):
        raise UnsupportedError(f"{model.name} has no `fit`; choose another model")
    model.fit(seqs, **(fit_options or {}))
    if model.fit_result is not None and model.fit_result.outcome in _UNUSABLE:
        model.fit_result.outcome.check()
    return write_fit(choose(Path(folder), overwrite), title=title, seqs=seqs, model=model)


def _prototype(score: Score, named: dict[str, Density], season: int) -> Density:
    """The unfitted model behind a row of the table."""
    if score.name in named:
        return named[score.name]
    return Naive() if score.name == "Naive" else Naive(season)


def _bridge(
    comparison: Comparison, named: dict[str, Density], winner: Density, seqs: Data, options: dict[str, Any]
) -> tuple[Bridge | None, tuple[str, ...]]:
    """The best VARMA, on all the data, beside the linear RNN that it is; and a note where that cannot be had."""
    varmas = [score for score in comparison.scores if score.kind == "varma" and score.failure is None]
    if not varmas:
        return None, ()
    name = varmas[0].name
    try:
        varma = winner if name == comparison.best.name else fit_clone(named[name], seqs, options)
        rnn = convert(varma, to="rnn")
        assert isinstance(rnn, Density)
        return Bridge(name, float(varma.log_prob(seqs).sum()), float(rnn.log_prob(seqs).sum())), ()
    except StatewiseError as error:
        return None, (f"{name} has no linear RNN beside it here: {error}",)


def _memories(comparison: Comparison, winner: Density, seqs: Data) -> dict[str, Memory]:
    """By name: the winner's after its refit, the others' from the last window; models that cannot say are left out."""
    found = {score.name: score.memory for score in comparison.scores}
    try:
        found[comparison.best.name] = winner.memory(seqs)
    except StatewiseError:
        found[comparison.best.name] = comparison.best.memory
    return {name: memory for name, memory in found.items() if memory is not None}
