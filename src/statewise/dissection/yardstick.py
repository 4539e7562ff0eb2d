"""How far a network stands from the classical models of the same data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import StatewiseError
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.linear_floor import linear_floor
from statewise.dissection.panels import Panel, Points, Rule
from statewise.dissection.subject import Subject
from statewise.models.base import Density
from statewise.models.hmm import HMM
from statewise.models.state_space import StateSpace
from statewise.models.structural import Structural
from statewise.models.varma import VARMA
from statewise.sequences.sequences import Sequences

SOURCE = "theory §9; Diebold & Mariano 1995 for differences of paired losses"
_BLOCKS = 20
_MOST_COLUMNS = 6


def yardstick(subject: Subject, *, rows: int = 3000, targets: Any = None, seed: int | None = 0) -> Diagnostic:
    """The network beside the nearest linear-Gaussian model, a VARMA and a hidden Markov model, fitted to the same sequences.

    ::

        gap = mean over steps of  ln p_network(y[t] | past) − ln p_floor(y[t] | past)

    The floor is the best of the linear-Gaussian models: a state-space model, a VARMA and a local level, whose predictions are Kalman filters. The
    difference is taken step by step, and its standard error over sequences, or blocks of steps where there are few. The classical models
    are judged on the data they were fitted to, with a handful of parameters.

    A bare module has no density. Where it puts out as many numbers as it reads, they are taken as predictions of the next step; with `targets`,
    as those of the targets. It is then compared by squared error with linear regressions on the last inputs, judged on the
    sequences that they were not fitted to.

    Args:
        rows: that the classical models are fitted to, at the end of the sequences; all are judged.
        targets: what a module should put out, in the layout of its output.
        seed: of the starts of the fits.

    Returns:
        value: the gap in nats per step, above 0 where the network is better; for a bare module the per cent of squared error above the floor.
        interval: ± 2 standard errors. Data: `log_prob` per step by name, `gap` and `gap_error` (of each classical model), `floor` (its name),
        `mse` by name and `above_floor` in per cent, where predictions are numbers; `failures`.
    """
    name = "yardstick"
    rows = checks.Integer(50).check("rows", rows)
    seqs = subject.details.get("sequences")
    model = subject.opened
    if isinstance(seqs, Sequences) and isinstance(model, Density) and targets is None:
        return _densities(model, seqs, rows, seed)
    if isinstance(seqs, Sequences):
        return refused(name, f"{subject.name} gives its sequences no density, so there is no number to compare", SOURCE)
    found = linear_floor(subject, targets)
    return refused(name, found, SOURCE) if isinstance(found, str) else _squared(found)


# --- densities ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A model's (rows,) log densities, and (rows, p) squared errors of its one-step means; NaN where nothing was observed."""

    log_prob: np.ndarray
    squared: np.ndarray


def _densities(model: Density, seqs: Sequences, rows: int, seed: int | None) -> Diagnostic:
    own = _judged(model, seqs)
    found, failures = _classical(model, seqs, rows, seed)
    gaussian = [key for key in found if key != "HMM"]
    if not gaussian:
        return refused("yardstick", f"no classical model could be fitted: {'; '.join(failures.values())}", SOURCE)
    seen = np.isfinite(own.log_prob) & (~np.isnan(seqs.values)).any(axis=1)
    for key in found:
        seen &= np.isfinite(found[key].log_prob)
    if seen.sum() < 2:
        return refused("yardstick", "fewer than two steps have a finite density under every model", SOURCE)
    unit = _units(seqs.lengths)
    scores = {key: float(each.log_prob[seen].mean()) for key, each in found.items()}
    gaps = {key: _paired((own.log_prob - each.log_prob)[seen], unit[seen]) for key, each in found.items()}
    floor = max(gaussian, key=lambda key: scores[key])
    gap, error = gaps[floor]
    squares = _mean_squares({model.name: own, **found}, seqs)
    above = 100 * (squares[model.name] / squares[floor] - 1) if squares.get(floor) else np.nan
    data: dict[str, Any] = {
        "log_prob": {model.name: float(own.log_prob[seen].mean()), **scores},
        "gap": {key: each[0] for key, each in gaps.items()},
        "gap_error": {key: each[1] for key, each in gaps.items()},
        "floor": floor,
        "mse": squares,
        "above_floor": float(above),
        "failures": failures,
    }
    doubt = "" if np.isfinite(error) else "there are too few steps for a standard error; pass longer sequences"
    return Diagnostic(
        "yardstick",
        gap,
        (gap - 2 * error, gap + 2 * error),
        Status.NOT_CONVERGED if doubt else Status.CONVERGED,
        doubt,
        _meaning(model.name, floor, gap, error, float(above)),
        SOURCE,
        data,
        (_panel(gaps),),
    )


def _judged(model: Density, seqs: Sequences) -> Judged:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean = model.predict(seqs).mean
        return Judged(np.asarray(model.log_prob(seqs, per_step=True)), (seqs.values - mean) ** 2)


