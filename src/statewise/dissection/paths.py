"""The gradient's 2^T paths through time, sorted by how often they leave the direct carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise._core import checks
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.panels import Line, Panel, Points
from statewise.dissection.subject import Site, Subject
from statewise.dissection.systems import System

SOURCE = "Veit, Wilber & Belongie 2016 (paths of residual networks); Bengio, Simard & Frasconi 1994"
_RULES = {
    "carry": "a path's order is the number of steps that it takes through weights or gates' slopes instead of the cell's direct carry",
    "identity": "a path's order is the number of steps that it does not take along the identity",
    "diagonal": "a path's order is the number of steps that it does not take along the Jacobian's own diagonal",
}


def paths(subject: Subject, *, lag: int = 64, form: str = "cotangent", direct: str = "carry") -> Diagnostic:
    """‖P_k‖ for k = 0 … K: the gradient K steps back, split by the number k of detours; every J is D + R, of which a path takes one a step.

    ::

        P_k ← P_k D[t] + P_{k−1} R[t],   Σ_k P_k = ∇L J[T] … J[T−K+1],   2^K paths in K² / 2 products

    Args:
        lag: K, steps back from each sequence's last one.
        form: 'cotangent' starts from the loss's gradient at the last step, with vectors; 'matrix' from the identity, with matrices.
        direct: D: 'carry' the cell's own (forget gate, keep gate), 'identity', or 'diagonal' of the Jacobian.

    Returns:
        value: the mean number of detours, Σ k‖P_k‖ / Σ‖P_k‖, over the sequences. Data: `order`, `size` ‖P_k‖ relative to their sum,
        `highway` (the share of k = 0), `cancellation` ‖ΣP_k‖ / Σ‖P_k‖ (1: none), the same by lag (`detours_by_lag`, `highway_by_lag`,
        `cancellation_by_lag`), and the counting rule in words, `rule`.
    """
    lag = checks.Integer(1).check("lag", lag)
    form = checks.Choice(("cotangent", "matrix")).check("form", form)
    direct = checks.Choice(tuple(_RULES)).check("direct", direct)
    sites = [site for site in subject.sites if site.cotangents is not None or form == "matrix"]
    if not sites:
        return refused("paths", "there is no loss to start from; pass form='matrix'", SOURCE)
    site, system = sites[0], sites[0].system.at(np.float64)
    if direct == "carry" and system.pull_direct(0, np.zeros((system.batch, 1, system.size))) is None:
        reason = "which part of its step carries directly is not known; pass direct='identity' or direct='diagonal'"
        return refused("paths", reason, SOURCE)
    lag = min(lag, int(system.lengths.max()) - 1)
    if lag < 1:
        return refused("paths", "there is one step only; pass longer sequences", SOURCE)
    sizes, total = _walk(system, _start(site, system, form), lag, direct)
    data = _told(sizes, total) | {"rule": _RULES[direct], "form": form}
    return Diagnostic(
        "paths",
        float(data["detours_by_lag"][-1]),
        None,
        Status.CONVERGED,
        "",
        _meaning(data, lag),
        SOURCE,
        data,
        _panels(data, lag),
    )


def _start(site: Site, system: System, form: str) -> np.ndarray:
    """(B, r, n) where the paths begin."""
    if form == "matrix":
        return np.broadcast_to(np.eye(system.size), (system.batch, system.size, system.size))
    assert site.cotangents is not None
    last = site.cotangents[np.arange(system.batch), system.lengths - 1]
    return system.spread(last)[:, None].astype(float)


def _walk(system: System, start: np.ndarray, lag: int, direct: str) -> tuple[np.ndarray, np.ndarray]:
    """(B, K + 1, K + 1) ‖P_k‖ at every lag, and (B, K + 1) ‖Σ P_k‖, each lag in a scale of its own; NaN where a sequence is too short."""
    batch, rank, n = start.shape
    sizes, total = np.full((batch, lag + 1, lag + 1), np.nan), np.full((batch, lag + 1), np.nan)
    words = np.zeros((batch, lag + 1, rank, n))
    for t in range(system.steps - 1, max(-1, int(system.lengths.min()) - lag - 2), -1):
        back = system.lengths - 1 - t
        words[back == 0, 0] = start[back == 0]
        here = np.flatnonzero((back >= 0) & (back <= lag))
        sizes[here, back[here]] = _size(words[here])
        total[here, back[here]] = _size(words[here].sum(axis=1))
        used = int(np.clip(back.max(), 0, lag)) + 1
        rows = words[:, :used].reshape(batch, used * rank, n)
        carried = _direct(system, t, rows, direct)
        rest = (system.pull(t, rows) - carried).reshape(batch, used, rank, n)
        words[:, :used] = carried.reshape(batch, used, rank, n)
        words[:, 1 : used + 1] += rest[:, : min(used, lag)]
        largest = np.abs(words).max(axis=(1, 2, 3), keepdims=True)
        words /= np.where(largest > 0, largest, 1.0)
    return sizes, total


def _direct(system: System, t: int, rows: np.ndarray, direct: str) -> np.ndarray:
    if direct == "identity":
        return rows
    if direct == "diagonal":
        return rows * np.diagonal(system.jacobian(t), axis1=1, axis2=2)[:, None]
    found = system.pull_direct(t, rows)
    assert found is not None
    return found


def _size(words: np.ndarray) -> np.ndarray:
    """Norms of rows (…, 1, n), or spectral norms of matrices (…, n, n)."""
    if words.shape[-2] == 1:
        return np.asarray(np.linalg.norm(words[..., 0, :], axis=-1))
    return np.asarray(np.linalg.norm(words, ord=2, axis=(-2, -1)))


def _told(sizes: np.ndarray, total: np.ndarray) -> dict[str, Any]:
    """The means over the sequences that reach so far back and still have a gradient there."""
    sums = sizes.sum(axis=2)
    there = sums > 0  # False for NaN
    safe = np.where(there, sums, 1.0)
    count = np.maximum(there.sum(axis=0), 1)
    shares = np.where(there[..., None], sizes / safe[..., None], 0.0).sum(axis=0) / count[:, None]
    cancellation = np.where(there, total / safe, 0.0).sum(axis=0) / count
    known = there.any(axis=0)
    orders = np.arange(sizes.shape[2])
    return {
        "order": orders,
        "size": shares[-1],
        "highway": float(shares[-1, 0]),
        "cancellation": float(cancellation[-1]),
        "detours_by_lag": np.where(known, shares @ orders, np.nan),
        "highway_by_lag": np.where(known, shares[:, 0], np.nan),
        "cancellation_by_lag": np.where(known, cancellation, np.nan),
    }


def _meaning(data: dict[str, Any], lag: int) -> str:
    detours = data["detours_by_lag"][-1]
    if np.isnan(detours):
        return f"No gradient arrives {lag} steps back on any path."
    return (
        f"{100 * data['highway']:.0f} % of the gradient {lag} steps back comes on the direct carry alone; the mean path takes {detours:.3g} "
        f"detours, and paths cancel to {100 * data['cancellation']:.0f} % of their sum of sizes."
    )


def _panels(data: dict[str, Any], lag: int) -> tuple[Panel, ...]:
    lags = np.arange(lag + 1)
    alone, left = data["highway_by_lag"], data["cancellation_by_lag"]
    return (
        Panel("Gradient by path order", "detours", "share of Σ‖P_k‖", (Points(data["order"], data["size"]),)),
        Panel(
            "Paths by lag",
            "lag, steps",
            "share",
            (Line(lags, alone, "direct carry alone"), Line(lags, left, "‖ΣP‖ / Σ‖P‖")),
        ),
    )
