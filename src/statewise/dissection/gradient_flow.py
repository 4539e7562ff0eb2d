"""How much of the loss's gradient reaches the states of earlier steps."""

from __future__ import annotations

import numpy as np

from statewise._core import checks
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.panels import Band, Heatmap, Line, Panel
from statewise.dissection.subject import Site, Subject
from statewise.dissection.systems import Precision

SOURCE = "Hochreiter 1991; Pascanu, Mikolov & Bengio 2013, eq. 5"
NO_GRADIENT = "the loss does not change with the states on this batch; pass other data or another loss"
_WINDOW = 256
_LOWEST = 1e-30  # of float32, far below what matters and above where it loses digits


def gradient_flow(subject: Subject, *, window: int = _WINDOW, precision: str = "float32") -> Diagnostic:
    """The gradient-flow matrix G[t, s] = ‖∂L[t]/∂s[s]‖₂ for s ≤ t, and its curve by lag.

    ::

        ∂L[t]/∂s[s] = ∇L[t] J[t] J[t−1] … J[s+1]        I(k) = exp mean over t and sequences of ln (G[t, t−k] / G[t, t])

    One backward pass: V ← V J[t] carries the rows of all later steps at once, and every step adds its own. Of a loss that is one number
    a sequence there is one row, in which the losses of all outputs are gathered on the way back.

    Args:
        window: steps, at the end of the sequences, that are looked at.
        precision: 'float32' or 'float64' of the products.

    Returns:
        value: (W, W) geometric mean over the sequences of G, NaN above the diagonal. Data: `by_sequence` (B, W, W), `lag`, `curve` I(k) with
        `low` and `high` (10 % and 90 % of steps and sequences), `first_step`. For a network of several sites, those of the first with a
        loss; `sites` has the curves of all.
    """
    window = checks.Integer(1).check("window", window)
    kind: Precision = (
        np.float64 if checks.Choice(("float32", "float64")).check("precision", precision) == "float64" else np.float32
    )
    sites = [site for site in subject.sites if site.cotangents is not None]
    if not sites:
        return refused("gradient_flow", "there is no loss to follow back", SOURCE)
    found = [remembered_flow(subject, site, window, kind) for site in sites]
    curves = [lag_curve(G) for G in found]
    G, site = found[0], sites[0]
    curve, low, high = curves[0]
    steps = np.arange(site.system.steps - G.shape[1], site.system.steps)
    mean = _geometric_mean(G)
    lags = np.arange(len(curve))
    reach = int(np.argmax(curve < 0.01)) if (curve < 0.01).any() else None
    exploding = bool(np.nanmax(curve[1:], initial=0.0) > 100.0)
    trouble = _first_not_finite(G, steps)
    if not np.isfinite(curve).any():
        trouble = trouble or NO_GRADIENT
    return Diagnostic(
        "gradient_flow",
        mean,
        None,
        Status.NOT_CONVERGED if trouble else Status.CONVERGED,
        trouble,
        "No gradient of the loss arrives at the states."
        if trouble == NO_GRADIENT
        else _meaning(curve, reach, exploding),
        SOURCE,
        {
            "by_sequence": G,
            "lag": lags,
            "curve": curve,
            "low": low,
            "high": high,
            "first_step": int(steps[0]),
            "sites": {site.title: own for site, (own, _, _) in zip(sites, curves, strict=True)},
        },
        (
            Panel(
                "Gradient flow",
                "state at step s",
                "loss of step t",
                (Heatmap(steps, steps, _log10(mean), "log₁₀ ‖∂L[t]/∂s[s]‖"),),
            ),
            Panel(
                "Gradient by lag",
                "lag, steps",
                "‖∂L[t]/∂s[t−k]‖ relative to lag 0",
                (Band(lags, low, high, "10 to 90 % of steps"), Line(lags, curve, "geometric mean")),
                y_log=True,
            ),
        ),
    )


def remembered_flow(subject: Subject, site: Site, window: int, kind: Precision) -> np.ndarray:
    """`site_flow`, computed once for a subject."""
    found: np.ndarray = subject.remembered(("flow", id(site), window, kind), lambda: site_flow(site, window, kind))
    return found