def _classical(
    model: Density, seqs: Sequences, rows: int, seed: int | None
) -> tuple[dict[str, Judged], dict[str, str]]:
    """The classical models that could be fitted, judged on all sequences, and why the others could not."""
    short = _last_rows(seqs, rows)
    states = min(2 * seqs.dim, 8)
    makers: dict[str, Callable[[], Density]] = {
        "state space": lambda: StateSpace.subspace(short, states=states, noise_cross=False).fit(short, max_iter=30),
        "HMM": lambda: HMM(states=4, covariance="full" if seqs.dim > 1 else "diag").fit(
            short, restarts=1, max_iter=60, seed=seed
        ),
    }
    if seqs.dim <= _MOST_COLUMNS:
        p, q = (2, 1) if seqs.dim == 1 else (1, 1) if seqs.dim <= 3 else (1, 0)
        makers["VARMA"] = lambda: VARMA(p=p, q=q).fit(short, max_iter=100, restarts=0, seed=seed)
        makers["local level"] = lambda: Structural(level=True).fit(short, max_iter=100)
    found, failures = {}, {}
    for key, make in makers.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[key] = _judged(make(), seqs)
        except (StatewiseError, np.linalg.LinAlgError, ValueError) as trouble:
            failures[key] = str(trouble)
    return found, failures


def _last_rows(seqs: Sequences, rows: int) -> Sequences:
    """At most so many rows: the ends of the sequences, of the last ones where there are many."""
    if seqs.rows <= rows:
        return seqs
    few = seqs[-max(1, rows // 20) :] if len(seqs) > rows // 20 else seqs
    return few.steps(-max(2, rows // len(few)))


def _units(lengths: np.ndarray) -> np.ndarray:
    """(rows,) which sequence, or which block of steps where there are fewer than twenty, a row belongs to."""
    pieces = max(1, -(-_BLOCKS // len(lengths)))
    found, first = [], 0
    for length in lengths.tolist():
        found.append(first + np.arange(length) * pieces // length)
        first += pieces
    return np.concatenate(found)


def _paired(difference: np.ndarray, unit: np.ndarray) -> tuple[float, float]:
    """The mean difference, and its standard error from the sums over units."""
    total = difference.mean()
    _, place = np.unique(unit, return_inverse=True)
    count = int(place.max()) + 1
    if count < 5:
        return float(total), np.nan
    rest = np.bincount(place, difference - total)
    return float(total), float(np.sqrt((rest**2).sum() * count / (count - 1)) / len(difference))


def _mean_squares(found: dict[str, Judged], seqs: Sequences) -> dict[str, float]:
    """Mean squared one-step errors, in units of each column's variance, over what all of them predict."""
    if seqs.symbols is not None:
        return {}
    common = np.all([np.isfinite(each.squared) for each in found.values()], axis=0)
    if not common.any():
        return {}
    variance = np.nanvar(seqs.values, axis=0)
    scale = np.where(variance > 0, variance, 1.0)
    return {key: float((each.squared / scale)[common].mean()) for key, each in found.items()}


def _meaning(name: str, floor: str, gap: float, error: float, above: float) -> str:
    size = f"{abs(gap):.3g} ± {2 * error:.2g} nats per step"
    if abs(gap) <= 2 * error or not np.isfinite(error):
        said = f"{name} predicts as well as the nearest linear-Gaussian model ({floor}): the gap is {gap:.3g} ± {2 * error:.2g} nats per step"
    else:
        said = f"{name} is {size} {'better' if gap > 0 else 'worse'} than the nearest linear-Gaussian model ({floor})"
    if not np.isfinite(above):
        return said + "."
    return f"{said}; its squared error is {abs(above):.3g} % {'above' if above >= 0 else 'below'} the Kalman floor."


def _panel(gaps: dict[str, tuple[float, float]]) -> Panel:
    index = np.arange(1, len(gaps) + 1)
    mean, error = (np.array([each[k] for each in gaps.values()]) for k in range(2))
    points = Points(index, mean, "gap ± 2 SE", 2 * np.nan_to_num(error), tuple(gaps))
    return Panel(
        "Gap to classical models",
        " · ".join(gaps),
        "nats per step, above 0: the network is better",
        (points, Rule(0.0, "y")),
    )


# --- squared errors ------------------------------------------------------------------------------------------------------------


def _squared(found: Any) -> Diagnostic:
    """A bare module beside the linear floor."""
    above, error = found.above
    size = f"{abs(above):.3g} ± {2 * error:.2g} %"
    doubt = "" if np.isfinite(error) else "there are too few sequences for a standard error; pass more"
    return Diagnostic(
        "yardstick",
        above,
        (above - 2 * error, above + 2 * error),
        Status.NOT_CONVERGED if doubt else Status.CONVERGED,
        doubt,
        f"The squared error of {found.what} is {size} {'above' if above >= 0 else 'below'} that of a linear predictor on "
        f"the last {found.lags} inputs.",
        SOURCE,
        {
            "mse": {"network": found.own, "linear": found.floor},
            "above_floor": above,
            "floor": "linear",
            "lags": found.lags,
        },
    )
