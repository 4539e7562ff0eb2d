"""Arrays by their addresses, for calls of which the passing of array objects would be a large part.

An address says nothing of the array's type, shape or life: who passes one has checked the first two and holds the array during the call.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba import carray, extending, types
from numba.extending import overload

intrinsic: Any = extending.intrinsic  # as in `_lanes`


def address(place: Any) -> Any:
    """Where an array (C-contiguous) lies; an address is passed on."""
    return place.ctypes.data if isinstance(place, np.ndarray) else place


def array_at(place: Any, rows: int, columns: int, like: Any) -> Any:
    """The array (rows, columns), of the type of the numbers in `like`, that lies at an address."""
    count = rows * columns
    if not count:
        return np.empty((rows, columns), like.dtype)
    memory = (ctypes.c_char * (count * like.itemsize)).from_address(int(place))
    return np.frombuffer(memory, like.dtype).reshape(rows, columns)


@intrinsic
def _pointer(typing: Any, place: Any, like: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(place, like), generate


@overload(address, strict=False)
def _overload_address(place: Any) -> Any:
    if isinstance(place, types.Array):
        return lambda place: np.int64(place.ctypes.data)
    return lambda place: np.int64(place)


@overload(array_at, strict=False)
def _overload_array_at(place: Any, rows: Any, columns: Any, like: Any) -> Any:
    return lambda place, rows, columns, like: carray(_pointer(place, like), (rows, columns))
