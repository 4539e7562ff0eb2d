"""``statewise compare``: the main job. Which model should be used for these sequences, and what does it forecast?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statewise.cli import options

if TYPE_CHECKING:
    from statewise.cli.job import JobResult
    from statewise.results.fit import Memory
    from statewise.sequences.sequences import Sequences


def compare(
    source: options.Source,
    values: options.Values = None,
    time: options.Time = None,
    no_time: options.NoTime = False,
    id: options.Id = None,
    inputs: options.Inputs = None,
    sort: options.Sort = False,
    season: options.Season = None,
    horizon: Annotated[int, typer.Option(help="Steps ahead in each window, and in the forecast.")] = 12,
    windows: Annotated[int, typer.Option(help="Origins of the backtest; every model is refitted at each.")] = 5,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Candidates: varma, structural, arima, hmm, gru, lstm, rnn; those that suit the data unless given.",
        ),
    ] = None,
    level: options.Level = "80,95",
    seed: options.Seed = 0,
    name: Annotated[str | None, typer.Option(help="Name of the run; the data's unless given.")] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder in which runs are kept.")] = Path("runs"),
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Compare models on your sequences, say which one to use, and write a run with its forecasts and a report."""
    from statewise.cli import output
    from statewise.cli import source as sources
    from statewise.cli.folders import choose, run_name

    reading = sources.Reading.parsed(values, time, no_time, id, inputs, sort, season)
    wanted, levels = options.names("--models", models), options.levels(level)
    title = sources.title(source)
    folder = out / run_name(name, title)
    choose(folder, overwrite)  # a wrong place is told at once, not after the work
    seqs = sources.load(source, reading)
    if not as_json:
        output.say(sources.describe(title, seqs), "")
    from statewise.cli.job import run_compare

    result = run_compare(
        seqs,
        title=title,
        folder=folder,
        overwrite=overwrite,
        models=wanted,
        season=season,
        horizon=horizon,
        windows=windows,
        level=levels,
        seed=seed,
    )
    if as_json:
        output.say_json(document(result, title, seqs))
    else:
        _show(result)


def _show(result: JobResult) -> None:
    from statewise.cli import output
    from statewise.cli.exits import as_typed
    from statewise.report.facts import shell_line
    from statewise.report.text import comparison_table

    output.say(comparison_table(result.comparison), "", result.comparison.verdict, "")
    best = result.comparison.best.name
    if best in result.memories:
        output.say(f"Memory of {best}: {result.memories[best]}.")
    output.say(half_lives(result.memories))
    if result.bridge is not None:
        output.say(str(result.bridge))
    for note in (*result.comparison.notes, *result.notes):
        output.say(f"Note: {as_typed(note, ['compare'])}")
    written = ", ".join(sorted(f"{path.name}/" if path.is_dir() else path.name for path in result.folder.iterdir()))
    output.say("", f"written to {result.folder}: {written}", wrap=False)
    driven = not (result.folder / "forecast.csv").is_file()
    output.say(f"next: {shell_line(result.folder, 2 * result.comparison.horizon, driven)}", wrap=False)


def half_lives(memories: dict[str, Memory]) -> str:
    """One line: the half-life of every model's memory, or where it ends."""
    return (
        "Half-life of each model's memory: " + "; ".join(f"{name} {one.brief}" for name, one in memories.items()) + "."
    )


def document(result: JobResult, title: str, seqs: Sequences) -> dict[str, Any]:
    """The result as one JSON document."""
    comparison = result.comparison
    scores = [
        vars(score)
        | {
            "coverage": {f"{level:g}": share for level, share in score.coverage.items()},
            "memory": None if score.memory is None else vars(score.memory),
        }
        for score in comparison.scores
    ]
    return {
        "title": title,
        "data": {
            "sequences": len(seqs),
            "steps": seqs.lengths,
            "columns": seqs.columns,
            "inputs": seqs.input_columns,
            "missing": seqs.n_missing,
            "season": seqs.season,
        },
        "horizon": comparison.horizon,
        "windows": comparison.windows,
        "best": comparison.best.name,
        "verdict": comparison.verdict,
        "models": scores,
        "memory": {name: vars(memory) for name, memory in result.memories.items()},
        "bridge": None if result.bridge is None else vars(result.bridge) | {"difference": result.bridge.difference},
        "notes": [*comparison.notes, *result.notes],
        "folder": str(result.folder),
    }
