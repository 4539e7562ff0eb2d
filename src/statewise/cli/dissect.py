"""``statewise dissect``: what a trained network remembers, from a run folder or from a checkpoint of torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statewise.cli import options

if TYPE_CHECKING:
    from statewise.cli.source import Reading
    from statewise.dissection.dissection import Dissection


def dissect(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="A run folder, or a checkpoint (.pt, .safetensors) together with --input."
        ),
    ],
    input: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Sequences to look at: needed for a checkpoint, the run's own for a run."),
    ] = None,
    needs: Annotated[float | None, typer.Option(metavar="STEPS", help="Steps of memory that the task needs.")] = None,
    prefix: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How the layer's weights begin in a checkpoint, such as encoder.lstm."),
    ] = None,
    nonlinearity: Annotated[str, typer.Option(help="Of an RNN in a checkpoint: tanh or relu.")] = "tanh",
    against: Annotated[
        Path | None, typer.Option(metavar="TARGET", help="A second run or checkpoint, to be set beside the first.")
    ] = None,
    exponents: Annotated[int, typer.Option(help="Lyapunov exponents of every layer.")] = 8,
    dt: Annotated[float, typer.Option(help="Time between two steps.")] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The report; default dissection.html in the run, or NAME-dissection.html here."
        ),
    ] = None,
    values: options.Values = None,
    time: options.Time = None,
    no_time: options.NoTime = False,
    id: options.Id = None,
    inputs: options.Inputs = None,
    sort: options.Sort = False,
    season: options.Season = None,
    as_json: options.Json = False,
) -> None:
    """Say how far a network's memory reaches, whether it is stable and what would help, and write a report."""
    from statewise.cli import output
    from statewise.cli import source as sources

    reading = sources.Reading.parsed(values, time, no_time, id, inputs, sort, season)
    given = {"needs": needs, "exponents": exponents, "dt": dt}
    found = _dissected(target, input, reading, prefix, nonlinearity, given)
    other = None if against is None else _dissected(against, input, reading, prefix, nonlinearity, given)
    path = out
    if path is None:
        path = target / "dissection.html" if target.is_dir() else Path(f"{target.stem}-dissection.html")
    found.report(path, other=other)
    if as_json:
        document = _document(found) | {"report": str(path)}
        output.say_json(document if other is None else document | {"other": _document(other)})
        return
    for each in (found, other):
        if each is not None:
            output.say(each.summary())
    output.say(f"written to {path}")


def _dissected(
    target: Path, source: str | None, reading: Reading, prefix: str | None, nonlinearity: str, given: dict[str, Any]
) -> Dissection:
    from statewise._core.errors import InputError
    from statewise.dissection.dissection import dissect

    if target.is_dir():
        return dissect(*_run(target, source, reading), **given)
    if not target.exists():
        raise InputError(f"{str(target)!r} is not there; pass a run folder or a checkpoint")
    if source is None:
        raise InputError(
            "a checkpoint has no data; pass sequences with --input, one column for each number that the layer reads"
        )
    from statewise.cli import source as sources
    from statewise.dissection.checkpoint import load_layer

    name, layer = load_layer(target, prefix, nonlinearity)
    x, lengths = _padded(sources.load(source, reading), layer.input_size, f"{target} ({name or 'the layer'})")
    return dissect(layer, x, lengths=lengths, **given)


def _document(found: Dissection) -> dict[str, Any]:
    """What was found, without the numbers behind the pictures."""
    document = found.to_dict()
    for each in document["diagnostics"].values():
        del each["data"]
    return document


def _run(folder: Path, source: str | None, reading: Reading) -> tuple[Any, Any]:
    """The model of a run, or of a saved model's folder, and the sequences to look at."""
    from statewise._core.errors import InputError
    from statewise.cli import source as sources
    from statewise.models.save import load
    from statewise.report.run_folder import open_run

    if (folder / "run.json").is_file():
        model, own = open_run(folder)
    else:
        model, own = load(folder), None
    if source is not None:
        return model, sources.load(source, reading)
    if own is None:
        raise InputError(f"{folder} is a model without data; pass sequences with --input")
    return model, own


def _padded(seqs: Any, size: int, who: str) -> tuple[Any, Any]:
    """(N, T, d) the values, and the inputs after them, padded at the end; and the lengths."""
    import numpy as np

    from statewise._core.errors import InputError

    columns = [*seqs.columns, *(seqs.input_columns if seqs.inputs is not None else ())]
    rows = seqs.values if seqs.inputs is None else np.concatenate([seqs.values, seqs.inputs], axis=1)
    if rows.shape[1] != size:
        raise InputError(
            f"{who} reads {size} numbers a step and --input has {rows.shape[1]} ({', '.join(columns[:6])}); choose columns with --values"
        )
    if np.isnan(rows).any():
        raise InputError(
            "--input has missing entries, and the layer cannot read them; fill them or leave those rows out"
        )
    lengths = np.array(seqs.lengths)
    padded = np.zeros((len(lengths), int(lengths.max()), size))
    for k, part in enumerate(np.split(rows, seqs.offsets[1:-1])):
        padded[k, : len(part)] = part
    return padded, lengths
