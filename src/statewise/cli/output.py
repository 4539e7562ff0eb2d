"""What the commands print. Results go to stdout, everything else to stderr; user text is never read as markup."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH = 120


def say(*parts: RenderableType, widen: bool = True) -> None:
    """Print results on stdout: text as it is (no markup), tables at the terminal's width.

    Where stdout is no terminal there is no width to respect: at least 120 columns, and more where a table needs them to
    be whole (``widen=False`` keeps to 120 and lets its text wrap).
    """
    console = _console(stderr=False)
    try:
        for part in parts:
            if console.file.isatty():
                console.print(part, soft_wrap=isinstance(part, str))
            else:
                _print_wide(console, part, widen)
    except BrokenPipeError:
        raise typer.Exit(141) from None


def _print_wide(console: Console, part: RenderableType, widen: bool) -> None:
    """Print where no terminal sets a width, without the spaces that fill a line up."""
    console.width = max(PIPE_WIDTH, _needed(console, part) if widen else 0)
    with console.capture() as captured:
        console.print(part, soft_wrap=isinstance(part, str))
    console.file.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))
    console.file.flush()


def tell(text: str, style: str | None = None) -> None:
    """Print a note on stderr, in one line."""
    _console(stderr=True).print(" ".join(text.splitlines()), style=style, soft_wrap=True)


def complain(text: str) -> None:
    """Print an error on stderr: one line, ``error: …``, red where there is colour."""
    tell(f"error: {text}", style="red")


def say_json(document: Any) -> None:
    """Print exactly one JSON document on stdout; NaN and infinities become null, arrays lists, times ISO 8601 text."""
    from statewise.report.numbers import plain

    try:
        sys.stdout.write(json.dumps(plain(document), indent=2, allow_nan=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise typer.Exit(141) from None


def _console(stderr: bool) -> Console:
    from rich.console import Console

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PlainConsole(stderr=stderr, markup=False, highlight=False, emoji=False)


def _needed(console: Console, part: RenderableType) -> int:
    """The width at which nothing of `part` wraps."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(width=10_000), part).maximum
