"""What the commands print. Results go to stdout, everything else to stderr; user text is never read as markup."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from statewise.cli.exits import BROKEN_PIPE

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH = 120


def say(*parts: RenderableType, wrap: bool = True, widen: bool = True) -> None:
    """Print results on stdout: text as it is (no markup), tables at the terminal's width.

    Text is wrapped at words unless ``wrap=False``, which keeps a command in one piece. Where stdout is no terminal,
    lines have 120 columns, and a table has as many as it needs to be whole (``widen=False``: it wraps its cells).
    """
    console = _console(stderr=False)
    try:
        for part in parts:
            soft = isinstance(part, str) and not wrap
            if console.file.isatty():
                console.print(part, soft_wrap=soft)
            else:
                _print_free(console, part, soft, widen and not isinstance(part, str))
    except BrokenPipeError:
        raise typer.Exit(BROKEN_PIPE) from None


def _print_free(console: Console, part: RenderableType, soft: bool, widen: bool) -> None:
    """Print where no terminal sets a width, without the spaces that fill a line up."""
    console.width = max(PIPE_WIDTH, _needed(console, part) if widen else 0)
    with console.capture() as captured:
        console.print(part, soft_wrap=soft)
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
        raise typer.Exit(BROKEN_PIPE) from None


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
