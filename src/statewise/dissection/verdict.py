"""The sentences of a summary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.reach import ENOUGH, reach

if TYPE_CHECKING:
    from statewise.dissection.dissection import Dissection

_SHORT = 5.0  # steps


def verdict(d: Dissection) -> str:
    """All that matters in one line: how long the gradient lasts and must last, λ₁, the gap to the classical optimum, what would help."""
    parts = [clause(d) for clause in _CLAUSES]
    text = "; ".join(part for part in parts if part)
    first = text[:1].upper() if text[:1].isascii() else text[:1]  # λ stays small
    return f"{first}{text[1:]}." if text else "Nothing was found out."


def summary(d: Dissection) -> str:
    """The verdict, where the trouble is, what each analysis found so far, and what would help; one a line."""
    lengths = d.subject.lengths
    count = "1 sequence" if len(lengths) == 1 else f"{len(lengths)} sequences"
    lines = [
        f"{d.subject.name}: {count} of {'' if len(set(lengths.tolist())) == 1 else 'up to '}{lengths.max()} steps."
    ]
    lines.append(verdict(d))
    lines += [finding.text for finding in d.findings]
    lines += [f"{each.meaning}{_doubt(each)}" for each in d.computed.values()]
    lines += [f"Suggested: {each}." for each in d.suggestions]
    lines += [f"Note: {note}." for note in d.subject.notes]
    return "\n".join(lines)


def _doubt(each: Diagnostic) -> str:
    return f" ({each.status.value}: {each.reason})" if each.reason and each.status is not Status.REFUSED else ""


def _half_life(d: Dissection) -> str:
    each = d.gradient_half_life
    if each.status is Status.REFUSED:
        return ""
    if np.isinf(each.value):
        return "the gradient does not decay with the lag"
    ends = "" if each.interval is None else f" [{each.interval[0]:.3g}, {each.interval[1]:.3g}]"
    return f"gradient half-life {each.value:.3g} {d.unit}{ends}"


def _needs(d: Dissection) -> str:
    """Whether the gradient reaches as far back as the task needs."""
    far = reach(d.gradient_flow, d.gradient_half_life)
    if d.needs is None or far is None:
        return ""
    left = far.left(d.needs)
    if np.isnan(left):
        return f"your task needs {d.needs:g}"
    said = f"{100 * left:.2g} %" if left >= 1e-4 else f"{left:.1g}"
    return f"your task needs {d.needs:g}, where {said} of the gradient is left" + (
        "" if left >= ENOUGH else ": too little"
    )


def _short_units(d: Dissection) -> str:
    """The share of units whose gate forgets within a few steps, where there are gates and they have been looked at."""
    each = d.computed.get("time_constants")
    if each is None or each.status is Status.REFUSED or "geometric" not in each.data:
        return ""
    tau = np.concatenate([np.ravel(part) for part in each.data["geometric"].values()])
    share = float(np.mean(tau < _SHORT * d.subject.dt))
    return f"{100 * share:.0f} % of units have τ < {_SHORT * d.subject.dt:g}"


def _exponent(d: Dissection) -> str:
    each = d.lyapunov
    top, error = float(each.value[0]), float(each.data["standard_error"][0])
    if not error > 0:
        return f"λ₁ = {top:.3g}, {each.status.value}"
    places = max(0, int(np.ceil(-np.log10(2 * error))))  # as many decimals as the error has
    return f"λ₁ = {top:.{places}f} ± {2 * error:.{places}f}, {each.status.value}"


def _floor(d: Dissection) -> str:
    """How far the network stands from the best linear-Gaussian predictor, once that has been fitted (``d.yardstick``)."""
    each = d.computed.get("yardstick")
    if each is None or each.status is Status.REFUSED:
        return ""
    above = float(each.data.get("above_floor", np.nan))
    if np.isfinite(above):
        return f"{abs(above):.0f} % {'above' if above >= 0 else 'below'} the Kalman floor"
    return f"{abs(float(each.value)):.2g} nats per step {'better' if each.value > 0 else 'worse'} than the Kalman floor"


def _suggested(d: Dissection) -> str:
    return f"suggested: {d.suggestions[0].text}" if d.suggestions else ""


_CLAUSES: tuple[Callable[[Dissection], str], ...] = (_half_life, _needs, _short_units, _exponent, _floor, _suggested)
