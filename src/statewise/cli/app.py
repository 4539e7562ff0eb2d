"""The command `statewise` and its subcommands. Only typer is imported here, so that ``--help`` is fast."""

from __future__ import annotations

from typing import Annotated

import typer

from statewise.cli.compare import compare
from statewise.cli.convert import convert
from statewise.cli.datasets import datasets
from statewise.cli.dissect import dissect
from statewise.cli.fit import fit
from statewise.cli.forecast import forecast
from statewise.cli.recipe import recipe

app = typer.Typer(
    name="statewise",
    help="State-space models, VARMA, hidden Markov models, RNNs, LSTMs and GRUs as one family: "
    "compare them on your sequences, and forecast.",
    epilog="Start with: statewise compare sunspots",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from statewise import __version__
        from statewise.cli.output import say

        say(f"statewise {__version__}")
        raise typer.Exit


@app.callback()
def statewise(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options that stand before the command."""


for command in (datasets, compare, fit, forecast, convert, dissect, recipe):
    app.command()(command)
