"""Blocks at the ends of rows, of which only some lanes are there to be read."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import overload

from statewise.kernels import _lanes


def load_part(matrix: Any, row: int, column: int, count: int) -> Any:
    """The block that begins at [row, column], of which only the first `count` lanes are read; the others are 0."""
    block = np.zeros(_lanes.width(matrix), matrix.dtype)
    block[:count] = matrix[row, column : column + count]
    return block


@_lanes.intrinsic
def _load_part(typing: Any, matrix: Any, row: Any, column: Any, count: Any) -> Any:
    result = _lanes.Block(matrix.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector, index, bit = context.get_value_type(result), ir.IntType(32), ir.IntType(1)
        whole = ir.VectorType(index, vector.count)
        limit = _lanes._spread(builder, whole, builder.trunc(args[3], index))
        mask = builder.icmp_unsigned("<", ir.Constant(whole, [*range(vector.count)]), limit)
        pointer = _lanes._as_vector(builder, _lanes._address(context, builder, matrix, *args[:3]), vector)
        kind = ir.FunctionType(vector, [pointer.type, index, ir.VectorType(bit, vector.count), vector])
        name = f"llvm.masked.load.v{vector.count}f{matrix.dtype.bitwidth}.p0"
        read = cgutils.get_or_insert_function(builder.module, kind, name)
        zero = ir.Constant(vector, [0.0] * vector.count)
        return builder.call(read, [pointer, index(matrix.dtype.bitwidth // 8), mask, zero])

    return result(matrix, types.intp, types.intp, types.intp), generate


@overload(load_part, strict=False)
def _overload_load_part(matrix: Any, row: Any, column: Any, count: Any) -> Any:
    if _lanes._is_matrix(matrix):
        return lambda matrix, row, column, count: _load_part(matrix, row, column, count)
    return None
