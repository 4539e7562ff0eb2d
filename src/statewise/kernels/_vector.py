"""`LANES` doubles side by side as one value of a kernel: what LLVM calls a vector.

Loops over a few lanes are not vectorised by themselves, since the compiler can't see that the arrays in them don't overlap. Here a
kernel says so: ``load(x, i)`` is x[i : i + LANES] as one value, ``+ − * /`` work lane by lane, and ``store(x, i, v)`` writes it back.
Arrays are one-dimensional and contiguous. Any processor will do: LLVM splits the vector into as many registers as it needs.

The functions below are what the kernels mean in plain Python, where a vector is an array; numba is told its own way of each.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import lower_builtin, models, register_model

LANES = 16


def load(x: np.ndarray, i: int) -> np.ndarray:
    """x[i : i + LANES]."""
    return x[i : i + LANES].copy()


def store(x: np.ndarray, i: int, vector: np.ndarray) -> None:
    """x[i : i + LANES] = vector."""
    x[i : i + LANES] = vector


def gather(x: np.ndarray, at: np.ndarray, i: int) -> np.ndarray:
    """x[at[lane] + i] for each lane; `at` (LANES,) integers."""
    return x[at + i]


def scatter(x: np.ndarray, at: np.ndarray, i: int, vector: np.ndarray) -> None:
    """x[at[lane] + i] = vector[lane] for each lane."""
    x[at + i] = vector


def gather_four(x: np.ndarray, at: np.ndarray, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`gather` of i, i + 1, i + 2 and i + 3: each lane's four are read at once and turned, which takes a quarter of the loads."""
    return x[at + i], x[at + i + 1], x[at + i + 2], x[at + i + 3]


def scatter_four(
    x: np.ndarray, at: np.ndarray, i: int, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray
) -> None:
    """`scatter` of a to i, b to i + 1, c to i + 2 and d to i + 3."""
    for ahead, vector in enumerate((a, b, c, d)):
        x[at + i + ahead] = vector


def spread(value: float) -> np.ndarray:
    """The same number in every lane."""
    return np.full(LANES, value)


def larger(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The larger of two numbers in each lane; b where one is NaN."""
    return np.where(a > b, a, b)


def smaller(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smaller of two numbers in each lane; b where one is NaN."""
    return np.where(a < b, a, b)


def positive(test: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a where `test` is above 0, b elsewhere."""
    return np.where(test > 0.0, a, b)


def where_larger(a: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x where a > b, y elsewhere."""
    return np.where(a > b, x, y)


def if_number(test: np.ndarray, a: np.ndarray) -> np.ndarray:
    """a where `test` is not NaN, 0 where it is."""
    return np.where(test == test, a, 0.0)


def add_product(total: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """total + a b, rounded once where the processor can."""
    return total + a * b


# --- the same for numba -----------------------------------------------------------------------------------------------


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"vector of {LANES} doubles")


_VECTOR, _ARRAY, _PLACES = _Vector(), types.Array(types.float64, 1, "C"), types.Array(types.int64, 1, "C")
_LLVM, _FOUR = ir.VectorType(ir.DoubleType(), LANES), ir.VectorType(ir.DoubleType(), 4)


@register_model(_Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _LLVM)


def _means(function: Any, result: Any, *arguments: Any) -> Callable[[Any], Any]:
    """Decorate what writes the instructions of `function`, a builder and the arguments' values being given to it."""
    template = type(f"{function.__name__} of vectors", (ConcreteTemplate,), {"cases": [signature(result, *arguments)]})
    infer_global(function)(template)

    def decorate(write: Any) -> Any:
        @lower_builtin(function, *arguments)
        def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            return write(context, builder, *values)

        return write

    return decorate


def _place(context: Any, builder: Any, x: Any, i: Any) -> Any:
    """Where x[i] is, as the address of a vector."""
    data = context.make_array(_ARRAY)(context, builder, x).data
    return builder.bitcast(builder.gep(data, [i]), _LLVM.as_pointer())


@_means(load, _VECTOR, _ARRAY, types.intp)
def _load(context: Any, builder: Any, x: Any, i: Any) -> Any:
    return builder.load(_place(context, builder, x, i), align=8)


@_means(store, types.none, _ARRAY, types.intp, _VECTOR)
def _store(context: Any, builder: Any, x: Any, i: Any, vector: Any) -> Any:
    builder.store(vector, _place(context, builder, x, i), align=8)
    return context.get_dummy_value()


def _each(context: Any, builder: Any, x: Any, at: Any, i: Any) -> Iterator[tuple[Any, Any]]:
    """The number of each lane, and the address of its entry."""
    data, places = (
        context.make_array(_ARRAY)(context, builder, x).data,
        context.make_array(_PLACES)(context, builder, at).data,
    )
    for lane in range(LANES):
        number = ir.Constant(ir.IntType(32), lane)
        place = builder.load(builder.gep(places, [number]))
        yield number, builder.gep(data, [builder.add(place, i)])


@_means(gather, _VECTOR, _ARRAY, _PLACES, types.intp)
def _gather(context: Any, builder: Any, x: Any, at: Any, i: Any) -> Any:
    found = ir.Constant(_LLVM, ir.Undefined)
    for lane, address in _each(context, builder, x, at, i):
        found = builder.insert_element(found, builder.load(address), lane)
    return found


@_means(scatter, types.none, _ARRAY, _PLACES, types.intp, _VECTOR)
def _scatter(context: Any, builder: Any, x: Any, at: Any, i: Any, vector: Any) -> Any:
    for lane, address in _each(context, builder, x, at, i):
        builder.store(builder.extract_element(vector, lane), address)
    return context.get_dummy_value()


def _parts(builder: Any, vector: Any, size: int) -> list[Any]:
    """A vector in pieces of `size` lanes."""
    return [_pick(builder, vector, vector, range(at, at + size)) for at in range(0, vector.type.count, size)]


def _pick(builder: Any, a: Any, b: Any, lanes: Any) -> Any:
    """Lanes of a and b, those of b being numbered after a's."""
    wanted = list(lanes)
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(wanted)), wanted))


