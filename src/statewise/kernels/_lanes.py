"""Vectors of numbers in kernels: a register full of lanes, loaded, combined and stored at once.

LLVM turns a loop into vector instructions only while it can prove that arrays do not overlap, which it gives up beyond about four
of them. The recurrent layers read and write more, so they name their vectors: `load` a block of a row of a matrix, combine blocks
by ``+ - * /``, `store` it. A block has 64 bytes, 16 float32 or 8 float64 (`width`); on processors with narrower registers LLVM
takes two or four.

As plain Python (``NUMBA_DISABLE_JIT=1``) a block is a slice of a NumPy array, and the same kernels run.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, overload, register_model

BLOCK_BYTES = 64
intrinsic: Any = (
    extending.intrinsic
)  # it takes the typing context away from the function, which a type checker does not see


def width(array: Any) -> int:
    """Lanes in a block of numbers of this array's type."""
    return BLOCK_BYTES // array.itemsize


def load(matrix: Any, row: int, column: int) -> Any:
    """The block of `matrix` (C-contiguous, two axes) that begins at [row, column]."""
    return matrix[row, column : column + width(matrix)].copy()


def store(matrix: Any, row: int, column: int, block: Any) -> None:
    """Write a block over the one that begins at [row, column]."""
    matrix[row, column : column + width(matrix)] = block


def zeros(matrix: Any) -> Any:
    """A block of zeros of the type of `matrix`."""
    return np.zeros(width(matrix), matrix.dtype)


def clip(block: Any, least: float, most: float) -> Any:
    """The block with its numbers in [least, most]; NaN stays NaN."""
    return np.clip(block, block.dtype.type(least), block.dtype.type(most))


def positive(block: Any) -> Any:
    """max(x, 0), lane by lane; NaN stays NaN."""
    return np.where(block < 0, np.zeros_like(block), block)


def where_positive(block: Any, value: Any) -> Any:
    """`value` where the block is above 0, else 0."""
    return np.where(block > 0, value, np.zeros_like(value))


def total(block: Any) -> Any:
    """The sum of the lanes."""
    return block.sum()


def larger(left: Any, right: Any) -> Any:
    """The larger number of each lane; that on the right where one is NaN."""
    return np.where(left > right, left, right)


def largest(block: Any) -> Any:
    """The largest of the lanes, if none is NaN."""
    return block.max()


def power_of_two(shifted: Any, bias: int, bits: int) -> Any:
    """2ᵏ of whole numbers k that lie in the low bits of the block; `bias` and `bits` belong to the format of the exponent."""
    whole = np.dtype(f"i{shifted.itemsize}").type
    return ((shifted.view(whole) + whole(bias)) << whole(bits)).view(shifted.dtype)


def multiply_rows(
    a: Any,
    row: int,
    first: int,
    last: int,
    w: Any,
    w_row: int,
    column: int,
    out: Any,
    out_row: int,
    out_column: int,
    rows: int,
    blocks: int,
) -> None:
    """out[out_row + i, out_column + j] = Σₖ a[row + i, first + k] w[w_row + k, column + j], i < rows, j < blocks · width, k < last − first.

    The sums stay in registers; `rows` and `blocks` are literal numbers.
    """
    size = blocks * width(w)
    product = a[row : row + rows, first:last] @ w[w_row : w_row + last - first, column : column + size]
    out[out_row : out_row + rows, out_column : out_column + size] = product


def add_columns(
    a: Any,
    row: int,
    first: int,
    last: int,
    w: Any,
    w_row: int,
    column: int,
    out: Any,
    out_row: int,
    out_column: int,
    rows: int,
    blocks: int,
) -> None:
    """out[out_row + i, out_column + j] += Σₖ a[first + k, row + i] w[w_row + k, column + j]: as `multiply_rows`, with `a` transposed, added."""
    size = blocks * width(w)
    product = a[first:last, row : row + rows].T @ w[w_row : w_row + last - first, column : column + size]
    out[out_row : out_row + rows, out_column : out_column + size] += product


