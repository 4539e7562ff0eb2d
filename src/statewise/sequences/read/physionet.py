"""Records of the PhysioNet/CinC Challenge 2012: irregular measurements in intensive care, one text file a patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from statewise._core.errors import DataError
from statewise.sequences.read.files import decoded
from statewise.sequences.sequences import Sequences

HEADER = "Time,Parameter,Value"
STATIC = ("Age", "Gender", "Height", "ICUType", "Weight")
PARAMETERS = (
    "ALP", "ALT", "AST", "Albumin", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP", "MechVent", "Mg", "NIDiasABP", "NIMAP", "NISysABP",
    "Na", "PaCO2", "PaO2", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine",
    "WBC", "Weight", "pH",
)  # fmt: skip


def is_record(file: Path) -> bool:
    """Whether a text file is such a record."""
    with open(file, "rb") as opened:
        return opened.read(len(HEADER) + 3).strip(b"\xef\xbb\xbf").startswith(HEADER.encode())


def read_records(path: Path) -> Sequences:
    """One sequence a patient (Silva et al. 2012): a row for every minute with a measurement, NaN for what was not measured then.

    Args:
        path: a record, lines `hh:mm,parameter,value` under `Time,Parameter,Value`, or a folder of records `*.txt`. In a folder, a file
            `Outcomes-*.txt` beside the records gives each patient's label, `In-hospital_death`.

    Returns:
        Sequences with times in hours since admission, 37 columns, and as inputs age, gender, height, type of unit and weight at admission,
        −1 where the record says that they are not known.

    Raises:
        DataError: naming the file and the line.
    """
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    outcomes = _outcomes([file for file in files if file.name.startswith("Outcomes")])
    records = [_record(file) for file in files if not file.name.startswith("Outcomes") and is_record(file)]
    if not records:
        raise DataError(
            f"{path}: this is a folder; pass a file in it, or a folder of records whose first line is {HEADER}"
        )
    if outcomes and (unknown := [name for name, *_ in records if name not in outcomes]):
        raise DataError(
            f"{path}: the outcomes do not have the record {unknown[0]}; add it, or take the file Outcomes-*.txt away"
        )
    lengths = np.array([len(times) for _, times, _, _ in records])
    return Sequences(
        values=np.concatenate([values for _, _, values, _ in records]),
        lengths=lengths,
        inputs=np.repeat(np.array([static for *_, static in records]), lengths, axis=0),
        times=np.concatenate([times for _, times, _, _ in records]),
        labels=np.array([outcomes[name] for name, *_ in records]) if outcomes else None,
        ids=tuple(name for name, *_ in records),
        columns=tuple(PARAMETERS),
        input_columns=STATIC,
        season=1,
    )


def _record(file: Path) -> tuple[str, np.ndarray, np.ndarray, list[float]]:
    """The record's name, times (T,) in hours, values (T, 37), and the five numbers at admission."""
    place = {name: k for k, name in enumerate(PARAMETERS)}
    static, name = dict.fromkeys(STATIC, -1.0), file.stem
    rows: dict[int, np.ndarray] = {}
    for number, line in enumerate(decoded(file).splitlines()[1:], start=2):
        if not line.strip():
            continue
        minute, what, value = _event(line, file, number)
        if what == "RecordID":
            name = f"{value:.0f}"
        elif minute == 0 and what in static and static[what] == -1.0:
            static[what] = value
        elif what in place:
            rows.setdefault(minute, np.full(len(PARAMETERS), np.nan))[place[what]] = value
        elif what and what not in static:
            raise DataError(f"{file}, line {number}: the parameter {what!r} is not one of the challenge's")
    if not rows:
        rows[0] = np.full(len(PARAMETERS), np.nan)
    minutes = sorted(rows)
    return name, np.array(minutes) / 60.0, np.array([rows[minute] for minute in minutes]), list(static.values())


def _event(line: str, file: Path, number: int) -> tuple[int, str, float]:
    cells = line.strip().split(",")
    try:
        clock, what, value = cells
        hours, minutes = map(int, clock.split(":"))
        if not (0 <= hours < 10**6 and 0 <= minutes < 60 and np.isfinite(float(value))):
            raise ValueError(line)
        return 60 * hours + minutes, what, float(value)
    except ValueError:
        raise DataError(f"{file}, line {number}: {line.strip()!r} is not hh:mm,parameter,value") from None


def _outcomes(files: list[Path]) -> dict[str, int]:
    """Record -> 1 if the patient died in hospital."""
    found: dict[str, int] = {}
    for file in files:
        lines = decoded(file).splitlines()
        names = lines[0].split(",")
        if "RecordID" not in names or "In-hospital_death" not in names:
            raise DataError(f"{file}, line 1: the outcomes need the columns RecordID and In-hospital_death")
        key, death = names.index("RecordID"), names.index("In-hospital_death")
        for number, line in enumerate(lines[1:], start=2):
            cells = line.split(",")
            if len(cells) != len(names) or not cells[death].strip().lstrip("-").isdigit():
                raise DataError(f"{file}, line {number}: the line does not have the {len(names)} columns of the head")
            found[cells[key].strip()] = int(cells[death])
    return found
