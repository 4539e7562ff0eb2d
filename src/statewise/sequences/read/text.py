"""Plain text as one sequence of characters."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from statewise.sequences.read.files import decoded
from statewise.sequences.sequences import Sequences


def read_text(file: Path) -> Sequences:
    """One sequence of codes 0, 1, …, positions in `symbols`, the sorted distinct characters of the file."""
    codes, symbols = encode(decoded(file))
    return Sequences(values=codes, lengths=np.array([len(codes)]), columns=("character",), symbols=symbols)


def encode(text: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """(T,) float64 codes of the characters, and the symbols that they stand for, in the order of their code points."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    distinct, codes = np.unique(points, return_inverse=True)
    return codes.astype(np.float64), tuple(map(chr, distinct.tolist()))
