"""From the words of a `StateSpace` to the letters of its system: what is given, checked, and put in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.inference.system import AXES, System
from statewise.inference.varying import Clock, Continuous, Steps
from statewise.sequences.calendar import future_times
from statewise.sequences.sequences import Sequences

TIME_UNITS = {"second": "s", "minute": "m", "hour": "h", "day": "D", "week": "W"}
LETTERS = {
    "transition": "A",
    "observation": "C",
    "state_noise": "Q",
    "observation_noise": "R",
    "noise_cross": "S",
    "state_intercept": "b",
    "observation_intercept": "d",
    "input_to_state": "B",
    "input_to_observation": "D",
    "initial_mean": "m0",
    "initial_cov": "P0",
}
_AXES = {name: AXES[letter] for name, letter in LETTERS.items() if letter in AXES}


def in_time(name: str, value: Any) -> bool:
    """Whether a matrix has a time axis."""
    return value is not None and name in _AXES and value.ndim > _AXES[name]


def clock(given: dict[str, Any]) -> Clock:
    """How the matrices act on the rows."""
    lengths = {name: len(given[name]) for name in _AXES if in_time(name, given[name])}
    if len(set(lengths.values())) > 1:
        raise InputError(f"the time axes differ in length, {lengths}; pass matrices for the same number of steps")
    if given["time"] == "discrete":
        return Steps() if lengths else Clock()
    if lengths:
        raise InputError(
            f"`{next(iter(lengths))}` has a time axis and time is 'continuous'; pass matrices that do not change"
        )
    if given["noise_cross"] is not None and given["noise_cross"].any():
        raise InputError(
            "`noise_cross` is given and time is 'continuous', where noises have no step in common; leave it out"
        )
    return Continuous(TIME_UNITS[given["time_unit"]])


def checked_system(given: dict[str, Any], at: Clock) -> System:
    """The system of what is given, in letters.

    Raises:
        InputError: a shape does not match, a covariance is not positive semi-definite, or the start asked for does not exist.
    """
    A, C = given["transition"], given["observation"]
    n, p = A.shape[-1], C.shape[-2]
    if A.shape[-2:] != (n, n):
        raise InputError(f"`transition` has shape {A.shape}; pass a square matrix")
    if C.shape[-2:] != (p, n):
        raise InputError(
            f"`observation` has shape {C.shape}; pass shape ({p}, {n}): a column for each of the {n} states"
        )
    Q, R = (
        _covariances("state_noise", given["state_noise"], n),
        _covariances("observation_noise", given["observation_noise"], p),
    )
    S = _or_zeros("noise_cross", given, (n, p))
    b, d = _or_zeros("state_intercept", given, (n,)), _or_zeros("observation_intercept", given, (p,))
    B, D = _input_weights(given, n, p)
    sys = System(A, C, Q, R, S, b, d, B, D, np.zeros(n), np.zeros((n, n)), np.zeros((n, n)), form=given["form"])
    if S.any():
        _check_joint(Q, R, S)
    return _with_start(sys, given, at)


def _check_joint(Q: np.ndarray, R: np.ndarray, S: np.ndarray) -> None:
    count = max(len(part) if part.ndim == 3 else 1 for part in (Q, R, S))
    for t in range(count):
        q, r, s = (part[t] if part.ndim == 3 else part for part in (Q, R, S))
        checks.covariance("noise_cross (joint covariance of w and v)", np.block([[q, s], [s.T, r]]), len(q) + len(r))


def _covariances(name: str, value: np.ndarray, size: int) -> np.ndarray:
    if value.ndim == 2:
        return checks.covariance(name, value, size)
    return np.stack([checks.covariance(f"{name}[{t}]", each, size) for t, each in enumerate(value)])


def _input_weights(given: dict[str, Any], n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    B, D = given["input_to_state"], given["input_to_observation"]
    u = B.shape[-1] if B is not None else D.shape[-1] if D is not None else 0
    return _or_zeros("input_to_state", given, (n, u)), _or_zeros("input_to_observation", given, (p, u))


def _or_zeros(name: str, given: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    value = given[name]
    if value is None:
        return np.zeros(shape)
    return checks.array(name, value, (len(value), *shape) if in_time(name, value) else shape)


def _with_start(sys: System, given: dict[str, Any], at: Clock) -> System:
    n, initial, mean, cov = sys.n, given["initial"], given["initial_mean"], given["initial_cov"]
    if initial == "known" or (initial in (None, "estimated") and mean is not None):
        if mean is None or cov is None:
            raise InputError(
                "a known start needs both `initial_mean` and `initial_cov`; pass both, or initial='stationary' or 'diffuse'"
            )
        return replace(sys, m0=checks.array("initial_mean", mean, (n,)), P0=checks.covariance("initial_cov", cov, n))
    if initial != "diffuse":
        start = at.stationary_start(sys)
        if start is not None:
            return replace(sys, m0=start[0], P0=start[1])
        if initial == "stationary":
            raise InputError(
                f"`initial` is 'stationary' but {_why_none(sys, at)}; pass initial='diffuse' or a known start"
            )
        if initial == "estimated":
            raise InputError(
                "`initial` is 'estimated' but `transition` has no stationary law to begin with; pass `initial_mean` and `initial_cov`"
            )
    m0 = np.zeros(n) if mean is None else checks.array("initial_mean", mean, (n,))
    P0 = np.zeros((n, n)) if cov is None else checks.covariance("initial_cov", cov, n)
    return replace(sys, m0=m0, P0=P0, Pinf=np.diag((P0.diagonal() == 0).astype(float)))


def _why_none(sys: System, at: Clock) -> str:
    if isinstance(at, Steps):
        return "the matrices change with the step, so that there is no stationary law"
    roots = np.linalg.eigvals(sys.A)
    if isinstance(at, Continuous):
        return f"`transition` has an eigenvalue with real part {roots.real.max():.6g}, so there is no stationary law"
    return f"`transition` has spectral radius {np.abs(roots).max():.6g}, so there is no stationary law"


def with_future(seqs: Sequences, steps: int, inputs: np.ndarray | None) -> Sequences:
    """The sequences with `steps` missing rows more, at the times that follow and with the inputs (N, steps, u) of the future."""

    def longer(rows: np.ndarray, more: np.ndarray) -> np.ndarray:
        parts = np.split(rows, seqs.offsets[1:-1])
        return np.concatenate([each for i, part in enumerate(parts) for each in (part, more[i])])

    values = longer(seqs.values, np.full((len(seqs), steps, seqs.dim), np.nan))
    ahead = future_times(seqs, steps)
    if seqs.times is not None and ahead is None:
        raise InputError(
            "the times of the forecast are unknown, for every sequence has one dated row; pass a sequence of two rows or more"
        )
    times = None if seqs.times is None or ahead is None else longer(seqs.times, ahead)
    future = None if seqs.inputs is None or inputs is None else longer(seqs.inputs, inputs)
    return Sequences(values, seqs.lengths + steps, future, times, ids=seqs.ids, columns=seqs.columns)
