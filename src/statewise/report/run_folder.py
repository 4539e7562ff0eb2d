"""A run: a folder with the winning model, the data, the forecasts, the tables and the report; it can be opened again.

A run is built beside its place and moved there when it is complete. `run.json` is the last file to arrive: a folder
without it is not a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from statewise._core import checks
from statewise._core.errors import InputError, ModelFileError, StatewiseError
from statewise._core.files import write_atomically
from statewise.models.base import Density, Model
from statewise.models.save import load
from statewise.report import facts, files
from statewise.report.html import report_page
from statewise.report.text import report_text
from statewise.results.comparison import Comparison
from statewise.results.forecast import Forecast
from statewise.sequences.read import read
from statewise.sequences.read.npz import write_npz
from statewise.sequences.sequences import Sequences

FORMAT = 1
RECORD = "run.json"
_FILES = (
    "data.npz",
    "forecast.csv",
    "backtest.csv",
    "comparison.csv",
    "comparison.json",
    "report.html",
    "report.txt",
)
_USUAL_STEPS = 12


@dataclass(frozen=True)
class Run:
    """The paths of a run's files.

    Attributes:
        folder: the run's folder; all others lie in it.
        model: the folder of the winning model, for `statewise.load`.
        data: the sequences, for `statewise.read`.
        forecast: the forecast beyond the data, or None where there is none.
        backtest: all forecasts of the backtest against the actual values.
        comparison, comparison_json: the table, for people and for machines.
        report, report_text: the report as HTML and as plain text.
        record: `run.json`, which lists the files.
    """

    folder: Path
    model: Path
    data: Path
    forecast: Path | None
    backtest: Path
    comparison: Path
    comparison_json: Path
    report: Path
    report_text: Path
    record: Path


def write_run(
    folder: str | os.PathLike[str],
    *,
    title: str,
    seqs: Sequences,
    comparison: Comparison,
    model: Density,
    steps: int,
    level: Any = (80, 95),
    notes: tuple[str, ...] = (),
) -> Run:
    """Write a run to `folder`, replacing the run that is there; other files in it stay.

    Args:
        folder: where the run goes.
        title: names the data.
        seqs: the data.
        comparison: what `compare` returned for them.
        model: the winner, fitted to all of the data.
        steps: how far to forecast beyond the end of the data.
        level: interval levels in per cent.
        notes: sentences that a careful reader should see.

    Raises:
        InputError: an argument is wrong, or `folder` is a file.
    """
    steps = checks.Integer(1).check("steps", steps)
    levels = checks.levels(level)
    target = _folder(folder)
    forecast, notes = _forecast(seqs, model, steps, levels, tuple(notes))
    texts = {
        "backtest.csv": files.backtest_csv(seqs, comparison),
        "comparison.csv": files.comparison_csv(comparison),
        "comparison.json": files.comparison_json(comparison),
        "report.html": report_page(title, seqs, comparison, model, forecast, notes, target),
        "report.txt": report_text(title, seqs, comparison, model, forecast, notes, target),
    }
    if forecast is not None:
        texts["forecast.csv"] = files.forecast_csv(forecast)
    command = facts.shell_line(target, steps, driven=forecast is None)
    about = {"title": title, "steps": steps, "level": levels, "commands": {"forecast": command}}
    _write(target, about, seqs, model, texts)
    return _paths(target, forecast is not None)


def write_fit(folder: str | os.PathLike[str], *, title: str, seqs: Sequences, model: Density) -> Path:
    """Write a smaller run, one model without a comparison: the model, its data and the record, which `open_run` opens.

    Raises:
        InputError: `folder` is a file.
    """
    target = _folder(folder)
    commands = {}
    if isinstance(model, Density):
        commands["forecast"] = facts.shell_line(target, _USUAL_STEPS, driven=seqs.inputs is not None)
    _write(target, {"title": title, "commands": commands}, seqs, model, {})
    return target


def _folder(folder: str | os.PathLike[str]) -> Path:
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise InputError(f"`folder` is the existing file {str(target)!r}; pass the name of a folder for the run")
    return target


def _write(target: Path, about: dict[str, Any], seqs: Sequences, model: Density, texts: dict[str, str]) -> None:
    """Build the run beside its place, then move it there."""
    with _beside(target) as built:
        model.save(built / "model")
        write_npz(seqs, built / "data.npz")
        for name, text in texts.items():
            write_atomically(built / name, text)
        described = about | {"model": model.name, "kind": model.kind}
        write_atomically(built / RECORD, files.as_json(_record(built, described)))
        _move(built, target)


def open_run(folder: str | os.PathLike[str]) -> tuple[Model, Sequences]:
    """The model and the data of a run.

    Raises:
        ModelFileError: the folder is not a run, or its record, its model or its data are missing, altered or from a
            newer format.
    """
    place = Path(folder)
    record = read_record(place)
    _check_data(place, record)
    try:
        return load(place / "model"), read(place / "data.npz")
    except ModelFileError:
        raise
    except StatewiseError as error:
        raise ModelFileError(f"{place}: the data of this run cannot be read ({error}); write the run again") from error


def read_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What `run.json` says: title, model, steps, level, files, commands, versions.

    Raises:
        ModelFileError: there is no complete run in the folder, or it is from a newer format.
    """
    file = Path(folder) / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelFileError(
            f"{folder}: there is no complete run here (no {RECORD}); pass the folder that `statewise compare` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{file}: truncated or not JSON ({error}); write the run again") from None
    if (
        not isinstance(record, dict)
        or not isinstance(record.get("format"), int)
        or not isinstance(record.get("files"), dict)
    ):
        raise ModelFileError(f"{file}: not the record of a run; pass the folder that `statewise compare` wrote")
    if record["format"] > FORMAT:
        raise ModelFileError(
            f"{file}: written in format {record['format']}, and this version reads up to {FORMAT}; upgrade with: "
            "pip install --upgrade statewise"
        )
    return record


