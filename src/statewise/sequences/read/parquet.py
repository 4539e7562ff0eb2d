"""Parquet files, through pyarrow (an optional extra)."""

from __future__ import annotations

import io
from pathlib import Path

from statewise._core.errors import DataError
from statewise._core.optional import require
from statewise.sequences.frames import table_of
from statewise.sequences.read.files import content
from statewise.sequences.table import Table


def read_table(file: Path) -> Table:
    """The columns of a Parquet file; a pandas index that it carries is restored."""
    data = content(file)
    parquet = require("pyarrow.parquet", "parquet", f"reading {file}")
    arrow = require("pyarrow", "parquet", f"reading {file}")
    try:
        frame = parquet.read_table(io.BytesIO(data)).to_pandas()
    except (
        arrow.ArrowException,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:  # the last three: its pandas metadata
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file}: this is not a valid Parquet file ({why}); write it again") from None
    if frame.empty:
        raise DataError(
            f"{file}: there are {len(frame)} rows and {len(frame.columns)} columns; it needs at least one of each"
        )
    return table_of(frame, source=str(file), lines=range(1, len(frame) + 1))
