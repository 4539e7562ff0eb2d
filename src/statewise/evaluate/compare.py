"""`compare`: a rolling-origin backtest of several models in one unit."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, NotFittedError, StatewiseError
from statewise._core.progress import progress
from statewise.evaluate import metrics
from statewise.evaluate.backtest import WindowResult, run_window
from statewise.evaluate.verdict import verdict
from statewise.models.base import Density, Trainable
from statewise.models.naive import Naive
from statewise.results.comparison import Comparison, Score, WindowForecast
from statewise.results.fit import Memory
from statewise.sequences.build import as_sequences
from statewise.sequences.calendar import missing_steps
from statewise.sequences.sequences import Sequences
from statewise.sequences.split import Window, rolling


def compare(
    models: Density | Sequence[Density] | Mapping[str, Density],
    data: Any,
    horizon: int = 12,
    windows: int = 5,
    *,
    stride: int | None = None,
    season: int | None = None,
    refit: bool = True,
    level: Any = (80, 95),
    seed: int | None = 0,
    fit_options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Comparison:
    """Score models on the same windows in the same unit, each refitted at every origin without a look at the future.

    Args:
        models: models to compare, or a mapping of names to models. Those given are not changed: clones are fitted.
        data: sequences.
        horizon: steps ahead in each window.
        windows: origins; the last window ends at the last step.
        stride: steps between origins; default `horizon`, so that windows do not overlap.
        season: steps in a season for the seasonal naive forecast and MASE; default the sequences' own, else 1.
        refit: False uses the models as they are. They may have seen the windows' future, and the result says so.
        level: interval levels in per cent.
        seed: passed to every fit that takes one.
        fit_options: kind or name of a model -> options of its `fit`, such as ``{"recurrent": {"epochs": 50}}``.

    Returns:
        A `Comparison`: log score per step (nats), CRPS, RMSE, MASE, coverage, fit seconds and parameters of each model and of the
        naive and seasonal naive forecasts, best first, with a sentence that says which to use.

    Raises:
        InputError: there are too few steps for the windows, or an argument is wrong. A model that fails is listed with its reason.

    Example:
        >>> table = compare([VARMA(p=2), Structural(level=True)], sw.datasets.load("nile"), horizon=5, windows=3)
        >>> table.best.log_score  # doctest: +SKIP
    """
    seqs = as_sequences(data)
    horizon = checks.Integer(1).check("horizon", horizon)
    levels = checks.levels(level)
    if season is None:
        season = seqs.season
    period = 1 if season is None else checks.Integer(1).check("season", season)
    named = _named(models, refit)
    fit_options = _judged_options(fit_options or {}, named)
    seed = checks.Optional(checks.Integer()).check("seed", seed)
    cuts = rolling(seqs, horizon, windows, stride)
    baselines: dict[str, Density] = {"Naive": Naive(), f"SeasonalNaive({period})": Naive(period)}
    baselines = {name: model for name, model in baselines.items() if name not in named}
    options = {"seed": seed}
    scores, forecasts, notes = [], {}, _notes(seqs, season, refit)
    with progress("comparing", len(cuts) * (len(named) + len(baselines))) as advance:
        for name, model in (named | baselines).items():
            own = {**options, **_options_for(name, model, fit_options)}
            is_baseline = name in baselines
            done: list[WindowResult] = []
            failure, again = None, refit or is_baseline
            reading = None
            for cut in cuts:
                advance(0, f"{name}, window {cut.index + 1} of {len(cuts)}")
                try:
                    if not again and reading is None:
                        reading = model.reading(seqs)
                    done.append(run_window(model, seqs, cut, horizon, levels, again, own, reading))
                except StatewiseError as error:
                    failure = f"window {cut.index + 1}: {error}"
                advance()
                if failure:
                    break
            if failure:
                scores.append(_failed(name, model, is_baseline, failure, levels))
                notes.append(f"{name} could not be scored: {failure}")
            else:
                scores.append(_score(name, done, cuts, period, levels, is_baseline))
                forecasts[name] = tuple(result.forecast for result in done)
    ordered = _ranked(scores, forecasts, horizon)
    return Comparison(
        tuple(ordered), forecasts, horizon, len(cuts), period, seqs.columns, verdict(ordered, horizon), tuple(notes)
    )


def _named(models: Any, refit: bool) -> dict[str, Density]:
    if isinstance(models, Mapping):
        pairs = list(models.items())
    else:
        pairs = [(None, model) for model in (models if isinstance(models, Sequence) else [models])]
    named: dict[str, Density] = {}
    for given, model in pairs:
        if not isinstance(model, Density):
            raise InputError(
                f"`models` holds {checks.shown(model)}; pass models that give a density, such as VARMA or HMM"
            )
        if refit and not isinstance(model, Trainable):
            raise InputError(
                f"{model.name} has no `fit`; compare it with refit=False, or pass a model that can be fitted"
            )
        if not refit and not model.is_fitted:
            raise NotFittedError(f"{model.name} is not fitted and refit=False; fit it first, or leave refit=True")
        name = given or model.name
        copies = 2
        while name in named:
            name = f"{given or model.name} #{copies}"
            copies += 1
        named[name] = model
    return named


def _options_for(name: str, model: Density, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {**given.get(model.kind, {}), **given.get(name, {})}


def _judged_options(
    given: Mapping[str, Mapping[str, Any]], named: Mapping[str, Density]
) -> Mapping[str, Mapping[str, Any]]:
    """Refuse options for models that are not there, and options that their `fit` does not know."""
    for key, options in given.items():
        models = [model for name, model in named.items() if key in (name, model.kind)]
        if not models:
            words = sorted({*named, *(model.kind for model in named.values())})
            raise InputError(f"`fit_options` names {key!r}, which is none of the models: {', '.join(words)}")
        for model in models:
            known = [] if not isinstance(model, Trainable) else list(inspect.signature(model.fit).parameters)[1:]
            for option in options:
                if option not in known:
                    raise InputError(
                        f"`fit_options` gives {key!r} the option {option!r}; its fit knows {', '.join(known)}"
                    )
    return given


def _notes(seqs: Sequences, season: int | None, refit: bool) -> list[str]:
    notes = []
    gaps = missing_steps(seqs)
    if gaps:
        notes.append(
            f"the times leave out {gaps} steps; rows are taken as equally spaced, so a season loses its phase: put rows with missing values there"
        )
    seen = ~np.isnan(seqs.values)
    spread = np.where(seen, seqs.values, -np.inf).max(axis=0) - np.where(seen, seqs.values, np.inf).min(axis=0)
    if spread.max() > 100 * spread.min() > 0:
        notes.append("CRPS and RMSE average over columns of very different scales; read the log score and MASE instead")
    if season is None:
        notes.append(
            "no season is known, so the seasonal naive forecast is the naive one; pass `season` if there is one"
        )
    if not refit:
        notes.append(
            "refit=False: the models were used as given and may have been fitted to the very steps that they are scored on; their scores "
            "can be too good"
        )
    return notes


def _score(
    name: str, done: list[WindowResult], cuts: list[Window], season: int, levels: tuple[float, ...], is_baseline: bool
) -> Score:
    forecasts = [result.forecast for result in done]
    errors = [f.forecast.mean - f.actual for f in forecasts]
    scaled = []
    for cut, forecast, error in zip(cuts, forecasts, errors, strict=True):
        rows = [cut.past.ids.index(i) for i in forecast.forecast.ids]
        scaled.append(np.abs(error) / metrics.mase_scale(cut.past, season)[rows][:, None, :])
    last = done[-1].model
    return Score(
        name=name,
        kind=last.kind,
        is_baseline=is_baseline,
        log_score=_mean([f.log_score for f in forecasts]),
        crps=_mean([metrics.crps(f.forecast, f.actual) for f in forecasts]),
        rmse=math.sqrt(_mean([error**2 for error in errors])),
        mase=_mean(scaled),
        coverage={
            level: 100 * _mean([metrics.covered(f.forecast, f.actual, level) for f in forecasts]) for level in levels
        },
        fit_seconds=sum(result.fit_seconds for result in done),
        n_parameters=last.n_parameters,
        memory=_memory(last, cuts[-1].past),
    )


def _memory(model: Density, past: Sequences) -> Memory | None:
    try:
        return model.memory(past)
    except StatewiseError:
        return None


def _mean(parts: list[np.ndarray]) -> float:
    values = np.concatenate([part.ravel() for part in parts])
    seen = values[~np.isnan(values)]
    return float(seen.mean()) if seen.size else math.nan


def _failed(name: str, model: Density, is_baseline: bool, failure: str, levels: tuple[float, ...]) -> Score:
    nan = math.nan
    coverage = dict.fromkeys(levels, nan)
    return Score(name, model.kind, is_baseline, nan, nan, nan, nan, coverage, nan, 0, nan, nan, nan, None, failure)


def _ranked(scores: list[Score], forecasts: Mapping[str, tuple[WindowForecast, ...]], horizon: int) -> list[Score]:
    """Best log score first, each with its distance from the best; failures last."""
    scored = sorted(
        (s for s in scores if s.failure is None and not math.isnan(s.log_score)), key=lambda s: -s.log_score
    )
    rest = [s for s in scores if s not in scored]
    if not scored:
        return rest
    best = _series(forecasts[scored[0].name])
    ranked = [scored[0]]
    for score in scored[1:]:
        gaps = best - _series(forecasts[score.name])
        test = metrics.diebold_mariano(gaps[np.isfinite(gaps)], horizon - 1)
        ranked.append(dataclasses.replace(score, difference=test.mean, difference_se=test.se, p_value=test.p_value))
    return ranked + rest


def _series(forecasts: tuple[WindowForecast, ...]) -> np.ndarray:
    """Log scores in time order, added over sequences at each step of each window, in units of the average number of sequences there.

    In these units the mean of the series is the model's log score, whatever the lengths of the sequences.
    """
    seen = [~np.isnan(window.log_score) for window in forecasts]
    counts = np.concatenate([part.sum(axis=0) for part in seen])
    sums = np.concatenate(
        [np.where(part, window.log_score, 0.0).sum(axis=0) for part, window in zip(seen, forecasts, strict=True)]
    )
    there = counts > 0
    return np.where(there, sums / counts[there].mean(), np.nan) if there.any() else np.full(len(sums), np.nan)
