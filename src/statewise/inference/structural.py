"""The state-space form of structural time-series models (Harvey 1989, ch. 2 and 4; Durbin & Koopman 2012, §3.2 and §3.3).

A column is a sum of components, each a block of states driven by disturbances of one variance σ²; ω_j = 2πj/s, λ = 2π/period:
    level       μ[t+1] = μ[t] + β[t] + ξ[t]
    trend       β[t+1] = φ β[t] + ζ[t], φ = 1 unless damped
    seasonal    γ[t+1] = −γ[t] − … − γ[t−s+2] + ω[t], or a sum of cycles of frequencies ω_1, …, ω_h without damping, all of one variance
    cycle       (ψ, ψ*)[t+1] = ρ [[cos λ, sin λ], [−sin λ, cos λ]] (ψ, ψ*)[t] + (κ, κ*)[t]
    irregular   ε[t], the observation error
Components without a stationary law start exactly diffuse. A damped slope or cycle starts in its stationary law N(0, σ² / (1 − φ²)): a diffuse start
would make the likelihood unbounded as ρ → 0 (Francke, Koopman & de Vos, J. Time Series Analysis 31 (2010), on likelihoods with diffuse starts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from statewise.inference.smoothing import Gradient
from statewise.inference.system import System, system

TREND, RHO, PERIOD = "trend_damping", "cycle_damping", "cycle_period"


@dataclass(frozen=True)
class Form:
    """The components of a column: `trend` (only with a level) and `cycle` are '', 'free' or 'damped'; `harmonics` is 0 for a season in dummy form."""

    level: bool = True
    trend: str = ""
    seasonal: int | None = None
    harmonics: int = 0
    cycle: str = ""

    @property
    def disturbances(self) -> list[str]:
        """Names of the variances: level, trend, seasonal, cycle (as far as they are there), irregular."""
        there = [("level", self.level), ("trend", self.trend), ("seasonal", self.seasonal), ("cycle", self.cycle)]
        return [name for name, present in there if present] + ["irregular"]

    @property
    def dynamics(self) -> list[str]:
        """Names of the parameters of the transition: trend_damping φ, cycle_damping ρ, cycle_period 2π/λ."""
        there = [(TREND, self.trend == "damped"), (RHO, self.cycle == "damped"), (PERIOD, bool(self.cycle))]
        return [name for name, present in there if present]

    @property
    def damping(self) -> dict[str, str]:
        """Component with a stationary law -> the parameter that damps it."""
        return {name: by for name, by in (("trend", TREND), ("cycle", RHO)) if getattr(self, name) == "damped"}

    @property
    def states(self) -> int:
        """States of a column."""
        season = 0 if not self.seasonal else len(_frequencies(self)[1]) if self.harmonics else self.seasonal - 1
        return bool(self.level) + bool(self.trend) + season + 2 * bool(self.cycle)

    @property
    def names(self) -> list[str]:
        """For each state, the component that it is of."""
        season = self.states - bool(self.level) - bool(self.trend) - 2 * bool(self.cycle)
        return (
            ["level"] * self.level
            + ["trend"] * bool(self.trend)
            + ["seasonal"] * season
            + ["cycle"] * 2 * bool(self.cycle)
        )

    @property
    def driven(self) -> np.ndarray:
        """(n,) which states have a disturbance of their own: of a season in dummy form, the first only."""
        names = np.array(self.names)
        driven = np.ones(len(names), np.bool_)
        if self.seasonal and not self.harmonics:
            driven[np.flatnonzero(names == "seasonal")[1:]] = False
        return driven

    @property
    def reading(self) -> dict[str, np.ndarray]:
        """Component -> (n,) what of the state is its value."""
        names = np.array(self.names)
        found: dict[str, np.ndarray] = {}
        for name in self.disturbances[:-1]:
            found[name] = (names == name).astype(float)
            if name == "seasonal" and self.harmonics:
                found[name][names == name] = _frequencies(self)[1]
            elif name in ("seasonal", "cycle"):
                found[name][np.flatnonzero(names == name)[1:]] = 0.0
        return found


def structural_system(
    form: Form,
    variances: Mapping[str, np.ndarray],
    dynamics: Mapping[str, np.ndarray],
    mean: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray | None = None,
) -> System:
    """y[t] = Σ components + mean + D u[t] + ε[t]; block-diagonal over columns, each with the states of `Form.names`.

    Args:
        form: the components.
        variances: disturbance -> (p,) variances.
        dynamics: parameter of the transition -> (p,).
        mean: (p,) a constant, for models without a level.
        weights: (p, u) D.
        start: (p·n,) mean of the first state; of diffuse states it matters only for `sample`, and of others it is to be 0.
    """
    p = len(mean)
    names, driven = form.names, form.driven
    each = [{name: float(value[j]) for name, value in dynamics.items()} for j in range(p)]
    noise = [[variances[name][j] if own else 0.0 for name, own in zip(names, driven, strict=True)] for j in range(p)]
    q = np.array(noise, dtype=float).ravel()
    proper = np.array([name in form.damping for name in names], dtype=bool)
    spread = np.zeros((p, len(names)))
    for name, by in form.damping.items():
        own = np.array(names) == name
        spread[:, own] = (variances[name] / (1.0 - dynamics[by] ** 2))[:, None]
    A = block_diag(*[_transition(form, parameters) for parameters in each])
    C = np.kron(np.eye(p), _loading(form)[None])
    m0 = np.zeros(len(q)) if start is None else start
    Pinf = np.diag(np.tile((~proper).astype(float), p))
    return system(
        A, C, np.diag(q), np.diag(variances["irregular"]), m0, np.diag(spread.ravel()), Pinf=Pinf, d=mean, D=weights
    )


def structural_gradient(
    form: Form, g: Gradient, variances: Mapping[str, float], dynamics: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Gradient of one column's log-likelihood in its variances and in the parameters of its transition, from that in the matrices."""
    names, driven = np.array(form.names), form.driven
    by_variance = {"irregular": float(g.R[0, 0])}
    by_dynamics: dict[str, float] = {}
    for name in form.disturbances[:-1]:
        by_variance[name] = float(g.Q.diagonal()[(names == name) & driven].sum())
    for name, by in form.damping.items():
        factor = dynamics[by]
        left = 1.0 - factor**2
        of_start = float(g.P0.diagonal()[names == name].sum())
        by_variance[name] += of_start / left
        by_dynamics[by] = 2.0 * factor * variances[name] / left**2 * of_start
    if form.trend == "damped":
        at = list(names).index("trend")
        by_dynamics[TREND] += float(g.A[at, at])
    if form.cycle:
        at = list(names).index("cycle")
        block = g.A[at : at + 2, at : at + 2]
        rho, angle = dynamics.get(RHO, 1.0), 2.0 * np.pi / dynamics[PERIOD]
        if form.cycle == "damped":
            by_dynamics[RHO] += float((block * _rotation(angle)).sum())
        turned = float(
            (block * _rotation(angle + 0.5 * np.pi)).sum()
        )  # d/dλ of a rotation is the rotation a quarter turn on
        by_dynamics[PERIOD] = -rho * turned * angle / dynamics[PERIOD]
    return by_variance, by_dynamics


