"""``statewise fit``: fit one model to sequences and save it as a run that ``statewise forecast`` opens."""

from __future__ import annotations

import difflib
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statewise._core.errors import InputError
from statewise.cli import options

if TYPE_CHECKING:
    from statewise.models.base import Density

_CELLS = ("rnn", "gru", "lstm")
_WORDS = {"True": True, "False": False, "None": None}


def fit(
    source: options.Source,
    model: Annotated[str, typer.Option(metavar="KIND", help="varma, structural, arima, hmm, rnn, gru, lstm, naive, …")],
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the model or of its fit, such as p=2; repeat for more."),
    ] = None,
    values: options.Values = None,
    time: options.Time = None,
    no_time: options.NoTime = False,
    id: options.Id = None,
    inputs: options.Inputs = None,
    sort: options.Sort = False,
    season: options.Season = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the run is written; runs/SOURCE-KIND unless given.")
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Fit one model to the sequences and save it."""
    from statewise.cli import output
    from statewise.cli import source as sources
    from statewise.cli.folders import choose, run_name

    chosen, arguments = build(model, option or [])
    reading = sources.Reading.parsed(values, time, no_time, id, inputs, sort, season)
    title = sources.title(source)
    folder = Path("runs") / run_name(None, f"{title}-{model}") if out is None else out
    choose(folder, overwrite)  # a wrong place is told at once, not after the work
    seqs = sources.load(source, reading)
    if not as_json:
        output.say(sources.describe(title, seqs), "")
    from statewise.cli.job import run_fit

    folder = run_fit(seqs, chosen, title=title, folder=folder, overwrite=overwrite, fit_options=arguments)
    if as_json:
        output.say_json(document(chosen, title, folder))
    else:
        from statewise.report.run_folder import read_record

        then = [f"next: {command}" for command in read_record(folder)["commands"].values()]
        output.say(chosen.summary(), "", f"written to {folder}", *then, wrap=False)


def document(model: Density, title: str, folder: Path) -> dict[str, Any]:
    """The fit as one JSON document."""
    fit = model.fit_result
    return {
        "title": title,
        "model": model.name,
        "kind": model.kind,
        "options": model.get_params(),
        "n_parameters": model.n_parameters,
        "parameters": model.parameters,
        "fit": None if fit is None else vars(fit) | {"outcome": fit.outcome.name, "reason": fit.reason},
        "folder": str(folder),
    }


def build(kind: str, given: list[str]) -> tuple[Density, dict[str, Any]]:
    """The unfitted model, and the arguments for its `fit`, from a kind and NAME=VALUE texts."""
    from statewise.models.registry import MODELS, model_class

    known = sorted([*MODELS, *_CELLS])
    if kind not in known:
        near = difflib.get_close_matches(kind, known, n=1)
        raise InputError(
            f"--model is {kind!r}; pass one of {', '.join(known)}" + (f" (did you mean {near[0]}?)" if near else "")
        )
    cls: Any = model_class("recurrent" if kind in _CELLS else kind)
    chosen: dict[str, Any] = {"cell": kind} if kind in _CELLS else {}
    arguments: dict[str, Any] = {}
    of_fit = [name for name in inspect.signature(cls.fit).parameters if name not in ("self", "data")]
    for name, value in map(parse, given):
        if name not in cls.options and name not in of_fit:
            every = sorted([*cls.options, *of_fit])
            near = difflib.get_close_matches(name, every, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the options are {', '.join(every)}"
            raise InputError(f"--option {name}: {kind} has no such option; {hint}")
        (chosen if name in cls.options else arguments)[name] = value
    return cls(**chosen), arguments


def parse(text: str) -> tuple[str, Any]:
    """``p=2`` as ("p", 2): the value is JSON, JSON values with commas between them, or True, False, None, or else the text itself."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"--option is {text!r}; write it as NAME=VALUE, such as p=2")
    if value in _WORDS:
        return name.strip(), _WORDS[value]
    for candidate in (value, f"[{value}]" if "," in value else value):
        try:
            return name.strip(), json.loads(candidate)
        except ValueError:
            continue
    return name.strip(), value