# --- compiled -----------------------------------------------------------------------------------------------------------


class Block(types.Type):
    """The type of a register full of numbers."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Block({dtype})")

    @property
    def lanes(self) -> int:
        return BLOCK_BYTES * 8 // self.dtype.bitwidth


@register_model(Block)
class _BlockModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Block) -> None:
        super().__init__(manager, kind, ir.VectorType(manager[kind.dtype].get_value_type(), kind.lanes))


def _is_matrix(kind: Any) -> bool:
    return (
        isinstance(kind, types.Array) and kind.ndim == 2 and kind.layout == "C" and isinstance(kind.dtype, types.Float)
    )


@overload(width, strict=False)
def _width(array: Any) -> Any:
    lanes = Block(array.dtype).lanes
    return lambda array: lanes


def _address(context: Any, builder: Any, kind: Any, value: Any, row: Any, column: Any) -> Any:
    """Pointer to [row, column] of a C-contiguous matrix, without a check of bounds."""
    array = context.make_array(kind)(context, builder, value)
    columns = builder.extract_value(array.shape, 1)
    return builder.gep(array.data, [builder.add(builder.mul(row, columns), column)])


def _as_vector(builder: Any, pointer: Any, vector: Any) -> Any:
    return builder.bitcast(pointer, vector.as_pointer())


def _spread(builder: Any, vector: Any, number: Any) -> Any:
    """A vector whose lanes are all this number."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), lanes)


