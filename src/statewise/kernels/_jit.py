"""The one numba policy, so that every kernel is compiled alike.

Nopython, cached on disk, without the GIL (threads may call serial kernels side by side), and with NumPy's error model:
a division by zero gives inf or NaN as in NumPy, and no check for it stands in the way of vectorisation. Under
``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python; the tests use that, so kernels do not divide by zero.

Fast math is never on by default. ``fast=True`` opts into `FAST`, the subset of LLVM's flags that keeps NaN and
infinities: contraction into fused multiply-adds, division by way of the reciprocal, and no signed zeros. It leaves out
``nnan`` and ``ninf`` (under which a test for NaN is compiled away) and ``reassoc`` (under which sums depend on the
machine).

``counted=False`` leaves reference counts out. They are locked additions, one for every array that an inlined helper or a
view of a row gives a new name, and in a loop over short rows they take as long as the arithmetic. Such a function, and what
it calls, allocates nothing, returns no array and assigns no slice to a slice; products by BLAS go through `gemm`.

``held=True`` keeps the GIL: for a kernel that is done in a microsecond, before another thread could have it.

Decorate a function once: numba's cache tells functions apart by name and line, not by flags. Nor does the cache see a change
in a function that another file's kernel has taken in: delete the `.nbi` files after one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar, overload

import numba
import numpy as np
from numba.core import event

from statewise._core.progress import shows_progress

F = TypeVar("F", bound=Callable[..., Any])

FAST = frozenset({"contract", "arcp", "nsz"})


@overload
def jit(function: F) -> F: ...
@overload
def jit(*, fast: bool = False, inline: bool = False, counted: bool = True, held: bool = False) -> Callable[[F], F]: ...
def jit(
    function: Any = None, *, fast: bool = False, inline: bool = False, counted: bool = True, held: bool = False
) -> Any:
    """Compile a kernel: ``@jit``, or ``@jit(fast=True)`` for the NaN-safe fast math; `inline` for tiny helpers, `counted` and `held` as above."""
    decorate = _policy(fast=fast, inline=inline, counted=counted, held=held)
    return decorate if function is None else decorate(function)


def _policy(*, fast: bool, inline: bool, counted: bool, held: bool) -> Callable[[Any], Any]:
    flags: dict[str, Any] = {
        "nogil": not held,
        "error_model": "numpy",
        "fastmath": set(FAST) if fast else False,
        "inline": "always" if inline else "never",
        "_nrt": counted,  # said either way: what is not said is taken over from the function that compiles this one first
    }

    def decorate(function: Any) -> Any:
        try:
            return numba.njit(function, cache=True, **flags)
        except RuntimeError as error:
            # A read-only installation without a writable home folder has no place for the cache.
            if "cannot cache" not in str(error):
                raise
            return numba.njit(function, cache=False, **flags)

    return decorate


def entry(kernel: Any, *arguments: Any) -> Callable[..., Any]:
    """The kernel for arguments of these types, after a call with them, without the .1 µs in which numba finds out the types of each call's.

    The caller sees to it that they are those, contiguity excepted (`_address.is_whole`): nothing else would.
    """
    kernel(*arguments)
    if not hasattr(kernel, "overloads"):  # plain Python
        result: Callable[..., Any] = kernel
        return result
    found: Callable[..., Any] = kernel.overloads[tuple(map(numba.typeof, arguments))].entry_point
    return found


@jit
def gemm(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out = a b by BLAS, for functions without reference counts, which cannot take the array that ``np.dot`` returns."""
    np.dot(a, b, out)


class _Compilation(event.TimingListener):
    """Times compilation, and says once to somebody who waits at a terminal what takes so long."""

    _said = False

    def on_start(self, event: Any) -> None:
        super().on_start(event)
        if not self._said and shows_progress():
            sys.stderr.write("statewise: compiling kernels for this machine, once; later runs load them from disk\n")
        self._said = True


_COMPILATION = _Compilation()
event.register("numba:compile", _COMPILATION)


def compilation_seconds() -> float:
    """Seconds that this process has spent compiling kernels so far; the cache spares the next process them."""
    return _COMPILATION.duration if _COMPILATION.done else 0.0
