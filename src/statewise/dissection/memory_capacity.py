"""How many past inputs can be read off the state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise._core import checks
from statewise._core.seed import generator
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.linear_capacity import linear_capacity
from statewise.dissection.panels import Band, Line, Panel, Rule
from statewise.dissection.subject import Site, Subject
from statewise.dissection.systems import System

SOURCE = "Jaeger 2001; Ballarin, Grigoryeva & Ortega 2023 (arXiv 2305.01457)"
_CHAINS = 16  # driven side by side; what they differ by is the standard error
_LEAST, _MOST = 4000, 20_000  # steps in all
_WASHOUT = 100
_COMPONENTS = 8  # of the inputs: the largest ones


def memory_capacity(
    subject: Subject,
    *,
    lags: int | None = None,
    steps: int | None = None,
    threshold: float = 0.1,
    state_noise: float = 0.0,
    seed: int | None = 0,
) -> Diagnostic:
    """Linear memory capacity: MC[k] = R² of the input k steps back from its best linear readout of the state, under independent inputs.

    ::

        MC = Σ over k ≥ 0 of MC[k] ≤ n

    Exact for a recurrence that is linear: the shares of each lag in the row space of [B, A B, A² B, …]. Of others the network is driven by
    the data's own inputs, drawn at random step by step, and R² is that of a regression on one half of the steps for the other. Of several
    inputs it is the sum over their uncorrelated components, of many over the eight largest.

    Args:
        lags: the longest; default twice the numbers carried, from 20 to 200.
        steps: driven, after washing out; default 100 for each number carried, from 4 000 to 20 000.
        threshold: of R², below which an input counts as forgotten.
        state_noise: variance of independent noise on each number of the state, where the capacity is exact.
        seed: of the inputs.

    Returns:
        value: MC. interval: ± 2 standard errors over 16 runs, None where it is exact. Data: `lag`, `capacity` MC[k], `standard_error`,
        `horizon`, the lag from which on MC[k] is below the threshold (times the components), `states` n, `components`, `exact`.
    """
    name = "memory_capacity"
    lags = checks.Optional(checks.Integer(1)).check("lags", lags)
    steps = checks.Optional(checks.Integer(_CHAINS * 20)).check("steps", steps)
    threshold = checks.Real(0.0, 1.0, open_low=True).check("threshold", threshold)
    noise = checks.Real(0.0).check("state_noise", state_noise)
    system = capacity_site(subject).system.at(np.float64)
    if not system.inputs.shape[2]:
        return refused(name, "nothing drives the recurrence, so there is no input to remember", SOURCE)
    longest = int(np.clip(2 * system.size, 20, 200)) if lags is None else lags
    pair = system.linear()
    if pair is not None:
        return _exact(*pair, longest, threshold, noise, system)
    if noise:
        return refused(name, "state_noise is for recurrences that are linear; leave it out", SOURCE)
    found = _driven(system, longest, steps, seed)
    return refused(name, found, SOURCE) if isinstance(found, str) else _empirical(found, system, threshold)


def capacity_site(subject: Subject) -> Site:
    """The first site that runs forwards and has a loss, or the first of all."""
    return next((site for site in subject.sites if site.cotangents is not None), subject.sites[0])


# --- exact --------------------------------------------------------------------------------------------------------------


def _exact(A: np.ndarray, B: np.ndarray, lags: int, threshold: float, noise: float, system: System) -> Diagnostic:
    radius = float(np.abs(np.linalg.eigvals(A)).max(initial=0.0))
    if radius >= 1.0:
        return refused(
            "memory_capacity",
            f"the recurrence is not stable (spectral radius {radius:.3g}), so that its state has no law",
            SOURCE,
        )
    capacity, total = linear_capacity(A, B, lags, noise)
    components = int(np.linalg.matrix_rank(B))
    horizon = _horizon(capacity, threshold * components)
    data = {
        "lag": np.arange(len(capacity)),
        "capacity": capacity,
        "standard_error": np.zeros(len(capacity)),
        "horizon": horizon,
        "states": len(A),
        "components": components,
        "exact": True,
    }
    reason = "" if np.isfinite(horizon) else _short(lags)
    return Diagnostic(
        "memory_capacity",
        total,
        None,
        Status.NOT_CONVERGED if reason else Status.CONVERGED,
        reason,
        _meaning(total, len(A), horizon, threshold),
        SOURCE,
        data,
        _panels(data, threshold * components),
    )


# --- by driving ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """(chains, lags + 1) held-out R² of each run, summed over components, and how many of those there are."""

    scores: np.ndarray
    components: int


def _driven(system: System, lags: int, steps: int | None, seed: int | None) -> Runs | str:
    """Held-out scores of the driven network, or why there are none."""
    rng = generator(seed)
    total = int(np.clip(100 * system.size, _LEAST, _MOST)) if steps is None else steps
    length = total // _CHAINS + lags
    b, t = np.nonzero(system.mask)
    picks = rng.integers(len(b), size=(_WASHOUT + length, _CHAINS))
    pool = system.inputs[b, t]
    if not np.isfinite(pool).all():
        return "the inputs have entries that are not finite"
    targets, components = _whitened(pool)
    given: np.ndarray | None = None
    if not components:  # inputs that never change: independent normal ones around them
        given = pool[0] + rng.standard_normal((*picks.shape, pool.shape[1]))
        components = min(pool.shape[1], _COMPONENTS)
    state = system.states[rng.integers(system.batch, size=_CHAINS), 0]
    states = np.empty((length, _CHAINS, system.size))
    with np.errstate(over="ignore", invalid="ignore"):
        for step, pick in enumerate(picks):
            state = system.step_at(b[pick], t[pick], state, None if given is None else given[step])
            if step >= _WASHOUT:
                states[step - _WASHOUT] = state
    if not np.isfinite(states).all():
        return "the state grows without bound under independent inputs"
    u = targets[picks[_WASHOUT:]] if given is None else (given[_WASHOUT:] - pool[0])[:, :, :components]
    return Runs(_scores(states, u, lags), components)


def _whitened(pool: np.ndarray) -> tuple[np.ndarray, int]:
    """Uncorrelated components (rows, c) of unit variance of inputs (rows, d), eight at most, and how many there are."""
    centred = pool - pool.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(pool))
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    kept[: max(0, len(kept) - _COMPONENTS)] = False
    return centred @ (vectors[:, kept] / np.sqrt(values[kept])), int(kept.sum()) if values[-1] > 0 else 0


def _scores(states: np.ndarray, u: np.ndarray, lags: int) -> np.ndarray:
    """(chains, lags + 1) 1 − squared error / variance, each half of the steps predicted from a regression on the other."""
    rows = np.arange(lags, len(states))
    halves = np.array_split(rows, 2)
    found = np.zeros((states.shape[1], lags + 1))
    regressions = [_Regression(states[half].reshape(-1, states.shape[2])) for half in halves]
    for component in np.moveaxis(u, 2, 0):
        lagged = [
            np.stack([component[half - k] for k in range(lags + 1)], axis=2) for half in halves
        ]  # (rows, chains, lags + 1)
        error, spread = np.zeros((states.shape[1], lags + 1)), np.zeros(lags + 1)
        for learnt, judged in ((0, 1), (1, 0)):
            y = lagged[learnt].reshape(-1, lags + 1)
            level = y.mean(axis=0)
            rest = lagged[judged] - level
            left = rest - regressions[learnt].predicted(y - level, states[halves[judged]])
            error, spread = error + (left**2).sum(axis=0), spread + (rest**2).sum(axis=0).mean(axis=0)
        found += 1.0 - error / spread
    return found


class _Regression:
    """Least squares on x (rows, n) with an intercept; directions that x does not have are left out."""

    def __init__(self, x: np.ndarray) -> None:
        self.centre = x.mean(axis=0)
        self.basis, R = np.linalg.qr(x - self.centre)
        self.U, sizes, self.V = np.linalg.svd(R)
        kept = sizes > 1e-10 * sizes[0] if sizes[0] > 0 else np.zeros(len(sizes), dtype=bool)
        self.inverse = np.where(kept, 1.0 / np.where(kept, sizes, 1.0), 0.0)

    def predicted(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(…, m) for new x (…, n), from centred y (rows, m)."""
        weight = self.V.T @ (self.inverse[:, None] * (self.U.T @ (self.basis.T @ y)))
        found: np.ndarray = (x - self.centre) @ weight
        return found