@intrinsic
def _load(typing: Any, matrix: Any, row: Any, column: Any) -> Any:
    result = Block(matrix.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = context.get_value_type(result)
        pointer = _address(context, builder, matrix, *args)
        return builder.load(_as_vector(builder, pointer, vector), align=matrix.dtype.bitwidth // 8)

    return result(matrix, types.intp, types.intp), generate


@overload(load, strict=False)
def _overload_load(matrix: Any, row: Any, column: Any) -> Any:
    if _is_matrix(matrix):
        return lambda matrix, row, column: _load(matrix, row, column)
    return None


@intrinsic
def _store(typing: Any, matrix: Any, row: Any, column: Any, block: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _address(context, builder, matrix, *args[:3])
        builder.store(args[3], _as_vector(builder, pointer, args[3].type), align=matrix.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, Block(matrix.dtype)), generate


@overload(store, strict=False)
def _overload_store(matrix: Any, row: Any, column: Any, block: Any) -> Any:
    if _is_matrix(matrix) and isinstance(block, Block):
        return lambda matrix, row, column, block: _store(matrix, row, column, block)
    return None


@intrinsic
def _zeros(typing: Any, matrix: Any) -> Any:
    result = Block(matrix.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(result), [0.0] * result.lanes)

    return result(matrix), generate


@overload(zeros, strict=False)
def _overload_zeros(matrix: Any) -> Any:
    return lambda matrix: _zeros(matrix)


def _arithmetic(name: str) -> Any:
    """The operation of this LLVM name on two blocks, or a block and a number on either side."""

    @intrinsic
    def apply(typing: Any, left: Any, right: Any) -> Any:
        result = left if isinstance(left, Block) else right

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = context.get_value_type(result)
            sides = []
            for kind, value in zip(signature.args, args, strict=True):
                if not isinstance(kind, Block):
                    value = _spread(builder, vector, context.cast(builder, value, kind, result.dtype))
                sides.append(value)
            return getattr(builder, name)(*sides, flags=("contract", "arcp", "nsz"))

        return result(left, right), generate

    return apply


_add, _subtract, _multiply, _divide = (_arithmetic(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


def _is_pair(left: Any, right: Any) -> bool:
    blocks = [isinstance(kind, Block) for kind in (left, right)]
    return all(blocks) or (any(blocks) and any(isinstance(kind, types.Number) for kind in (left, right)))


@overload(operator.add, strict=False)
def _overload_add(left: Any, right: Any) -> Any:
    return (lambda left, right: _add(left, right)) if _is_pair(left, right) else None


@overload(operator.sub, strict=False)
def _overload_subtract(left: Any, right: Any) -> Any:
    return (lambda left, right: _subtract(left, right)) if _is_pair(left, right) else None


@overload(operator.mul, strict=False)
def _overload_multiply(left: Any, right: Any) -> Any:
    return (lambda left, right: _multiply(left, right)) if _is_pair(left, right) else None


@overload(operator.truediv, strict=False)
def _overload_divide(left: Any, right: Any) -> Any:
    return (lambda left, right: _divide(left, right)) if _is_pair(left, right) else None


@intrinsic
def _clip(typing: Any, block: Any, least: Any, most: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, vector = args[0], context.get_value_type(block)
        for bound, kind, order in ((args[1], signature.args[1], "<"), (args[2], signature.args[2], ">")):
            limit = _spread(builder, vector, context.cast(builder, bound, kind, block.dtype))
            value = builder.select(builder.fcmp_ordered(order, value, limit), limit, value)
        return value

    return block(block, types.float64, types.float64), generate


@overload(clip, strict=False)
def _overload_clip(block: Any, least: Any, most: Any) -> Any:
    return lambda block, least, most: _clip(block, least, most)


@intrinsic
def _where_positive(typing: Any, block: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(args[0].type, [0.0] * args[0].type.count)
        return builder.select(builder.fcmp_ordered(">", args[0], zero), args[1], zero)

    return block(block, value), generate


@overload(where_positive, strict=False)
def _overload_where_positive(block: Any, value: Any) -> Any:
    return lambda block, value: _where_positive(block, value)


@intrinsic
def _positive(typing: Any, block: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(args[0].type, [0.0] * args[0].type.count)
        return builder.select(builder.fcmp_ordered("<", args[0], zero), zero, args[0])

    return block(block), generate


@overload(positive, strict=False)
def _overload_positive(block: Any) -> Any:
    return lambda block: _positive(block)


def _folded(combine: Any) -> Any:
    """Half of the lanes onto the other half, in the same order on every machine, until one is left."""

    @intrinsic
    def fold(typing: Any, block: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, half, index = args[0], args[0].type.count // 2, ir.IntType(32)
            while half:
                lanes = ir.Constant(ir.VectorType(index, 2 * half), [*range(half, 2 * half), *range(half, 2 * half)])
                both = combine(builder, value, builder.shuffle_vector(value, value, lanes))
                lower = ir.Constant(ir.VectorType(index, half), [*range(half)])
                value, half = builder.shuffle_vector(both, both, lower), half // 2
            return builder.extract_element(value, index(0))

        return block.dtype(block), generate

    return fold


def _pick_larger(builder: Any, left: Any, right: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", left, right), left, right)


_total = _folded(lambda builder, left, right: builder.fadd(left, right))
_largest = _folded(_pick_larger)


@intrinsic
def _larger(typing: Any, left: Any, right: Any) -> Any:
    return left(left, right), lambda context, builder, signature, args: _pick_larger(builder, *args)


@overload(larger, strict=False)
def _overload_larger(left: Any, right: Any) -> Any:
    return lambda left, right: _larger(left, right)


@overload(largest, strict=False)
def _overload_largest(block: Any) -> Any:
    return lambda block: _largest(block)


@overload(total, strict=False)
def _overload_total(block: Any) -> Any:
    return lambda block: _total(block)


@intrinsic
def _power_of_two(typing: Any, shifted: Any, bias: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = args[0].type
        whole = ir.VectorType(ir.IntType(shifted.dtype.bitwidth), vector.count)
        spread = [_spread(builder, whole, builder.trunc(arg, whole.element)
                          if whole.element.width < 64 else arg) for arg in args[1:]]  # fmt: skip  # reads as one thought
        moved = builder.shl(builder.add(builder.bitcast(args[0], whole), spread[0]), spread[1])
        return builder.bitcast(moved, vector)

    return shifted(shifted, types.int64, types.int64), generate


@overload(power_of_two, strict=False)
def _overload_power_of_two(shifted: Any, bias: Any, bits: Any) -> Any:
    return lambda shifted, bias, bits: _power_of_two(shifted, bias, bits)


def _product_in_registers(transposed: bool) -> Any:
    """`multiply_rows`, or `add_columns` if transposed."""

    @intrinsic(prefer_literal=True)
    def multiply(typing: Any, a: Any, row: Any, first: Any, last: Any, w: Any, w_row: Any, column: Any, out: Any, out_row: Any,
                 out_column: Any, rows: Any, blocks: Any) -> Any:  # fmt: skip  # one line an array would take a page
        high, wide, align = rows.literal_value, blocks.literal_value, w.dtype.bitwidth // 8

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector, index = context.get_value_type(Block(w.dtype)), ir.IntType(64)

            def row_of(kind: Any, array: int, down: Any, across: Any) -> list[Any]:
                """Pointers to the blocks of one row of a matrix."""
                base = _address(context, builder, kind, args[array], down, across)
                places = [builder.gep(base, [index(j * vector.count)]) for j in range(wide)]
                return [_as_vector(builder, place, vector) for place in places]

            targets = [row_of(out, 7, builder.add(args[8], index(i)), args[9]) for i in range(high)]
            zero = ir.Constant(vector, [0.0] * vector.count)
            sums = [[cgutils.alloca_once(builder, vector) for _ in range(wide)] for _ in range(high)]
            for i in range(high):
                for j in range(wide):
                    builder.store(builder.load(targets[i][j], align=align) if transposed else zero, sums[i][j])
            with cgutils.for_range(builder, builder.sub(args[3], args[2])) as loop:
                weights = [
                    builder.load(place, align=align)
                    for place in row_of(w, 4, builder.add(args[5], loop.index), args[6])
                ]
                along = builder.add(args[2], loop.index)
                for i in range(high):
                    across = builder.add(args[1], index(i))
                    place = (along, across) if transposed else (across, along)
                    number = _spread(builder, vector, builder.load(_address(context, builder, a, args[0], *place)))
                    for j in range(wide):
                        term = builder.fmul(number, weights[j], flags=("contract", "nsz"))
                        builder.store(
                            builder.fadd(builder.load(sums[i][j]), term, flags=("contract", "nsz")), sums[i][j]
                        )
            for i in range(high):
                for j in range(wide):
                    builder.store(builder.load(sums[i][j]), targets[i][j], align=align)
            return context.get_dummy_value()

        whole = types.intp
        return types.void(a, whole, whole, whole, w, whole, whole, out, whole, whole, rows, blocks), generate

    return multiply


_multiply_rows, _add_columns = _product_in_registers(transposed=False), _product_in_registers(transposed=True)


@overload(multiply_rows, prefer_literal=True, strict=False)
def _overload_multiply_rows(
    a: Any,
    row: Any,
    first: Any,
    last: Any,
    w: Any,
    w_row: Any,
    column: Any,
    out: Any,
    out_row: Any,
    out_column: Any,
    rows: Any,
    blocks: Any,
) -> Any:
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(blocks, types.IntegerLiteral)):
        return None
    high, wide = rows.literal_value, blocks.literal_value

    def apply(a, row, first, last, w, w_row, column, out, out_row, out_column, rows, blocks):
        _multiply_rows(a, row, first, last, w, w_row, column, out, out_row, out_column, high, wide)

    return apply


@overload(add_columns, prefer_literal=True, strict=False)
def _overload_add_columns(
    a: Any,
    row: Any,
    first: Any,
    last: Any,
    w: Any,
    w_row: Any,
    column: Any,
    out: Any,
    out_row: Any,
    out_column: Any,
    rows: Any,
    blocks: Any,
) -> Any:
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(blocks, types.IntegerLiteral)):
        return None
    high, wide = rows.literal_value, blocks.literal_value

    def apply(a, row, first, last, w, w_row, column, out, out_row, out_column, rows, blocks):
        _add_columns(a, row, first, last, w, w_row, column, out, out_row, out_column, high, wide)

    return apply
