"""``statewise convert``: the model of a run in another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from statewise.cli import options


def convert(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run folder, or a saved model's folder (then without --verify, or with --data)."
        ),
    ],
    to: Annotated[
        str, typer.Option(metavar="KIND", help="What to convert to, such as rnn, birnn, state-space, varma, lstm.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to save the converted model; default RUN/model-KIND.")
    ] = None,
    gain: Annotated[str | None, typer.Option(help="For a linear network: 'exact' or 'steady'.")] = None,
    scale: Annotated[float | None, typer.Option(help="For a gated network: the amplitude it works at.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare both forms on the run's sequences.")] = False,
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Sequences to verify on, instead of the run's own.")
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
    """Convert the model of a run, and save the result."""
    from statewise.cli import output
    from statewise.cli import source as sources
    from statewise.cli.forecast import opened
    from statewise.conversion.graph import convert as converted
    from statewise.models.save import load

    chosen = {name: value for name, value in (("gain", gain), ("scale", scale)) if value is not None}
    gap: float | None = None
    model: Any
    made: Any
    if verify or data is not None:
        reading = sources.Reading.parsed(values, time, no_time, id, inputs, sort, season)
        model, seqs = opened(run, data, reading)
        made, gap = converted(model, to=to, verify=seqs, **chosen)
    else:
        folder = run / "model" if (run / "run.json").is_file() else run
        model = load(folder)
        made = converted(model, to=to, **chosen)
    target = out if out is not None else run / f"model-{to}"
    made.save(target)
    if as_json:
        output.say_json(
            {
                "from": model.kind,
                "to": to,
                "kind": made.kind,
                "model": repr(made),
                "largest_discrepancy": gap,
                "folder": str(target),
            }
        )
        return
    output.say(f"{model.name} → {made.name}")
    if gap is not None:
        output.say(f"largest discrepancy on the sequences: {gap:.2g}")
    output.say(f"saved to {target}")