def _joined(builder: Any, parts: list[Any]) -> Any:
    """Pieces side by side, as many as a power of two."""
    while len(parts) > 1:
        size = 2 * parts[0].type.count
        parts = [_pick(builder, a, b, range(size)) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Four rows of four numbers become four columns."""
    low, high, even, odd = [0, 4, 2, 6], [1, 5, 3, 7], [0, 1, 4, 5], [2, 3, 6, 7]
    a, b = _pick(builder, rows[0], rows[1], low), _pick(builder, rows[0], rows[1], high)
    c, d = _pick(builder, rows[2], rows[3], low), _pick(builder, rows[2], rows[3], high)
    return [_pick(builder, *pair, lanes) for lanes in (even, odd) for pair in ((a, c), (b, d))]


@_means(gather_four, types.UniTuple(_VECTOR, 4), _ARRAY, _PLACES, types.intp)
def _gather_four(context: Any, builder: Any, x: Any, at: Any, i: Any) -> Any:
    kind = _FOUR.as_pointer()
    rows = [builder.load(builder.bitcast(address, kind), align=8) for _, address in _each(context, builder, x, at, i)]
    columns = [_turned(builder, rows[lane : lane + 4]) for lane in range(0, LANES, 4)]
    found = [_joined(builder, list(column)) for column in zip(*columns, strict=True)]
    return context.make_tuple(builder, types.UniTuple(_VECTOR, 4), found)


@_means(scatter_four, types.none, _ARRAY, _PLACES, types.intp, _VECTOR, _VECTOR, _VECTOR, _VECTOR)
def _scatter_four(context: Any, builder: Any, x: Any, at: Any, i: Any, *vectors: Any) -> Any:
    columns = zip(*(_parts(builder, vector, 4) for vector in vectors), strict=True)
    rows = [row for column in columns for row in _turned(builder, list(column))]
    for row, (_, address) in zip(rows, _each(context, builder, x, at, i), strict=True):
        builder.store(row, builder.bitcast(address, _FOUR.as_pointer()), align=8)
    return context.get_dummy_value()


@_means(spread, _VECTOR, types.float64)
def _spread(context: Any, builder: Any, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_LLVM, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_LLVM, ir.Undefined), everywhere)


@_means(larger, _VECTOR, _VECTOR, _VECTOR)
def _larger(context: Any, builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@_means(smaller, _VECTOR, _VECTOR, _VECTOR)
def _smaller(context: Any, builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


@_means(positive, _VECTOR, _VECTOR, _VECTOR, _VECTOR)
def _positive(context: Any, builder: Any, test: Any, a: Any, b: Any) -> Any:
    zero = ir.Constant(_LLVM, [ir.Constant(ir.DoubleType(), 0.0)] * LANES)
    return builder.select(builder.fcmp_ordered(">", test, zero), a, b)


@_means(where_larger, _VECTOR, _VECTOR, _VECTOR, _VECTOR, _VECTOR)
def _where_larger(context: Any, builder: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), x, y)


@_means(if_number, _VECTOR, _VECTOR, _VECTOR)
def _if_number(context: Any, builder: Any, test: Any, a: Any) -> Any:
    zero = ir.Constant(_LLVM, [ir.Constant(ir.DoubleType(), 0.0)] * LANES)
    return builder.select(builder.fcmp_ordered("ord", test, test), a, zero)


@_means(add_product, _VECTOR, _VECTOR, _VECTOR, _VECTOR)
def _add_product(context: Any, builder: Any, total: Any, a: Any, b: Any) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_LLVM, [_LLVM] * 3), f"llvm.fmuladd.v{LANES}f64"
    )
    return builder.call(function, [a, b, total])


for _operator, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _means(_operator, _VECTOR, _VECTOR, _VECTOR)(
        lambda context, builder, a, b, instruction=_instruction: getattr(builder, instruction)(a, b)
    )
