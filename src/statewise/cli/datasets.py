"""``statewise datasets``: the data that comes with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from statewise.cli import options

if TYPE_CHECKING:
    from statewise.sequences.datasets import Description


def datasets(as_json: options.Json = False) -> None:
    """List the embedded data sets."""
    from rich.table import Table
    from rich.text import Text

    from statewise.cli import output
    from statewise.sequences import datasets as embedded

    found = [embedded.describe(name) for name in embedded.names()]
    if as_json:
        output.say_json([vars(one) for one in found])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 1, 0), header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("title, licence, source", overflow="fold")
    table.add_column("size", overflow="fold")
    for one in found:
        table.add_row(one.name, Text(f"{one.title}\nlicence: {one.licence}\nsource: {one.source}"), size(one))
    output.say(table, "next: statewise compare sunspots", widen=False)


def size(one: Description) -> str:
    """Sequences, if there are several, steps × columns, and missing entries, if there are any; a line each."""
    lines = [f"{one.rows:,} steps × {len(one.columns)}"]
    if one.sequences > 1:
        lines.insert(0, f"{one.sequences} sequences")
    if one.missing:
        lines.append(f"{one.missing} missing")
    return "\n".join(lines)
