"""Arrays by their addresses, for calls of which the passing of array objects would be a large part.

An address says nothing of the array's type, shape or life: who passes one has checked the first two and holds the array during the call.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba import config, extending, types
from numba.extending import overload
from numba.np.arrayobj import populate_array

intrinsic: Any = extending.intrinsic  # as in `_lanes`


def address(place: Any) -> Any:
    """Where an array (C-contiguous) lies; an address is passed on."""
    return place.ctypes.data if isinstance(place, np.ndarray) else place


def is_whole(place: Any) -> bool:
    """Whether an array is C-contiguous, also one that was passed for such by `entry`; of an address one has made sure."""
    return bool(place.flags.c_contiguous) if isinstance(place, np.ndarray) else True


def _array_at(place: Any, rows: int, columns: int, like: Any) -> Any:
    """The array (rows, columns), of the type of the numbers in `like`, that lies at an address."""
    count = rows * columns
    if not count:
        return np.empty((rows, columns), like.dtype)
    memory = (ctypes.c_char * (count * like.itemsize)).from_address(int(place))
    return np.frombuffer(memory, like.dtype).reshape(rows, columns)


@intrinsic
def _matrix(typing: Any, place: Any, rows: Any, columns: Any, like: Any) -> Any:
    """The array, which owns nothing."""
    kind = types.Array(like.dtype, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(kind)(context, builder)
        size = context.get_constant(types.intp, like.dtype.bitwidth // 8)
        pointer = builder.inttoptr(args[0], context.get_value_type(types.CPointer(like.dtype)))
        strides = [builder.mul(args[2], size), size]
        populate_array(array, pointer, [args[1], args[2]], strides, size, None)
        return array._getvalue()

    return kind(place, rows, columns, like), generate


@overload(address, strict=False)
def _overload_address(place: Any) -> Any:
    if isinstance(place, types.Array):
        return lambda place: np.int64(place.ctypes.data)
    return lambda place: np.int64(place)


@overload(is_whole, strict=False)
def _overload_is_whole(place: Any) -> Any:
    if not isinstance(place, types.Array):
        return lambda place: True

    def apply(place: Any) -> bool:
        step, whole = place.itemsize, True
        for axis in range(place.ndim - 1, -1, -1):
            whole &= place.strides[axis] == step
            step *= place.shape[axis]
        return whole

    return apply


# Not by an overload: that is a function of its own, which could not return an array where there are no reference counts.
array_at: Any = _array_at if getattr(config, "DISABLE_JIT", False) else _matrix