def _empirical(found: Runs, system: System, threshold: float) -> Diagnostic:
    capacity = found.scores.mean(axis=0)
    error = found.scores.std(axis=0, ddof=1) / np.sqrt(_CHAINS)
    clear = capacity > 2 * error
    last = _last_clear(clear)
    total = float(capacity[: last + 1].sum())
    spread = float(found.scores[:, : last + 1].sum(axis=1).std(ddof=1) / np.sqrt(_CHAINS))
    horizon = _horizon(capacity, threshold * found.components)
    lags = len(capacity) - 1
    data = {
        "lag": np.arange(lags + 1),
        "capacity": capacity,
        "standard_error": error,
        "horizon": horizon,
        "states": system.size,
        "components": found.components,
        "exact": False,
    }
    reason = _short(lags) if last == lags or not np.isfinite(horizon) else ""
    return Diagnostic(
        "memory_capacity",
        total,
        (total - 2 * spread, total + 2 * spread),
        Status.NOT_CONVERGED if reason else Status.CONVERGED,
        reason,
        _meaning(total, system.size, horizon, threshold),
        SOURCE,
        data,
        _panels(data, threshold * found.components),
    )


def _last_clear(clear: np.ndarray) -> int:
    """The last lag before three in a row that are lost in noise; −1 if there is none."""
    for k in range(len(clear) - 2):
        if not clear[k : k + 3].any():
            return k - 1
    return len(clear) - 1


def _horizon(capacity: np.ndarray, threshold: float) -> float:
    """The lag from which on the capacity is below the threshold; infinite where it is not at the last lag."""
    above = np.flatnonzero(capacity >= threshold)
    first = int(above[-1]) + 1 if len(above) else 0
    return float(first) if first < len(capacity) else np.inf


def _short(lags: int) -> str:
    return f"memory reaches beyond lag {lags}; pass a larger `lags`"


def _meaning(total: float, states: int, horizon: float, threshold: float) -> str:
    reach = (
        f"up to lag {horizon - 1:.0f}"
        if 0 < horizon < np.inf
        else "at no lag"
        if horizon == 0
        else "at every lag looked at"
    )
    return f"Linear memory capacity {total:.3g} of at most {states}: an independent input can be read off the state with R² ≥ {threshold:g} {reach}."


def _panels(data: dict[str, object], threshold: float) -> tuple[Panel, ...]:
    lag, capacity, error = (np.asarray(data[key]) for key in ("lag", "capacity", "standard_error"))
    layers = (
        Band(lag, capacity - 2 * error, capacity + 2 * error, "± 2 SE"),
        Line(lag, capacity, "MC[k]"),
        Rule(threshold, "y", "threshold"),
    )
    return (Panel("Memory capacity by lag", "lag, steps", "R² of the input k steps back", layers),)
