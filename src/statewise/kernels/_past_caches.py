"""Writing past the caches, for large results that nobody reads before they have left the caches anyway.

An ordinary store reads the line that it writes to first; one past the caches does not, and drives nothing else out of them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import overload

from statewise.kernels import _lanes


def store_past(matrix: Any, row: int, column: int, block: Any) -> None:
    """As `_lanes.store`, past the caches; the place is a multiple of the block's size."""
    _lanes.store(matrix, row, column, block)


@_lanes.intrinsic
def _store_past(typing: Any, matrix: Any, row: Any, column: Any, block: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _lanes._as_vector(builder, _lanes._address(context, builder, matrix, *args[:3]), args[3].type)
        written = builder.store(args[3], pointer, align=_lanes.BLOCK_BYTES)
        written.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, _lanes.Block(matrix.dtype)), generate


@overload(store_past, strict=False)
def _overload_store_past(matrix: Any, row: Any, column: Any, block: Any) -> Any:
    return lambda matrix, row, column, block: _store_past(matrix, row, column, block)
