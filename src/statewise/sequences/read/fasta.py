"""FASTA: sequences of letters, with or without a label for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from statewise._core.errors import DataError
from statewise.sequences.read.files import decoded
from statewise.sequences.read.text import encode
from statewise.sequences.sequences import Sequences


def read_fasta(file: Path) -> Sequences:
    """One sequence a record: codes of the letters, with `symbols`; ids are the first words of the headers.

    A record is a line `>name …` and lines of letters (Pearson & Lipman 1988). If in every record two lines of the same length follow the
    header, the second has one label a letter; if a third one of zeros and ones follows, letters with a 0 there have no label.

    Raises:
        DataError: naming the line that does not fit.
    """
    records = _records(file)
    layout = _labelled(records)
    letters = [lines[0] if layout else "".join(lines) for _, lines in records]
    codes, symbols = encode("".join(letters))
    names = [name for name, _ in records]
    return Sequences(
        values=codes,
        lengths=np.array([len(text) for text in letters]),
        labels=np.array([label for _, lines in records for label in _labels(lines)]) if layout else None,
        ids=tuple(names) if len(set(names)) == len(names) and all(names) else (),
        columns=("letter",),
        symbols=symbols,
    )


def _records(file: Path) -> list[tuple[str, list[str]]]:
    """(name, lines) of every record that has letters."""
    found: list[tuple[str, list[str]]] = []
    for number, line in enumerate(decoded(file).splitlines(), start=1):
        text = line.strip()
        if text.startswith(">"):
            found.append(((text[1:].split() or [""])[0], []))
        elif text and not text.startswith(";"):
            if not found:
                raise DataError(
                    f"{file}, line {number}: letters before the first header; a record starts with a line >name"
                )
            found[-1][1].append(text)
    empty = next((name for name, lines in found if not lines), None)
    if empty is not None or not found:
        what = "there is no record" if not found else f"the record {empty!r} has no letters"
        raise DataError(f"{file}: {what}; a record is a line >name and lines of letters")
    return found


def _labelled(records: list[tuple[str, list[str]]]) -> bool:
    """Whether every record is letters and labels, or letters, labels and a mask."""
    counts = {len(lines) for _, lines in records}
    if counts not in ({2}, {3}) or any(len({len(line) for line in lines}) > 1 for _, lines in records):
        return False
    return counts == {2} or all(set(lines[2]) <= {"0", "1"} for _, lines in records)


def _labels(lines: list[str]) -> list[str]:
    mask = lines[2] if len(lines) == 3 else "1" * len(lines[1])
    return [label if known == "1" else "" for label, known in zip(lines[1], mask, strict=True)]