def site_flow(site: Site, window: int, kind: Precision) -> np.ndarray:
    """(B, W, W) G over the last W steps of the longest sequence; NaN where s > t or t is not one of the sequence's steps."""
    assert site.cotangents is not None
    system = site.system.at(kind)
    steps = system.steps
    first = max(0, steps - window)
    width = steps - first
    G = np.full((system.batch, width, width), np.nan)
    own = system.spread(np.where(system.mask[:, :, None], site.cotangents, 0.0).astype(kind))
    rows = np.zeros((system.batch, width, system.size), kind)
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow stands in the matrix and is said
        for t in range(steps - 1, first - 1, -1):
            k = t - first
            if site.whole:
                rows[:, -1] += own[:, t]
            else:
                rows[:, k] = own[:, t]
            active = slice(width - 1, width) if site.whole else slice(k, width)
            norms = np.sqrt(np.einsum("brn,brn->br", rows[:, active], rows[:, active], dtype=np.float64))
            G[:, active, k] = norms
            if t > first:
                rows[:, active] = system.pull(t, rows[:, active])
    if site.whole:
        return _ending_together(G, system.lengths - first)
    beyond = ~system.mask[:, first:]
    G[np.broadcast_to(beyond[:, :, None], G.shape)] = np.nan
    G[np.broadcast_to(beyond[:, None, :], G.shape)] = np.nan
    return G


def _ending_together(G: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The one row of each sequence moved so that its last step is the matrix's last; `lengths` within the window."""
    width = G.shape[1]
    moved = np.full_like(G, np.nan)
    for b, length in enumerate(lengths):
        own = max(int(length), 0)
        moved[b, -1, width - own :] = G[b, -1, :own]
    return moved


def lag_curve(G: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(W,) the geometric mean of G[t, t−k] / G[t, t] over steps and sequences, and its 10 % and 90 % quantiles; G is (B, W, W)."""
    ratios = relative_logs(G)
    curve, low, high = (np.full(G.shape[1], np.nan) for _ in range(3))
    for k, logs in enumerate(ratios):
        if logs.size:
            curve[k], ordered = np.exp(np.mean(logs)), np.sort(logs)
            low[k], high[k] = (np.exp(_between(ordered, share)) for share in (0.1, 0.9))
    return curve, low, high


def _between(ordered: np.ndarray, share: float) -> float:
    """The quantile of sorted numbers, as np.quantile gives it at ten times the cost."""
    place = share * (len(ordered) - 1)
    i = int(place)
    after = ordered[min(i + 1, len(ordered) - 1)]
    return float(ordered[i] + (place - i) * (after - ordered[i]))


def relative_logs(G: np.ndarray) -> list[np.ndarray]:
    """For each lag the ln (G[t, t−k] / G[t, t]) of all steps and sequences that have one; −inf where nothing arrives."""
    start = np.diagonal(G, axis1=1, axis2=2)
    found = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for k in range(G.shape[1]):
            ratio = np.diagonal(G, -k, axis1=1, axis2=2) / start[:, k:]
            found.append(np.log(np.maximum(ratio[np.isfinite(ratio)], _LOWEST)))
    return found


def _geometric_mean(G: np.ndarray) -> np.ndarray:
    """(W, W) over the sequences that have the entry; what never arrives counts as the smallest number."""
    logs = np.log(np.maximum(G, _LOWEST))
    there = ~np.isnan(G)
    count = there.sum(axis=0)
    mean = np.where(there, logs, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where(count > 0, np.exp(mean), np.nan)


def _log10(G: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(G > 0, np.log10(G), np.nan)


def _first_not_finite(G: np.ndarray, steps: np.ndarray) -> str:
    overflowed = np.isinf(G)
    if not overflowed.any():
        return ""
    _, t, s = np.argwhere(overflowed)[-1]
    return f"the gradient of step {steps[t]} overflows on the way back at step {steps[s]}; clip gradients or start from smaller weights"


def _meaning(curve: np.ndarray, reach: int | None, exploding: bool) -> str:
    if exploding:
        k = int(np.nanargmax(curve))
        return f"Gradients explode: {curve[k]:.3g} times as large {k} steps back as where they start."
    if reach is None:
        return f"Gradients reach back over all {len(curve)} steps: {curve[-1]:.2g} of them is left at the first."
    return f"One per cent of the gradient is left {reach} steps back."
