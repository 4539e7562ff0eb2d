"""Results of a statsmodels state-space model (VARMAX, UnobservedComponents, SARIMAX, …) as a StateSpace.

Both packages write y[t] = Z a[t] + d + e[t], a[t+1] = T a[t] + c + R η[t], with a[1] before y[1] is seen. They differ in two conventions. An
*approximate* diffuse start is a variance of 1e6 there, and the sum of the log-likelihood leaves the first steps out
(`loglikelihood_burn`); here it is taken literally, so that every step has the same density, or made exactly diffuse with start='diffuse'.
An *exact* diffuse start is the same on both sides, constants included.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import UnsupportedError
from statewise.inference.system import system
from statewise.models.state_space import StateSpace

_EXACT = 1e-9  # relative residual of an intercept that the inputs explain


def statsmodels_to_state_space(results: Any, start: str = "given") -> StateSpace:
    """The StateSpace whose log density of each step is that of `results.llf_obs` (exact).

    Args:
        results: of a fit, a filter or a smoother of a model with constant matrices; exogenous variables of the
            observation become inputs.
        start: 'given', or 'diffuse' to make an approximate diffuse start an exact one, which moves the first steps' densities.

    Raises:
        UnsupportedError: the matrices change with the step in a way that is not the inputs' (a trend in time, exogenous variables in the state).
    """
    start = checks.Choice(("given", "diffuse")).check("start", start)
    if not hasattr(results, "filter_results"):
        raise UnsupportedError(
            f"`model` is {type(results).__name__}; of statsmodels the results of a state-space model convert, such as VARMAX(...).fit()"
        )
    found = results.filter_results
    parts = {
        name: np.asarray(getattr(found, name)) for name in ("design", "obs_cov", "transition", "selection", "state_cov")
    }
    for name, part in parts.items():
        if part.shape[-1] > 1 and np.ptp(part, axis=-1).any():
            raise UnsupportedError(f"{name} changes with the step, and only models with constant matrices convert")
    Z, H, T, R, Q = (part[..., 0] for part in parts.values())
    b = _constant("state_intercept", np.asarray(found.state_intercept))
    exog = getattr(results.model, "exog", None)
    d, D = _offset(np.asarray(found.obs_intercept), exog)
    n = len(T)
    P0, Pinf = np.asarray(found.initial_state_cov), np.zeros((n, n))
    if getattr(found, "initial_diffuse_state_cov", None) is not None:
        Pinf = np.asarray(found.initial_diffuse_state_cov)
    if start == "diffuse":
        P0, Pinf = _exactly_diffuse(results, P0, Pinf)
    sys = system(T, Z, R @ Q @ R.T, H, np.asarray(found.initial_state), P0, Pinf=Pinf, b=b, d=d, D=D)
    model = StateSpace.from_system(_contiguous(sys))
    names = results.model.endog_names
    model._schema = (model._schema or {}) | {
        "columns": [names] if isinstance(names, str) else [str(name) for name in names]
    }
    if D.shape[1]:
        model._schema["input_columns"] = [str(name) for name in results.model.exog_names][-D.shape[1] :]
    return model


def _contiguous(sys: Any) -> Any:
    from dataclasses import replace

    return replace(
        sys, **{k: np.ascontiguousarray(v, dtype=np.float64) for k, v in vars(sys).items() if isinstance(v, np.ndarray)}
    )


def _constant(name: str, part: np.ndarray) -> np.ndarray:
    if part.shape[-1] > 1 and np.ptp(part, axis=-1).any():
        raise UnsupportedError(
            f"{name} changes with the step (a trend in time, or exogenous variables that enter the state), and only constant ones convert"
        )
    return part[..., 0]


def _offset(part: np.ndarray, exog: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """d and D of an observation intercept (p, T or 1) that exogenous variables (T, u) explain."""
    width = 0 if exog is None else np.asarray(exog).shape[1]
    if part.shape[-1] == 1 or not np.ptp(part, axis=-1).any():
        return part[..., 0], np.zeros((len(part), width))
    if exog is not None:
        X = np.asarray(exog, dtype=np.float64)[: part.shape[1]]
        weights = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), part.T, rcond=None)[0]
        rest = part.T - X @ weights[:-1] - weights[-1]
        if np.abs(rest).max() <= _EXACT * max(1.0, np.abs(part).max()):
            return weights[-1], weights[:-1].T
    raise UnsupportedError(
        "obs_intercept changes with the step in a way that is not the exogenous variables'; only constant ones convert"
    )


def _exactly_diffuse(results: Any, P0: np.ndarray, Pinf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The states whose variance is the approximate diffuse one, made diffuse."""
    size = float(getattr(results.model, "initial_variance", None) or results.model.ssm.initial_variance)
    wide = np.diag(P0) == size
    P0 = np.where(wide[:, None] | wide, 0.0, P0)
    return P0, Pinf + np.diag(wide.astype(float))
