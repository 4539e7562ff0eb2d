"""Where the state would stay, or nearly stay, if the input stood still."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.equilibria import Equilibria, equilibria
from statewise.dissection.panels import Line, Panel, Points
from statewise.dissection.subject import Subject
from statewise.dissection.systems import System
from statewise.dissection.time_constants import decay_times

SOURCE = "Sussillo & Barak 2013; Golub & Sussillo 2018"
_VECTORS = 8


def fixed_points(
    subject: Subject, *, x: Any = None, starts: int | None = None, slow: float = 1e-4, seed: int | None = 0
) -> Diagnostic:
    """States s with F(s, x) = s under a held input x, and slow points, where q = ½‖F(s, x) − s‖² has a small minimum.

    From many states of the trajectories, a little disturbed, and the origin, q is minimised over the whole carried state by
    Levenberg–Marquardt; the points are linearised there.

    Args:
        x: (d,) the input that is held; default the mean of the batch. A site that does not read the batch itself holds its own mean.
        starts: default 64; 12 for states of more than 128 numbers.
        slow: the largest q of a slow point.
        seed: of the choice of starts.

    Returns:
        value: (P, n) the points, exact ones first. Data: `q`, `exact`, `arrived` (starts that ended there), `unstable` (modes outside the
        unit circle), `stable`, `eigenvalues` (P, n) by falling size, `tau` and `frequency` of each (in units of time and its inverse),
        `right` and `left` (P, n, 8) the leading eigenvectors, `x`; and `sites`, the number of points of every site.
    """
    source = SOURCE
    count = None if starts is None else checks.Integer(1).check("starts", starts)
    slow = checks.Real(0.0).check("slow", slow)
    if not all(site.system.steps_anywhere for site in subject.sites):
        return refused("fixed_points", "only Jacobians are known, no step to take", source)
    found = [_of_site(subject, k, x, count, slow, seed) for k in range(len(subject.sites))]
    first, system = found[0], subject.sites[0].system
    data = _linearised(first, subject.dt) | {"x": first.x}
    data["sites"] = {site.title: len(each.states) for site, each in zip(subject.sites, found, strict=True)}
    reason = ""
    if not first.exact.any():
        nearest = f"the slowest has q = {first.q[0]:.2g}" if len(first.q) else f"none has q below {slow:g}"
        reason = f"none of {first.starts} starts ended in a fixed point, {nearest}; pass more starts or another x"
    return Diagnostic(
        "fixed_points",
        first.states,
        None,
        Status.NOT_CONVERGED if reason else Status.CONVERGED,
        reason,
        _meaning(first, data, subject.dt),
        source,
        data,
        (_in_components(system, first, data["stable"]), _on_the_circle(data)),
    )


def _of_site(subject: Subject, k: int, x: Any, starts: int | None, slow: float, seed: int | None) -> Equilibria:
    system = subject.sites[k].system
    reads_batch = system.label.removesuffix(" reverse") == subject.sites[0].system.label
    held = None if x is None or not reads_batch else np.atleast_1d(np.asarray(x, dtype=float))
    size = system.inputs.shape[2]
    if held is not None and (held.shape != (size,) or not np.isfinite(held).all()):
        raise InputError(f"`x` is {checks.shown(x)}; pass the {size} finite numbers of one input")
    key = ("equilibria", k, None if held is None else held.tobytes(), starts, slow, seed)
    found: Equilibria = subject.remembered(key, lambda: equilibria(system, held, starts, slow, seed))
    return found


def remembered_equilibria(subject: Subject, k: int, x: Any, seed: int | None) -> Equilibria:
    """The points of site k, as `fixed_points` finds them by default."""
    return _of_site(subject, k, x, None, 1e-4, seed)


def _linearised(found: Equilibria, dt: float) -> dict[str, Any]:
    """Eigenvalues, time constants, frequencies and eigenvectors of every point."""
    count, n = found.states.shape
    k = min(_VECTORS, n)
    values = np.zeros((count, n), complex)
    right, left = np.zeros((count, n, k), complex), np.zeros((count, n, k), complex)
    for p, J in enumerate(found.jacobians):
        w, vl, vr = linalg.eig(J, left=True, right=True)
        order = np.argsort(-np.abs(w), kind="stable")
        values[p], left[p], right[p] = w[order], vl[:, order[:k]], vr[:, order[:k]]
    sizes = np.abs(values)
    with np.errstate(divide="ignore"):
        tau = decay_times(np.log(sizes), dt)
    unstable = (sizes > 1 + 1e-9).sum(axis=1)
    return {
        "q": found.q,
        "exact": found.exact,
        "arrived": found.arrived,
        "unstable": unstable,
        "stable": found.exact & (sizes < 1 - 1e-9).all(axis=1),
        "eigenvalues": values,
        "tau": tau,
        "frequency": np.abs(np.angle(values)) / (2 * np.pi * dt),
        "right": right,
        "left": left,
    }


def _meaning(found: Equilibria, data: dict[str, Any], dt: float) -> str:
    exact, slow = int(found.exact.sum()), int((~found.exact).sum())
    if not exact + slow:
        return "No fixed or slow point was found: under a held input the state goes on moving."
    stable, unit = int(data["stable"].sum()), "steps" if dt == 1 else "units of time"
    said = f"{exact} fixed point{'' if exact == 1 else 's'}, {stable} stable"
    if slow:
        said += f", and {slow} slow point{'' if slow == 1 else 's'}"
    tau = data["tau"][data["stable"], 0]
    if tau.size:
        said += f"; the slowest mode at a stable one has τ = {tau.max():.3g} {unit}"
    what = (
        "several things can be held at once"
        if stable > 1
        else "one resting state"
        if stable
        else "nothing is held for ever"
    )
    return f"{said}: {what}."


def _in_components(system: System, found: Equilibria, stable: np.ndarray) -> Panel:
    """Trajectories and points in the first two principal components of the states."""
    visited = system.states[:, 1:][system.mask].astype(float)
    centre = visited.mean(axis=0)
    basis = np.linalg.eigh(np.cov((visited - centre).T).reshape(system.size, system.size))[1][:, ::-1][:, :2]
    shown = [(system.states[b, : system.lengths[b] + 1] - centre) @ basis for b in range(min(3, system.batch))]
    second = min(1, basis.shape[1] - 1)
    lines = tuple(Line(each[:, 0], each[:, second], f"sequence {b}") for b, each in enumerate(shown))
    points = (found.states - centre) @ basis
    kinds = (("stable", stable), ("unstable", found.exact & ~stable), ("slow", ~found.exact))
    marks = tuple(Points(points[which, 0], points[which, second], name) for name, which in kinds if which.any())
    return Panel("Fixed points among the trajectories", "first component", "second component", lines + marks)


def _on_the_circle(data: dict[str, Any]) -> Panel:
    turn = np.linspace(0, 2 * np.pi, 181)
    circle = Line(np.cos(turn), np.sin(turn), "unit circle", dashed=True)
    points = tuple(Points(values.real, values.imag, f"point {p}") for p, values in enumerate(data["eigenvalues"][:6]))
    return Panel("Eigenvalues", "real", "imaginary", (circle, *points), square=True)
