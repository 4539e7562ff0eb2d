"""The report of a dissection: every diagnostic with its pictures in one HTML file, or those of two dissections side by side."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise._core.errors import StatewiseError
from statewise._core.files import write_atomically
from statewise.dissection import registry
from statewise.dissection.comparison import Comparison
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.panels import Heatmap, Panel
from statewise.dissection.verdict import verdict
from statewise.report import facts, panels
from statewise.report.dissection_flow import flow_part
from statewise.report.numbers import count, number
from statewise.report.rendering import as_script, render
from statewise.report.twins import Table

if TYPE_CHECKING:
    from statewise.dissection.dissection import Dissection

# The order of the page; an analysis that is not named here comes after them.
_ORDER = (
    "gradient_flow",
    "gradient_half_life",
    "lyapunov",
    "kaplan_yorke",
    "jacobian_products",
    "time_constants",
    "saturation",
    "fixed_points",
    "frequency_response",
    "memory_horizon",
    "memory_capacity",
    "participation_ratio",
    "paths",
    "error_amplification",
    "yardstick",
)
_WIDE_COLUMNS = 40  # of a heat map, from which it takes the whole width
_MOST_VALUES = 100  # of a table


@dataclass
class Part:
    """A section of the page: what it says of each dissection, and rows of panels."""

    key: str
    title: str
    said: list[dict[str, str]]
    rows: list[dict[str, Any]]
    drawn: list[dict[str, Any]]
    choices: list[tuple[str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    first: str = ""


def write_dissection(path: str | os.PathLike[str], d: Dissection, other: Dissection | None = None) -> Path:
    """Write the report of a dissection, or of two side by side, to the HTML file `path` and return its path."""
    return write_atomically(path, dissection_page(d, other))


def dissection_page(d: Dissection, other: Dissection | None = None) -> str:
    """The page as text. What has not been computed yet is."""
    both = [d] if other is None else [d, other]
    letters = [""] if other is None else ["A", "B"]
    found = [{name: _computed(each, name) for name in registry.names()} for each in both]
    parts = [_part(name, letters, [each[name] for each in found], both) for name in _ordered()]
    versions = facts.versions()
    return render(
        "dissection.html",
        ("page.js", "dissection.js"),
        title=" against ".join(dict.fromkeys(each.subject.name for each in both)),
        verdicts=[(letter, verdict(each)) for letter, each in zip(letters, both, strict=True)],
        facts=[(letter, _facts(each)) for letter, each in zip(letters, both, strict=True)],
        compared=None if other is None else _compared(Comparison(d, other)),
        findings=[
            (letter, finding.text) for letter, each in zip(letters, both, strict=True) for finding in each.findings
        ],
        suggestions=[
            (letter, suggestion.to_dict() | {"place": place, "source": suggestion.source})
            for letter, each in zip(letters, both, strict=True)
            for place, suggestion in enumerate(each.suggestions)
        ],
        parts=[part for part in parts if part is not None],
        notes=list(dict.fromkeys(note for each in both for note in each.subject.notes)),
        version=versions["statewise"],
        footer=" · ".join([*(f"{name} {version}" for name, version in versions.items()), f"written {facts.now()}"]),
        figures=as_script(
            {
                part.key: {"panels": part.drawn, "model": "", "sequence": part.first}
                for part in parts
                if part is not None
            }
        ),
    )


def _ordered() -> list[str]:
    known = registry.names()
    return [name for name in _ORDER if name in known] + [name for name in known if name not in _ORDER]


def _computed(d: Dissection, name: str) -> Diagnostic:
    """A diagnostic; where it does not go with the network, one that says so."""
    try:
        found: Diagnostic = getattr(d, name)
    except StatewiseError as error:
        return refused(name, str(error), "")
    return found


def _facts(d: Dissection) -> list[tuple[str, str]]:
    subject = d.subject
    lengths = subject.lengths
    steps = (
        f"{int(lengths.max()):,}"
        if lengths.min() == lengths.max()
        else f"{int(lengths.min()):,} to {int(lengths.max()):,}"
    )
    sizes = ", ".join(f"{name or 'state'} {system.size}" for name, system in subject.layers)
    found = [
        ("sequences", f"{len(lengths):,}"),
        ("steps", steps),
        ("numbers carried", sizes),
        ("loss", subject.loss or "none"),
        ("replayed output differs by", f"{number(subject.replay_error, 2)} at most"),
    ]
    if d.needs is not None:
        found.append(
            (
                "memory that the task needs",
                count(int(d.needs), "step") if d.needs == int(d.needs) else f"{d.needs:g} steps",
            )
        )
    if subject.dt != 1:
        found.append(("time between steps", number(subject.dt)))
    return found


def _compared(comparison: Comparison) -> Table:
    rows = [
        [
            row.title,
            _with_interval(row.first, row.first_interval),
            _with_interval(row.second, row.second_interval),
            row.verdict,
        ]
        for row in comparison.rows
    ]
    return Table("Values of A and B", ["", "A", "B", "difference"], rows, 4)


def _with_interval(value: float, interval: tuple[float, float] | None) -> str:
    ends = "" if interval is None else f" [{number(interval[0], 3)}, {number(interval[1], 3)}]"
    return number(value, 3) + ends


def _part(name: str, letters: list[str], found: list[Diagnostic], both: list[Dissection]) -> Part | None:
    """The section of an analysis, or None for one that another section tells."""
    if name == "gradient_half_life" and "gradient_flow" in registry.names():
        return None
    title = registry.analysis(name).title
    said = [_said(letter, each) for letter, each in zip(letters, found, strict=True)]
    tables = [
        _values(letter, each) for letter, each in zip(letters, found, strict=True) if each.status is not Status.REFUSED
    ]
    if name == "gradient_flow":
        halves = [_computed(each, "gradient_half_life") for each in both]
        said += [_said(letter, each) for letter, each in zip(letters, halves, strict=True)]
        flow = flow_part(letters, found, halves, [_computed(each, "lyapunov") for each in both])
        part = Part(name, title, said, [], [], flow.choices, [*flow.tables], "all")
        for row, selected in zip(flow.rows, flow.selected, strict=True):
            named = letters if len(letters) == len(row) and len(letters) > 1 else [""] * len(row)
            _add_row(part, named, row, selected, "tall" if any(_has_heatmap(each) for each in row) else "")
        return part
    part = Part(name, title, said, [], [], tables=tables)
    if len(found) == 1:
        for row in _in_pairs(list(found[0].panels)):
            _add_row(part, [""] * len(row), row, [{}] * len(row), _class_of(row))
        return part
    for pair in _matched(found[0].panels, found[1].panels):
        kept = [(letter, panel) for letter, panel in zip(letters, pair, strict=True) if panel is not None]
        _add_row(
            part,
            [letter for letter, _ in kept],
            [panel for _, panel in kept],
            [{}] * len(kept),
            _class_of([p for _, p in kept]),
        )
    return part


def _said(letter: str, each: Diagnostic) -> dict[str, str]:
    return {
        "letter": letter,
        "meaning": each.meaning,
        "status": each.status.value,
        "kind": each.status.name.lower().replace("_", "-"),
        "reason": "" if each.status is Status.REFUSED else each.reason,
        "source": each.source,
    }


def _values(letter: str, each: Diagnostic) -> Table:
    """The value with its interval, as a table; of many only the first."""
    frame = each.to_frame()
    rows = []
    for place, (value, low, high) in enumerate(zip(frame["value"], frame["low"], frame["high"], strict=True)):
        if place == _MOST_VALUES:
            break
        if isinstance(value, complex):
            cells = [f"{value.real:.4g} {'+' if value.imag >= 0 else '-'} {abs(value.imag):.4g}i", "", ""]
        else:
            cells = [number(float(each)) for each in (value, low, high)]
        rows.append([str(frame.index[place]), *cells])
    note = f"The first {_MOST_VALUES} of {len(frame):,}." if len(frame) > _MOST_VALUES else ""
    heading = f"{letter}: value" if letter else "value"
    return Table(f"The values{f' of {letter}' if letter else ''}", ["entry", heading, "low", "high"], rows, 1, note)


def _matched(first: tuple[Panel, ...], second: tuple[Panel, ...]) -> list[tuple[Panel | None, Panel | None]]:
    """Panels of the same title beside each other; one that has no counterpart stands alone."""
    rest = list(second)
    found: list[tuple[Panel | None, Panel | None]] = []
    for panel in first:
        twin = next((each for each in rest if each.title == panel.title), None)
        if twin is not None:
            rest.remove(twin)
        found.append((panel, twin))
    return [*found, *((None, panel) for panel in rest)]


def _in_pairs(given: list[Panel]) -> list[list[Panel]]:
    """Two narrow panels a row, then the wide ones alone."""
    narrow = [panel for panel in given if not _wide(panel)]
    return [*(narrow[k : k + 2] for k in range(0, len(narrow), 2)), *([panel] for panel in given if _wide(panel))]


def _has_heatmap(panel: Panel) -> bool:
    return any(isinstance(layer, Heatmap) for layer in panel.layers)


def _wide(panel: Panel) -> bool:
    return any(isinstance(layer, Heatmap) and len(np.atleast_1d(layer.x)) > _WIDE_COLUMNS for layer in panel.layers)


def _class_of(row: list[Panel]) -> str:
    return "tall" if any(panel.square for panel in row) else ""


def _add_row(
    part: Part, letters: list[str], row: list[Panel], selected: list[dict[str, list[dict[str, Any]]]], kind: str
) -> None:
    """A row of panels; beside each other they have the same vertical axis."""
    cells = []
    together = len(row) > 1 and bool(letters[0])
    shared = _shared_range(row) if together else None
    shades = _shared_shades(row) if together else None
    for letter, panel, more in zip(letters, row, selected, strict=True):
        made = panels.drawing(panel)
        design = panels.layout(panel) | {"shapes": made.shapes}
        if shared is not None:
            design["yaxis"]["range"] = shared
        if more.get("reversed"):
            design["yaxis"]["autorange"] = "reversed"
        if shades is not None:
            for trace in made.traces:
                trace |= {"zmin": shades[0], "zmax": shades[1]}
        part.drawn.append(
            {
                "traces": {"": made.traces, **{key: value for key, value in more.items() if key != "reversed"}},
                "layout": design,
            }
        )
        cells.append(
            {
                "letter": letter,
                "heading": panel.title,
                "label": f"{panel.title}: {panel.y} against {panel.x}.",
                "legend": made.legend,
                "place": len(part.drawn) - 1,
            }
        )
    part.rows.append({"panels": cells, "kind": kind})


def _shared_shades(row: list[Panel]) -> tuple[float, float] | None:
    """The range of the colours of heat maps beside each other; None where there is another kind of panel."""
    if not all(len(panel.layers) == 1 and _has_heatmap(panel) for panel in row):
        return None
    values = np.concatenate(
        [np.ravel(layer.values) for panel in row for layer in panel.layers if isinstance(layer, Heatmap)]
    )
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else None


def _shared_range(row: list[Panel]) -> list[float] | None:
    """One range of y for panels of lines and points that stand for the same thing; None where there is another kind of layer."""
    ends: list[float] = []
    log = row[0].y_log
    for panel in row:
        if panel.square or panel.y_log != log:
            return None
        for layer in panel.layers:
            values = [getattr(layer, name, None) for name in ("y", "low", "high", "counts")]
            if isinstance(layer, Heatmap):
                return None
            numbers = [np.asarray(each, dtype=float).ravel() for each in values if each is not None]
            found = np.concatenate(numbers) if numbers else np.empty(0)
            found = found[np.isfinite(found) & ((found > 0) | (not log))]
            ends += [float(found.min()), float(found.max())] if found.size else []
    if not ends:
        return None
    low, high = (np.log10(min(ends)), np.log10(max(ends))) if log else (min(ends), max(ends))
    margin = 0.05 * (high - low) or 0.5
    return [float(low - margin), float(high + margin)]