def component_moments(
    form: Form, columns: int, mean: np.ndarray, cov: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Means and variances (rows, p) of each component, and of 'signal', their sum in y, from those of the state."""
    n = form.states
    found = {}
    for name, reading in (form.reading | {"signal": _loading(form)}).items():
        own = [slice(j * n, (j + 1) * n) for j in range(columns)]
        value = np.stack([mean[:, at] @ reading for at in own], axis=-1)
        spread = np.stack([np.einsum("i,tij,j->t", reading, cov[:, at, at], reading) for at in own], axis=-1)
        found[name] = (value, np.maximum(spread, 0.0))
    return found


def _loading(form: Form) -> np.ndarray:
    """(n,) the row of C: the sum of the components other than the slope."""
    return np.asarray(sum((row for name, row in form.reading.items() if name != "trend"), np.zeros(form.states)))


def _transition(form: Form, dynamics: Mapping[str, float]) -> np.ndarray:
    blocks: list[Any] = []
    if form.trend:
        blocks.append(np.array([[1.0, 1.0], [0.0, dynamics.get(TREND, 1.0)]]))
    elif form.level:
        blocks.append(np.eye(1))
    if form.seasonal and form.harmonics:
        blocks.append(_frequencies(form)[0])
    elif form.seasonal:
        season = np.eye(form.seasonal - 1, k=-1)
        season[0] = -1.0
        blocks.append(season)
    if form.cycle:
        blocks.append(dynamics.get(RHO, 1.0) * _rotation(2.0 * np.pi / dynamics[PERIOD]))
    return np.asarray(block_diag(*blocks)) if blocks else np.zeros((0, 0))


def _frequencies(form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Transition and loading of a trigonometric season: a rotation for each frequency below ½, and −1 for that of ½."""
    assert form.seasonal is not None
    blocks, loading = [], []
    for j in range(1, form.harmonics + 1):
        if 2 * j == form.seasonal:
            blocks.append(np.array([[-1.0]]))
            loading += [1.0]
        else:
            blocks.append(_rotation(2.0 * np.pi * j / form.seasonal))
            loading += [1.0, 0.0]
    return np.asarray(block_diag(*blocks)), np.array(loading)


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
