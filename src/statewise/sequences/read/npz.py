"""NPZ files: `Sequences` written and read back exactly. Never pickled."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import DataError, InputError
from statewise._core.files import write_atomically
from statewise.sequences.read.files import content
from statewise.sequences.sequences import Sequences

FORMAT = 1
_ARRAYS = ("values", "lengths", "inputs", "times", "labels")
_NAMES = ("ids", "columns", "input_columns", "symbols", "season")


def write_npz(seqs: Sequences, path: str | os.PathLike[str]) -> Path:
    """Write all fields of `seqs` to the .npz file `path`, from which `read` returns them exactly.

    A crash leaves the old file or the new one, never half of one.

    Raises:
        InputError: an id or a label that is neither text, a number, True, False nor None, or a path without the suffix
            .npz.
    """
    file = Path(checks.File().check("path", path))
    if file.suffix.lower() != ".npz":
        raise InputError(f"`path` is {str(file)!r}; give it the suffix .npz, so that it can be read back")
    odd = next((item for item in seqs.ids if not (item is None or isinstance(item, (str, int, float)))), None)
    if odd is not None:
        raise InputError(f"`ids` has {odd!r}, which a file cannot hold exactly; use text or numbers")
    if seqs.labels is not None and seqs.labels.dtype.kind == "O":
        raise InputError("`labels` are objects, which a file cannot hold exactly; use text or numbers")
    names = {"format": FORMAT} | {name: getattr(seqs, name) for name in _NAMES}
    arrays = {name: getattr(seqs, name) for name in _ARRAYS if getattr(seqs, name) is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, names=np.frombuffer(json.dumps(names).encode(), dtype=np.uint8), **arrays)
    return write_atomically(file, buffer.getvalue())


def read_npz(file: Path) -> Sequences:
    """`Sequences` from a file of `write_npz`, or from another .npz file with an array `values`."""
    arrays = _arrays(file)
    if "values" not in arrays:
        raise DataError(
            f"{file}: there is no array 'values' among {', '.join(map(repr, sorted(arrays))) or 'no arrays'}; save it "
            "under that name, with 'lengths' if there are several sequences"
        )
    unknown = sorted(set(arrays) - {"names", *_ARRAYS})
    if unknown:
        raise DataError(
            f"{file}: the array {unknown[0]!r} has no part in sequences; leave it out, or rename it to one of {_ARRAYS}"
        )
    fields: dict[str, Any] = {name: arrays[name] for name in _ARRAYS if name in arrays}
    fields.setdefault("lengths", np.array([len(np.atleast_1d(arrays["values"]))]))
    if "names" in arrays:
        fields |= _names(file, arrays["names"])
    try:
        return Sequences(**fields)
    except InputError as error:
        raise DataError(f"{file}: {error}") from None


def _arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        loaded = np.load(io.BytesIO(content(file)), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it is a single .npy array")
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except DataError:
        raise
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(f"{file}: this is not a valid .npz file of plain arrays ({error}); write it again") from None


def _names(file: Path, blob: np.ndarray) -> dict[str, Any]:
    """The fields that are no arrays, from their JSON."""
    try:
        names = json.loads(blob.astype(np.uint8).tobytes())
        version = names.pop("format")
        if version > FORMAT:
            raise DataError(
                f"{file}: written in format {version}, and this version reads up to {FORMAT}; upgrade statewise"
            )
        return {name: _hashable(names[name]) for name in _NAMES}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: the names in it are damaged ({error}); write it again") from None


def _hashable(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
