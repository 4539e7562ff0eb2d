"""Numbers, times and names as text, and values as JSON."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

MINUS = "\N{MINUS SIGN}"
ABSENT = "\N{EN DASH}"
NO_BREAK = "\N{NO-BREAK SPACE}"


def number(value: float, digits: int = 4) -> str:
    """`digits` significant figures in plain notation where that is short; an en dash for NaN."""
    if math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 9:
        return f"{value:.{digits - 1}e}"
    return fixed(value, max(digits - 1 - size, 0))


def fixed(value: float, decimals: int) -> str:
    """A fixed number of decimals, without a sign on zero; an en dash for NaN."""
    if not math.isfinite(value):
        return number(value)
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def decimals(values: np.ndarray, digits: int = 4) -> int:
    """Decimals that show the spread of `values` with `digits` significant figures, 0 to 9."""
    finite = values[np.isfinite(values)]
    spread = float(np.ptp(finite)) if finite.size else 0.0
    spread = spread or (float(np.abs(finite).max()) if finite.size else 0.0) or 1.0
    return int(np.clip(digits - 1 - math.floor(math.log10(spread)), 0, 9))


def percent(value: float) -> str:
    """A percentage with one decimal, the sign left to the heading."""
    return fixed(value, 1)


def p_value(p: float) -> str:
    """'p = 0.023', or 'p < 0.001'; 'p unknown' for NaN."""
    if math.isnan(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def count(amount: int, singular: str, plural: str | None = None) -> str:
    """'1 step', '1,234 steps'."""
    return f"{amount:,} {singular if amount == 1 else plural or singular + 's'}"


def typographic(text: str) -> str:
    """Text with true minus signs before its numbers, which screen readers speak, and no break before a per cent sign.

    Hyphens and dates stay as they are.
    """
    return re.sub(r"(?<![\w.])-(?=[\d∞])", MINUS, text).replace(" %", NO_BREAK + "%")


def moment(time: Any) -> str:
    """A time as text: ISO 8601, the date alone at midnight; a number as short as it can be."""
    if isinstance(time, np.datetime64):
        seconds = time.astype("datetime64[s]")
        return str(seconds if seconds == time else time).removesuffix("T00:00:00")
    return f"{float(time):.10g}"


def unit(times: np.ndarray) -> str:
    """The coarsest of Y, M, D, s, us in which all of `times` can be written without loss."""
    units = ("Y", "M", "D", "s")
    return next((each for each in units if np.all(times.astype(f"datetime64[{each}]") == times)), "us")


def plain(value: Any) -> Any:
    """`value` in JSON's own types: NaN and infinities become null, arrays lists, times and other objects text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else moment(value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
