"""``statewise forecast``: what comes next, from a run or a saved model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from statewise._core.errors import InputError
from statewise.cli import options

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from statewise.cli.source import Reading
    from statewise.models.base import Density
    from statewise.results.forecast import Forecast
    from statewise.sequences.sequences import Sequences

MAX_ROWS = 60
_WHOLE = (".npz", ".txt")  # files without named columns


def forecast(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, or a saved model's folder together with --data.")
    ],
    steps: Annotated[int, typer.Option(help="Steps ahead.")] = 12,
    level: options.Level = "80,95",
    data: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Forecast from the end of these sequences, not of the run's own."),
    ] = None,
    future: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The future values of the inputs, one row a step, for a model with inputs."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the forecast to this csv file.")] = None,
    seed: options.Seed = 0,
    values: options.Values = None,
    time: options.Time = None,
    no_time: options.NoTime = False,
    id: options.Id = None,
    inputs: options.Inputs = None,
    sort: options.Sort = False,
    season: options.Season = None,
    as_json: options.Json = False,
) -> None:
    """Forecast the next steps, with intervals."""
    from statewise._core.files import write_atomically
    from statewise.cli import output
    from statewise.cli import source as sources

    reading = sources.Reading.parsed(values, time, no_time, id, inputs, sort, season)
    levels = options.levels(level)
    model, seqs = opened(run, data, reading)
    given = None if future is None else future_inputs(future, seqs, steps, id)
    try:
        found = model.forecast(seqs, steps=steps, level=levels, inputs=given, seed=seed)
    except InputError as error:
        if given is None and seqs.inputs is not None and "`inputs`" in str(error):
            names = ", ".join(seqs.input_columns)
            raise InputError(
                f"{model.name} needs the next {steps} values of {names}; pass them with --future FILE"
            ) from error
        raise
    if out is not None:
        write_atomically(out, found.to_frame().to_csv(index=False, lineterminator="\n"))
    if as_json:
        output.say_json(document(run, model, found, out))
        return
    output.say(f"{model.name}, {steps} {'step' if steps == 1 else 'steps'} ahead", "", table(found, seqs))
    left = len(seqs) * steps * seqs.dim - MAX_ROWS
    if left > 0:
        output.say(f"… and {left:,} more rows" + ("; write them all with --out forecast.csv" if out is None else ""))
    if out is not None:
        output.say("", f"written to {out}")


def opened(folder: Path, data: str | None, reading: Reading) -> tuple[Density, Sequences]:
    """The model, and the sequences from whose end it forecasts.

    Raises:
        ModelFileError: the folder holds neither a run nor a model that can be trusted.
        InputError: there are no sequences, or reading options without a file.
    """
    from statewise.cli.source import Reading, load
    from statewise.models import save
    from statewise.models.base import Density
    from statewise.report.run_folder import open_run

    if data is None and reading != Reading():
        raise InputError("options for reading a file were given without one; add --data FILE")
    if (folder / "model.json").is_file() and not (folder / "run.json").is_file():
        model, seqs = save.load(folder), None
        if data is None:
            raise InputError(
                f"{folder} is a model without data; say with --data FILE from the end of what it should forecast"
            )
    else:
        model, seqs = open_run(folder)
    if not isinstance(model, Density):
        raise InputError(
            f"{folder} holds a {type(model).__name__}, which does not forecast; pass the run of another model"
        )
    if data is not None:
        seqs = load(data, _with_columns(reading, model, data))
    return model, cast("Sequences", seqs)


def _with_columns(reading: Reading, model: Density, data: str) -> Reading:
    """Where the user names no columns of a table, those that the model was fitted to."""
    schema = model._schema
    if schema is None or not Path(data).is_file() or Path(data).suffix.lower() in _WHOLE:
        return reading
    return replace(
        reading,
        values=reading.values or list(schema["columns"]),
        inputs=reading.inputs or list(schema["input_columns"]) or None,
    )


def future_inputs(file: Path, seqs: Sequences, steps: int, id: str | None) -> np.ndarray:
    """(N, steps, u) future inputs from a file with the inputs' columns: one sequence for all, or one each by id.

    Raises:
        InputError: the model has no inputs, or the file has too few rows or lacks a sequence.
    """
    import numpy as np

    from statewise.sequences.read import read

    if seqs.inputs is None:
        raise InputError("--future was given but the sequences have no inputs; leave it out")
    given = read(file, values=list(seqs.input_columns), id=id)
    _check_times(file, given, seqs)
    tables = dict(zip(given.ids, given.arrays(), strict=True))
    if len(given) == 1:
        tables = dict.fromkeys(seqs.ids, given.values)
    for name in seqs.ids:
        if name not in tables:
            raise InputError(f"{file}: there are no future inputs for the sequence {name!r}; add its rows")
        if len(tables[name]) < steps:
            raise InputError(
                f"{file}: there are {len(tables[name])} rows of future inputs for {steps} steps; add rows or lower --steps"
            )
    return np.stack([tables[name][:steps] for name in seqs.ids])


def _check_times(file: Path, given: Sequences, seqs: Sequences) -> None:
    """The file's times, where both have times, must start at the step after the data."""
    from statewise.sequences.calendar import future_times, time_text

    expected = future_times(seqs, 1)
    if given.times is None or expected is None or given.times.dtype != expected.dtype:
        return
    first = dict(zip(given.ids, given.times[given.offsets[:-1]], strict=True))
    for name, (time,) in zip(seqs.ids, expected, strict=True):
        start = first.get(name, given.times[0]) if len(given) > 1 else given.times[0]
        if start != time:
            raise InputError(
                f"{file}: the future inputs start at {time_text(start)} but the step after the data is {time_text(time)}; pass them from there on"
            )


def table(found: Forecast, seqs: Sequences) -> Table:
    """The first rows of the forecast: place, mean and interval ends, with the decimals that suit the data's spread."""
    from rich.table import Table
    from rich.text import Text

    from statewise.report import series
    from statewise.report.numbers import decimals, fixed

    frame = found.to_frame().head(MAX_ROWS)
    places = dict(zip(seqs.columns, (decimals(column) for column in seqs.values.T), strict=True))
    words = {"id": len(seqs) > 1, "step": found.times is None, "time": found.times is not None, "column": seqs.dim > 1}
    shown = [name for name in frame.columns if words.get(name, True)]
    if "time" in shown:
        frame["time"] = series.texts(seqs, frame["time"].to_numpy())
    result = Table()
    for name in shown:
        result.add_column(name, justify="left" if name in words else "right", overflow="fold")
    for row in frame.to_dict("records"):
        cells = (str(row[name]) if name in words else fixed(row[name], places[row["column"]]) for name in shown)
        result.add_row(*map(Text, cells))
    return result


def document(run: Path, model: Density, found: Forecast, out: Path | None) -> dict[str, Any]:
    """The forecast as one JSON document: a row for each sequence, step and column."""
    from statewise.report.numbers import moment

    frame = found.to_frame()
    if found.times is not None:
        frame["time"] = [moment(time) for time in frame["time"].to_numpy()]
    return {
        "run": str(run),
        "model": model.name,
        "steps": found.steps,
        "level": found.level,
        "forecast": frame.to_dict("records"),
        "written": None if out is None else str(out),
    }
