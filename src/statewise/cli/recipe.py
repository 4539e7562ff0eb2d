"""``statewise recipe``: a field's task from data to picture, the classical and the recurrent model side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from statewise.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from statewise.recipes.finding import Finding


def recipe(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which recipe; without it, they are listed.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="The field's data, as the recipe's page says; default a small synthetic input."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few rounds only, to see it work.")] = False,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Run a recipe: fit a classical and a recurrent model to a field's data, and print their scores beside the baseline's."""
    import time

    from statewise._core.errors import DataError, InputError
    from statewise.cli import output
    from statewise.recipes import RECIPES

    if name is None:
        _list(as_json)
        return
    if name not in RECIPES:
        raise InputError(f"there is no recipe {name!r}; the recipes are {', '.join(RECIPES)}")
    if data is not None and not data.exists():
        raise DataError(f"{data}: there is no such file or folder; {name} reads {RECIPES[name].data}")
    begun = time.perf_counter()
    found = RECIPES[name].run(data, quick, seed)
    seconds = time.perf_counter() - begun
    if as_json:
        output.say_json(found.to_dict() | {"seconds": seconds})
        return
    output.say(found.title, found.data, _scores(found), *(f"• {sentence}" for sentence in found.said))
    if found.goal is not None:
        measure, side, bound = found.goal
        output.say(
            f"goal: {measure} {side} {bound:.4g} — {'reached' if found.reached else 'not reached'}; {seconds:.0f} s"
        )


def _list(as_json: bool) -> None:
    from rich.table import Table

    from statewise.cli import output
    from statewise.recipes import RECIPES

    if as_json:
        output.say_json([vars(one) for one in RECIPES.values()])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("name", "field", "what it does", "data"):
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for one in RECIPES.values():
        table.add_row(one.name, one.field, one.title, one.data)
    output.say(table, "next: statewise recipe co2", widen=False)


def _scores(found: Finding) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("model", "measure", "value", "standard error", "source"):
        table.add_column(column, justify="right" if column in ("value", "standard error") else "left", overflow="fold")
    for score in found.scores:
        error = "" if score.error is None else f"{score.error:.3g}"
        table.add_row(score.model, score.measure, f"{score.value:.4g}", error, score.source)
    return table
