"""Where a run is written: a free name, and a folder that appears whole or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path

from statewise._core.errors import InputError


def run_name(name: str | None, title: str) -> str:
    """The name of a run's folder: as given, or made from the title of the data."""
    if name is None:
        return re.sub(r"[^\w.-]+", "-", title).strip("-.") or "run"
    if name in ("", ".", "..") or Path(name).name != name:
        raise InputError(f"--name is {name!r}; pass the name of one folder, and say with --out where it goes")
    return name


def choose(folder: Path, overwrite: bool = False) -> Path:
    """`folder`, or folder-2, folder-3, … if it is taken and `overwrite` is off.

    Raises:
        InputError: the place cannot hold a run, or what would be overwritten is not one. Asked before the long work.
    """
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise InputError(f"{str(part)!r} is a file; pass the name of a folder with --out")
    nearest = next(part for part in (folder, *folder.absolute().parents) if part.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{str(nearest)!r} cannot be written to; choose another folder with --out")
    if not folder.exists():
        return folder
    if overwrite:
        if any(folder.iterdir()) and not (folder / "run.json").is_file():
            raise InputError(
                f"{str(folder)!r} is not a run (it has no run.json), so it is not overwritten; choose another name"
            )
        return folder
    number = 2
    while (numbered := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return numbered