def _forecast(
    seqs: Sequences, model: Density, steps: int, level: tuple[float, ...], notes: tuple[str, ...]
) -> tuple[Forecast | None, tuple[str, ...]]:
    """The forecast beyond the data; where the model needs inputs whose future nobody knows, a note that says so."""
    try:
        return model.forecast(seqs, steps=steps, level=level), notes
    except InputError as error:
        if seqs.inputs is None:
            raise
        names = ", ".join(seqs.input_columns)
        return None, (
            *notes,
            f"No forecast beyond the data was made, since the future of {names} is not known: {error}.",
        )


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A fresh folder beside `target`, gone at the end whatever happens."""
    target.parent.mkdir(parents=True, exist_ok=True)
    built = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        (built / "run").mkdir()
        yield built / "run"
    finally:
        shutil.rmtree(built, ignore_errors=True)


def _move(built: Path, target: Path) -> None:
    """Put a complete run in its place: at once where nothing is there, else file by file with the record last."""
    if not target.exists():
        os.rename(built, target)
        return
    for name in (RECORD, *_FILES):
        (target / name).unlink(missing_ok=True)
    shutil.rmtree(target / "model", ignore_errors=True)
    for item in sorted(built.iterdir(), key=lambda item: item.name == RECORD):
        os.replace(item, target / item.name)


def _record(built: Path, about: dict[str, Any]) -> dict[str, Any]:
    found = sorted(path for path in built.rglob("*") if path.is_file())
    listed = {
        path.relative_to(built).as_posix(): {"bytes": path.stat().st_size, "sha256": _digest(path)} for path in found
    }
    return {"format": FORMAT, **about, "written": facts.now(), "files": listed, "versions": facts.versions()}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_data(place: Path, record: dict[str, Any]) -> None:
    """The data must be those that the run was written with; the model checks itself."""
    file = place / "data.npz"
    wanted = record["files"].get("data.npz", {}).get("sha256")
    if not file.is_file():
        raise ModelFileError(f"{place}: the run has no data.npz any more; write the run again")
    if _digest(file) != wanted:
        raise ModelFileError(f"{file}: truncated or altered (its checksum does not match); write the run again")


def _paths(folder: Path, has_forecast: bool) -> Run:
    return Run(
        folder=folder,
        model=folder / "model",
        data=folder / "data.npz",
        forecast=folder / "forecast.csv" if has_forecast else None,
        backtest=folder / "backtest.csv",
        comparison=folder / "comparison.csv",
        comparison_json=folder / "comparison.json",
        report=folder / "report.html",
        report_text=folder / "report.txt",
        record=folder / RECORD,
    )
