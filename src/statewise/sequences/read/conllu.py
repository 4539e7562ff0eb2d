"""CoNLL-U and its shorter relatives: sentences of words, one tag a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from statewise._core.errors import DataError
from statewise.sequences.read.files import decoded
from statewise.sequences.sequences import Sequences

_CONLLU_COLUMNS = 10


def read_conllu(file: Path) -> Sequences:
    """One sequence a sentence: codes of the words, with `symbols`, and their tags as labels.

    Lines of ten columns are CoNLL-U (Nivre et al. 2020): the word form is the second, the universal part of speech the fourth; words that
    span several lines (1-2) and empty nodes (1.1) are left out. Lines of two to nine columns are word and tag, the rest ignored. A
    blank line ends a sentence; `# sent_id = name`, or a first comment without `=`, names it. A tag `_` is none.

    Raises:
        DataError: naming the line that is neither.
    """
    sentences = _sentences(file)
    words = np.array([word for _, rows in sentences for word, _ in rows])
    symbols, codes = np.unique(words, return_inverse=True)
    names = [name for name, _ in sentences]
    distinct = len(set(names)) == len(names) and all(names)
    return Sequences(
        values=codes.astype(np.float64),
        lengths=np.array([len(rows) for _, rows in sentences]),
        labels=np.array([tag for _, rows in sentences for _, tag in rows]),
        ids=tuple(names) if distinct else (),
        columns=("word",),
        symbols=tuple(symbols.tolist()),
    )


def _sentences(file: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """(name, [(word, tag), …]) of every sentence."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    name = ""
    rows: list[tuple[str, str]] = []
    for number, line in enumerate([*decoded(file).split("\n"), ""], start=1):
        line = line.rstrip("\r")
        if not line.strip():
            if rows:
                found.append((name, rows))
            name, rows = "", []
        elif line.startswith("#") and "\t" not in line:
            name = _named(line, name)
        elif (pair := _word(line, file, number)) is not None:
            rows.append(pair)
    if not found:
        raise DataError(f"{file}: there is no sentence; a line is a word and its tag, with a tab between them")
    return found


def _named(comment: str, before: str) -> str:
    key, equals, value = comment[1:].partition("=")
    if equals:
        return value.strip() if key.strip() == "sent_id" else before
    return before or key.strip()


def _word(line: str, file: Path, number: int) -> tuple[str, str] | None:
    """The word and the tag of a line; None for a line that only groups others."""
    cells = line.split("\t")
    if not 2 <= len(cells) <= _CONLLU_COLUMNS:
        raise DataError(
            f"{file}, line {number}: there are {len(cells)} columns; a line has ten (CoNLL-U), or a word, a tag and perhaps more, with tabs "
            "between them"
        )
    if len(cells) < _CONLLU_COLUMNS:
        word, tag = cells[:2]
    elif cells[0].isdigit():
        word, tag = cells[1], cells[3]
    elif set(cells[0]) <= set("0123456789-."):
        return None
    else:
        raise DataError(
            f"{file}, line {number}: the first column is {cells[0]!r}; in CoNLL-U it counts the words of a sentence"
        )
    return word, "" if tag == "_" else tag
