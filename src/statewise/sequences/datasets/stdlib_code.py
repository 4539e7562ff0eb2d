"""Source code of the Python standard library on this machine, as characters.

Source: the top-level public modules (not those whose name starts with an underscore) of the running Python's standard
library, in alphabetical order, as many whole files as fit into 500 000 characters. Nothing is copied into the package,
so the text differs between versions of Python.

Licence: Python Software Foundation License Version 2.

Units: codes of characters; `symbols` has the character of each code, sorted.

Columns: character. One sequence a module; the ids are the modules' names.
"""

from __future__ import annotations

import sysconfig
import tokenize
from pathlib import Path

import numpy as np

from statewise._core.errors import DataError
from statewise.sequences.read.text import encode
from statewise.sequences.sequences import Sequences

LIMIT = 500_000


def load(limit: int = LIMIT) -> Sequences:
    """Modules with at most `limit` characters together.

    Raises:
        DataError: this Python has no source files of its standard library.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    modules: dict[str, str] = {}
    total = 0
    for file in sorted(folder.glob("[a-z]*.py")):
        source = _source(file)
        if total + len(source) > limit:
            break
        if source:
            modules[file.stem] = source
            total += len(source)
    if not modules:
        raise DataError(f"{folder}: this Python has no source files of its standard library; choose another data set")
    codes, symbols = encode("".join(modules.values()))
    return Sequences(
        values=codes,
        lengths=np.array([len(source) for source in modules.values()]),
        ids=tuple(modules),
        columns=("character",),
        symbols=symbols,
    )


def _source(file: Path) -> str:
    """The text of a module in the encoding that it declares, with newlines as \\n."""
    with tokenize.open(file) as stream:
        return stream.read()
